"""From settings to what one model call needs: GuidancePlan, StepInfo, StepPlan.

Pure functions over numbers: no tensor, no host. An adapter asks the plan at each
model call, encodes the texts that it names, and applies ``formulas``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from lib_negguide.schedule import inside, strength
from lib_negguide.settings import Removal, Schedule, Window

SIGMA_LOW, SIGMA_HIGH = 2e-3, 200.0
"""Noise levels beyond which no model is sampled."""

Subset = Tuple[int, ...]
"""Indices of the terms that are joined into one text, rising; ``()`` is the empty prompt."""


TEXT, BOX, CAPTION = "text", "negative prompt", "caption"
"""Sources of a term: a text of its own, each picture's negative prompt box, each picture's caption (DNP)."""


@dataclass(frozen=True)
class Term:
    """One negative: where its text comes from and when it acts. ``text`` only where that is its source."""

    source: str
    window: Window
    text: str = ""

    @property
    def name(self) -> str:
        return self.text if self.source == TEXT else self.source

    def acts_at(self, sigma: float) -> bool:
        """Is ``sigma`` in the window, whatever the strength there?"""
        return inside(sigma, self.window.start, self.window.stop)

    def strength(self, sigma: float) -> float:
        w = self.window
        return strength(sigma, w.start, w.stop, w.weight, w.curve, w.points)


def joins(removal: Removal) -> bool:
    """Whether a removal is an ordinary negative of the plan: in the whole picture, from start to stop, nobody looking."""
    return removal.search == "window" and removal.region == "everywhere"


@dataclass(frozen=True)
class StepInfo:
    """What a host knows at a model call: the noise level (units of sigma) and the number of the call from 0."""

    sigma: float
    call: int = 0


@dataclass(frozen=True)
class StepPlan:
    """What the second place of guidance holds at one model call.

    ``uncond``: (subset, coefficient) pairs; the unconditional condition is the sum of
    coefficient times embedding; coefficients sum to 1. ``branches``: (term, weight) of
    negatives that are predicted on their own. ``perp``: combine those by Perp-Neg.
    ``strengths``: of every term, for the trace.
    """

    uncond: Tuple[Tuple[Subset, float], ...]
    branches: Tuple[Tuple[int, float], ...] = ()
    perp: bool = False
    strengths: Tuple[float, ...] = ()

    @property
    def extra_evaluations(self) -> int:
        return len(self.branches)


@dataclass(frozen=True)
class GuidancePlan:
    """The negatives of one sampling run; built once, asked at each call."""

    terms: Tuple[Term, ...]
    combine: str = "join"

    @classmethod
    def build(cls, schedule: Schedule, sigmas: Sequence[float], box_is_empty: bool = False,
              caption: Optional[Window] = None, remove: Optional[Removal] = None) -> GuidancePlan:
        """Plan a run over these falling ``sigmas`` (of a full run, before img2img cuts it short).

        Negatives without text are left out; so is the box when no picture has one.
        ``caption``: when each picture's caption acts (DNP); ``None`` where there is none. ``remove``: a removal, which
        has a term where it is an ordinary negative (:func:`joins`); what else it is, :mod:`lib_negguide.removal` does.
        """
        schedule = schedule.in_sigma(sigmas)
        terms = [] if box_is_empty else [Term(BOX, schedule.box)]
        terms += [Term(TEXT, negative, negative.text) for negative in schedule.negatives if negative.text.strip()]
        if caption is not None:
            terms.append(Term(CAPTION, caption.in_sigma(sigmas)))
        if remove is not None and joins(remove):
            terms.append(Term(TEXT, remove.in_sigma(sigmas), remove.text))
        return cls(tuple(terms), schedule.combine)

    def at(self, step: StepInfo) -> StepPlan:
        """What to do at one model call."""
        strengths = tuple(term.strength(step.sigma) for term in self.terms)
        if self.combine == "join":
            return StepPlan(joined(strengths), strengths=strengths)
        active = tuple((index, s) for index, s in enumerate(strengths) if s > 0.0)
        return StepPlan((((), 1.0),), active, self.combine == "perp-neg", strengths)

    def subsets(self) -> List[Subset]:
        """Every subset that some call can name, so that all texts are encoded before sampling.

        Between two ends of windows the same terms act; where one of them has a curve, a
        grid is walked. An ordering of crossing curves that falls between two grid points
        is still answered by :meth:`at`, and an adapter then encodes on demand.
        """
        if self.combine != "join":
            return [()] + [(index,) for index in range(len(self.terms))]
        ends = {end for term in self.terms for end in (term.window.start, term.window.stop) if end}
        edges = sorted(ends | {SIGMA_LOW, SIGMA_HIGH})
        found: Dict[Subset, None] = {(): None}
        for low, high in zip(edges, edges[1:]):
            middle = math.sqrt(low * high)
            curved = any(term.window.curve != "constant" and term.acts_at(middle) for term in self.terms)
            sigmas = np.geomspace(low, high, 130)[1:-1].tolist() if curved else [middle]
            for sigma in sigmas:
                for subset, _ in self.at(StepInfo(sigma)).uncond:
                    found[subset] = None
        return list(found)

    def texts(self, subset: Subset, box_texts: Sequence[str], captions: Optional[Sequence[str]] = None, also: str = "") -> List[str]:
        """The negative prompt of a subset for each picture, given the pictures' box texts and captions.

        ``also``: a text behind them, that of a removal.
        """
        terms = [self.terms[index] for index in subset]
        joined_texts = []
        for picture, box in enumerate(box_texts):
            own = {BOX: box, CAPTION: captions[picture] if captions else ""}
            texts = [*(own.get(term.source, term.text) for term in terms), also]
            joined_texts.append(", ".join(text for text in texts if text.strip()))
        return joined_texts


def joined(strengths: Sequence[float]) -> Tuple[Tuple[Subset, float], ...]:
    """Weights of joined texts whose sum is one unconditional embedding, for several strengths at once.

    One negative: ``w * E + (1 - w) * E_empty`` (muerrilla's NPW). Several with equal
    strengths: the same with the joined text. With unequal ones, the terms are sorted by
    strength and nested joins are mixed, ``sum_k (w_k - w_(k+1)) E(top k) + (1 - w_1) E_empty``
    (the Lovasz extension of subset -> embedding): continuous in every strength, exact
    where they are 0 or equal, and a negative that fades out leaves the others' joined text.
    """
    order = sorted((i for i, s in enumerate(strengths) if s > 0.0), key=lambda i: (-strengths[i], i))
    mix: List[Tuple[Subset, float]] = []
    for rank, index in enumerate(order):
        below = strengths[order[rank + 1]] if rank + 1 < len(order) else 0.0
        if strengths[index] != below:
            mix.append((tuple(sorted(order[: rank + 1])), strengths[index] - below))
    rest = 1.0 - (strengths[order[0]] if order else 0.0)
    if rest != 0.0:
        mix.append(((), rest))
    return tuple(mix)
