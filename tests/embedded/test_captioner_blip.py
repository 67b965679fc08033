"""The project's own small BLIP through the code that loads the real ones."""

import shutil

import pytest

from lib_negguide import captioners, world
from lib_negguide.captioners import How, name_of, opened, safe
from tests.world import captioner as language
from tests.world.draw import draw

SEEDS = range(24)


@pytest.fixture(scope="module")
def drawings():
    """(pictures, what they show): none of them was trained on."""
    return zip(*(draw(f"blip test {seed}") for seed in SEEDS))


@pytest.fixture(scope="module")
def said(drawings):
    pictures, shown = drawings
    with opened(str(world.captioner())) as small:
        return small.caption(pictures, How(3, 5, 50)), shown, small


def test_it_names_what_is_there(said):
    captions, shown, _ = said
    assert sum(map(language.agrees, captions, shown)) >= 0.9 * len(captions)


def test_its_words_are_safe_already(said):
    captions, _, small = said
    assert [safe(caption) for caption in captions] == captions
    assert len(set(captions)) > 5


def test_its_name(said, tmp_path):
    _, _, small = said
    assert small.name == name_of(str(world.captioner())) and small.name.startswith("captioner@")
    assert type(small.model) is type(None)  # put away


def test_by_name_from_a_folder_of_captioners(said, tmp_path):
    """As a WebUI has it: the same captions, kept from one call to the next, in bf16 as well."""
    captions, _, _ = said
    pictures = [draw(f"blip test {seed}")[0] for seed in SEEDS[:4]]
    shutil.copytree(world.captioner(), tmp_path / "small")
    try:
        for _ in range(2):
            with opened("small", folder=tmp_path, keep="cpu") as small:
                model = small.model
                assert small.caption(pictures, How(3, 5, 50)) == captions[:4]
        with opened("small", folder=tmp_path, keep="cpu") as again:
            assert again.model is model
        with opened("small", folder=tmp_path, dtype="bf16") as half:
            assert sum(a == b for a, b in zip(half.caption(pictures, How(3, 5, 50)), captions)) >= 3
    finally:
        captioners.release()


def test_short_captions(drawings):
    picture, _ = draw("blip test 0")
    with opened(str(world.captioner())) as small:
        assert [len(text.split()) for text in small.caption([picture], How(1, 0, 2))] == [2]
