"""Pictures to begin with on the embedded host: img2img, inpainting, and removal from a photo by inversion."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple

import torch

from lib_negguide import inversion, regions
from lib_negguide.errors import SettingsError
from lib_negguide.hosts.embedded.guidance import OnStep
from lib_negguide.hosts.embedded.masks import InpaintMask
from lib_negguide.hosts.embedded.removal import mask_of
from lib_negguide.hosts.embedded.result import Result
from lib_negguide.hosts.embedded.samplers import noise_levels, sampler
from lib_negguide.inversion import Denoise, Inversion, Reconstruction
from lib_negguide.settings import Removal, Settings
from lib_negguide.wording import without

if TYPE_CHECKING:
    from lib_negguide.hosts.embedded.host import EmbeddedHost, Run

STRENGTH = 0.75
"""Of img2img, as the WebUI's."""
PHOTO_STRENGTH = 0.9
"""How far a photo is turned back into noise."""


def first_level(strength: float, steps: int) -> int:
    """The number of the level at which img2img of a denoising ``strength`` (0 to 1) begins, as in the WebUI: int(strength N) + 1 calls."""
    if not 0.0 <= strength <= 1.0:
        raise SettingsError("strength", strength, "a number from 0 to 1")
    return steps - 1 - int(min(strength, 0.999) * steps)


def tensor_of(images: Sequence[Any], size: Tuple[int, int]) -> torch.Tensor:
    """Pillow images as (B, 3, H, W) in 0..1, resized to ``size`` (width, height) where they differ, as the WebUI does."""
    import numpy as np
    from PIL import Image

    images = [image.convert("RGB") for image in images]
    images = [image if image.size == tuple(size) else image.resize(size, Image.LANCZOS) for image in images]
    return torch.stack([torch.from_numpy(np.asarray(image, dtype=np.float32) / 255.0).permute(2, 0, 1) for image in images])


def img2img(host: EmbeddedHost, pictures: torch.Tensor, prompts: Sequence[str], seeds: Sequence[int], settings=Settings(), *,
            strength: float = STRENGTH, mask: Any = None, blur: float = 4.0, fill: str = "original", **options) -> Result:
    """Pictures (B, 3, H, W) in 0..1 with noise of their seeds, sampled on from there; the WebUI's img2img, and its inpainting.

    ``mask``: a Pillow image, white where the picture is to change; ``blur`` of its edge in pixels; ``fill``: what is there at
    first, see :class:`InpaintMask`. Outside the mask the picture is as it was, a removal acts inside. ``options``: as
    :meth:`EmbeddedHost.sample`. Raises :class:`SettingsError`.
    """
    latents = host.model.latents(pictures)
    painted = None if mask is None else InpaintMask(mask, (pictures.shape[3], pictures.shape[2]), blur)
    first = first_level(strength, _steps(host, options))

    def start(run: Run, part: slice) -> Tuple[torch.Tensor, int]:
        init, level = latents[part], run.sigmas[first]
        if painted is not None:
            init = painted.filled(init, fill, seeds[part])
            run.guidance.blend = lambda guided, x, sigma: painted.blend(guided, init)
        return init + _noise(run) * level, first

    if painted is not None:
        options["mask"] = painted.cells
    result = host.sample_once(prompts, seeds, settings, start=start, **options)
    if painted is not None:
        result.images = painted.overlaid(result.images, pictures)
    return result


@dataclass
class Photos:
    """Photos without a thing. ``encoded``: what the VAE alone makes of them; ``reconstructions``: of each, what its noise gives
    when nothing is removed, against that; ``prompts``: those sampled with; ``regions`` (B, 1, h, w): where the thing was found,
    ``None`` where another region acts; ``evaluations``: predictions for all this, a picture."""

    result: Result
    encoded: torch.Tensor
    prompts: List[str]
    reconstructions: List[Reconstruction] = field(default_factory=list)
    regions: Optional[torch.Tensor] = None
    evaluations: int = 0


