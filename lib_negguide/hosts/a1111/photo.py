"""A photo in img2img from which something is removed: turned back into noise with the host's model, then sampled from that.

The photo is inverted under its prompt with what is to go, and sampled under the same without its words; outside the region
it is kept by the anchor, whose record is what each step of the inversion leads to, or for samplers with other steps what leads
straight to the photo (:mod:`lib_negguide.inversion`).
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, List, Optional, Sequence

import numpy as np
import torch
from modules import extra_networks, prompt_parser, sd_samplers, sd_samplers_common, shared

from lib_negguide import inversion
from lib_negguide.errors import HostError, SettingsError
from lib_negguide.hosts.a1111.masks import inpaints
from lib_negguide.hosts.a1111.noise import counts_in_timesteps, sigmas_of_timesteps
from lib_negguide.hosts.a1111.records import Kept
from lib_negguide.hosts.a1111.samplings import IMG2IMG
from lib_negguide.inversion import Reconstruction
from lib_negguide.settings import Removal
from lib_negguide.wording import without

TURNED = ("Euler", "DDIM")
"""Samplers whose steps are those that the inversion turns round."""
OTHERS = ("DPM++ 2M", "Heun", "LMS", "DPM2", "PLMS", "UniPC")
"""Other solvers of the same ODE, which make no noise of their own either."""
CHURNED = ("Euler", "Heun", "DPM2")


def check(p, remove: Removal) -> None:
    """Raises :class:`SettingsError` where this is no photo that could be turned into noise."""
    if not isinstance(p, IMG2IMG) or inpaints(p):
        raise SettingsError("remove.photo", True, "false but in img2img without a mask; where there is one, inpainting keeps the rest")
    if p.sampler_name not in (*TURNED, *OTHERS):
        raise SettingsError("sampler_name", p.sampler_name, "one of " + ", ".join((*TURNED, *OTHERS)) + " with remove.photo: samplers that "
                            "make noise of their own do not bring the photo's noise back to it")
    for field, value in _added_noise(p).items():
        if value:
            raise SettingsError(field, value, f"0 with remove.photo: {p.sampler_name} makes noise of its own by it")
    if remove.search == "exhaustive":
        raise SettingsError("remove.search", remove.search, "loop or window with remove.photo")


def _added_noise(p) -> Dict[str, float]:
    """What makes noise of its own in these samplers, where it is not 0."""
    if p.sampler_name == "DDIM":
        eta = getattr(p, "eta", None)
        return {"eta": getattr(shared.opts, "eta_ddim", 0.0) if eta is None else eta}
    return {"s_churn": getattr(shared.opts, "s_churn", getattr(p, "s_churn", 0.0))} if p.sampler_name in CHURNED else {}


def prompts_without(p, remove: Removal) -> None:
    """In ``process``: sample under the prompts without what is to go; those that the photo is inverted under are kept."""
    bare = [without(prompt, remove.text) for prompt in p.all_prompts]
    p.negguide_photo = [f"{prompt}, {remove.text}".strip(", ") if prompt == own else prompt for prompt, own in zip(p.all_prompts, bare)]
    p.all_prompts = bare


class Inverted:
    """The photos of a batch as noise, and what leads back to them. ``noise``: what the sampler is to add to them; ``region``
    (B, 1, h, w), ``None`` where another one acts; ``evaluations``: predictions for all this, a picture."""

    def __init__(self, p, sampler, remove: Removal, sample: partial, on_step: inversion.OnStep):
        (_, photos, _, cond, *_), image_cond = sample.args, sample.keywords["image_conditioning"]
        levels = _Levels(p, sampler)
        model = sd_samplers.create_sampler(TURNED[0], shared.sd_model).model_wrap_cfg.inner_model
        texts = p.negguide_photo[p.iteration * p.batch_size:(p.iteration + 1) * p.batch_size]
        self._end, sigmas = levels.end, levels.sigmas.to(photos)
        self._denoise = _unguided(model, _encoded(p, texts), image_cond)
        self._inversion = inversion.invert(self._denoise, photos * self._end, sigmas, on_step=on_step)
        self.noise = levels.noise(self._inversion.noise, photos)
        self._sigmas = sigmas.tolist()
        self._targets = self._inversion.targets() if p.sampler_name in TURNED else None
        self._straight = self._inversion.straight()
        self.region: Optional[torch.Tensor] = None
        self.evaluations = self._inversion.evaluations + len(sigmas) - 1
        if remove.region == "object":
            self.region = inversion.where(self._denoise, _unguided(model, cond, image_cond), self._inversion)
            self.evaluations += 2 * inversion.LOOKS

    def at(self, denoiser, sigma: float, x: torch.Tensor) -> Kept:
        """The prediction at a call that leads to the photos. ``x`` (B, C, h, w), and the prediction: in the sampler's own scale."""
        target = self._straight
        if self._targets is not None:
            number = denoiser.step
            if number >= len(self._targets) or abs(self._sigmas[number] - sigma) > 1e-3 * sigma:
                raise HostError(f"NegGuide: the inversion of the photo has no such call as number {number + 1}")
            target = self._targets[number]
        if counts_in_timesteps(denoiser):  # which predict eps
            target = (x * (1.0 + sigma**2) ** 0.5 - target.to(x)) / sigma
        return Kept(sigma, target)

    def reconstructions(self, photos: torch.Tensor) -> List[Reconstruction]:
        """What the noise gives with nothing removed, by Euler, against what the VAE alone makes of the photos."""
        again = inversion.resample(self._denoise, self._inversion)
        return inversion.compared(_pictures(again / self._end), _pictures(photos))


