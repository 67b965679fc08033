/* What the host's page offers to scripts: the root, the events of the page, and the tabs. */

function gradioApp() {
    const app = document.querySelector("gradio-app");
    return app && app.shadowRoot || app || document;
}

const uiLoadedCallbacks = [], uiUpdateCallbacks = [], uiAfterUpdateCallbacks = [];
function onUiLoaded(callback) {
    uiLoadedCallbacks.push(callback);
}
function onUiUpdate(callback) {
    uiUpdateCallbacks.push(callback);
}
function onAfterUiUpdate(callback) {
    uiAfterUpdateCallbacks.push(callback);
}

/** Tell gradio that a script has set an input. */
function updateInput(input) {
    input.dispatchEvent(new Event("input", {bubbles: true}));
}

document.addEventListener("DOMContentLoaded", () => {
    let loaded = false, timer = null;
    new MutationObserver((changes) => {
        if (!loaded && gradioApp().querySelector("#txt2img_prompt")) {
            loaded = true;
            uiLoadedCallbacks.forEach((callback) => callback());
        }
        uiUpdateCallbacks.forEach((callback) => callback(changes));
        clearTimeout(timer);
        timer = setTimeout(() => uiAfterUpdateCallbacks.forEach((callback) => callback()), 200);
    }).observe(gradioApp(), {childList: true, subtree: true});
});

function switchTab(number, values) {
    gradioApp().querySelectorAll("#tabs > .tab-nav > button")[number].click();
    return Array.from(values);
}
function switch_to_txt2img() {
    return switchTab(0, arguments);
}
function switchMode(number, values) {
    switchTab(1, []);
    gradioApp().querySelectorAll("#mode_img2img > .tab-nav > button")[number].click();
    return Array.from(values);
}
function switch_to_img2img() {
    return switchMode(0, arguments);
}
function switch_to_inpaint() {
    return switchMode(1, arguments);
}

/* An accordion with a check box in its title; a hidden check box of gradio's has its value.
   The title opens and enables; the check box, once used, only enables. */

const inputAccordions = {};

class InputAccordion {
    constructor(accordion) {
        this.title = accordion.querySelector(".label-wrap");
        this.hidden = gradioApp().querySelector(`#${accordion.id}-checkbox input`);
        this.linked = true;
        const box = this.box = document.createElement("input");
        box.type = "checkbox";
        box.id = accordion.id + "-visible-checkbox";
        box.className = this.hidden.className + " input-accordion-checkbox";
        box.checked = this.isOpen();
        this.title.querySelector("span").prepend(box);
        new MutationObserver(() => {
            if (this.linked) this.set(this.isOpen());
        }).observe(this.title, {attributes: true, attributeFilter: ["class"]});
        box.addEventListener("click", (event) => {
            this.linked = false;
            event.stopPropagation();
        });
        box.addEventListener("input", () => this.set(box.checked));
    }

    isOpen() {
        return this.title.classList.contains("open");
    }

    /** The value has changed: show it, and tell gradio if it does not know. */
    set(checked) {
        this.box.checked = checked;
        if (this.linked && this.isOpen() !== checked) this.title.click();
        if (this.hidden.checked === checked) return;
        this.hidden.checked = checked;
        this.hidden.dispatchEvent(new Event("change", {bubbles: true}));
        updateInput(this.hidden);
    }
}

function inputAccordionChecked(id, checked) {
    inputAccordions[id].set(checked);
}

onUiLoaded(() => {
    for (const accordion of gradioApp().querySelectorAll(".input-accordion")) {
        inputAccordions[accordion.id] = new InputAccordion(accordion);
    }
});
