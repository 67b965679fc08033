/*
 * NegGuide.Fields: labelled inputs for the fields of one model, each by what it holds.
 *
 * Labels, helps, ranges and choices are the table's. A form shows an object and edits it in place; it keeps none of it.
 */
(function(NegGuide) {
    "use strict";

    class Fields {
        /**
         * `model`: name of the table; `id` begins the ids of inputs; `errors`: id of the element with complaints; `data()` is the
         * object, or null; `edited()` is called after each edit. `changes`: {name: change(object, value)} where an edit is more than
         * that value; `lists`: {name: id of a datalist}; `examples`: {name: placeholder}.
         */
        constructor({model, id, errors, data, edited, changes = {}, lists = {}, examples = {}}) {
            Object.assign(this, {model, id, errors, data, edited, changes, lists, examples, inputs: {}, labels: {}});
        }

        /** The label of a field with its input in it, and beside a number with a step a slider. */
        labelled(name) {
            const {element} = NegGuide.dom;
            const row = NegGuide.settings.field(this.model, name);
            const input = this.input(row);
            input.id = `${this.id}_${name}`;
            input.setAttribute("data-field", name);
            input.setAttribute("aria-describedby", this.errors);
            if (this.examples[name]) input.placeholder = NegGuide.dom.words(this.examples[name]);
            if (this.lists[name]) input.setAttribute("list", this.lists[name]);
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

        /** Fields in one line. */
        line(...names) {
            return NegGuide.dom.element("div", {className: "negguide-fields"}, ...names.map((name) => this.labelled(name)));
        }

        put(name, value) {
            NegGuide.settings.setNamed(this.data(), name);
            if (this.changes[name]) this.changes[name](this.data(), value); else this.data()[name] = value;
            this.edited();
        }

        input(row) {
            const {element} = NegGuide.dom;
            const {parseNumber, parsePoints} = NegGuide.settings;
            if (row.kind === "choice") {
                const select = element("select", {});
                select.addEventListener("change", () => this.put(row.name, select.value));
                return select;
            }
            if (row.kind === "boolean") {
                const box = element("input", {type: "checkbox"});
                box.addEventListener("change", () => this.put(row.name, box.checked));
                return box;
            }
            const parse = {text: (text) => text, points: parsePoints}[row.kind] || parseNumber;
            const typed = element("input", {type: "text", autocomplete: "off", spellcheck: false, inputMode: parse === parseNumber ? "decimal" : "text"});
            typed.addEventListener("input", () => this.put(row.name, parse(typed.value)));
            return typed;
        }

        slider(row) {
            if (row.kind !== "number" || !row.step) return null;
            const {min, max, step, title, above} = row;
            const slider = NegGuide.dom.element("input", {type: "range", min: above === null ? min : step, max, step,
                "data-field": `${row.name}-slider`, "aria-label": title});
            slider.addEventListener("input", () => this.put(row.name, Number(slider.value)));
            this.inputs[`${row.name}-slider`] = slider;
            return slider;
        }

        /** The object's values, except (unless `all`) in the input in which one types. */
        show(all) {
            const {field, showNumber, showPoints} = NegGuide.settings;
            for (const [name, value] of Object.entries(this.data())) {
                const input = this.inputs[name], slider = this.inputs[`${name}-slider`];
                if (!input) continue;
                const row = field(this.model, name);
                if (slider && typeof value === "number" && slider !== document.activeElement) slider.value = value;
                const text = row.kind === "points" ? showPoints(value) : showNumber(value);
                if (row.kind === "boolean") input.checked = value === true;
                else if (row.kind === "choice") NegGuide.dom.fillSelect(input, row.choices, value);
                else if (input.value !== text && (all || input !== document.activeElement)) input.value = text;
            }
        }

        /** Mark the inputs of these fields as wrong, the others as right. */
        mark(wrong) {
            for (const [name, input] of Object.entries(this.inputs)) {
                if (wrong.includes(name)) input.setAttribute("aria-invalid", "true"); else input.removeAttribute("aria-invalid");
            }
        }
    }

    NegGuide.Fields = Fields;
})(window.NegGuide = window.NegGuide || {});
