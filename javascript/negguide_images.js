/*
 * NegGuide.Images: the section "Image prompts (IP-Adapter)" of one tab's editor.
 *
 * `settings.images` holds references to pictures that are stored on the server (negguide_store.js). A new picture
 * becomes a row only when it is stored; while it is uploaded, or when it was refused, it is in the list of uploads.
 * Each row is a NegGuide.Row with a NegGuide.Slot in it, and has a lane in the pictures of both passes.
 */
(function(NegGuide) {
    "use strict";

    const KEY = /^image(\d+)$/;
    const NAMES = ["image_subtract", "adapter", "image_encoder"];

    class Images {
        /** `editor` has settings, fill(), edited(), tab. */
        constructor(editor) {
            const {element, button} = NegGuide.dom;
            const {field} = NegGuide.settings;
            this.editor = editor;
            this.id = `negguide_${editor.tab}_images`;
            this.slots = new Map(); // key: NegGuide.Slot
            this.statuses = new WeakMap(); // image prompt: {text, isError} of its upload
            this.state = element("span", {className: "negguide-acts", "data-state": ""});
            this.missing = element("div", {className: "negguide-errors", role: "status", "data-missing": ""});
            this.downloads = new NegGuide.Downloads(() => this.ask());
            this.rows = element("div", {className: "negguide-rows"});
            this.uploads = element("div", {className: "negguide-rows", role: "status", "data-uploads": ""});
            this.file = element("input", {type: "file", accept: "image/*", multiple: true, hidden: true, tabIndex: -1, "aria-label": "Picture files",
                "data-field": "file"});
            this.file.addEventListener("change", () => {
                const files = Array.from(this.file.files);
                this.file.value = "";
                if (files.length) this.take(Promise.resolve(files));
            });
            const {help} = field("ImagePrompt", "side");
            this.zone = element("div", {className: "negguide-zone", role: "group", tabIndex: 0, "data-zone": "",
                "aria-label": "New pictures: drop or paste them here"},
                element("div", {className: "negguide-note"}, "Drop or paste pictures of what to avoid here, or choose their files:"),
                element("div", {className: "negguide-heading"},
                    button("add-negative", "Negative picture…", () => this.choose({side: "negative"}), help),
                    button("add-positive", "Positive picture…", () => this.choose({side: "positive"}), help),
                    button("add-noise", "Noise alone", () => this.add({noise: "gaussian"}), field("ImagePrompt", "noise").help)));
            NegGuide.Slot.receive(this.zone, (files) => this.take(files, {side: "negative"}));
            this.inputs = {};
            this.lists = {};
            this.element = element("details", {className: "negguide-section", "data-section": "images"},
                element("summary", {title: field("Settings", "images").help}, element("span", {}, "Image prompts (IP-Adapter)"), " ", this.state),
                element("div", {className: "negguide-rows"}, this.missing, this.downloads.element, this.rows, this.uploads, this.zone,
                    element("div", {className: "negguide-fields"}, ...NAMES.map((name) => this.named(name))), this.file));
            this.element.addEventListener("toggle", () => this.element.open && this.ask());
        }

        // ---- building

        /** A field of the settings: a number, or a text with suggestions (the IP-Adapter, the image encoder). */
        named(name) {
            const {element} = NegGuide.dom;
            const row = NegGuide.settings.field("Settings", name);
            const id = `${this.id}_${name}`, isText = row.kind === "text";
            const input = element("input", {type: "text", id, autocomplete: "off", spellcheck: false, inputMode: isText ? "text" : "decimal",
                "data-field": name});
            input.addEventListener("input", () => {
                this.editor.settings[name] = isText ? input.value : NegGuide.settings.parseNumber(input.value);
                this.editor.edited();
            });
            this.inputs[name] = input;
            const label = element("label", {className: `negguide-field negguide-field-${name}`, title: row.help, for: id},
                element("span", {}, row.title), input);
            if (isText) {
                this.lists[name] = element("datalist", {id: `${id}_known`}, element("option", {value: row.default}));
                input.setAttribute("list", `${id}_known`);
                label.append(this.lists[name]);
            }
            return label;
        }

        /** Build the rows anew; each is also put into the map `rows` of its pass. */
        fill(rows) {
            this.slots.clear();
            this.rows.replaceChildren();
            for (const key of this.keys()) {
                const index = this.index(key), id = `${this.id}_${index}`;
                const edit = (change) => {
                    change(this.prompt(key));
                    this.editor.edited();
                };
                const slot = new NegGuide.Slot({
                    id, errors: `${id}_errors`, edit,
                    choose: () => this.choose({prompt: this.prompt(key)}),
                });
                const row = new NegGuide.Row({
                    key, id, color: this.color(key), presets: this.editor.presets,
                    edit: (change) => this.editor.edit("first", key, change),
                    rearrange: (from, to) => this.rearrange(from, to),
                    inner: {title: NegGuide.dom.say("Picture {}", index + 1), place: index, element: slot.element},
                });
                Object.assign(row.inputs, slot.inputs);
                NegGuide.Slot.receive(row.element, (files) => this.take(files, {prompt: this.prompt(key)}));
                rows.set(key, row);
                this.slots.set(key, slot);
                this.rows.append(row.element);
                row.show(this.prompt(key), true);
            }
            this.show(true);
        }

        // ---- image prompts by the keys of their rows and lanes

        keys() {
            return this.editor.settings.images.map((_, index) => `image${index}`);
        }

        index(key) {
            const found = KEY.exec(key);
            return found ? Number(found[1]) : null;
        }

        prompt(key) {
            return this.editor.settings.images[this.index(key)];
        }

        has(key) {
            return KEY.test(key);
        }

        isPositive(key) {
            return this.prompt(key).side === "positive";
        }

        color(key) {
            return `var(--negguide-color-${this.isPositive(key) ? "positive" : "image"})`;
        }

        nameOf(key) {
            const {image, name, noise, side} = this.prompt(key);
            const what = NegGuide.dom.say(String(image).trim() ? "picture {}" : "picture {}, noise alone", this.index(key) + 1);
            return `${NegGuide.dom.words(side)} ${what}${name ? `: ${name}` : noise === "none" ? "" : ` (${noise})`}`;
        }

        // ---- showing

        show(all) {
            const {images} = this.editor.settings;
            const count = (side) => images.filter((prompt) => prompt.side === side).length;
            const parts = ["negative", "positive"].filter(count).map((side) => `${count(side)} ${NegGuide.dom.words(side)}`);
            this.state.textContent = parts.join(", ") || "none";
            for (const [key, slot] of this.slots) {
                slot.show(this.prompt(key), this.statuses.get(this.prompt(key)), all);
                this.rows.children[this.index(key)].style.setProperty("--negguide-color", this.color(key));
            }
            for (const name of NAMES) {
                const value = NegGuide.settings.showNumber(this.editor.settings[name]);
                if (this.inputs[name].value !== value && (all || this.inputs[name] !== document.activeElement)) this.inputs[name].value = value;
            }
        }

        /** Ask the server for IP-Adapters and image encoders; say what is missing where none can be used. */
        async ask() {
            let complaints = [];
            try {
                const {adapters, folders} = await NegGuide.store.adapters();
                const usable = adapters.filter((one) => one.usable);
                this.suggest("adapter", usable.map((one) => one.adapter));
                this.suggest("image_encoder", usable.map((one) => one.encoder.split(/[\\/]/).pop()));
                this.downloads.show(!usable.length);
                if (!usable.length) {
                    complaints = adapters.map((one) => `${one.adapter}: ${one.why}`);
                    if (!complaints.length) {
                        complaints = [NegGuide.dom.say("There is no IP-Adapter here yet: put one into {}, and its image encoder into {}.",
                            folders.adapters[0], folders.encoders[0])];
                    }
                }
            } catch (error) {
                complaints = [`IP-Adapters: ${error.message}`];
            }
            this.missing.replaceChildren(...complaints.map((text) => NegGuide.dom.element("div", {className: "negguide-error"}, text)));
        }

        suggest(name, values) {
            const all = Array.from(new Set(["auto"].concat(values)));
            this.lists[name].replaceChildren(...all.map((value) => NegGuide.dom.element("option", {value})));
        }

        // ---- pictures that come and go

        /** One more row; `values` are fields of its image prompt. */
        add(values) {
            const {images} = this.editor.settings;
            images.push(NegGuide.settings.filled("ImagePrompt", values));
            this.element.open = true;
            this.editor.fill();
            this.editor.edited();
            return `image${images.length - 1}`;
        }

        /** Ask for files: {side} of new rows, or the {prompt} whose picture they replace. */
        choose(where) {
            this.chosen = where;
            this.file.multiple = !where.prompt;
            this.file.click();
        }

        /** Upload pictures, one after the other: a promise of files, and where they go (see choose). */
        async take(promise, where = this.chosen) {
            let files = [];
            try {
                files = await promise;
                if (!files.length) throw new Error("this is not a picture");
            } catch (error) {
                this.status(where, "The picture was not taken", error);
            }
            for (const file of where.prompt ? files.slice(0, 1) : files) await this.upload(file, where);
        }

        async upload(file, where) {
            const told = this.status(where, `${file.name}: uploading`);
            try {
                const image = await NegGuide.store.upload(file, file.name,
                    (part) => told.say(part < 1 ? NegGuide.dom.say("{}: uploading, {}%", file.name, Math.floor(100 * part)) :
                        NegGuide.dom.say("{}: uploaded, waiting for the server", file.name)));
                told.end();
                if (!where.prompt) {
                    this.add({image, name: file.name, side: where.side});
                } else if (this.editor.settings.images.includes(where.prompt)) { // its row may be gone
                    Object.assign(where.prompt, {image, name: file.name});
                    this.editor.edited();
                }
            } catch (error) {
                told.fail(error);
            }
        }

        /** Words about an upload, in the row whose picture it is for, or in a line of its own: {say(text), fail(error), end()}. */
        status(where, text, error) {
            const {element, button} = NegGuide.dom;
            const words = element("span", {}), line = element("div", {className: "negguide-heading", "data-upload": ""}, words);
            const name = text.replace(/: uploading$/, "");
            const put = (said, isError) => {
                if (where.prompt) {
                    this.statuses.set(where.prompt, {text: said, isError});
                    this.show();
                    return;
                }
                words.textContent = said;
                words.classList.toggle("negguide-error", Boolean(isError));
                if (!line.isConnected) this.uploads.append(line);
                if (isError && line.children.length === 1) line.append(button("dismiss", "✕", () => line.remove(), `Dismiss: ${name}`));
            };
            const told = {
                say: (said) => put(said, false),
                fail: ({message}) => put(`${name}: ${message}`, true),
                end: () => {
                    line.remove();
                    if (where.prompt) this.statuses.delete(where.prompt);
                    this.show();
                },
            };
            if (error) told.fail(error); else told.say(text);
            return told;
        }

        /** Move a picture to another place, or remove it (`to` is null). */
        rearrange(from, to) {
            const {images} = this.editor.settings;
            if (to !== null && !(to in images)) return;
            const [moved] = images.splice(from, 1);
            if (to !== null) images.splice(to, 0, moved);
            this.editor.fill();
            this.editor.edited();
            const action = to === null ? this.zone.querySelector("[data-action=add-negative]")
                : this.rows.children[to].querySelector(`[data-action=${to < from ? "move-up" : "move-down"}]`);
            action.focus();
        }
    }

    NegGuide.Images = Images;
})(window.NegGuide = window.NegGuide || {});
