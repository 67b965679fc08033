"""The embedded host: runs a guidance plan on a checkpoint without a WebUI, with diffusers' networks and a loop of its own."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Callable, Iterator, List, Optional, Sequence, Tuple, Union

import torch

from lib_negguide.cache import Pictures
from lib_negguide.errors import HostError, SettingsError
from lib_negguide.hosts.embedded import checkpoint, removal
from lib_negguide.hosts.embedded.guidance import Guidance, OnStep
from lib_negguide.hosts.embedded.result import Result
from lib_negguide.hosts.embedded.samplers import Levels, Sampler, noise_levels
from lib_negguide.hosts.embedded.samplers import sampler as sampler_named
from lib_negguide.image_prompt.prompt import ImagePrompts
from lib_negguide.plan import CAPTION, GuidancePlan
from lib_negguide.settings import Schedule, Settings
from lib_negguide.trace import Trace

LATENT_CHANNELS, FACTOR = 4, 8
CFG_SCALE = 7.5
SMALL = 50_000_000  # parameters of a UNet that gains little from a second thread

Images = Union[ImagePrompts, Sequence[ImagePrompts], None]
"""Image prompts of a batch: the same for all, or one for each picture."""
Start = Callable[["Run", slice], Tuple[torch.Tensor, int]]
"""From a prepared run, and which of the pictures are its, to the x at which it begins and that level's number.

