"""Image prompts on the embedded host: from files to pictures."""

import pytest
import torch
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from lib_negguide.errors import ModelError, SettingsError
from lib_negguide.image_prompt import checkpoints, encoder, injection, prompt, vision
from lib_negguide.image_prompt.encoder import Picture
from lib_negguide.image_prompt.prompt import Entry
from lib_negguide.settings import Settings, Window
from lib_negguide.world import PROMPT
from tests import adapters

OPTIONS = {"steps": 6, "cfg_scale": 4.0, "size": (64, 64)}
SMALL = {"hidden_size": 32, "intermediate_size": 64, "projection_dim": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
         "patch_size": 8}
RED, BLUE = (Picture(Image.new("RGB", (40, 40), color)) for color in ("red", "blue"))


@pytest.fixture(scope="module")
def files(host, tmp_path_factory):
    """Folder with an encoder and adapters of both kinds, random and strong."""
    folder = tmp_path_factory.mktemp("image prompts")
    torch.manual_seed(0)
    CLIPVisionModelWithProjection(CLIPVisionConfig(**SMALL)).save_pretrained(folder / "encoder", safe_serialization=True)
    for kind in ("base", "plus"):
        nested = adapters.fitting(host.model.unet, kind, feature=24 if kind == "base" else 32)
        nested["ip_adapter"] = {key: 3 * value for key, value in nested["ip_adapter"].items()}
        adapters.write(nested, folder / f"{kind}.safetensors")
    return folder


@pytest.fixture(autouse=True)
def released():
    prompt.release()
    yield
    prompt.release()


def ready(host, files, *entries, kind="base", **options):
    return prompt.prepare(entries, files / f"{kind}.safetensors", host.model.unet, folders=[files], **options)


def pictures(host, images=None, settings=None, seeds=(3, 4), **options):
    return host.sample([PROMPT] * len(seeds), list(seeds), Settings.parse(settings or {}), images=images, **{**OPTIONS, **options})


def apart(one, other):
    return float((one.images - other.images).abs().max())


@pytest.mark.parametrize("kind", ["base", "plus"])
def test_every_way_of_asking_gives_another_picture(host, files, kind):
    negative, positive = Entry(RED), Entry(BLUE, "positive")
    results = [pictures(host)] + [pictures(host, ready(host, files, *entries, kind=kind))
                                  for entries in ((negative,), (positive,), (negative, positive), (Entry(BLUE), Entry(RED, "positive")))]
    for index, one in enumerate(results):
        for other in results[:index]:
            assert apart(one, other) > 0.01


def test_without_texts_too(host, files):
    images = ready(host, files, Entry(RED), Entry(BLUE, "positive"))
    nothing = host.sample([""], [3], **OPTIONS)
    both = host.sample([""], [3], images=images, **OPTIONS)
    assert torch.isfinite(both.images).all() and (both.images - nothing.images).abs().max() > 0.01


@pytest.mark.parametrize("kind", ["base", "plus"])
def test_negative_pictures_are_subtracted_from_positive_ones_features(host, files, kind):
    green = Picture(Image.new("RGB", (40, 40), "green"))
    entries = Entry(BLUE, "positive"), Entry(RED), Entry(green, window=Window(start=2.0))
    adapter = checkpoints.load(files / f"{kind}.safetensors")
    plain, early, late = (encoder.features(list(some), encoder.find("", adapter, [files]), adapter.feature)
                          for some in ((BLUE,), (RED,), (RED, green)))
    images = ready(host, files, *entries, kind=kind, subtract=0.5)
    for sigma, others in ((5.0, early), (1.0, late)):
        (tokens, weight), = [row for row in images.rows(sigma)["positive"] if row[0] is not images.neutral]
        expected = injection.image_tokens(adapter, adapter.tokens(plain[0] - 0.5 * torch.stack(others).mean(0))[0])
        assert weight == 1.0
        for (k, v), (k_expected, v_expected) in zip(tokens.layers, expected.layers, strict=True):
            assert torch.allclose(k, k_expected, atol=1e-5) and torch.allclose(v, v_expected, atol=1e-5)
    assert apart(pictures(host, images), pictures(host, ready(host, files, *entries, kind=kind))) > 0.01
    away = Entry(RED, window=Window(start=100, stop=50))  # outside the negative's window the positive picture is itself
    assert torch.equal(pictures(host, ready(host, files, entries[0], away, kind=kind, subtract=0.5)).images,
                       pictures(host, ready(host, files, entries[0], kind=kind)).images)


@pytest.mark.parametrize("combine", ["join", "branches"])
@pytest.mark.parametrize("windows", [{"weight": 0}, {"start": 1e-4}, {"start": 100, "stop": 50}])
def test_weight_zero_or_outside_the_window_is_no_adapter_to_the_bit(host, files, windows, combine):
    images = ready(host, files, Entry(RED, window=Window(**windows)), Entry(BLUE, "positive", Window(**windows)))
    text = {"negatives": [{"text": "hat"}], "combine": combine}
    assert torch.equal(pictures(host, images, text).images, pictures(host, None, text).images)


