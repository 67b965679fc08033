/*
 * NegGuide.dom: small helpers to make elements. All words go in as text, so that the host can translate them; tooltips, placeholders
 * and spoken labels, which it overlooks in what is added later, are translated here (localizations/*.json, by the host's own setting).
 */
(function(NegGuide) {
    "use strict";

    const SPOKEN = ["title", "placeholder", "aria-label"];

    /** In the page's language, where there is a translation. */
    function words(text) {
        return window.localization && window.localization[text] || text;
    }

    /** The same of a text with places for values: say("call {}, σ {}", 3, 5.8). */
    function say(template, ...values) {
        return words(template).replace(/\{\}/g, () => values.shift());
    }

    /** What the server has said in English, in the page's language. `parts`: [template, values or parts…] (lib_negguide/said.py). */
    function told(parts) {
        const [template, ...values] = parts;
        return say(template.replace(/^NegGuide: /, ""), ...values.map((value) => Array.isArray(value) ? told(value) : value));
    }

    /** An element; properties with a dash and `role`, `for` are attributes; null children are left out. */
    function element(tag, properties, ...children) {
        const made = document.createElement(tag);
        for (const [name, given] of Object.entries(properties || {})) {
            const value = SPOKEN.includes(name) ? words(given) : given;
            if (name.includes("-") || name === "role" || name === "for") made.setAttribute(name, value);
            else made[name] = value;
        }
        made.append(...children.filter((child) => child !== null && child !== undefined));
        return made;
    }

    /** A button; one that shows a mere symbol is called by its title. */
    function button(action, text, act, title) {
        const made = element("button", {type: "button", className: "negguide-button", title: title || "", "data-action": action}, text);
        if (title && text.length < 3) made.setAttribute("aria-label", words(title));
        made.addEventListener("click", () => act(made));
        return made;
    }

    /** Give a select these choices and a value, one that is not allowed included. */
    function fillSelect(select, choices, value) {
        const all = choices.includes(value) ? choices : choices.concat(String(value));
        const names = Array.from(select.options, (option) => option.value);
        if (!NegGuide.settings.same(names, all)) {
            select.replaceChildren(...all.map((choice) => element("option", {value: choice}, choice)));
        }
        select.value = String(value);
    }

    /** Complaints, one below the other; their parts are texts of their own, for translations. */
    function showComplaints(parent, complaints) {
        const text = complaints.map((one) => one.message).join("\n");
        if (parent.shownText === text) return;
        parent.shownText = text;
        parent.replaceChildren(...complaints.map((one) => element("div", {className: "negguide-error", "data-error": one.path},
            `${one.path} = ${one.shown} `, element("span", {}, "is not allowed"), "; ", element("span", {}, one.allowed))));
    }

    NegGuide.dom = {words, say, told, element, button, fillSelect, showComplaints};
})(window.NegGuide = window.NegGuide || {});
