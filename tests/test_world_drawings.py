"""Drawings and captions of the small world."""

import random
from collections import defaultdict
from itertools import product

import numpy as np
import pytest

from tests.world import captions, draw
from tests.world.draw import ATTRIBUTES, COLOURS, SHAPES, Attributes

PORTRAITS = [
    Attributes("portrait", worn=tuple(name for name, worn in zip(ATTRIBUTES, flags, strict=True) if worn))
    for flags in product([False, True], repeat=len(ATTRIBUTES))
]
THINGS = [(colour, shape) for colour in COLOURS for shape in SHAPES]
SINGLES = [Attributes("one shape", shapes=(thing,)) for thing in THINGS]
PAIRS = [Attributes("two shapes", shapes=(left, right)) for left in THINGS for right in THINGS if left != right]


def test_a_seed_gives_the_same_picture() -> None:
    for index in range(20):
        picture, attributes = draw.draw(f"test {index}")
        again, same = draw.draw(f"test {index}")
        assert attributes == same
        assert picture.size == (64, 64)
        assert np.array_equal(np.asarray(picture), np.asarray(again))


def test_kinds_and_attributes_come_in_their_shares() -> None:
    shown = [draw.draw(f"shares {index}")[1] for index in range(3000)]
    for kind, share in draw.KINDS.items():
        assert sum(a.kind == kind for a in shown) / len(shown) == pytest.approx(share, abs=0.04)
    portraits = [a for a in shown if a.kind == "portrait"]
    for name in ATTRIBUTES:
        assert sum(name in a.worn for a in portraits) / len(portraits) == pytest.approx(draw.WORN_SHARE, abs=0.05)


@pytest.mark.parametrize("index", range(40))
def test_what_is_worn_shows(index: int) -> None:
    """Drawing differs where an attribute does, and nowhere else does the seed's order shift."""
    picture, attributes = draw.draw(f"shows {index}")
    assert attributes.kind in draw.KINDS
    if attributes.kind == "portrait":
        assert set(attributes.worn) <= set(ATTRIBUTES)
    else:
        assert len(attributes.shapes) == (1 if attributes.kind == "one shape" else 2)
        assert len(set(attributes.shapes)) == len(attributes.shapes)
    assert np.asarray(picture).std() > 10


def caption_frequencies(pictures: list[Attributes], count: int) -> dict[str, dict[Attributes, float]]:
    """For each caption, the share of `count` captions that it takes, by picture."""
    frequencies: dict[str, dict[Attributes, float]] = defaultdict(dict)
    for attributes in pictures:
        rng = random.Random(str(attributes))
        for _ in range(count):
            said = captions.caption(attributes, rng)
            frequencies[said][attributes] = frequencies[said].get(attributes, 0) + 1 / count
    return frequencies


def true_of(said: str, attributes: Attributes) -> bool:
    """Whether a portrait's caption is true: tags starting with a face tell all, others a part."""
    named = {name for name in ATTRIBUTES if name in said}
    if said.startswith(("a face", "a bare face")):
        return named == set(attributes.worn)
    return named <= set(attributes.worn)


def test_a_portraits_caption_is_as_likely_for_every_portrait_it_is_true_of() -> None:
    count = 20_000
    frequencies = caption_frequencies(PORTRAITS, count)
    assert frequencies[captions.OPEN_PORTRAIT].keys() == set(PORTRAITS)
    for said, by_picture in frequencies.items():
        assert set(by_picture) <= {a for a in PORTRAITS if true_of(said, a)}, said
        if said.startswith(("a face", "a bare face")):
            continue
        expected = sum(by_picture.values()) / len(by_picture)
        slack = 5 * (expected / count) ** 0.5
        for attributes in PORTRAITS:
            if true_of(said, attributes):
                assert by_picture.get(attributes, 0) == pytest.approx(expected, abs=slack), (said, attributes)


def test_a_shapes_caption_is_as_likely_for_every_picture_it_is_true_of() -> None:
    count = 4000
    frequencies = caption_frequencies(SINGLES, count)
    for said in ("a circle", "a triangle", "a ring", "a red shape", "a shape"):
        words = said.split()[1:]
        fitting = [
            a for a in SINGLES if all(word == "shape" or word in a.shapes[0] for word in words)
        ]
        assert set(frequencies[said]) == set(fitting)
        expected = sum(frequencies[said].values()) / len(fitting)
        for share in frequencies[said].values():
            assert share == pytest.approx(expected, abs=5 * (expected / count) ** 0.5)


def test_pairs_are_told_in_any_order() -> None:
    rng = random.Random(0)
    attributes = Attributes("two shapes", shapes=(("red", "circle"), ("blue", "triangle")))
    said = {captions.caption(attributes, rng) for _ in range(500)}
    assert said == {
        "a red circle and a blue triangle",
        "a blue triangle and a red circle",
        "a circle and a triangle",
        "a triangle and a circle",
        "a red shape and a blue shape",
        "a blue shape and a red shape",
        "two shapes",
        "red circle, blue triangle",
        "blue triangle, red circle",
    }


def test_no_caption_says_what_is_absent() -> None:
    rng = random.Random(1)
    for attributes in PORTRAITS + SINGLES + PAIRS:
        for _ in range(60):
            said = captions.caption(attributes, rng).replace(",", " ,").split()
            assert not {"without", "no", "not"} & set(said)
            assert set(said) <= set(captions.WORDS)


def test_every_pair_has_one_full_caption() -> None:
    singles, pairs = captions.all_shape_prompts()
    assert len(singles) == len(set(singles)) == len(SINGLES)
    assert len(pairs) == len(set(pairs)) == len(PAIRS)
