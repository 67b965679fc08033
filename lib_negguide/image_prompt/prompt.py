"""Pictures as prompts of a run: what each side of guidance gets at a noise level.

A side's pictures are summed, each by its weight at that level. The two predictions of guidance should differ in what
is shown, not in how much image there is, so the side with less is filled up with the *neutral* picture (the projection
of nothing, IP-Adapter's own unconditional input): with W = max(sum of negative weights, sum of positive weights), the
unconditional rows get their pictures and (W - negative sum) x neutral, the conditional ones accordingly. So a negative
of weight 0 is as no negative, a positive picture alone is sampled as ever, a negative one alone has the neutral picture
opposite, and a negative and a positive one of equal weight are diffusers' ``cat([negative, positive])``. Where W is 0
nothing is added at all.

What a negative and a positive picture of equal weight share is in both predictions and cancels to first order: it is
neither wanted nor avoided. Who wants it gone can also *subtract*: the positive picture's features minus so much of the
mean of the negative pictures' that act then, before the projection (ComfyUI_IPAdapter_plus has this as its way
"subtract" of combining embeddings). Features of CLIP are close to linear in what is shown, so the rest is what only
the positive picture shows, and the negative one can push the shared part out without being held.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import torch

from lib_negguide.image_prompt import checkpoints, encoder, files, injection, weights
from lib_negguide.image_prompt.checkpoints import Adapter
from lib_negguide.image_prompt.encoder import Picture
from lib_negguide.image_prompt.injection import ImageTokens, Row
from lib_negguide.image_prompt.store import Store, picture_of
from lib_negguide.schedule import inside, strength
from lib_negguide.settings import SIDES, ImagePrompt, Window

NEGATIVE, POSITIVE = SIDES
Subset = Tuple[int, ...]
"""Indices of negative entries that act at the same time, rising."""
REMEMBERED = 16
"""Pictures whose keys and values are kept (some 10 MB each)."""


@dataclass(frozen=True)
class Entry:
    """A picture on one side, with its window in sigma. ``name``: for the trace."""

    picture: Picture
    side: str = NEGATIVE
    window: Window = field(default_factory=Window)
    name: str = ""

    def acts_at(self, sigma: float) -> bool:
        """Is ``sigma`` in the window of a picture that has a weight?"""
        return self.window.weight > 0.0 and inside(sigma, self.window.start, self.window.stop)

    def strength(self, sigma: float) -> float:
        w = self.window
        return strength(sigma, w.start, w.stop, w.weight, w.curve, w.points)


def entries(prompts: Sequence[ImagePrompt], store: Store, path: str = "images") -> List[Entry]:
    """Image prompts of settings whose windows are in sigma (:meth:`Settings.in_sigma`); those of weight 0 are left out.

    Raises :class:`SettingsError` naming the field below ``path`` for a picture that cannot be had.
    """
    out = []
    for number, one in enumerate(prompts):
        image = picture_of(one, store, f"{path}[{number}].image")
        if one.weight > 0.0:
            out.append(Entry(Picture(image, one.noise, one.amount, one.seed), one.side, one, one.name or str(number + 1)))
    return out


@dataclass(frozen=True)
class ImagePrompts:
    """Entries, ready to act: ``tokens`` of each, and of nothing (``neutral``).

    ``without``: tokens of a positive entry with negative ones subtracted, by its index and theirs.
    """

    entries: Tuple[Entry, ...]
    tokens: Tuple[ImageTokens, ...]
    neutral: ImageTokens
    without: Mapping[Tuple[int, Subset], ImageTokens] = field(default_factory=dict)

    @property
    def names(self) -> Tuple[str, ...]:
        return tuple(f"{entry.side} picture {entry.name or number}" for number, entry in enumerate(self.entries, 1))

    def strengths(self, sigma: float) -> Tuple[float, ...]:
        """The weight of each entry at a noise level."""
        return tuple(entry.strength(sigma) for entry in self.entries)

    def rows(self, sigma: float) -> Dict[str, Row]:
        """Side to the tokens and weights of its rows; both are empty where nothing acts."""
        sides: Dict[str, List[Tuple[ImageTokens, float]]] = {side: [] for side in SIDES}
        avoided = _avoided(self.entries, sigma)
        for index, (entry, tokens, weight) in enumerate(zip(self.entries, self.tokens, self.strengths(sigma))):
            if weight > 0.0:
                sides[entry.side].append((self.without.get((index, avoided), tokens), weight))
        sums = {side: sum(weight for _, weight in row) for side, row in sides.items()}
        for side, row in sides.items():
            lacking = max(sums.values()) - sums[side]
            if lacking > 1e-6:  # beyond what rounding makes
                row.append((self.neutral, lacking))
        return sides

    def only(self, side: str) -> Optional[ImagePrompts]:
        """Without the other side's pictures; ``None`` if nothing is left."""
        kept = [(entry, tokens) for entry, tokens in zip(self.entries, self.tokens) if entry.side == side]
        return replace(self, entries=tuple(e for e, _ in kept), tokens=tuple(t for _, t in kept), without={}) if kept else None


