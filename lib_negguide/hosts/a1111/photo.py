"""A photo in img2img from which something is removed: turned back into noise with the host's model, then sampled from that.

The photo is inverted under its prompt with what is to go, and sampled under the same without its words; outside the region
it is kept by the anchor, whose record is what each step of the inversion leads to (:mod:`lib_negguide.inversion`).
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, List, Optional, Sequence

import numpy as np
import torch
from modules import extra_networks, prompt_parser, sd_samplers_common, shared

from lib_negguide import inversion
from lib_negguide.errors import HostError, SettingsError
from lib_negguide.hosts.a1111.masks import inpaints
from lib_negguide.hosts.a1111.records import Kept
from lib_negguide.hosts.a1111.samplings import IMG2IMG
from lib_negguide.inversion import Reconstruction
from lib_negguide.settings import Removal
from lib_negguide.wording import without

SAMPLER = "Euler"
"""Its steps are those that the inversion turns round."""


def check(p, remove: Removal) -> None:
    """Raises :class:`SettingsError` where this is no photo that could be turned into noise."""
    if not isinstance(p, IMG2IMG) or inpaints(p):
        raise SettingsError("remove.photo", True, "false but in img2img without a mask; where there is one, inpainting keeps the rest")
    if p.sampler_name != SAMPLER:
        raise SettingsError("sampler_name", p.sampler_name, f"{SAMPLER} with remove.photo")
    if remove.search == "exhaustive":
        raise SettingsError("remove.search", remove.search, "loop or window with remove.photo")


def prompts_without(p, remove: Removal) -> None:
    """In ``process``: sample under the prompts without what is to go; those that the photo is inverted under are kept."""
    bare = [without(prompt, remove.text) for prompt in p.all_prompts]
    p.negguide_photo = [f"{prompt}, {remove.text}".strip(", ") if prompt == own else prompt for prompt, own in zip(p.all_prompts, bare)]
    p.all_prompts = bare


class Inverted:
    """The photos of a batch as noise. ``noise``: what the sampler is to add to them; ``plain``: the record of the rest;
    ``region`` (B, 1, h, w), ``None`` where another one acts; ``evaluations``: predictions for all this, a picture."""

    def __init__(self, p, sampler, remove: Removal, sample: partial, on_step: inversion.OnStep):
        (_, photos, _, cond, *_), image_cond = sample.args, sample.keywords["image_conditioning"]
        sigmas = _levels(p, sampler).to(photos)
        model = sampler.model_wrap_cfg.inner_model
        texts = p.negguide_photo[p.iteration * p.batch_size:(p.iteration + 1) * p.batch_size]
        denoise = _unguided(model, _encoded(p, texts), image_cond)
        self._denoise, self._inversion = denoise, inversion.invert(denoise, photos, sigmas, on_step=on_step)
        self.noise = (self._inversion.noise - photos) / sigmas[0]
        self.plain = [Kept.of(float(sigma), target, None) for sigma, target in zip(sigmas, self._inversion.targets())]
        self.region: Optional[torch.Tensor] = None
        self.evaluations = self._inversion.evaluations + len(self.plain)
        if remove.region == "object":
            self.region = inversion.where(denoise, _unguided(model, cond, image_cond), self._inversion)
            self.evaluations += 2 * inversion.LOOKS

    def reconstructions(self, photos: torch.Tensor) -> List[Reconstruction]:
        """What the noise gives with nothing removed, against what the VAE alone makes of the photos."""
        again = inversion.resample(self._denoise, self._inversion)
        return inversion.compared(_pictures(again), _pictures(photos))


def _pictures(latents: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) in 0..1."""
    decoded = [sd_samplers_common.sample_to_image(latents, index, 0) for index in range(len(latents))]
    return torch.stack([torch.from_numpy(np.asarray(one, dtype=np.float32) / 255.0).permute(2, 0, 1) for one in decoded])


def _levels(p, sampler) -> torch.Tensor:
    """The falling sigmas that the host will sample, to 0."""
    steps, last = sd_samplers_common.setup_img2img_steps(p)
    noted = dict(p.extra_generation_params)
    sigmas = sampler.get_sigmas(p, steps)[steps - last - 1:]
    p.extra_generation_params.clear()
    p.extra_generation_params.update(noted)
    return sigmas


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
