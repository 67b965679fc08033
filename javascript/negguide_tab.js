/*
 * The NegGuide tab: form, pictures and history of the workbench, put into the place that webui/tab.py leaves.
 *
 * A run is made on the server; the page looks at it from time to time and can be left and reloaded meanwhile.
 */
(function(NegGuide) {
    "use strict";

    const SOON = 150, EVERY = 700; // milliseconds between two looks, at first and later

    const root = () => (typeof gradioApp === "function" ? gradioApp() : document);

    class Tab {
        constructor(container) {
            const {element, button} = NegGuide.dom;
            const data = Object.fromEntries(Object.entries(container.dataset).map(([name, text]) => [name, JSON.parse(text)]));
            this.container = container;
            this.form = new NegGuide.WorkbenchForm(data, () => this.complain(""), (captioner) => this.caption(captioner));
            this.cells = new NegGuide.WorkbenchCells({use: (negative) => this.use(negative), send: (...what) => this.act(() => this.send(...what))});
            this.start = button("run", "Run", () => this.act(() => this.run()), "Make the strip's pictures, all from one seed");
            this.start.classList.add("negguide-primary");
            this.stop = button("interrupt", "Interrupt", () => this.act(async() => this.told(await NegGuide.workbench.interrupt())), "End the strip; the pictures that are there stay");
            this.skip = button("skip", "Skip", () => this.act(() => NegGuide.workbench.skip()), "Leave out the picture that is being made");
            this.bar = element("progress", {max: 1, value: 0, "aria-label": "progress of the strip"});
            this.words = element("span", {className: "negguide-note", "data-progress": ""});
            this.live = element("img", {className: "negguide-tab-live", alt: "", hidden: true});
            this.live.alt = NegGuide.dom.words("what is being made");
            this.error = element("div", {className: "negguide-error", role: "alert"});
            this.history = element("div", {className: "negguide-tab-history"});
            this.form.inputs.captioner.addEventListener("focus", () => this.captioners().catch((error) => this.complain(error.message)));
            const last = button("last", "Take from the last generation", () => this.act(() => this.takeLast()),
                "Prompt, negative, seed, sampler and size of the picture in the gallery of txt2img");
            const random = button("random", "Random seed", () => this.form.write({seed: -1}), "Another seed at each run");
            this.file = element("input", {type: "file", accept: "image/png,image/jpeg,image/webp", hidden: true});
            this.file.addEventListener("change", () => this.act(() => this.takeFile(this.file.files[0])));
            const drop = button("file", "Drop a picture here, or choose one", () => this.file.click(), "Its infotext fills in the form");
            drop.classList.add("negguide-tab-drop");
            for (const kind of ["dragover", "drop"]) drop.addEventListener(kind, (event) => this.drop(event));
            container.replaceChildren(
                element("div", {className: "negguide-tab-left"}, element("p", {className: "negguide-hint"},
                    "One seed, many pictures: see what a negative does by when, how strongly and in which way it acts."),
                element("div", {className: "negguide-tab-tools"}, last, random, drop, this.file), this.form.element,
                element("div", {className: "negguide-tab-tools"}, this.start, this.stop, this.skip), this.bar, this.words, this.live, this.error),
                element("div", {className: "negguide-tab-right"}, this.cells.element, element("h3", {className: "negguide-title"}, "Earlier runs"), this.history));
            this.cells.show(null);
            this.timer = null;
            this.watched = "";
            this.told({state: "idle"});
            // Nothing is asked for before the tab is looked at.
            new IntersectionObserver((entries, observer) => {
                if (!entries.some((entry) => entry.isIntersecting)) return;
                observer.disconnect();
                this.act(() => this.begin());
            }).observe(container);
        }

        async begin() {
            await this.list();
            await this.captioners();
            const state = await NegGuide.workbench.state(-1);
            if (state.state === "running") this.watch(state.name);
        }

        /** Offer those that are on the server now. */
        async captioners() {
            this.form.offer("captioner", await NegGuide.workbench.captioners());
        }

        /** Do something; what goes wrong is said. */
        async act(what) {
            try {
                this.complain("");
                await what();
            } catch (error) {
                this.complain(error.message);
            }
        }

        complain(text) {
            this.error.textContent = text;
        }

        // ---- a run

        async run() {
            this.start.disabled = true;
            try {
                const {id} = await NegGuide.workbench.start(this.form.read());
                this.watch(id);
            } catch (error) {
                this.start.disabled = false;
                throw error;
            }
        }

        watch(id) {
            clearTimeout(this.timer);
            this.watched = id;
            this.seen = -1;
            this.preview = -1;
            this.looks = 0;
            this.look();
        }

        async look() {
            clearTimeout(this.timer);
            if (!this.container.isConnected) return;
            let state;
            try {
                state = await NegGuide.workbench.state(this.preview);
                const ended = state.state !== "running" || state.name !== this.watched;
                if (state.done !== this.seen || ended) {
                    this.seen = state.done;
                    this.cells.show(await NegGuide.workbench.run(this.watched));
                }
                this.told(ended ? {...state, state: "idle"} : state);
                if (ended) {
                    if (this.cells.run.error) this.complain(this.cells.words(this.cells.run.error).replace(/^NegGuide: /, ""));
                    await this.list();
                    return;
                }
            } catch (error) {
                this.complain(error.message);
                this.told({state: "idle"});
                return;
            }
            this.timer = setTimeout(() => this.look(), this.looks++ < 5 ? SOON : EVERY);
        }

        left(seconds) {
            const {say} = NegGuide.dom;
            return !seconds ? "" : seconds < 90 ? say("{} s left", Math.ceil(seconds)) : say("{} min left", Math.ceil(seconds / 60));
        }

        /** How far the run is, as the host counts it. */
        told({state, done = 0, total = 0, waiting = false, ending = false, doing = "", host = {}}) {
            const {words, say} = NegGuide.dom;
            const busy = state === "running";
            this.start.disabled = busy;
            this.stop.disabled = !busy || ending;
            this.skip.disabled = !busy || ending || waiting;
            this.bar.hidden = !busy;
            if (busy && total) this.bar.value = host.progress;
            else this.bar.removeAttribute("value");
            if (host.preview) {
                this.live.src = host.preview;
                this.preview = host.preview_id;
            }
            this.live.hidden = !busy || !this.live.getAttribute("src");
            if (!busy) this.live.removeAttribute("src");
            const said = [];
            if (busy && ending) said.push(words(waiting ? "ends as soon as it is its turn" : "is being ended"));
            else if (busy && waiting) said.push(words("waits for its turn"), host.queue > 1 ? say("{} of {} in the queue", host.place, host.queue) : "");
            else if (busy && total) {
                said.push(`${Math.min(done + 1, total)} / ${total}`, this.cells.run ? this.cells.words(doing.replace(/^NegGuide: /, "")) : "",
                    `${Math.floor(100 * host.progress)} %`, this.left(host.eta));
            }
            this.words.textContent = said.filter((one) => one).join(" · ");
        }

        /** What a captioner says of the picture without the negative, "" where it cannot. */
        async caption(captioner) {
            let said = "";
            await this.act(async() => {
                const {run} = this.cells;
                const plain = run && run.cells.find((cell) => cell.name === "plain");
                if (!plain) throw new Error(NegGuide.dom.words("run the strip first: there is no picture to look at"));
                const answer = await fetch(NegGuide.workbench.file(run.id, plain.file));
                said = await NegGuide.workbench.caption(await this.url(await answer.blob()), captioner);
            });
            return said;
        }

        // ---- what is there already

        async takeLast() {
            const about = root().querySelector("#generation_info_txt2img textarea");
            let texts = [];
            try {
                const told = JSON.parse(about.value);
                texts = told.infotexts.slice(told.index_of_first_image || 0);
            } catch (error) {
                throw new Error(NegGuide.dom.words("there is no generation in txt2img yet"));
            }
            const shown = root().querySelectorAll("#txt2img_gallery .thumbnail-item.thumbnail-small");
            const at = Array.from(shown).findIndex((one) => one.classList.contains("selected"));
            const first = Math.max(shown.length - texts.length, 0);
            await this.take({infotext: texts[Math.max(at - first, 0)] || texts[0]});
        }

        async takeFile(file) {
            if (!file) return;
            this.file.value = "";
            await this.take({image: await this.url(file)});
        }

        /** A file as a data URL. */
        url(file) {
            return new Promise((resolve, reject) => {
                const reader = new FileReader();
                reader.onload = () => resolve(reader.result);
                reader.onerror = () => reject(new Error(NegGuide.dom.words("the file cannot be read")));
                reader.readAsDataURL(file);
            });
        }

        drop(event) {
            event.preventDefault();
            event.stopPropagation();
            if (event.type === "drop") this.act(() => this.takeFile(event.dataTransfer.files[0]));
        }

        async take(what) {
            const {form, notes, words} = await NegGuide.workbench.read(what);
            this.form.write(form);
            this.complain(notes.map((note) => NegGuide.dom.told(words[note])).join("; "));
        }

        use(negative) {
            const {text, ...window_} = negative;
            this.form.write({negative: text, window: window_, ...(this.form.inputs.strip.value === "four" ? {strip: "windows"} : {})});
            this.form.inputs.negative.focus();
        }

        // ---- elsewhere

        /** The server puts picture and infotext into components of the page; then the host's own button sends them. */
        async send(target, run, cell) {
            const box = (name) => root().querySelector(`#negguide_tab_${name} textarea, #negguide_tab_${name} input`);
            const picked = box("picked");
            picked.value = `${run.id}/${cell.name}#${Date.now()}`;
            picked.dispatchEvent(new Event("input", {bubbles: true}));
            for (let tries = 0; box("ready").value !== picked.value; tries++) {
                if (tries > 200) throw new Error(NegGuide.dom.words("the server does not answer"));
                await new Promise((resolve) => setTimeout(resolve, 50));
            }
            root().querySelector(`#negguide_tab_to_${target}`).click();
        }

        async list() {
            this.draw(await NegGuide.workbench.runs());
        }

        draw(runs) {
            const {element, button} = NegGuide.dom;
            this.history.replaceChildren(...runs.map((run) => {
                const open = button("open", "", () => this.act(async() => this.cells.show(await NegGuide.workbench.run(run.id))), "Show this run");
                open.className = "negguide-tab-run";
                if (run.thumbnail) open.append(element("img", {src: NegGuide.workbench.file(run.id, "thumbnail.jpg"), alt: "", loading: "lazy"}));
                open.append(element("span", {className: "negguide-tab-caption"}, element("b", {}, run.prompt || "–"), element("span", {}, run.negative),
                    element("span", {}, `${NegGuide.dom.words(run.strip)}, ${run.cells}, ${run.created.slice(0, 16).replace("T", " ")}`)));
                const drop = button("delete", "✕", () => this.act(() => this.remove(run)), "Delete this run");
                return element("div", {className: "negguide-tab-entry", "data-run": run.id}, open, drop);
            }), ...(runs.length ? [] : [element("p", {className: "negguide-note"}, "No runs yet.")]));
        }

        async remove(run) {
            this.draw(await NegGuide.workbench.remove(run.id));
            if (this.cells.run && this.cells.run.id === run.id) this.cells.show(null);
        }
    }

    function mount() {
        for (const container of root().querySelectorAll(".negguide-tab")) {
            if (!container.negguideTab) container.negguideTab = new Tab(container);
        }
    }

    NegGuide.mountTab = mount;
    if (typeof window.onUiLoaded === "function") window.onUiLoaded(mount);
    if (typeof window.onAfterUiUpdate === "function") window.onAfterUiUpdate(mount);
})(window.NegGuide = window.NegGuide || {});