def _avoided(entries: Sequence[Entry], sigma: float) -> Subset:
    return tuple(index for index, entry in enumerate(entries) if entry.side == NEGATIVE and entry.acts_at(sigma))


def _together(entries: Sequence[Entry]) -> List[Subset]:
    """Every set of negative entries that acts at some noise level."""
    ends = {end for entry in entries for end in (entry.window.start, entry.window.stop) if end is not None}
    edges = [0.0, *sorted(ends), math.inf]
    levels = [*edges, *(low + 1.0 if high == math.inf else (low + high) / 2 for low, high in zip(edges, edges[1:]))]
    return [subset for subset in dict.fromkeys(_avoided(entries, level) for level in levels) if subset]


_kept: Dict[str, Adapter] = {}
_memory: OrderedDict = OrderedDict()
"""ImageTokens by (adapter, encoder, pictures)."""


def release() -> None:
    """Give back what is remembered and kept: adapter, keys and values, features. The encoder is kept with the captioners."""
    for memory in (_kept, _memory):
        memory.clear()
    encoder.forget()


def prepare(entries: Sequence[Entry], adapter, unet: torch.nn.Module, *, subtract: float = 0.0,
            image_encoder: str = "", folders: Sequence[Path] = (), device="cpu", dtype: Optional[torch.dtype] = None,
            keep: str = "unload", tick=None) -> ImagePrompts:
    """Encode and project what has not been seen before; ``unet`` is only looked at.

    ``adapter``: a checkpoint file; ``subtract``: how much of the negative pictures' features positive ones lose;
    ``image_encoder`` and ``folders``: see :func:`~.encoder.find`. ``device`` and ``dtype`` are the encoder's; the
    adapter computes on the CPU unless ``keep`` is "loaded": its work is small and done once. ``keep``: as for
    captioners. Raises :class:`ModelError` naming what is missing or does not fit.
    """
    outline, key = files.look(adapter), weights.key_of(Path(adapter))
    injection.check(outline, unet)
    found = encoder.find(image_encoder, outline, folders)
    pictures = [entry.picture for entry in entries]
    wanted = [_Wanted(picture) for picture in pictures]
    places: List[Tuple[int, Subset]] = []
    if subtract:
        places = [(index, subset) for index, entry in enumerate(entries) if entry.side == POSITIVE for subset in _together(entries)]
        wanted += [_Wanted(pictures[index], tuple(pictures[other] for other in subset), subtract) for index, subset in places]
    wanted.append(_Wanted(None))
    keys = [(key, found.key, one.key) for one in wanted]
    new = {k: one for k, one in zip(keys, wanted) if k not in _memory}
    out = {k: _memory[k] for k in keys if k in _memory}
    if new:
        parts = [part for one in new.values() for part in (one.picture, *one.minus)]
        shown = iter(encoder.features(parts, found, outline.feature, device=device, dtype=dtype, keep=keep, tick=tick))
        whole = _kept.get(key) or checkpoints.load(adapter)
        place = torch.device(device if keep == "loaded" else "cpu")
        with torch.no_grad():
            for k, one in new.items():
                features = one.rest(next(shown), [next(shown) for _ in one.minus])
                out[k] = _memory[k] = injection.image_tokens(whole.to(place), whole.tokens(features.to(place))[0])
        _kept.clear()
        if keep != "unload":
            _kept[key] = whole
    for k in keys:
        _memory.move_to_end(k)
    while len(_memory) > max(REMEMBERED, len(set(keys))):
        _memory.popitem(last=False)
    tokens = [out[k] for k in keys]
    count = len(entries)
    return ImagePrompts(tuple(entries), tuple(tokens[:count]), tokens[-1], dict(zip(places, tokens[count:-1])))


@dataclass(frozen=True)
class _Wanted:
    """What tokens are made of: a picture or nothing, minus so much of the mean of others."""

    picture: Optional[Picture]
    minus: Tuple[Picture, ...] = ()
    amount: float = 0.0

    @property
    def key(self) -> Tuple:
        return ("" if self.picture is None else self.picture.key, *(other.key for other in self.minus), self.amount)

    def rest(self, features: torch.Tensor, others: Sequence[torch.Tensor]) -> torch.Tensor:
        """Features (1, E) or (1, P, E) of the picture without those of the others."""
        return features - self.amount * sum(others) / len(others) if others else features
