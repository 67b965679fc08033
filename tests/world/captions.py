"""Captions in plain English for drawn pictures.

The rule that matters: the probability of a caption, given a picture, is the same for
every picture that the caption is true of. A model trained on such captions takes what a
caption leaves open as open. If "a portrait of a person" were written more often for
bare faces, the model would learn it as "a bare face", and guidance would amplify that.
So what to mention is drawn *before* looking at the picture; when the picture does not
have it, the caption falls back to a wording of its own that tells exactly what is there.
No caption says what is absent.
"""

import random
from collections.abc import Sequence
from itertools import combinations

from tests.world.draw import ATTRIBUTES, COLOURS, SHAPES, Attributes

# What the captions may say, and a few words around them that later prompts may use;
# each of their tokens gets an embedding row of its own.
WORDS = (
    *"a an the and with on of in , . portrait person face bare glasses mustache hat wearing".split(),
    *"shape shapes two one circle triangle ring red green blue yellow".split(),
)

EMPTY_SHARE = 0.10
PORTRAIT_STYLES = {"open": 0.35, "sentence": 0.45, "short": 0.20}
SUBSET_SIZES = {1: 0.75, 2: 0.18, 3: 0.07}
SINGLE_STYLES = {"full": 0.64, "shape": 0.14, "colour": 0.08, "open": 0.07, "short": 0.07}
PAIR_STYLES = {"full": 0.50, "shapes": 0.15, "colours": 0.10, "open": 0.15, "short": 0.10}

OPEN_PORTRAIT = "a portrait of a person"


def _pick(weights: dict, rng: random.Random):
    return rng.choices(list(weights), list(weights.values()))[0]


def _article(attribute: str) -> str:
    return attribute if attribute == "glasses" else f"a {attribute}"


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def subset(rng: random.Random) -> list[str]:
    """What a caption shall mention of a portrait, in random order, drawn blindly."""
    size = _pick(SUBSET_SIZES, rng)
    chosen = list(rng.choice(list(combinations(ATTRIBUTES, size))))
    rng.shuffle(chosen)
    return chosen


def complete_portrait(worn: list[str]) -> str:
    """The wording that tells exactly what a portrait wears."""
    return ", ".join(["a face", *worn]) if worn else "a bare face"


def portrait_with(worn: Sequence[str]) -> str:
    """A portrait as a sentence that names some of what is worn, in this order."""
    return f"{OPEN_PORTRAIT} with {_join([_article(name) for name in worn])}"


def portrait_caption(attributes: Attributes, rng: random.Random) -> str:
    style = _pick(PORTRAIT_STYLES, rng)
    if style == "open":
        return OPEN_PORTRAIT
    chosen = subset(rng)
    with_article = [rng.random() < 0.5 for _ in chosen]
    if not set(chosen) <= set(attributes.worn):
        worn = list(attributes.worn)
        rng.shuffle(worn)
        return complete_portrait(worn)
    if style == "sentence":
        return portrait_with(chosen)
    return ", ".join(_article(name) if article else name for name, article in zip(chosen, with_article, strict=True))


def shapes_caption(attributes: Attributes, rng: random.Random) -> str:
    """Caption of one or two shapes, these in any order: which is where is left open."""
    things = rng.sample(attributes.shapes, len(attributes.shapes))
    if len(things) == 1:
        colour, shape = things[0]
        return {
            "full": f"a {colour} {shape}",
            "shape": f"a {shape}",
            "colour": f"a {colour} shape",
            "open": "a shape",
            "short": f"{colour} {shape}",
        }[_pick(SINGLE_STYLES, rng)]
    return {
        "full": " and ".join(f"a {colour} {shape}" for colour, shape in things),
        "shapes": " and ".join(f"a {shape}" for _, shape in things),
        "colours": " and ".join(f"a {colour} shape" for colour, _ in things),
        "open": "two shapes",
        "short": ", ".join(f"{colour} {shape}" for colour, shape in things),
    }[_pick(PAIR_STYLES, rng)]


def caption(attributes: Attributes, rng: random.Random) -> str:
    """One caption of a picture; drawn anew each time that the picture is trained on."""
    if attributes.kind == "portrait":
        return portrait_caption(attributes, rng)
    return shapes_caption(attributes, rng)


def all_shape_prompts() -> tuple[list[str], list[str]]:
    """Every full caption of one shape, and every one of two different shapes."""
    single = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
    pairs = [f"a {left} and a {right}" for left in single for right in single if left != right]
    return [f"a {thing}" for thing in single], pairs
