"""Pictures for every combination of a prompt's ``|`` parts, sampled as one request with a list of prompts."""

import math

import gradio as gr
from modules import scripts
from modules.processing import fix_seed, process_images


class Script(scripts.Script):
    def title(self):
        return "Prompt matrix"

    def ui(self, is_img2img):
        return [gr.Checkbox(label="Put variable parts at start of prompt", value=False),
                gr.Checkbox(label="Use different seed for each picture", value=False),
                gr.Radio(["positive", "negative"], label="Select prompt", value="positive"),
                gr.Radio(["comma", "space"], label="Select joining char", value="comma"),
                gr.Slider(label="Grid margins (px)", minimum=0, maximum=500, value=0, step=2)]

    def run(self, p, at_start, different_seeds, which, joint, margin):
        fix_seed(p)
        name = "prompt" if which == "positive" else "negative_prompt"
        first, *options = getattr(p, name).split("|")
        texts = [", ".join(part.strip() for part in (first, *(o for n, o in enumerate(options) if number >> n & 1)))
                 for number in range(2 ** len(options))]
        setattr(p, name, texts)
        p.n_iter = math.ceil(len(texts) / p.batch_size)
        p.seed = [p.seed + n * different_seeds for n in range(len(texts))]
        p.do_not_save_grid = True
        return process_images(p)
