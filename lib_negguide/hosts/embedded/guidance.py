"""One batch's guided denoiser on the embedded host: what the plan, image prompts and a removal ask for at each model call."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import torch

from lib_negguide import formulas, wording
from lib_negguide.attention import history
from lib_negguide.attention.history import History
from lib_negguide.attention.watch import Watch
from lib_negguide.hosts.embedded import checkpoint
from lib_negguide.hosts.embedded.result import pil
from lib_negguide.hosts.embedded.samplers import Levels
from lib_negguide.hosts.embedded.text import Condition
from lib_negguide.image_prompt.injection import Injection
from lib_negguide.image_prompt.prompt import NEGATIVE, POSITIVE, ImagePrompts
from lib_negguide.plan import GuidancePlan, StepInfo
from lib_negguide.removal import Removing, Seen
from lib_negguide.trace import Trace

OnStep = Callable[[int, int, float], None]
"""Called after each model call with its number from 0, their count, and sigma; what it raises ends the run."""
SIDES = {(0, 0): history.NEGATIVE, (1, 0): history.PROMPT}
"""Of the rows of a call, (number of the condition, picture), those whose attention is looked at."""
Blend = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
"""From guided x0, x (both (B, 4, h, w)) and sigma to the x0 that the sampler gets."""


@dataclass
class Guidance:
    """One batch's guided denoiser: asks the plan at each call and predicts what it names.

    ``cond``: (B, T, C) of the ``prompts``; ``box_texts``: the pictures' ordinary negative prompts; ``captions``: their
    captions (DNP). ``cfg_scale`` is below 0 for DNS. ``images``: image prompts, of each picture its own. ``removing``: what
    takes something out of the pictures; ``plain``: guided x0 of each call of the run without it, which stays outside its
    region. ``watch``: the removal's words in the pictures' attention; ``attended``: that of the first picture, kept to be shown.
    ``record``: takes the guided x0 of each call; ``blend``: changes it last, from (x0, x, sigma).
    """

    model: checkpoint.Model
    levels: Levels
    plan: GuidancePlan
    prompts: Sequence[str]
    cond: Condition
    box_texts: Sequence[str]
    cfg_scale: float
    size: Tuple[int, int]
    captions: Optional[Sequence[str]] = None
    calls: int = 0
    on_step: Optional[OnStep] = None
    images: Sequence[ImagePrompts] = ()
    removing: Optional[Removing] = None
    plain: Optional[Sequence[torch.Tensor]] = None
    record: Optional[List[torch.Tensor]] = None
    blend: Optional[Blend] = None
    watch: Optional[Watch] = None
    attended: Optional[History] = None
    trace: Trace = field(init=False)
    _inside: Optional[Injection] = None
    _others: Optional[Tuple[Condition, torch.Tensor]] = None
    _texts: Dict[tuple, Condition] = field(default_factory=dict)
    _mixed: Dict[tuple, Condition] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = self.images[0].names if self.images else ()
        self.trace = Trace((*(term.name for term in self.plan.terms), *names))
        if self.removing is not None:
            self.trace.removed, self.trace.pictures = self.removing.removal.text, self.removing.count

    @contextmanager
    def injecting(self) -> Iterator[None]:
        """Image prompts act inside, and attention is watched."""
        with ExitStack() as stack:
            if self.images:
                self._inside = stack.enter_context(Injection(self.model.unet))
            if self.watch is not None:
                stack.enter_context(self.watch)
            if self.attended is not None:
                stack.enter_context(self.attended.probe)
            yield
        self._inside = None

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Guided x0 (B, 4, h, w) of ``x`` at the level ``sigma`` (no dimension)."""
        level, call = float(sigma), len(self.trace.calls)
        step = self.plan.at(StepInfo(level, call))
        wanted = [] if self.removing is None else self.removing.wants(level, call)
        rows = [picture for picture, wants in enumerate(wanted) if wants]
        conditions = [self._unconditional(step.uncond), self.cond, *(self._of_texts((index,)) for index, _ in step.branches)]
        if rows:
            beside, signs = self._beside()
            conditions.append(beside.map(lambda t: t[rows]))
        d_u, d_c, *d_n = self.predict(x, sigma, conditions, {len(conditions) - 1: rows} if rows else {})
        words = signs[rows] * (d_n.pop() - d_c[rows]) if rows else None
        if step.branches:
            pairs = [(d, weight) for d, (_, weight) in zip(d_n, step.branches)]
            d_c = d_c + (formulas.perp_neg(d_c, d_u, pairs) if step.perp else formulas.three_branch(d_u, pairs))
        if self.removing is not None:
            guided = self._removed(Seen.of(level, call, self.cfg_scale, d_c, d_u, words, wanted, x=x))
        elif self.plain is not None:  # nothing is removed: all of it is the rest
            guided = self.plain[call]
        else:
            guided = formulas.cfg(d_c, d_u, self.cfg_scale)
        if self.record is not None:
            self.record.append(guided)
        if self.blend is not None:
            guided = self.blend(guided, x, level)
        if self.images:
            step = replace(step, strengths=(*step.strengths, *self.images[0].strengths(level)))
        self.trace.record(level, step, None if self.removing is None else self.removing.record)
        if self.on_step is not None:
            self.on_step(call, self.calls, level)
        return guided

    def _removed(self, seen: Seen) -> torch.Tensor:
        """Guided x0 with the removal's change."""

        def preview(pictures: List[int]) -> list:
            d_c, d_u = seen.d_c[pictures], seen.d_u[pictures]
            return pil(self.model.decode(formulas.cfg(d_c, d_u, self.cfg_scale)))

        seen.preview = preview
        seen.attention = None if self.watch is None else self.watch.maps
        delta = self.removing.change(seen)
        guided = formulas.cfg(seen.d_c if delta is None else seen.d_c + delta, seen.d_u, self.cfg_scale)
        return guided if self.plain is None else self.removing.anchored(guided, self.plain[seen.call])

    def _of_texts(self, subset: Tuple[int, ...]) -> Condition:
        if subset not in self._texts:
            texts = self.plan.texts(subset, self.box_texts, self.captions)
            self._texts[subset] = self.model.encode(texts, negative=True)
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

    def _beside(self) -> Tuple[Condition, torch.Tensor]:
        """The prompts with the removal's words, or without them where they name the thing: then its sign is -1, (B, 1, 1, 1)."""
        if self._others is None:
            others, named = zip(*(wording.beside(prompt, self.removing.removal.text) for prompt in self.prompts))
            signs = torch.tensor([-1.0 if names else 1.0 for names in named], device=self.model.device)
            self._others = self.model.encode(list(others)), signs[:, None, None, None]
        return self._others

    def predict(self, x: torch.Tensor, sigma: torch.Tensor, conditions: List[Condition],
                rows: Optional[Mapping[int, List[int]]] = None) -> List[torch.Tensor]:
        """x0 under each condition: one forward for those of equal token counts.

        ``rows``: by number of a condition the pictures that it is of, where these are not all: then it stands beside their prompts.
        """
        groups: Dict[int, List[int]] = {}
        for index, condition in enumerate(conditions):
            groups.setdefault(condition.crossattn.shape[1], []).append(index)
        everyone = list(range(len(x)))
        pictures = [(rows or {}).get(index, everyone) for index in range(len(conditions))]
        out: List[torch.Tensor] = [x] * len(conditions)
        order = [(member, number) for members in groups.values() for member in members for number in pictures[member]]
        if self.watch is not None:  # the prompts are the second condition
            self.watch.begin([number if member == 1 else None for member, number in order])
        if self.attended is not None:
            self.attended.begin([SIDES.get(row) for row in order])
        for members in groups.values():
            if self.images:
                # What stands for the prompt has the positive pictures, everything else the unconditional place's.
                sides = [(POSITIVE if member == 1 or member in (rows or {}) else NEGATIVE, pictures[member]) for member in members]
                self._inside.begin([self.images[number].rows(float(sigma))[side] for side, numbers in sides for number in numbers])
            xs = [x if len(pictures[i]) == len(x) else x[pictures[i]] for i in members]
            for index, part in zip(members, self._forward(xs, sigma, [conditions[i] for i in members])):
                out[index] = part
        if self.attended is not None:
            self.attended.take(float(sigma))
        return out

    def _forward(self, xs: List[torch.Tensor], sigma: torch.Tensor, conditions: List[Condition]) -> Sequence[torch.Tensor]:
        model = self.model
        scale = (sigma**2 + 1.0) ** 0.5
        whole = torch.cat(xs)
        rows = (whole / scale).to(model.dtype)
        timesteps = self.levels.timestep(sigma).expand(len(rows)).to(model.device)
        extra = {}
        if conditions[0].pooled is not None:
            width, height = self.size
            ids = torch.tensor([[height, width, 0, 0, height, width]], device=model.device, dtype=model.dtype)
            pooled = torch.cat([condition.pooled for condition in conditions])
            extra["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": ids.expand(len(rows), 6)}
        context = torch.cat([condition.crossattn for condition in conditions])
        out = model.unet(rows, timesteps, encoder_hidden_states=context, return_dict=False, **extra)[0].to(whole.dtype)
        if model.prediction == "v":
            denoised = whole / scale**2 - out * (sigma / scale)
        else:
            denoised = whole - out * sigma
        return denoised.split([len(x) for x in xs])
