/*
 * NegGuide.Dnp: the section "Diffusion-negative prompting (DNS, DNP)" of one tab's editor.
 *
 * One of `settings.dnp` (auto-DNP), `settings.dns` (the DNS picture itself) or neither is there; what
 * one had set comes back when one switches back. When the caption acts is a NegGuide.Row like that of
 * any other negative, with a lane in the picture of the schedule; the editor makes and shows it.
 */
(function(NegGuide) {
    "use strict";

    const MODES = {off: "off", dnp: "auto-DNP on every generation", dns: "DNS picture"};
    const SHORT = {off: "off", dnp: "auto-DNP", dns: "DNS picture"};
    const HINTS = {
        off: "Let the model show its own negative: a sampling away from the prompt, whose picture is captioned; the caption becomes the negative.",
        dnp: "Every picture's negative picture is sampled first, with the same seed, and captioned. The caption acts in the hires pass too.",
        dns: "The picture made is the diffusion-negative one itself: sampled away from the prompt. No negative acts.",
    };
    const OTHERS = {dnp: ["dns"], dns: ["dnp"], off: ["dnp", "dns"]};
    const GROUPS = {
        "Negative picture": [["scale", "meaning"], ["steps", "size"], ["samples", "several"]],
        "Captioner": [["captioner", "text"], ["beams", "min_tokens", "max_tokens"]],
        "Caption as a negative": [["use"]],
        "Is it better?": [["scores", "keep_better"]],
    };
    const OF_DNS = ["scale", "meaning"];
    const WITH_TEXT = ["captioner", "text", "use", "scores", "keep_better"];
    const EXAMPLES = {scale: "the CFG scale", text: "What the negative picture would show"};

    class Dnp {
        /** `editor` has settings, edited(), tab; `captioners` are suggested. */
        constructor(editor, captioners) {
            const {element} = NegGuide.dom;
            this.editor = editor;
            this.kept = {}; // dnp and dns while they are off
            this.id = `negguide_${editor.tab}_dnp`;
            this.mode = element("select", {id: `${this.id}_mode`, "data-field": "mode"},
                ...Object.entries(MODES).map(([value, text]) => element("option", {value}, text)));
            this.mode.addEventListener("change", () => this.use(this.mode.value));
            this.state = element("span", {className: "negguide-acts", "data-state": ""});
            this.hint = element("div", {className: "negguide-note"});
            this.errors = element("div", {className: "negguide-errors", id: `${this.id}_errors`, role: "status", "data-errors": ""});
            this.row = element("div", {className: "negguide-rows"}); // the caption's window
            this.names = element("datalist", {id: `${this.id}_captioners`}, ...captioners.map((value) => element("option", {value})));
            this.fields = new NegGuide.Fields({
                model: "Dnp", id: this.id, errors: this.errors.id, data: () => this.data, edited: () => editor.edited(),
                lists: {captioner: this.names.id}, examples: EXAMPLES,
            });
            this.groups = Object.entries(GROUPS).map(([title, lines]) => element("fieldset", {className: "negguide-group"},
                element("legend", {}, title),
                ...lines.map((names) => this.fields.line(...names))));
            this.fields.inputs.use.closest("fieldset").append(this.row);
            this.element = element("details", {className: "negguide-section", "data-section": "dnp"},
                element("summary", {}, element("span", {}, "Diffusion-negative prompting (DNS, DNP)"), " ", this.state),
                element("div", {className: "negguide-rows"},
                    element("label", {className: "negguide-field", for: this.mode.id}, element("span", {}, "What is made"), this.mode),
                    this.hint, ...this.groups, this.errors, this.names));
        }

        /** The settings of the mode in use, or null. */
        get data() {
            return this.editor.settings.dnp || this.editor.settings.dns;
        }

        /** Switch to "dnp", "dns" or "off". */
        use(mode) {
            const {settings} = this.editor;
            for (const name of OTHERS[mode]) {
                if (settings[name]) this.kept[name] = settings[name];
                settings[name] = null;
            }
            if (mode !== "off") {
                const model = mode === "dnp" ? "Dnp" : "Dns";
                settings[mode] = settings[mode] || this.kept[mode] || NegGuide.settings.filled(model, {});
            }
            this.editor.fill();
            this.editor.edited();
        }

        // ---- showing

        /** The settings' values, except (unless `all`) in the input in which one types; what belongs to another mode is hidden. */
        show(all) {
            const {dnp, dns} = this.editor.settings;
            const mode = dnp ? "dnp" : dns ? "dns" : "off";
            this.mode.value = mode;
            this.state.textContent = dnp && dns ? "not allowed" : SHORT[mode];
            this.hint.textContent = HINTS[mode];
            const isTyped = Boolean(dnp) && String(dnp.captioner).trim() === "text";
            for (const [name, label] of Object.entries(this.fields.labels)) {
                label.hidden = mode === "off" || mode === "dns" && !OF_DNS.includes(name) ||
                    isTyped && !WITH_TEXT.includes(name) || name === "text" && !isTyped || name === "several" && dnp.samples === 1;
            }
            for (const group of this.groups) {
                group.hidden = Array.from(group.querySelectorAll("label")).every((label) => label.hidden || this.row.contains(label));
            }
            if (this.data) this.fields.show(all);
        }

        /** Complaints about these settings; those about the caption's window are its row's. */
        tell(complaints) {
            const own = complaints.filter((one) => this.owns(one));
            this.fields.mark(own.map((one) => one.path.replace(/^dn[ps]\.?/, "")));
            NegGuide.dom.showComplaints(this.errors, own);
            if (own.length) this.element.open = true;
        }

        owns(complaint) {
            return /^dn[ps](\.(?!window\.)|$)/.test(complaint.path);
        }
    }

    NegGuide.Dnp = Dnp;
})(window.NegGuide = window.NegGuide || {});
