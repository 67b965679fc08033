/*
 * The strip "removal" of the NegGuide tab: NegGuide.Removable, the words that can be removed, and NegGuide.compared, before and after.
 */
(function(NegGuide) {
    "use strict";

    const MOST = 24;
    const SMALL = /^(a|an|the|this|that|and|or|not|of|in|on|at|to|by|for|from|as|is|are|it|its|his|her|their|with|without|under|over|near|very|break)$/;

    /** Phrases and words that a prompt or a caption names, in their order; the host's signs of weights and networks are none. */
    function words(text) {
        const plain = text.toLowerCase().replace(/<[^>]*>/g, ",").replace(/:\s*[\d.]+/g, " ").replace(/[()[\]{}\\]/g, " ");
        const found = [];
        let phrase = [];
        const end = () => {
            if (phrase.length > 1 && phrase.length < 4) found.push(phrase.join(" "));
            found.push(...phrase);
            phrase = [];
        };
        for (const word of plain.match(/[\p{L}][\p{L}\p{M}'’-]*|[^\s\p{L}]/gu) || []) {
            if (/^\p{L}/u.test(word) && !SMALL.test(word)) phrase.push(word);
            else end();
        }
        end();
        return [...new Set(found)].slice(0, MOST);
    }

    class Removable {
        /** `choose(word)`; `look()` gives a caption. */
        constructor(choose, look) {
            const {element, button} = NegGuide.dom;
            this.choose = choose;
            this.caption = "";
            this.list = element("div", {className: "negguide-tab-tools", role: "group", "aria-label": "words that can be removed"});
            const ask = button("look", "Look at the picture", async() => {
                ask.disabled = true;
                this.caption = await look() || this.caption;
                ask.disabled = false;
                this.show(this.prompt, this.chosen);
            }, "A captioner says what is in the picture without the negative; its words join the list");
            this.element = element("div", {className: "negguide-tab-removable", "data-of": "removable"}, this.list, ask);
            this.show("", "");
        }

        show(prompt, chosen) {
            this.prompt = prompt;
            this.chosen = chosen;
            const {button} = NegGuide.dom;
            const offered = [...new Set([...words(prompt), ...words(this.caption)])];
            this.list.replaceChildren(...offered.map((word) => {
                const made = button("word", word, () => {
                    this.choose(word);
                    for (const one of this.list.children) one.setAttribute("aria-pressed", String(one === made));
                }, "Make this the negative");
                made.dataset.word = word;
                made.setAttribute("aria-pressed", String(word === chosen.trim().toLowerCase()));
                return made;
            }));
        }
    }

    /** Two pictures one over the other with a slider between them: left of the line the first, right of it the second. */
    function compared(before, after, title) {
        const {element} = NegGuide.dom;
        const upper = element("img", {src: after, alt: title});
        const stack = element("div", {className: "negguide-tab-stack"}, element("img", {src: before, alt: NegGuide.dom.words("as it is")}), upper);
        const slider = element("input", {type: "range", min: "0", max: "100", value: "50", "aria-label": "Before and after",
            title: "Left of the line the picture as it is, right of it with the removal"});
        const cut = () => {
            upper.style.clipPath = `inset(0 0 0 ${slider.value}%)`;
            stack.style.setProperty("--negguide-cut", `${slider.value}%`);
        };
        slider.addEventListener("input", cut);
        cut();
        return element("div", {className: "negguide-tab-large", "data-compared": ""}, stack, slider,
            element("div", {className: "negguide-tab-sides"}, element("span", {}, "as it is"), element("span", {}, "with the removal")));
    }

    NegGuide.removable = words;
    NegGuide.Removable = Removable;
    NegGuide.compared = compared;
})(window.NegGuide = window.NegGuide || {});
