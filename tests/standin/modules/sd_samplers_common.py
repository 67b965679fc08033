"""What the two kinds of samplers share."""

import numpy as np
import torch
from modules import shared
from PIL import Image


class InterruptedException(BaseException):
    """Not an Exception: scripts' broad handlers let it pass."""


class SamplerData(tuple):
    """(name, constructor, aliases, options)."""

    def __new__(cls, name, constructor, aliases, options):
        return super().__new__(cls, (name, constructor, aliases, options))

    name, constructor, aliases, options = (property(lambda self, n=n: self[n]) for n in range(4))

    def total_steps(self, steps):
        return steps * 2 if self.options.get("second_order") else steps


def setup_img2img_steps(p, steps=None):
    """(steps of the whole schedule, index of the last of those that run)."""
    if steps is None and not shared.opts.img2img_fix_steps:
        return p.steps, int(min(p.denoising_strength, 0.999) * p.steps)
    wanted = steps or p.steps
    return (int(wanted / min(p.denoising_strength, 0.999)) if p.denoising_strength > 0 else 0), wanted - 1


def to_image(decoded):
    """(3, H, W) in 0..1."""
    return Image.fromarray((255.0 * np.moveaxis(decoded.cpu().numpy(), 0, 2)).astype(np.uint8))


def sample_to_image(samples, index=0, approximation=None):
    return to_image((shared.sd_model.decode_first_stage(samples[index:index + 1])[0] / 2 + 0.5).clamp(0, 1))


def store_latent(latent):
    shared.state.current_latent = latent


class Sampler:
    """One sampling run: its denoiser, what is handed to it, and how it can end early."""

    def __init__(self, function, config):
        self.func = self.funcname = function
        self.config = config
        self.p = self.last_latent = self.sampler_extra_args = self.s_min_uncond = None

    def callback_state(self, step):
        shared.state.sampling_step = step["i"]
        shared.total_tqdm.update()

    def prepare(self, p, cond, uncond, image_cond):
        self.p = p
        self.s_min_uncond = p.s_min_uncond or 0.0
        denoiser = self.model_wrap_cfg
        denoiser.p, denoiser.step = p, 0
        denoiser.mask, denoiser.nmask = getattr(p, "mask", None), getattr(p, "nmask", None)
        self.sampler_extra_args = {"cond": cond, "image_cond": image_cond, "uncond": uncond, "cond_scale": p.cfg_scale,
                                   "s_min_uncond": self.s_min_uncond}

    @torch.no_grad()
    def launch_sampling(self, steps, run):
        self.model_wrap_cfg.steps = steps
        self.model_wrap_cfg.total_steps = self.config.total_steps(steps)
        shared.state.sampling_steps, shared.state.sampling_step = steps, 0
        try:
            return run()
        except InterruptedException:
            return self.last_latent
        finally:
            for key, padded in (("Pad conds", self.model_wrap_cfg.padded_cond_uncond),
                                ("Pad conds v0", self.model_wrap_cfg.padded_cond_uncond_v0)):
                if padded:
                    self.p.extra_generation_params[key] = True
