"""DNS and auto-DNP on the small model."""

import shutil

import pytest
import torch
from PIL import Image

from lib_negguide import captioners, dns, world
from lib_negguide.cache import Pictures
from lib_negguide.errors import CaptionerError, SettingsError
from lib_negguide.hosts.embedded import dns as embedded
from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.metrics import Score
from lib_negguide.plan import CAPTION, GuidancePlan, Term
from lib_negguide.settings import Settings, Window
from lib_negguide.world import PROMPT
from tests.embedded import layouts
from tests.world.judge import Judge

OPTIONS = {"steps": 6, "cfg_scale": 4.0, "size": (64, 64)}
LONG = ", ".join(["hat"] * 60)
CIRCLES = "a red circle and a blue triangle"


class Reader:
    """Captions by their number; remembers the pictures."""

    def __init__(self, *captions, name="reader"):
        self.name, self.captions, self.seen = name, captions, []

    def caption(self, images, how):
        first = len(self.seen)
        self.seen += images
        return [self.captions[number % len(self.captions)] for number in range(first, first + len(images))]


def sample(host, settings, prompts=(PROMPT,), seeds=(3,), **options):
    return host.sample(list(prompts), list(seeds), Settings.parse(settings), **{**OPTIONS, **options})


def rows_of(host, run):
    """Rows that the network predicts during ``run()``, with their side in latent pixels."""
    rows = []
    hook = host.model.unet.register_forward_pre_hook(lambda module, inputs: rows.append((len(inputs[0]), inputs[0].shape[-1])))
    try:
        result = run()
    finally:
        hook.remove()
    return rows, result


@pytest.mark.parametrize("name", ["Euler", "Euler a", "Heun", "DPM++ 2M", "DDIM"])
@pytest.mark.parametrize(("scale", "c"), [({}, 5.0), ({"scale": 2.5}, 3.5), ({"scale": 3.0, "meaning": "host"}, 3.0), ({"scale": 0}, 1.0)])
def test_dns_is_the_empty_prompt_with_the_prompt_as_negative_at_c_of_s_and_1(host, name, scale, c):
    negative = sample(host, {"dns": scale}, sampler=name).images
    swapped = sample(host, {}, [""], negative_prompts=PROMPT, cfg_scale=c, sampler=name).images
    assert (negative - swapped).abs().max() < 1e-4


def test_dns_is_equation_19(host):
    """eps = eps_empty + s (eps_empty - eps_p), written down without guidance code; x0 is affine in eps, so in x0."""
    run = host.prepare([PROMPT], [3], Settings.parse({"dns": {"scale": 2.5}}), **OPTIONS)
    x, sigma = run.latents, run.sigmas[0]
    given = run.guidance(x, sigma)

    def eps(text):
        context = host.model.encode([text]).crossattn
        return host.model.unet(x / (sigma**2 + 1) ** 0.5, host.levels.timestep(sigma).expand(1), context).sample

    with torch.no_grad():
        empty, prompt = eps(""), eps(PROMPT)
    assert (given - (x - sigma * (empty + 2.5 * (empty - prompt)))).abs().max() < 1e-3


def test_the_empty_prediction_of_sdxl_is_its_true_empty_condition(untrained, tmp_path):
    """All zeros, as in the host: not the embedding of an empty text."""
    shutil.copytree(untrained / "tokenizer", tmp_path / "tokenizer")
    layouts.write_sdxl(untrained / world.NAME, tmp_path / "xl.safetensors")
    host = EmbeddedHost.load(tmp_path / "xl.safetensors")
    seen = []
    hook = host.model.unet.register_forward_pre_hook(
        lambda module, inputs, more: seen.append((more["encoder_hidden_states"], more["added_cond_kwargs"]["text_embeds"])), with_kwargs=True)
    try:
        sample(host, {"dns": {}}, steps=1)
    finally:
        hook.remove()
    prompt = host.model.encode([PROMPT])
    (context, pooled), = seen
    assert not context[0].any() and not pooled[0].any()
    assert torch.equal(context[1:], prompt.crossattn) and torch.equal(pooled[1:], prompt.pooled)


