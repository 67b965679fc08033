"""What the removal bench takes away, where that is in a picture, and how far the rest is from what it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lib_negguide import world
from tests.world.ban import REGIONS
from tests.world.draw import ATTRIBUTES, COLOURS
from tests.world.judge import Judge, Verdict

NEAR = 90 / 255  # two colours are one where no channel differs by more
MARGIN = 3  # pixels around a shape that count as its place


@dataclass(frozen=True)
class Thing:
    """What is removed from what: ``shown``, ``gone`` and ``kept`` (everything else is as in the first verdict) by the judge."""

    name: str
    prompt: str
    shown: Callable[[Verdict], bool]
    gone: Callable[[Verdict], bool]
    kept: Callable[[Verdict, Verdict], bool]


def _worn(name: str) -> Thing:
    others = [other for other in ATTRIBUTES if other != name]
    return Thing(name, world.PROMPT,
                 lambda v: v.kind == "portrait" and getattr(v, name),
                 lambda v: v.kind == "portrait" and not getattr(v, name),
                 lambda before, v: v.kind == "portrait" and all(getattr(v, other) == getattr(before, other) for other in others))


def _one_circle(verdict: Verdict) -> bool:
    """Two shapes of two colours, one of them a circle."""
    return len({colour for colour, _ in verdict.shapes}) == 2 and [shape for _, shape in verdict.shapes].count("circle") == 1


def _other_kept(before: Verdict, verdict: Verdict) -> bool:
    return all(thing in verdict.shapes for thing in before.shapes if thing[1] != "circle")


THINGS = {name: _worn(name) for name in ATTRIBUTES}
THINGS["circle"] = Thing("circle", "two shapes", _one_circle, lambda v: all(shape != "circle" for _, shape in v.shapes), _other_kept)


def outside(thing: Thing, images: Tensor, verdicts: list[Verdict]) -> Tensor:
    """(B, 1, H, W), 0 in the thing's place: where draw.py can put it, or around the pixels of the circle's colour."""
    mask = torch.ones(len(images), 1, *images.shape[2:])
    if thing.name in REGIONS:
        left, top, right, bottom = REGIONS[thing.name]
        mask[..., top:bottom, left:right] = 0
        return mask
    for number, verdict in enumerate(verdicts):
        colour = next(colour for colour, shape in verdict.shapes if shape == "circle")
        wanted = torch.tensor(COLOURS[colour])[:, None, None] / 255
        rows, columns = ((images[number] - wanted).abs().amax(0) < NEAR).nonzero().unbind(1)
        if len(rows):
            top, left = max(int(rows.min()) - MARGIN, 0), max(int(columns.min()) - MARGIN, 0)
            mask[number, :, top:int(rows.max()) + MARGIN + 1, left:int(columns.max()) + MARGIN + 1] = 0
    return mask


def perceptual(judge: Judge, images: Tensor, others: Tensor) -> Tensor:
    """(B,) A distance as LPIPS', by the judge's layers: of their features, of length 1 over the channels, the mean squared difference."""
    total, x, y = torch.zeros(len(images)), images * 2 - 1, others * 2 - 1
    for layer in judge._network.features:
        x, y = layer(x), layer(y)
        if isinstance(layer, torch.nn.ReLU):
            total += (F.normalize(x, dim=1) - F.normalize(y, dim=1)).square().sum(1).mean((1, 2))
    return total
