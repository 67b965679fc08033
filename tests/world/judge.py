"""The judge: a small classifier that tells what is in a 64×64 picture.

It is trained on drawn pictures only (`train_judge.py`), and serves tests and benchmarks;
no method of the project may use it.
"""

import re
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.world.draw import ATTRIBUTES, COLOURS, SHAPES

WEIGHTS = Path(__file__).parent / "model" / "judge.safetensors"
KINDS = ("portrait", "one shape", "two shapes", "none")
COLOUR_NAMES = tuple(COLOURS)
SLOTS = 2  # the only or left shape, the right shape

# Columns of the network's output.
_KIND = slice(0, 4)
_WORN = slice(4, 7)
_FIRST_SHAPE = 7
_PER_SLOT = len(SHAPES) + len(COLOURS)
OUTPUTS = _FIRST_SHAPE + SLOTS * _PER_SLOT


@dataclass(frozen=True)
class Verdict:
    """What the judge sees: attributes of a portrait, or (colour, shape) from left to right."""

    kind: str
    glasses: bool = False
    mustache: bool = False
    hat: bool = False
    shapes: tuple[tuple[str, str], ...] = ()

    @property
    def worn(self) -> tuple[str, ...]:
        return tuple(name for name in ATTRIBUTES if getattr(self, name))

    def satisfies(self, prompt: str) -> bool:
        """Whether the picture shows what a prompt of the small world asks for.

        Portraits: a person with everything that the prompt names, whatever else they wear.
        Shapes: exactly as many as named, in any order, colour or shape free where not named.
        Raises ValueError for a prompt that is about neither.
        """
        said = re.findall(r"[a-z]+", prompt.lower())
        if "without" in said:
            raise ValueError(f"prompt {prompt!r}: say what must be there, not what must not")
        if {"portrait", "person", "face"} & set(said):
            asked = [name for name in ATTRIBUTES if name in said]
            return self.kind == "portrait" and all(getattr(self, name) for name in asked)
        wanted = _shapes_asked(said)
        if not wanted:
            raise ValueError(f"prompt {prompt!r}: names neither a person nor a shape")
        if len(wanted) != len(self.shapes):
            return False
        return any(
            all(_fits(thing, want) for thing, want in zip(order, wanted, strict=True))
            for order in permutations(self.shapes)
        )


def _shapes_asked(said: list[str]) -> list[tuple[str | None, str | None]]:
    """(colour or None, shape or None) of each shape named by the words of a prompt."""
    if "shapes" in said:
        return [(None, None)] * (2 if "two" in said else 1)
    wanted, colour = [], None
    for word in said:
        if word in COLOURS:
            colour = word
        elif word in SHAPES or word == "shape":
            wanted.append((colour, word if word in SHAPES else None))
            colour = None
    return wanted


def _fits(thing: tuple[str, str], want: tuple[str | None, str | None]) -> bool:
    return all(wanted is None or wanted == seen for seen, wanted in zip(thing, want, strict=True))


class Network(nn.Module):
    """Pictures (B,3,64,64) in 0..1 to logits (B,21)."""

    def __init__(self) -> None:
        super().__init__()
        blocks = [nn.Conv2d(3, 24, 5, stride=2, padding=2), nn.BatchNorm2d(24), nn.ReLU()]
        for before, after in ((24, 48), (48, 64), (64, 96)):
            blocks += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(96 * 16, 128), nn.ReLU(), nn.Linear(128, OUTPUTS))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images * 2 - 1))


def split(logits: Tensor) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
    """Logits of the kind (B,4), of what is worn (B,3), and per slot of colour (B,4) and shape (B,3)."""
    slots = []
    for slot in range(SLOTS):
        start = _FIRST_SHAPE + slot * _PER_SLOT
        middle = start + len(COLOURS)
        slots.append((logits[:, start:middle], logits[:, middle : start + _PER_SLOT]))
    return logits[:, _KIND], logits[:, _WORN], slots


class Judge:
    """`Judge.load()(images)` gives one `Verdict` a picture."""

    def __init__(self, network: Network) -> None:
        self._network = network.eval()

    @classmethod
    def load(cls, path: Path | str | None = None) -> "Judge":
        """The judge of a weights file; without a path, the one beside the model."""
        network = Network()
        network.load_state_dict({key: value.float() for key, value in load_file(str(path or WEIGHTS)).items()})
        return cls(network)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> list[Verdict]:
        """Verdicts of pictures (B,3,64,64), floats in 0..1."""
        kinds, worn, slots = split(torch.cat([self._network(part) for part in images.float().split(100)]))
        colours = [colour.argmax(1).tolist() for colour, _ in slots]
        shapes = [shape.argmax(1).tolist() for _, shape in slots]
        verdicts = []
        for index, kind in enumerate(KINDS[best] for best in kinds.argmax(1).tolist()):
            if kind == "portrait":
                verdicts.append(Verdict(kind, *(worn[index] > 0).tolist()))
                continue
            count = {"one shape": 1, "two shapes": 2, "none": 0}[kind]
            seen = [(COLOUR_NAMES[colours[slot][index]], SHAPES[shapes[slot][index]]) for slot in range(count)]
            verdicts.append(Verdict(kind, shapes=tuple(seen)))
        return verdicts
