/*
 * NegGuide.WorkbenchCells: a run's pictures as a table or a row of buttons, and the one that is selected with what can be done with it.
 *
 * `act`: {use(cell), send(target, run, cell)}.
 */
(function(NegGuide) {
    "use strict";

    const TARGETS = {txt2img: "Send to txt2img", img2img: "Send to img2img", inpaint: "Send to inpaint"};

    /** The measures of a cell, a text each. */
    function measures(cell) {
        const {say} = NegGuide.dom;
        const said = [];
        if (typeof cell.distance === "number") said.push(say("distance {}", cell.distance.toFixed(1)));
        if (cell.clip) {
            said.push(say("CLIP {}", cell.clip.full.toFixed(3)));
            if (typeof cell.clip.minimum === "number") said.push(say("least {}", cell.clip.minimum.toFixed(3)));
        }
        return said;
    }

    const headings = (cells, key) => [...new Set(cells.map((cell) => cell[key]).filter((heading) => heading))];

    class WorkbenchCells {
        constructor(act) {
            const {element} = NegGuide.dom;
            this.act = act;
            this.title = element("h3", {className: "negguide-title"});
            this.notes = element("div", {className: "negguide-note"});
            this.links = element("div", {className: "negguide-tab-links"});
            this.grid = element("div", {className: "negguide-tab-grid", role: "group", "aria-label": "pictures of the strip"});
            this.detail = element("div", {className: "negguide-tab-detail", "aria-live": "polite"});
            this.element = element("div", {className: "negguide-tab-cells"}, this.title, this.links, this.notes, this.grid, this.detail);
            this.grid.addEventListener("keydown", (event) => this.walk(event));
            this.run = null;
            this.forget();
        }

        /** Show a run; while the same one grows, what was selected, where the focus is and what is looked at closely stay. */
        show(run) {
            const same = this.run && run && this.run.id === run.id;
            this.run = run;
            if (!same) this.forget();
            this.draw();
        }

        forget() {
            this.selected = "";
            this.buttons = new Map();
            this.drawn = "";
            this.grid.replaceChildren();
            this.detail.replaceChildren();
        }

        /** A text of the server's in the page's language. */
        words(text) {
            const parts = (this.run.words || {})[text];
            return parts ? NegGuide.dom.told(parts) : NegGuide.dom.words(text);
        }

        draw() {
            const {element} = NegGuide.dom;
            const {run} = this;
            this.element.hidden = !run;
            if (!run) return;
            const cells = run.cells;
            this.title.replaceChildren(element("span", {}, run.form.prompt), ...(run.form.negative ? [" − ", element("span", {}, run.form.negative)] : []),
                `, ${run.form.seed}`);
            const said = [...run.notes, run.error].map((text) => this.words(text).replace(/^NegGuide: /, ""));
            if (run.caption) said.unshift(`n* = ${run.caption}`);
            if (run.state === "interrupted") said.push("interrupted");
            this.notes.replaceChildren(...said.filter((one) => one).map((one) => element("div", {}, one)));
            const link = (name, words, title) => element("a", {href: NegGuide.workbench.file(run.id, name), target: "_blank", rel: "noopener", title}, words);
            this.links.replaceChildren(...(run.state === "running" || !cells.length ? [] : [
                link("report.html", "Report", "All of it in one HTML file, to keep or to send"), link("sheet.png", "Sheet", "All pictures in one PNG"),
                link("run.json", "JSON", "Settings, distances and traces as data")]));
            const columns = headings(cells, "column");
            const focused = this.grid.contains(document.activeElement) ? document.activeElement : null;
            this.grid.replaceChildren(columns.length ? this.table(cells, columns) : element("div", {className: "negguide-tab-strip"}, ...cells.map((cell) => this.cell(cell))));
            if (focused && this.grid.contains(focused)) focused.focus({preventScroll: true});
            if (!cells.some((cell) => cell.name === this.selected)) this.selected = "";
            this.drawDetail();
        }

        table(cells, columns) {
            const {element} = NegGuide.dom;
            const alone = cells.filter((cell) => !cell.column).map((cell) => this.cell(cell));
            const head = element("tr", {}, element("td", {}), ...columns.map((column) => element("th", {scope: "col"}, this.words(column))));
            const lines = headings(cells, "row").map((row) => element("tr", {}, element("th", {scope: "row"}, this.words(row)), ...columns.map((column) => {
                const cell = cells.find((one) => one.row === row && one.column === column);
                return element("td", {}, cell ? this.cell(cell) : null);
            })));
            return element("div", {}, element("div", {className: "negguide-tab-strip"}, ...alone),
                element("div", {className: "negguide-tab-scroll"}, element("table", {}, element("tbody", {}, head, ...lines))));
        }

        /** Its button; the same one as long as the cell is the same. */
        cell(cell) {
            const {element} = NegGuide.dom;
            const key = JSON.stringify([cell.name, cell.title, cell.file, measures(cell)]);
            const known = this.buttons.get(cell.name);
            if (known && known.key === key) return known.button;
            const title = this.words(cell.title);
            const image = element("img", {src: NegGuide.workbench.file(this.run.id, cell.file), alt: "", loading: "lazy"});
            const words = element("span", {className: "negguide-tab-caption"}, element("b", {}, title), ...measures(cell).map((one) => element("span", {}, one)));
            const button = element("button", {type: "button", className: "negguide-tab-cell", title: "Select this picture", "data-cell": cell.name,
                "aria-pressed": String(cell.name === this.selected), "aria-label": [title, ...measures(cell)].join(", ")}, image, words);
            button.addEventListener("click", () => this.select(cell.name));
            this.buttons.set(cell.name, {key, button});
            return button;
        }

        select(name) {
            this.selected = this.selected === name ? "" : name;
            for (const button of this.grid.querySelectorAll("[data-cell]")) {
                button.setAttribute("aria-pressed", String(button.dataset.cell === this.selected));
            }
            this.drawDetail();
        }

        /** Arrow keys go from picture to picture; up and down by the table's lines. */
        walk(event) {
            const buttons = Array.from(this.grid.querySelectorAll("[data-cell]"));
            const at = buttons.indexOf(event.target);
            if (at < 0) return;
            let to = {ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1}[event.key];
            if (event.key === "ArrowDown" || event.key === "ArrowUp") {
                const column = this.run.cells.find((cell) => cell.name === event.target.dataset.cell).column;
                const alike = buttons.filter((button) => this.run.cells.find((cell) => cell.name === button.dataset.cell).column === column);
                to = buttons.indexOf(alike[alike.indexOf(event.target) + (event.key === "ArrowDown" ? 1 : -1)]);
            }
            if (to === undefined || !buttons[to]) return;
            event.preventDefault();
            buttons[to].focus();
        }

        /** What the picture would have been at some calls. */
        previews(cell) {
            const {element} = NegGuide.dom;
            if (!(cell.previews || []).length) return null;
            return element("div", {className: "negguide-tab-strip", "data-previews": cell.name}, ...cell.previews.map(({call, file}) => {
                const sigma = cell.trace.calls && cell.trace.calls[call] ? `, σ ${Number(cell.trace.calls[call].sigma.toPrecision(3))}` : "";
                return element("figure", {className: "negguide-tab-preview"},
                    element("img", {src: NegGuide.workbench.file(this.run.id, file), alt: "", loading: "lazy"}), element("figcaption", {}, `${call + 1}${sigma}`));
            }));
        }

        /** The selected picture; what is there already stays, with its slider and plot as they are. */
        drawDetail() {
            const {element, button} = NegGuide.dom;
            const cell = this.run.cells.find((one) => one.name === this.selected);
            const drawn = JSON.stringify([cell || null, this.run.cells.length > 0, this.run.caption]);
            if (drawn === this.drawn) return;
            this.drawn = drawn;
            if (!cell) {
                this.detail.replaceChildren(...(this.run.cells.length ? [element("p", {className: "negguide-note"}, "Click a picture to see it closely and to send it on.")] : []));
                return;
            }
            const tools = Object.entries(TARGETS).map(([target, words]) =>
                button(`send-${target}`, words, () => this.act.send(target, this.run, cell), "Picture and all settings, as PNG Info sends them"));
            for (const tool of tools) tool.disabled = !cell.infotext;
            const negative = cell.settings.negatives && cell.settings.negatives[0];
            if (negative || this.run.caption && cell.name !== "plain") {
                tools.push(button("use", "Use this negative", () => this.act.use(negative || {text: this.run.caption}),
                    "Its text and window go into the form on this page"));
            }
            const title = this.words(cell.title);
            const plot = NegGuide.plot ? NegGuide.plot.trace(cell.trace) : null;
            const plain = this.run.cells.find((one) => one.name === "plain");
            const url = (one) => NegGuide.workbench.file(this.run.id, one.file);
            this.detail.replaceChildren(
                cell.settings.remove && plain ? NegGuide.compared(url(plain), url(cell), title) :
                    element("div", {className: "negguide-tab-large"}, element("img", {src: url(cell), alt: title})),
                element("div", {className: "negguide-tab-about"}, element("h4", {}, title),
                    ...[...measures(cell), cell.caption].filter((one) => one).map((one) => element("div", {}, one)),
                    element("div", {className: "negguide-tab-tools"}, ...tools), plot, this.previews(cell),
                    element("details", {}, element("summary", {}, "Infotext"), element("pre", {}, cell.infotext || "none"))),
                ...[NegGuide.attentionView(this.run, cell)].filter((one) => one));
        }
    }

    NegGuide.WorkbenchCells = WorkbenchCells;
})(window.NegGuide = window.NegGuide || {});
