"""IP-Adapter checkpoints: recognised by their keys, projections equal to diffusers', everything else refused by name."""

import pickle

import pytest
import torch
from diffusers.loaders.unet import UNet2DConditionLoadersMixin
from safetensors.torch import save_file

from lib_negguide.errors import ModelError
from lib_negguide.image_prompt import checkpoints, weights
from tests import adapters

# kind, its image_proj's shapes, feature, feature width: the published SD1.5 and SDXL checkpoints, scaled in nothing but depth of layers
PUBLISHED = {
    "sd15": ("base", 768, {"feature": 1024}), "sd15_vit-G": ("base", 768, {"feature": 1280}),
    "plus_sd15": ("plus", 768, {"feature": 1280, "heads": 12, "dim": 768}),
    "full-face_sd15": ("full-face", 768, {"feature": 1280}),
    "sdxl": ("base", 2048, {"feature": 1280}), "sdxl_vit-h": ("base", 2048, {"feature": 1024}),
    "plus_sdxl_vit-h": ("plus", 2048, {"feature": 1280, "heads": 20, "dim": 1280}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_kinds_are_told_by_their_keys(name):
    kind, width, shapes = PUBLISHED[name]
    nested = {"image_proj": adapters.KINDS[kind](width=width, **shapes), "ip_adapter": adapters.attention((64,) * 3, width)}
    adapter = checkpoints.recognise(nested, name)
    assert (adapter.kind, adapter.feature_width, adapter.width) == (kind, shapes["feature"], width)
    assert adapter.feature == ("image_embeds" if kind == "base" else "hidden_states")
    assert ("SD1.5" if width == 768 else "SDXL") in adapter.model


@pytest.mark.parametrize("kind", adapters.KINDS)
@pytest.mark.parametrize("file", ["a.safetensors", "a.bin", "misnamed.txt"])
def test_both_forms_of_files_give_the_same_adapter(kind, file, tmp_path):
    nested = adapters.checkpoint(kind)
    adapter = checkpoints.load(adapters.write(nested, tmp_path / file))
    assert adapter.kind == kind and len(adapter.layers) == 2
    assert all(torch.equal(value, nested["image_proj"][key]) for key, value in adapter.image_proj.items())


def test_a_safetensors_file_under_another_name_is_read(tmp_path):
    path = adapters.write(adapters.checkpoint(), tmp_path / "a.safetensors").rename(tmp_path / "a.bin")
    assert checkpoints.load(path).kind == "base"


def test_layers_are_in_the_order_of_their_numbers(tmp_path):
    nested = adapters.checkpoint(inner=tuple(range(8, 8 + 12)))  # as text, 11 would come before 3
    adapter = checkpoints.load(adapters.write(nested, tmp_path / "a.safetensors"))
    assert [k.shape[0] for k, _ in adapter.layers] == list(range(8, 20))


@pytest.mark.parametrize("kind, shapes", [("base", {}), ("base", {"feature": 40}), ("plus", {}), ("plus", {"heads": 3, "dim": 64, "tokens": 5}),
                                          ("full-face", {})])
def test_tokens_are_those_of_diffusers(kind, shapes):
    torch.manual_seed(3)
    nested = adapters.checkpoint(kind, **shapes)
    theirs = UNet2DConditionLoadersMixin()._convert_ip_adapter_image_proj_to_diffusers(dict(nested["image_proj"])).eval()
    adapter = checkpoints.recognise(nested, "a")
    features = torch.randn(3, adapter.feature_width) if kind == "base" else torch.randn(3, 17, adapter.feature_width)
    with torch.no_grad():
        ours, expected = adapter.tokens(features), theirs(features)
    assert ours.shape == expected.shape and ours.shape[1] == {"base": 4, "plus": shapes.get("tokens", 16), "full-face": 17}[kind]
    assert (ours - expected).abs().max() <= 1e-5


def test_features_of_another_width_are_refused():
    with pytest.raises(ModelError, match="image_embeds of width 24"):
        checkpoints.recognise(adapters.checkpoint(), "a").tokens(torch.zeros(1, 25))


FACES = {
    "lora": {"image_proj": adapters.base(), "ip_adapter": adapters.attention((64,)) | {"0.to_q_lora.down.weight": torch.zeros(2, 2)}},
    "faceid": {"image_proj": {"proj.0.weight": torch.zeros(4, 512), "proj.2.weight": torch.zeros(4, 4), "norm.weight": torch.zeros(4)},
               "ip_adapter": adapters.attention((64,))},
    "faceid plus": {"image_proj": {"perceiver_resampler.proj_in.weight": torch.zeros(4, 4)}, "ip_adapter": adapters.attention((64,))},
    "InstantID": {"image_proj": adapters.plus(feature=512), "ip_adapter": adapters.attention((64,))},
}


@pytest.mark.parametrize("name", FACES)
def test_face_adapters_are_refused_with_the_reason(name):
    with pytest.raises(ModelError, match="face recogniser"):
        checkpoints.recognise(FACES[name], "a")


OTHERS = {
    "a LoRA": "lora_unet_down_blocks_0.lora_down.weight", "a ControlNet": "control_model.input_blocks.0.0.weight",
    "made for Flux": "double_blocks.0.img_attn.qkv.weight", "a whole Stable Diffusion checkpoint": "model.diffusion_model.out.0.weight",
    "IP-Adapter's training script": "adapter_modules.1.to_k_ip.weight", "a CLIP image encoder": "vision_model.embeddings.class_embedding",
    "which has image_proj and ip_adapter": "something.else",
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_files_are_refused_by_what_they_are(what, tmp_path):
    save_file({OTHERS[what]: torch.zeros(2)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(ModelError, match=f"other.safetensors.*{what}"):
        checkpoints.load(tmp_path / "other.safetensors")


@pytest.mark.parametrize("group, key", [("image_proj", "norm.bias"), ("ip_adapter", "3.to_v_ip.weight"), ("ip_adapter", "1.to_k_ip.weight")])
def test_what_a_broken_file_lacks_is_named(group, key):
    nested = adapters.checkpoint(inner=(8, 8, 8))
    del nested[group][key]
    with pytest.raises(ModelError, match=f"lacks {group}.{key}"):
        checkpoints.recognise(nested, "a")


def test_a_lacking_layer_is_named():
    nested = adapters.checkpoint(inner=(8, 8, 8))
    del nested["ip_adapter"]["3.to_v_ip.weight"], nested["ip_adapter"]["3.to_k_ip.weight"]
    with pytest.raises(ModelError, match=r"lacks ip_adapter.3.to_k_ip.weight"):
        checkpoints.recognise(nested, "a")


def test_a_resampler_without_a_piece_is_named():
    nested = adapters.checkpoint("plus")
    del nested["image_proj"]["layers.2.1.3.weight"]
    with pytest.raises(ModelError, match=r"lacks image_proj.layers.2.1.3.weight"):
        checkpoints.recognise(nested, "a")


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps({"image_proj": Evil()}, 2), b"\x10\0\0\0\0\0\0\0{broken"])
def test_unreadable_files_are_refused_and_nothing_is_run(content, tmp_path, capsys):
    (tmp_path / "bad.bin").write_bytes(content)
    with pytest.raises(ModelError, match="bad.bin cannot be read"):
        checkpoints.load(tmp_path / "bad.bin")
    assert "run" not in capsys.readouterr().out


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match="no file .*gone.bin"):
        weights.read(tmp_path / "gone.bin")
