/*
 * NegGuide's schedule editor in the page of a WebUI.
 *
 * Files (plain scripts, loaded in any order; everything lives under window.NegGuide):
 *   negguide.js           this one: finds the containers, binds them to the page
 *   negguide_dom.js       helpers to make elements
 *   negguide_dnp.js       the section on diffusion-negative prompting
 *   negguide_downloads.js what image prompts lack on the server, and its download
 *   negguide_editor.js    one tab: passes and rows, bound to a settings object
 *   negguide_fields.js    labelled inputs for the fields of one model
 *   negguide_gallery.js   the button under the results: send to negative image
 *   negguide_images.js    the section on image prompts
 *   negguide_picture.js   the SVG of a schedule
 *   negguide_remove.js    the section on removal
 *   negguide_remove_mask.js  its mask: chosen, dropped, or painted over a picture
 *   negguide_row.js       the inputs of one window
 *   negguide_saved.js     presets saved on the server
 *   negguide_schedule.js  units, curves, strengths: twin of lib_negguide/schedule.py
 *   negguide_settings.js  settings, JSON text, complaints: mirror of lib_negguide/settings/
 *   negguide_slot.js      a picture in its row, with name, side and noise
 *   negguide_store.js     pictures on the server: upload, thumbnails, IP-Adapters
 *   negguide_windows.js   edits of one window
 *
 * What it finds in the page, for TAB in txt2img, img2img:
 *   .negguide-editor[data-tab=TAB]       empty container, from lib_negguide/webui/editor.py, with
 *                                        data-schema, data-presets, data-sigmas, data-captioners
 *   #negguide_TAB_json textarea          the settings as JSON text without `enabled`; "" = defaults
 *   #TAB_steps, #TAB_neg_prompt, #TAB_denoising_strength, #txt2img_hires_steps, #hires_neg_prompt: read only
 * Python tells of a changed text by negguideSync(TAB, text); the editor writes the text area and
 * dispatches `input`.
 *
 * What tests and other scripts may rely on, inside a container:
 *   [data-pass=first|hires]              one sampling pass; hires is hidden where it has no schedule of its own
 *   [data-negative=box|0|1|…]            a row; [data-negative=caption], the captions', is in the section dnp
 *   [data-field=text|preset|start|stop|unit|weight|weight-slider|curve|points]  an input of a row
 *   [data-field=combine]                 select of a pass
 *   [data-field=hires]                   check box: the hires pass has other negatives
 *   [data-field=saved|saved-name]        saved presets: select, name to save under
 *   [data-action=add|remove|move-up|move-down|add-point|load-preset|save-preset|delete-preset]  buttons
 *   [data-section=remove|dnp|images|hires|saved]  <details>; in dnp, the inputs besides those of the caption's row:
 *   [data-field=mode]                    select: off, dnp (auto-DNP), dns (the DNS picture itself)
 *   [data-field=scale|meaning|captioner|text|beams|min_tokens|…]  a field of settings.dnp or settings.dns
 *   [data-state]                         in the section's title: off, auto-DNP, DNS picture; or how many pictures
 *   [data-section=remove]                inputs by the names of settings.remove's fields; [data-hint], what it does and costs; [data-more];
 *   [data-mask]                          its mask, see negguide_remove_mask.js
 *   [data-section=images]                image prompts: a row [data-negative=image0|image1|…] each, in which are
 *   [data-field=name|side|noise|amount|seed]  its fields; [data-action=choose-picture] img, its picture; [data-upload], what became of it
 *   [data-zone]                          new pictures are dropped and pasted here; [data-uploads] [data-upload], what becomes of them
 *   [data-field=file]                    the file chooser behind [data-action=add-negative|add-positive|choose-picture]; also [data-action=add-noise]
 *   [data-field=image_subtract|adapter|image_encoder], [data-missing]  which ones; what is missing on the server
 *   [data-download] [data-action=download|cancel-download], progress  fetches it
 *   [data-errors] .negguide-error[data-error=PATH]  complaints; in the row, or on top where they belong to none
 *   [data-acts]                          in a row: at which steps it acts
 *   [data-message]                       what happened to a saved preset
 *   svg.negguide-schedule                the picture of a pass; in it
 *     .negguide-lane[data-lane=box|0|1|…|caption|remove|image0|…], .negguide-name[data-name=box|0|1|…|caption|remove], .negguide-empty, .negguide-not-run,
 *     .negguide-handle[data-lane][data-handle=start|stop|0|1|…]  (role slider; 0, 1, … are a curve's own points)
 */
