"""``generate`` with image prompts."""

import json
import shutil

import pytest
import torch
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from lib_negguide import world
from lib_negguide.cli import main
from lib_negguide.image_prompt import checkpoints, encoder, published
from tests import adapters, tiny_hub

QUICK = ["--steps", "3", "--seeds", "1"]


@pytest.fixture(scope="module")
def ours(host, tmp_path_factory):
    """A strong random adapter for the small model, and an encoder for it."""
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    small = CLIPVisionConfig(hidden_size=32, intermediate_size=64, projection_dim=24, num_hidden_layers=2, num_attention_heads=2, image_size=32,
                             patch_size=8)
    CLIPVisionModelWithProjection(small).save_pretrained(folder / "encoder", safe_serialization=True)
    nested = adapters.fitting(host.model.unet, feature=24)
    nested["ip_adapter"] = {key: 3 * value for key, value in nested["ip_adapter"].items()}
    return adapters.write(nested, folder / "ours.safetensors")


@pytest.fixture
def files(tmp_path, monkeypatch, ours):
    """A folder to work in, with pictures; the small model's own adapter and encoder are random ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(world, "adapter", lambda: ours)
    monkeypatch.setattr(world, "image_encoder", lambda: ours.parent / "encoder")
    Image.new("RGB", (40, 40), "red").save("red.png")
    Image.new("RGB", (40, 40), "blue").save("odd@name*2.png")
    (tmp_path / "text.png").write_text("no picture")
    return tmp_path


def made(folder):
    return sorted(folder.glob("out/*.png"), key=lambda path: path.stat().st_mtime_ns)


def schedule(path):
    """The settings in a picture's infotext."""
    text = Image.open(path).info["parameters"]
    start = text.index("NegGuide schedule: ") + len("NegGuide schedule: ")
    return json.loads(json.JSONDecoder().raw_decode(text[start:])[0])


def test_pictures_from_files(files, capsys):
    assert main(["generate", world.PROMPT, *QUICK]) == 0
    assert main(["generate", world.PROMPT, *QUICK, "--negative-image", "red.png@0:1:fraction*0.5", "--image", "odd@name*2.png"]) == 0
    plain, with_images = (Image.open(path) for path in made(files))
    assert plain.tobytes() != with_images.tobytes()
    printed = capsys.readouterr().out
    assert "negative picture red.png: calls 1-3 of 3" in printed and "strength 0.5" in printed
    assert "positive picture odd@name*2.png: calls 1-3 of 3" in printed
    negative, positive = schedule(made(files)[1])["images"]
    assert negative["image"].startswith("sha256:") and (negative["name"], negative["weight"]) == ("red.png", 0.5)
    assert (positive["name"], positive["side"]) == ("odd@name*2.png", "positive")


def test_subtracted(files):
    both = ["--negative-image", "red.png", "--image", "odd@name*2.png"]
    assert main(["generate", world.PROMPT, *QUICK, *both]) == 0
    assert main(["generate", world.PROMPT, *QUICK, *both, "--image-subtract", "0.75"]) == 0
    plain, subtracted = made(files)
    assert Image.open(plain).tobytes() != Image.open(subtracted).tobytes()
    assert schedule(subtracted)["image_subtract"] == 0.75 and "image_subtract" not in schedule(plain)


def test_adapter_and_encoder_by_name(files, ours, monkeypatch):
    assert main(["generate", world.PROMPT, *QUICK, "--image", "red.png"]) == 0
    monkeypatch.setattr(world, "adapter", lambda: 1 / 0)
    named = ["--adapter", str(ours), "--encoder", str(ours.parent / "encoder")]
    assert main(["generate", world.PROMPT, *QUICK, "--image", "red.png", *named]) == 0
    default, by_name = (Image.open(path) for path in made(files))
    assert default.tobytes() == by_name.tobytes()
    assert schedule(made(files)[1])["adapter"] == "ours.safetensors"


def test_noise_and_files_in_settings(files):
    settings = {"images": [{"noise": "fade", "amount": 0.8, "weight": 0.5}, {"image": "red.png", "side": "positive", "weight": 0}]}
    assert main(["generate", world.PROMPT, *QUICK, "--settings", json.dumps(settings)]) == 0
    assert [one.get("name") for one in schedule(made(files)[0])["images"]] == [None, "red.png"]


def test_weight_zero_is_the_picture_without(files):
    assert main(["generate", world.PROMPT, *QUICK]) == 0
    assert main(["generate", world.PROMPT, *QUICK, "--negative-image", "red.png*0"]) == 0
    plain, zero = (Image.open(path) for path in made(files))
    assert plain.tobytes() == zero.tobytes()


def test_what_is_missing_is_fetched_with_leave_alone(files, ours, host, monkeypatch, capsys):
    """The small model stands for SD1.5, a small hub of our own for the real one."""
    served = files / "served" / "models"
    (served / "image_encoder").mkdir(parents=True)
    shutil.copy(ours, served / "ip-adapter_sd15.safetensors")
    for name in ("config.json", "model.safetensors"):
        shutil.copy(ours.parent / "encoder" / name, served / "image_encoder")
    monkeypatch.setitem(checkpoints.MODELS, 64, "SD1.5")
    monkeypatch.setattr(world, "is_world", lambda path: False)
    monkeypatch.setattr(encoder, "_known", lambda adapter: published.encoder_called(published.VIT_H))
    hub = tiny_hub.Hub(published.REPOSITORY, files / "served")
    tiny_hub.use(monkeypatch, hub, files / "cache")
    asked = ["generate", world.PROMPT, *QUICK, "--image", "red.png", "--image-models", "mine"]
    try:
        assert main(asked) != 0
        assert "get models/ip-adapter_sd15.safetensors of https://huggingface.co/h94/IP-Adapter and put it into mine; or --download fetches " \
               "ip-adapter_sd15.safetensors (45 MB)" in capsys.readouterr().err
        assert hub.asked == [] and not made(files) and not (files / "mine").exists()
        assert main([*asked, "--download"]) == 0
        assert sorted(path.name for path in (files / "mine").iterdir()) == ["CLIP-ViT-H-14", "ip-adapter_sd15.safetensors"]
        hub.asked.clear()
        assert main([*asked, "--download"]) == main(asked) == 0
        assert hub.asked == []
    finally:
        hub.close()
    first, *others = (Image.open(path).tobytes() for path in made(files))
    assert others == [first, first]


@pytest.mark.parametrize("options, words", [
    (["--negative-image", "gone.png"], "--negative-image = 'gone.png'"),
    (["--image", "text.png"], "--image = 'text.png'"),
    (["--image", "red.png@early"], "@early"),
    (["--image", "red.png", "--adapter", "gone.bin"], "no IP-Adapter gone.bin"),
    (["--image", "red.png", "--adapter", "text.png"], "text.png cannot be read as weights: it is no file of weights"),
    (["--image", "red.png", "--encoder", "gone"], "no image encoder gone"),
    (["--image-subtract", "3"], "image_subtract = 3.0 is not allowed; a number from 0 to 1"),
    (["--settings", '{"images": [{"image": "red"}]}'], "images[0].image"),
    (["--settings", '{"images": [{"image": "red.png"}], "dns": {}}'], "while dns is on"),
])
def test_what_is_wrong_is_named(files, options, words, capsys):
    assert main(["generate", world.PROMPT, *QUICK, *options]) != 0
    assert words in capsys.readouterr().err
    assert not made(files)
