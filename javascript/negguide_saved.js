/*
 * NegGuide.savedPresets: load, save and delete whole settings by name, over the extension's API.
 *
 * GET    ./negguide/v1/presets        {saved: {NAME: a settings object, or {error: words}}}
 * POST   ./negguide/v1/presets        {name, settings}; answers as GET does
 * DELETE ./negguide/v1/presets/NAME   likewise
 * Nothing is asked before the section is opened.
 */
(function(NegGuide) {
    "use strict";

    const ADDRESS = "./negguide/v1/presets";

    /** The answer's JSON; an Error with the server's words where it refuses. */
    async function request(method, name, body) {
        const options = {method, headers: {"Accept": "application/json"}};
        if (body !== undefined) {
            options.headers["Content-Type"] = "application/json";
            options.body = JSON.stringify(body);
        }
        const answer = await fetch(name === undefined ? ADDRESS : `${ADDRESS}/${encodeURIComponent(name)}`, options);
        const text = await answer.text();
        let data = null;
        try {
            data = text ? JSON.parse(text) : null;
        } catch (error) {
            if (answer.ok) throw new Error(`the server's answer is not JSON: ${text.slice(0, 200)}`);
        }
        if (answer.ok) return data;
        const said = data && data.detail;
        throw new Error(typeof said === "string" ? said : `HTTP ${answer.status} ${answer.statusText}`);
    }

    /** The section with the saved presets for an editor. */
    NegGuide.savedPresets = function(editor) {
        const {element} = NegGuide.dom;
        const select = element("select", {"data-field": "saved"});
        const name = element("input", {type: "text", autocomplete: "off", maxLength: 80, "data-field": "saved-name"});
        const tell = (text, isError) => editor.tell(text, isError);

        let saved = {};

        /** Take the server's answer; choose a name. */
        function show(answer, chosen) {
            saved = answer.saved;
            select.replaceChildren(...Object.keys(saved).map((one) => element("option", {value: one}, one)));
            if (chosen in saved) select.value = chosen;
        }

        /** A button whose errors are told. */
        function button(action, text, act) {
            return NegGuide.dom.button(action, text, async(made) => {
                made.disabled = true;
                try {
                    await act();
                } catch (error) {
                    tell(error.message, true);
                } finally {
                    made.disabled = false;
                }
            });
        }

        const pick = () => {
            if (!select.value) throw new Error("There is no saved preset yet.");
            return select.value;
        };

        const section = element("details", {className: "negguide-section", "data-section": "saved"},
            element("summary", {}, "Saved presets"),
            element("div", {className: "negguide-saved"},
                element("label", {className: "negguide-field"}, element("span", {}, "Saved preset"), select),
                button("load-preset", "Load", () => {
                    const chosen = pick();
                    if (saved[chosen].error) throw new Error(saved[chosen].error);
                    const data = Object.assign({}, saved[chosen]);
                    delete data.enabled;
                    editor.load(JSON.stringify(data));
                    editor.edited();
                    name.value = chosen;
                    tell(NegGuide.dom.say("Loaded: {}", chosen));
                }),
                button("delete-preset", "Delete", async() => {
                    const chosen = pick();
                    show(await request("DELETE", chosen));
                    tell(NegGuide.dom.say("Deleted: {}", chosen));
                })),
            element("div", {className: "negguide-saved"},
                element("label", {className: "negguide-field"}, element("span", {}, "Save these settings as"), name),
                button("save-preset", "Save", async() => {
                    const chosen = name.value.trim();
                    if (!chosen) throw new Error("A preset needs a name.");
                    show(await request("POST", undefined, {name: chosen, settings: JSON.parse(editor.text || "{}")}), chosen);
                    tell(NegGuide.dom.say("Saved: {}", chosen));
                })));
        section.addEventListener("toggle", () => {
            if (section.open) request("GET").then((answer) => show(answer, select.value)).catch((error) => tell(error.message, true));
        });
        return section;
    };
})(window.NegGuide = window.NegGuide || {});