(function(NegGuide) {
    "use strict";

    const STEPS = 20; // where the page has no steps slider

    const root = () => typeof window.gradioApp === "function" ? window.gradioApp() : document;

    /** The page around one tab's editor. */
    class Page {
        constructor(tab) {
            this.tab = tab;
        }

        textbox() {
            return root().querySelector(`#negguide_${this.tab}_json textarea, #negguide_${this.tab}_json input`);
        }

        /** Hand the settings' JSON text to Python. */
        write(text) {
            const box = this.textbox();
            if (!box || box.value === text) return;
            box.value = text;
            if (typeof window.updateInput === "function") window.updateInput(box);
            else box.dispatchEvent(new Event("input", {bubbles: true}));
        }

        number(id) {
            const input = root().querySelector(`#${id} input[type=number]`);
            return input ? Number(input.value) : 0;
        }

        /**
         * {steps, from} of a pass as the page now has them: how many steps the whole run has, and the
         * first one that is sampled. From a picture (img2img, hires pass) only the end of a run is;
         * the host takes the steps for those of the whole run, in the hires pass for those sampled.
         */
        run(pass) {
            const own = pass === "hires" ? this.number("txt2img_hires_steps") : 0;
            const steps = Math.round(Math.min(Math.max(own || this.number(`${this.tab}_steps`) || STEPS, 1), 1000));
            const strength = pass === "hires" || this.tab === "img2img" ? this.number(`${this.tab}_denoising_strength`) : NaN;
            if (!(strength > 0)) return {steps, from: 0};
            const part = Math.min(strength, 0.999);
            if (pass === "hires" || typeof opts === "object" && opts.img2img_fix_steps) {
                const whole = Math.max(Math.floor(steps / part), 1);
                return {steps: whole, from: whole - steps};
            }
            return {steps, from: Math.max(steps - Math.floor(part * steps) - 1, 0)};
        }

        /** The negative prompt box's text; where there is no box, as if it had one. */
        boxText(pass) {
            const text = (id) => {
                const area = root().querySelector(`#${id} textarea`);
                return area ? area.value : null;
            };
            const own = pass === "hires" ? text("hires_neg_prompt") : null;
            const main = own || text(`${this.tab}_neg_prompt`);
            return main === null ? "negative prompt" : main;
        }

        /** What the editor depends on, to notice a change. */
        fingerprint() {
            return ["first", "hires"].map((pass) => `${Object.values(this.run(pass))} ${this.boxText(pass).trim() === ""}`).join(" ");
        }
    }

    const editors = {}; // tab: {editor, page, seen}

    function mount(container) {
        const {tab, schema, presets, sigmas, captioners} = container.dataset;
        NegGuide.settings.setTables(JSON.parse(schema));
        NegGuide.schedule.setTable(JSON.parse(sigmas));
        const page = new Page(tab);
        const editor = new NegGuide.Editor(container, tab, page, JSON.parse(presets), JSON.parse(captioners));
        editors[tab] = {editor, page, seen: page.fingerprint()};
        container.negguideEditor = editor;
        const box = page.textbox();
        if (box && box.value !== "") editor.load(box.value);
    }

    /** Mount what is new, take texts and steps that changed without an event. */
    function refresh() {
        for (const container of root().querySelectorAll(".negguide-editor[data-tab]")) {
            if (!container.negguideEditor) mount(container);
        }
        NegGuide.gallery();
        for (const tab of Object.keys(editors)) {
            const {editor, page, seen} = editors[tab];
            if (!editor.container.isConnected) {
                delete editors[tab];
                continue;
            }
            sync(tab);
            const now = page.fingerprint();
            if (now !== seen) {
                editors[tab].seen = now;
                editor.showRuns();
            }
        }
    }

    /**
     * Take the text of the page's text area if it is not the editor's own. The text area counts,
     * not the `value` that came with the event: while one types, events arrive late.
     */
    function sync(tab, value) {
        if (!editors[tab]) return;
        const {editor, page} = editors[tab];
        const box = page.textbox();
        const text = box ? box.value : value;
        if (typeof text === "string" && text !== editor.text) editor.load(text);
    }

    NegGuide.editors = editors;
    NegGuide.refresh = refresh;
    window.negguideSync = function(tab, value) {
        if (!editors[tab]) refresh(); else sync(tab, value);
    };

    // ---- when to look

    let timer = null;
    function soon() {
        clearTimeout(timer);
        timer = setTimeout(refresh, 100);
    }

    if (typeof window.onUiLoaded === "function") window.onUiLoaded(refresh);
    if (typeof window.onAfterUiUpdate === "function") {
        window.onAfterUiUpdate(refresh);
    } else {
        new MutationObserver(soon).observe(document, {childList: true, subtree: true});
    }
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", soon); else soon();

    // Sliders and prompts around the editor: their events, and (for values that Python set) the pointer's arrival.
    for (const kind of ["input", "change"]) {
        document.addEventListener(kind, (event) => {
            const target = event.target;
            if (target instanceof Element && target.closest("[id$=_steps], [id$=_neg_prompt], [id$=_denoising_strength]")) setTimeout(refresh, 0);
        }, true);
    }
    for (const kind of ["pointerover", "focusin"]) {
        document.addEventListener(kind, (event) => {
            if (event.target instanceof Element && event.target.closest(".negguide-editor")) soon();
        }, {passive: true});
    }
})(window.NegGuide = window.NegGuide || {});
