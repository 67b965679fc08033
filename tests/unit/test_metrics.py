"""CLIP scores: the protocol, on a tiny CLIP with random weights; where weights are looked for, and what is refused."""

import gc
import json
import os
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image

from lib_negguide import clip_model, metrics
from lib_negguide.errors import ModelError, SettingsError
from lib_negguide.metrics import ClipScores, Score, objects
from tests import tiny_clip, with_open_clip
from tests.tiny_clip import LOOK

with_open_clip.ready()

import open_clip  # noqa: E402
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES  # noqa: E402

PROMPT = "a red circle and a blue square"


@pytest.fixture(scope="module")
def model():
    return tiny_clip.model()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny CLIP as open_clip keeps its models on the hub."""
    return tiny_clip.write(tmp_path_factory.mktemp("tiny-clip"))


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch, tmp_path):
    """No test finds weights of this machine, or leaves a model behind."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    yield
    metrics.release()


def picture(seed, size=(48, 40), mode="RGB"):
    pixels = torch.randint(0, 256, (size[1], size[0], 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return Image.fromarray(pixels.numpy()).convert(mode)


def by_the_protocol(model, image, text):
    """Attend-and-Excite's cosine of a picture and a text, once more and slowly."""
    look = open_clip.image_transform(32, is_train=False, mean=LOOK["mean"], std=LOOK["std"])
    with torch.no_grad():
        seen = model.encode_image(look(image)[None])[0]
        total = 0
        for template in OPENAI_IMAGENET_TEMPLATES:
            filled = template(text).replace("a a", "a").replace("the a", "a")
            said = model.encode_text(open_clip.tokenizer.tokenize(filled))[0]
            total = total + said / said.norm()
        return float(torch.nn.functional.cosine_similarity(seen, total, dim=0))


# The protocol


def test_the_protocols_templates():
    assert len(OPENAI_IMAGENET_TEMPLATES) == 80
    filled = metrics.filled("a cat")
    assert filled[0] == "a bad photo of a cat." and "a photo of many a cat." in filled and "a plushie a cat." in filled
    assert "a photo of a cat." in filled  # "the a cat" too became "a cat"
    assert not [text for text in filled if "the a" in text]


@pytest.mark.parametrize("prompt, expected", [
    ("a cat and a dog", ["a cat", "a dog"]),
    ("a cat with a hat", ["a cat", "a hat"]),
    ("a cat with a hat and a dog", ["a cat with a hat", "a dog"]),
    ("a cat and a dog and a bird", ["a cat", "a dog", "a bird"]),
    ("a (cat:1.2) AND a dog :0.7", ["a cat", "a dog"]),
    ("a sandy withered hand", []),
])
def test_objects(prompt, expected):
    assert objects(prompt) == expected


def test_scores_are_the_protocols(model, folder):
    images = [picture(1), picture(2, (40, 64)), picture(3)]
    prompts = [PROMPT, "a cat with a hat", "a cat"]
    scores = ClipScores.load(str(folder)).scores(images, prompts)
    for image, prompt, score in zip(images, prompts, scores):
        assert score.full == pytest.approx(by_the_protocol(model, image, prompt), abs=1e-5)
        parts = [by_the_protocol(model, image, part) for part in objects(prompt)]
        assert score.minimum == (pytest.approx(min(parts), abs=1e-5) if parts else None)


def test_prompt_syntax_is_not_scored(folder):
    clip = ClipScores.load(str(folder))
    plain, dressed = clip.scores([picture(1)] * 2, [PROMPT, "a (red:1.3) circle <lora:x:1> AND [a] blue square"])
    assert plain == dressed
    assert clip.similarities([picture(1)], [PROMPT]) == [plain.full]


def test_batches_do_not_change_scores(folder, monkeypatch):
    images, prompts = [picture(seed) for seed in range(5)], [PROMPT, "a cat", "a dog", "a cat", PROMPT]
    whole = ClipScores.load(str(folder)).scores(images, prompts)
    monkeypatch.setattr(metrics, "PICTURES", 2)
    monkeypatch.setattr(metrics, "TEXTS", 7)
    cut = ClipScores.load(str(folder)).scores(images, prompts)
    for one, other in zip(whole, cut):
        assert one.full == pytest.approx(other.full, abs=1e-5)
    assert len({score.full for score in whole}) == 5


@pytest.mark.parametrize("mode", ["RGBA", "L", "P"])
def test_pictures_of_any_mode(folder, mode):
    image = picture(4, mode=mode)
    clip = ClipScores.load(str(folder))
    assert clip.scores([image], ["a cat"]) == clip.scores([image.convert("RGB")], ["a cat"])


def test_no_pictures(folder):
    assert ClipScores.load(str(folder)).scores([], []) == []


def test_the_better():
    assert Score(0.3, 0.25).better_than(Score(0.34, 0.24))
    assert not Score(0.34, 0.24).better_than(Score(0.3, 0.25))
    assert Score(0.31).better_than(Score(0.3)) and not Score(0.3).better_than(Score(0.3))
    assert Score(0.31, 0.2).better_than(Score(0.3, 0.2))
    assert Score(0.33333, 0.25).to_dict() == {"full": 0.3333, "minimum": 0.25}


# Files


def test_found_among_the_hosts_models(folder, tmp_path):
    (tmp_path / "CLIP").mkdir()
    (tmp_path / "CLIP" / "ViT-B-16").symlink_to(folder, target_is_directory=True)
    found = clip_model.find(folders=[tmp_path / "absent", tmp_path / "CLIP"])
    assert (found.name, found.weights.name) == ("ViT-B-16", "open_clip_model.safetensors")
    assert clip_model.find(folders=[folder]).weights == folder / "open_clip_model.safetensors"


def test_found_by_name_in_the_hosts_models(tmp_path):
    (tmp_path / "ViT-B_16-openai.safetensors").touch()
    (tmp_path / "ViT-L-14.safetensors").touch()
    assert clip_model.find(folders=[tmp_path]).weights == tmp_path / "ViT-B_16-openai.safetensors"


def test_missing_weights_say_where_to_put_them(tmp_path):
    with pytest.raises(ModelError) as caught:
        clip_model.find(folders=[tmp_path / "models" / "CLIP"])
    assert "open_clip_model.safetensors" in str(caught.value) and clip_model.HUB in str(caught.value)
    assert str(tmp_path / "models" / "CLIP") in str(caught.value)


def hub_copy(folder, cache, name):
    """The model as huggingface_hub keeps it."""
    place = Path(cache) / ("models--" + name.replace("/", "--"))
    snapshot = place / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc")
    for file in folder.iterdir():
        os.symlink(file, snapshot / file.name)


@pytest.mark.parametrize("spec, name", [("auto", clip_model.HUB), ("some/clip", "some/clip")])
def test_local_copy_of_the_hub(folder, tmp_path, monkeypatch, spec, name):
    hub_copy(folder, tmp_path, name)
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = clip_model.find(spec)
    assert found.name == name
    assert ClipScores(clip_model.load(found)).scores([picture(1)], ["a cat"])


def test_nothing_is_downloaded_unless_allowed(monkeypatch):
    asked = []

    def download(name, file, local_files_only):
        asked.append((name, file, local_files_only))
        raise OSError("no network here")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(ModelError, match="no copy of it on this machine"):
        clip_model.find("some/clip")
    with pytest.raises(ModelError, match="no network here"):
        clip_model.find("some/clip", downloads=True)
    with pytest.raises(ModelError, match="no network here"):
        clip_model.find("auto", downloads=True)
    assert asked == [("some/clip", "open_clip_config.json", True), ("some/clip", "open_clip_config.json", False),
                     (clip_model.HUB, "open_clip_config.json", False)]


@pytest.mark.parametrize("suffix", [".bin", ".pt"])
def test_pickled_weights_are_read_without_running_them(model, folder, tmp_path, suffix):
    (tmp_path / "open_clip_config.json").write_bytes((folder / "open_clip_config.json").read_bytes())
    state = {"module." + key: value.half() for key, value in model.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "open_clip_pytorch_model.bin")
    if suffix == ".bin":
        score, = ClipScores.load(str(tmp_path)).scores([picture(1)], ["a cat"])
        assert score.full == pytest.approx(by_the_protocol(model, picture(1), "a cat"), abs=2e-3)
    else:
        assert set(clip_model.read(tmp_path / "open_clip_pytorch_model.bin")) == set(model.state_dict())


def test_torchscript_is_refused(tmp_path):
    """OpenAI's own ViT-B-16.pt is such an archive."""
    class Evil(torch.nn.Module):
        def forward(self, x):
            return x

    torch.jit.script(Evil()).save(str(tmp_path / "ViT-B-16.pt"))
    with pytest.raises(ModelError, match="TorchScript archive.*runs code.*open_clip_model.safetensors"):
        ClipScores.load(str(tmp_path / "ViT-B-16.pt"))


def test_pickled_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"a": Evil()}, tmp_path / "model.pt")
    with pytest.raises(ModelError, match="cannot be read as weights"):
        ClipScores.load(str(tmp_path / "model.pt"))
    assert not (tmp_path / "ran").exists()


