"""Auto-DNP over a sampler and a captioner that only count and remember."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lib_negguide import dns
from lib_negguide.cache import Pictures
from lib_negguide.dns import Wanted, negatives, seeds_of
from lib_negguide.errors import HostError, SettingsError
from lib_negguide.settings import Dnp, Settings

IDENTITY = {"model": "abc", "steps": 20}


class Painter:
    """Pictures whose colour tells what was wanted; counts."""

    def __init__(self):
        self.calls = []

    def __call__(self, wanted):
        self.calls.append(list(wanted))
        return [picture_of(one) for one in wanted]


def picture_of(wanted):
    return Image.new("RGB", (8, 8), (wanted.seed % 251, len(wanted.prompt) % 251, (wanted.subseed or 0) % 251))


class Reader:
    """Says a picture's colour, in a form that a prompt parser would misread."""

    def __init__(self, name="reader"):
        self.name, self.calls, self.hows, self.opened, self.closed = name, [], [], 0, 0

    def caption(self, images, how):
        self.calls.append(len(images))
        self.hows.append(how)
        return [f"(shade {image.getpixel((0, 0))[0]})" for image in images]

    @contextmanager
    def open(self):
        self.opened += 1
        try:
            yield self
        finally:
            self.closed += 1


@pytest.fixture
def painter():
    return Painter()


@pytest.fixture
def reader():
    return Reader()


def test_each_picture_has_its_own_caption(painter, reader):
    found = negatives(Dnp(), ["a cat", "a dog", "a cat"], [5, 6, 7], painter, reader)
    assert [negative.text for negative in found] == ["shade 5", "shade 6", "shade 7"]
    shown = found[1].shown[0]
    assert shown.wanted == Wanted("a dog", 6) and shown.raw == "(shade 6)" and shown.caption == "shade 6"
    assert shown.captioner == "reader" and not shown.cached and shown.image.getpixel((0, 0))[0] == 6
    assert len(painter.calls) == 1 and reader.calls == [3]


def test_what_repeats_in_a_batch_is_sampled_once(painter, reader):
    found = negatives(Dnp(), ["a cat", "a dog", "a cat", "a cat"], [5, 5, 5, 6], painter, reader)
    assert painter.calls == [[Wanted("a cat", 5), Wanted("a dog", 5), Wanted("a cat", 6)]]
    assert reader.calls == [3]
    assert [negative.text for negative in found] == ["shade 5", "shade 5", "shade 5", "shade 6"]
    found = negatives(Dnp(), ["a cat", "a cat"], [5, 5], painter, reader, subseeds=[1, 2])
    assert painter.calls[-1] == [Wanted("a cat", 5, 1), Wanted("a cat", 5, 2)]


def test_the_captioner_text_samples_nothing():
    def never(*_):
        raise AssertionError

    found = negatives(Dnp(captioner="text", text=" (a hat:1.2) "), ["a", "b"], [1, 2], never, never, cache=Pictures(), identity={})
    assert [(negative.text, negative.shown) for negative in found] == [("(a hat:1.2)", [])] * 2


def test_how_the_captioner_is_asked(painter, reader):
    negatives(Dnp(beams=2, min_tokens=3, max_tokens=9), ["a"], [1], painter, reader)
    assert (reader.hows[0].beams, reader.hows[0].min_tokens, reader.hows[0].max_tokens) == (2, 3, 9)


def test_several_are_joined(painter, reader):
    found = negatives(Dnp(samples=3), ["a", "b"], [1, 2], painter, reader)
    assert [one.seed for one in painter.calls[0]] == seeds_of(1, 3) + seeds_of(2, 3)
    assert [len(negative.shown) for negative in found] == [3, 3]
    assert found[0].text == ", ".join(f"shade {seed % 251}" for seed in seeds_of(1, 3))


def test_joined_without_repetitions(painter, reader):
    reader.caption = lambda images, how: ["a hat", "A hat", "a red hat"][:len(images)]
    assert negatives(Dnp(samples=3), ["a"], [1], painter, reader)[0].text == dns.join(["a hat", "A hat", "a red hat"])


