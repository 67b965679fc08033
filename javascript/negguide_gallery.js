/*
 * NegGuide.gallery: a button in the row under each tab's results that makes the chosen picture a negative image prompt;
 * NegGuide.gallery.chosen(tab): the <img> of the chosen picture.
 *
 *   #image_buttons_TAB [data-negguide=send-negative]   the button, beside the host's own
 */
(function(NegGuide) {
    "use strict";

    const TITLE = "Send to negative image: new pictures avoid what the chosen one shows (NegGuide, IP-Adapter)";

    const root = () => typeof window.gradioApp === "function" ? window.gradioApp() : document;

    /** Where the first picture is that is no grid, by what the host told of the last run. */
    function first(tab) {
        const about = root().querySelector(`#generation_info_${tab} textarea`);
        try {
            return JSON.parse(about.value).index_of_first_image || 0;
        } catch (error) {
            return 0;
        }
    }

    /** The gallery's chosen picture, else its first one; null where it is empty. */
    function chosen(tab) {
        const gallery = root().querySelector(`#${tab}_gallery`);
        if (!gallery) return null;
        const marked = gallery.querySelector(".thumbnail-item.selected img");
        if (marked) return marked;
        const all = gallery.querySelectorAll(".thumbnail-item img");
        return all[Math.min(first(tab), all.length - 1)] || gallery.querySelector("img");
    }

    /** Turn NegGuide on and open its accordion. */
    function open(tab) {
        const title = root().querySelector(`#negguide_${tab} > .label-wrap`);
        if (title && !title.classList.contains("open")) title.click();
        const box = root().querySelector(`#negguide_${tab}-visible-checkbox`);
        if (box && !box.checked) box.click();
    }

    function send(tab) {
        const {editor} = NegGuide.editors[tab] || {};
        if (!editor) return;
        const picture = chosen(tab);
        open(tab);
        editor.images.element.open = true;
        const files = picture ? NegGuide.store.fetched(picture.src).then((file) => [file])
            : Promise.reject(new Error("there is none yet; generate one first"));
        editor.images.take(files, {side: "negative"}).then(() => editor.images.element.scrollIntoView({block: "nearest"}));
    }

    /** Put the button into each row that has none. */
    NegGuide.gallery = function() {
        for (const tab of Object.keys(NegGuide.editors)) {
            const row = root().querySelector(`#image_buttons_${tab}`);
            if (!row || row.querySelector("[data-negguide=send-negative]")) continue;
            const other = row.querySelector("button");
            const button = NegGuide.dom.element("button", {type: "button", title: TITLE, "aria-label": TITLE, "data-negguide": "send-negative"}, "🚫");
            if (other) button.className = other.className; // to look as the host's own
            button.addEventListener("click", () => send(tab));
            (other ? other.parentNode : row).append(button);
        }
    };
    NegGuide.gallery.chosen = chosen;
})(window.NegGuide = window.NegGuide || {});
