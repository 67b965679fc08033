/*
 * NegGuide.attentionView: where the picture of a cell attends to chosen words, from call to call, as figure 1 of Ban et al. (2406.02965).
 *
 * The maps come as one grey picture (a word a row, a call a column) with what they mean as JSON: lib_negguide/workbench/attention.py. What is
 * chosen stays so from picture to picture.
 */
(function(NegGuide) {
    "use strict";

    const COLUMNS = 7;
    const HEAT = [209, 73, 91], MOST = 0.82; // as in lib_negguide/plots.py
    const COLOURS = {run: "of all calls", call: "of each call"};
    const PLACES = 64; // a map of fewer says little about where

    const choice = {words: null, size: "", colours: "run"};
    const key = (word) => `${word.side}:${word.word}`;
    /** Whose word it is; the second part of a prompt (AND) is "prompt 2". */
    function whose(word) {
        const [side, number] = word.side.split(" ");
        return [NegGuide.dom.words(side === "negative" ? "of the negative" : "of the prompt"), number].filter((part) => part).join(" ");
    }
    const sized = ([height, width]) => `${width}x${height}`;

    /** The resolution to show first: the smallest maps with at least 64 places. */
    function first(sizes) {
        const area = ([height, width]) => height * width;
        const rising = [...sizes].sort((one, other) => area(one) - area(other));
        return sized(rising.find((size) => area(size) >= PLACES) || rising[rising.length - 1]);
    }

    /** Of the negative the first words, and the last of the prompt. */
    function offered(words) {
        const negative = words.filter((word) => word.side === "negative");
        const prompt = words.filter((word) => word.side !== "negative").slice(-1);
        return new Set([...prompt, ...negative.slice(0, 4 - prompt.length)].map(key));
    }

    /** Places in the list of calls: some, evenly, and those that may not lack. */
    function columns(count, needed) {
        const some = Array.from({length: Math.min(COLUMNS, count)}, (_, number) => Math.round(number * (count - 1) / Math.max(Math.min(COLUMNS, count) - 1, 1)));
        return [...new Set([...some, ...needed])].sort((one, other) => one - other);
    }

    const percent = (share) => `${Number((100 * share).toPrecision(2))}%`;
    const short = (value) => String(Number(value.toPrecision(3)));

    class AttentionView {
        constructor(run, cell) {
            const {element} = NegGuide.dom;
            this.run = run;
            this.cell = cell;
            this.pixels = {};
            this.body = element("div", {className: "negguide-attention-body"});
            this.element = element("section", {className: "negguide-attention", "data-attention": cell.name, "data-state": "loading",
                "aria-label": "attention"}, element("h4", {}, "Attention"), this.body);
            this.load();
        }

        async load() {
            try {
                this.told = await (await this.fetched(this.cell.attention.file)).json();
                const words = this.told.resolutions[0].words;
                if (!choice.words || !words.some((word) => choice.words.has(key(word)))) choice.words = offered(words);
                const sizes = this.told.resolutions.map((one) => sized(one.size));
                if (!sizes.includes(choice.size)) choice.size = first(this.told.resolutions.map((one) => one.size));
                this.build(words, sizes);
                await this.draw();
            } catch (error) {
                this.body.replaceChildren(NegGuide.dom.element("div", {className: "negguide-error", role: "alert"}, error.message));
                this.element.dataset.state = "failed";
            }
        }

        async fetched(file) {
            const answer = await fetch(NegGuide.workbench.file(this.run.id, file));
            if (!answer.ok) throw new Error(NegGuide.dom.say("the server answered {}", answer.status));
            return answer;
        }

        /** What there is to choose. */
        build(words, sizes) {
            const {element, button} = NegGuide.dom;
            const pressed = (word) => String(choice.words.has(key(word)));
            const names = words.map((word) => {
                const made = button("attend", "", () => {
                    if (!choice.words.delete(key(word))) choice.words.add(key(word));
                    made.setAttribute("aria-pressed", pressed(word));
                    this.draw();
                }, "Show or hide the heat maps of this word");
                made.append(element("span", {}, word.word), element("small", {}, whose(word)));
                made.dataset.attend = key(word);
                made.setAttribute("aria-pressed", pressed(word));
                return made;
            });
            const select = (what, title, help, choices) => {
                const made = element("select", {title: help, "data-choose": what}, ...choices.map(([value, text]) => element("option", {value}, text)));
                made.value = choice[what];
                made.addEventListener("change", () => {
                    choice[what] = made.value;
                    this.draw();
                });
                return element("label", {className: "negguide-field", title: help}, element("span", {}, title), made);
            };
            this.links = element("div", {className: "negguide-tab-links"});
            this.table = element("div", {className: "negguide-tab-scroll", role: "region", tabIndex: 0, "aria-label": "heat maps"});
            this.body.replaceChildren(
                element("p", {className: "negguide-note", title: "After figure 1 of Ban et al. (ECCV 2024)"},
                    "Where the picture attends to a word, red as its highest share. Framed is the critical call: there the attention to the word (its mean square) has made 90% of its rise."),
                element("div", {className: "negguide-tab-tools", role: "group", "aria-label": "words of the heat maps"}, ...names),
                element("div", {className: "negguide-fields"},
                    select("size", "Resolution", "Of which layers of the model: coarse ones tell what is where, fine ones its outline", sizes.map((size) => [size, size])),
                    select("colours", "Colours", "What is red: a word's highest share of all calls, or of each call by itself", Object.entries(COLOURS))),
                this.table, this.links);
        }

        /** The grey picture of a resolution: {data, width}. */
        grey(found) {
            this.pixels[found.file] = this.pixels[found.file] || new Promise((resolve, reject) => {
                const image = new Image();
                image.onload = () => {
                    const canvas = NegGuide.dom.element("canvas", {width: image.naturalWidth, height: image.naturalHeight});
                    const context = canvas.getContext("2d");
                    context.drawImage(image, 0, 0);
                    resolve({data: context.getImageData(0, 0, canvas.width, canvas.height).data, width: canvas.width});
                };
                image.onerror = () => reject(new Error("the heat maps cannot be read"));
                image.src = NegGuide.workbench.file(this.run.id, found.file);
            });
            return this.pixels[found.file];
        }

        async draw() {
            const {element, say} = NegGuide.dom;
            this.element.dataset.state = "loading";
            const found = this.told.resolutions.find((one) => sized(one.size) === choice.size);
            const drawn = this.drawing = {};
            const grey = await this.grey(found);
            if (this.drawing !== drawn) return; // another choice was made meanwhile
            const rows = found.words.map((word, at) => ({...word, at})).filter((word) => choice.words.has(key(word)));
            const calls = columns(this.told.calls.length, rows.map((word) => word.critical).filter((call) => call !== null));
            const head = element("tr", {}, element("td", {}), ...calls.map((call) => element("th", {scope: "col"},
                element("b", {}, say("call {}", this.told.calls[call] + 1)), element("span", {}, `σ ${short(this.told.sigmas[call])}`))));
            this.table.replaceChildren(element("table", {className: "negguide-attention-maps"}, element("thead", {}, head),
                element("tbody", {}, ...rows.map((word) => this.row(found, grey, word, calls)))));
            this.link(rows);
            this.element.dataset.state = "drawn";
        }

        row(found, grey, word, calls) {
            const {element, say} = NegGuide.dom;
            const critical = word.critical === null ? element("span", {}, "never rises")
                : element("span", {}, say("critical call {}", this.told.calls[word.critical] + 1));
            const heading = element("th", {scope: "row"}, element("b", {}, word.word), element("span", {}, whose(word)), critical,
                element("span", {title: "Share of the attention, from no colour to red"}, `${percent(word.low)} – ${percent(word.high)}`));
            return element("tr", {}, heading, ...calls.map((call) => element("td", {}, this.tile(found, grey, word, call))));
        }

        /** One map over the picture. */
        tile(found, grey, word, call) {
            const {element, say} = NegGuide.dom;
            const [height, width] = found.size;
            const values = Array.from({length: width * height}, (_, at) => {
                const x = call * width + at % width, y = word.at * height + Math.floor(at / width);
                return grey.data[4 * (y * grey.width + x)];
            });
            const [low, high] = choice.colours === "run" ? [0, 255] : [Math.min(...values), Math.max(...values)];
            const canvas = element("canvas", {width, height});
            const pixels = new ImageData(width, height);
            values.forEach((value, at) => pixels.data.set([...HEAT, 255 * MOST * ((value - low) / Math.max(high - low, 1)) ** 2], 4 * at));
            canvas.getContext("2d").putImageData(pixels, 0, 0);
            const critical = word.critical === call;
            const about = say(critical ? "{}, call {}, critical" : "{}, call {}", word.word, this.told.calls[call] + 1);
            return element("div", {className: `negguide-attention-map${critical ? " negguide-attention-critical" : ""}`, role: "img", title: about, "aria-label": about},
                element("img", {src: NegGuide.workbench.file(this.run.id, this.cell.file), alt: ""}), canvas);
        }

        /** The same as files. */
        link(rows) {
            const link = (href, words, title) => NegGuide.dom.element("a", {href, target: "_blank", rel: "noopener", title}, words);
            const asked = new URLSearchParams([["size", choice.size], ["colours", choice.colours], ...rows.map((word) => ["words", key(word)])]);
            this.links.replaceChildren(
                ...(rows.length ? [link(NegGuide.workbench.attention(this.run.id, this.cell.name, asked), "Heat maps", "These heat maps in one PNG")] : []),
                link(NegGuide.workbench.file(this.run.id, this.cell.attention.file), "JSON", "Words, calls, critical calls and r_t as data"));
        }
    }

    /** An element, or null for a cell without attention. */
    NegGuide.attentionView = (run, cell) => cell.attention ? new AttentionView(run, cell).element : null;
})(window.NegGuide = window.NegGuide || {});