def test_best_is_the_picture_least_like_the_prompt(painter, reader):
    asked = []

    def score(images, texts):
        asked.append((len(images), list(texts)))
        return [[3.0, 1.0, 2.0][number % 3] + number // 3 for number in range(len(images))]

    found = negatives(Dnp(samples=3, several="best"), ["a", "b"], [1, 2], painter, reader, score=score)
    assert asked == [(6, ["a"] * 3 + ["b"] * 3)]
    assert [negative.text for negative in found] == [f"shade {seeds_of(seed, 3)[1] % 251}" for seed in (1, 2)]
    assert [shown.score for shown in found[1].shown] == [4.0, 2.0, 3.0]


def test_best_needs_scores_and_says_so_before_it_samples(painter, reader):
    with pytest.raises(SettingsError, match="dnp.several = 'best'.*CLIP"):
        negatives(Dnp(samples=2, several="best"), ["a"], [1], painter, reader)
    assert not painter.calls
    assert negatives(Dnp(samples=1, several="best"), ["a"], [1], painter, reader)[0].text == "shade 1"


def test_as_many_seeds_as_prompts(painter, reader):
    with pytest.raises(SettingsError, match="seeds"):
        negatives(Dnp(), ["a", "b"], [1], painter, reader)


def test_a_captioner_is_opened_when_needed_and_closed(painter, reader):
    cache = Pictures()
    for opener, name in ((dns.Opener("reader", reader.open), ""), (dns.Opener("reader", reader.open), ""), (reader.open, "reader")):
        negatives(Dnp(), ["a"], [1], painter, opener, cache=cache, identity=IDENTITY, name=name)
    assert (reader.opened, reader.closed, len(painter.calls)) == (1, 1, 1)

    def broken(images, how):
        raise RuntimeError("out of memory")

    reader.caption = broken
    with pytest.raises(RuntimeError):
        negatives(Dnp(), ["a"], [2], painter, reader.open, cache=cache, identity=IDENTITY, name="reader")
    assert (reader.opened, reader.closed) == (2, 2)


def test_a_captioner_that_has_another_name_than_thought_is_asked(painter, reader):
    cache = Pictures()
    for name in ("", "reader of yesterday", "reader"):
        negatives(Dnp(), ["a"], [1], painter, reader.open, cache=cache, identity=IDENTITY, name=name)
    assert reader.opened == 2


def test_the_cache_spares_what_it_has(painter, reader):
    cache = Pictures()
    first = negatives(Dnp(), ["a", "b"], [1, 2], painter, reader, cache=cache, identity=IDENTITY)
    second = negatives(Dnp(), ["a", "c", "b"], [1, 3, 2], painter, reader, cache=cache, identity=IDENTITY)
    assert painter.calls[1:] == [[Wanted("c", 3)]] and reader.calls == [2, 1]
    assert [negative.shown[0].cached for negative in second] == [True, False, True]
    assert (second[0].text, second[2].text) == (first[0].text, first[1].text)


@pytest.mark.parametrize("change", [{"identity": {"model": "abc", "steps": 21}}, {"identity": {"model": "abd", "steps": 20}},
                                    {"prompts": ["A cat"]}, {"seeds": [2]}, {"subseeds": [3]}])
def test_the_cache_never_gives_another_picture(painter, reader, change):
    cache = Pictures()
    asked = {"prompts": ["a cat"], "seeds": [1], "identity": IDENTITY}
    for request in (asked, {**asked, **change}):
        negatives(Dnp(), sample=painter, captioner=reader, cache=cache, **request)
    assert len(painter.calls) == 2


@pytest.mark.parametrize("change", [{"dnp": Dnp(beams=1)}, {"dnp": Dnp(max_tokens=20)}, {"captioner": Reader("other")}])
def test_another_captioner_or_other_lengths_caption_anew_without_sampling(painter, reader, change):
    cache = Pictures()
    asked = {"dnp": Dnp(), "captioner": reader}
    for request in (asked, {**asked, **change}, asked):
        negatives(prompts=["a"], seeds=[1], sample=painter, cache=cache, identity=IDENTITY, **request)
    assert len(painter.calls) == 1
    assert sum(reader.calls) + sum(change.get("captioner", Reader()).calls) == 2


def test_settings_of_the_final_pass_cost_no_sampling(painter, reader):
    cache = Pictures()
    for dnp in (Dnp(), Dnp(use="replace", window={"start": 5.0}), Dnp(scores=True)):
        negatives(dnp, ["a"], [1], painter, reader, cache=cache, identity=IDENTITY)
    assert len(painter.calls) == len(reader.calls) == 1


def test_more_pictures_use_the_ones_that_are_there(painter, reader):
    cache = Pictures()
    for samples in (1, 3):
        negatives(Dnp(samples=samples), ["a"], [1], painter, reader, cache=cache, identity=IDENTITY)
    assert [len(call) for call in painter.calls] == [1, 2]


@pytest.mark.parametrize("give", [lambda made: None, lambda made: made[:1], lambda made: []])
def test_an_interrupted_sampling_leaves_nothing(painter, reader, give, tmp_path):
    cache = Pictures(tmp_path)
    negatives(Dnp(), ["a"], [1], painter, reader, cache=cache, identity=IDENTITY)
    files = sorted(tmp_path.iterdir())
    with pytest.raises(dns.Interrupted):
        negatives(Dnp(), ["a", "b", "c"], [1, 2, 3], lambda wanted: give(painter(wanted)), reader, cache=cache, identity=IDENTITY)
    assert len(cache) == 1 and sorted(tmp_path.iterdir()) == files and reader.calls == [1]
    negatives(Dnp(), ["a", "b", "c"], [1, 2, 3], painter, reader, cache=cache, identity=IDENTITY)
    assert len(painter.calls[-1]) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_sampling_that_fails_leaves_nothing(reader, error):
    def fails(wanted):
        raise error

    cache = Pictures()
    with pytest.raises(error):
        negatives(Dnp(), ["a"], [1], fails, reader, cache=cache, identity=IDENTITY)
    assert len(cache) == 0


def test_a_captioner_that_fails_leaves_the_picture(painter, reader):
    cache = Pictures()
    good, reader.caption = reader.caption, lambda images, how: []
    with pytest.raises(HostError, match="reader gave 0 captions of 1"):
        negatives(Dnp(), ["a"], [1], painter, reader, cache=cache, identity=IDENTITY)
    reader.caption = good
    assert negatives(Dnp(), ["a"], [1], painter, reader, cache=cache, identity=IDENTITY)[0].text == "shade 1"
    assert len(painter.calls) == 1


def test_a_cache_without_identity_is_a_mistake(painter, reader):
    with pytest.raises(ValueError, match="identity"):
        negatives(Dnp(), ["a"], [1], painter, reader, cache=Pictures())


@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_seeds(seed, samples):
    seeds = seeds_of(seed, samples)
    assert seeds[0] == seed and len(set(seeds)) == samples
    assert seeds == seeds_of(seed, 8)[:samples]
    assert all(0 <= other < 2**32 and abs(other - seed) > dns.NEIGHBOURS for other in seeds[1:])


def test_the_pictures_of_a_batch_share_no_seed():
    drawn = [seed for own in range(1000, 1100) for seed in seeds_of(own, 8)]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize(("share", "steps", "expected"), [(1, 30, 30), (0.5, 30, 15), (0.01, 30, 1), (0.34, 20, 7)])
def test_steps(share, steps, expected):
    assert dns.steps_of(Dnp(steps=share), steps) == expected


@pytest.mark.parametrize(("share", "size", "expected"), [
    (1, (512, 768), (512, 768)), (0.5, (512, 768), (256, 384)), (0.5, (64, 64), (32, 32)), (0.25, (64, 48), (16, 16)),
    (0.25, (128, 512), (64, 128)), (0.7, (512, 512), (360, 360)), (0.25, (8, 8), (8, 8)), (1, (520, 24), (520, 24)),
])
def test_size(share, size, expected):
    assert dns.size_of(Dnp(size=share), size) == expected


def test_away_is_the_papers_scale():
    """A host's c with an empty prompt and the prompt as negative is the paper's s = c - 1 (eq. 19)."""
    for away, c in ((6.5, 7.5), (0.0, 1.0)):
        assert Settings.parse({"dns": {"scale": c, "meaning": "host"}}).dns.away(3.0) == away
    assert Dnp(scale=4.0).away(7.5) == 4.0 and Dnp().away(7.5) == 7.5


def test_figure_four(painter, reader):
    painted = []

    def paint(prompts, seeds, captions):
        painted.append((list(prompts), list(seeds), list(captions)))
        return [f"{prompt}|{seed}|{caption}" for prompt, seed, caption in zip(prompts, seeds, captions)]

    found = negatives(Dnp(), ["a", "b"], [1, 2], painter, reader)
    sheets = dns.four(["a", "b"], [1, 2], found, paint)
    assert (sheets[1].plain, sheets[1].only, sheets[1].guided) == ("b|2|", "|2|shade 2", "b|2|shade 2")
    assert sheets[1].negative is found[1] and len(painted) == 3
    titles = [title for title, _ in sheets[0].titled("a")]
    assert titles == ["a", "DNS: shade 1", '"" without shade 1', "a without shade 1"]
    assert sheets[0].titled("a")[1][1] is found[0].shown[0].image


def test_wanted_tells_pictures_apart():
    one = Wanted("a", 1)
    assert one == Wanted("a", 1) and len({one, replace(one, seed=2), replace(one, prompt="b"), replace(one, subseed=0)}) == 4