May be called twice for the same pictures, and may set ``blend`` or ``plain`` of the run's guidance.
"""


@dataclass
class Run:
    """A prepared batch: its first latents, levels, guidance; ``finish`` samples all of it, ``between`` a part."""

    guidance: Guidance
    sampler: Sampler
    scheduler: str
    sigmas: torch.Tensor
    latents: torch.Tensor
    noise: Callable[[], torch.Tensor]

    @torch.no_grad()
    def between(self, x: torch.Tensor, first: int = 0, last: Optional[int] = None) -> torch.Tensor:
        """``x`` (B, 4, h, w) at level ``first`` taken to level ``last`` (default: the end), in the sampler's own scale.

        A run may be cut anywhere where the sampler keeps no memory between steps (all but DPM++ 2M).
        """
        with self.guidance.injecting():
            return self.sampler.step(self.guidance, x, self.sigmas[first: None if last is None else last + 1], self.noise)

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        """Latents for the decoder from ``x`` at the last level."""
        return x / (1.0 + self.sigmas[-1] ** 2) ** 0.5 if self.sampler.name == "DDIM" else x


class EmbeddedHost:
    """Samples pictures with a model and a plan; holds no state but the model, its cache of prompts, and records of runs (removal)."""

    def __init__(self, model: checkpoint.Model):
        self.model = model
        self.levels = Levels(model.alphas_cumprod)
        size = sum(weight.numel() for weight in model.unet.parameters())
        self.plain = removal.Plain()
        self._one_thread = model.device.type == "cpu" and size < SMALL

    @contextmanager
    def threads(self) -> Iterator[None]:
        """One thread inside for a small model on the CPU, whatever the environment says.

        Rounding depends on the number of threads, and on a busy machine a second one slows
        small networks down; so their pictures are the same everywhere, to the bit.
        """
        before = torch.get_num_threads()
        if self._one_thread:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    @classmethod
    def load(cls, path, device: str = "cpu", dtype: Optional[torch.dtype] = None) -> EmbeddedHost:
        """See :func:`lib_negguide.hosts.embedded.checkpoint.load`."""
        return cls(checkpoint.load(path, device, dtype))

    def plan(self, settings: Union[Settings, Schedule, GuidancePlan], sigmas: torch.Tensor, box_texts: Sequence[str],
             captions: Optional[Sequence[str]] = None) -> GuidancePlan:
        """The plan of a run; disabled settings leave the ordinary negative prompt alone, as a stock host.

        Of DNS it has no terms; of DNP it has the captions, where there are any.
        """
        if isinstance(settings, GuidancePlan):
            return settings
        if _asked(settings, "dns") is not None:
            return GuidancePlan(())
        dnp, remove = _asked(settings, "dnp"), _asked(settings, "remove")
        if isinstance(settings, Settings):
            settings = settings.schedule() if settings.enabled else Schedule()
        box_is_empty = not any(text.strip() for text in box_texts)
        caption = dnp.window if dnp is not None and any(text.strip() for text in captions or ()) else None
        # The last level is where the run ends; no call is made there.
        return GuidancePlan.build(settings, sigmas[:-1].tolist(), box_is_empty, caption, remove)

    def prepare(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        settings: Union[Settings, Schedule, GuidancePlan] = Settings(),
        negative_prompts: Union[str, Sequence[str]] = "",
        captions: Optional[Sequence[str]] = None,
        steps: int = 30,
        cfg_scale: float = CFG_SCALE,
        sampler: str = "Euler",
        scheduler: str = "automatic",
        size: Tuple[int, int] = (512, 512),
        on_step: Optional[OnStep] = None,
        images: Images = None,
        detector=None,
        mask=None,
    ) -> Run:
        """One batch, ready to sample; arguments as :meth:`sample`.

        ``detector``: of a removal (:mod:`lib_negguide.detectors`), by default "presence"; ``mask``: where it may act.
        """
        if any(side % FACTOR or not 16 <= side <= 4096 for side in size):
            raise SettingsError("size", f"{size[0]}x{size[1]}", f"multiples of {FACTOR} from 16 to 4096")
        if len(prompts) != len(seeds):
            raise SettingsError("seeds", len(seeds), f"as many as prompts ({len(prompts)})")
        if captions is not None and len(captions) != len(prompts):
            raise SettingsError("captions", len(captions), f"as many as prompts ({len(prompts)})")
        boxes = [negative_prompts] * len(prompts) if isinstance(negative_prompts, str) else list(negative_prompts)
        chosen = sampler_named(sampler)
        sigmas, scheduler = noise_levels(chosen, scheduler, steps, self.levels)
        dns, dnp = _asked(settings, "dns"), _asked(settings, "dnp")
        if not images and any(one.weight > 0 for one in _asked(settings, "images") or ()):
            raise SettingsError("images", f"{len(settings.images)} pictures", "prepared ones as well: see image_prompt.prompt.prepare")
        planned = isinstance(settings, GuidancePlan) and any(term.source == CAPTION for term in settings.terms)
        if captions is None and (dnp is not None or planned):
            raise SettingsError("captions", None, "one text a picture: the settings let captions act")
        if dnp is not None and dnp.use == "replace":  # a picture without a caption keeps its box
            boxes = ["" if caption.strip() else box for box, caption in zip(boxes, captions)]
        plan = self.plan(settings, sigmas, boxes, captions)
        if dns is not None:
            cfg_scale = -dns.away(cfg_scale)  # eq. 19 of Desai and Vasconcelos
            if images:
                raise SettingsError("images", "some", "none while dns is on: it is the opposite of the prompt's text")
        noise = _Noise(seeds, (LATENT_CHANNELS, size[1] // FACTOR, size[0] // FACTOR), self.model.device)
        first = noise() * ((1.0 + sigmas[0] ** 2) ** 0.5 if chosen.name == "DDIM" else sigmas[0])
        with torch.no_grad():
            cond = self.model.encode(prompts)
            watch = removal.watched(self.model, _asked(settings, "remove"))
        guidance = Guidance(self.model, self.levels, plan, prompts, cond, boxes, cfg_scale, size, captions, chosen.calls(sigmas), on_step,
                            _each(images, len(prompts)),
                            removal.removing(_asked(settings, "remove"), sigmas, len(prompts), cfg_scale, detector, mask, watch),
                            watch=watch)
        return Run(guidance, chosen, scheduler, sigmas, first, noise)

    def sample(self, prompts: Sequence[str], seeds: Sequence[int], settings=Settings(), *, batch_size: int = 16, captioner=None,
               cache: Optional[Pictures] = None, clip=None, on_dns_step: Optional[OnStep] = None, **options) -> Result:
        """Pictures of ``prompts``, one seed each.

        ``settings``: :class:`Settings`, a :class:`Schedule` or a ready :class:`GuidancePlan`;
        ``negative_prompts``: the ordinary negative prompt, one for all or one each;
        ``size``: width and height in pixels, multiples of 8; ``scheduler``: "automatic" as
        the WebUI; ``images``: pictures as prompts (:func:`lib_negguide.image_prompt.prompt.prepare`), the same for all or
        one each. Raises :class:`SettingsError`; :class:`HostError` where the result is not a picture.

        Auto-DNP is the whole of it in one call: see :func:`lib_negguide.hosts.embedded.dns.auto` for ``captioner``,
        ``cache``, ``clip`` and ``on_dns_step``; with ``captions``, one a picture, there are no negative pictures.
        Of a removal: ``mask``, a Pillow image or a tensor (1 or B, 1, H, W), white where it may act; ``open_captioner`` and
        ``open_clip``, for its detector, see :func:`lib_negguide.hosts.embedded.removal.opened`.
        """
        if _asked(settings, "dnp") is not None:
            from lib_negguide.hosts.embedded.dns import auto

            return auto(self, prompts, seeds, settings, captioner=captioner, cache=cache, clip=clip, on_dns_step=on_dns_step,
                        batch_size=batch_size, **options)
        return self.sample_once(prompts, seeds, settings, batch_size=batch_size, **options)

    @torch.no_grad()
    def sample_once(self, prompts: Sequence[str], seeds: Sequence[int], settings=Settings(), *, batch_size: int = 16,
                    negative_prompts: Union[str, Sequence[str]] = "", captions: Optional[Sequence[str]] = None,
                    on_step: Optional[OnStep] = None, images: Images = None, mask=None, start: Optional[Start] = None,
                    open_captioner=None, open_clip=None, **options) -> Result:
        """One sampling of all pictures; of auto-DNP the last, which needs ``captions``. Otherwise as :meth:`sample`.

        ``start``: where the runs begin, by default at their first latents and level.
        """
        if not prompts:
            raise SettingsError("prompts", list(prompts), "at least one")
        settings, unguided = removal.that_guides(settings, options.get("cfg_scale", CFG_SCALE))
        boxes = [negative_prompts] * len(prompts) if isinstance(negative_prompts, str) else list(negative_prompts)
        prompted, mask = _each(images, len(prompts)), removal.mask_of(_asked(settings, "remove"), mask)
        with removal.opened(self, _asked(settings, "remove"), open_captioner, open_clip) as detectors:

            def part_of(part: slice, on_step: Optional[OnStep]) -> removal.Part:
                of_part = None if captions is None else captions[part]
                own = mask if mask is None or len(mask) == 1 else mask[part]

                def prepare(chosen) -> Run:
                    return self.prepare(prompts[part], seeds[part], chosen, boxes[part], of_part, on_step=on_step, images=prompted[part],
                                        detector=detectors(prompts[part]), mask=own, **options)

                if start is not None:
                    return removal.Part(prepare, lambda run: start(run, part))
                told = [prompts[part], seeds[part], boxes[part], of_part, *sorted(options.items())]
                return removal.Part(prepare, lambda run: (run.latents, 0), None if prompted else tuple(map(repr, told)))

            if removal.searches(settings):
                return removal.searched(self, settings, prompts, part_of, detectors, on_step)
            made, batches = [], -(-len(prompts) // batch_size)
            for number in range(batches):
                part = part_of(slice(number * batch_size, (number + 1) * batch_size), _counted(on_step, number, batches))
                with self.threads():
                    run, recorded = removal.anchored(part, settings, self.plain)
                    made.append((self.pictures(run, run.between(*part.begin(run))), run, recorded))
        pictures, runs, recorded = zip(*made)
        result = Result(torch.cat(pictures), Trace.joined([run.guidance.trace for run in runs]), runs[-1].scheduler)
        result.recorded, result.notes = recorded[-1], [*unguided, *removal.notes(settings, runs[-1].sigmas)]
        return result

    def pictures(self, run: Run, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) of latents at the last level of a run; raises :class:`HostError` where these are no numbers."""
        latents = run.finish(x)
        if not torch.isfinite(latents).all():
            raise HostError("NegGuide: the model gave numbers that are not finite; try another precision (--dtype)")
        return self.model.decode(latents)


