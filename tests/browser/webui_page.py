"""What a user does in the page, by the names that the stand-in and A1111 share."""

import json
import re

from tests import chromium


class WebUIPage:
    def __init__(self, browser, url, screenshots, width=1280, theme="light"):
        self.screenshots, self.complaints, self.excused = screenshots, [], ()
        self.page = chromium.new_page(browser, viewport={"width": width, "height": 1000})
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self._note(f"{error}\n{error.stack}"))
        longer = 3 * chromium.TIMEOUT_MS  # a real host's page is large
        self.page.goto(f"{url}/?__theme={theme}", timeout=longer)
        self.page.wait_for_selector(".negguide-editor[data-tab=txt2img] [data-negative=box]", state="attached", timeout=longer)
        self.page.wait_for_selector("#negguide_txt2img-visible-checkbox", timeout=longer)
        self.page.evaluate("document.fonts.ready")

    def _heard(self, message):
        if message.type in ("error", "warning"):
            self._note(f"{message.text} {message.location.get('url', '')}")

    def _note(self, text):
        """The hosts' own pages complain too; only what names us is ours."""
        if re.search("negguide", text, re.I) and not any(words in text for words in self.excused):
            self.complaints.append(text)

    def excuse(self, *words):
        """Complaints with these words are of the test's own making, those too that the browser brings late: until reset()."""
        self.excused += words
        self.complaints[:] = [text for text in self.complaints if not any(one in text for one in words)]

    # -- the accordion

    def editor(self, tab="txt2img"):
        return self.page.locator(f".negguide-editor[data-tab={tab}]")

    def is_open(self, tab="txt2img"):
        return "open" in self.page.locator(f"#negguide_{tab} > .label-wrap").get_attribute("class").split()

    def toggle(self, tab="txt2img"):
        """A click on the accordion's title."""
        self.page.locator(f"#negguide_{tab} > .label-wrap").click(position={"x": 200, "y": 8})

    def is_enabled(self, tab="txt2img"):
        return self.page.locator(f"#negguide_{tab}-visible-checkbox").is_checked()

    def enable(self, on=True, tab="txt2img"):
        """The check box in the title; then the accordion is opened, to see into it."""
        box = self.page.locator(f"#negguide_{tab}-visible-checkbox")
        if box.is_checked() != on:
            box.click()
        if not self.is_open(tab):
            self.toggle(tab)
        self.wait(lambda: self.is_open(tab), "the open accordion")
        if self.is_enabled(tab) != on:
            box.click()
        self.wait(lambda: self.is_enabled(tab) == on, "the check box")

    def wait(self, condition, what=""):
        chromium.wait(self.page, condition, what)

    def reset(self):
        self.tab("txt2img")
        self.enable()
        self.write({})
        for name, value in (("prompt", "a portrait of a person"), ("neg_prompt", "")):
            self.page.fill(f"#txt2img_{name} textarea", value)
        for name, value in (("width", 64), ("height", 64), ("steps", 5)):
            self.number(name, value)
        self.excused = ()

    def write(self, settings, tab="txt2img"):
        """As if Python had sent these settings to the text box."""
        text = json.dumps(settings) if settings else ""
        self.page.evaluate(
            """([id, text]) => { const box = document.querySelector(`#${id} textarea, #${id} input`);
               box.value = text; box.dispatchEvent(new Event('input', {bubbles: true})); }""", [f"negguide_{tab}_json", text])
        self.wait(lambda: self.text(tab) == text, "the editor takes the settings")

    def text(self, tab="txt2img"):
        """What the hidden text box holds for Python; None while the editor does not show it yet."""
        return self.page.evaluate("""(tab) => {
            const box = document.querySelector(`#negguide_${tab}_json textarea, #negguide_${tab}_json input`);
            return box.value === document.querySelector(`.negguide-editor[data-tab=${tab}]`).negguideEditor.text ? box.value : null; }""", tab)

    def settings(self, tab="txt2img"):
        self.wait(lambda: self.text(tab) is not None, "the editor shows the settings")
        return json.loads(self.text(tab) or "{}")

    def row(self, key, which="first", tab="txt2img"):
        return self.editor(tab).locator(f"[data-pass={which}] [data-negative='{key}']")

    def field(self, key, name, which="first", tab="txt2img"):
        return self.row(key, which, tab).locator(f"[data-field={name}]")

    def add(self, text, which="first", tab="txt2img", **fields):
        """One more negative, by its button and its inputs."""
        rows = self.editor(tab).locator(f"[data-pass={which}] [data-negative]")
        key = rows.count() - 1
        self.editor(tab).locator(f"[data-pass={which}] [data-action=add]").click()
        self.wait(lambda: rows.count() == key + 2)
        self.field(key, "text", which, tab).fill(text)
        for name, value in fields.items():
            input_ = self.field(key, name, which, tab)
            if name in ("unit", "curve", "preset"):
                input_.select_option(value)
            else:
                input_.fill(str(value))
        return key

    # -- diffusion-negative prompting: the accordion's section, and the selectable script

    def dnp(self, mode=None, tab="txt2img", **fields):
        """The accordion's section, open; sets its mode and fields where they are given."""
        section = self.editor(tab).locator("[data-section=dnp]")
        if section.get_attribute("open") is None:
            section.locator("summary").click()
        if mode is not None:
            section.locator("[data-field=mode]").select_option(mode)
        for name, value in fields.items():
            input_ = section.locator(f"[data-field={name}]")
            if isinstance(value, bool):
                input_.set_checked(value)
            elif input_.evaluate("element => element.tagName") == "SELECT":
                input_.select_option(value)
            else:
                input_.fill(str(value))
        return section

    def script(self, title="Diffusion-negative prompting", tab="txt2img"):
        """Choose a script of the list ("None": none)."""
        box = self.page.locator(f"#{tab}_script_container #script_list input").first
        if box.input_value() == title:
            return
        box.click()
        self.page.locator("ul.options li", has_text=re.compile(f"^\\W*{re.escape(title)}\\s*$")).click()

    def mode(self, name, tab="txt2img"):
        """What the script on diffusion-negative prompting makes."""
        self.page.locator(f"#negguide_{tab}_dnp_mode label", has_text=re.compile(f"^\\s*{re.escape(name)}\\s*$")).locator("input").check()

    def script_field(self, name, tab="txt2img"):
        return self.page.locator(f"#negguide_{tab}_dnp_{name}").locator("textarea, input").first

    def about(self, tab="txt2img"):
        """What the page knows of the last run."""
        return json.loads(self.page.locator(f"#generation_info_{tab} textarea").input_value())

    def picture(self, which="first", tab="txt2img"):
        return self.editor(tab).locator(f"[data-pass={which}] svg.negguide-schedule")

    # -- the page around it

    def tab(self, name):
        self.page.locator("#tabs > .tab-nav > button", has_text=re.compile(f"^\\s*{re.escape(name)}\\s*$")).click()

    def number(self, name, value, tab="txt2img"):
        input_ = self.page.locator(f"#{tab}_{name} input[type=number]")
        input_.fill(str(value))
        input_.blur()

    def value(self, name, tab="txt2img"):
        return self.page.locator(f"#{tab}_{name}").locator("textarea, input[type=number]").first.input_value()

    def generate(self, seed, tab="txt2img"):
        """Make a picture; its infotext as the page shows it. ``seed`` tells it from earlier ones."""
        self.number("seed", seed, tab)
        self.page.click(f"#{tab}_generate")
        info = self.html(f"html_info_{tab}")
        try:
            self.wait(lambda: f"Seed: {seed}," in info.inner_text())
        except AssertionError:
            raise AssertionError(f"no picture with seed {seed}: {self.log(tab)}") from None
        return info.inner_text()

    def log(self, tab="txt2img"):
        return self.html(f"html_log_{tab}").inner_text()

    def html(self, name):
        """gradio gives an HTML component's name to two elements, one in the other."""
        return self.page.locator(f"#{name}").first

    def generate_in_vain(self, tab="txt2img"):
        """The error that the page shows in place of a picture."""
        self.page.click(f"#{tab}_generate")
        error = self.html(f"html_log_{tab}").locator(".error")
        error.wait_for()
        return error.inner_text()

    def png_info(self, path):
        """Put a PNG into PNG Info; returns the infotext that the page finds."""
        self.tab("PNG Info")
        clear = self.page.locator("#pnginfo_image button[aria-label=Clear]")
        text = self.page.locator("#pnginfo_generation_info textarea")
        if clear.count():
            clear.click()
            self.wait(lambda: not text.input_value())
        self.page.set_input_files("#pnginfo_image input[type=file]", str(path))
        self.wait(lambda: text.input_value(), "an infotext")
        return text.input_value()

    def send_to(self, tab):
        self.page.click(f"#tab_pnginfo #{tab}_tab")
        self.page.wait_for_selector(f"#{tab}_prompt", state="visible")

    def shoot(self, name, locator=None):
        """A screenshot as NAME.png, of all of the page or of one element."""
        self.page.wait_for_timeout(400)  # the host's transitions
        (locator or self.page).screenshot(path=str(self.screenshots / f"{name}.png"), **({} if locator else {"full_page": True}))
