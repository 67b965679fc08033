/*
 * NegGuide.schedule: windows and curves over the noise level, as lib_negguide/schedule.py has them.
 *
 * Every function here has a twin of the same name there (in snake_case), and
 * tests/unit/test_editor_js.py compares the two over a grid. The table of noise levels comes
 * from Python (data-sigmas of the editor's container): setTable() must be called first.
 * `null` stands for Python's None: an open end.
 */
(function(NegGuide) {
    "use strict";

    let logs = []; // ln sigma at the training timesteps, rising

    /** Take the noise levels of the training timesteps, rising. */
    function setTable(sigmas) {
        logs = sigmas.map(Math.log);
    }

    /** y at x by linear interpolation over rising xs, held at the ends (numpy.interp). */
    function interp(x, xs, ys) {
        const last = xs.length - 1;
        if (x <= xs[0]) return ys[0];
        if (x >= xs[last]) return ys[last];
        let low = 0, high = last;
        while (high - low > 1) {
            const middle = (low + high) >> 1;
            if (xs[middle] <= x) low = middle; else high = middle;
        }
        return ys[low] + (ys[high] - ys[low]) * (x - xs[low]) / (xs[high] - xs[low]);
    }

    const range = (count) => Array.from({length: count}, (_, index) => index);

    /** How far denoising has come at sigma: 0 at pure noise, 1 at the clean picture. */
    function progress(sigma) {
        if (Number.isNaN(sigma)) return 0;
        if (sigma <= 0) return 1;
        if (sigma === Infinity) return 0;
        return 1 - interp(Math.log(sigma), logs, range(logs.length)) / (logs.length - 1);
    }

    /** The inverse of progress() on the table's range. */
    function sigmaAt(part) {
        return Math.exp(interp((1 - part) * (logs.length - 1), range(logs.length), logs));
    }

    /** `steps` falling sigmas of the plain scheduler (even in training time). */
    function referenceSigmas(steps) {
        return range(steps).map((index) => sigmaAt(steps > 1 ? index / (steps - 1) : 0));
    }

    /** Five significant digits, as in Python. */
    const rounded = (sigma) => Number(sigma.toPrecision(5));

    /** ln sigma of the boundaries before each of the levels. */
    function boundaries(levels) {
        const ln = levels.map(Math.log);
        const half = ln.length > 1 ? (ln[0] - ln[1]) / 2 : 0.5;
        return ln.map((value, index) => index ? (value + ln[index - 1]) / 2 : value + half);
    }

    /** Convert one end of a window to sigma; `sigmas` are the falling noise levels of a whole run. */
    function toSigma(value, unit, sigmas) {
        if (value === null || unit === "sigma") return value;
        const levels = sigmas.filter((sigma) => sigma > 0);
        const count = levels.length;
        const step = unit === "fraction" ? value * count : value;
        if (step >= count) return 0;
        const edges = boundaries(levels);
        if (step <= count - 1) return rounded(Math.exp(interp(step, range(count), edges)));
        return rounded(Math.exp(edges[count - 1]) * (count - step));
    }

    /** The inverse of toSigma(): what an end in sigma is in `unit`, not rounded. */
    function fromSigma(sigma, unit, sigmas) {
        if (sigma === null || unit === "sigma") return sigma;
        const levels = sigmas.filter((level) => level > 0);
        const count = levels.length;
        const edges = boundaries(levels);
        let step = count;
        if (sigma > 0) {
            const ln = Math.log(sigma);
            step = ln >= edges[count - 1]
                ? interp(-ln, edges.map((edge) => -edge), range(count))
                : count - sigma / Math.exp(edges[count - 1]);
        }
        return unit === "fraction" ? step / count : step;
    }

    /** Factor of a strength curve at `position` in its window (0 where it opens, 1 where it closes). */
    function curveValue(curve, position, points) {
        position = Math.min(Math.max(position, 0), 1);
        if (curve === "linear up") return position;
        if (curve === "linear down") return 1 - position;
        if (curve === "cosine") return 0.5 + 0.5 * Math.cos(Math.PI * position);
        if (curve === "points") return interp(position, points.map((pair) => pair[0]), points.map((pair) => pair[1]));
        return 1;
    }

    /** Is sigma in the window: stop < sigma <= start? */
    function inside(sigma, start, stop) {
        return (start === null || sigma <= start) && (stop === null || sigma > stop);
    }

    /** [opens, closes] of a window in sigma, in progress. */
    function span(start, stop) {
        return [start === null ? 0 : progress(start), stop === null ? 1 : progress(stop)];
    }

    /** Strength of a negative at sigma: 0 outside its window, weight * curve inside. */
    function strength(sigma, start, stop, weight, curve, points) {
        if (!inside(sigma, start, stop)) return 0;
        if (curve === "constant") return weight;
        const [opens, closes] = span(start, stop);
        const position = closes <= opens ? 0 : (progress(sigma) - opens) / (closes - opens);
        return weight * curveValue(curve, position, points);
    }

    /** The same window with ends in sigma, for a whole run over these sigmas. */
    function inSigma(window, sigmas) {
        return Object.assign({}, window, {
            start: window.unit !== "sigma" && window.start === 0 ? null : toSigma(window.start, window.unit, sigmas),
            stop: toSigma(window.stop, window.unit, sigmas),
            unit: "sigma",
        });
    }

    NegGuide.schedule = {
        setTable, interp, progress, sigmaAt, referenceSigmas, toSigma, fromSigma, curveValue, inside, span, strength, inSigma,
    };
})(window.NegGuide = window.NegGuide || {});
