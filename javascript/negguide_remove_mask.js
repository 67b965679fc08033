/*
 * NegGuide.Mask: a black and white picture that says where something may act: chosen, dropped, pasted, or painted over a picture.
 *
 * Painting is kept as ink in a canvas over the picture; the mask is stored on the server (negguide_store.js) as white on black
 * when a stroke has ended, and the settings get its reference.
 *
 *   [data-mask]                            the whole; in it
 *   [data-action=choose-mask] img          the mask in use; [data-mask-state] what became of it
 *   [data-action=paint|paint-init|drop-mask]  paint over the result, over img2img's picture; take the mask away
 *   [data-easel] canvas, [data-field=brush|erase], [data-action=clear-paint|invert-paint|end-paint]
 */
(function(NegGuide) {
    "use strict";

    const INK = [236, 72, 153];
    const LARGEST = 1024; // pixels of a painted mask's longer side; the latent has an eighth of the picture's
    const REST_MS = 300; // after a stroke, before its mask is stored

    const root = () => typeof window.gradioApp === "function" ? window.gradioApp() : document;

    /** A picture that is loaded; null where there is none. */
    async function loaded(src) {
        if (!src) return null;
        const image = new Image();
        image.src = src;
        await image.decode();
        return image;
    }

    class Mask {
        /** `editor` has tab, page; `id` begins the ids of inputs; `hint` in words; `edit(reference)` takes the mask, "" for none. */
        constructor(editor, id, hint, edit) {
            const {element, button} = NegGuide.dom;
            Object.assign(this, {editor, edit, src: null, stroke: null, timer: null, turn: 0, painted: null});
            this.image = element("img", {alt: "", draggable: false});
            this.image.addEventListener("error", () => {
                this.image.hidden = true;
                this.none.hidden = false;
                this.say("The mask is not on this server: choose or paint it again.", true);
            });
            this.none = element("span", {className: "negguide-none"}, "no mask");
            this.file = element("input", {type: "file", accept: "image/*", hidden: true, tabIndex: -1, "aria-label": "Mask file", "data-field": "file"});
            this.file.addEventListener("change", () => {
                const files = Array.from(this.file.files);
                this.file.value = "";
                if (files.length) this.take(Promise.resolve(files));
            });
            const choose = "Mask: click, drop or paste a black and white picture here";
            this.thumb = element("button", {type: "button", className: "negguide-button negguide-thumb", title: choose, "aria-label": choose,
                "data-action": "choose-mask"}, this.image, this.none);
            this.thumb.addEventListener("click", () => this.file.click());
            this.state = element("div", {className: "negguide-upload", role: "status", "data-mask-state": ""});
            this.away = button("drop-mask", "No mask", () => this.clear(), "Take the mask away");
            this.element = element("div", {className: "negguide-zone", role: "group", "aria-label": "Mask", "data-mask": ""},
                element("div", {className: "negguide-slot"}, this.thumb, element("div", {className: "negguide-rows"},
                    element("div", {className: "negguide-note"}, hint),
                    element("div", {className: "negguide-heading"},
                        button("paint", "Paint over the result", () => this.paint(NegGuide.gallery.chosen(editor.tab)),
                            "Paint a mask over the picture that is chosen in the gallery"),
                        editor.tab === "img2img" ? button("paint-init", "Paint over the picture", () => this.paint(this.init()),
                            "Paint a mask over img2img's own picture") : null,
                        this.away), this.state)), this.buildEasel(id), this.file);
            NegGuide.Slot.receive(this.element, (files) => this.take(files));
        }

        buildEasel(id) {
            const {element, button} = NegGuide.dom;
            this.canvas = element("canvas", {width: 64, height: 64});
            this.below = element("img", {alt: "", draggable: false});
            this.brush = element("input", {type: "range", id: `${id}_brush`, min: 1, max: 40, step: 1, value: 10, "data-field": "brush"});
            this.erase = element("input", {type: "checkbox", id: `${id}_erase`, "data-field": "erase"});
            this.easel = element("div", {className: "negguide-easel", hidden: true, "data-easel": ""},
                element("div", {className: "negguide-heading"},
                    element("label", {className: "negguide-check negguide-brush", for: this.brush.id, title: "In hundredths of the picture's width"},
                        element("span", {}, "Brush size"), this.brush),
                    element("label", {className: "negguide-check", for: this.erase.id}, this.erase, element("span", {}, "Erase")),
                    button("invert-paint", "Invert", () => this.change((alpha) => 255 - alpha), "What was painted is not, and the other way round"),
                    button("clear-paint", "Clear", () => this.change(() => 0), "Paint nothing"),
                    button("end-paint", "Done", () => this.end(), "Hide the canvas; the mask stays")),
                element("div", {className: "negguide-stage"}, this.below, this.canvas));
            this.canvas.addEventListener("pointerdown", (event) => {
                if (event.button) return;
                event.preventDefault();
                this.canvas.setPointerCapture(event.pointerId);
                this.draw(this.where(event), true);
            });
            this.canvas.addEventListener("pointermove", (event) => {
                if (this.stroke) this.draw(this.where(event), false);
            });
            for (const kind of ["pointerup", "pointercancel"]) {
                this.canvas.addEventListener(kind, () => {
                    if (this.stroke) this.soon();
                    this.stroke = null;
                });
            }
            return this.easel;
        }

        // ---- showing

        show(reference) {
            const src = NegGuide.store.address(reference);
            if (src === this.src) return;
            this.src = src;
            this.say("");
            this.image.hidden = !src;
            this.none.hidden = Boolean(src);
            this.away.hidden = !src;
            if (src) this.image.src = src; else this.image.removeAttribute("src");
        }

        say(text, isError) {
            this.state.textContent = text;
            this.state.classList.toggle("negguide-error", Boolean(isError));
        }

        // ---- a mask that comes or goes

        /** Store the first of these files (a promise); it is the mask then. */
        async take(promise) {
            this.close();
            try {
                const [file] = await promise;
                if (!file) throw new Error("this is not a picture");
                await this.store(file, "", this.turn);
            } catch (error) {
                this.say(NegGuide.dom.say("The mask was not taken: {}", error.message), true);
            }
        }

        /** Store a file; it is the mask unless another one has come since this `turn`. */
        async store(file, words, turn) {
            this.say("storing the mask");
            const reference = await NegGuide.store.upload(file, file.name, () => {});
            if (turn !== this.turn) return;
            this.edit(reference);
            this.say(words);
        }

        clear() {
            this.close();
            this.edit("");
            this.say("");
        }

        /** Hide the canvas; what is still being stored counts no more. */
        close() {
            this.turn++;
            clearTimeout(this.timer);
            this.timer = this.stroke = null;
            this.easel.hidden = true;
        }

        /** Hide the canvas; what was painted last is stored. */
        end() {
            if (this.timer) this.keep();
            this.easel.hidden = true;
        }

        // ---- painting

        /** The picture of img2img's own tab. */
        init() {
            return Array.from(root().querySelectorAll("#mode_img2img img, #img2img_image img")).find((one) => one.src && one.offsetParent) || null;
        }

        /** Begin to paint over an <img>, with the mask in use; without one, on an empty picture of the page's size. */
        async paint(source) {
            const {page, tab} = this.editor;
            this.close();
            try {
                const [below, mask] = await Promise.all([loaded(source && source.src), this.image.hidden ? null : loaded(this.src)]);
                let [width, height] = below ? [below.naturalWidth, below.naturalHeight] : ["width", "height"].map((name) => page.number(`${tab}_${name}`) || 512);
                const part = Math.min(LARGEST / Math.max(width, height), 1);
                [width, height] = [Math.round(width * part), Math.round(height * part)];
                const isMine = this.src !== "" && this.src === this.painted && width === this.canvas.width && height === this.canvas.height;
                if (!isMine) Object.assign(this.canvas, {width, height});
                this.below.hidden = !below;
                if (below) this.below.src = below.src; else this.below.removeAttribute("src");
                if (mask && !isMine) this.ink(mask);
                this.easel.hidden = false;
                this.say(below ? "" : "There is no picture yet: this is an empty one of the same size.");
            } catch (error) {
                this.say("The picture cannot be painted over: it is not there any more.", true);
            }
        }

        get context() {
            return this.canvas.getContext("2d", {willReadFrequently: true});
        }

        where(event) {
            const box = this.canvas.getBoundingClientRect();
            return [(event.clientX - box.left) / box.width * this.canvas.width, (event.clientY - box.top) / box.height * this.canvas.height];
        }

        draw([x, y], isFirst) {
            const {context} = this;
            context.globalCompositeOperation = this.erase.checked ? "destination-out" : "source-over";
            context.strokeStyle = `rgb(${INK})`;
            context.lineWidth = Math.max(Number(this.brush.value) / 100 * this.canvas.width, 1);
            context.lineCap = context.lineJoin = "round";
            context.beginPath();
            context.moveTo(...(isFirst ? [x, y] : this.stroke));
            context.lineTo(x + (isFirst ? 0.1 : 0), y); // a line without length has no ends either
            context.stroke();
            this.stroke = [x, y];
        }

        /** Put change(alpha) in place of the ink's alpha everywhere; soon that is the mask. */
        change(change) {
            const {width, height} = this.canvas;
            const pixels = this.context.getImageData(0, 0, width, height);
            for (let at = 0; at < pixels.data.length; at += 4) {
                const alpha = change(pixels.data[at + 3]);
                pixels.data.set([...INK, alpha], at);
            }
            this.context.putImageData(pixels, 0, 0);
            this.soon();
        }

        /** A mask's white as ink. */
        ink(mask) {
            const {context, canvas: {width, height}} = this;
            context.globalCompositeOperation = "source-over";
            context.drawImage(mask, 0, 0, width, height);
            const pixels = context.getImageData(0, 0, width, height);
            for (let at = 0; at < pixels.data.length; at += 4) {
                const light = (pixels.data[at] + pixels.data[at + 1] + pixels.data[at + 2]) / 3;
                pixels.data.set([...INK, Math.round(light)], at);
            }
            context.putImageData(pixels, 0, 0);
        }

        soon() {
            clearTimeout(this.timer);
            this.timer = setTimeout(() => this.keep(), REST_MS);
        }

        /** Store what is painted, white on black; nothing at all is no mask. */
        async keep() {
            clearTimeout(this.timer);
            this.timer = null;
            const turn = ++this.turn;
            const {canvas: {width, height}} = this;
            const {data} = this.context.getImageData(0, 0, width, height);
            let sum = 0;
            for (let at = 3; at < data.length; at += 4) sum += data[at];
            const share = sum / 255 / width / height;
            if (!sum) {
                this.edit("");
                this.say("Nothing is painted: no mask.");
                return;
            }
            const flat = NegGuide.dom.element("canvas", {width, height}).getContext("2d");
            const image = flat.createImageData(width, height);
            for (let at = 0; at < data.length; at += 4) image.data.set([data[at + 3], data[at + 3], data[at + 3], 255], at);
            flat.putImageData(image, 0, 0);
            try {
                const blob = await new Promise((done) => flat.canvas.toBlob(done, "image/png"));
                await this.store(new File([blob], "mask.png", {type: "image/png"}),
                    NegGuide.dom.say("{}% of the picture is in the mask.", Math.max(Math.round(100 * share), 1)), turn);
                if (turn === this.turn) this.painted = this.src;
            } catch (error) {
                this.say(NegGuide.dom.say("The mask was not stored: {}", error.message), true);
            }
        }
    }

    NegGuide.Mask = Mask;
})(window.NegGuide = window.NegGuide || {});
