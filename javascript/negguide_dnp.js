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
            this.inputs = {};
            this.labels = {};
            this.id = `negguide_${editor.tab}_dnp`;
            this.mode = element("select", {id: `${this.id}_mode`, "data-field": "mode"},
                ...Object.entries(MODES).map(([value, text]) => element("option", {value}, text)));
            this.mode.addEventListener("change", () => this.use(this.mode.value));
            this.state = element("span", {className: "negguide-acts", "data-state": ""});
            this.hint = element("div", {className: "negguide-note"});
            this.errors = element("div", {className: "negguide-errors", id: `${this.id}_errors`, role: "status", "data-errors": ""});
            this.row = element("div", {className: "negguide-rows"}); // the caption's window
            this.names = element("datalist", {id: `${this.id}_captioners`}, ...captioners.map((value) => element("option", {value})));
            this.groups = Object.entries(GROUPS).map(([title, lines]) => element("fieldset", {className: "negguide-group"},
                element("legend", {}, title),
                ...lines.map((names) => element("div", {className: "negguide-fields"}, ...names.map((name) => this.labelled(name))))));
            this.inputs.use.closest("fieldset").append(this.row);
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

        // ---- building

        labelled(name) {
            const {element} = NegGuide.dom;
            const row = NegGuide.settings.field("Dnp", name);
            const input = this.input(row);
            input.id = `${this.id}_${name}`;
            input.setAttribute("data-field", name);
            input.setAttribute("aria-describedby", this.errors.id);
            if (EXAMPLES[name]) input.placeholder = EXAMPLES[name];
            this.inputs[name] = input;
            const properties = {title: row.help, for: input.id, className: `negguide-field negguide-field-${name}`};
            if (row.kind === "boolean") {
                properties.className = "negguide-check";
                return this.labels[name] = element("label", properties, input, element("span", {}, row.title));
            }
            const slider = this.slider(row);
            const whole = slider ? element("span", {className: "negguide-weight"}, slider, input) : input;
            return this.labels[name] = element("label", properties, element("span", {}, row.title), whole);
        }

        /** The input of a field, by what it holds; each edit goes into the settings as it is typed. */
        input(row) {
            const {element} = NegGuide.dom;
            const put = (value) => {
                this.data[row.name] = value;
                this.editor.edited();
            };
            if (row.kind === "choice") {
                const select = element("select", {});
                select.addEventListener("change", () => put(select.value));
                return select;
            }
            if (row.kind === "boolean") {
                const box = element("input", {type: "checkbox"});
                box.addEventListener("change", () => put(box.checked));
                return box;
            }
            const isText = row.kind === "text";
            const typed = element("input", {type: "text", autocomplete: "off", spellcheck: false, inputMode: isText ? "text" : "decimal"});
            if (row.name === "captioner") typed.setAttribute("list", this.names.id);
            typed.addEventListener("input", () => put(isText ? typed.value : NegGuide.settings.parseNumber(typed.value)));
            return typed;
        }

        /** Shares of the run have a slider beside the number. */
        slider(row) {
            if (row.kind !== "number" || !row.step) return null;
            const {min, max, step, title, above} = row;
            const slider = NegGuide.dom.element("input", {type: "range", min: above === null ? min : step, max, step,
                "data-field": `${row.name}-slider`, "aria-label": title});
            slider.addEventListener("input", () => {
                this.data[row.name] = Number(slider.value);
                this.editor.edited();
            });
            this.inputs[`${row.name}-slider`] = slider;
            return slider;
        }

        // ---- showing

        /** The settings' values, except (unless `all`) in the input in which one types; what belongs to another mode is hidden. */
        show(all) {
            const {field, showNumber} = NegGuide.settings;
            const {dnp, dns} = this.editor.settings;
            const mode = dnp ? "dnp" : dns ? "dns" : "off";
            this.mode.value = mode;
            this.state.textContent = dnp && dns ? "not allowed" : SHORT[mode];
            this.hint.textContent = HINTS[mode];
            const isTyped = Boolean(dnp) && String(dnp.captioner).trim() === "text";
            for (const [name, label] of Object.entries(this.labels)) {
                label.hidden = mode === "off" || mode === "dns" && !OF_DNS.includes(name) ||
                    isTyped && !WITH_TEXT.includes(name) || name === "text" && !isTyped || name === "several" && dnp.samples === 1;
            }
            for (const group of this.groups) {
                group.hidden = Array.from(group.querySelectorAll("label")).every((label) => label.hidden || this.row.contains(label));
            }
            if (!this.data) return;
            for (const [name, value] of Object.entries(this.data)) {
                const input = this.inputs[name], slider = this.inputs[`${name}-slider`];
                if (!input) continue;
                const row = field("Dnp", name);
                if (slider && typeof value === "number" && slider !== document.activeElement) slider.value = value;
                if (row.kind === "boolean") input.checked = value === true;
                else if (row.kind === "choice") NegGuide.dom.fillSelect(input, row.choices, value);
                else if (input.value !== showNumber(value) && (all || input !== document.activeElement)) input.value = showNumber(value);
            }
        }

        /** Complaints about these settings; those about the caption's window are its row's. */
        tell(complaints) {
            const own = complaints.filter((one) => this.owns(one));
            const wrong = own.map((one) => one.path.replace(/^dn[ps]\.?/, ""));
            for (const [name, input] of Object.entries(this.inputs)) {
                if (wrong.includes(name)) input.setAttribute("aria-invalid", "true"); else input.removeAttribute("aria-invalid");
            }
            NegGuide.dom.showComplaints(this.errors, own);
            if (own.length) this.element.open = true;
        }

        owns(complaint) {
            return /^dn[ps](\.(?!window\.)|$)/.test(complaint.path);
        }
    }

    NegGuide.Dnp = Dnp;
})(window.NegGuide = window.NegGuide || {});