@pytest.mark.parametrize("name", ["Euler", "Heun", "DPM++ 2M", "DDIM"])
def test_the_window_acts_exactly_at_its_calls(host, files, name):
    images = ready(host, files, Entry(RED, window=Window(start=5.8, stop=1.6)), Entry(BLUE, "positive", Window(weight=0.5, start=3), "blue"))
    result = pictures(host, images, {"negatives": [{"text": "hat"}]}, sampler=name, steps=9)
    trace = result.trace
    assert trace.names == ("hat", "negative picture 1", "positive picture blue")
    assert trace.acted(1) == [n for n, call in enumerate(trace.calls) if 1.6 < call.sigma <= 5.8] != []
    assert trace.acted(2) == [n for n, call in enumerate(trace.calls) if call.sigma <= 3]
    assert "strength 0.5" in trace.summary()[2]


def test_before_the_window_the_run_is_the_one_without(host, files):
    def states(images):
        run = host.prepare([PROMPT], [3], images=images, **OPTIONS)
        x = [run.latents]
        for call in range(OPTIONS["steps"]):
            x.append(run.between(x[-1], call, call + 1))
        return x

    images = ready(host, files, Entry(RED, window=Window(start=5.8, stop=1.6)))
    sigmas = host.prepare([PROMPT], [3], **OPTIONS).sigmas.tolist()
    first = next(n for n, sigma in enumerate(sigmas) if sigma <= 5.8)
    same = [torch.equal(one, other) for one, other in zip(states(None), states(images), strict=True)]
    assert 0 < first and same == [n <= first for n in range(len(same))]


def test_weights_scale_what_is_added(host, files):
    """A picture twice with weight w is the picture once with weight 2 w."""
    twice = ready(host, files, Entry(RED, window=Window(weight=0.4)), Entry(RED, window=Window(weight=0.4)))
    once = ready(host, files, Entry(RED, window=Window(weight=0.8)))
    assert apart(pictures(host, twice), pictures(host, once)) < 1e-3
    assert apart(pictures(host, once), pictures(host, ready(host, files, Entry(RED)))) > 1e-3


def test_prompts_of_unequal_lengths_and_branches_have_the_right_rows(host, files):
    """Two forwards for two token counts, or rows of branches: the same pictures as one by one."""
    images = ready(host, files, Entry(RED), Entry(BLUE, "positive"))
    long = ", ".join(["hat"] * 90)
    joined = host.sample([PROMPT], [3], images=images, negative_prompts=long, **OPTIONS)
    swapped = host.sample([PROMPT], [3], images=ready(host, files, Entry(BLUE), Entry(RED, "positive")), negative_prompts=long, **OPTIONS)
    assert apart(joined, swapped) > 0.01
    # With the prompt as its own negative guidance does nothing whatever its scale, unless the sides' pictures differ.
    same = ready(host, files, Entry(RED), Entry(RED, "positive"))
    strong, weak = (host.sample([PROMPT], [3], images=same, negative_prompts=PROMPT, **{**OPTIONS, "cfg_scale": scale}) for scale in (8.0, 1.0))
    assert apart(strong, weak) < 2e-3
    # A branch that repeats the unconditional text has its pictures as well, so it adds nothing.
    branch = {"negatives": [{"text": ""}, {"text": PROMPT}], "combine": "branches"}
    assert apart(pictures(host, same, branch, cfg_scale=4.0), pictures(host, same, cfg_scale=1.0)) > 1e-3
    half = {"negatives": [{"text": PROMPT, "weight": 0.5}], "combine": "branches"}
    assert apart(pictures(host, same, half), pictures(host, same, cfg_scale=2.0)) < 2e-3


def test_each_picture_of_a_batch_can_have_its_own(host, files):
    red, blue = (ready(host, files, Entry(picture)) for picture in (RED, BLUE))
    mixed = pictures(host, [red, blue, red], seeds=(3, 4, 5), batch_size=2).images
    alone = [pictures(host, images, seeds=(seed,)).images[0] for images, seed in ((red, 3), (blue, 4), (red, 5))]
    assert all((one - other).abs().max() < 2e-3 for one, other in zip(mixed, alone, strict=True))
    with pytest.raises(SettingsError, match="images"):
        pictures(host, [red])


def test_nothing_is_left_behind(host, files):
    before = pictures(host)
    images = ready(host, files, Entry(RED))

    def interrupt(call, calls, sigma):
        if call == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pictures(host, images, on_step=interrupt)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in host.model.unet.modules())
    assert torch.equal(pictures(host).images, before.images)


def test_noise_is_a_picture(host, files):
    noise = Picture(None, "fade", 0.8)
    assert apart(pictures(host, ready(host, files, Entry(noise))), pictures(host)) > 0.01
    faded = ready(host, files, Entry(Picture(RED.image, "fade", 0.5)))
    assert apart(pictures(host, faded), pictures(host, ready(host, files, Entry(RED)))) > 1e-3


