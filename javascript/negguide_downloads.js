/*
 * NegGuide.Downloads: what image prompts lack on the server, and a button that fetches it.
 *
 * GET    ./negguide/v1/adapters/published   {missing: NAME or null, why, files: [{name, kind, megabytes, page, folder, …}]}
 * POST   ./negguide/v1/adapters/download    {name}; answers as GET does
 * GET    ./negguide/v1/adapters/download    {name, done, total, state, error}
 * DELETE ./negguide/v1/adapters/download    cancels
 */
(function(NegGuide) {
    "use strict";

    const ADDRESS = "./negguide/v1/adapters";
    const EVERY = 1000; // milliseconds between two looks

    async function request(path, method = "GET", body) {
        const headers = {"Accept": "application/json", "Content-Type": "application/json"};
        const answer = await fetch(`${ADDRESS}/${path}`, {method, headers, body: body && JSON.stringify(body)});
        const text = await answer.text();
        let data = null;
        try {
            data = JSON.parse(text);
        } catch (error) {
            // refused below
        }
        if (answer.ok && data) return data;
        throw new Error(data && typeof data.detail === "string" ? data.detail : `HTTP ${answer.status}`);
    }

    class Downloads {
        /** `onDone()`: something was fetched. */
        constructor(onDone) {
            const {element, button} = NegGuide.dom;
            this.onDone = onDone;
            this.words = element("div", {className: "negguide-note"});
            this.error = element("div", {className: "negguide-error", role: "alert", hidden: true});
            this.link = element("a", {target: "_blank", rel: "noopener noreferrer"}, "its page");
            this.start = button("download", "Download…", () => this.run(() => this.begin()));
            this.cancel = button("cancel-download", "Cancel", () => this.run(() => request("download", "DELETE")));
            this.bar = element("progress", {"aria-label": "Download"});
            this.element = element("div", {className: "negguide-rows", "data-download": "", hidden: true},
                this.words, element("div", {className: "negguide-heading"}, this.start, this.bar, this.cancel, this.link), this.error);
        }

        /** Show what can be fetched, where anything is missing; a download that runs, in any case. */
        async show(isMissing) {
            if (this.timer) return; // one runs
            await this.run(async() => {
                this.wanted = null;
                if (isMissing) {
                    const {missing, why, files} = await request("published");
                    this.wanted = files.find((one) => one.name === missing) || null;
                    this.why = why;
                    this.tell(await request("download"));
                } else {
                    this.element.hidden = true;
                }
            });
        }

        async run(act) {
            try {
                this.complain("");
                await act();
            } catch (error) {
                this.complain(error.message);
            }
        }

        complain(text) {
            this.error.textContent = text;
            this.error.hidden = text === "";
            if (text) this.element.hidden = false;
        }

        async begin() {
            const {name, megabytes, page, folder} = this.wanted;
            if (!window.confirm(NegGuide.dom.say("Download {}, about {} MB, from {} into {}?", name, megabytes, page, folder))) return;
            this.tell(await request("download", "POST", {name}));
        }

        /** Show the state of the download, and go on looking while it runs. */
        tell({name, done, total, state, error}) {
            const runs = state === "running";
            const size = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
            this.bar.hidden = this.cancel.hidden = !runs;
            this.start.hidden = runs || !this.wanted || this.why !== "";
            this.link.hidden = runs || !this.wanted;
            this.element.hidden = !runs && !this.wanted && state !== "failed";
            if (this.wanted) {
                this.link.href = this.wanted.page;
                this.start.textContent = NegGuide.dom.say("Download {} ({} MB)", this.wanted.name, this.wanted.megabytes);
            }
            if (runs) {
                this.words.textContent = total ? NegGuide.dom.say("{}: {} of {}", name, size(done), size(total)) : `${name}: ${size(done)}`;
                if (total) this.bar.max = total;
                if (total) this.bar.value = done; else this.bar.removeAttribute("value");
                this.timer = setTimeout(() => this.run(() => this.look()), EVERY);
                return;
            }
            this.words.textContent = this.why || (this.wanted ? `${this.wanted.name} is what the loaded model lacks first; it goes into ${this.wanted.folder}.` : "");
            if (state === "failed") this.complain(error);
        }

        async look() {
            this.timer = null;
            const now = await request("download");
            this.tell(now);
            if (now.state === "done") this.onDone();
        }
    }

    NegGuide.Downloads = Downloads;
})(window.NegGuide = window.NegGuide || {});