def test_the_dns_picture_shows_nothing_of_the_prompt():
    """What the judge sees; 500 pictures a prompt: `python -m lib_negguide bench dnp`."""
    host, judge, count = EmbeddedHost.load(world.model()), Judge.load(), 16

    def seen(prompt, settings):
        made = sample(host, settings, [prompt] * count, range(900, 900 + count), steps=12, cfg_scale=world.GUIDANCE).images
        verdicts = judge(made)
        return (sum(verdict.kind == "portrait" for verdict in verdicts),
                sum(("red", "circle") in verdict.shapes or ("blue", "triangle") in verdict.shapes for verdict in verdicts))

    assert seen(PROMPT, {})[0] >= 14 and seen(PROMPT, {"dns": {}})[0] <= 2
    assert seen(CIRCLES, {})[1] >= 14 and seen(CIRCLES, {"dns": {}})[1] <= 2


def test_no_other_negative_acts_in_a_dns_picture(host):
    alone = sample(host, {"dns": {}}).images
    others = {"dns": {}, "negatives": [{"text": "hat"}], "box": {"weight": 2}, "combine": "branches"}
    result = sample(host, others, negative_prompts="glasses")
    assert torch.equal(result.images, alone) and result.trace.names == () and result.trace.extra_evaluations == 0
    assert torch.equal(sample(host, {"dns": {}, "enabled": False}).images, sample(host, {}).images)


@pytest.mark.parametrize("settings", [{"dnp": {"steps": 1}}, {"dnp": {"steps": 1, "window": {"start": 5.8, "stop": 1.6, "weight": 0.7}}},
                                      {"dnp": {"steps": 1}, "combine": "branches"}, {"dnp": {"steps": 1}, "combine": "perp-neg"}])
def test_a_caption_acts_as_a_negative_with_its_window(host, settings):
    ordinary = {name: value for name, value in settings.items() if name != "dnp"}
    ordinary["negatives"] = [{"text": "mustache", **settings["dnp"].get("window", {})}]
    assert torch.equal(sample(host, settings, captions=["mustache"]).images, sample(host, ordinary).images)


def test_captions_are_each_pictures_own(host):
    """Unequal token counts within a batch, one of them empty."""
    captions = ["mustache", LONG, ""]
    both = sample(host, {"dnp": {"steps": 1}}, [PROMPT] * 3, [3, 4, 5], captions=captions, batch_size=3).images
    for number, caption in enumerate(captions):
        alone = sample(host, {}, seeds=[3 + number], negative_prompts=caption).images
        assert (both[number] - alone[0]).abs().max() < 2e-3


def test_join_and_replace(host):
    box, caption = "glasses", "mustache"
    joined = sample(host, {"dnp": {"steps": 1}}, negative_prompts=box, captions=[caption])
    assert joined.trace.names == ("negative prompt", "caption")
    assert torch.equal(joined.images, sample(host, {}, negative_prompts="glasses, mustache").images)
    replaced = sample(host, {"dnp": {"use": "replace"}}, negative_prompts=box, captions=[caption])
    assert torch.equal(replaced.images, sample(host, {}, negative_prompts=caption).images)
    kept = sample(host, {"dnp": {"use": "replace"}}, [PROMPT] * 2, [3, 4], negative_prompts=[box, "hat"], captions=[caption, ""])
    assert torch.equal(kept.images, sample(host, {}, [PROMPT] * 2, [3, 4], negative_prompts=[caption, "hat"]).images)


def test_a_plan_with_captions(host):
    plan = GuidancePlan((Term(CAPTION, Window()),))
    given = host.sample([PROMPT], [3], plan, captions=["mustache"], **OPTIONS).images
    assert torch.equal(given, sample(host, {}, negative_prompts="mustache").images)
    for settings in (plan, Settings.parse({"dnp": {"steps": 1}})):
        with pytest.raises(SettingsError, match="captions"):
            host.prepare([PROMPT], [3], settings, **OPTIONS)
    with pytest.raises(SettingsError, match="captions = 2"):
        sample(host, {"dnp": {"steps": 1}}, captions=["a", "b"])


