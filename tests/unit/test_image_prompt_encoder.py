"""Image encoders: found by what they are, read in both layouts, pictures prepared as CLIPImageProcessor does, encoded once."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from lib_negguide.captioners import kept
from lib_negguide.errors import ModelError
from lib_negguide.image_prompt import checkpoints, encoder, vision
from lib_negguide.image_prompt.encoder import Picture
from tests import adapters, with_open_clip

SMALL = {"hidden_size": 32, "intermediate_size": 64, "projection_dim": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32,
         "patch_size": 8, "hidden_act": "gelu"}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**SMALL)).eval()


@pytest.fixture
def folder(model, tmp_path):
    """A folder of encoders with this one in it, in transformers' form."""
    model.save_pretrained(tmp_path / "encoders" / "small", safe_serialization=True)
    return tmp_path / "encoders"


@pytest.fixture(autouse=True)
def forgotten():
    encoder.forget()
    yield
    encoder.forget()
    kept.release()


def adapter(kind="base"):
    return checkpoints.recognise(adapters.checkpoint(kind, feature=24 if kind == "base" else 32), "a.bin")


def image(size=(50, 37), seed=0, mode="RGB"):
    array = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), np.uint8)
    return Image.fromarray(array, "RGBA").convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
@pytest.mark.parametrize("size", [(224, 224), (500, 301), (299, 640), (40, 33), (7, 90)])
def test_pictures_are_prepared_as_by_clip_image_processor(size, mode):
    picture = image(size, mode=mode)
    expected = CLIPImageProcessor()(picture, return_tensors="pt").pixel_values[0]
    assert (encoder.normalised(encoder.square(picture, 224)) - expected).abs().max() <= 1e-6


@pytest.mark.parametrize("kind", ["base", "plus"])
def test_features_are_those_of_transformers(model, folder, kind):
    found = encoder.find("", adapter(kind), [folder])
    picture = image()
    [got] = encoder.features([Picture(picture)], found, adapter(kind).feature)
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
    with torch.no_grad():
        out = model(processor(picture, return_tensors="pt").pixel_values, output_hidden_states=True)
    assert (got - (out.image_embeds if kind == "base" else out.hidden_states[-2])).abs().max() < 1e-5


def test_nothing_is_zeros_or_the_picture_of_zeros(model, folder):
    found = encoder.find("", adapter(), [folder])
    assert torch.equal(encoder.features([None], found, "image_embeds")[0], torch.zeros(1, 24))
    with torch.no_grad():
        expected = model(torch.zeros(1, 3, 32, 32), output_hidden_states=True).hidden_states[-2]
    assert (encoder.features([None], found, "hidden_states")[0] - expected).abs().max() < 1e-5


def open_clip_state(model):
    """transformers' weights in open_clip's layout."""
    state = model.state_dict()
    top = {new: "visual." + old for old, new in vision._OPEN_TOP.items()}
    layer = {new: old for old, new in vision._OPEN_LAYER.items()}
    out = {"visual.proj": state["visual_projection.weight"].T.contiguous()}
    for key, value in state.items():
        key = key.removeprefix("vision_model.")
        if key in top:
            out[top[key]] = value
        elif key.startswith("encoder.layers."):
            number, _, rest = key.removeprefix("encoder.layers.").partition(".")
            name, _, leaf = rest.rpartition(".")
            if name in layer:
                out[f"visual.transformer.resblocks.{number}.{layer[name]}.{leaf}"] = value
    for number in range(SMALL["num_hidden_layers"]):
        for leaf in ("weight", "bias"):
            parts = [state[f"vision_model.encoder.layers.{number}.self_attn.{part}_proj.{leaf}"] for part in "qkv"]
            out[f"visual.transformer.resblocks.{number}.attn.in_proj_{leaf}"] = torch.cat(parts)
    return {key: value.clone() for key, value in out.items()}


@pytest.mark.parametrize("form", ["transformers.safetensors", "open_clip.safetensors", "open_clip.bin", "transformers.pth", "old.pth"])
def test_lone_files_of_both_layouts(model, folder, form, tmp_path, monkeypatch):
    monkeypatch.setitem(vision.KNOWN, (32, 24), ("small", 2, "gelu"))
    state = open_clip_state(model) if form.startswith("open") else dict(model.state_dict())
    if form.startswith("open"):
        state["transformer.resblocks.0.ln_1.weight"] = torch.zeros(3)  # the text part lies beside it
    path = tmp_path / "lone" / form
    path.parent.mkdir()
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in state.items()}, str(path))
    else:
        torch.save(state, str(path), _use_new_zipfile_serialization=not form.startswith("old"))
    found = encoder.find("auto", adapter(), [path.parent])
    assert found.weights == path
    for feature in ("image_embeds", "hidden_states"):
        [got] = encoder.features([Picture(image())], found, feature)
        [expected] = encoder.features([Picture(image())], encoder.find("", adapter(), [folder]), feature)
        assert (got - expected).abs().max() < 1e-6


def test_the_layout_is_really_that_of_open_clip(model):
    with_open_clip.ready()
    from open_clip.transformer import VisionTransformer

    theirs = VisionTransformer(image_size=32, patch_size=8, width=32, layers=3, heads=2, mlp_ratio=2.0, output_dim=24).eval()
    state = {key.removeprefix("visual."): value for key, value in open_clip_state(model).items()}
    theirs.load_state_dict(state)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert (theirs(pixels) - model(pixels).image_embeds).abs().max() < 1e-5


