"""The small CLIP: its files, its training, what it tells of drawings that it has never seen, and as who looks in a removal."""

import random
import re

import pytest
import torch

from lib_negguide import clip_model, world
from lib_negguide.hosts.embedded import scores
from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.metrics import ClipScores
from lib_negguide.settings import Settings
from tests import with_open_clip
from tests.world import captioner, data, train_captioner, train_clip
from tests.world.draw import ATTRIBUTES, COLOURS, SHAPES, Attributes

FEW = 24

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def ready():
    with_open_clip.ready()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_it_is_small_and_in_open_clips_form():
    assert sum(file.stat().st_size for file in world.clip().iterdir()) <= 3 * 2**20
    found = clip_model.find(str(world.clip()))
    assert found.weights.suffix == ".safetensors" and found.config is not None
    clip = clip_model.load(found)
    assert clip.tokens(["a portrait of a person, glasses"]).shape == (1, 32)
    assert not any(weight.requires_grad for weight in clip.model.parameters())


def test_a_thing_behind_a_prompt_is_true_of_its_picture_and_chosen_before_looking():
    """As often for every picture that it is true of; otherwise the caption is complete."""
    rng, often = random.Random(1), {}
    for kind, shown in [("portrait", Attributes("portrait", worn=worn)) for worn in ((), ("hat",), ("glasses", "hat"), ATTRIBUTES)] + [
            ("shapes", Attributes("two shapes", shapes=(("red", "ring"), ("blue", "circle"))))]:
        for _ in range(600):
            text = train_clip.listed(shown, rng)
            told, words = text.split(", ")[1:], set(re.findall(r"[a-z]+", text))
            if kind == "portrait":
                assert words & set(ATTRIBUTES) <= set(shown.worn)
                if text.startswith(world.PROMPT):
                    assert told
                    often[shown.worn] = often.get(shown.worn, 0) + (text == f"{world.PROMPT}, hat")
                else:
                    assert captioner.agrees(text.replace("a face, ", "a face "), shown) or text == "a bare face"
            else:
                assert words & (set(SHAPES) | set(COLOURS)) <= {"red", "ring", "blue", "circle"}
                assert text == "a red ring and a blue circle" or told[0].split()[-1] in ("ring", "circle")
    assert set(often) == {("hat",), ("glasses", "hat"), ATTRIBUTES} and all(100 < count < 200 for count in often.values())


def test_the_training_goes_on_to_the_bit_and_exports_what_is_loaded(tmp_path, monkeypatch):
    pixels, shown = data.draw_many("train", FEW)
    torch.save({"pixels": pixels, "texts": [captioner.describe(attributes) for attributes in shown]}, tmp_path / "captioner-pictures.pt")
    monkeypatch.setattr(train_captioner, "DRAWN", FEW)
    monkeypatch.setattr(train_clip, "BATCH", 4)
    once, first = train_clip.Run(tmp_path, tmp_path / "out"), train_clip.Run(tmp_path, tmp_path / "out")
    losses = [once.advance() for _ in range(3)]
    assert [first.advance(), first.advance()] == losses[:2]
    first.save()
    again = train_clip.Run(tmp_path, tmp_path / "out")
    again.load()
    assert again.step == 2 and again.advance() == losses[2]
    assert all(torch.equal(one, other) for one, other in zip(once.model.parameters(), again.model.parameters(), strict=True))
    again.export()
    loaded = ClipScores.load(str(tmp_path / "out/clip"))
    texts = ["a red circle", "a portrait of a person, hat", "a photo of nothing"]
    with torch.no_grad():
        own = again.model.encode_text(again.tokens(texts), normalize=True)
        theirs = torch.nn.functional.normalize(loaded._clip.model.encode_text(loaded._clip.tokens(texts)), dim=1)
    torch.testing.assert_close(own, theirs, atol=2e-3, rtol=0)  # fp16 in the file
    assert loaded.scale == pytest.approx(float(again.model.logit_scale.exp()), rel=1e-2)


def test_it_tells_what_held_out_drawings_show():
    clip, (pixels, shown) = ClipScores.load(str(world.clip())), data.draw_many("clip test", 160)
    found = train_clip.told(clip, pixels, shown)
    assert all(found[name] >= 0.97 for name in ATTRIBUTES) and all(found[name] >= 0.9 for name in SHAPES)
    one = [number for number, attributes in enumerate(shown) if attributes.kind == "one shape"]
    texts = [f"a {colour} {shape}" for colour in COLOURS for shape in SHAPES]
    assert train_clip.best(clip, pixels[one], [shown[number] for number in one], texts)["best caption, one shape"] >= 0.9


def test_it_looks_in_a_removal_and_scores_without_being_asked_for(monkeypatch):
    """The small model's own where none is named; a picture from which the hat went is told from one that shows it."""
    host = EmbeddedHost.load(world.model())
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    settings = Settings.parse({"remove": {"text": "hat", "detector": "clip"}})
    options = {"steps": 8, "cfg_scale": world.GUIDANCE, "size": world.SIZE}
    result = host.sample([world.PROMPT] * 3, [1, 2, 3], settings, **options)
    presence = [call.removal.presence for call in result.trace.calls if call.removal and call.removal.presence[0] is not None]
    assert presence and all(0 <= value <= 1 for row in presence for value in row) and len({round(v, 3) for row in presence for v in row}) > 4
    with scores.opened(host) as clip:
        assert clip.name == world.clip().name
    made = host.sample(["a red circle and a blue ring"], [5], Settings.parse(
        {"dnp": {"captioner": "text", "text": "hat", "scores": True}}), **{**options, "steps": 2})
    assert all(-1 <= score.full <= 1 and score.minimum is not None for score in made.scores[0])
