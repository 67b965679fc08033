/*
 * NegGuide.workbench: the workbench's endpoints. Refusals are Errors with the server's words.
 */
(function(NegGuide) {
    "use strict";

    const ADDRESS = "./negguide/v1/workbench";

    async function request(path, method = "GET", body, address = ADDRESS) {
        const headers = {"Accept": "application/json", "Content-Type": "application/json"};
        let answer, text;
        try {
            answer = await fetch(`${address}${path}`, {method, headers, body: body && JSON.stringify(body)});
            text = await answer.text();
        } catch (error) {
            throw new Error(NegGuide.dom.words("the server does not answer"));
        }
        let data = null;
        try {
            data = JSON.parse(text);
        } catch (error) {
            // refused below
        }
        if (answer.ok && data) return data;
        const {words, say, told} = NegGuide.dom;
        if (data && data.words) throw new Error(told(data.words));
        const detail = data && data.detail;
        throw new Error(typeof detail === "string" ? words(detail.replace(/^NegGuide: /, "")) : say("the server answered {}", answer.status));
    }

    NegGuide.workbench = {
        start: (form) => request("", "POST", {...form, wait: false}),
        /** `preview`: number of the last live preview that was seen, -1 for none. */
        state: (preview) => request(`/state?preview=${preview}`),
        interrupt: () => request("/interrupt", "POST"),
        skip: () => request("/skip", "POST"),
        read: (what) => request("/read", "POST", what),
        caption: async (image, captioner) => (await request("/caption", "POST", {images: [image], captioner}, "./negguide/v1")).captions[0].caption,
        captioners: async () => (await request("/captioners", "GET", undefined, "./negguide/v1")).captioners.map((one) => one.captioner),
        runs: async () => (await request("/runs")).runs,
        run: (id) => request(`/runs/${encodeURIComponent(id)}`),
        remove: async (id) => (await request(`/runs/${encodeURIComponent(id)}`, "DELETE")).runs,
        file: (id, name) => `${ADDRESS}/runs/${encodeURIComponent(id)}/files/${encodeURIComponent(name)}`,
        attention: (id, cell, asked) => `${ADDRESS}/runs/${encodeURIComponent(id)}/attention/${encodeURIComponent(cell)}?${asked}`,
    };
})(window.NegGuide = window.NegGuide || {});
