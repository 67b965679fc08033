/*
 * NegGuide.WorkbenchForm: what is asked for, as inputs made from the table of fields.
 */
(function(NegGuide) {
    "use strict";

    const OF_STRIP = {windows: ["points", "unit"], weights: ["weights", "window"], formulas: ["formulas", "window"], removal: ["removable", "captioner"], four: ["caption", "captioner"]};
    const LONG = ["prompt", "caption"];
    const STRIPS = {windows: "start × end of the negative", weights: "weight of the negative", formulas: "ways to use the negative",
        removal: "removal of the negative", four: "the four DNP pictures"};

    class WorkbenchForm {
        /** `look`: gives the caption of the picture that is there. */
        constructor(data, changed, look) {
            this.look = look;
            this.fields = new Map(data.fields.map((row) => [row.name, row]));
            this.defaults = data.defaults;
            this.choices = {sampler_name: data.samplers, scheduler: data.schedulers, captioner: data.captioners, unit: this.fields.get("unit").choices};
            this.formulas = data.formulas;
            this.inputs = {};
            this.changed = changed;
            this.element = this.build();
            this.write({...this.defaults, prompt: ""});
        }

        build() {
            const {element} = NegGuide.dom;
            const group = (...names) => element("div", {className: "negguide-fields"}, ...names.map((name) => this.field(name)));
            const strip = this.field("strip");
            this.inputs.strip.addEventListener("change", () => this.show());
            return element("div", {className: "negguide-tab-form"},
                strip, this.field("prompt"), this.field("negative"), this.removable(), this.field("negative_prompt"),
                this.field("caption"), group("captioner"), group("points", "unit"), this.field("weights"), this.formulaBoxes(), this.windowFields(),
                group("seed", "steps", "cfg_scale"), group("sampler_name", "scheduler"), group("width", "height"), this.field("clip"), this.field("norms"), this.field("attention"), this.field("previews"));
        }

        /** A label with its input; the help is the tooltip of both. */
        field(name) {
            const {element} = NegGuide.dom;
            const row = this.fields.get(name);
            const input = this.inputs[name] = this.input(name, row);
            input.title = NegGuide.dom.words(row.help);
            input.dataset.field = name;
            input.addEventListener("change", () => this.changed());
            const words = element("span", {}, row.title);
            const inside = input.type === "checkbox" ? [input, words] : [words, input];
            return element("label", {className: `negguide-field negguide-field-${name}${input.type === "checkbox" ? " negguide-check" : ""}`,
                title: row.help, "data-of": name}, ...inside);
        }

        input(name, row) {
            const {element} = NegGuide.dom;
            if (name === "strip") {
                return element("select", {}, ...row.choices.map((choice) => element("option", {value: choice}, STRIPS[choice] || choice)));
            }
            if (this.choices[name]) return element("select", {}, ...this.choices[name].map((choice) => element("option", {value: choice}, choice)));
            if (["clip", "norms", "attention"].includes(name)) return element("input", {type: "checkbox"});
            if (LONG.includes(name)) return element("textarea", {rows: 2, spellcheck: false});
            const numeric = ["seed", "steps", "cfg_scale", "width", "height", "previews"].includes(name);
            if (!numeric) return element("input", {type: "text", spellcheck: false});
            const {min, max, step} = row;
            return element("input", {type: "number", min: String(min), max: String(max), step: step ? String(step) : "1"});
        }

        formulaBoxes() {
            const {element} = NegGuide.dom;
            const row = this.fields.get("formulas");
            this.boxes = this.formulas.map((name) => {
                const box = element("input", {type: "checkbox", title: row.help, "data-formula": name});
                box.addEventListener("change", () => this.changed());
                return [name, box];
            });
            return element("fieldset", {className: "negguide-group", title: row.help, "data-of": "formulas"},
                element("legend", {}, row.title), element("div", {className: "negguide-fields"}, ...this.boxes.map(([name, box]) =>
                    element("label", {className: "negguide-check"}, box, element("span", {}, name)))));
        }

        windowFields() {
            const {element} = NegGuide.dom;
            const row = this.fields.get("window");
            this.window = {};
            const part = (name, title, input) => {
                this.window[name] = input;
                input.title = NegGuide.dom.words(row.help);
                input.dataset.window = name;
                input.addEventListener("change", () => this.changed());
                return element("label", {className: "negguide-field"}, element("span", {}, title), input);
            };
            const number = () => element("input", {type: "number", min: "0", step: "any", placeholder: "open"});
            const unit = element("select", {}, ...this.choices.unit.map((choice) => element("option", {value: choice}, choice)));
            return element("fieldset", {className: "negguide-group", title: row.help, "data-of": "window"}, element("legend", {}, row.title),
                element("div", {className: "negguide-fields"}, part("start", "Start", number()), part("stop", "Stop", number()), part("unit", "Unit", unit)));
        }

        /** What could be removed: the words of the prompt and of the picture's caption. */
        removable() {
            const {prompt, negative} = this.inputs;
            this.offered = new NegGuide.Removable((word) => {
                negative.value = word;
                this.changed();
            }, async() => this.look(this.inputs.captioner.value));
            const offer = () => this.offered.show(prompt.value, negative.value);
            for (const input of [prompt, negative]) input.addEventListener("input", offer);
            return this.offered.element;
        }

        /** Other choices of a field; the one that is chosen stays. */
        offer(name, choices) {
            NegGuide.dom.fillSelect(this.inputs[name], choices, this.inputs[name].value);
        }

        /** Only what counts for the strip is to be seen. */
        show() {
            const strip = this.inputs.strip.value;
            for (const part of this.element.querySelectorAll("[data-of]")) {
                const name = part.dataset.of;
                const counts = Object.values(OF_STRIP).some((names) => names.includes(name)) ? OF_STRIP[strip].includes(name) : name !== "negative" || strip !== "four";
                part.hidden = !counts;
            }
            this.offered.show(this.inputs.prompt.value, this.inputs.negative.value);
        }

        /** Take over what is named; the rest stays. */
        write(form) {
            for (const [name, value] of Object.entries(form)) {
                const input = this.inputs[name];
                if (name === "formulas") {
                    for (const [formula, box] of this.boxes) box.checked = value.includes(formula);
                } else if (name === "window") {
                    this.extra = {...value};
                    for (const key of ["start", "stop"]) {
                        this.window[key].value = typeof value[key] === "number" ? String(value[key]) : "";
                        delete this.extra[key];
                    }
                    this.window.unit.value = value.unit || "sigma";
                    delete this.extra.unit;
                } else if (!input) {
                    continue;
                } else if (input.type === "checkbox") {
                    input.checked = Boolean(value);
                } else if (Array.isArray(value)) {
                    input.value = value.join(", ");
                } else if (input.tagName === "SELECT" && value === "") {
                    input.selectedIndex = 0;
                } else if (input.tagName === "SELECT" && !Array.from(input.options).some((option) => option.value === value)) {
                    input.append(NegGuide.dom.element("option", {value}, value));
                    input.value = value;
                } else {
                    input.value = value === null || value === undefined ? "" : String(value);
                }
            }
            this.show();
        }

        /** The request; what is not a number is sent as it is, and the server says what is allowed. */
        read() {
            const form = {};
            const number = (text) => text.trim() === "" || isNaN(Number(text)) ? text : Number(text);
            for (const [name, input] of Object.entries(this.inputs)) {
                if (input.type === "checkbox") form[name] = input.checked;
                else if (name === "points" || name === "weights") form[name] = input.value.split(/[,;\s]+/).filter((part) => part).map(number);
                else if (input.type === "number") form[name] = number(input.value);
                else form[name] = input.value;
            }
            form.formulas = this.boxes.filter(([, box]) => box.checked).map(([name]) => name);
            form.window = {...this.extra};
            for (const key of ["start", "stop"]) if (this.window[key].value !== "") form.window[key] = Number(this.window[key].value);
            if (this.window.unit.value !== "sigma") form.window.unit = this.window.unit.value;
            const counts = OF_STRIP[form.strip];
            for (const name of [...new Set(Object.values(OF_STRIP).flat())]) if (!counts.includes(name)) delete form[name];
            if (form.strip === "four") delete form.negative;
            return form;
        }
    }

    NegGuide.WorkbenchForm = WorkbenchForm;
})(window.NegGuide = window.NegGuide || {});
