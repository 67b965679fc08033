"""For tests only: makes NegGuide fail inside, once, at a model call that a request names.

    "alwayson_scripts": {"Saboteur": {"args": ["GuidancePlan.at", 2]}}

It also counts model calls, tells what a nested generation has left behind (GET /saboteur/seen), changes prompts as other
extensions do (place "prompts"), and has a captioner, "colours", whose captions depend on the picture and differ in length,
and a CLIP that likes red pictures (place "clip"; with countdown 1 it dislikes them). It computes cross-attention in its own
way, as ControlNet does (place "attention"), or does without it (countdown 1), and counts the hooks in the model. With the
place "auto captioner" that captioner is what others take by default.
"""

import gc
import hashlib
import importlib
from contextlib import contextmanager

import gradio as gr
import numpy as np
import torch
from modules import script_callbacks, scripts, shared

from lib_negguide import captioners, clip_model, metrics

PLACES = {"GuidancePlan.at": ("lib_negguide.plan", "GuidancePlan", "at"),
          "GuidancePlan.build": ("lib_negguide.plan", "GuidancePlan", "build"),
          "GuidancePlan.texts": ("lib_negguide.plan", "GuidancePlan", "texts"),
          "Removing.change": ("lib_negguide.removal", "Removing", "change"),
          "nested": ("modules.processing", None, "process_images_inner"),
          "caption": (__name__, "Colours", "caption")}

seen = {"calls": 0, "changed": [], "captions": 0}


def fail_once(place, countdown):
    """The next ``countdown`` calls pass, the one after them raises and puts everything back."""
    module, owner, name = PLACES[place]
    home = globals() if module == __name__ else vars(importlib.import_module(module))
    owner = home[owner] if owner else importlib.import_module(module)
    original = vars(owner)[name]
    left = [countdown]

    def sabotaged(*args, **kwargs):
        if left[0] == 0:
            setattr(owner, name, original)
            raise ZeroDivisionError("sabotage")
        left[0] -= 1
        return original.__get__(None, owner)(*args[1:], **kwargs) if isinstance(original, classmethod) else original(*args, **kwargs)

    setattr(owner, name, classmethod(sabotaged) if isinstance(original, classmethod) else sabotaged)


class Saboteur(scripts.Script):
    def title(self):
        return "Saboteur"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        return [gr.Textbox("", visible=False), gr.Number(0, visible=False)]

    def setup(self, p, place, countdown):
        for module in cross_attention():
            module.__dict__.pop("forward", None)
        if place == "attention":
            for module in cross_attention():
                module.forward = (lambda x, *_args, **_kwargs: torch.zeros_like(x)) if countdown else attention_of(module)
        if place in ("nested", "caption"):
            fail_once(place, int(countdown))
        global default_captioner
        default_captioner = place == "auto captioner"
        metrics.opened, clip_model.find = clip_of(-1 if countdown else 1) if place == "clip" else original_clip
        self.before = {**attributes(p), **world()}

    def before_process(self, p, place, countdown):
        after = {**attributes(p), **world()}
        seen["changed"] = sorted(name for name in {*self.before, *after} if self.before.get(name) != after.get(name))

    def process(self, p, place, countdown):
        if place == "prompts":  # and more pictures of them, where countdown says how many
            count = int(countdown) or len(p.all_prompts)
            p.n_iter = count // p.batch_size
            p.all_prompts = [f"a {colour} circle" for colour, _ in zip(["blue", "green", "red", "yellow"], range(count))]
            p.all_seeds = [p.all_seeds[0] + n for n in range(count)]
            p.all_subseeds, p.all_negative_prompts = list(p.all_seeds), p.all_negative_prompts[:1] * count
        elif place and place not in ("nested", "caption", "clip", "attention", "auto captioner"):
            fail_once(place, int(countdown))


def cross_attention():
    return [module for name, module in shared.sd_model.model.diffusion_model.named_modules() if name.endswith("attn2")]


def attention_of(module):
    """Its forward in other words."""

    def forward(x, context=None, encoder_hidden_states=None, **_others):
        context = encoder_hidden_states if context is None else context
        q, k, v = (part.unflatten(-1, (module.heads, -1)).transpose(1, 2)
                   for part in (module.to_q(x), module.to_k(context), module.to_v(context)))
        out = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1) @ v
        return module.to_out[1](module.to_out[0](out.transpose(1, 2).flatten(2)))

    return forward


def hooks():
    """How many hooks there are in the model."""
    modules = list(shared.sd_model.model.diffusion_model.modules())
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)


def attributes(p):
    """What a request is made of."""
    return {f"p.{name}": repr(value) for name, value in vars(p).items()}


def world():
    """What is global and must not show that something was nested."""
    model, state = shared.sd_model, shared.state
    return {"options": repr(sorted(shared.opts.data.items(), key=str)), "flags": repr(vars(shared.cmd_opts)),
            "generator": hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest(),
            "token merging": getattr(model, "applied_token_merged_ratio", 0), "network": getattr(model, "gain", 1.0),
            "checkpoint": model.sd_checkpoint_info.filename, "textinfo": state.textinfo, "job": state.job,
            "flags of the job": (state.skipped, state.interrupted, state.stopping_generation)}


class Colours:
    """Says how much there is of each colour, at length for every second shade of green."""

    name = "colours"

    def caption(self, images, how=None):
        seen["captions"] += len(images)
        captions = []
        for image in images:
            red, green, blue = (int(value) for value in np.asarray(image.convert("RGB")).reshape(-1, 3).mean(0))
            words = f"a hat (red {red}) [green {green}] BREAK blue {blue}"
            captions.append(words + ", mustache and glasses" * (30 * (green % 2)))
        return captions


class Redness:
    """Scores by the mean of red, from -1 to 1."""

    name = "redness"

    def __init__(self, sign):
        self.sign = sign

    def scores(self, images, prompts):
        return [metrics.Score(value) for value in self.similarities(images, prompts)]

    def similarities(self, images, texts):
        return [self.sign * float(np.asarray(image.convert("RGB"))[..., 0].mean()) / 255 for image in images]


def clip_of(sign):
    @contextmanager
    def opened(*args, **kwargs):
        yield Redness(sign)

    return opened, lambda *args, **kwargs: None


original_clip = getattr(metrics, "originals", (metrics.opened, clip_model.find))
metrics.originals = original_clip


def count(params):
    seen["calls"] += 1


def open_clip():
    """Make it importable in the stand-in, which runs in the tests' environment."""
    try:
        importlib.import_module("open_clip")
    except RuntimeError:
        from tests import with_open_clip

        with_open_clip.ready()


def alive():
    """How many objects and tensors there are, after garbage has been collected."""
    gc.collect()
    found = gc.get_objects()
    return {"objects": len(found), "tensors": sum(issubclass(type(one), torch.Tensor) for one in found)}


def add_endpoint(_demo, app):
    app.add_api_route("/saboteur/seen", lambda: {**seen, "hooks": hooks()}, methods=["GET"])
    app.add_api_route("/saboteur/alive", alive, methods=["GET"])
    app.add_api_route("/saboteur/open_clip", open_clip, methods=["POST"])


original_find = getattr(captioners.find, "original", captioners.find)


default_captioner = False


def find(spec, **kwargs):
    return Colours() if spec == "colours" or default_captioner and spec == "auto" else original_find(spec, **kwargs)


find.original = original_find
captioners.find = find
script_callbacks.on_cfg_denoiser(count)
script_callbacks.on_app_started(add_endpoint)