def test_a_lone_file_is_taken_for_the_protocols_model(folder, tmp_path):
    lone = tmp_path / "ViT-B-16.safetensors"
    lone.write_bytes((folder / "open_clip_model.safetensors").read_bytes())
    with pytest.raises(ModelError, match="ViT-B-16.safetensors does not fit OpenAI's ViT-B/16"):
        ClipScores.load(str(lone))
    assert clip_model.VIT_B_16["quick_gelu"] is True
    sizes = dict(open_clip.get_model_config("ViT-B-16"), quick_gelu=True)
    assert clip_model.VIT_B_16 == sizes


def spoiled(folder, place, change):
    config = json.loads((folder / "open_clip_config.json").read_text())
    change(config)
    (place / "open_clip_config.json").write_text(json.dumps(config))
    (place / "open_clip_model.safetensors").symlink_to(folder / "open_clip_model.safetensors")


@pytest.mark.parametrize("change, message", [
    (lambda c: c["model_cfg"].update(embed_dim=8), "does not fit"),
    (lambda c: c["model_cfg"].update(surprise=1), "does not fit.*surprise"),
    (lambda c: c["model_cfg"].pop("vision_cfg"), "no configuration of an open_clip model"),
    (lambda c: c["model_cfg"]["text_cfg"].update(hf_model_name="roberta-base"), "text part is open_clip's own"),
    (lambda c: c["model_cfg"].update(multimodal_cfg={}), "text part is open_clip's own"),
    (lambda c: c["preprocess_cfg"].update(resize_mode="squash"), "resized bicubically by their shorter side"),
])
def test_models_that_are_refused(folder, tmp_path, change, message):
    spoiled(folder, tmp_path, change)
    with pytest.raises(ModelError, match=message):
        ClipScores.load(str(tmp_path))


