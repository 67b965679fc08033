"""Removal on the embedded host: what it does to pictures, what it leaves alone, what it costs."""

import shutil
from contextlib import contextmanager

import pytest
import torch
from PIL import Image

from lib_negguide import formulas, world
from lib_negguide.captioners import FixedText
from lib_negguide.detectors import Presence
from lib_negguide.errors import NegGuideError, SettingsError
from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.settings import Settings
from tests.embedded import layouts
from tests.world.ban import REGIONS
from tests.world.judge import Judge

OPTIONS = {"steps": 6, "cfg_scale": 4.0, "size": world.SIZE}
HAT = {"text": "hat", "start": 9.0, "stop": 1.0, "gone": -1.0}  # always there: what an untrained model says means nothing
ALL_SAMPLERS = ("Euler", "Euler a", "Heun", "DPM++ 2M", "DDIM")


def made(host, remove=None, seeds=(3, 4), prompts=None, box="", **options):
    settings = {k: options.pop(k) for k in ("negatives", "combine", "enabled", "box") if k in options}
    settings = Settings.parse({**settings, **({} if remove is None else {"remove": remove})})
    return host.sample(prompts or [world.PROMPT] * len(seeds), list(seeds), settings, negative_prompts=box, **{**OPTIONS, **options})


@contextmanager
def rows_of(host):
    """The number of rows of each forward of the UNet inside."""
    rows = []
    hook = host.model.unet.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    try:
        yield rows
    finally:
        hook.remove()


@pytest.fixture(scope="module")
def glasses():
    """Pictures without a negative, with one in the whole run, and removed from; the first four show glasses, the others none."""
    host, judge, seeds = EmbeddedHost.load(world.model()), Judge.load(), (501, 503, 509, 510, 502, 504, 508, 517)
    left, top, right, bottom = REGIONS["glasses"]
    outside = torch.ones(1, 1, world.SIZE[1], world.SIZE[0])
    outside[..., top:bottom, left:right] = 0.0

    class Made:
        def __init__(self, **settings):
            self.result = host.sample([world.PROMPT] * 8, seeds, Settings.parse(settings), steps=12, cfg_scale=world.GUIDANCE,
                                      size=world.SIZE)
            self.images = self.result.images
            self.verdicts = judge(self.images)
            self.shown = [verdict.glasses for verdict in self.verdicts]
            self.persons = all(verdict.kind == "portrait" for verdict in self.verdicts)

        def change(self, other):
            """Mean change outside the region of glasses, in grey levels, a picture."""
            return 255 * ((self.images - other.images).abs() * outside).sum((1, 2, 3)) / (3 * outside.sum())

    return Made(), Made(negatives=[{"text": "glasses"}]), Made(remove={"text": "glasses"})


def test_the_thing_goes_and_the_rest_stays(glasses):
    plain, full, removed = glasses
    assert plain.shown == [True] * 4 + [False] * 4
    assert not any(removed.shown) and removed.persons
    assert removed.change(plain)[:4].mean() < 0.7 * full.change(plain)[:4].mean()


def test_a_picture_without_it_stays_nearly_as_it_is(glasses):
    plain, full, removed = glasses
    assert removed.change(plain)[4:].mean() < 0.5 * full.change(plain)[4:].mean()
    assert [vars(v) for v in removed.verdicts[4:]] == [vars(v) for v in plain.verdicts[4:]]


def test_its_price(glasses):
    _, _, removed = glasses
    assert [removed.result.evaluations(picture) for picture in range(8)] == [2 * 12 + 3] * 8
    assert removed.result.trace.extra_evaluations == 3


def test_it_acts_where_guidance_leads_to_it(glasses):
    """As strongly as its presence says; more, in sum, in pictures that would show it."""
    trace, spent = glasses[2].result.trace, []
    for picture in range(8):
        strength, spent_here = 0.0, 0.0
        for call in trace.calls:
            if call.removal is None:
                continue
            seen = call.removal.presence[picture]
            if seen is not None:
                strength = 2.0 * min(max(seen, 0.0) / Presence.back, 2.0)
            assert call.removal.strengths[picture] == pytest.approx(strength)
            spent_here += strength
        spent.append(spent_here)
    assert sum(spent[:4]) > 1.5 * sum(spent[4:])