def test_pictures_seen_before_need_neither_encoder_nor_adapter(host, files, monkeypatch):
    first = ready(host, files, Entry(RED), Entry(BLUE, "positive"))
    monkeypatch.setattr(vision, "build", lambda *_: 1 / 0)
    monkeypatch.setattr(checkpoints, "load", lambda *_: 1 / 0)
    again = ready(host, files, Entry(BLUE), Entry(RED, "positive"))
    assert again.tokens == first.tokens[::-1] and again.neutral is first.neutral
    with pytest.raises(ZeroDivisionError):
        ready(host, files, Entry(Picture(Image.new("RGB", (9, 9)))))


@pytest.mark.parametrize("keep, adapter_stays", [("unload", False), ("cpu", True), ("loaded", True)])
def test_adapter_and_encoder_are_put_away_as_asked(host, files, keep, adapter_stays, monkeypatch):
    ready(host, files, Entry(RED), keep=keep)
    monkeypatch.setattr(checkpoints, "load", lambda *_: 1 / 0)
    monkeypatch.setattr(vision, "build", lambda *_: 1 / 0)
    if adapter_stays:
        assert ready(host, files, Entry(BLUE), keep=keep).tokens
    else:
        with pytest.raises(ZeroDivisionError):
            ready(host, files, Entry(BLUE), keep=keep)


def test_keys_and_values_are_computed_once_a_run(host, files, monkeypatch):
    images = ready(host, files, Entry(RED))
    made = []
    real = injection.Injection._keys_values

    def counted(self, pictures, index, heads, like):
        before = len(self._stacked)
        out = real(self, pictures, index, heads, like)
        made.append(len(self._stacked) - before)
        return out

    monkeypatch.setattr(injection.Injection, "_keys_values", counted)
    pictures(host, images)
    layers = len(injection.cross_attention(host.model.unet))
    assert sum(made) == layers and len(made) == layers * OPTIONS["steps"]


def test_what_does_not_fit_is_said(host, files, tmp_path):
    sdxl = adapters.write(adapters.checkpoint(inner=(64,) * 4, width=2048), tmp_path / "sdxl.safetensors")
    with pytest.raises(ModelError, match="sdxl.safetensors is made for SDXL .*the loaded model is one of cross-attention width 64, 7 layers"):
        prompt.prepare([Entry(RED)], sdxl, host.model.unet, folders=[files])
    with pytest.raises(ModelError, match="no IP-Adapter .*gone.bin"):
        prompt.prepare([Entry(RED)], tmp_path / "gone.bin", host.model.unet, folders=[files])
    with pytest.raises(ModelError, match="needs .*put it into .*nowhere"):
        prompt.prepare([Entry(RED)], files / "base.safetensors", host.model.unet, folders=[tmp_path / "nowhere"])
    with pytest.raises(SettingsError, match="dns"):
        pictures(host, ready(host, files, Entry(RED)), {"dns": {}})
    with pytest.raises(SettingsError, match="images.*prepared"):
        pictures(host, None, {"images": [{"noise": "fade"}]})


def test_auto_dnp_shows_the_opposite_of_the_text_alone(host, files):
    """The negative picture is sampled without image prompts, the picture with them."""
    seen = []

    class Colours:
        name = "colours"

        def caption(self, images, how=None):
            seen.append([image.tobytes() for image in images])
            return ["hat"] * len(images)

    images = ready(host, files, Entry(RED))
    without = pictures(host, None, {"dnp": {}}, captioner=Colours())
    with_images = pictures(host, images, {"dnp": {}}, captioner=Colours())
    assert seen[0] == seen[1] and apart(without, with_images) > 0.01


def test_a_removal_predicts_each_picture_with_its_own(host, files):
    """In a batch of which only one picture's negative is predicted, that picture is as it is alone."""
    prompts = [ready(host, files, Entry(RED)), ready(host, files, Entry(BLUE), Entry(RED, "positive"))]
    settings = Settings.parse({"remove": {"text": "hat", "start": None, "stop": 0.5, "every": 1, "weight": 1.5}})

    class There:
        """Only in the pictures of these seeds."""

        name, gone, back, looks, needs_negative, graded = "there", 0.5, 0.5, 1, False, False

        def __init__(self, seeds):
            self._there = [float(seed == 4) for seed in seeds]

        def presence(self, seen, pictures):
            return torch.tensor([self._there[picture] for picture in pictures])

    def latents(seeds, images):
        run = host.prepare([PROMPT] * len(seeds), seeds, settings, images=images, detector=There(seeds), **OPTIONS)
        return run.between(run.latents), run.guidance.trace

    both, trace = latents([3, 4], prompts)
    assert not trace.removing(0) and trace.removing(1) == [0, 1, 2, 3, 4] and trace.calls[2].removal.predicted == (False, True)
    torch.testing.assert_close(both[1:], latents([4], prompts[1:])[0], rtol=0, atol=1e-3)
    assert (both[1:] - latents([4], prompts[:1])[0]).abs().max() > 0.1