def photo(host: EmbeddedHost, pictures: torch.Tensor, prompts: Sequence[str], seeds: Sequence[int], settings: Settings, *,
          strength: float = PHOTO_STRENGTH, iterations: int = inversion.ITERATIONS, check: bool = True,
          on_invert: Optional[OnStep] = None, **options) -> Photos:
    """Pictures (B, 3, H, W) in 0..1 turned back into noise (:mod:`lib_negguide.inversion`) and sampled on without what is to go.

    ``prompts``: what each picture shows; the thing is added where it is not named. They are inverted under these, and sampled
    under the same without its words (:func:`lib_negguide.wording.without`); the region "object" is where the two differ.
    ``strength``: how far back, as img2img's; ``iterations``: predictions a step of the inversion; ``check``: also sample from
    that noise with nothing removed, one prediction a call. By the settings' ``fidelity`` the rest stays. ``options``: as
    :meth:`EmbeddedHost.sample`; its seeds matter for samplers that add noise.
    """
    if not settings.enabled or settings.remove is None:
        raise SettingsError("remove", None, "what is to go: an object with a text")
    remove = settings.remove
    settings = settings.copy(update={"remove": remove.copy(update={"photo": True, "anchor": False})})
    options["mask"] = mask = mask_of(remove, options.get("mask"))
    latents, steps = host.model.latents(pictures), _steps(host, options)
    first = first_level(strength, steps)
    inverter = _Inverter(host, latents, prompts, remove, mask, first, iterations, on_invert)
    result = host.sample_once(inverter.without, seeds, settings, start=inverter, **options)
    photos = Photos(result, host.model.decode(latents), inverter.without)
    photos.regions, photos.evaluations = inverter.regions(), inverter.evaluations
    if check:
        photos.reconstructions = inversion.compared(inverter.again(), photos.encoded)
        photos.evaluations += steps - first
    result.recorded += photos.evaluations
    return photos


@dataclass
class _Made:
    """What was made of one batch."""

    run: Run
    denoise: Denoise
    inversion: Inversion
    region: Optional[torch.Tensor]


class _Inverter:
    """The ``start`` of runs on photos; what was inverted once is kept. ``without``: the prompts without the thing."""

    def __init__(self, host: EmbeddedHost, latents: torch.Tensor, prompts: Sequence[str], remove: Removal, mask: Optional[torch.Tensor],
                 first: int, iterations: int, on_invert: Optional[OnStep]):
        self.without = [without(prompt, remove.text) for prompt in prompts]
        self.evaluations = 0
        self._with = [f"{prompt}, {remove.text}".strip(", ") if prompt == bare else prompt for prompt, bare in zip(prompts, self.without)]
        self._host, self._latents, self._remove, self._mask, self._first = host, latents, remove, mask, first
        self._iterations, self._on_invert = iterations, on_invert
        self._made: Dict[Tuple[int, int], _Made] = {}

    def __call__(self, run: Run, part: slice) -> Tuple[torch.Tensor, int]:
        key = (part.start, part.stop)
        if key not in self._made:
            self._made[key] = self._invert(run, part)
        made = self._made[key]
        run.guidance.plain = [target for target in made.inversion.targets() for _ in range(run.sampler.orders)]
        if made.region is not None and run.guidance.removing is not None:
            found = regions.Painted(made.region)
            own = self._mask if self._mask is None or len(self._mask) == 1 else self._mask[part]
            run.guidance.removing.region = found if own is None else regions.Within(found, own)
        return made.inversion.noise, self._first

    def _invert(self, run: Run, part: slice) -> _Made:
        ends = (1.0 + run.sigmas[-1] ** 2) ** 0.5  # DDIM's pictures are latents with noise of the last level's scale
        denoise = self._unguided(run, self._with[part])
        made = inversion.invert(denoise, self._latents[part] * ends, run.sigmas[self._first:], self._iterations, self._on_invert)
        region = None
        if self._remove.region == "object":
            region = inversion.where(denoise, self._unguided(run, self.without[part]), made)
        self.evaluations = made.evaluations + (0 if region is None else 2 * inversion.LOOKS)
        return _Made(run, denoise, made, region)

    def _unguided(self, run: Run, prompts: Sequence[str]) -> Denoise:
        """The prediction under the prompts alone; image prompts act as they do beside a prompt."""
        with torch.no_grad():
            cond = self._host.model.encode(prompts)

        def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            with run.guidance.injecting():
                return run.guidance.predict(x, sigma, [cond, cond] if run.guidance.images else [cond])[-1]

        return denoise

    def regions(self) -> Optional[torch.Tensor]:
        found = [made.region for made in self._made.values()]
        return None if None in found else torch.cat(found)

    def again(self) -> torch.Tensor:
        """Pictures of the noise with nothing removed, without guidance."""
        with self._host.threads():
            return torch.cat([self._host.pictures(made.run, inversion.resample(made.denoise, made.inversion))
                              for made in self._made.values()])


def _noise(run: Run) -> torch.Tensor:
    """The noise (B, 4, h, w) that a run's first latents are."""
    return run.latents / ((1.0 + run.sigmas[0] ** 2) ** 0.5 if run.sampler.name == "DDIM" else run.sigmas[0])


def _steps(host: EmbeddedHost, options: Dict[str, Any]) -> int:
    """Steps of a run with these options: its levels but the last."""
    chosen = sampler(options.get("sampler", "Euler"))
    return len(noise_levels(chosen, options.get("scheduler", "automatic"), options.get("steps", 30), host.levels)[0]) - 1
