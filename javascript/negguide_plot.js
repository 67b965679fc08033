/*
 * NegGuide.plot: what was done at each model call, as a plot to read with pointer or keys.
 *
 * Strengths of negatives are areas (their windows), measured on the left; signals are lines, each on a scale of its own. Dragging over the
 * plot zooms, a double click or Escape shows all again; names below switch curves on and off; arrow keys walk from call to call.
 */
(function(NegGuide) {
    "use strict";

    const WIDTH = 640, HEIGHT = 220, LEFT = 40, RIGHT = 12, TOP = 12, BOTTOM = 34;
    const COLORS = ["0", "1", "2", "3", "4", "5"].map((number) => `var(--negguide-color-${number})`);
    const RATIO = "r_t";
    const ABOUT = {[RATIO]: "How sharply the picture attends to the negative, compared with the prompt: r_t of Ban et al. (ECCV 2024)"};
    const NAMES = {p: "‖d_p − d_u‖", n: "‖d_n − d_u‖", cosine: "cosine"};

    /** [{name, kind: "strength" or "signal", values}], a value or null per call. */
    function series(trace) {
        const calls = trace.calls || [];
        const found = (trace.names || []).map((name, term) => ({name, kind: "strength", values: calls.map((call) => call.strengths[term])}));
        const first = (call, what) => call.removal ? call.removal[what][0] : null;
        if (trace.removed) {
            found.push({name: trace.removed, kind: "strength", values: calls.map((call) => first(call, "strengths") || 0)});
            found.push({name: "presence", kind: "signal", values: calls.map((call) => first(call, "presence"))});
        }
        for (const [key, name] of Object.entries(NAMES)) {
            if (calls.some((call) => call.norms)) found.push({name, kind: "signal", values: calls.map((call) => call.norms ? call.norms[key] : null)});
        }
        if (calls.some((call) => typeof call.r_t === "number")) {
            found.push({name: RATIO, kind: "signal", values: calls.map((call) => typeof call.r_t === "number" ? call.r_t : null)});
        }
        return found;
    }

    function svg(tag, attributes, ...children) {
        const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
        for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
        made.append(...children);
        return made;
    }

    const short = (value) => String(Number(value.toPrecision(3)));

    class Plot {
        constructor(trace) {
            const {element} = NegGuide.dom;
            this.calls = trace.calls;
            this.series = series(trace).map((one, number) => ({...one, color: COLORS[number % COLORS.length], on: true,
                low: one.name === NAMES.cosine ? -1 : 0, top: one.name === NAMES.cosine ? 1 : Math.max(one.kind === "strength" ? 1 : 0, ...one.values.map((value) => Math.abs(value || 0))) || 1}));
            this.from = 0;
            this.to = this.calls.length;
            this.at = -1;
            this.picture = svg("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "negguide-plot", tabindex: "0", role: "group",
                "aria-label": "what acted at each model call; arrow keys walk, drag to zoom"});
            this.words = element("div", {className: "negguide-note negguide-plot-words", "aria-live": "polite"}, "Point at the plot to read it; drag to zoom.");
            this.legend = element("div", {className: "negguide-tab-tools"}, ...this.series.map((one) => this.name(one)));
            this.element = element("figure", {className: "negguide-plot-figure"}, this.picture, this.words, this.legend);
            this.picture.addEventListener("pointermove", (event) => this.move(event));
            this.picture.addEventListener("pointerdown", (event) => this.down(event));
            this.picture.addEventListener("pointerup", (event) => this.up(event));
            this.picture.addEventListener("pointerleave", () => this.point(-1));
            this.picture.addEventListener("dblclick", () => this.zoom(0, this.calls.length));
            this.picture.addEventListener("keydown", (event) => this.key(event));
            this.draw();
        }

        name(one) {
            const made = NegGuide.dom.button("curve", "", () => {
                one.on = !one.on;
                made.setAttribute("aria-pressed", String(one.on));
                this.draw();
            }, ABOUT[one.name] || "Show or hide this curve");
            const swatch = NegGuide.dom.element("span", {className: "negguide-plot-swatch"});
            swatch.style.background = one.color;
            made.append(swatch, NegGuide.dom.element("span", {}, one.name));
            made.setAttribute("aria-pressed", "true");
            made.dataset.curve = one.name;
            return made;
        }

        x(call) {
            return LEFT + (WIDTH - LEFT - RIGHT) * (call - this.from) / (this.to - this.from);
        }

        y(share) {
            return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share;
        }

        /** The number of the call under the pointer. */
        under(event) {
            const box = this.picture.getBoundingClientRect();
            const x = (event.clientX - box.left) / box.width * WIDTH;
            const call = Math.floor(this.from + (x - LEFT) / (WIDTH - LEFT - RIGHT) * (this.to - this.from));
            return Math.min(Math.max(call, this.from), this.to - 1);
        }

        move(event) {
            const call = this.under(event);
            this.point(call);
        }

        down(event) {
            this.began = this.under(event);
        }

        up(event) {
            if (this.began === undefined) return;
            const [low, high] = [this.began, this.under(event)].sort((a, b) => a - b);
            this.began = undefined;
            if (high > low) this.zoom(low, high + 1);
        }

        key(event) {
            const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
            if (step) this.point(Math.min(Math.max((this.at < 0 ? this.from - (step > 0 ? 1 : 0) : this.at) + step, this.from), this.to - 1));
            else if (event.key === "Escape") this.zoom(0, this.calls.length);
            else return;
            event.preventDefault();
        }

        zoom(from, to) {
            this.from = from;
            this.to = to;
            this.at = -1;
            this.draw();
        }

        point(call) {
            this.at = call;
            const {cursor} = this;
            cursor.setAttribute("visibility", call < 0 ? "hidden" : "visible");
            if (call < 0) return;
            cursor.setAttribute("x", this.x(call));
            cursor.setAttribute("width", Math.max(this.x(call + 1) - this.x(call), 1));
            const said = this.series.filter((one) => one.on && one.values[call] !== null && one.values[call] !== undefined)
                .map((one) => `${NegGuide.dom.words(one.name)} ${short(one.values[call])}`);
            this.words.textContent = [NegGuide.dom.say("call {}, σ {}", call + 1, short(this.calls[call].sigma)), ...said].join("; ");
        }

        draw() {
            const parts = [];
            for (const share of [0, 0.5, 1]) {
                parts.push(svg("line", {x1: LEFT, x2: WIDTH - RIGHT, y1: this.y(share), y2: this.y(share), class: "negguide-plot-line"}));
            }
            const strongest = Math.max(1, ...this.series.filter((one) => one.kind === "strength").map((one) => one.top));
            for (const share of [0, 0.5, 1]) parts.push(this.text(LEFT - 6, this.y(share) + 4, short(share * strongest), "end"));
            const every = Math.max(1, Math.ceil((this.to - this.from) / 8));
            for (let call = this.from; call < this.to; call += every) {
                parts.push(this.text(this.x(call + 0.5), HEIGHT - BOTTOM + 14, String(call + 1), "middle"),
                    this.text(this.x(call + 0.5), HEIGHT - BOTTOM + 27, `σ ${short(this.calls[call].sigma)}`, "middle"));
            }
            for (const one of this.series.filter((each) => each.on)) parts.push(this.curve(one, one.kind === "strength" ? strongest : one.top));
            this.cursor = svg("rect", {y: TOP, height: HEIGHT - TOP - BOTTOM, width: 1, class: "negguide-plot-cursor", visibility: "hidden"});
            this.picture.replaceChildren(...parts, this.cursor);
            if (this.at >= 0) this.point(this.at);
        }

        text(x, y, words, anchor) {
            return svg("text", {x, y, "text-anchor": anchor, class: "negguide-plot-text"}, words);
        }

        curve(one, top) {
            if (one.kind === "strength") {
                let path = `M${this.x(this.from)} ${this.y(0)}`;
                for (let call = this.from; call < this.to; call++) path += `V${this.y(one.values[call] / top)}H${this.x(call + 1)}`;
                return svg("path", {d: `${path}V${this.y(0)}Z`, fill: one.color, "fill-opacity": 0.25, stroke: one.color, "stroke-width": 1.5, "data-curve": one.name});
            }
            const points = [];
            for (let call = this.from; call < this.to; call++) {
                if (typeof one.values[call] === "number") points.push(`${this.x(call + 0.5)} ${this.y(Math.max((one.values[call] - one.low) / (top - one.low), 0))}`);
            }
            const marks = points.map((point) => svg("circle", {cx: point.split(" ")[0], cy: point.split(" ")[1], r: 2.5, fill: one.color}));
            return svg("g", {"data-curve": one.name}, svg("polyline", {points: points.join(" "), fill: "none", stroke: one.color, "stroke-width": 2}), ...marks);
        }
    }

    NegGuide.plot = {
        series,
        /** A figure, or null where there is nothing to show. */
        trace: (trace) => trace && trace.calls && trace.calls.length && series(trace).length ? new Plot(trace).element : null,
    };
})(window.NegGuide = window.NegGuide || {});