def test_auto_dnp_in_one_call(host):
    reader = Reader("a (hat)", LONG)
    result = sample(host, {"dnp": {"steps": 1}}, [PROMPT, CIRCLES], [3, 4], captioner=reader)
    pictures = sample(host, {"dns": {}}, [PROMPT, CIRCLES], [3, 4]).pil()
    assert [image.tobytes() for image in reader.seen] == [image.tobytes() for image in pictures]
    assert [negative.text for negative in result.negatives] == [captioners.safe("a (hat)"), captioners.safe(LONG)]
    assert result.negatives[0].shown[0].raw == "a (hat)"
    by_hand = sample(host, {"dnp": {"steps": 1}}, [PROMPT, CIRCLES], [3, 4], captions=[negative.text for negative in result.negatives])
    assert torch.equal(result.images, by_hand.images)
    assert [result.evaluations(number) for number in (0, 1)] == [24, 24]


def test_disabled_samples_and_captions_nothing(host):
    reader = Reader("a hat")
    result = sample(host, {"dnp": {"steps": 1}, "enabled": False}, captioner=reader)
    assert torch.equal(result.images, sample(host, {}).images) and not reader.seen and result.evaluations(0) == 12


def test_cheap_dns(host):
    """Fewer steps and a smaller size for the negative picture only."""
    reader = Reader("a hat")
    rows, result = rows_of(host, lambda: sample(host, {"dnp": {"steps": 0.5, "size": 0.5}}, captioner=reader))
    assert rows == [(2, 4)] * 3 + [(2, 8)] * 6
    assert reader.seen[0].size == (32, 32) and result.images.shape[-2:] == (64, 64)
    assert result.dns_calls == 3 and result.evaluations(0) == sum(row for row, _ in rows)


@pytest.mark.parametrize("sampler", ["Euler", "DDIM"])
def test_the_least_steps(host, sampler):
    """DDIM needs two for its one call."""
    assert sample(host, {"dnp": {"steps": 0.01}}, captioner=Reader("a hat"), sampler=sampler).dns_calls == 1


def test_the_cache_spares_the_negative_pictures(host, tmp_path):
    reader = Reader("a hat")
    first = sample(host, {"dnp": {"steps": 1}}, captioner=reader, cache=Pictures(tmp_path))
    for settings in ({"dnp": {"steps": 1}}, {"dnp": {"steps": 1, "window": {"start": 5.0}, "use": "replace"}, "negatives": [{"text": "glasses"}]}):
        rows, again = rows_of(host, lambda s=settings: sample(host, s, captioner=reader, cache=Pictures(tmp_path), negative_prompts="hat"))
        assert rows == [(2, 8)] * 6 and again.negatives[0].shown[0].cached
        assert again.negatives[0].text == first.negatives[0].text and again.evaluations(0) == 12
    assert len(reader.seen) == 1


@pytest.mark.parametrize("change", [{"steps": 7}, {"cfg_scale": 4.5}, {"sampler": "Heun"}, {"scheduler": "karras"}, {"size": (64, 72)},
                                    {"settings": {"dnp": {"steps": 1, "scale": 2}}}, {"settings": {"dnp": {"steps": 1, "meaning": "host"}}},
                                    {"settings": {"dnp": {"steps": 1, "size": 0.5}}}, {"seeds": [4]}, {"prompts": [CIRCLES]}])
def test_the_cache_tells_runs_apart(host, change):
    cache, reader = Pictures(), Reader("a hat")
    asked = {"settings": {"dnp": {"steps": 1}}}
    for request in (asked, {**asked, **change}):
        sample(host, captioner=reader, cache=cache, **request)
    assert len(cache) == 2


def test_the_cache_tells_models_apart(host):
    before = embedded.fingerprint(host.model)
    embedded._fingerprints.clear()
    assert embedded.fingerprint(host.model) == before
    weight = next(host.model.unet.parameters())
    embedded._fingerprints.clear()
    with torch.no_grad():
        kept = weight.clone()
        weight.view(-1)[0] += 1e-3
        try:
            assert embedded.fingerprint(host.model) != before
        finally:
            weight.copy_(kept)
            embedded._fingerprints.clear()


def test_several_pictures(host):
    reader = Reader("a hat", "glasses", "a mustache")
    rows, result = rows_of(host, lambda: sample(host, {"dnp": {"steps": 1, "samples": 3}}, captioner=reader))
    assert result.negatives[0].text == "a hat, glasses, a mustache"
    assert rows[:6] == [(6, 8)] * 6 and result.evaluations(0) == 48
    assert [entry.wanted.seed for entry in result.negatives[0].shown] == dns.seeds_of(3, 3)


