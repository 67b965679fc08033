"""From the text under a picture back to the page: parsing, and what the paste buttons fill in."""

import json
import os
import re
import sys

import gradio as gr
from modules import errors, paths, script_callbacks, shared

sys.modules["modules.generation_parameters_copypaste"] = sys.modules[__name__]  # its old name

# A key is a word character followed by word characters, blanks, "-" or "/"; a value is quoted or ends at a comma.
_PARAM = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_SIZE = re.compile(r"(\d+)x(\d+)")
_GR_UPDATE = type(gr.update())
_WHERE_ABSENT = {
    "Clip skip": "1", "Hires resize-1": 0, "Hires resize-2": 0, "Hires sampler": "Use same sampler",
    "Hires schedule type": "Use same scheduler", "Hires prompt": "", "Hires negative prompt": "", "RNG": "GPU",
    "Schedule type": "Automatic",
}

paste_fields = {}
registered_param_bindings = []


class PasteField(tuple):
    """(component, infotext label or function of the parsed infotext); ``api``: the request's field of that meaning."""

    def __new__(cls, component, target, *, api=None):
        return super().__new__(cls, (component, target))

    def __init__(self, component, target, *, api=None):
        self.api, self.component = api, component
        self.label, self.function = (None, target) if callable(target) else (target, None)


class ParamBinding:
    def __init__(self, paste_button, tabname, source_text_component=None, source_image_component=None, source_tabname=None,
                 override_settings_component=None, paste_field_names=None):
        self.paste_button, self.tabname = paste_button, tabname
        self.source_text_component, self.source_image_component = source_text_component, source_image_component
        self.source_tabname, self.paste_field_names = source_tabname, paste_field_names or []


def quote(text):
    return json.dumps(text, ensure_ascii=False) if any(sign in str(text) for sign in ",\n:") else text


def unquote(text):
    try:
        return json.loads(text) if text[:1] == text[-1:] == '"' else text
    except ValueError:
        return text


def parse_generation_parameters(x, skip_fields=None):
    """The infotext as a dict; a size becomes two entries, an empty value an error that leaves the key out."""
    *lines, last = x.strip().split("\n")
    found = _PARAM.findall(last)
    if len(found) < 3:
        lines, found = [*lines, last], []
    texts = {"Prompt": [], "Negative prompt": []}
    into = texts["Prompt"]
    for line in lines:
        line = line.strip()
        if line.startswith("Negative prompt:"):
            into, line = texts["Negative prompt"], line[len("Negative prompt:"):].strip()
        into.append(line)
    values = {}
    for key, value in found:
        if not value:
            print(f'Error parsing "{key}: {value}"')
            continue
        value = unquote(value)
        size = _SIZE.fullmatch(value)
        if size:
            values[f"{key}-1"], values[f"{key}-2"] = size.groups()
        else:
            values[key] = value
    values = {**_WHERE_ABSENT, **values, **{key: "\n".join(parts) for key, parts in texts.items()}}
    for key in shared.opts.infotext_skip_pasting if skip_fields is None else skip_fields:
        values.pop(key, None)
    return values


def get_override_settings(params, *, skip_fields=None):
    """(label, setting, value) of settings that the infotext has otherwise than they are now."""
    found = []
    for name, info in shared.opts.data_labels.items():
        if info.infotext and info.infotext not in (skip_fields or {}) and params.get(info.infotext) is not None:
            value = shared.opts.cast_value(name, params[info.infotext])
            if value != getattr(shared.opts, name, None):
                found.append((info.infotext, name, value))
    return found


def add_paste_fields(tabname, init_img, fields, override_settings_component=None):
    if fields:
        fields[:] = [field if isinstance(field, PasteField) else PasteField(*field) for field in fields]
    paste_fields[tabname] = {"init_img": init_img, "fields": fields, "override_settings_component": override_settings_component}


def register_paste_params_button(binding):
    registered_param_bindings.append(binding)


def connect_paste_params_buttons():
    for binding in registered_param_bindings:
        target = paste_fields[binding.tabname]
        if binding.source_image_component is not None and target["init_img"] is not None:
            from_gallery = isinstance(binding.source_image_component, gr.Gallery)
            binding.paste_button.click(_first_picture if from_gallery else lambda image: image,
                                       inputs=[binding.source_image_component], outputs=[target["init_img"]])
        if binding.source_text_component is not None:
            _connect_paste(binding.paste_button, target["fields"], binding.source_text_component)
        if binding.source_tabname is not None:
            names = ["Prompt", "Negative prompt", "Steps", "Seed", *binding.paste_field_names]
            binding.paste_button.click(
                lambda *values: values,
                inputs=[field for field, name in paste_fields[binding.source_tabname]["fields"] if name in names],
                outputs=[field for field, name in target["fields"] if name in names])
        binding.paste_button.click(None, _js=f"switch_to_{binding.tabname}")


def _first_picture(gallery):
    first = gallery[0] if gallery else None
    return first["name"].rsplit("?", 1)[0] if isinstance(first, dict) else first


def _connect_paste(button, fields, source):
    def paste(text):
        if not text:
            try:
                with open(os.path.join(paths.data_path, "params.txt"), encoding="utf8") as file:
                    text = file.read()
            except OSError:
                text = ""
        params = parse_generation_parameters(text)
        script_callbacks.infotext_pasted_callback(text, params)
        return [_pasted(component, target, params) for component, target in fields]

    button.click(paste, inputs=[source], outputs=[component for component, _ in fields], show_progress=False)


def _pasted(component, target, params):
    """An absent key leaves the component as it is."""
    try:
        value = target(params) if callable(target) else params.get(target)
    except Exception:
        errors.report(f"Error executing {target}", exc_info=True)
        value = None
    if value is None:
        return gr.update()
    if isinstance(value, _GR_UPDATE):
        return value
    kind = type(component.value)
    try:
        if kind is bool:
            return gr.update(value=value not in (False, "False", ""))
        return gr.update(value=(float if kind is int else kind)(value))
    except (TypeError, ValueError):
        return gr.update()
