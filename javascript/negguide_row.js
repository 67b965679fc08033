/*
 * NegGuide.Row: the inputs of one window: that of the negative prompt box, of the captions, of a negative with its text, or of a picture.
 *
 * A row shows a window and hands edits over; it keeps none of it. Labels, helps, ranges and choices are the table's.
 */
(function(NegGuide) {
    "use strict";

    const OWN = "own window";
    const EXAMPLES = {start: "first step", stop: "last step", points: "0:1, 0.5:0.2", text: "What must not be in the picture"};

    class Row {
        /**
         * `key` is "box", "caption" or the negative's number; `id` begins the ids of its inputs; `presets` are
         * [{name, window}]; `edit(change)` runs change(window, steps); `rearrange(key, other)` moves
         * the negative to the place `other`, or removes it where that is null. `inner` is {title, place, element} of
         * what has something else in place of a text.
         */
        constructor({key, id, color, presets, edit, rearrange, inner}) {
            const {element, button} = NegGuide.dom;
            Object.assign(this, {key, id, presets, edit, inputs: {}});
            const known = {box: NegGuide.settings.field("Schedule", "box"), caption: NegGuide.settings.field("Dnp", "window")}[key];
            const {title, place} = inner || {title: known ? known.title : NegGuide.dom.say("Negative {}", key + 1), place: key};
            this.acts = element("span", {className: "negguide-acts", "data-acts": ""});
            this.errors = element("div", {className: "negguide-errors", id: `${id}_errors`, role: "status", "data-errors": ""});
            const tools = known ? null : element("span", {className: "negguide-tools"},
                button("move-up", "↑", () => rearrange(place, place - 1), NegGuide.dom.say("Move up: {}", title)),
                button("move-down", "↓", () => rearrange(place, place + 1), NegGuide.dom.say("Move down: {}", title)),
                button("remove", "✕", () => rearrange(place, null), NegGuide.dom.say("Remove: {}", title)));
            this.element = element("section", {className: "negguide-row", role: "group", "aria-label": title, "data-negative": key},
                element("div", {className: "negguide-head", title: known ? known.help : ""},
                    element("div", {className: "negguide-heading"}, element("span", {className: "negguide-title"}, title), this.acts), tools),
                inner ? inner.element : known ? null : this.text(), this.fields(), this.points(), this.errors);
            this.element.style.setProperty("--negguide-color", color);
        }

        // ---- building

        fields() {
            const {element} = NegGuide.dom;
            const {changeUnit, changeCurve} = NegGuide.windows;
            return element("div", {className: "negguide-fields"},
                this.labelled("preset", this.chosen((name, window) => this.usePreset(name, window)), "Preset",
                    "A named window: sets start, stop, unit, weight and curve."),
                element("div", {className: "negguide-window"},
                    this.labelled("start", this.number("start")),
                    this.labelled("stop", this.number("stop")),
                    this.labelled("unit", this.chosen((unit, window, steps) => changeUnit(window, unit, steps)))),
                this.weight(),
                this.labelled("curve", this.chosen((curve, window) => changeCurve(window, curve))));
        }

        points() {
            const {element, button} = NegGuide.dom;
            const {parsePoints} = NegGuide.settings;
            const input = this.typed("points", parsePoints);
            this.pointsBox = element("div", {className: "negguide-points"}, this.labelled("points", input),
                button("add-point", "Add point", () => this.edit((window) => {
                    if (!input.hasAttribute("aria-invalid") || !window.points.length) NegGuide.windows.addPoint(window);
                }), "Adds a point in the widest gap. Points can be moved in the picture."));
            return this.pointsBox;
        }

        text() {
            const area = NegGuide.dom.element("textarea", {rows: 1, spellcheck: false});
            area.addEventListener("input", () => {
                this.edit((window) => {
                    window.text = area.value;
                });
                this.fit();
            });
            return this.labelled("text", area);
        }

        /** The weight's slider and its number. */
        weight() {
            const {element} = NegGuide.dom;
            const {min, max, step, title} = NegGuide.settings.field("Window", "weight");
            const number = this.number("weight");
            this.slider = element("input", {type: "range", min, max, step, "data-field": "weight-slider", "aria-label": title});
            this.slider.addEventListener("input", () => this.edit((window) => {
                window.weight = Number(this.slider.value);
            }));
            return this.labelled("weight", number, undefined, undefined,
                element("span", {className: "negguide-weight"}, this.slider, number));
        }

        /** A label with its input (or the `whole` around it); title and help are the table's unless given. */
        labelled(name, input, title, help, whole) {
            const {element} = NegGuide.dom;
            const row = NegGuide.settings.field("Negative", name) || {title, help};
            input.id = `${this.id}_${name}`;
            input.setAttribute("data-field", name);
            input.setAttribute("aria-describedby", this.errors.id);
            if (EXAMPLES[name]) input.placeholder = NegGuide.dom.words(EXAMPLES[name]);
            this.inputs[name] = input;
            return element("label", {className: `negguide-field negguide-field-${name}`, title: row.help, for: input.id},
                element("span", {}, row.title), whole || input);
        }

        number(name) {
            const input = this.typed(name, NegGuide.settings.parseNumber);
            input.inputMode = "decimal";
            return input;
        }

        typed(name, parse) {
            const input = NegGuide.dom.element("input", {type: "text", autocomplete: "off", spellcheck: false});
            input.addEventListener("input", () => this.edit((window) => {
                window[name] = parse(input.value);
            }));
            return input;
        }

        chosen(change) {
            const select = NegGuide.dom.element("select", {});
            select.addEventListener("change", () => this.edit((window, steps) => change(select.value, window, steps)));
            return select;
        }

        usePreset(name, window) {
            const preset = this.presets.find((one) => one.name === name);
            if (preset) Object.assign(window, NegGuide.settings.clone(preset.window));
        }

        // ---- showing

        /** Put a window's values into the inputs, except (unless `all`) into the one in which one types. */
        show(window, all) {
            const {field, showNumber, showPoints, same} = NegGuide.settings;
            const {fillSelect} = NegGuide.dom;
            const put = (name, text) => {
                const input = this.inputs[name];
                if (input.value !== text && (all || input !== document.activeElement)) input.value = text;
            };
            for (const name of ["start", "stop", "weight"]) put(name, showNumber(window[name]));
            put("points", showPoints(window.points));
            if (this.inputs.text) put("text", showNumber(window.text));
            this.fit();
            for (const name of ["unit", "curve"]) fillSelect(this.inputs[name], field("Window", name).choices, window[name]);
            if (typeof window.weight === "number" && this.slider !== document.activeElement) this.slider.value = window.weight;
            const preset = this.presets.find((one) => Object.keys(one.window).every((name) => same(one.window[name], window[name])));
            fillSelect(this.inputs.preset, [OWN].concat(this.presets.map((one) => one.name)), preset ? preset.name : OWN);
            this.pointsBox.hidden = window.curve !== "points";
        }

        /** Complaints about this window, whose paths begin with `path`; and at which steps it acts, in words. */
        tell(complaints, path, acts) {
            const wrong = complaints.map((one) => one.path.slice(path.length).replace(/\[.*/, ""));
            for (const [name, input] of Object.entries(this.inputs)) {
                if (wrong.includes(name)) input.setAttribute("aria-invalid", "true"); else input.removeAttribute("aria-invalid");
            }
            NegGuide.dom.showComplaints(this.errors, complaints);
            if (this.acts.textContent !== acts) this.acts.textContent = acts;
        }

        /** The text area as high as its text. */
        fit() {
            const area = this.inputs.text;
            if (!area || !area.scrollHeight) return;
            area.style.height = "auto";
            area.style.height = `${area.scrollHeight + 2}px`;
        }
    }

    NegGuide.Row = Row;
})(window.NegGuide = window.NegGuide || {});