def _pictures(latents: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) in 0..1."""
    decoded = [sd_samplers_common.sample_to_image(latents, index, 0) for index in range(len(latents))]
    return torch.stack([torch.from_numpy(np.asarray(one, dtype=np.float32) / 255.0).permute(2, 0, 1) for one in decoded])


class _Levels:
    """The falling levels that the host will sample. ``end``: latents are so much smaller than x = x0 + sigma * noise at the last.

    Samplers over timesteps make their first call one level below that of the noise that the host adds.
    """

    def __init__(self, p, sampler):
        steps, last = sd_samplers_common.setup_img2img_steps(p)
        noted, self._scale = dict(p.extra_generation_params), 1.0
        if hasattr(sampler, "get_timesteps"):
            timesteps = sampler.get_timesteps(p, steps)
            self.sigmas, self._added = sigmas_of_timesteps(timesteps[:last].flip(0)), float(sigmas_of_timesteps(timesteps[last]))
            if len(self.sigmas) > 1:
                if p.sampler_name == "UniPC":  # goes on to the very first timestep
                    self.sigmas[-1] = sigmas_of_timesteps(torch.tensor(0.0))
                self._scale = ((1.0 + self._added**2) / (1.0 + float(self.sigmas[0]) ** 2)) ** 0.5
        else:
            self.sigmas = sampler.get_sigmas(p, steps)[steps - last - 1:]
            self._added = float(self.sigmas[0])
        p.extra_generation_params.clear()
        p.extra_generation_params.update(noted)
        if len(self.sigmas) < 2:
            raise SettingsError("denoising_strength", p.denoising_strength, f"enough for two steps of {p.sampler_name} with remove.photo")
        self.end = 1.0 if self.sigmas[-1] == 0 else (1.0 + float(self.sigmas[-1]) ** 2) ** 0.5

    def noise(self, x: torch.Tensor, photos: torch.Tensor) -> torch.Tensor:
        """What the host has to add to the photos' latents, for its first call to see ``x``, x0 with noise of the first level."""
        return (x * self._scale - photos) / self._added


def _encoded(p, texts: Sequence[str]) -> Any:
    """The prompts as the host encodes its own, networks' names taken out."""
    bare, networks = extra_networks.parse_prompts(list(texts))
    prompts = prompt_parser.SdConditioning(bare, width=p.width, height=p.height)
    function = prompt_parser.get_multicond_learned_conditioning
    return p.get_conds_with_caching(function, prompts, p.firstpass_steps, [[None, None]], networks, None)


def _unguided(model, cond: Any, image_cond: torch.Tensor) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The prediction of x0 under the prompts alone, as they are when the run begins."""
    places, tokens = prompt_parser.reconstruct_multicond_batch(cond, 0)
    if any(len(parts) > 1 for parts in places):
        raise HostError("NegGuide: a photo is turned into noise under one prompt; AND is not possible with remove.photo")

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        if shared.sd_model.model.conditioning_key == "crossattn-adm":
            conditions = {"c_crossattn": [tokens], "c_adm": image_cond}
        elif isinstance(tokens, dict):
            conditions = {**tokens, "c_concat": [image_cond]}
        else:
            conditions = {"c_crossattn": [tokens], "c_concat": [image_cond]}
        return model(x, sigma.expand(len(x)).to(x), cond=conditions)

    return denoise
