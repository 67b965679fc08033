/*
 * NegGuide.settings: the settings object between the JSON text and the editor, by Python's table of fields.
 *
 * Python decides what is allowed. This mirror of lib_negguide/settings/ shows the same
 * complaint, in the same words, while one types. A value that is not allowed stays as it was
 * typed (a string where a number is wanted), and goes into the JSON text unchanged.
 */
(function(NegGuide) {
    "use strict";

    const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
    const clone = (value) => value === undefined ? undefined : JSON.parse(JSON.stringify(value));
    const same = (left, right) => JSON.stringify(left) === JSON.stringify(right);

    let tables = {Window: [], Negative: [], Schedule: [], Dns: [], Dnp: [], Removal: [], Settings: []};

    /** Take the tables of fields (data-schema of the editor's container). */
    function setTables(value) {
        tables = value;
    }

    const field = (model, name) => tables[model].find((row) => row.name === name);

    /** change(model, value) for the object, or for each object of the list, that a row holds; any other value as it is. */
    function nested(row, value, change) {
        if (row && row.kind === "objects") return value.map((one) => change(row.model, one));
        return row && row.kind === "object" && value !== null ? change(row.model, value) : value;
    }

    /** Is this an end of a removal whose default, a noise level, does not count, because its window is in another unit? */
    const isOpenEnd = (model, name, {unit}) => model === "Removal" && ["start", "stop"].includes(name) && unit !== undefined && unit !== "sigma";

    /** Fields of a removal that are something else in inpainting while nobody has named them (settings/inpainting.py). */
    const NAMED = ["region", "search", "start"];
    const named = Symbol("named");

    /** Somebody has chosen this field: it stays in the text even at its default, where that says something. */
    function setNamed(data, field) {
        if (data[named] && NAMED.includes(field)) data[named].add(field);
    }

    const isNamed = (data, field) => Boolean(data[named] && data[named].has(field));

    /** An object of `model` with every field of the table that has a default; unknown keys are kept. */
    function filled(model, data) {
        const full = Object.assign({}, clone(data));
        if (model === "Removal") full[named] = new Set(NAMED.filter((field) => data[field] !== undefined));
        for (const row of tables[model]) {
            if (full[row.name] === undefined && !row.required) full[row.name] = isOpenEnd(model, row.name, full) ? null : clone(row.default);
            full[row.name] = nested(row, full[row.name], filled);
        }
        return full;
    }

    /** Can the editor show this value at all: objects and lists where objects and lists belong? */
    function isReadable(data, model = "Settings") {
        return isObject(data) && tables[model].every((row) => {
            const value = data[row.name];
            if (value === undefined || value === null && row.null) return true;
            if (row.kind === "objects") return Array.isArray(value) && value.every((one) => isReadable(one, row.model));
            return row.kind !== "object" || isReadable(value, row.model);
        });
    }

    /** The object without what equals its default; what is required always stays. */
    function lean(model, full) {
        const data = {};
        for (const [name, value] of Object.entries(full)) {
            const row = field(model, name);
            const kept = nested(row, value, lean);
            if (!row || row.required || isOpenEnd(model, name, full) || isNamed(full, name) || !same(kept, row.default)) data[name] = kept;
        }
        return data;
    }

    /** Settings of the editor as JSON text without `enabled`; "" for the defaults. */
    function toText(settings) {
        const data = lean("Settings", settings);
        delete data.enabled;
        return Object.keys(data).length ? JSON.stringify(data) : "";
    }

    /** {settings, error}: the editor's full settings of a JSON text, or what is wrong with the text. */
    function fromText(text) {
        let data;
        try {
            data = JSON.parse(text.trim() || "{}");
        } catch (error) {
            return {settings: null, error: complaint("settings", text, "a JSON object")};
        }
        if (!isObject(data)) return {settings: null, error: complaint("settings", data, "a JSON object")};
        if (!isReadable(data)) return {settings: null, error: validate(data)[0]};
        const settings = filled("Settings", data);
        delete settings.enabled;
        return {settings, error: null};
    }

    // ---- Python's words

    /** repr() of a JSON value. */
    function repr(value) {
        if (value === null || value === undefined) return "None";
        if (value === true) return "True";
        if (value === false) return "False";
        if (Array.isArray(value)) return "[" + value.map(repr).join(", ") + "]";
        if (typeof value === "object") {
            return "{" + Object.entries(value).map(([key, item]) => repr(key) + ": " + repr(item)).join(", ") + "}";
        }
        if (typeof value === "number") return reprNumber(value);
        const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
        const escaped = value.replace(/\\/g, "\\\\").replace(/\n/g, "\\n").replace(/\r/g, "\\r").replace(/\t/g, "\\t");
        return quote + (quote === "'" ? escaped.replace(/'/g, "\\'") : escaped) + quote;
    }

    const exponent = (text) => text.replace(/e([+-])(\d)$/, "e$10$2");
    const reprNumber = (value) => Math.abs(value) < 1e-4 && value !== 0 ? exponent(value.toExponential()) : exponent(String(value));
    const reprFloat = (value) => reprNumber(value) + (Number.isInteger(value) && Math.abs(value) < 1e16 ? ".0" : "");

    /** format(value, "g"). */
    function general(value) {
        const size = value === 0 ? 0 : Number(value.toExponential(5).split("e")[1]);
        if (size < -4 || size >= 6) return exponent(String(Number(value.toPrecision(6)).toExponential()));
        return String(Number(value.toPrecision(6)));
    }

    /** What SettingsError says, by its parts; `shown` is repr(value) unless given. */
    function complaint(path, value, allowed, shown) {
        let text = Array.from(shown === undefined ? repr(value) : shown);
        if (text.length > 80) text = text.slice(0, 77).concat("...");
        return {path, shown: text.join(""), allowed, message: `${path} = ${text.join("")} is not allowed; ${allowed}`};
    }

    // ---- what is allowed

    const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
    const inRange = (value, row) => isNumber(value) && (row.min === null || value >= row.min) && (row.max === null || value <= row.max) &&
        (row.above === null || value > row.above);

    function pointsComplaint(points, path, allowed) {
        if (!Array.isArray(points)) return complaint(path, points, allowed);
        for (const [index, pair] of points.entries()) {
            if (!Array.isArray(pair) || pair.length !== 2) return complaint(`${path}[${index}]`, pair, allowed);
            for (const [place, number] of pair.entries()) {
                if (!isNumber(number)) return complaint(`${path}[${index}][${place}]`, number, allowed);
            }
        }
        const outside = points.some((pair) => pair.some((number) => number < 0 || number > 1));
        const falling = points.some((pair, index) => index && pair[0] <= points[index - 1][0]);
        return outside || falling ? complaint(path, points, allowed) : null;
    }

    /** The texts that must not be empty. */
    const NOT_EMPTY = {Dnp: "captioner", Removal: "text"};

    /** The complaint about one plain field of `model`, or null. */
    function fieldComplaint(model, row, value, path) {
        if (row.kind === "points") return pointsComplaint(value, path, row.allowed);
        const isAllowed = value === null ? row.null : {
            choice: () => row.choices.includes(value),
            number: () => inRange(value, row),
            integer: () => Number.isInteger(value) && inRange(value, row),
            boolean: () => typeof value === "boolean",
            text: () => typeof value === "string" && (NOT_EMPTY[model] !== row.name || value.trim() !== ""),
        }[row.kind]();
        return isAllowed ? null : complaint(path, value, row.allowed);
    }

    /** Complaints about a model's object; fields that are missing have their defaults. */
    function modelComplaints(model, data, path) {
        const found = [];
        for (const row of tables[model]) {
            const value = data[row.name], at = path + row.name;
            if (value === undefined) {
                if (row.required) found.push(complaint(at, null, "required: " + row.allowed));
            } else if (row.kind === "objects" && Array.isArray(value)) {
                value.forEach((one, index) => {
                    if (isObject(one)) found.push(...modelComplaints(row.model, one, `${at}[${index}].`));
                    else found.push(complaint(`${at}[${index}]`, one, row.allowed));
                });
            } else if (row.model) {
                if (isObject(value) && row.kind === "object") found.push(...modelComplaints(row.model, value, at + "."));
                else if (!(value === null && row.null)) found.push(complaint(at, value, row.allowed));
            } else {
                const wrong = fieldComplaint(model, row, value, at);
                if (wrong) found.push(wrong);
            }
        }
        const known = tables[model].map((row) => row.name);
        for (const name of Object.keys(data).filter((key) => !known.includes(key))) {
            found.push(complaint(path + name, data[name], "unknown field; known are " + known.join(", ")));
        }
        return found;
    }

    /** Rules between the fields of one window (Window.check). */
    function windowComplaint(window, path) {
        const {start, stop, unit} = window;
        if (unit === "fraction") {
            for (const name of ["start", "stop"]) {
                if (window[name] !== null && window[name] > 1) {
                    return complaint(path + name, window[name], "a fraction of the run is a number from 0 to 1", reprFloat(window[name]));
                }
            }
        }
        if (start !== null && stop !== null) {
            if (unit === "sigma" && start < stop) {
                return complaint(path + "start", start, `sigma falls during a run, so start is at least stop (${general(stop)})`, reprFloat(start));
            }
            if (unit !== "sigma" && start > stop) {
                return complaint(path + "start", start, `at most stop (${general(stop)})`, reprFloat(start));
            }
        }
        if (window.curve === "points" && !window.points.length) {
            return complaint(path + "points", window.points, 'the curve "points" needs at least one [position, factor]');
        }
        return null;
    }

    /** Rules between the fields of DNS (Dns.check). */
    function dnsComplaint({scale, meaning}, path) {
        if (meaning !== "host" || scale === null || scale >= 1) return null;
        return complaint(path + "scale", scale, "at least 1 as the host's scale (1 is the empty prompt without guidance)", reprFloat(scale));
    }

    /** Rules between the fields of auto-DNP (Dnp.check). */
    function dnpComplaint(dnp, path) {
        const wrong = dnsComplaint(dnp, path) || windowComplaint(dnp.window, path + "window.");
        if (wrong) return wrong;
        if (dnp.min_tokens > dnp.max_tokens) return complaint(path + "min_tokens", dnp.min_tokens, `at most max_tokens (${dnp.max_tokens})`);
        if (String(dnp.captioner).trim() === "text" && String(dnp.text).trim() === "") {
            return complaint(path + "text", dnp.text, 'the captioner "text" needs one');
        }
        return null;
    }

    /** Rules between the fields of a removal (Removal.check). */
    function removalComplaint(removal, path) {
        const {gone, back} = removal;
        const wrong = windowComplaint(removal, path);
        if (wrong) return wrong;
        if (gone !== null && back !== null && back < gone) {
            return complaint(path + "back", back, `at least gone (${general(gone)})`, reprFloat(back));
        }
        if (!removal.anchor || removal.region !== "everywhere") return null;
        return complaint(path + "anchor", true, "false where the region is everywhere: there is no rest to keep");
    }

    /** Rules between the fields of an image prompt (ImagePrompt.check). */
    function imageComplaint(prompt, path) {
        const wrong = windowComplaint(prompt, path);
        if (wrong || String(prompt.image).trim() || (!["none", "shuffle"].includes(prompt.noise) && prompt.amount)) return wrong;
        return complaint(path + "image", prompt.image, "a picture; or noise alone: fade, dissolve or gaussian, of an amount above 0");
    }

    /** repr() of an object of `model` as Python has it: numbers are floats, defaults left out. */
    function reprLean(model, full) {
        const parts = Object.entries(lean(model, full)).map(([name, value]) =>
            `${repr(name)}: ${field(model, name).kind === "number" && value !== null ? reprFloat(value) : repr(value)}`);
        return `{${parts.join(", ")}}`;
    }

    /** All complaints about a settings object; the first one is the one that Python would raise. */
    function validate(data) {
        const found = modelComplaints("Settings", data, "");
        if (!isReadable(data)) return found;
        const full = filled("Settings", data);
        const check = (path, rule, value) => {
            const wrong = found.some((one) => one.path.startsWith(path)) ? null : rule(value, path);
            if (wrong) found.push(wrong);
        };
        for (const [prefix, schedule] of [["", full]].concat(full.hires ? [["hires.", full.hires]] : [])) {
            check(prefix + "box.", windowComplaint, schedule.box);
            schedule.negatives.forEach((negative, index) => check(`${prefix}negatives[${index}].`, windowComplaint, negative));
        }
        if (full.dns) check("dns.", dnsComplaint, full.dns);
        if (full.dnp) check("dnp.", dnpComplaint, full.dnp);
        if (full.dns && full.dnp && !found.some((one) => one.path.startsWith("dns."))) {
            found.push(complaint("dns", full.dns, "null while dnp is on: it is either of them", reprLean("Dns", full.dns)));
        }
        if (full.remove) check("remove.", removalComplaint, full.remove);
        if (full.remove && full.dns && !found.some((one) => one.path.startsWith("remove"))) {
            found.push(complaint("remove", String(full.remove.text).trim(), "null while dns is on: it is the opposite of the prompt's text"));
        }
        full.images.forEach((prompt, index) => check(`images[${index}].`, imageComplaint, prompt));
        if (full.images.length && full.dns && !found.some((one) => one.path.startsWith("images"))) {
            found.push(complaint("images", `${full.images.length} pictures`, "none while dns is on: it is the opposite of the prompt's text"));
        }
        return found;
    }

    // ---- what people type

    /** A typed number; "" is null, and what is no number stays a string. */
    function parseNumber(text) {
        const trimmed = text.trim();
        if (trimmed === "") return null;
        const value = Number(trimmed);
        return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(trimmed) && Number.isFinite(value) ? value : text;
    }

    const showNumber = (value) => value === null || value === undefined ? "" : String(value);

    /** "0:1, 0.5:0.2" as [[0, 1], [0.5, 0.2]]; what does not read so stays a string. */
    function parsePoints(text) {
        if (text.trim() === "") return [];
        const points = text.trim().replace(/[,;]$/, "").split(/[,;]/).map((pair) => pair.split(":").map(parseNumber));
        return points.every((pair) => pair.length === 2 && pair.every(isNumber)) ? points : text;
    }

    const showPoints = (points) => Array.isArray(points) && points.every(Array.isArray) ?
        points.map((pair) => pair.join(":")).join(", ") : showNumber(points);

    NegGuide.settings = {
        setTables, field, filled, toText, fromText, validate, repr, clone, same, setNamed, isNamed, parseNumber, showNumber, parsePoints, showPoints,
    };
})(window.NegGuide = window.NegGuide || {});
