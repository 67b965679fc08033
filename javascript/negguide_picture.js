/*
 * NegGuide.Picture: the schedule of one pass as an SVG that is drawn anew at every edit.
 *
 * x is the run from its first to its last step (even in training time, schedule.progress);
 * every negative has a lane in which its strength is the height (the dashed line is 1, the
 * lane's top 2, or the weight where that is more); the lowest strip is grey where none acts and the prompt is guided away from
 * "empty". A window's ends and a curve's own points are handles: sliders for mouse, touch
 * and keyboard. Handles outlive a redraw, so that dragging and focus do too.
 */
(function(NegGuide) {
    "use strict";

    const SVG = "http://www.w3.org/2000/svg";
    const LANE = 46, STRIP = 18, AXIS = 34, LEFT = 50, RIGHT = 16, TOP = 4;
    const BASE = LANE - 5; // y of strength 0 in a lane
    const unitOf = ({window}) => (BASE - 4) / Math.max(2, window ? window.weight : 0); // height of strength 1
    const TICKS = [1, 2, 5, 10, 20, 25, 50, 100, 200, 500];
    const CHARACTER = 6.2; // width of a small one, for cutting labels

    function draw(tag, attributes, parent, text) {
        const element = document.createElementNS(SVG, tag);
        for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
        if (text !== undefined) element.textContent = text;
        if (parent) parent.appendChild(element);
        return element;
    }

    /** Three digits, without a row of zeros. */
    const short = (sigma) => String(Number(sigma.toPrecision(sigma >= 100 ? 4 : sigma < 0.1 ? 2 : 3)));

    /** Step numbers that get a label: evenly spaced, with the last one, at least `room` pixels apart. */
    function labelled(steps, width, room) {
        const between = steps > 1 ? width / (steps - 1) : width;
        const every = TICKS.find((tick) => tick * between >= room) || steps;
        const chosen = [];
        for (let step = 0; step < steps; step += every) chosen.push(step);
        const last = steps - 1;
        if (chosen[chosen.length - 1] !== last) {
            if (chosen.length > 1 && (last - chosen[chosen.length - 1]) * between < room) chosen.pop();
            chosen.push(last);
        }
        return chosen;
    }

    class Picture {
        /**
         * `parent` receives the SVG. `onMove(lane key, handle, where)` is called when a handle moves:
         * handle is "start", "stop" or the index of a point; where is {part} (0 to 1 of the run, from
         * dragging) or {by} (steps, from keys) or {to: "first" | "last"} for a window's end, and
         * {position, factor}, {by: [position, factor]} or {remove: true} for a point.
         * `onAdd(lane key, position, factor)`: a double click on a lane with points of its own.
         */
        constructor(parent, onMove, onAdd) {
            this.parent = parent;
            this.onMove = onMove;
            this.onAdd = onAdd;
            this.handles = new Map();
            this.svg = draw("svg", {class: "negguide-schedule", role: "group"}, parent);
            this.title = draw("title", {}, this.svg);
            this.back = draw("g", {}, this.svg);
            this.front = draw("g", {}, this.svg);
            this.svg.addEventListener("dblclick", (event) => this.addPoint(event));
        }

        /**
         * `lanes`: [{key, name, color, window (in sigma) or null where it has an error, silent,
         * positive (of what is wanted)}];
         * `steps` of the run and the first one that is sampled, `from`; `title` in words.
         */
        draw(lanes, steps, from, title) {
            const full = this.parent.clientWidth;
            if (!full) return; // hidden; the editor draws again when it is shown
            this.lanes = lanes;
            this.width = Math.max(full - LEFT - RIGHT, 60);
            const height = TOP + lanes.length * LANE + STRIP + AXIS;
            this.svg.setAttribute("viewBox", `0 0 ${full} ${height}`);
            this.svg.setAttribute("width", full);
            this.svg.setAttribute("height", height);
            this.svg.setAttribute("aria-label", title);
            this.title.textContent = title;
            this.back.replaceChildren();
            const used = new Set();
            const bottom = TOP + lanes.length * LANE + STRIP;
            this.drawAxis(steps, bottom);
            lanes.forEach((lane, index) => this.drawLane(lane, TOP + index * LANE, steps, used));
            this.drawEmpty(lanes, bottom - STRIP);
            if (from > 0) this.drawNotRun((from - 0.5) / Math.max(steps - 1, 1), bottom);
            lanes.forEach((lane, index) => this.drawName(lane, TOP + index * LANE));
            for (const [key, handle] of this.handles) {
                if (!used.has(key)) {
                    handle.remove();
                    this.handles.delete(key);
                }
            }
        }

        x(part) {
            return LEFT + Math.min(Math.max(part, 0), 1) * this.width;
        }

        drawAxis(steps, bottom) {
            const {referenceSigmas} = NegGuide.schedule;
            const at = (step) => this.x(steps > 1 ? step / (steps - 1) : 0);
            const chosen = labelled(steps, this.width, 44);
            const sigmas = referenceSigmas(steps);
            const dense = steps > 1 && this.width / (steps - 1) < 5;
            for (let step = 0; step < steps; step++) {
                const main = chosen.includes(step);
                if (dense && !main) continue;
                draw("line", {class: main ? "negguide-tick negguide-tick-main" : "negguide-tick",
                    x1: at(step), x2: at(step), y1: TOP, y2: bottom + (main ? 4 : 0)}, this.back);
            }
            draw("text", {class: "negguide-axis", x: 0, y: bottom + 15}, this.back, "step");
            draw("text", {class: "negguide-axis", x: 0, y: bottom + 29}, this.back, "sigma");
            for (const step of chosen) {
                draw("text", {class: "negguide-axis", x: at(step), y: bottom + 15, "text-anchor": "middle"}, this.back, String(step));
                draw("text", {class: "negguide-axis", x: at(step), y: bottom + 29, "text-anchor": "middle"}, this.back, short(sigmas[step]));
            }
        }

        drawLane(lane, top, steps, used) {
            const group = draw("g", {class: "negguide-lane" + (lane.silent && lane.window ? " negguide-silent" : ""), "data-lane": lane.key,
                transform: `translate(0 ${top})`, style: `--negguide-color: ${lane.color}`}, this.back);
            const base = {x1: LEFT, x2: LEFT + this.width}, one = BASE - unitOf(lane);
            draw("line", Object.assign({class: "negguide-base", y1: BASE, y2: BASE}, base), group);
            draw("line", Object.assign({class: "negguide-one", y1: one, y2: one}, base), group);
            draw("text", {class: "negguide-axis", x: LEFT - 11, y: one + 4, "text-anchor": "end"}, group, "1");
            if (lane.window) {
                this.drawStrength(lane, group);
                this.placeHandles(lane, top, steps, used);
            }
        }

        drawName(lane, top) {
            const room = Math.floor(this.width / CHARACTER);
            const name = lane.window ? lane.name : lane.name + ": not allowed";
            const label = draw("text", {class: lane.window ? "negguide-name" : "negguide-name negguide-wrong", x: LEFT + 5, y: top + 13,
                "data-name": lane.key}, this.back, name.length > room ? name.slice(0, Math.max(room - 1, 1)) + "…" : name);
            draw("title", {}, label, name);
        }

        drawStrength(lane, group) {
            const {span, curveValue} = NegGuide.schedule;
            const {start, stop, weight, curve, points} = lane.window;
            const [opens, closes] = span(start, stop);
            if (closes <= opens) return;
            const positions = curve === "cosine" ? Array.from({length: 41}, (_, index) => index / 40)
                : curve === "points" ? [0].concat(points.map((pair) => pair[0]), 1) : [0, 1];
            const path = positions.map((position) =>
                `${this.x(opens + position * (closes - opens)).toFixed(2)} ${(BASE - unitOf(lane) * weight * curveValue(curve, position, points)).toFixed(2)}`);
            const left = this.x(opens).toFixed(2), right = this.x(closes).toFixed(2);
            draw("path", {class: "negguide-area", d: `M${left} ${BASE} L${path.join(" L")} L${right} ${BASE} Z`}, group);
            draw("path", {class: "negguide-line", d: `M${path.join(" L")}`}, group);
        }

        drawEmpty(lanes, top) {
            const {span, sigmaAt, strength} = NegGuide.schedule;
            const acting = lanes.filter((lane) => lane.window && !lane.silent && !lane.positive && lane.window.weight > 0);
            const edges = new Set(Array.from({length: 201}, (_, index) => index / 200));
            for (const lane of acting) span(lane.window.start, lane.window.stop).forEach((edge) => edges.add(edge));
            const sorted = Array.from(edges).sort((left, right) => left - right);
            const gaps = [];
            for (let index = 1; index < sorted.length; index++) {
                const sigma = sigmaAt((sorted[index - 1] + sorted[index]) / 2);
                if (acting.some(({window: w}) => strength(sigma, w.start, w.stop, w.weight, w.curve, w.points) > 0)) continue;
                const last = gaps[gaps.length - 1];
                if (last && last[1] === sorted[index - 1]) last[1] = sorted[index]; else gaps.push([sorted[index - 1], sorted[index]]);
            }
            for (const [from, to] of gaps) {
                const x = this.x(from), width = this.x(to) - x;
                draw("rect", {class: "negguide-empty", x, y: top + 1, width, height: STRIP - 3, rx: 2}, this.back);
                if (width > 40) draw("text", {class: "negguide-axis", x: x + width / 2, y: top + 12, "text-anchor": "middle"}, this.back, "empty");
            }
        }

        /** Before the first step that is sampled from a picture. */
        drawNotRun(part, bottom) {
            const width = this.x(part) - LEFT;
            const group = draw("g", {class: "negguide-not-run"}, this.back);
            draw("rect", {x: LEFT, y: TOP, width, height: bottom - TOP}, group);
            if (width > 50) draw("text", {class: "negguide-axis", x: LEFT + width / 2, y: bottom - 7, "text-anchor": "middle"}, group, "not run");
        }

        // ---- handles

        placeHandles(lane, top, steps, used) {
            const {span, fromSigma, referenceSigmas, curveValue} = NegGuide.schedule;
            const {start, stop, weight, curve, points} = lane.window;
            const [opens, closes] = span(start, stop);
            const sigmas = referenceSigmas(steps);
            const place = (handle, x, y, label, now, text) => {
                const key = lane.key + " " + handle;
                used.add(key);
                const group = this.handles.get(key) || this.createHandle(key, lane.key, handle);
                group.lane = lane;
                group.setAttribute("transform", `translate(${x.toFixed(2)} ${y})`);
                group.setAttribute("style", `--negguide-color: ${lane.color}`);
                group.setAttribute("aria-label", label);
                group.setAttribute("aria-valuemin", 0);
                group.setAttribute("aria-valuemax", typeof handle === "number" ? 1 : steps);
                group.setAttribute("aria-valuenow", now);
                group.setAttribute("aria-valuetext", text);
                group.firstChild.textContent = `${label}: ${text}`;
            };
            for (const [handle, sigma, part, open] of [["start", start, opens, 0], ["stop", stop, closes, steps]]) {
                const step = sigma === null ? open : fromSigma(sigma, "step", sigmas);
                const text = sigma === null ? NegGuide.dom.words(handle === "start" ? "first step" : "last step") :
                    NegGuide.dom.say("sigma {}, step {}", short(sigma), Number(step.toFixed(2)));
                place(handle, this.x(part), top, `${NegGuide.dom.words(handle === "start" ? "Start" : "Stop")}: ${lane.name}`, Number(step.toFixed(2)), text);
            }
            if (curve !== "points") return;
            points.forEach(([position, factor], index) => {
                place(index, this.x(opens + position * (closes - opens)), top + BASE - unitOf(lane) * weight * curveValue(curve, position, points),
                    NegGuide.dom.say("Point {}: {}", index + 1, lane.name), position, NegGuide.dom.say("position {}, factor {}", position, factor));
            });
        }

        createHandle(key, laneKey, handle) {
            const isPoint = typeof handle === "number";
            const group = draw("g", {class: "negguide-handle", tabindex: 0, role: "slider", "data-lane": laneKey, "data-handle": handle});
            draw("title", {}, group);
            if (isPoint) {
                draw("circle", {class: "negguide-hit", r: 12}, group);
                draw("circle", {class: "negguide-grip", r: 5}, group);
                this.front.appendChild(group);
            } else {
                const outward = handle === "start" ? -1 : 1;
                draw("rect", {class: "negguide-hit", x: outward < 0 ? -16 : -4, y: 0, width: 20, height: LANE}, group);
                draw("line", {class: "negguide-edge", y1: 2, y2: BASE}, group);
                draw("rect", {class: "negguide-grip", x: outward < 0 ? -8 : 1, y: BASE - 22, width: 7, height: 18, rx: 2}, group);
                this.front.insertBefore(group, this.front.firstChild);
            }
            this.handles.set(key, group);
            group.addEventListener("keydown", (event) => this.onKey(event, laneKey, handle));
            group.addEventListener("pointerdown", (event) => {
                if (event.button) return;
                group.setPointerCapture(event.pointerId);
                group.focus({preventScroll: true});
                event.preventDefault();
            });
            group.addEventListener("pointermove", (event) => {
                if (!group.hasPointerCapture(event.pointerId)) return;
                const where = this.where(event, group.lane);
                this.onMove(laneKey, handle, isPoint ? where : {part: where.part});
            });
            return group;
        }

        /** A pointer's place: part of the run, and position and factor in the lane's window. */
        where(event, lane) {
            const box = this.svg.getBoundingClientRect();
            const part = Math.min(Math.max((event.clientX - box.left - LEFT) / this.width, 0), 1);
            const [opens, closes] = NegGuide.schedule.span(lane.window.start, lane.window.stop);
            const height = BASE - (event.clientY - box.top - TOP - this.lanes.indexOf(lane) * LANE);
            const limited = (value) => Math.round(Math.min(Math.max(value, 0), 1) * 100) / 100;
            return {
                part,
                position: limited(closes > opens ? (part - opens) / (closes - opens) : 0),
                factor: limited(lane.window.weight ? height / unitOf(lane) / lane.window.weight : 1),
            };
        }

        onKey(event, laneKey, handle) {
            const fine = event.shiftKey ? 0.1 : 1;
            let where = null;
            if (typeof handle === "number") {
                const by = {ArrowLeft: [-0.05, 0], ArrowRight: [0.05, 0], ArrowUp: [0, 0.05], ArrowDown: [0, -0.05]}[event.key];
                if (by) where = {by: by.map((value) => value * (event.shiftKey ? 0.2 : 1))};
                if (event.key === "Delete" || event.key === "Backspace") where = {remove: true};
            } else {
                const by = {ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5}[event.key];
                if (by) where = {by: by * fine};
                if (event.key === "Home") where = {to: "first"};
                if (event.key === "End") where = {to: "last"};
            }
            if (!where) return;
            event.preventDefault();
            event.stopPropagation();
            this.onMove(laneKey, handle, where);
        }

        addPoint(event) {
            const box = this.svg.getBoundingClientRect();
            const lane = (this.lanes || [])[Math.floor((event.clientY - box.top - TOP) / LANE)];
            if (!lane || !lane.window || lane.window.curve !== "points") return;
            const {position, factor} = this.where(event, lane);
            this.onAdd(lane.key, position, factor);
        }
    }

    NegGuide.Picture = Picture;
})(window.NegGuide = window.NegGuide || {});
