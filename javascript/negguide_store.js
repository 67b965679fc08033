/*
 * NegGuide.store: pictures on the server, which the settings only refer to, and what can be done with them there.
 *
 * POST ./negguide/v1/images        {image: data URL, name}; answers {image: "sha256:…", width, height}
 * GET  ./negguide/v1/images/HASH   the picture of a reference as PNG; 404 where there is none
 * GET  ./negguide/v1/adapters      {adapters: [{adapter, encoder, usable, why, …}], auto, folders: {adapters: […], encoders: […]}}
 */
(function(NegGuide) {
    "use strict";

    const ROOT = "./negguide/v1";
    const MARK = "sha256:";
    const LARGEST = 64; // megabytes; no picture from which an image encoder would gain
    const MEANINGS = {0: "the server does not answer", 401: "you are not logged in", 404: "it is not on this server", 413: "it is too large",
        422: "the server cannot read it as a picture"};

    /** What a status means, else the server's own words. */
    function refusal(status, text) {
        let said = null;
        try {
            said = JSON.parse(text).detail;
        } catch (error) {
            // a page of a proxy, or nothing
        }
        return new Error(MEANINGS[status] || (typeof said === "string" ? said : `HTTP ${status}`));
    }

    function dataUrl(file) {
        return new Promise((done, failed) => {
            const reader = new FileReader();
            reader.addEventListener("load", () => done(reader.result));
            reader.addEventListener("error", () => failed(new Error("the file cannot be read")));
            reader.readAsDataURL(file);
        });
    }

    /** Store a file on the server; its reference. `onProgress(part)` from 0 to 1. */
    async function upload(file, name, onProgress) {
        if (file.type && !file.type.startsWith("image/")) throw new Error("this is not a picture");
        if (file.size > LARGEST * 1e6) throw new Error(NegGuide.dom.say("it is too large: {} MB of at most {}", Math.ceil(file.size / 1e6), LARGEST));
        const body = JSON.stringify({image: await dataUrl(file), name});
        return new Promise((done, failed) => {
            const request = new XMLHttpRequest(); // fetch tells of no progress
            request.open("POST", `${ROOT}/images`);
            request.setRequestHeader("Content-Type", "application/json");
            request.upload.addEventListener("progress", (event) => event.lengthComputable && onProgress(event.loaded / event.total));
            request.addEventListener("load", () => {
                let reference = null;
                try {
                    reference = JSON.parse(request.responseText).image;
                } catch (error) {
                    // refused below
                }
                if (request.status === 200 && typeof reference === "string") done(reference);
                else failed(refusal(request.status, request.responseText));
            });
            request.addEventListener("error", () => failed(refusal(0, "")));
            request.send(body);
        });
    }

    /** Pictures of a drop or a paste: its files, else the one whose address was dragged, where this page may read it. */
    async function dropped(transfer) {
        const files = Array.from(transfer.files);
        if (files.length) return files;
        const address = (transfer.getData("text/uri-list") || "").split("\n").find((line) => line && !line.startsWith("#"));
        return address ? [await fetched(address.trim())] : [];
    }

    /** The picture at an address as a file. */
    async function fetched(address) {
        let answer;
        try {
            answer = await fetch(address);
        } catch (error) {
            throw new Error("the picture cannot be read from there: save it, and drop its file");
        }
        if (!answer.ok) throw refusal(answer.status, "");
        const path = address.startsWith("data:") ? "" : new URL(address, document.baseURI).pathname;
        return new File([await answer.blob()], decodeURIComponent(path.split("/").pop()) || "picture", {type: answer.headers.get("Content-Type") || ""});
    }

    /** Where a picture can be seen: its reference's address on the server, or the picture itself; "" for none. */
    function address(image) {
        const text = String(image).trim();
        if (text.startsWith(MARK)) return `${ROOT}/images/${encodeURIComponent(text.slice(MARK.length))}`;
        return text && !text.startsWith("data:") ? `data:image/png;base64,${text}` : text;
    }

    async function adapters() {
        const answer = await fetch(`${ROOT}/adapters`, {headers: {"Accept": "application/json"}});
        const text = await answer.text();
        if (!answer.ok) throw refusal(answer.status, text);
        return JSON.parse(text);
    }

    NegGuide.store = {upload, dropped, fetched, address, adapters};
})(window.NegGuide = window.NegGuide || {});