def _asked(settings, name: str):
    """The part ``dns`` or ``dnp`` of settings that are on, else ``None``."""
    return getattr(settings, name) if isinstance(settings, Settings) and settings.enabled else None


def _each(images: Images, count: int) -> Sequence[ImagePrompts]:
    """Image prompts of each of so many pictures; none at all for none."""
    if isinstance(images, ImagePrompts):
        return [images] * count
    if images and len(images) != count:
        raise SettingsError("images", len(images), f"as many as prompts ({count})")
    return images or ()


def _counted(on_step: Optional[OnStep], batch: int, batches: int) -> Optional[OnStep]:
    """``on_step`` that counts calls over all batches."""
    if on_step is None:
        return None
    return lambda call, calls, sigma: on_step(batch * calls + call, batches * calls, sigma)


class _Noise:
    """Normal noise (B, 4, h, w), each picture's from its own seed, drawn on the CPU as the WebUI does."""

    def __init__(self, seeds: Sequence[int], shape: Tuple[int, ...], device: torch.device):
        self._generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        self._shape, self._device = shape, device

    def __call__(self) -> torch.Tensor:
        return torch.stack([torch.randn(self._shape, generator=g) for g in self._generators]).to(self._device)

    def state(self) -> List[torch.Tensor]:
        """Where every picture's numbers are, for :meth:`restore`."""
        return [generator.get_state() for generator in self._generators]

    def restore(self, states: Sequence[torch.Tensor]) -> None:
        for generator, state in zip(self._generators, states):
            generator.set_state(state)
