/*
 * NegGuide.windows: edits of one window (start, stop, unit, weight, curve, points), in place.
 *
 * Ends move in steps of the plain schedule with `steps` steps and are written in the window's own
 * unit. Nothing here knows the page; values that are not allowed are left as they are.
 */
(function(NegGuide) {
    "use strict";

    const FLAT = [[0, 1], [1, 1]]; // points that a curve of one's own begins with
    const APART = 0.01; // least distance of two points

    const roundTo = (value, digits) => Number(value.toFixed(digits));
    const limit = (value, low, high) => Math.max(Math.min(value, high), low);

    function convert(number, from, to, steps) {
        const {referenceSigmas, toSigma, fromSigma} = NegGuide.schedule;
        if (from === to) return number;
        if (from === "fraction" && to === "step") return roundTo(number * steps, 4);
        if (from === "step" && to === "fraction") return roundTo(number / steps, 4);
        const sigmas = referenceSigmas(steps);
        if (to === "sigma") return toSigma(number, from, sigmas);
        return roundTo(fromSigma(number, to, sigmas), to === "step" ? 2 : 4);
    }

    /** Change the unit and convert the numbers. */
    function changeUnit(window, unit, steps) {
        for (const name of ["start", "stop"]) {
            if (typeof window[name] !== "number") continue;
            const open = name === "start" && unit === "sigma" && window.unit !== "sigma" && window[name] === 0;
            window[name] = open ? null : convert(window[name], window.unit, unit, steps);
        }
        window.unit = unit;
    }

    /** Change the curve; points of one's own begin flat, and go when they were left so. */
    function changeCurve(window, curve) {
        const {clone, same} = NegGuide.settings;
        window.curve = curve;
        if (curve === "points" && same(window.points, [])) window.points = clone(FLAT);
        else if (curve !== "points" && same(window.points, FLAT)) window.points = [];
    }

    /** A step as a number in `unit` that reads well; null is the open end. */
    function fromStep(step, unit, steps) {
        if (unit === "step") return roundTo(step, 2);
        if (unit === "fraction") return roundTo(step / steps, 4);
        if (step <= 0) return null;
        return Number(NegGuide.schedule.toSigma(step, "step", NegGuide.schedule.referenceSigmas(steps)).toPrecision(4));
    }

    /** A dragged step, to whole steps, hundredths of the run, or three digits of sigma. */
    function roundStep(step, unit, steps) {
        const {toSigma, fromSigma, referenceSigmas} = NegGuide.schedule;
        if (unit === "step") return Math.round(step);
        if (unit === "fraction") return roundTo(step / steps, 2) * steps;
        if (step <= 0) return 0;
        const sigma = toSigma(step, "step", referenceSigmas(steps));
        return fromSigma(Number(sigma.toPrecision(3)), "step", referenceSigmas(steps));
    }

    /**
     * Move the end `name` (start or stop), no further than the other end. `where` is {part} of the run,
     * {by} steps, or {to: "first" | "last"}; at the run's own ends it becomes open.
     */
    function moveEnd(window, name, where, steps) {
        const {referenceSigmas, inSigma, span, sigmaAt, fromSigma} = NegGuide.schedule;
        const isStart = name === "start";
        const sigmas = referenceSigmas(steps);
        const ends = inSigma(window, sigmas);
        const stepOf = (sigma, open) => sigma === null ? open : fromSigma(sigma, "step", sigmas);
        let step;
        if (where.part !== undefined) {
            const [opens, closes] = span(ends.start, ends.stop);
            const part = isStart ? Math.min(where.part, closes) : Math.max(where.part, opens);
            if (part < 0.003) step = 0;
            else if (part > 0.997) step = steps;
            else step = roundStep(fromSigma(sigmaAt(part), "step", sigmas), window.unit, steps);
        } else if (where.to) {
            step = where.to === "first" ? 0 : steps;
        } else {
            step = roundTo(stepOf(ends[name], isStart ? 0 : steps) + where.by, 2);
            if (Number.isInteger(where.by)) step = where.by > 0 ? Math.floor(step) : Math.ceil(step);
        }
        const other = isStart ? stepOf(ends.stop, steps) : stepOf(ends.start, 0);
        const otherValue = window[isStart ? "stop" : "start"];
        if (isStart ? step >= other : step <= other) {
            window[name] = otherValue !== null ? otherValue : fromStep(isStart ? steps - 1 : 1, window.unit, steps);
        } else if (isStart ? step <= 0 : step >= steps) {
            window[name] = null;
        } else {
            window[name] = fromStep(step, window.unit, steps);
        }
    }

    /** Move a point, between its neighbours: `where` is {position, factor} or {by: [position, factor]}; or {remove: true}. */
    function movePoint(window, index, where) {
        const {points} = window;
        if (where.remove) {
            if (points.length > 1) points.splice(index, 1);
            return;
        }
        const [position, factor] = where.by ? points[index].map((value, place) => value + where.by[place]) : [where.position, where.factor];
        const low = index ? points[index - 1][0] + APART : 0;
        const high = index + 1 < points.length ? points[index + 1][0] - APART : 1;
        points[index] = [roundTo(limit(position, low, high), 2), roundTo(limit(factor, 0, 1), 2)];
    }

    /** Add a point at a position, or in the middle of the widest gap and on the curve. */
    function addPoint(window, position, factor) {
        const {points} = window;
        if (!Array.isArray(points)) return;
        if (position === undefined) {
            const edges = [0].concat(points.map((pair) => pair[0]), 1);
            let widest = 1;
            for (let index = 2; index < edges.length; index++) {
                if (edges[index] - edges[index - 1] > edges[widest] - edges[widest - 1]) widest = index;
            }
            position = roundTo((edges[widest] + edges[widest - 1]) / 2, 2);
            factor = points.length ? roundTo(NegGuide.schedule.curveValue("points", position, points), 2) : 1;
        }
        if (points.some((pair) => Math.abs(pair[0] - position) < APART)) return;
        window.points = points.concat([[position, factor]]).sort((left, right) => left[0] - right[0]);
    }

    NegGuide.windows = {changeUnit, changeCurve, moveEnd, movePoint, addPoint};
})(window.NegGuide = window.NegGuide || {});
