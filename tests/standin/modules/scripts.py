"""Scripts: the class that extensions derive from, loading them, and the two runners."""

import inspect
import os
import re
import sys
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import gradio as gr
from modules import errors, extensions, paths, script_callbacks, script_loading

AlwaysVisible = object()
ScriptClassData = namedtuple("ScriptClassData", ["script_class", "path", "basedir", "module"])
scripts_data = []
_current_basedir = paths.script_path


def basedir():
    """While scripts are loaded: the folder of the extension (or of the host) that the script belongs to."""
    return _current_basedir


@dataclass
class OnComponent:
    component: Any


class PostSampleArgs:
    def __init__(self, samples):
        self.samples = samples


class PostprocessImageArgs:
    def __init__(self, image):
        self.image = image


class PostprocessBatchListArgs:
    def __init__(self, images):
        self.images = images


class MaskBlendArgs:
    def __init__(self, current_latent, nmask, init_latent, mask, blended_latent, denoiser=None, sigma=None):
        self.current_latent, self.nmask, self.init_latent, self.mask = current_latent, nmask, init_latent, mask
        self.blended_latent, self.denoiser, self.sigma = blended_latent, denoiser, sigma
        self.is_final_blend = denoiser is None


def _nothing(self, *args, **kwargs):
    pass


HOOKS = ("setup", "before_process", "process", "before_process_batch", "process_batch", "process_before_every_sampling",
         "before_hr", "on_mask_blend", "post_sample", "postprocess_batch", "postprocess_batch_list", "postprocess_image",
         "postprocess_image_after_composite", "postprocess")


class Script:
    name = section = filename = group = api_info = controls = None
    args_from = args_to = infotext_fields = paste_field_names = tabname = None
    alwayson = is_txt2img = is_img2img = setup_for_ui_only = False
    create_group = True

    def title(self):
        raise NotImplementedError

    def show(self, is_img2img):
        return True

    def ui(self, is_img2img):
        pass

    def run(self, p, *args):
        pass

    def elem_id(self, item_id):
        tab = f"{self.tabname}_" if self.show(True) == self.show(False) else ""
        title = re.sub(r"[^a-z_0-9]", "", re.sub(r"\s", "_", self.title().lower()))
        return f"script_{tab}{title}_{item_id}"

    def on_before_component(self, callback, *, elem_id):
        self.__dict__.setdefault("component_callbacks", []).append(("before", elem_id, callback))

    def on_after_component(self, callback, *, elem_id):
        self.__dict__.setdefault("component_callbacks", []).append(("after", elem_id, callback))

    before_component = after_component = _nothing


for _hook in HOOKS:
    setattr(Script, _hook, _nothing)


def list_files(folder, ending):
    """(extension's or host's folder, file) of each such file, the host's first."""
    for root in [paths.script_path] + [extension.path for extension in extensions.active()]:
        where = os.path.join(root, folder)
        for name in sorted(os.listdir(where)) if os.path.isdir(where) else []:
            if name.endswith(ending):
                yield root, os.path.join(where, name)


def load_scripts():
    """Load every script; an extension's folder is on sys.path only while its scripts load."""
    global scripts_txt2img, scripts_img2img, _current_basedir
    scripts_data.clear()
    script_callbacks.clear_callbacks()
    for root, path in list_files("scripts", ".py"):
        before, _current_basedir = list(sys.path), root
        try:
            if root != paths.script_path:
                sys.path.insert(0, root)
            module = script_loading.load_module(path)
            for value in vars(module).values():
                if inspect.isclass(value) and issubclass(value, Script):
                    scripts_data.append(ScriptClassData(value, path, root, module))
        except Exception:
            errors.report(f"Error loading script: {os.path.basename(path)}", exc_info=True)
        finally:
            sys.path[:], _current_basedir = before, paths.script_path
    scripts_txt2img, scripts_img2img = ScriptRunner(), ScriptRunner()


@dataclass
class ScriptInfo:
    """What /sdapi/v1/script-info tells about one script."""

    name: str
    is_alwayson: bool
    is_img2img: bool
    args: list