@pytest.mark.parametrize("off", [{"enabled": False, "remove": HAT}, {"remove": {**HAT, "weight": 0}}, {"remove": {**HAT, "start": 60, "stop": 50}}])
def test_off_is_as_without_to_the_bit(host, off):
    remove = off.pop("remove")
    with rows_of(host) as rows:
        assert torch.equal(made(host, remove, **off).images, made(host).images)
    assert set(rows) == {4}


@pytest.mark.parametrize("name", ALL_SAMPLERS)
def test_a_window_in_the_whole_picture_is_an_ordinary_negative_to_the_bit(host, name):
    window = {"text": "hat", "start": 9.0, "stop": 1.6, "weight": 1.5}
    with rows_of(host) as rows:
        removed = made(host, {**window, "search": "window", "region": "everywhere"}, sampler=name, seeds=(3,))
    assert set(rows) == {2} and removed.evaluations(0) == sum(rows)
    assert torch.equal(removed.images, made(host, sampler=name, seeds=(3,), negatives=[window]).images)


@pytest.mark.parametrize("fields", [{}, {"search": "window"}, {"every": 1}, {"detector": "caption"}, {"region": "mask"}])
def test_only_the_wanted_rows_are_predicted(host, fields):
    """The captioner says that the hat is there in every second picture that it looks at."""
    said = iter(["a hat", "no such thing"] * 50)

    class Talker:
        def caption(self, images, how):
            return [next(said) for _ in images]

    with rows_of(host) as rows:
        result = made(host, {**HAT, "gone": None, **fields}, open_captioner=lambda: given(Talker()), mask=Image.new("L", world.SIZE, 255))
    spent = [sum(call.removal.predicted) if call.removal else 0 for call in result.trace.calls]
    assert rows == [4 + extra for extra in spent] and sum(spent)
    assert sum(result.evaluations(picture) for picture in range(2)) == sum(rows)


@contextmanager
def given(what):
    yield what


ALWAYS = {"text": "hat", "start": None, "stop": None, "every": 1, "detector": "caption", "region": "everywhere"}


def test_what_it_takes_away_is_what_the_words_change_in_the_prompt(host):
    """Everywhere and at every call, it stands beside the empty prompt in the unconditional place."""
    both, scale = [world.PROMPT, "a person"], OPTIONS["cfg_scale"]
    own = made(host, {**ALWAYS, "weight": 0.5}, prompts=both, open_captioner=lambda: given(FixedText("a hat")))
    run = host.prepare(both, (3, 4), **OPTIONS)
    c, u, q = (host.model.encode(texts, negative) for texts, negative in (
        (both, False), (["", ""], True), ([f"{prompt}, hat" for prompt in both], False)))

    def guided(x, sigma):
        d_c, d_u, d_q = run.guidance.predict(x, sigma, [c, u, q])
        return formulas.cfg(d_c, d_u + 0.5 * (d_q - d_c), scale)

    x = run.latents
    with host.threads(), torch.no_grad():
        for sigma, lower in zip(run.sigmas[:-1], run.sigmas[1:]):  # Euler's steps
            x = x + (x - guided(x, sigma)) / sigma * (lower - sigma)
        expected = host.pictures(run, x)
    assert (own.images - expected).abs().max() < 2e-3
    assert own.trace.removing(0) == list(range(6))


def test_of_a_prompt_that_names_it_the_rest_is_what_it_is_compared_with(host):
    """"... with a hat" without its words; what they change has the same sign."""
    named, bare = f"{world.PROMPT} with a hat", world.PROMPT
    spoken = []
    encode = host.model.encode
    host.model.encode = lambda prompts, negative=False: spoken.append((list(prompts), negative)) or encode(prompts, negative)
    try:
        run = host.prepare([named], [3], Settings.parse({"remove": {**ALWAYS, "weight": 1}}), detector=There(), **OPTIONS)
        seen, change = [], run.guidance.removing.change
        run.guidance.removing.change = lambda one: seen.append(one) or change(one)
        with host.threads():
            run.between(run.latents, 0, 1)
    finally:
        del host.model.encode
    assert ([bare], False) in spoken
    with host.threads(), torch.no_grad():
        d_named, d_bare = run.guidance.predict(run.latents, run.sigmas[0], [encode([named]), encode([bare])])
    torch.testing.assert_close(seen[0].words, d_named - d_bare, rtol=0, atol=1e-4)