def test_a_lone_file_of_unknown_sizes_asks_for_its_config(model, tmp_path):
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, str(tmp_path / "x.safetensors"))
    with pytest.raises(ModelError, match="x.safetensors.*config.json"):
        vision.build(encoder.find("", adapter(), [tmp_path]))


def test_a_missing_encoder_is_named_with_where_to_get_and_to_put_it(tmp_path):
    for kind, feature, name, page in (("base", 1024, "ViT-H/14", "models/image_encoder"), ("base", 1280, "ViT-bigG/14", "sdxl_models/image_encoder"),
                                      ("plus", 1280, "ViT-H/14", "models/image_encoder")):
        wanted = checkpoints.recognise(adapters.checkpoint(kind, feature=feature), "ip.bin")
        with pytest.raises(ModelError, match=f"ip.bin needs the image encoder CLIP {name}, which was not found.*{page}.*{tmp_path.name}"):
            encoder.find("", wanted, [tmp_path / "no such folder", tmp_path])
    with pytest.raises(ModelError, match="an image encoder with embeddings of width 24"):
        encoder.find("", adapter(), [tmp_path])


def test_the_one_that_fits_is_chosen(folder, tmp_path):
    other = CLIPVisionModelWithProjection(CLIPVisionConfig(**{**SMALL, "projection_dim": 48, "hidden_size": 40}))
    other.save_pretrained(folder / "a first one", safe_serialization=True)
    (folder / "notes.bin").write_bytes(b"nothing")
    assert encoder.find("", adapter(), [tmp_path / "gone", folder]).path == folder / "small"
    with pytest.raises(ModelError, match="needs .*width 24; .*a first one is an image encoder with .*embeddings of 48"):
        encoder.find("a first one", adapter(), [folder])
    with pytest.raises(ModelError, match="notes.bin is no CLIP image encoder"):
        encoder.find(str(folder / "notes.bin"), adapter())
    with pytest.raises(ModelError, match="there is no image encoder nowhere"):
        encoder.find("nowhere", adapter(), [folder])


def test_a_whole_clip_model_in_a_folder_serves_by_its_image_part(model, folder):
    path = folder / "small"
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({"model_type": "clip", "projection_dim": 24, "vision_config": {**config, "projection_dim": 24}}))
    state = load_file(path / "model.safetensors")
    save_file({**state, "text_model.final_layer_norm.weight": torch.zeros(4)}, str(path / "model.safetensors"))
    [got] = encoder.features([Picture(image())], encoder.find("", adapter(), [path]), "image_embeds")
    assert got.shape == (1, 24)


def test_a_broken_file_says_what_it_lacks(folder):
    file = folder / "small" / "model.safetensors"
    state = load_file(file)
    del state["vision_model.post_layernorm.bias"]
    save_file(state, str(file))
    with pytest.raises(ModelError, match="lacks vision_model.post_layernorm.bias"):
        encoder.features([Picture(image())], encoder.find("", adapter(), [folder]), "image_embeds")


def test_each_picture_is_encoded_once(folder, monkeypatch):
    found, seen = encoder.find("", adapter(), [folder]), []
    real = vision.Vision.features
    monkeypatch.setattr(vision.Vision, "features", lambda self, pixels, feature: seen.append(1) or real(self, pixels, feature))
    first = encoder.features([Picture(image()), Picture(image()), Picture(image(seed=1)), None], found, "image_embeds")
    assert len(seen) == 2 and torch.equal(first[0], first[1]) and not torch.equal(first[0], first[2])
    again = encoder.features([Picture(image(seed=1))], found, "image_embeds")
    assert len(seen) == 2 and torch.equal(again[0], first[2])
    encoder.features([Picture(image(), "fade", 0.5)], found, "image_embeds")
    encoder.features([Picture(image())], found, "hidden_states")
    assert len(seen) == 4


def test_another_file_at_the_same_place_is_another_encoder(folder, model):
    first = encoder.find("", adapter(), [folder])
    [before] = encoder.features([Picture(image())], first, "image_embeds")
    state = load_file(folder / "small" / "model.safetensors")
    save_file({key: 2 * value for key, value in state.items()} | {"more": torch.zeros(1)}, str(folder / "small" / "model.safetensors"))
    [after] = encoder.features([Picture(image())], encoder.find("", adapter(), [folder]), "image_embeds")
    assert not torch.equal(before, after)


@pytest.mark.parametrize("keep, stays", [("unload", False), ("cpu", True), ("loaded", True)])
def test_it_is_put_away_as_captioners_are(folder, keep, stays):
    found = encoder.find("", adapter(), [folder])
    encoder.features([Picture(image())], found, "image_embeds", keep=keep)
    assert (kept._resting is not None) == stays


def test_it_is_unloaded_after_a_failure(folder, monkeypatch):
    found = encoder.find("", adapter(), [folder])
    monkeypatch.setattr(vision.Vision, "features", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        encoder.features([Picture(image())], found, "image_embeds", keep="loaded")
    assert kept._resting is None


def test_keys_tell_pictures_apart_by_content():
    assert Picture(image()).key == Picture(image().convert("RGBA").convert("RGB")).key
    keys = {Picture(image()).key, Picture(image(seed=1)).key, Picture(image(), "fade", 0.5).key, Picture(image(), "fade", 0.4).key,
            Picture(image(), "gaussian", 0.5).key, Picture(None, "fade", 0.5).key, Picture(None, "fade", 0.5, seed=1).key,
            Picture(Image.new("RGB", (2, 8))).key, Picture(Image.new("RGB", (8, 2))).key}
    assert len(keys) == 9
    assert Picture(image(), "fade", 0.0).key == Picture(image()).key == Picture(image(), "none", 0.5, 3).key
