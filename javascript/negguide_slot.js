/*
 * NegGuide.Slot: what a picture's row shows besides its window: the picture itself, name, side and noise.
 *
 * Its inputs are those of ImagePrompt's table. A picture that is being uploaded, or could not be, is told of here;
 * the settings change only when it is stored.
 */
(function(NegGuide) {
    "use strict";

    const FIELDS = ["name", "side", "noise", "amount", "seed"];
    const CHOOSE = "Click, drop or paste a picture here";

    class Slot {
        /**
         * `id` begins the ids of its inputs; `edit(change)` runs change(prompt); `choose()` asks for a file.
         */
        constructor({id, errors, edit, choose}) {
            const {element} = NegGuide.dom;
            Object.assign(this, {id, edit, inputs: {}, labels: {}, src: null});
            this.image = element("img", {alt: "", draggable: false});
            this.image.addEventListener("load", () => this.found(true));
            this.image.addEventListener("error", () => this.found(false));
            this.none = element("span", {className: "negguide-none"}, "noise alone");
            this.thumb = element("button", {type: "button", className: "negguide-button negguide-thumb", title: CHOOSE,
                "data-action": "choose-picture"}, this.image, this.none);
            this.thumb.addEventListener("click", choose);
            this.message = element("div", {className: "negguide-upload", role: "status", "data-upload": ""});
            this.element = element("div", {className: "negguide-slot", "data-slot": ""}, this.thumb,
                element("div", {className: "negguide-rows"},
                    element("div", {className: "negguide-fields"}, ...FIELDS.map((name) => this.labelled(name, errors))), this.message));
        }

        /** Pictures that are dropped on an element, or pasted while the focus is in it, go to take(promise of files). */
        static receive(zone, take) {
            let within = 0; // elements that are dragged over
            const mark = (change) => {
                within = change;
                zone.classList.toggle("negguide-over", within > 0);
            };
            const carries = (event) => ["Files", "text/uri-list"].some((type) => event.dataTransfer.types.includes(type));
            const ours = (event) => {
                if (!carries(event)) return false;
                event.preventDefault();
                event.stopPropagation(); // the host's page takes drops and pastes everywhere
                return true;
            };
            zone.addEventListener("dragenter", (event) => ours(event) && mark(within + 1));
            zone.addEventListener("dragleave", () => mark(Math.max(within - 1, 0)));
            zone.addEventListener("dragover", (event) => {
                if (ours(event)) event.dataTransfer.dropEffect = "copy";
            });
            zone.addEventListener("drop", (event) => {
                mark(0);
                if (ours(event)) take(NegGuide.store.dropped(event.dataTransfer));
            });
            zone.addEventListener("paste", (event) => {
                const {files} = event.clipboardData;
                if (!files.length) return; // a text, for the input
                event.preventDefault();
                event.stopPropagation();
                take(Promise.resolve(Array.from(files)));
            });
        }

        // ---- building

        labelled(name, errors) {
            const {element} = NegGuide.dom;
            const row = NegGuide.settings.field("ImagePrompt", name);
            const input = row.kind === "choice" ? this.chosen(row) : this.typed(row);
            input.id = `${this.id}_${name}`;
            input.setAttribute("data-field", name);
            input.setAttribute("aria-describedby", errors);
            this.inputs[name] = input;
            const whole = name === "amount" ? element("span", {className: "negguide-weight"}, this.slider(row), input) : input;
            return this.labels[name] = element("label", {className: `negguide-field negguide-field-${name}`, title: row.help, for: input.id},
                element("span", {}, row.title), whole);
        }

        put(name, value) {
            this.edit((prompt) => {
                prompt[name] = value;
            });
        }

        chosen(row) {
            const select = NegGuide.dom.element("select", {});
            select.addEventListener("change", () => this.put(row.name, select.value));
            return select;
        }

        typed(row) {
            const isText = row.kind === "text";
            const input = NegGuide.dom.element("input", {type: "text", autocomplete: "off", spellcheck: false, inputMode: isText ? "text" : "decimal"});
            input.addEventListener("input", () => this.put(row.name, isText ? input.value : NegGuide.settings.parseNumber(input.value)));
            return input;
        }

        slider({name, title, min, max, step}) {
            this.amount = NegGuide.dom.element("input", {type: "range", min, max, step, "data-field": `${name}-slider`, "aria-label": title});
            this.amount.addEventListener("input", () => this.put(name, Number(this.amount.value)));
            return this.amount;
        }

        // ---- showing

        /** A prompt's values, except (unless `all`) in the input in which one types; `status` is {text, isError} of an upload, or undefined. */
        show(prompt, status, all) {
            const {field, showNumber} = NegGuide.settings;
            this.status = status;
            this.name = prompt.name;
            for (const name of FIELDS) {
                const input = this.inputs[name], row = field("ImagePrompt", name);
                if (row.kind === "choice") NegGuide.dom.fillSelect(input, row.choices, prompt[name]);
                else if (input.value !== showNumber(prompt[name]) && (all || input !== document.activeElement)) input.value = showNumber(prompt[name]);
            }
            if (typeof prompt.amount === "number" && this.amount !== document.activeElement) this.amount.value = prompt.amount;
            this.labels.amount.hidden = this.labels.seed.hidden = prompt.noise === "none";
            const src = NegGuide.store.address(prompt.image);
            if (src !== this.src) {
                this.src = src;
                this.unknown = false;
                this.image.hidden = true;
                if (src) this.image.src = src; else this.image.removeAttribute("src");
            }
            this.none.hidden = src !== "";
            const called = prompt.name ? `: ${prompt.name}` : "";
            this.thumb.setAttribute("aria-label", src ? `${CHOOSE} in place of this one${called}` : CHOOSE);
            this.tell();
        }

        /** The picture was loaded, or is not on the server. */
        found(known) {
            if (!this.src) return;
            this.unknown = !known;
            this.image.hidden = !known;
            this.tell();
        }

        tell() {
            const {status, unknown} = this;
            const text = status ? status.text : unknown ? `The picture ${this.name || "of this row"} is not on this server; drop it here again.` : "";
            this.message.classList.toggle("negguide-error", status ? Boolean(status.isError) : Boolean(unknown));
            if (this.message.textContent !== text) this.message.textContent = text;
        }
    }

    NegGuide.Slot = Slot;
})(window.NegGuide = window.NegGuide || {});
