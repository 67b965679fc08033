"""Pictures as prompts of a run: what each side of guidance gets at a noise level.

A side's pictures are summed, each by its weight at that level. The two predictions of guidance should differ in what
is shown, not in how much image there is, so the side with less is filled up with the *neutral* picture (the projection
of nothing, IP-Adapter's own unconditional input): with W = max(sum of negative weights, sum of positive weights), the
unconditional rows get their pictures and (W - negative sum) x neutral, the conditional ones accordingly. So a negative
of weight 0 is as no negative, a positive picture alone is sampled as ever, a negative one alone has the neutral picture
opposite, and a negative and a positive one of equal weight are diffusers' ``cat([negative, positive])``. Where W is 0
nothing is added at all.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import torch

from lib_negguide.image_prompt import checkpoints, encoder, files, injection, weights
from lib_negguide.image_prompt.checkpoints import Adapter
from lib_negguide.image_prompt.encoder import Picture
from lib_negguide.image_prompt.injection import ImageTokens, Row
from lib_negguide.image_prompt.store import Store, picture_of
from lib_negguide.schedule import strength
from lib_negguide.settings import SIDES, ImagePrompt, Window

NEGATIVE, POSITIVE = SIDES
REMEMBERED = 16
"""Pictures whose keys and values are kept (some 10 MB each)."""


@dataclass(frozen=True)
class Entry:
    """A picture on one side, with its window in sigma. ``name``: for the trace."""

    picture: Picture
    side: str = NEGATIVE
    window: Window = field(default_factory=Window)
    name: str = ""

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
    """Entries, ready to act: ``tokens`` of each, and of nothing (``neutral``)."""

    entries: Tuple[Entry, ...]
    tokens: Tuple[ImageTokens, ...]
    neutral: ImageTokens

    @property
    def names(self) -> Tuple[str, ...]:
        return tuple(f"{entry.side} picture {entry.name or number}" for number, entry in enumerate(self.entries, 1))

    def strengths(self, sigma: float) -> Tuple[float, ...]:
        """The weight of each entry at a noise level."""
        return tuple(entry.strength(sigma) for entry in self.entries)

    def rows(self, sigma: float) -> Dict[str, Row]:
        """Side to the tokens and weights of its rows; both are empty where nothing acts."""
        sides: Dict[str, List[Tuple[ImageTokens, float]]] = {side: [] for side in SIDES}
        for entry, tokens, weight in zip(self.entries, self.tokens, self.strengths(sigma)):
            if weight > 0.0:
                sides[entry.side].append((tokens, weight))
        sums = {side: sum(weight for _, weight in row) for side, row in sides.items()}
        for side, row in sides.items():
            lacking = max(sums.values()) - sums[side]
            if lacking > 1e-6:  # beyond what rounding makes
                row.append((self.neutral, lacking))
        return sides

    def only(self, side: str) -> Optional[ImagePrompts]:
        """Without the other side's pictures; ``None`` if nothing is left."""
        kept = [(entry, tokens) for entry, tokens in zip(self.entries, self.tokens) if entry.side == side]
        return replace(self, entries=tuple(e for e, _ in kept), tokens=tuple(t for _, t in kept)) if kept else None


_kept: Dict[str, Adapter] = {}
_memory: OrderedDict = OrderedDict()
"""ImageTokens by (adapter, encoder, picture)."""


def release() -> None:
    """Give back what is remembered and kept: adapter, keys and values, features. The encoder is kept with the captioners."""
    for memory in (_kept, _memory):
        memory.clear()
    encoder.forget()


def prepare(entries: Sequence[Entry], adapter, unet: torch.nn.Module, *, image_encoder: str = "", folders: Sequence[Path] = (),
            device="cpu", dtype: Optional[torch.dtype] = None, keep: str = "unload", tick=None) -> ImagePrompts:
    """Encode and project what has not been seen before; ``unet`` is only looked at.

    ``adapter``: a checkpoint file; ``image_encoder`` and ``folders``: see :func:`~.encoder.find`. ``device`` and
    ``dtype`` are the encoder's; the adapter computes on the CPU unless ``keep`` is "loaded": its work is small and
    done once. ``keep``: as for captioners. Raises :class:`ModelError` naming what is missing or does not fit.
    """
    outline, key = files.look(adapter), weights.key_of(Path(adapter))
    injection.check(outline, unet)
    found = encoder.find(image_encoder, outline, folders)
    pictures: List[Optional[Picture]] = [*(entry.picture for entry in entries), None]
    keys = [(key, found.key, "" if picture is None else picture.key) for picture in pictures]
    new = {k: picture for k, picture in zip(keys, pictures) if k not in _memory}
    out = {k: _memory[k] for k in keys if k in _memory}
    if new:
        shown = encoder.features(list(new.values()), found, outline.feature, device=device, dtype=dtype, keep=keep, tick=tick)
        whole = _kept.get(key) or checkpoints.load(adapter)
        place = torch.device(device if keep == "loaded" else "cpu")
        with torch.no_grad():
            for k, features in zip(new, shown):
                out[k] = _memory[k] = injection.image_tokens(whole.to(place), whole.tokens(features.to(place))[0])
        _kept.clear()
        if keep != "unload":
            _kept[key] = whole
    for k in keys:
        _memory.move_to_end(k)
    while len(_memory) > max(REMEMBERED, len(set(keys))):
        _memory.popitem(last=False)
    return ImagePrompts(tuple(entries), tuple(out[k] for k in keys[:-1]), out[keys[-1]])
