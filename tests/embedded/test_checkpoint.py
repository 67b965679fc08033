"""Checkpoints: layouts there and back, and one clear line for what cannot be loaded."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from lib_negguide.errors import ModelError
from lib_negguide.hosts.embedded import checkpoint as loader
from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.settings import Settings
from lib_negguide.world import NAME
from tests.embedded import layouts
from tests.world import export

OPTIONS = {"steps": 2, "size": (64, 64)}
SETTINGS = Settings.parse({"negatives": [{"text": "hat", "start": 5.8, "weight": 0.7}]})


def picture(host):
    return host.sample(["a portrait of a person"], [5], SETTINGS, **OPTIONS).images


@pytest.fixture(scope="module")
def small(untrained):
    return EmbeddedHost.load(untrained / NAME)


def put(untrained, folder, state=None, yaml=None):
    """A copy of the untrained checkpoint in a folder, with another state or yaml."""
    path = folder / NAME
    save_file(load_file(untrained / NAME) if state is None else state, path)
    path.with_suffix(".yaml").write_text((untrained / NAME).with_suffix(".yaml").read_text() if yaml is None else yaml)
    return path


def test_every_weight_comes_back_in_its_place(untrained, small):
    unet, vae, text = export.random_states(0, untrained / "tokenizer")
    full = export.full_text_state(text, untrained / "tokenizer")
    loaded = (small.model.unet, small.model.vae, small.model.text.encoders[0].model)
    for module, state in zip(loaded, (unet, vae, full), strict=True):
        wanted = {key: value.half().float() for key, value in state.items() if not key.endswith("position_ids")}
        found = {key: value for key, value in module.state_dict().items() if not key.endswith("position_ids")}
        assert layouts.same_state(found, wanted)
    assert (small.model.kind, small.model.prediction, small.model.dtype) == ("sd1", "eps", torch.float32)


def test_a_diffusers_folder_gives_the_same_picture(untrained, small, tmp_path):
    layouts.write_folder(small, tmp_path / "folder", untrained / "tokenizer")
    assert torch.equal(picture(EmbeddedHost.load(tmp_path / "folder")), picture(small))


def test_sdxl_in_both_layouts(untrained, tmp_path):
    shutil.copytree(untrained / "tokenizer", tmp_path / "tokenizer")
    layouts.write_sdxl(untrained / NAME, tmp_path / "xl.safetensors")
    host = EmbeddedHost.load(tmp_path / "xl.safetensors")
    assert host.model.kind == "sdxl"
    empty = host.model.encode([""], negative=True)
    assert not empty.crossattn.any() and not empty.pooled.any()
    assert host.model.encode([""]).crossattn.any()
    assert host.model.encode(["a hat"]).crossattn.shape == (1, 77, 128)
    layouts.write_folder(host, tmp_path / "folder", untrained / "tokenizer")
    again = EmbeddedHost.load(tmp_path / "folder")
    assert again.model.kind == "sdxl"
    assert torch.equal(picture(again), picture(host))
    assert not torch.equal(picture(host), host.sample(["a portrait of a person"], [5], **OPTIONS).images)


def test_v_prediction_is_read_from_the_yaml(untrained, small, tmp_path):
    text = (untrained / NAME).with_suffix(".yaml").read_text().replace("  params:\n", "  params:\n    parameterization: v\n", 1)
    shutil.copytree(untrained / "tokenizer", tmp_path / "tokenizer")
    host = EmbeddedHost.load(put(untrained, tmp_path, yaml=text))
    assert host.model.prediction == "v"
    assert not torch.equal(picture(host), picture(small))


def test_a_pickle_without_code_is_read(untrained, small, tmp_path):
    shutil.copytree(untrained / "tokenizer", tmp_path / "tokenizer")
    torch.save({"state_dict": load_file(untrained / NAME), "global_step": 3}, tmp_path / "old.ckpt")
    shutil.copy((untrained / NAME).with_suffix(".yaml"), tmp_path / "old.yaml")
    assert torch.equal(picture(EmbeddedHost.load(tmp_path / "old.ckpt")), picture(small))


class _Writes:
    """A pickle of this writes a file when it is read by the ordinary unpickler."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    torch.save({"state_dict": _Writes(tmp_path / "written")}, tmp_path / "bad.ckpt")
    refused(tmp_path / "bad.ckpt", "bad.ckpt cannot be read")
    assert not (tmp_path / "written").exists()


def refused(path, words):
    with pytest.raises(ModelError, match=words) as caught:
        loader.load(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_what_is_not_a_checkpoint(untrained, tmp_path):
    refused(tmp_path / "none.safetensors", "no model at")
    refused(tmp_path, "not a diffusers folder")
    (tmp_path / "text.safetensors").write_text("hello")
    refused(tmp_path / "text.safetensors", "cannot be read")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    refused(tmp_path / "other.safetensors", "not an SD1.x or SDXL checkpoint")


@pytest.mark.parametrize(("key", "words"), [
    ("cond_stage_model.model.ln_final.weight", "Stable Diffusion 2"), ("conditioner.embedders.0.model.ln_final.weight", "SDXL refiner"),
    ("lora_unet_x.weight", "a LoRA"), ("model.diffusion_model.double_blocks.0.weight", "Flux")])
def test_other_kinds_are_refused_by_name(tmp_path, key, words):
    save_file({key: torch.zeros(1)}, tmp_path / "other.safetensors")
    refused(tmp_path / "other.safetensors", words)


def test_a_checkpoint_that_does_not_fit_its_yaml(untrained, tmp_path):
    state = load_file(untrained / NAME)
    text = (untrained / NAME).with_suffix(".yaml").read_text()
    refused(put(untrained, tmp_path, yaml=text.replace("channel_mult: [1, 2]", "channel_mult: [1, 2, 2]")), "does not fit its config")
    refused(put(untrained, tmp_path, yaml="model: 3"), "not a model's config")
    key = "model.diffusion_model.input_blocks.0.0.weight"
    refused(put(untrained, tmp_path, {name: value for name, value in state.items() if not name.endswith("time_embed.0.bias")}), "lacks")
    refused(put(untrained, tmp_path, {**state, key: torch.zeros(64, 9, 3, 3)}, text.replace("in_channels: 4", "in_channels: 9")), "inpainting")
    path = put(untrained, tmp_path)
    path.with_suffix(".yaml").unlink()
    refused(path, "put its config beside it as negguide-world.yaml")


def test_the_standard_shapes_need_no_yaml():
    """The configs by which files without a yaml are read describe SD1.5 and SDXL: counts of parameters as published."""
    from diffusers import UNet2DConditionModel
    from diffusers.loaders import single_file_utils as ldm

    for kind, millions in (("sd1", 860), ("sdxl", 2567)):
        config = ldm.create_unet_diffusers_config_from_ldm({"model": {"params": loader.STANDARD[kind]}}, {"none": torch.zeros(1)})
        if kind == "sdxl":
            config.update(class_embed_type=None, addition_embed_type="text_time", addition_time_embed_dim=256)
        with torch.device("meta"):
            unet = UNet2DConditionModel(**config)
        assert round(sum(weight.numel() for weight in unet.parameters()) / 1e6) == millions
