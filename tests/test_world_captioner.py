"""The small captioner: what it may say, and what the shipped folder says of pictures that it has never seen."""

import json

import pytest
import torch

from tests.world import captioner, captions, data
from tests.world.draw import Attributes
from tests.world.train_captioner import backgrounds

PORTRAIT, SHAPE, SHAPES = "portrait", "one shape", "two shapes"


@pytest.mark.parametrize(("shown", "caption"), [
    (Attributes(PORTRAIT), "a bare face"),
    (Attributes(PORTRAIT, worn=("hat",)), "a portrait of a person with a hat"),
    (Attributes(PORTRAIT, worn=("hat", "glasses")), "a portrait of a person with glasses and a hat"),
    (Attributes(PORTRAIT, worn=("glasses", "mustache", "hat")), "a portrait of a person with glasses, a mustache and a hat"),
    (Attributes(SHAPE, shapes=(("red", "ring"),)), "a red ring"),
    (Attributes(SHAPES, shapes=(("red", "ring"), ("blue", "ring"))), "a red ring and a blue ring"),
    (Attributes("none"), "nothing"),
])  # fmt: skip
def test_descriptions(shown, caption):
    assert captioner.describe(shown) == caption
    assert captioner.agrees(caption, shown)


@pytest.mark.parametrize("caption", [
    "a portrait of a person", "a red ring", "a red ring and a blue circle", "a ring and a blue ring", "nothing", "",
    "a red ring and a blue ring and a blue ring", "a face and a red circle", "two shapes",
])  # fmt: skip
def test_other_captions_do_not_agree(caption):
    """Neither in what is missing nor in what is too much; "a portrait of a person" says that nothing is worn."""
    assert not captioner.agrees(caption, Attributes(SHAPES, shapes=(("red", "ring"), ("blue", "ring"))))
    assert not captioner.agrees(caption, Attributes(PORTRAIT, worn=("hat",)))


def test_shapes_may_be_told_in_any_order():
    assert captioner.agrees("a blue ring and a red circle", Attributes(SHAPES, shapes=(("red", "circle"), ("blue", "ring"))))


def test_the_vocabulary_is_the_worlds():
    words = set(captioner.VOCABULARY) - set(captioner.SPECIALS)
    assert words == {*captions.WORDS, captioner.NOTHING}
    assert (captioner.FOLDER / "vocab.txt").read_text().split() == list(captioner.VOCABULARY)


@pytest.fixture(scope="module")
def shipped():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield captioner.Captioner.load()
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def drawings():
    return data.draw_many("captioner", 200)


def right(captions, shown) -> float:
    return sum(map(captioner.agrees, captions, shown)) / len(shown)


def test_held_out_drawings(shipped, drawings):
    pixels, shown = drawings
    assert right(shipped(pixels), shown) >= 0.95


def test_empty_pictures(shipped):
    said = shipped(backgrounds("captioner held out", 20))
    assert sum(caption == captioner.NOTHING for caption in said) >= 19


@pytest.mark.parametrize("how", [{"num_beams": 1, "min_length": 0}, {"num_beams": 3, "min_length": 5}, {"num_beams": 3, "min_new_tokens": 12}])
def test_a_minimum_length_invents_nothing(shipped, drawings, how):
    pixels, shown = (part[:60] for part in drawings)
    assert right(shipped(pixels, **how), shown) >= 0.95


def test_size():
    assert sum(file.stat().st_size for file in captioner.FOLDER.iterdir()) < 8_000_000


def test_recorded_figures():
    """The figures of the training, on 2,000 held-out drawings: every kind and every thing."""
    record = json.loads((captioner.FOLDER.parent / "captioner.json").read_text())
    for where in ("exactly right, crisp", "exactly right, through the autoencoder"):
        assert min(record[where].values()) >= 0.95, where
    assert record["held out"] >= 1000