def test_names_that_are_refused(tmp_path):
    with pytest.raises(ModelError, match="neither a file, a folder, nor a hub id"):
        clip_model.find(str(tmp_path / "absent.safetensors"))
    with pytest.raises(ModelError, match="has no \"open_clip_config.json\""):
        clip_model.find(str(tmp_path))
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(ModelError, match="holds no weights"):
        clip_model.find(str(tmp_path))
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="no configuration of an open_clip model"):
        ClipScores.load(str(tmp_path))


def test_without_open_clip(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "open_clip", None)
    with pytest.raises(ModelError, match="need open_clip, which cannot be imported"):
        ClipScores.load(str(folder))


# Memory


@pytest.fixture
def only_what_is_new():
    """The collector passes over what earlier tests and imports left: millions of objects, a second a time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def alive():
    """How many tensors and modules there are."""
    gc.collect()
    kinds = Counter(map(type, gc.get_objects()))
    return [sum(number for kind, number in kinds.items() if issubclass(kind, base)) for base in (torch.Tensor, torch.nn.Module)]


def score_once(folder, **kwargs):
    with metrics.opened(str(folder), **kwargs) as clip:
        clip.scores([picture(1)], [PROMPT])
    return clip


def test_unloaded_after_use(folder, only_what_is_new):
    score_once(folder)  # what imports leave behind
    before = alive()
    held = score_once(folder)
    assert alive() == before, "a caller who still holds the object holds no model"
    assert held.name == folder.name


def test_unloaded_after_a_failure(folder, only_what_is_new):
    score_once(folder)
    before = alive()
    for keep in metrics.KEEP:
        with pytest.raises(AttributeError), metrics.opened(str(folder), keep=keep) as clip:
            clip.scores([None], [PROMPT])
        del clip
        assert alive() == before


@pytest.mark.parametrize("keep", ["cpu", "loaded"])
def test_kept(folder, tmp_path, monkeypatch, keep, only_what_is_new):
    loads = []
    load = clip_model.load
    monkeypatch.setattr(clip_model, "load", lambda found: loads.append(found) or load(found))
    score_once(folder)
    before = alive()
    loads.clear()
    first = score_once(folder, keep=keep)
    assert score_once(folder, keep=keep) is first and len(loads) == 1
    (tmp_path / "other").symlink_to(folder, target_is_directory=True)
    score_once(tmp_path / "other", keep=keep)  # another model takes its place
    assert len(loads) == 2 and len(metrics._kept) == 1
    score_once(tmp_path / "other")  # no longer kept
    assert len(loads) == 2 and not metrics._kept
    del first
    assert alive() == before


def test_keep_is_checked(folder):
    with pytest.raises(SettingsError, match="keep = 'forever' is not allowed; one of unload, cpu, loaded"), metrics.opened(
            str(folder), keep="forever"):
        pass