class ScriptRunner:
    """The scripts of one tab; hooks are called in loading order and their exceptions swallowed."""

    def __init__(self):
        self.scripts, self.selectable_scripts, self.alwayson_scripts, self.titles = [], [], [], []
        self.infotext_fields, self.paste_field_names, self.inputs = [], [], [None]

    def initialize_scripts(self, is_img2img):
        for listed in (self.scripts, self.selectable_scripts, self.alwayson_scripts):
            listed.clear()
        for data in scripts_data:
            script = data.script_class()
            script.filename, script.is_img2img, script.is_txt2img = data.path, is_img2img, not is_img2img
            script.tabname = "img2img" if is_img2img else "txt2img"
            shown = script.show(is_img2img)
            if not shown:
                continue
            script.alwayson = shown is AlwaysVisible
            self.scripts.append(script)
            (self.alwayson_scripts if script.alwayson else self.selectable_scripts).append(script)

    def prepare_ui(self):
        self.inputs = [None]

    def create_script_ui(self, script):
        script.args_from = script.args_to = len(self.inputs)
        try:
            controls = script.controls = script.ui(script.is_img2img)
        except Exception:
            errors.report(f"Error creating UI for {script.filename}", exc_info=True)
            return
        if controls is None:
            return
        script.name = script.title().lower()
        args = []
        for control in controls:
            about = {"label": control.label or ""}
            for field in ("value", "minimum", "maximum", "step"):
                if getattr(control, field, None) is not None:
                    about[field] = getattr(control, field)
            choices = getattr(control, "choices", None)
            if choices is not None:
                about["choices"] = [choice[0] if isinstance(choice, tuple) else choice for choice in choices]
            args.append(about)
        script.api_info = ScriptInfo(script.name, script.alwayson, script.is_img2img, args)
        self.infotext_fields += script.infotext_fields or []
        self.paste_field_names += script.paste_field_names or []
        self.inputs += controls
        script.args_to = len(self.inputs)

    def setup_ui_for_section(self, section, scripts=None):
        for script in self.alwayson_scripts if scripts is None else scripts:
            if script.alwayson and script.section != section:
                continue
            if script.create_group:
                with gr.Group(visible=script.alwayson) as script.group:
                    self.create_script_ui(script)
            else:
                self.create_script_ui(script)

    def setup_ui(self):
        self.titles = [script.title() for script in self.selectable_scripts]
        self.setup_ui_for_section(None)
        dropdown = gr.Dropdown(label="Script", elem_id="script_list", choices=["None", *self.titles], value="None", type="index")
        self.inputs[0] = dropdown
        self.setup_ui_for_section(None, self.selectable_scripts)
        dropdown.change(lambda index: [gr.update(visible=index == n + 1) for n in range(len(self.titles))],
                        inputs=[dropdown], outputs=[script.group for script in self.selectable_scripts])
        return self.inputs

    def script(self, title):
        return next((script for script in self.scripts if script.title().lower() == title.lower()), None)

    def run(self, p, *args):
        if not args[0]:
            return None
        script = self.selectable_scripts[args[0] - 1]
        return script.run(p, *args[script.args_from:script.args_to])

    def component_event(self, when, component, **kwargs):
        for script in self.scripts:
            for kind, elem_id, callback in getattr(script, "component_callbacks", []):
                if kind == when and elem_id == kwargs.get("elem_id"):
                    self._guarded(callback, f"on_{when}_component", script, OnComponent(component))
            self._guarded(getattr(script, when + "_component"), when + "_component", script, component, **kwargs)

    def setup_scripts(self, p, is_ui=True):
        for script in self.alwayson_scripts:
            if is_ui or not script.setup_for_ui_only:
                self._guarded(script.setup, "setup", script, p, *p.script_args[script.args_from:script.args_to])

    def call(self, hook, p, *first, **kwargs):
        """Call a hook of every AlwaysVisible script: ``hook(p, *first, *its arguments, **kwargs)``."""
        for script in self.alwayson_scripts:
            args = p.script_args[script.args_from:script.args_to]
            self._guarded(getattr(script, hook), hook, script, p, *first, *args, **kwargs)

    @staticmethod
    def _guarded(function, what, script, *args, **kwargs):
        try:
            function(*args, **kwargs)
        except Exception:
            errors.report(f"Error running {what}: {script.filename}", exc_info=True)


scripts_txt2img: ScriptRunner = None
scripts_img2img: ScriptRunner = None
scripts_current: ScriptRunner = None
