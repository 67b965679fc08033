/*
 * NegGuide.Editor: the passes and rows of one tab, bound to one settings object.
 *
 * The editor owns `settings` (see negguide_settings.js) while one edits and hands its JSON text
 * to the page after each edit; load() takes a text that came from elsewhere. Rows are built
 * anew only when negatives come, go or are loaded, so that typing never loses the focus.
 */
(function(NegGuide) {
    "use strict";

    const PASSES = ["first", "hires"];
    const COLORS = 6;

    /** [0, 1, 2, 5] as "0–2, 5". */
    function ranges(numbers) {
        const parts = [];
        for (const number of numbers) {
            const last = parts[parts.length - 1];
            if (last && last[1] === number - 1) last[1] = number; else parts.push([number, number]);
        }
        return parts.map(([from, to]) => from === to ? String(from) : `${from}–${to}`).join(", ");
    }

    class Editor {
        /**
         * `page`: write(text), run(pass), boxText(pass) of the page around; `presets`: [{name, window}];
         * `captioners`: names to suggest.
         */
        constructor(container, tab, page, presets, captioners) {
            const {filled, fromText} = NegGuide.settings;
            this.container = container;
            this.tab = tab;
            this.page = page;
            this.presets = presets.map(({name, window}) => ({name, window: filled("Window", window)}));
            this.settings = fromText("").settings;
            this.text = "";
            this.broken = null; // the complaint about a text that cannot be shown
            this.build(captioners);
        }

        // ---- the settings and their text

        /** Show the settings of a JSON text that came from elsewhere (a paste, a preset). */
        load(text) {
            const {settings, error} = NegGuide.settings.fromText(text);
            this.text = text;
            this.broken = error;
            if (settings) this.settings = settings;
            this.keptHires = null;
            this.dnp.kept = {};
            if (this.settings.dnp || this.settings.dns) this.dnp.element.open = true;
            if (this.settings.images.length) this.images.element.open = true;
            this.remove.take();
            this.fill();
        }

        /** After an edit: hand the text over and show what follows from it. */
        edited() {
            this.broken = null;
            this.text = NegGuide.settings.toText(this.settings);
            this.page.write(this.text);
            this.refresh();
        }

        /** Edit one window by change(window, steps of the pass). */
        edit(pass, key, change) {
            change(this.window(pass, key), this.page.run(pass).steps);
            this.edited();
        }

        schedule(pass) {
            return pass === "hires" ? this.settings.hires : this.settings;
        }

        window(pass, key) {
            if (key === "caption") return this.settings.dnp.window;
            if (key === "remove") return this.settings.remove;
            if (this.images.has(key)) return this.images.prompt(key);
            const schedule = this.schedule(pass);
            return key === "box" ? schedule.box : schedule.negatives[key];
        }

        /** What acts in a pass: the box, each negative, each picture's caption, the removal, each image prompt. */
        keys(pass) {
            const schedule = this.schedule(pass);
            if (!schedule) return [];
            return ["box"].concat(schedule.negatives.map((_, index) => index), this.settings.dnp ? "caption" : [],
                this.settings.remove ? "remove" : [], this.images.keys());
        }

        path(pass, key) {
            if (key === "caption") return "dnp.window.";
            if (key === "remove") return "remove.";
            if (this.images.has(key)) return `images[${this.images.index(key)}].`;
            return (pass === "hires" ? "hires." : "") + (key === "box" ? "box." : `negatives[${key}].`);
        }

        // ---- building

        build(captioners) {
            const {element} = NegGuide.dom;
            const {field} = NegGuide.settings;
            this.problems = element("div", {className: "negguide-errors", role: "status", "data-errors": ""});
            this.message = element("div", {className: "negguide-message", role: "status", "data-message": ""});
            this.ownHires = element("input", {type: "checkbox", "data-field": "hires"});
            this.ownHires.addEventListener("change", () => this.useHires(this.ownHires.checked));
            this.sameHires = element("div", {className: "negguide-note"}, "The hires pass has the same schedule as the first pass.");
            this.passes = {first: this.buildPass("first"), hires: this.buildPass("hires")};
            this.hiresSection = element("details", {className: "negguide-section", "data-section": "hires"},
                element("summary", {}, "Hires pass: other negatives"),
                element("label", {className: "negguide-check", title: field("Settings", "hires").help},
                    this.ownHires, element("span", {}, "Other negatives in the hires pass")),
                this.sameHires, this.passes.hires.element);
            this.dnp = new NegGuide.Dnp(this, captioners);
            this.images = new NegGuide.Images(this);
            this.remove = new NegGuide.Remove(this);
            this.container.replaceChildren(this.problems, this.passes.first.element, this.remove.element, this.dnp.element, this.images.element,
                this.hiresSection, NegGuide.savedPresets(this), this.message);
            this.fill();
        }

        /** {element, list, combine, picture, rows}: rows is a map from "box", 0, 1, … */
        buildPass(pass) {
            const {element, button} = NegGuide.dom;
            const {title, help} = NegGuide.settings.field("Schedule", "combine");
            const above = element("div", {className: "negguide-picture"});
            const list = element("div", {className: "negguide-rows"});
            const combine = element("select", {id: `negguide_${this.tab}_${pass}_combine`, "data-field": "combine"});
            combine.addEventListener("change", () => {
                this.schedule(pass).combine = combine.value;
                this.edited();
            });
            const picture = new NegGuide.Picture(above,
                (key, handle, where) => this.edit(pass, key, (window, steps) => {
                    if (typeof handle === "number") NegGuide.windows.movePoint(window, handle, where);
                    else NegGuide.windows.moveEnd(window, handle, where, steps);
                }),
                (key, position, factor) => this.edit(pass, key, (window) => NegGuide.windows.addPoint(window, position, factor)));
            if (window.ResizeObserver) {
                let width = 0;
                new ResizeObserver(() => {
                    if (above.clientWidth === width) return;
                    width = above.clientWidth;
                    if (!width) return;
                    this.drawPicture(pass);
                    for (const row of this.passes[pass].rows.values()) row.fit();
                }).observe(above);
            }
            return {
                list, combine, picture, rows: new Map(),
                element: element("div", {className: "negguide-pass", "data-pass": pass}, above, list,
                    element("div", {className: "negguide-foot"},
                        button("add", "Add negative", () => this.addNegative(pass)),
                        element("label", {className: "negguide-field negguide-combine", title: help}, element("span", {}, title), combine))),
            };
        }

        /** Build the rows of all passes from the settings, keeping the focus (and the cursor) where its field or button still exists. */
        fill() {
            const before = document.activeElement;
            const place = this.container.contains(before) && this.placeOf(before);
            for (const pass of PASSES) this.fillPass(pass);
            this.refresh();
            const after = place && this.container.querySelector(place);
            if (!after || after === document.activeElement) return;
            after.focus({preventScroll: true});
            if (before.type === "text" || before.type === "textarea") after.setSelectionRange(before.selectionStart, before.selectionEnd);
        }

        /** A selector that finds an input, or the button of a row, after rows are built anew; "" where there is none. */
        placeOf(element) {
            if (element.id) return `#${element.id}`;
            const row = element.closest("[data-negative]"), {action, field} = element.dataset;
            if (!row || !(action || field)) return "";
            const pass = row.closest("[data-pass]");
            return `${pass ? `[data-pass=${pass.dataset.pass}] ` : ""}[data-negative="${row.dataset.negative}"] ${action ? `[data-action=${action}]` : `[data-field=${field}]`}`;
        }

        fillPass(pass) {
            const {list, rows} = this.passes[pass];
            rows.clear();
            list.replaceChildren();
            if (pass === "first") this.dnp.row.replaceChildren();
            for (const key of this.keys(pass)) {
                if (this.images.has(key) || key === "remove" || key === "caption" && pass === "hires") continue; // one window for both passes
                const row = new NegGuide.Row({
                    key, id: `negguide_${this.tab}_${pass}_${key}`, color: this.color(key), presets: this.presets,
                    edit: (change) => this.edit(pass, key, change),
                    rearrange: (from, to) => this.rearrange(pass, from, to),
                });
                rows.set(key, row);
                (key === "caption" ? this.dnp.row : list).append(row.element);
                row.show(this.window(pass, key), true);
            }
            if (pass === "first") this.images.fill(rows);
        }

        color(key) {
            if (this.images.has(key)) return this.images.color(key);
            return `var(--negguide-color-${key === "caption" || key === "remove" ? key : key === "box" ? 0 : 1 + key % (COLORS - 1)})`;
        }

        // ---- showing

        /** Everything that follows from the settings: inputs, complaints, summaries, pictures. */
        refresh() {
            const {field, validate} = NegGuide.settings;
            const {hires} = this.settings;
            this.complaints = this.broken ? [this.broken] : validate(this.settings);
            this.ownHires.checked = hires !== null;
            this.passes.hires.element.hidden = hires === null;
            this.sameHires.hidden = hires !== null;
            this.hiresSection.hidden = this.tab !== "txt2img" && hires === null;
            this.dnp.show();
            this.images.show();
            this.remove.show();
            this.dnp.tell(this.complaints);
            const inRows = new Set(this.complaints.filter((one) => this.dnp.owns(one) || this.remove.owns(one)));
            for (const pass of PASSES) {
                const {rows, combine} = this.passes[pass];
                if (rows.size) NegGuide.dom.fillSelect(combine, field("Schedule", "combine").choices, this.schedule(pass).combine);
                for (const [key, row] of rows) {
                    row.show(this.window(pass, key));
                    this.complaintsOf(pass, key).forEach((one) => inRows.add(one));
                }
            }
            NegGuide.dom.showComplaints(this.problems, this.complaints.filter((one) => !inRows.has(one)));
            this.showRuns();
        }

        /** What depends on the page around too (steps, negative prompt): at which steps rows act, and the pictures. */
        showRuns() {
            for (const pass of PASSES) {
                for (const [key, row] of this.passes[pass].rows) {
                    row.tell(this.complaintsOf(pass, key), this.path(pass, key), this.acts(pass, key));
                }
                this.drawPicture(pass);
            }
            this.remove.tell(this.complaints);
        }

        complaintsOf(pass, key) {
            return this.complaints.filter((one) => one.path.startsWith(this.path(pass, key)));
        }

        /** The trimmed text of a row; the box's is the page's. */
        textOf(pass, key) {
            const {dnp} = this.settings;
            if (key === "caption") return String(dnp.captioner).trim() === "text" ? String(dnp.text).trim() : "caption";
            return (key === "box" ? this.page.boxText(pass) : NegGuide.settings.showNumber(this.window(pass, key).text)).trim();
        }

        /** Why a row does nothing, or "". */
        idle(pass, key) {
            if (this.settings.dns) return "does nothing: the DNS picture has no negative";
            if (this.images.has(key)) return "";
            if (key === "box" && this.settings.dnp && this.settings.dnp.use === "replace") return "replaced by the caption";
            if (this.textOf(pass, key)) return "";
            return key === "box" ? "empty: does nothing" : "no text: does nothing";
        }

        nameOf(pass, key) {
            if (this.images.has(key)) return this.images.nameOf(key);
            const text = this.textOf(pass, key);
            if (key === "box") return NegGuide.dom.words(NegGuide.settings.field("Schedule", "box").title);
            if (key === "remove") return NegGuide.dom.say("remove: {}", text);
            if (key === "caption") return text === "caption" ? text : NegGuide.dom.say("caption: {}", text || NegGuide.dom.words("(no text)"));
            return `${key + 1}: ${text || NegGuide.dom.words("(no text)")}`;
        }

        /** Numbers of the steps of the plain schedule at which a window acts. */
        actingSteps(pass, key) {
            const {referenceSigmas, inSigma, strength} = NegGuide.schedule;
            const {steps, from} = this.page.run(pass);
            const sigmas = referenceSigmas(steps);
            const w = inSigma(this.window(pass, key), sigmas);
            return sigmas.map((_, index) => index).filter((index) =>
                index >= from && strength(sigmas[index], w.start, w.stop, w.weight, w.curve, w.points) > 0);
        }

        /** In words, at which steps of the plain schedule a row acts. */
        acts(pass, key) {
            if (this.complaintsOf(pass, key).length) return "";
            if (this.idle(pass, key)) return this.idle(pass, key);
            const {steps, from} = this.page.run(pass);
            const at = this.actingSteps(pass, key);
            return at.length ? NegGuide.dom.say("acts at {} of {} steps: {}", at.length, steps - from, ranges(at)) :
                NegGuide.dom.say("acts at none of {} steps", steps - from);
        }

        drawPicture(pass) {
            const {rows, picture} = this.passes[pass];
            if (!rows.size) return;
            const {steps, from} = this.page.run(pass);
            const sigmas = NegGuide.schedule.referenceSigmas(steps);
            const lanes = this.keys(pass).map((key) => {
                const wrong = this.complaintsOf(pass, key).length > 0;
                return {
                    key,
                    name: this.nameOf(pass, key),
                    color: this.color(key),
                    window: wrong ? null : NegGuide.schedule.inSigma(this.window(pass, key), sigmas),
                    silent: this.idle(pass, key) !== "",
                    positive: this.images.has(key) && this.images.isPositive(key),
                };
            });
            picture.draw(lanes, steps, from, pass === "hires" ? "Schedule of the hires pass" : "Schedule");
        }

        /** Say what happened, e.g. to a saved preset. */
        tell(text, isError) {
            this.message.textContent = text;
            this.message.classList.toggle("negguide-error", Boolean(isError));
        }

        // ---- rows that come and go

        addNegative(pass) {
            const {negatives} = this.schedule(pass);
            negatives.push(NegGuide.settings.filled("Negative", {text: ""}));
            this.fillPass(pass);
            this.edited();
            this.passes[pass].rows.get(negatives.length - 1).inputs.text.focus();
        }

        /** Move a negative to another place, or remove it (`to` is null). */
        rearrange(pass, from, to) {
            const {negatives} = this.schedule(pass);
            if (to !== null && !(to in negatives)) return;
            const [moved] = negatives.splice(from, 1);
            if (to !== null) negatives.splice(to, 0, moved);
            this.fillPass(pass);
            this.edited();
            const {element, rows} = this.passes[pass];
            const row = to === null ? element : rows.get(to).element;
            row.querySelector(`[data-action=${to === null ? "add" : to < from ? "move-up" : "move-down"}]`).focus();
        }

        /** Give the hires pass a schedule of its own, at first the first pass's; or take it away. */
        useHires(own) {
            const {box, negatives, combine, hires} = this.settings;
            if (own) {
                this.settings.hires = this.keptHires || NegGuide.settings.clone({box, negatives, combine});
            } else {
                this.keptHires = hires;
                this.settings.hires = null;
            }
            this.fillPass("hires");
            this.edited();
        }
    }

    NegGuide.Editor = Editor;
})(window.NegGuide = window.NegGuide || {});
