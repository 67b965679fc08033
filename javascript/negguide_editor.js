/*
 * NegGuide.Editor: the rows of negatives of one tab, bound to one settings object.
 *
 * The editor owns `settings` (see negguide_settings.js) while one edits and hands its JSON text
 * to the page after each edit; load() takes a text that came from elsewhere. Rows are built
 * anew only when negatives come, go or are loaded, so that typing never loses the focus.
 */
(function(NegGuide) {
    "use strict";

    const COLORS = 6;
    const FLAT = [[0, 1], [1, 1]]; // points that a curve of one's own begins with
    const OWN = "own window";
    const EXAMPLES = {start: "first step", stop: "last step", points: "0:1, 0.5:0.2", text: "What must not be in the picture"};

    /** A DOM element; properties with a dash are attributes, null children are left out. */
    function element(tag, properties, ...children) {
        const made = document.createElement(tag);
        for (const [name, value] of Object.entries(properties || {})) {
            if (name.includes("-") || name === "role" || name === "for") made.setAttribute(name, value);
            else made[name] = value;
        }
        made.append(...children.filter((child) => child !== null && child !== undefined));
        return made;
    }

    /** [0, 1, 2, 5] as "0–2, 5". */
    function ranges(numbers) {
        const parts = [];
        for (const number of numbers) {
            const last = parts[parts.length - 1];
            if (last && last[1] === number - 1) last[1] = number; else parts.push([number, number]);
        }
        return parts.map(([from, to]) => from === to ? String(from) : `${from}–${to}`).join(", ");
    }

    const roundTo = (value, digits) => Number(value.toFixed(digits));

    class Editor {
        /**
         * `page`: write(text), run(pass), boxText(pass) of the page around; `presets`: window presets.
         */
        constructor(container, tab, page, presets) {
            const {settings} = NegGuide;
            this.container = container;
            this.tab = tab;
            this.page = page;
            this.presets = presets.map(({name, window}) => ({name, window: settings.filled("Window", window)}));
            this.settings = settings.fromText("").settings;
            this.text = "";
            this.broken = null;
            this.passes = {};
            this.build();
        }

        // ---- the settings and their text

        /** Show the settings of a JSON text that came from elsewhere (a paste, a preset). */
        load(text) {
            const {settings, error} = NegGuide.settings.fromText(text);
            this.text = text;
            this.broken = error;
            if (settings) this.settings = settings;
            this.keptHires = null;
            this.fill();
        }

        /** After an edit: hand the text over and show what follows from it. */
        edited() {
            this.broken = null;
            this.text = NegGuide.settings.toText(this.settings);
            this.page.write(this.text);
            this.refresh();
        }

        schedule(pass) {
            return pass === "hires" ? this.settings.hires : this.settings;
        }

        window(pass, key) {
            const schedule = this.schedule(pass);
            return key === "box" ? schedule.box : schedule.negatives[key];
        }

        // ---- building

        build() {
            this.problems = element("div", {className: "negguide-errors", role: "status", "data-errors": ""});
            this.message = element("div", {className: "negguide-message", role: "status", "data-message": ""});
            const first = this.buildPass("first");
            const own = element("input", {type: "checkbox", "data-field": "hires"});
            own.addEventListener("change", () => this.useHires(own.checked));
            this.ownHires = own;
            const help = NegGuide.settings.field("Settings", "hires").help;
            this.hiresSection = element("details", {className: "negguide-section", "data-section": "hires"},
                element("summary", {}, "Hires pass: other negatives"),
                element("label", {className: "negguide-check", title: help}, own, element("span", {}, "Other negatives in the hires pass")),
                element("div", {className: "negguide-note", "data-note": "hires"}, "The hires pass has the same schedule as the first pass."),
                this.buildPass("hires"));
            this.container.replaceChildren(this.problems, first, this.hiresSection, NegGuide.savedPresets(this), this.message);
            this.fill();
        }

        buildPass(pass) {
            const {field} = NegGuide.settings;
            const parent = element("div", {className: "negguide-picture"});
            const rows = element("div", {className: "negguide-rows"});
            const add = element("button", {type: "button", className: "negguide-button", "data-action": "add"}, "Add negative");
            add.addEventListener("click", () => this.addNegative(pass));
            const row = field("Schedule", "combine");
            const combine = element("select", {id: `negguide_${this.tab}_${pass}_combine`, "data-field": "combine"});
            combine.addEventListener("change", () => {
                this.schedule(pass).combine = combine.value;
                this.edited();
            });
            const picture = new NegGuide.Picture(parent,
                (key, handle, where) => this.move(pass, key, handle, where),
                (key, position, factor) => this.insertPoint(pass, key, position, factor));
            const box = element("div", {className: "negguide-pass", "data-pass": pass}, parent, rows,
                element("div", {className: "negguide-foot"}, add,
                    element("label", {className: "negguide-field negguide-combine", title: row.help}, element("span", {}, row.title), combine)));
            this.passes[pass] = {box, rows, combine, picture, parts: new Map()};
            if (window.ResizeObserver) {
                let width = 0;
                new ResizeObserver(() => {
                    if (parent.clientWidth === width) return;
                    width = parent.clientWidth;
                    this.drawPicture(pass);
                }).observe(parent);
            }
            return box;
        }

        /** Build the rows of all passes from the settings, keeping the focus where its field still exists. */
        fill() {
            const focused = this.container.contains(document.activeElement) && document.activeElement.id;
            for (const pass of ["first", "hires"]) this.fillPass(pass);
            this.refresh();
            if (focused && document.getElementById(focused)) document.getElementById(focused).focus({preventScroll: true});
        }

        fillPass(pass) {
            const schedule = this.schedule(pass);
            const {rows, parts, combine} = this.passes[pass];
            parts.clear();
            rows.replaceChildren();
            if (!schedule) return;
            this.fillSelect(combine, NegGuide.settings.field("Schedule", "combine").choices, schedule.combine);
            for (const key of this.keys(schedule)) {
                const part = this.buildRow(pass, key);
                parts.set(key, part);
                rows.append(part.row);
            }
        }

        keys(schedule) {
            return ["box"].concat(schedule.negatives.map((_, index) => index));
        }

        color(key) {
            return `var(--negguide-color-${key === "box" ? 0 : 1 + key % (COLORS - 1)})`;
        }

        /** One row: {row, inputs by field, acts, errors}. */
        buildRow(pass, key) {
            const {field} = NegGuide.settings;
            const part = {inputs: {}, shown: ""};
            const idOf = (name) => `negguide_${this.tab}_${pass}_${key}_${name}`;
            const errorsId = idOf("errors");
            const labelled = (name, input, title, help, extra) => {
                input.setAttribute("data-field", name);
                input.id = idOf(name);
                input.setAttribute("aria-describedby", errorsId);
                part.inputs[name] = input;
                return element("label", {className: `negguide-field negguide-field-${name}`, title: help, for: input.id},
                    element("span", {}, title), extra || input);
            };
            const typed = (name, parse) => {
                const input = element("input", {type: "text", autocomplete: "off", spellcheck: false, inputMode: name === "points" ? "text" : "decimal"});
                input.addEventListener("input", () => this.set(pass, key, name, parse(input.value)));
                return input;
            };
            const chosen = (change) => {
                const select = element("select", {});
                select.addEventListener("change", () => change(select.value));
                return select;
            };
            const ofTable = (name, input, extra) => {
                const row = field("Negative", name);
                if (EXAMPLES[name]) input.placeholder = EXAMPLES[name];
                return labelled(name, input, row.title, row.help, extra);
            };
            const {parseNumber, parsePoints} = NegGuide.settings;
            const weight = typed("weight", parseNumber);
            const fields = [
                labelled("preset", chosen((name) => this.usePreset(pass, key, name)), "Preset",
                    "A named window: sets start, stop, unit, weight and curve."),
                element("div", {className: "negguide-window"},
                    ofTable("start", typed("start", parseNumber)),
                    ofTable("stop", typed("stop", parseNumber)),
                    ofTable("unit", chosen((unit) => this.changeUnit(pass, key, unit)))),
                ofTable("weight", weight, this.weightBox(pass, key, part, weight)),
                ofTable("curve", chosen((curve) => this.changeCurve(pass, key, curve))),
            ];
            part.points = element("div", {className: "negguide-points"}, ofTable("points", typed("points", parsePoints)),
                this.button("add-point", "Add point", () => this.insertPoint(pass, key), "Adds a point in the widest gap. Points can be moved in the picture."));
            part.acts = element("span", {className: "negguide-acts", "data-acts": ""});
            part.errors = element("div", {className: "negguide-errors", id: errorsId, role: "status", "data-errors": ""});
            const title = key === "box" ? field("Schedule", "box").title : `Negative ${key + 1}`;
            const tools = key === "box" ? null : element("span", {className: "negguide-tools"},
                this.button("move-up", "↑", () => this.swap(pass, key, key - 1), `Move up: ${title}`),
                this.button("move-down", "↓", () => this.swap(pass, key, key + 1), `Move down: ${title}`),
                this.button("remove", "✕", () => this.removeNegative(pass, key), `Remove: ${title}`));
            const head = element("div", {className: "negguide-head", title: key === "box" ? field("Schedule", "box").help : ""},
                element("div", {className: "negguide-heading"}, element("span", {className: "negguide-title"}, title), part.acts), tools);
            let text = null;
            if (key !== "box") {
                const area = element("textarea", {rows: 1, spellcheck: false});
                area.addEventListener("input", () => {
                    this.set(pass, key, "text", area.value);
                    this.fit(area);
                });
                text = ofTable("text", area);
            }
            part.row = element("section", {className: "negguide-row", role: "group", "aria-label": title, "data-negative": key},
                head, text, element("div", {className: "negguide-fields"}, ...fields), part.points, part.errors);
            part.row.style.setProperty("--negguide-color", this.color(key));
            this.show(pass, key, part, true);
            return part;
        }

        /** The number input of the weight beside its slider. */
        weightBox(pass, key, part, number) {
            const row = NegGuide.settings.field("Window", "weight");
            const slider = element("input", {type: "range", min: row.min, max: row.max, step: row.step,
                "data-field": "weight-slider", "aria-label": row.title});
            slider.addEventListener("input", () => {
                this.set(pass, key, "weight", Number(slider.value));
                number.value = slider.value;
            });
            part.slider = slider;
            return element("span", {className: "negguide-weight"}, slider, number);
        }

        button(action, text, act, title) {
            const made = element("button", {type: "button", className: "negguide-button", title: title || "", "data-action": action}, text);
            if (title && text.length < 3) made.setAttribute("aria-label", title);
            made.addEventListener("click", (event) => {
                event.preventDefault();
                act();
            });
            return made;
        }

        /** A text area as high as its text. */
        fit(area) {
            area.style.height = "auto";
            if (area.scrollHeight) area.style.height = `${area.scrollHeight + 2}px`;
        }

        fillSelect(select, choices, value) {
            const all = choices.includes(value) ? choices : choices.concat(String(value));
            const names = Array.from(select.options, (option) => option.value);
            if (!NegGuide.settings.same(names, all)) {
                select.replaceChildren(...all.map((choice) => element("option", {value: choice}, choice)));
            }
            select.value = String(value);
        }

        // ---- showing

        /** Put the settings' values into a row's inputs, except into the one in which one types. */
        show(pass, key, part, all) {
            const {field, showNumber, showPoints, same} = NegGuide.settings;
            const value = this.window(pass, key);
            const put = (name, text) => {
                const input = part.inputs[name];
                if (input && input.value !== text && (all || input !== document.activeElement)) input.value = text;
            };
            for (const name of ["start", "stop", "weight"]) put(name, showNumber(value[name]));
            put("points", showPoints(value.points));
            if (key !== "box") put("text", showNumber(value.text));
            if (part.inputs.text) this.fit(part.inputs.text);
            this.fillSelect(part.inputs.unit, field("Window", "unit").choices, value.unit);
            this.fillSelect(part.inputs.curve, field("Window", "curve").choices, value.curve);
            if (typeof value.weight === "number" && part.slider !== document.activeElement) part.slider.value = value.weight;
            const preset = this.presets.find((one) => Object.keys(one.window).every((name) => same(one.window[name], value[name])));
            this.fillSelect(part.inputs.preset, [OWN].concat(this.presets.map((one) => one.name)), preset ? preset.name : OWN);
            part.points.hidden = value.curve !== "points";
        }

        /** Everything that follows from the settings: inputs, complaints, summaries, pictures. */
        refresh() {
            this.complaints = this.broken ? [this.broken] : NegGuide.settings.validate(this.settings);
            const hires = this.settings.hires;
            this.ownHires.checked = hires !== null;
            this.passes.hires.box.hidden = hires === null;
            this.hiresSection.querySelector("[data-note=hires]").hidden = hires !== null;
            this.hiresSection.hidden = this.tab !== "txt2img" && hires === null;
            const inRows = new Set();
            for (const pass of ["first", "hires"]) {
                const schedule = this.schedule(pass);
                if (!schedule) continue;
                this.passes[pass].combine.value = schedule.combine;
                for (const [key, part] of this.passes[pass].parts) {
                    this.show(pass, key, part);
                    const path = this.path(pass, key);
                    const own = this.complaints.filter((one) => one.path.startsWith(path));
                    own.forEach((one) => inRows.add(one));
                    this.showComplaints(part, own, path);
                    this.showActs(pass, key, part, own);
                }
                this.drawPicture(pass);
            }
            this.list(this.problems, this.complaints.filter((one) => !inRows.has(one)));
        }

        path(pass, key) {
            return (pass === "hires" ? "hires." : "") + (key === "box" ? "box." : `negatives[${key}].`);
        }

        showComplaints(part, complaints, path) {
            const wrong = complaints.map((one) => one.path.slice(path.length).replace(/\[.*/, ""));
            for (const [name, input] of Object.entries(part.inputs)) {
                if (wrong.includes(name)) input.setAttribute("aria-invalid", "true"); else input.removeAttribute("aria-invalid");
            }
            this.list(part.errors, complaints);
        }

        /** The complaints one below the other; their parts are texts of their own, for translations. */
        list(parent, complaints) {
            const text = complaints.map((one) => one.message).join("\n");
            if (parent.shownText === text) return;
            parent.shownText = text;
            parent.replaceChildren(...complaints.map((one) => element("div", {className: "negguide-error", "data-error": one.path},
                `${one.path} = ${one.shown} `, element("span", {}, "is not allowed"), "; ", element("span", {}, one.allowed))));
        }

        silent(pass, key) {
            return key === "box" ? this.page.boxText(pass).trim() === "" : NegGuide.settings.showNumber(this.window(pass, key).text).trim() === "";
        }

        showActs(pass, key, part, complaints) {
            const {referenceSigmas, inSigma, strength} = NegGuide.schedule;
            let text = "";
            if (!complaints.length) {
                if (this.silent(pass, key)) {
                    text = key === "box" ? "empty: does nothing" : "no text: does nothing";
                } else {
                    const {steps, from} = this.page.run(pass);
                    const sigmas = referenceSigmas(steps);
                    const w = inSigma(this.window(pass, key), sigmas);
                    const at = sigmas.map((sigma, index) => strength(sigma, w.start, w.stop, w.weight, w.curve, w.points) > 0 ? index : -1)
                        .filter((index) => index >= from);
                    text = at.length ? `acts at ${at.length} of ${steps - from} steps: ${ranges(at)}` : `acts at none of ${steps - from} steps`;
                }
            }
            if (part.acts.textContent !== text) part.acts.textContent = text;
        }

        drawPicture(pass) {
            const schedule = this.schedule(pass);
            if (!schedule) return;
            const {steps, from} = this.page.run(pass);
            const sigmas = NegGuide.schedule.referenceSigmas(steps);
            const lanes = this.keys(schedule).map((key) => {
                const value = this.window(pass, key);
                const wrong = (this.complaints || []).some((one) => one.path.startsWith(this.path(pass, key)));
                const name = key === "box" ? NegGuide.settings.field("Schedule", "box").title : `${key + 1}: ${NegGuide.settings.showNumber(value.text).trim() || "(no text)"}`;
                return {key, name, color: this.color(key), window: wrong ? null : NegGuide.schedule.inSigma(value, sigmas), silent: this.silent(pass, key)};
            });
            this.passes[pass].picture.draw(lanes, steps, from, pass === "hires" ? "Schedule of the hires pass" : "Schedule");
        }

        /** The page around has changed (steps, negative prompt): only what depends on it. */
        pageChanged() {
            for (const pass of ["first", "hires"]) {
                for (const [key, part] of this.passes[pass].parts) {
                    const path = this.path(pass, key);
                    this.showActs(pass, key, part, this.complaints.filter((one) => one.path.startsWith(path)));
                }
                this.drawPicture(pass);
            }
        }

        tell(text, isError) {
            this.message.textContent = text;
            this.message.classList.toggle("negguide-error", Boolean(isError));
        }

        // ---- editing

        set(pass, key, name, value) {
            this.window(pass, key)[name] = value;
            this.edited();
        }

        addNegative(pass) {
            const {negatives} = this.schedule(pass);
            negatives.push(NegGuide.settings.filled("Negative", {text: ""}));
            this.rebuilt(pass);
            this.passes[pass].parts.get(negatives.length - 1).inputs.text.focus();
        }

        removeNegative(pass, key) {
            this.schedule(pass).negatives.splice(key, 1);
            this.rebuilt(pass);
            this.passes[pass].box.querySelector("[data-action=add]").focus();
        }

        swap(pass, key, other) {
            const {negatives} = this.schedule(pass);
            if (other < 0 || other >= negatives.length) return;
            [negatives[key], negatives[other]] = [negatives[other], negatives[key]];
            this.rebuilt(pass);
            this.passes[pass].parts.get(other).row.querySelector(`[data-action=move-${other < key ? "up" : "down"}]`).focus();
        }

        rebuilt(pass) {
            this.fillPass(pass);
            this.edited();
        }

        useHires(own) {
            const {clone} = NegGuide.settings;
            if (own) {
                const {box, negatives, combine} = this.settings;
                this.settings.hires = this.keptHires || clone({box, negatives, combine});
            } else {
                this.keptHires = this.settings.hires;
                this.settings.hires = null;
            }
            this.rebuilt("hires");
        }

        usePreset(pass, key, name) {
            const preset = this.presets.find((one) => one.name === name);
            if (preset) Object.assign(this.window(pass, key), NegGuide.settings.clone(preset.window));
            this.edited();
        }

        /** Change the unit and convert the numbers, over the plain schedule with the page's steps. */
        changeUnit(pass, key, unit) {
            const value = this.window(pass, key);
            for (const name of ["start", "stop"]) {
                if (typeof value[name] === "number") value[name] = this.convert(pass, value[name], value.unit, unit);
            }
            value.unit = unit;
            this.edited();
        }

        convert(pass, number, from, to) {
            const {referenceSigmas, toSigma, fromSigma} = NegGuide.schedule;
            const {steps} = this.page.run(pass);
            if (from === to) return number;
            if (from === "fraction" && to === "step") return roundTo(number * steps, 4);
            if (from === "step" && to === "fraction") return roundTo(number / steps, 4);
            const sigmas = referenceSigmas(steps);
            if (to === "sigma") return toSigma(number, from, sigmas);
            return roundTo(fromSigma(number, to, sigmas), to === "step" ? 2 : 4);
        }

        changeCurve(pass, key, curve) {
            const {clone, same} = NegGuide.settings;
            const value = this.window(pass, key);
            value.curve = curve;
            if (curve === "points" && same(value.points, [])) value.points = clone(FLAT);
            else if (curve !== "points" && same(value.points, FLAT)) value.points = [];
            this.edited();
        }

        // ---- handles of the picture

        move(pass, key, handle, where) {
            if (typeof handle === "number") this.movePoint(pass, key, handle, where);
            else this.moveEnd(pass, key, handle, where);
        }

        /** Move a window's start or stop; it goes no further than the other end. */
        moveEnd(pass, key, name, where) {
            const {referenceSigmas, inSigma, span, sigmaAt, fromSigma} = NegGuide.schedule;
            const value = this.window(pass, key);
            const isStart = name === "start";
            const {steps} = this.page.run(pass);
            const sigmas = referenceSigmas(steps);
            const ends = inSigma(value, sigmas);
            const stepOf = (sigma, open) => sigma === null ? open : fromSigma(sigma, "step", sigmas);
            const other = isStart ? stepOf(ends.stop, steps) : stepOf(ends.start, 0);
            let step;
            if (where.part !== undefined) {
                const [opens, closes] = span(ends.start, ends.stop);
                const part = isStart ? Math.min(where.part, closes) : Math.max(where.part, opens);
                if (part < 0.003) step = 0;
                else if (part > 0.997) step = steps;
                else step = this.rounded(fromSigma(sigmaAt(part), "step", sigmas), value.unit, steps, sigmas);
            } else if (where.to) {
                step = where.to === "first" ? 0 : steps;
            } else {
                const now = stepOf(ends[name], isStart ? 0 : steps);
                step = roundTo(now + where.by, 2);
                if (Number.isInteger(where.by)) step = where.by > 0 ? Math.floor(step) : Math.ceil(step);
            }
            const touches = isStart ? step >= other : step <= other;
            const otherValue = value[isStart ? "stop" : "start"];
            if (touches && otherValue !== null) value[name] = otherValue;
            else if (touches) value[name] = this.fromStep(isStart ? steps - 1 : 1, value.unit, steps, sigmas);
            else if (isStart ? step <= 0 : step >= steps) value[name] = null;
            else value[name] = this.fromStep(step, value.unit, steps, sigmas);
            this.edited();
        }

        /** A dragged step, to what reads well in the unit: whole steps, hundredths, three digits. */
        rounded(step, unit, steps, sigmas) {
            const {toSigma, fromSigma} = NegGuide.schedule;
            if (unit === "step") return Math.round(step);
            if (unit === "fraction") return roundTo(step / steps, 2) * steps;
            const sigma = toSigma(step, "step", sigmas);
            return sigma === null ? 0 : fromSigma(Number(sigma.toPrecision(3)), "step", sigmas);
        }

        fromStep(step, unit, steps, sigmas) {
            if (unit === "step") return roundTo(step, 2);
            if (unit === "fraction") return roundTo(step / steps, 4);
            const sigma = NegGuide.schedule.toSigma(step, "step", sigmas);
            return sigma === null ? null : Number(sigma.toPrecision(4));
        }

        movePoint(pass, key, index, where) {
            const {points} = this.window(pass, key);
            if (where.remove) {
                if (points.length > 1) points.splice(index, 1);
            } else {
                const [position, factor] = where.by ? [points[index][0] + where.by[0], points[index][1] + where.by[1]] : [where.position, where.factor];
                const low = index ? points[index - 1][0] + 0.01 : 0;
                const high = index + 1 < points.length ? points[index + 1][0] - 0.01 : 1;
                points[index] = [roundTo(Math.max(Math.min(position, high), low), 2), roundTo(Math.min(Math.max(factor, 0), 1), 2)];
            }
            this.edited();
        }

        /** Add a point at a place of the picture, or in the middle of the widest gap. */
        insertPoint(pass, key, position, factor) {
            const {curveValue} = NegGuide.schedule;
            const value = this.window(pass, key);
            if (!Array.isArray(value.points) || this.complaints.some((one) => one.path === this.path(pass, key) + "points" && value.points.length)) return;
            if (position === undefined) {
                const edges = [0].concat(value.points.map((pair) => pair[0]), 1);
                let widest = 1;
                for (let index = 2; index < edges.length; index++) {
                    if (edges[index] - edges[index - 1] > edges[widest] - edges[widest - 1]) widest = index;
                }
                position = roundTo((edges[widest] + edges[widest - 1]) / 2, 2);
                factor = value.points.length ? roundTo(curveValue("points", position, value.points), 2) : 1;
            }
            if (value.points.some((pair) => Math.abs(pair[0] - position) < 0.01)) return;
            value.points = value.points.concat([[position, factor]]).sort((left, right) => left[0] - right[0]);
            this.edited();
        }
    }

    NegGuide.element = element;
    NegGuide.Editor = Editor;
})(window.NegGuide = window.NegGuide || {});
