"""Attention kept while the embedded host samples a strip: the right rows, no picture changed, nothing at all when off."""

import json

import pytest
import torch
from PIL import Image

from lib_negguide import cli, world
from lib_negguide.attention import maps, ratio
from lib_negguide.attention.history import NEGATIVE, PROMPT, History
from lib_negguide.attention.probes import Probe, each_resolution, every
from lib_negguide.attention.words import Tokens
from lib_negguide.commands import attention as command
from lib_negguide.errors import HostError
from lib_negguide.hosts.embedded.observing import Observing
from lib_negguide.settings import Settings
from tests.embedded.test_attention import forward, hooks, inputs

ASKED = ["workbench", "formulas", "a portrait of a person", "-n", "glasses", "--formulas", "stock,branches", "--steps", "3", "--seed", "3"]


@pytest.fixture(autouse=True)
def small(checkpoint, monkeypatch):
    monkeypatch.setattr(world, "model", lambda: checkpoint)


@pytest.mark.parametrize("alone", [False, True], ids=["in one go", "layer by layer"])
def test_layers_together_are_the_layers(host, monkeypatch, alone):
    """The same maps and r_t, whether the two texts are as long as each other or not, and however much is computed at once."""
    from lib_negguide.attention import probes

    monkeypatch.setattr(probes, "AT_ONCE", 1 if alone else probes.AT_ONCE)
    x, context = inputs()
    tokens = Tokens(("a",), ((1,),))
    for other in (context[1:2], torch.cat([context[1:2]] * 2, 1)):
        with Probe(host.model.unet, every) as probe:
            probe.begin([True, False, True, False])
            forward(host.model.unet, x, context)
            one, two = probe.together([(2, None), (0, other)])
            expected = probe.look([2]), probe.look([0], other)
            assert len(one) < len(expected[0]) or alone
            for got, want in zip((one, two), expected):
                for size, found in maps.each_size(want, tokens).items():
                    assert torch.allclose(maps.each_size(got, tokens)[size], found, atol=1e-6)
            assert torch.allclose(ratio.ratio(two, one), ratio.ratio(expected[1], expected[0]), rtol=1e-4)


def test_the_rows_of_the_first_picture_of_a_batch(host):
    """Two pictures, the first one's prompt in two parts: rows 0 and 1, 2, and the negatives'."""
    x, context = inputs()
    x, context = torch.cat([x, x + 1]), torch.cat([context, context.flip(0)])
    word = Tokens(("a",), ((1,),))
    with Probe(host.model.unet, each_resolution) as probe:
        kept = History(probe, {PROMPT: word, "prompt 2": word, NEGATIVE: word}, {NEGATIVE: context[5:6]})
        kept.begin([PROMPT, "prompt 2", None, NEGATIVE, None])
        forward(host.model.unet, x[:5], context[:5])
        kept.take(1.0)
        probe.begin([True] * 5)
        forward(host.model.unet, x[:5], context[:5])
        expected = [maps.each_size(probe.look([0]), word), maps.each_size(probe.look([1]), word), maps.each_size(probe.look([3], context[5:6]), word)]
    for size in kept.sizes():
        found = kept.of(size)
        assert [one.side for one in found] == [PROMPT, "prompt 2", NEGATIVE]
        for one, want in zip(found, expected):
            assert torch.allclose(one.maps[0], want[size][0, 0], atol=1e-6)
        assert not torch.allclose(found[0].maps[0], found[1].maps[0], atol=1e-4)


def test_calls_that_are_left_out(host):
    """Every second call is looked at; one at which the host leaves out the negative's row is not."""
    x, context = inputs(2)
    word = Tokens(("a",), ((1,),))
    with Probe(host.model.unet) as probe:
        kept = History(probe, {PROMPT: word, NEGATIVE: word}, every=2)
        for call in range(5):
            kept.begin([PROMPT, NEGATIVE])
            forward(host.model.unet, *(part[:1 if call == 2 else 2] for part in (x, context)))
            kept.take(float(call))
            forward(host.model.unet, x, context)  # somebody else's
        assert (kept.calls, kept.sigmas, len(kept.ratios)) == ([0, 4], [0.0, 4.0], 2)
        kept.begin([PROMPT, NEGATIVE]), kept.begin([PROMPT, NEGATIVE])
        with pytest.raises(HostError, match="no attention to look at"):
            kept.take(1.0)


def test_an_ordinary_negative_prompt_has_the_attention_of_its_own_row(host):
    """What a strip keeps of it is what the command ``attention`` keeps."""
    options = {"steps": 3, "size": world.SIZE}
    words = command.words_of(host.model, "a portrait of a person", "glasses", ["portrait", "person", "glasses"])
    _, expected = command.sampled(host, "a portrait of a person", "glasses", words, 3, True, None, options)
    seen = Observing(host.model, "", 0, "glasses")
    with seen.threads():
        seen.sample(["a portrait of a person"], [3], Settings(enabled=False), negative_prompts="glasses", **options)
    assert seen.history.ratios == pytest.approx(expected.ratios, rel=1e-3) and len(seen.history.calls) == 3
    for size in expected.sizes():
        for one, other in zip(seen.history.of(size), expected.of(size)):
            assert (one.name, one.critical) == (other.name, other.critical)
            assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one.maps, other.maps))


def test_a_strip_with_attention(tmp_path, host):
    bare, seen, before = tmp_path / "bare", tmp_path / "seen", hooks(host.model.unet)
    assert cli.main([*ASKED, "--out", str(bare)]) == cli.main([*ASKED, "--attention", "--norms", "--out", str(seen)]) == 0
    run = json.loads((seen / "run.json").read_text("utf-8"))
    strengths = {}
    for row in run["cells"]:
        assert Image.open(bare / row["file"]).tobytes() == Image.open(seen / row["file"]).tobytes(), row["name"]
        told = json.loads((seen / row["attention"]["file"]).read_text("utf-8"))
        assert [(word["side"], word["word"]) for word in told["resolutions"][0]["words"]] == [
            ("prompt", "portrait"), ("prompt", "person"), ("negative", "glasses")]
        assert [call["r_t"] for call in row["trace"]["calls"]] == pytest.approx(told["r_t"], rel=1e-3) and "norms" in row["trace"]["calls"][0]
        strengths[row["name"]] = [word["strengths"] for word in told["resolutions"][0]["words"]]
        assert Image.open(seen / row["attention"]["sheet"]).width > 300
    first = {name: [word[0] for word in words] for name, words in strengths.items()}
    assert first["plain"] == pytest.approx(first["branches"], rel=1e-3), "the same noise, prompt and empty negative"
    assert first["plain"][:2] == pytest.approx(first["stock"][:2], rel=1e-3) and abs(first["plain"][2] / first["stock"][2] - 1) > 2e-3
    assert "alt='attention, " in (seen / "report.html").read_text("utf-8")
    assert hooks(host.model.unet) == before


def test_nothing_at_all_when_off(tmp_path, monkeypatch):
    monkeypatch.setattr(Probe, "__enter__", lambda self: pytest.fail("a probe"))
    assert cli.main([*ASKED, "--norms", "--out", str(tmp_path)]) == 0
    run = json.loads((tmp_path / "run.json").read_text("utf-8"))
    assert all(row["attention"] is None and "r_t" not in row["trace"]["calls"][0] for row in run["cells"])
    assert not list(tmp_path.glob("*attention*"))
