"""Draws the pictures of the small world: portraits, and shapes on plain backgrounds.

Everything follows from a seed. Pictures are drawn four times too large and reduced, so
that edges are smooth; sizes and colours are chosen for what 8×8 latents can carry.
"""

import math
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

SIZE = 64
OVERSAMPLE = 4

ATTRIBUTES = ("glasses", "mustache", "hat")
SHAPES = ("circle", "triangle", "ring")
COLOURS = {"red": (222, 40, 40), "green": (30, 150, 60), "blue": (40, 70, 225), "yellow": (246, 200, 10)}
KINDS = {"portrait": 0.5, "one shape": 0.22, "two shapes": 0.28}
# Guidance towards a person adds to what a person may wear, so each is drawn in less than half.
WORN_SHARE = 0.46

_PLAIN = [(240, 240, 240), (214, 228, 242), (246, 224, 226), (220, 238, 222), (230, 222, 244), (238, 230, 216)]
_WALLS = [(168, 196, 222), (196, 176, 214), (176, 206, 176), (222, 206, 170), (204, 204, 208), (226, 182, 178),
          (134, 160, 190), (150, 182, 168)]  # fmt: skip
_SKINS = [(250, 220, 196), (238, 198, 164), (214, 166, 124), (168, 116, 78), (124, 82, 56)]
_HAIR = [(36, 28, 26), (88, 56, 34), (150, 96, 46), (226, 190, 110), (176, 72, 36), (150, 150, 154)]
_SHIRTS = [(178, 44, 50), (42, 78, 160), (48, 122, 76), (236, 236, 230), (226, 150, 40), (96, 56, 130), (60, 60, 66)]
_HATS = [(150, 26, 40), (28, 52, 120), (24, 92, 62), (52, 40, 36), (212, 140, 30), (90, 40, 110)]
_MUSTACHES = [(26, 20, 18), (64, 38, 22), (44, 34, 32)]


@dataclass(frozen=True)
class Attributes:
    """What a picture shows: `worn` for a portrait, (colour, shape) from left to right otherwise."""

    kind: str
    worn: tuple[str, ...] = ()
    shapes: tuple[tuple[str, str], ...] = ()


def _vary(colour: tuple[int, int, int], rng: random.Random, amount: int) -> tuple[int, ...]:
    return tuple(max(0, min(255, channel + rng.randint(-amount, amount))) for channel in colour)


class _Canvas:
    """A large canvas with coordinates in pixels of the finished picture."""

    def __init__(self, background: tuple[int, ...]) -> None:
        self.image = Image.new("RGB", (SIZE * OVERSAMPLE,) * 2, background)
        self._draw = ImageDraw.Draw(self.image)

    def ellipse(self, x, y, rx, ry, fill=None, outline=None, width=0.0):
        box = [OVERSAMPLE * value for value in (x - rx, y - ry, x + rx, y + ry)]
        self._draw.ellipse(box, fill=fill, outline=outline, width=round(width * OVERSAMPLE))

    def polygon(self, points, fill):
        self._draw.polygon([(x * OVERSAMPLE, y * OVERSAMPLE) for x, y in points], fill=fill)

    def box(self, left, top, right, bottom, fill, radius=0.0):
        box = [OVERSAMPLE * value for value in (left, top, right, bottom)]
        self._draw.rounded_rectangle(box, radius=radius * OVERSAMPLE, fill=fill)

    def finished(self) -> Image.Image:
        return self.image.resize((SIZE, SIZE), Image.BOX)