class Clip:
    """Scores of two sets of pictures, in order."""

    def __init__(self, *sets):
        self.sets, self.seen = list(sets), []

    def scores(self, images, prompts):
        self.seen.append([image.tobytes() for image in images])
        return [Score(value) for value in self.sets.pop(0)]

    def similarities(self, images, prompts):
        return [score.full for score in self.scores(images, prompts)]


def test_scores_and_the_better_one(host):
    prompts, seeds = [PROMPT] * 4, [1, 2, 3, 4]
    plain = sample(host, {}, prompts, seeds)
    guided = sample(host, {"dnp": {"steps": 1}}, prompts, seeds, captions=["hat"] * 4)
    for keep, expected in ((False, [False] * 4), (True, [True, False, True, True])):
        clip, settings = Clip([2, 1, 2, 3], [1, 2, 2, 0]), {"dnp": {"steps": 1, "scores": True, "keep_better": keep}}
        scored = sample(host, settings, prompts, seeds, captioner=Reader("hat"), clip=clip)
        assert clip.seen == [[image.tobytes() for image in result.pil()] for result in (plain, guided)]
        assert [(one.full, other.full) for one, other in scored.scores] == [(2, 1), (1, 2), (2, 2), (3, 0)]
        assert torch.equal(scored.plain, plain.images) and scored.without == expected and scored.evaluations(0) == 36
        for number, without in enumerate(expected):
            assert torch.equal(scored.images[number], (plain if without else guided).images[number])


def test_best_by_likeness(host):
    result = sample(host, {"dnp": {"steps": 1, "samples": 3, "several": "best"}}, captioner=Reader("one", "two", "three"),
                    clip=Clip([2, 1, 3]))
    assert result.negatives[0].text == "two"


def test_progress_of_both_passes(host):
    steps = {"on_step": [], "on_dns_step": []}
    sample(host, {"dnp": {"steps": 0.5}}, [PROMPT] * 3, [1, 2, 3], batch_size=2, captioner=Reader("hat"),
           **{name: lambda call, calls, sigma, seen=seen: seen.append((call, calls)) for name, seen in steps.items()})
    assert steps == {"on_step": [(n, 12) for n in range(12)], "on_dns_step": [(n, 6) for n in range(6)]}


@pytest.mark.parametrize("where", ["on_step", "on_dns_step"])
def test_an_interrupt_in_either_pass(host, where):
    def interrupt(call, calls, sigma):
        if call == 3:
            raise KeyboardInterrupt

    cache = Pictures()
    with pytest.raises(KeyboardInterrupt):
        sample(host, {"dnp": {"steps": 1}}, captioner=Reader("hat"), cache=cache, **{where: interrupt})
    assert len(cache) == (where == "on_step")
    before = sample(host, {}).images
    assert torch.equal(before, sample(host, {}).images)


def test_figure_four(host):
    settings = Settings.parse({"dnp": {"steps": 1}})
    found, calls = embedded.negatives(host, settings.dnp, [PROMPT], [3], Reader("mustache"), **OPTIONS)
    sheet, = dns.four([PROMPT], [3], found, embedded.paint(host, settings, **OPTIONS))
    expected = [sample(host, {}), sample(host, {"dns": {}}), sample(host, {}, [""], negative_prompts="mustache"),
                sample(host, {}, negative_prompts="mustache")]
    assert calls == 6
    assert [image.tobytes() for _, image in sheet.titled(PROMPT)] == [result.pil()[0].tobytes() for result in expected]


def test_the_captioner_text_needs_no_captioner(host):
    rows, result = rows_of(host, lambda: sample(host, {"dnp": {"captioner": "text", "text": "mustache"}}))
    assert len(rows) == 6 and torch.equal(result.images, sample(host, {}, negative_prompts="mustache").images)


def test_a_captioner_that_is_not_there_is_named_before_anything_is_sampled(host):
    rows = []
    hook = host.model.unet.register_forward_pre_hook(lambda module, inputs: rows.append(1))
    try:
        with pytest.raises(CaptionerError, match="none-such"):
            sample(host, {"dnp": {"captioner": "/none-such/folder"}})
    finally:
        hook.remove()
    assert not rows


def test_dns_pictures_are_pictures(host):
    assert isinstance(sample(host, {"dns": {}}).pil()[0], Image.Image)
