"""The embedded host: runs a guidance plan on a checkpoint without a WebUI, with diffusers' networks and a loop of its own."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import torch

from lib_negguide import formulas
from lib_negguide.cache import Pictures
from lib_negguide.errors import HostError, SettingsError
from lib_negguide.hosts.embedded import checkpoint
from lib_negguide.hosts.embedded.result import Result
from lib_negguide.hosts.embedded.samplers import Levels, Sampler, noise_levels
from lib_negguide.hosts.embedded.samplers import sampler as sampler_named
from lib_negguide.hosts.embedded.text import Condition
from lib_negguide.image_prompt.injection import Injection
from lib_negguide.image_prompt.prompt import NEGATIVE, POSITIVE, ImagePrompts
from lib_negguide.plan import CAPTION, GuidancePlan, StepInfo
from lib_negguide.settings import Schedule, Settings
from lib_negguide.trace import Trace

LATENT_CHANNELS, FACTOR = 4, 8
SMALL = 50_000_000  # parameters of a UNet that gains little from a second thread

OnStep = Callable[[int, int, float], None]
"""Called after each model call with its number from 0, their count, and sigma; what it raises ends the run."""
Images = Union[ImagePrompts, Sequence[ImagePrompts], None]
"""Image prompts of a batch: the same for all, or one for each picture."""


@dataclass
class Guidance:
    """One batch's guided denoiser: asks the plan at each call and predicts what it names.

    ``cond``: (B, T, C) of the prompts; ``box_texts``: the pictures' ordinary negative prompts; ``captions``: their
    captions (DNP). ``cfg_scale`` is below 0 for DNS. ``images``: image prompts, of each picture its own.
    """

    model: checkpoint.Model
    levels: Levels
    plan: GuidancePlan
    cond: Condition
    box_texts: Sequence[str]
    cfg_scale: float
    size: Tuple[int, int]
    captions: Optional[Sequence[str]] = None
    calls: int = 0
    on_step: Optional[OnStep] = None
    images: Sequence[ImagePrompts] = ()
    trace: Trace = field(init=False)
    _inside: Optional[Injection] = None
    _texts: Dict[tuple, Condition] = field(default_factory=dict)
    _mixed: Dict[tuple, Condition] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = self.images[0].names if self.images else ()
        self.trace = Trace((*(term.name for term in self.plan.terms), *names))

    @contextmanager
    def injecting(self) -> Iterator[None]:
        """Image prompts act inside."""
        if not self.images:
            yield
            return
        with Injection(self.model.unet) as self._inside:
            yield
        self._inside = None

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Guided x0 (B, 4, h, w) of ``x`` at the level ``sigma`` (no dimension)."""
        level, call = float(sigma), len(self.trace.calls)
        step = self.plan.at(StepInfo(level, call))
        branches = [self._of_texts((index,)) for index, _ in step.branches]
        d_u, d_c, *d_n = self.predict(x, sigma, [self._unconditional(step.uncond), self.cond, *branches])
        if branches:
            pairs = [(d, weight) for d, (_, weight) in zip(d_n, step.branches)]
            d_c = d_c + (formulas.perp_neg(d_c, d_u, pairs) if step.perp else formulas.three_branch(d_u, pairs))
        if self.images:
            step = replace(step, strengths=(*step.strengths, *self.images[0].strengths(level)))
        self.trace.record(level, step)
        if self.on_step is not None:
            self.on_step(call, self.calls, level)
        return formulas.cfg(d_c, d_u, self.cfg_scale)

    def _of_texts(self, subset: Tuple[int, ...]) -> Condition:
        if subset not in self._texts:
            self._texts[subset] = self.model.encode(self.plan.texts(subset, self.box_texts, self.captions), negative=True)
        return self._texts[subset]

    def _unconditional(self, uncond) -> Condition:
        """The sum of a mixture; made once for each that differs."""
        if uncond not in self._mixed:
            parts = [(self._of_texts(subset), coefficient) for subset, coefficient in uncond]
            crossattn = formulas.mix([(part.crossattn, c) for part, c in parts])
            pooled = None if parts[0][0].pooled is None else formulas.mix([(part.pooled, c) for part, c in parts])
            if len(self._mixed) > 8:  # a curve has a mixture of its own at each call
                self._mixed.clear()
            self._mixed[uncond] = Condition(crossattn, pooled)
        return self._mixed[uncond]

    def predict(self, x: torch.Tensor, sigma: torch.Tensor, conditions: List[Condition]) -> List[torch.Tensor]:
        """x0 under each condition: one forward for those of equal token counts."""
        groups: Dict[int, List[int]] = {}
        for index, condition in enumerate(conditions):
            groups.setdefault(condition.crossattn.shape[1], []).append(index)
        out: List[torch.Tensor] = [x] * len(conditions)
        for members in groups.values():
            if self.images:
                # What stands for the prompt has the positive pictures, everything else the unconditional place's.
                sides = [POSITIVE if member == 1 else NEGATIVE for member in members]
                self._inside.begin([prompts.rows(float(sigma))[side] for side in sides for prompts in self.images])
            for index, part in zip(members, self._forward(x, sigma, [conditions[i] for i in members])):
                out[index] = part
        return out

    def _forward(self, x: torch.Tensor, sigma: torch.Tensor, conditions: List[Condition]) -> Sequence[torch.Tensor]:
        model, count = self.model, len(conditions)
        scale = (sigma**2 + 1.0) ** 0.5
        rows = torch.cat([x / scale] * count).to(model.dtype)
        timesteps = self.levels.timestep(sigma).expand(len(rows)).to(model.device)
        extra = {}
        if conditions[0].pooled is not None:
            width, height = self.size
            ids = torch.tensor([[height, width, 0, 0, height, width]], device=model.device, dtype=model.dtype)
            pooled = torch.cat([condition.pooled for condition in conditions])
            extra["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": ids.expand(len(rows), 6)}
        context = torch.cat([condition.crossattn for condition in conditions])
        out = model.unet(rows, timesteps, encoder_hidden_states=context, return_dict=False, **extra)[0].to(x.dtype)
        xs = torch.cat([x] * count)
        if model.prediction == "v":
            denoised = xs / scale**2 - out * (sigma / scale)
        else:
            denoised = xs - out * sigma
        return denoised.chunk(count)


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
    """Samples pictures with a model and a plan; holds no state but the model and its cache of prompts."""

    def __init__(self, model: checkpoint.Model):
        self.model = model
        self.levels = Levels(model.alphas_cumprod)
        size = sum(weight.numel() for weight in model.unet.parameters())
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
        dnp = _asked(settings, "dnp")
        if isinstance(settings, Settings):
            settings = settings.schedule() if settings.enabled else Schedule()
        box_is_empty = not any(text.strip() for text in box_texts)
        caption = dnp.window if dnp is not None and any(text.strip() for text in captions or ()) else None
        # The last level is where the run ends; no call is made there.
        return GuidancePlan.build(settings, sigmas[:-1].tolist(), box_is_empty, caption)

    def prepare(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        settings: Union[Settings, Schedule, GuidancePlan] = Settings(),
        negative_prompts: Union[str, Sequence[str]] = "",
        captions: Optional[Sequence[str]] = None,
        steps: int = 30,
        cfg_scale: float = 7.5,
        sampler: str = "Euler",
        scheduler: str = "automatic",
        size: Tuple[int, int] = (512, 512),
        on_step: Optional[OnStep] = None,
        images: Images = None,
    ) -> Run:
        """One batch, ready to sample; arguments as :meth:`sample`."""
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
        guidance = Guidance(self.model, self.levels, plan, cond, boxes, cfg_scale, size, captions, chosen.calls(sigmas), on_step,
                            _each(images, len(prompts)))
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
        """
        if _asked(settings, "dnp") is not None:
            from lib_negguide.hosts.embedded.dns import auto

            return auto(self, prompts, seeds, settings, captioner=captioner, cache=cache, clip=clip, on_dns_step=on_dns_step,
                        batch_size=batch_size, **options)
        return self.sample_once(prompts, seeds, settings, batch_size=batch_size, **options)

    @torch.no_grad()
    def sample_once(self, prompts: Sequence[str], seeds: Sequence[int], settings=Settings(), *, batch_size: int = 16,
                    negative_prompts: Union[str, Sequence[str]] = "", captions: Optional[Sequence[str]] = None,
                    on_step: Optional[OnStep] = None, images: Images = None, **options) -> Result:
        """One sampling of all pictures; of auto-DNP the last, which needs ``captions``. Otherwise as :meth:`sample`."""
        boxes = [negative_prompts] * len(prompts) if isinstance(negative_prompts, str) else list(negative_prompts)
        prompted, pictures, run = _each(images, len(prompts)), [], None
        batches = -(-len(prompts) // batch_size)
        for number in range(batches):
            part = slice(number * batch_size, (number + 1) * batch_size)
            counted = _counted(on_step, number, batches)
            of_part = None if captions is None else captions[part]
            with self.threads():
                run = self.prepare(prompts[part], seeds[part], settings, boxes[part], of_part, on_step=counted,
                                   images=prompted[part], **options)
                latents = run.finish(run.between(run.latents))
                if not torch.isfinite(latents).all():
                    raise HostError("NegGuide: the model gave numbers that are not finite; try another precision (--dtype)")
                pictures.append(self.model.decode(latents))
        if run is None:
            raise SettingsError("prompts", list(prompts), "at least one")
        return Result(torch.cat(pictures), run.guidance.trace, run.scheduler)


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