class There(Presence):
    """It is in the second picture, and in the others at the first call."""

    graded, gone, back = False, 0.3, 0.6

    def presence(self, seen, pictures):
        return torch.tensor([float(picture == 1 or seen.call < 1) for picture in pictures])


def test_sdxl_with_its_pooled_conditions(untrained, tmp_path):
    """Of two pictures the second's words alone act at the last calls; its pooled condition is that of its own text."""
    shutil.copytree(untrained / "tokenizer", tmp_path / "tokenizer")
    layouts.write_sdxl(untrained / world.NAME, tmp_path / "xl.safetensors")
    host = EmbeddedHost.load(tmp_path / "xl.safetensors")

    def latents(remove, seeds):
        run = host.prepare([world.PROMPT] * len(seeds), seeds, Settings.parse({"remove": remove} if remove else {}), detector=There(), **OPTIONS)
        return run.between(run.latents), run.guidance.trace

    remove = {**ALWAYS, "detector": "presence", "weight": 1}
    (found, trace), plain = latents(remove, [3, 4]), latents(None, [3, 4])[0]
    torch.testing.assert_close(found[:1], latents(remove, [3])[0], rtol=0, atol=2e-3)
    assert trace.removing(0) == [0] and trace.removing(1) == list(range(6))
    assert (found[0] - plain[0]).abs().max() > 1e-4 and (found[1] - plain[1]).abs().max() > 1e-2


def test_the_window_of_the_box_does_not_matter_to_it(host):
    """What it takes away is what its own words change in the prompt, whatever else is a negative."""
    texts = []
    encode = host.model.encode

    def spy(prompts, negative=False):
        texts.extend(prompts)
        return encode(prompts, negative)

    host.model.encode = spy
    try:
        made(host, HAT, box="mustache", **{"negatives": [{"text": "glasses", "start": 4.0}]}, seeds=(3,))
    finally:
        del host.model.encode
    assert f"{world.PROMPT}, hat" in texts and not any("hat" in text for text in texts if not text.startswith(world.PROMPT))


def test_a_picture_does_not_depend_on_its_batch(host):
    many = made(host, HAT, seeds=(1, 2, 3), batch_size=2, sampler="Euler a")
    one = made(host, HAT, seeds=(3,), sampler="Euler a")
    assert (many.images[2] - one.images[0]).abs().max() < 2e-3
    assert many.trace.removing(2) == one.trace.removing(0) and many.trace.pictures == 3
    assert len(many.trace.summary()) == 3 and "picture 3" in many.trace.summary()[2]


@pytest.mark.parametrize("combine", ["branches", "perp-neg"])
def test_beside_branches(host, combine):
    with rows_of(host) as rows:
        result = made(host, HAT, negatives=[{"text": "glasses", "stop": 3.0}], combine=combine)
    assert torch.isfinite(result.images).all() and not torch.equal(result.images, made(host, HAT).images)
    assert sum(result.evaluations(picture) for picture in range(2)) == sum(rows)


def test_texts_of_any_length(host):
    long = ", ".join(["hat"] * 60)
    result = made(host, {**HAT, "text": long}, box="mustache")
    short = made(host, HAT, box="mustache")
    assert torch.isfinite(result.images).all() and not torch.equal(result.images, short.images)


@pytest.mark.parametrize("name", ["Euler a", "Heun", "DPM++ 2M"])
def test_anchored_the_rest_is_the_plain_run_to_the_bit(host, name):
    """A painted mask that covers the left half: the latents of the right half are those of the run without removal."""
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :32] = 1.0

    def latents(remove, plain=None):
        settings = Settings.parse({"remove": remove} if remove else {})
        run = host.prepare([world.PROMPT], [3], settings, sampler=name, mask=mask if remove else None, **OPTIONS)
        run.guidance.plain, run.guidance.record = plain, []
        return run.between(run.latents), run.guidance.record

    remove = {**HAT, "search": "window", "region": "mask", "anchor": True}
    plain, record = latents(None)
    with host.threads():
        anchored, _ = latents(remove, record)
        free, _ = latents({**remove, "anchor": False})
    assert torch.equal(anchored[..., 4:], plain[..., 4:]) and not torch.equal(anchored[..., :4], plain[..., :4])
    assert not torch.equal(free[..., 4:], plain[..., 4:])


