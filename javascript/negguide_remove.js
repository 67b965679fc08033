/*
 * NegGuide.Remove: the section "Remove" of one tab's editor.
 *
 * `settings.remove` is there while its text is not empty; what else one had set comes back with the text. When it may act is a
 * lane in the pictures of both passes.
 */
(function(NegGuide) {
    "use strict";

    const HINTS = {
        off: "Type what is to go. The picture is otherwise the one that the same prompt and seed give.",
        loop: "Acts in each picture from start until the thing is gone there, and again when it comes back.",
        window: "Acts in every picture from start to stop.",
        exhaustive: "Whole samplings, each with a longer window, until the thing is gone (Ban et al.).",
    };
    const PHOTO = "The prompt is to say what the photo shows, and the sampler is to make no noise of its own (Euler, DDIM, DPM++ 2M).";
    const INPAINTING = "With a mask (inpaint), while you choose nothing else: in the mask, from the first step to Stop, nobody looking.";
    const MASKS = {
        txt2img: "White is where it may act. Without a mask it cannot act here.",
        img2img: "White is where it may act. Empty: the mask of the host's own inpainting.",
    };
    const LATER = {caption: "a captioner on a decoded preview", clip: "CLIP on a decoded preview"};

    class Remove {
        /** `editor` has settings, edited(), page, tab. */
        constructor(editor) {
            const {element} = NegGuide.dom;
            const {field} = NegGuide.settings;
            const {changeUnit, changeCurve} = NegGuide.windows;
            this.editor = editor;
            this.id = `negguide_${editor.tab}_remove`;
            this.state = element("span", {className: "negguide-acts", "data-state": ""});
            this.hint = element("div", {className: "negguide-note", role: "status", "data-hint": ""});
            this.errors = element("div", {className: "negguide-errors", id: `${this.id}_errors`, role: "status", "data-errors": ""});
            this.fields = new NegGuide.Fields({
                model: "Removal", id: this.id, errors: this.errors.id, data: () => this.data, edited: () => this.edited(),
                changes: {unit: (data, unit) => changeUnit(data, unit, editor.page.run("first").steps), curve: (data, curve) => changeCurve(data, curve)},
                examples: {text: "glasses", start: "first step", stop: "last step", gone: "the detector's own", back: "the detector's own",
                    points: "0:1, 0.5:0.2"},
            });
            const {fields} = this;
            this.mask = new NegGuide.Mask(editor, this.id, MASKS[editor.tab], (reference) => fields.put("mask", reference));
            const named = fields.line("text", "weight");
            this.more = element("details", {className: "negguide-more", "data-more": ""}, element("summary", {}, "More"),
                element("div", {className: "negguide-rows"}, fields.line("every", "gone", "back"), fields.line("curve", "points"), fields.line("fidelity")));
            this.rest = element("div", {className: "negguide-rows"}, fields.line("search", "detector", "region"),
                this.mask.element,
                element("div", {className: "negguide-fields"}, element("div", {className: "negguide-window"},
                    ...["start", "stop", "unit"].map((name) => fields.labelled(name)))),
                element("div", {className: "negguide-heading"}, fields.labelled("anchor"), fields.labelled("photo")), this.more);
            this.element = element("details", {className: "negguide-section", "data-section": "remove"},
                element("summary", {title: field("Settings", "remove").help}, element("span", {}, "Remove from the picture"), " ", this.state),
                element("div", {className: "negguide-rows"}, named, this.rest, this.hint, this.errors));
            this.element.style.setProperty("--negguide-color", "var(--negguide-color-remove)");
            this.take();
        }

        /** Show what the editor's settings hold, after they were loaded. */
        take() {
            this.data = this.editor.settings.remove || NegGuide.settings.filled("Removal", {text: ""});
            this.mask.close();
            if (this.editor.settings.remove) this.element.open = true;
        }

        edited() {
            this.editor.settings.remove = NegGuide.settings.showNumber(this.data.text).trim() ? this.data : null;
            this.editor.edited();
        }

        // ---- showing

        /** What does not count is hidden, except where it is set. */
        show(all) {
            const {remove} = this.editor.settings;
            const {data, fields: {labels}} = this;
            this.state.textContent = remove ? NegGuide.settings.showNumber(remove.text).trim() : "off";
            this.rest.hidden = labels.weight.hidden = !remove;
            this.fields.show(all);
            labels.detector.hidden = labels.gone.hidden = data.search === "window";
            labels.back.hidden = data.search !== "loop";
            labels.every.hidden = this.isPlain(data);
            labels.anchor.hidden = data.region === "everywhere" && !data.anchor;
            labels.photo.hidden = !(data.photo || this.editor.tab === "img2img");
            labels.fidelity.hidden = !data.photo;
            labels.points.hidden = data.curve !== "points";
            this.mask.element.hidden = data.region !== "mask";
            this.mask.show(data.mask);
        }

        /** Complaints about these settings, and what they cost, which depends on the page's steps too. */
        tell(complaints) {
            const own = complaints.filter((one) => this.owns(one));
            this.fields.mark(own.map((one) => one.path.replace(/^remove\.?/, "").replace(/\[.*/, "")));
            NegGuide.dom.showComplaints(this.errors, own);
            if (own.length) this.element.open = true;
            const wrong = own.map((one) => one.path.slice("remove.".length));
            if (wrong.some((path) => this.more.querySelector(`[data-field="${path.replace(/\[.*/, "")}"]`))) this.more.open = true;
            const {remove} = this.editor.settings;
            const {words} = NegGuide.dom;
            const more = remove && (remove.photo ? words(PHOTO) : this.editor.tab === "img2img" && !this.isChosen(remove) ? words(INPAINTING) : "");
            const text = !remove ? words(HINTS.off) : own.length ? "" : `${words(HINTS[remove.search])} ${more ? `${more} ` : ""}${this.cost(remove)}`;
            if (this.hint.textContent !== text) this.hint.textContent = text;
        }

        /** In words, what it costs beside the picture itself; a sampling is two evaluations of the model at each step. */
        cost(remove) {
            const {search, detector, every, anchor, photo} = remove, {words} = NegGuide.dom;
            const calls = this.editor.actingSteps("first", "remove").length;
            const {steps, from} = this.editor.page.run("first");
            const sampled = steps - from;
            if (!calls) return words("No step is between start and stop: does nothing.");
            const whole = 1 + (anchor ? 1 : 0) + (photo ? 1 : 0);
            const samplings = Number((whole + Math.ceil(calls / every) / 2 / sampled).toFixed(2));
            let said = `${words(search === "loop" ? "Costs at most" : "Costs about")} ${samplings} ${words("samplings")}`;
            if (this.isPlain(remove) && whole === 1) said = words("Costs nothing: an ordinary negative with a window");
            else if (search === "exhaustive") said = `${words("Costs up to")} ${calls + whole} ${words("samplings")}`;
            return `${said}${search !== "window" && LATER[detector] ? `, ${words("and at each look")} ${words(LATER[detector])}` : ""}.`;
        }

        /** Has somebody said so much that it is the same in inpainting? */
        isChosen(remove) {
            const isNamed = (name) => NegGuide.settings.isNamed(remove, name);
            return isNamed("region") && remove.region !== "mask" || ["region", "search", "start"].every(isNamed);
        }

        /** Is it an ordinary negative with a window? */
        isPlain({search, region}) {
            return search === "window" && region === "everywhere";
        }

        owns(complaint) {
            return /^remove(\.|$)/.test(complaint.path);
        }
    }

    NegGuide.Remove = Remove;
})(window.NegGuide = window.NegGuide || {});
