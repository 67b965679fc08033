"""What the two Generate buttons do."""

import html
from contextlib import closing

from modules import processing, scripts

COMMON = ("prompt", "negative_prompt", "steps", "sampler_name", "scheduler", "n_iter", "batch_size", "cfg_scale", "height", "width", "seed")
HIRES = ("enable_hr", "denoising_strength", "hr_scale", "hr_upscaler", "hr_second_pass_steps", "hr_prompt", "hr_negative_prompt")


def _shown(text, kind="infotext"):
    return f"<p class='{kind}'>" + "<br>\n".join(html.escape(text).split("\n")) + "</p>"


def _generate(p, runner, script_args):
    p.scripts, p.script_args = runner, script_args
    with closing(p):
        processed = runner.run(p, *script_args) or processing.process_images(p)
    return processed.images, processed.js(), _shown(processed.info), _shown(processed.comments, "comments")


def txt2img(*args):
    fields = dict(zip(COMMON + HIRES, args))
    p = processing.StableDiffusionProcessingTxt2Img(**fields)
    return _generate(p, scripts.scripts_txt2img, args[len(COMMON + HIRES):])


def img2img(*args):
    names = COMMON + ("denoising_strength",)
    fields = dict(zip(names, args))
    image, painted = args[len(names):len(names) + 2]
    if image is None and painted is None:
        raise ValueError("img2img needs a picture")
    mask = None if painted is None else painted["mask"].convert("L")
    p = processing.StableDiffusionProcessingImg2Img(
        init_images=[painted["image"] if image is None else image], mask=None if image is not None else mask, **fields)
    return _generate(p, scripts.scripts_img2img, args[len(names) + 2:])