def test_anchoring_costs_a_second_sampling_once(checkpoint):
    host = EmbeddedHost.load(checkpoint)
    counts, results = [], []
    for weight, seeds in ((2, (3, 4)), (1.5, (3, 4)), (1.5, (3, 5)), (1.5, (3, 4))):
        with rows_of(host) as rows:
            results.append(made(host, {**HAT, "anchor": True, "weight": weight}, seeds=seeds))
        counts.append(sum(rows))
        assert sum(results[-1].evaluations(picture) for picture in range(2)) == sum(rows)
    assert [result.recorded for result in results] == [12, 0, 12, 0] and counts[0] == counts[1] + 2 * 12
    assert torch.equal(results[1].images, results[3].images) and not torch.equal(results[0].images, results[1].images)


def test_notes(host):
    assert not made(host, HAT, seeds=(3,)).notes
    assert "reverse activation" in made(host, {**HAT, "start": None, "stop": 8.0}, seeds=(3,)).notes[0]


def test_captions_and_removal_act_together(host):
    result = host.sample([world.PROMPT], [3], Settings.parse({"dnp": {"captioner": "text", "text": "mustache"}, "remove": HAT}), **OPTIONS)
    other = host.sample([world.PROMPT], [3], Settings.parse({"dnp": {"captioner": "text", "text": "mustache"}}), **OPTIONS)
    assert not torch.equal(result.images, other.images) and result.trace.removed == "hat" and result.trace.names == ("caption",)


def test_the_small_captioner_is_the_default_for_its_model():
    host = EmbeddedHost.load(world.model())
    result = made(host, {**HAT, "detector": "caption", "every": 3, "start": 3.0, "stop": 0.5}, seeds=(3,), steps=6)
    looks = [call.removal.presence[0] for call in result.trace.calls if call.removal]
    assert looks and set(looks) <= {0.0, 1.0, None} and None not in looks[:1]


@pytest.mark.parametrize(("remove", "options", "field"), [
    ({"region": "mask"}, {}, "remove.mask"),
    ({"region": "mask", "mask": "no picture"}, {}, "remove.mask")])
def test_wrong_options_are_named(host, remove, options, field):
    with pytest.raises(SettingsError, match=field):
        made(host, {**HAT, **remove}, **options)


@pytest.mark.parametrize("how", [{}, {"search": "exhaustive"}, {"anchor": True}, {"search": "window", "region": "everywhere"}], ids=str)
def test_without_guidance_the_picture_is_as_it_is(host, how):
    """Of either scale at which one prediction alone counts; and that is said."""
    for scale in (0.0, 1.0):
        plain = made(host, None, seeds=(3,), cfg_scale=scale)
        own = made(host, {**HAT, **how}, seeds=(3,), cfg_scale=scale)
        assert torch.equal(own.images, plain.images) and own.evaluations(0) == plain.evaluations(0)
        assert own.notes == [f"CFG scale {scale:g} does not guide, so nothing is removed"]


@pytest.mark.parametrize("detector", ["clip", "caption"])
def test_missing_weights_are_named_before_anything_is_sampled(untrained, detector, monkeypatch, tmp_path):
    for name, value in (("HF_HUB_OFFLINE", "1"), ("HF_HUB_CACHE", str(tmp_path))):
        monkeypatch.setenv(name, value)
    host = EmbeddedHost.load(untrained / world.NAME)
    host.model.name = "other"
    with rows_of(host) as rows, pytest.raises(NegGuideError, match="CLIP|blip"):
        made(host, {**HAT, "detector": detector})
    assert not rows


def test_an_interrupted_run_leaves_nothing_behind(host):
    before = made(host, HAT).images

    def interrupt(call, calls, sigma):
        if call == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(host, {**HAT, "anchor": True}, on_step=interrupt)
    assert torch.equal(before, made(host, HAT).images)
