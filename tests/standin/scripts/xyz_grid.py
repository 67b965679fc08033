"""A grid of pictures over the values of up to three axes."""

import csv
from copy import copy

import gradio as gr
from modules import errors, images, scripts
from modules.processing import Processed, fix_seed, process_images


class AxisOption:
    """``type`` casts a value, ``apply(p, value, values)`` sets it on a cell's p, ``confirm(p, values)`` refuses."""

    def __init__(self, label, type, apply, format_value=None, confirm=None, cost=0.0, choices=None, prepare=None):
        self.label, self.type, self.apply, self.format_value = label, type, apply, format_value
        self.confirm, self.cost, self.choices, self.prepare = confirm, cost, choices, prepare


def apply_field(field):
    return lambda p, value, values: setattr(p, field, value)


axis_options = [
    AxisOption("Nothing", str, lambda p, value, values: None),
    AxisOption("Seed", int, apply_field("seed")),
    AxisOption("Steps", int, apply_field("steps")),
    AxisOption("CFG Scale", float, apply_field("cfg_scale")),
    AxisOption("Sampler", str, apply_field("sampler_name")),
]


class Script(scripts.Script):
    def title(self):
        return "X/Y/Z plot"

    def ui(self, is_img2img):
        labels = [option.label for option in axis_options]
        controls = []
        for axis, first in zip("XYZ", (1, 0, 0)):
            with gr.Row():
                controls += [gr.Dropdown(label=f"{axis} type", choices=labels, value=labels[first], type="index"),
                             gr.Textbox(label=f"{axis} values"),
                             gr.Dropdown(label=f"{axis} values", visible=False, multiselect=True, choices=[])]
        for label, value in (("Draw legend", True), ("Include Sub Images", False), ("Include Sub Grids", False),
                             ("Keep -1 for seeds", False), ("Vary seeds for X", False), ("Vary seeds for Y", False),
                             ("Vary seeds for Z", False)):
            controls.append(gr.Checkbox(label=label, value=value))
        controls.append(gr.Slider(label="Grid margins (px)", minimum=0, maximum=500, value=0, step=2))
        return [*controls, gr.Checkbox(label="Use text inputs instead of dropdowns", value=False)]

    def run(self, p, *args):
        include_sub_images = args[10]
        fix_seed(p)
        p.batch_size = 1
        axes = []
        for at in (0, 3, 6):
            option, text, chosen = axis_options[args[at] or 0], args[at + 1], args[at + 2]
            texts = chosen if option.choices is not None and not args[17] else next(csv.reader([text or ""], skipinitialspace=True), [])
            values = [option.type(value) for value in texts] if option.label != "Nothing" else [0]
            if option.confirm:
                option.confirm(p, values)
            axes.append((option, values))
        cells = []
        for z in axes[2][1]:
            for y in axes[1][1]:
                for x in axes[0][1]:
                    cell = copy(p)
                    for (option, values), value in zip(axes, (x, y, z)):
                        option.apply(cell, value, values)
                    try:
                        cells.append(process_images(cell))
                    except Exception as error:
                        errors.display(error, "generating image for xyz plot")
                        cells.append(None)
        done = [cell for cell in cells if cell is not None and cell.images]
        if not done:
            return Processed(p, [], p.seed, "")
        processed = copy(done[0])
        empty = images.Image.new("RGB", done[0].images[0].size)
        pictures = [empty if cell is None else cell.images[0] for cell in cells]
        processed.images = [images.image_grid(pictures, rows=len(axes[1][1]) * len(axes[2][1]))]
        processed.infotexts = [done[0].infotexts[0]]
        if include_sub_images:
            processed.images += pictures
            processed.infotexts += ["" if cell is None else cell.infotexts[0] for cell in cells]
        processed.index_of_first_image = 1
        return processed
