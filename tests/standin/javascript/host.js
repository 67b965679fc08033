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
function switch_to_img2img() {
    return switchTab(1, arguments);
}

/* An accordion with a check box in its title; a hidden check box of gradio's has its value. */

function hiddenCheckbox(id) {
    return gradioApp().querySelector(`#${id}-checkbox input`);
}

function inputAccordionChecked(id, checked) {
    const accordion = gradioApp().querySelector(`#${id}`);
    accordion.querySelector(".input-accordion-checkbox").checked = checked;
    const title = accordion.querySelector(".label-wrap");
    if (title.classList.contains("open") !== checked) title.click();
}

onUiLoaded(() => {
    for (const accordion of gradioApp().querySelectorAll(".input-accordion")) {
        const title = accordion.querySelector(".label-wrap");
        const visible = document.createElement("input");
        visible.type = "checkbox";
        visible.id = accordion.id + "-visible-checkbox";
        visible.className = "input-accordion-checkbox";
        visible.checked = title.classList.contains("open");
        title.querySelector("span").prepend(visible);
        let linked = true;
        const tell = () => {
            const hidden = hiddenCheckbox(accordion.id);
            if (hidden.checked !== visible.checked) {
                hidden.checked = visible.checked;
                hidden.dispatchEvent(new Event("change", {bubbles: true}));
                updateInput(hidden);
            }
        };
        // The title opens and enables; the check box alone, once used, only enables.
        new MutationObserver(() => {
            if (linked && visible.checked !== title.classList.contains("open")) {
                visible.checked = title.classList.contains("open");
                tell();
            }
        }).observe(title, {attributes: true, attributeFilter: ["class"]});
        visible.addEventListener("click", (event) => {
            linked = false;
            event.stopPropagation();
        });
        visible.addEventListener("input", tell);
    }
});
