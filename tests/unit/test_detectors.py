"""Detectors: is it there? Predictions, captions and CLIP are made up."""

from contextlib import contextmanager

import pytest
import torch
from PIL import Image

from lib_negguide import detectors
from lib_negguide.captioners import FixedText
from lib_negguide.detectors import Caption, Clip, Presence, opened, said
from lib_negguide.errors import HostError, NegGuideError
from lib_negguide.removal import Seen
from lib_negguide.settings import Settings


def remove(**fields):
    return Settings.parse({"remove": {"text": "hat", **fields}}).remove


def seen(d_c, d_u, words, **more):
    return Seen.of(2.0, 0, 5.0, d_c, d_u, words, [True] * len(d_u), **more)


@pytest.fixture
def predictions():
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(3, 4, 8, 8, generator=generator) for _ in range(3)]


def test_presence_is_whether_guidance_leads_to_the_thing(predictions):
    d_c, d_u, _ = predictions
    towards, other = d_c - d_u, torch.randn(3, 4, 8, 8)
    aside = other - (other * towards).sum((1, 2, 3), keepdim=True) / towards.square().sum((1, 2, 3), keepdim=True) * towards
    found = [Presence().presence(seen(d_c, d_u, words), [0, 2]) for words in (0.01 * towards, aside, -3 * towards)]
    torch.testing.assert_close(torch.stack(found), torch.tensor([[1.0, 1.0], [0.0, 0.0], [-1.0, -1.0]]), rtol=1e-4, atol=1e-4)


def test_presence_has_no_unit(predictions):
    """The same in eps and x0 form, at any noise level, and for a latent twice as large."""
    d_c, d_u, words = predictions
    plain = Presence().presence(seen(d_c, d_u, words), [0, 1, 2])
    x, sigma = torch.randn(3, 4, 8, 8), 3.7
    in_x0 = Presence().presence(seen(x - sigma * d_c, x - sigma * d_u, -sigma * words), [0, 1, 2])
    larger = Presence().presence(seen(*(p.repeat_interleave(2, 2).repeat_interleave(2, 3) for p in predictions)), [0, 1, 2])
    halves = Presence().presence(seen(*(p.half() for p in predictions)), [0, 1, 2])
    torch.testing.assert_close(in_x0, plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(larger, plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(halves, plain, rtol=1e-2, atol=1e-3)


def test_presence_looks_at_the_pictures_asked_for_only(predictions):
    three = Presence().presence(seen(*predictions), [0, 1, 2])
    assert torch.equal(Presence().presence(seen(*predictions), [2, 0]), three[[2, 0]])
    same = predictions[0]
    assert Presence().presence(seen(same, same, same), [1]).tolist() == [0.0]  # nothing to tell by, and no division by it


@pytest.mark.parametrize(("text", "caption", "expected"), [
    ("glasses", "a portrait of a person wearing glasses", True), ("glasses", "a portrait of a person", False),
    ("hat", "two hats on a table", True), ("hats", "a hat", True), ("hat", "what a chat", False),
    ("(round glasses:1.3)", "glasses that are round", True), ("round glasses", "glasses", False),
    ("hat, mustache", "a man with a mustache", True), ("hat, mustache", "a man", False), ("Hat", "HAT!", True), (",", "a man", False)])
def test_what_a_caption_says(text, caption, expected):
    assert said(text, caption) is expected


def test_a_captioner_looks_at_previews(predictions):
    asked = []

    def preview(pictures):
        asked.append(pictures)
        return [Image.new("RGB", (8, 8))] * len(pictures)

    shown = seen(*predictions, preview=preview)
    assert Caption(FixedText("a man in a hat"), "hat").presence(shown, [2, 1]).tolist() == [1.0, 1.0]
    assert Caption(FixedText("a man"), "hat").presence(shown, [0]).tolist() == [0.0]
    assert asked == [[2, 1], [0]]
    with pytest.raises(HostError, match="previews"):
        Caption(FixedText("a man"), "hat").presence(seen(*predictions), [0])


class Plane:
    """A CLIP of pictures that are grey: white is exactly "a man, hat", black exactly "a man"."""

    scale = 100.0

    def texts(self, texts):
        rows = {"a man, hat": (1.0, 0.0), "a man": (0.0, 1.0), "hat": (1.0, 0.0), "": (0.0, 1.0)}
        return torch.tensor([rows[text] for text in texts])

    def pictures(self, images):
        grey = [image.getpixel((0, 0))[0] / 255 for image in images]
        return torch.tensor([[g, (1 - g * g) ** 0.5] for g in grey])


def test_clip_says_how_likely_it_is():
    white, black, between = (Image.new("RGB", (8, 8), (g, g, g)) for g in (255, 0, 180))
    values = Clip(Plane(), "hat", ["a man", "(a man:1.2)", ""]).of_pictures([white, black, between], [0, 1, 2])
    assert values[0] > 0.99 and values[1] < 0.01 and 0.3 < values[2] < 0.7
    plane = Plane()
    plane.scale = 1.0  # one that was trained to be less sure
    assert Clip(plane, "hat", ["a man"]).of_pictures([white], [0])[0] == pytest.approx(torch.tensor([1.0, 0.0]).softmax(0)[0].item())


@contextmanager
def given(what):
    yield what


def test_the_settings_choose():
    with opened(remove(), captioner=None) as make:
        assert isinstance(make(["a man"]), Presence)
    with opened(remove(detector="clip"), clip=lambda: given(Plane())) as make:
        assert make(["a man"]).name == "clip"
    with opened(remove(detector="caption"), captioner=lambda: given(FixedText("x"))) as make:
        assert make(["a man"]).name == "caption"
    with opened(remove(search="window", detector="caption")) as make:
        assert make(["a man"]) is None
    with opened(remove(search="exhaustive"), captioner=lambda: given(FixedText("a hat"))) as make:
        assert make(["a man"]) is None  # nobody looks while it samples
    with opened(remove(search="exhaustive"), captioner=lambda: given(FixedText("a hat")), final=True) as make:
        detector, picture = make(["a man"]), Image.new("RGB", (8, 8))
        assert detectors.there(detector, remove(search="exhaustive"), [picture], [0]) == [True]
        assert detectors.there(detector, remove(search="exhaustive", gone=2.0, back=2.0), [picture], [0]) == [False]


@pytest.mark.parametrize("name", ["clip", "caption", "attention"])
def test_what_is_missing_is_named_before_anything_is_sampled(name, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(NegGuideError, match="CLIP|blip|attention"), opened(remove(detector=name)):
        pass


def test_every_detector_has_a_price():
    from lib_negguide.settings import DETECTORS

    assert set(detectors.COSTS) == set(DETECTORS) == set(detectors.NAMES)