def _portrait(rng: random.Random) -> tuple[Image.Image, Attributes]:
    worn = tuple(name for name in ATTRIBUTES if rng.random() < WORN_SHARE)
    canvas = _Canvas(_vary(rng.choice(_WALLS), rng, 8))
    skin = _vary(rng.choice(_SKINS), rng, 6)
    hair = _vary(rng.choice(_HAIR), rng, 8)
    shirt = _vary(rng.choice(_SHIRTS), rng, 8)
    hat = _vary(rng.choice(_HATS), rng, 8)
    mustache = rng.choice(_MUSTACHES)
    long_hair = rng.random() < 0.4
    x, y = 32 + rng.uniform(-2, 2), 34 + rng.uniform(-1, 1)
    rx, ry = rng.uniform(14, 16), rng.uniform(18, 20)

    if long_hair:
        canvas.box(x - rx - 4, y - 12, x + rx + 4, y + 19, hair, radius=8)
    canvas.ellipse(x, y + 34, 25, 17, fill=shirt)
    canvas.box(x - 6, y + 10, x + 6, y + 22, tuple(int(0.9 * channel) for channel in skin), radius=3)
    canvas.ellipse(x, y - 4, rx + 3, ry + 1, fill=hair)
    canvas.ellipse(x, y + 2, rx, ry - 1, fill=skin)
    for side in (-1, 1):
        canvas.ellipse(x + side * 7, y - 1, 2.0, 2.2, fill=(30, 26, 30))
    canvas.polygon([(x, y + 1), (x - 2, y + 7), (x + 2, y + 7)], tuple(int(0.82 * channel) for channel in skin))
    canvas.box(x - 5, y + 13.5, x + 5, y + 15.5, (176, 62, 66), radius=1)
    if "mustache" in worn:
        for side in (-1, 1):
            canvas.ellipse(x + side * 4.5, y + 10, 6, 3.0, fill=mustache)
    if "glasses" in worn:
        canvas.box(x - rx - 1, y - 2.2, x + rx + 1, y - 0.2, (16, 16, 22))
        for side in (-1, 1):
            canvas.ellipse(x + side * 7.5, y - 1, 7, 6.5, fill=(206, 232, 246), outline=(16, 16, 22), width=2.2)
            canvas.ellipse(x + side * 7, y - 1, 2.0, 2.2, fill=(30, 26, 30))
    if "hat" in worn:
        canvas.box(x - 14, y - 32, x + 14, y - 11, hat, radius=4)
        canvas.box(x - 14, y - 17, x + 14, y - 13, tuple(int(0.6 * channel) for channel in hat))
        canvas.box(x - 23, y - 14, x + 23, y - 9.5, hat, radius=2)
    return canvas.finished(), Attributes("portrait", worn=worn)


def _shape(canvas: _Canvas, shape: str, x: float, y: float, size: float, fill, background) -> None:
    half = size / 2
    if shape == "triangle":
        canvas.polygon([(x, y - half), (x - 1.1 * half, y + 0.9 * half), (x + 1.1 * half, y + 0.9 * half)], fill)
    else:
        canvas.ellipse(x, y, half, half, fill=fill)
    if shape == "ring":
        canvas.ellipse(x, y, 0.52 * half, 0.52 * half, fill=background)


def _places(rng: random.Random) -> list[tuple[float, float, float]]:
    """Centre and size of two shapes that don't touch, anywhere, but one clearly to the left."""
    while True:
        (x, y, size), (x2, y2, size2) = sorted(
            (rng.uniform(14, 50), rng.uniform(14, 50), rng.uniform(20, 24)) for _ in range(2)
        )
        if x2 - x >= 14 and math.dist((x, y), (x2, y2)) >= (size + size2) / 2 + 3:
            return [(x, y, size), (x2, y2, size2)]


def _shapes(rng: random.Random, count: int) -> tuple[Image.Image, Attributes]:
    things = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    chosen = rng.sample(things, count)
    background = _vary(rng.choice(_PLAIN), rng, 6)
    canvas = _Canvas(background)
    places = _places(rng) if count == 2 else [(32 + rng.uniform(-6, 6), 32 + rng.uniform(-6, 6), rng.uniform(30, 40))]
    for (colour, shape), (x, y, size) in zip(chosen, places, strict=True):
        _shape(canvas, shape, x, y, size, _vary(COLOURS[colour], rng, 8), background)
    return canvas.finished(), Attributes("one shape" if count == 1 else "two shapes", shapes=tuple(chosen))


def draw(seed: int | str) -> tuple[Image.Image, Attributes]:
    """Picture (64×64, RGB) and what it shows, from a seed alone.

    Training, the judge and the tests use seeds of different names ("train 17", "judge 4"),
    so that none sees the pictures of another.
    """
    rng = random.Random(seed)
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    if kind == "portrait":
        return _portrait(rng)
    return _shapes(rng, 1 if kind == "one shape" else 2)


def draw_background(seed: int | str) -> Image.Image:
    """A picture with nothing on it, from a seed alone: the judge's class of nothing."""
    rng = random.Random(seed)
    return Image.new("RGB", (SIZE, SIZE), _vary(rng.choice(_PLAIN + _WALLS), rng, 8))
