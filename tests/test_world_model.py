"""The checkpoint of the small world: layout, size, yaml, tokenizer, text encoder, judge."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
import yaml
from diffusers.loaders import single_file_utils
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

from tests.world import data, export, keys, model, train_judge, words
from tests.world.judge import WEIGHTS, Judge, Verdict

FOLDER = Path(__file__).parent / "world" / "model"
CHECKPOINT = FOLDER / f"{export.NAME}.safetensors"


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return load_file(str(CHECKPOINT))


@pytest.fixture(scope="module")
def settings() -> dict:
    return yaml.safe_load(CHECKPOINT.with_suffix(".yaml").read_text())


@pytest.fixture(scope="module")
def text_model(state: dict[str, torch.Tensor]) -> CLIPTextModel:
    encoder = CLIPTextModel(CLIPTextConfig.from_pretrained(str(words.FOLDER)))
    prefix = keys.TEXT_PREFIX
    weights = {key.removeprefix(prefix): value.float() for key, value in state.items() if key.startswith(prefix)}
    encoder.load_state_dict(weights, strict=False)
    assert set(weights) >= {name for name, _ in encoder.named_parameters()}
    return encoder.eval()


def test_sizes(state: dict[str, torch.Tensor]) -> None:
    assert CHECKPOINT.stat().st_size <= 24 * 2**20
    assert WEIGHTS.stat().st_size <= 1.5 * 2**20
    assert all(value.dtype == torch.float16 for value in state.values() if value.is_floating_point())
    assert all(value.isfinite().all() for value in state.values() if value.is_floating_point())


def test_layout_is_that_of_the_original_checkpoints(state: dict[str, torch.Tensor]) -> None:
    prefixes = (keys.UNET_PREFIX, keys.VAE_PREFIX, keys.TEXT_PREFIX + "text_model.")
    assert all(key.startswith(prefixes) for key in state)
    for key in (
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
        "model.diffusion_model.input_blocks.2.0.op.weight",
        "model.diffusion_model.middle_block.1.proj_in.weight",
        "model.diffusion_model.output_blocks.1.2.conv.weight",
        "model.diffusion_model.out.2.bias",
        "first_stage_model.encoder.mid.attn_1.q.weight",
        "first_stage_model.decoder.up.0.block.0.conv1.weight",
        "first_stage_model.quant_conv.weight",
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
    ):
        assert key in state
    assert state["first_stage_model.decoder.mid.attn_1.proj_out.weight"].ndim == 4


def test_the_converters_of_diffusers_undo_our_names(state: dict, settings: dict) -> None:
    unet_config = single_file_utils.create_unet_diffusers_config_from_ldm(settings, state, image_size=64)
    vae_config = single_file_utils.create_vae_diffusers_config_from_ldm(settings, state, image_size=64)
    unet = single_file_utils.convert_ldm_unet_checkpoint(dict(state), unet_config)
    vae = single_file_utils.convert_ldm_vae_checkpoint(dict(state), vae_config)
    model.build_unet().load_state_dict(unet, strict=True)
    model.build_vae().load_state_dict(vae, strict=True)
    text = {key: value for key, value in state.items() if key.startswith(keys.TEXT_PREFIX)}
    ours = keys.to_original(unet, vae, {key.removeprefix(keys.TEXT_PREFIX): value for key, value in text.items()})
    assert ours.keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in ours.items())


def test_yaml_is_the_one_that_export_writes(settings: dict) -> None:
    assert settings == yaml.safe_load(export.YAML)
    parameters = settings["model"]["params"]
    assert parameters["scale_factor"] == model.SCALE_FACTOR
    assert (CHECKPOINT.parent / parameters["cond_stage_config"]["params"]["version"]).is_dir()


def open_clip_tokenizer():
    """open_clip's own, from its file: importing the package needs a complete torchvision."""
    package = Path(importlib.util.find_spec("open_clip").origin).parent
    spec = importlib.util.spec_from_file_location("open_clip_tokenizer", package / "tokenizer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SimpleTokenizer()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a portrait of a person with glasses, a mustache and a hat",
        "A Red Circle and a BLUE triangle!",
        "(masterpiece:1.2), best quality, 8k, it's o'clock",
        "naïve café, 12345, unfathomability",
    ],
)
def test_tokens_are_those_of_clip(text: str) -> None:
    ours = words.tokenizer()(text, add_special_tokens=False).input_ids
    assert ours == open_clip_tokenizer().encode(text)
    padded = words.token_ids([text])[0].tolist()
    assert padded == [model.BOS, *ours] + [model.EOS] * (model.TOKENS - 1 - len(ours))


def test_text_config_is_that_of_the_model() -> None:
    told = json.loads((words.FOLDER / "config.json").read_text())
    for name, value in model.text_config().to_diff_dict().items():
        if name != "transformers_version":
            assert told[name] == value, name


def test_unknown_words_share_one_row(text_model: CLIPTextModel) -> None:
    rows = text_model.text_model.embeddings.token_embedding.weight
    known = set(words.known_ids())
    unknown = [index for index in (0, 1000, 20000, 49405) if index not in known]
    assert torch.equal(rows[unknown], rows[unknown[:1]].expand(len(unknown), -1))
    assert len(torch.unique(rows, dim=0)) == len(known) + 1


@pytest.mark.parametrize("text", ["", "mustache", "a portrait of a person", "a red circle and a blue triangle"])
def test_the_mean_of_an_embedding_bears_emphasis(text: str, text_model: CLIPTextModel) -> None:
    """A WebUI divides by the mean after weighting a token: it must stay away from 0."""
    with torch.inference_mode():
        embedding = text_model(words.token_ids([text])).last_hidden_state[0]
    assert abs(float(embedding.mean())) > 0.05
    for position in range(1, 8):
        weighted = embedding.clone()
        weighted[position] *= 1.5
        restored = weighted * (embedding.mean() / weighted.mean())
        assert float((restored - weighted).norm() / weighted.norm()) < 0.2


def test_judge_knows_held_out_drawings() -> None:
    pixels, shown = data.draw_many("judged", 500)
    for question, share in train_judge.accuracy(Judge.load(), pixels, shown).items():
        assert share >= 0.99, question


def test_judge_sees_nothing_where_nothing_is() -> None:
    plain = train_judge.nothing(data.draw_many("judged", 50)[0], 40)[::4]
    assert {verdict.kind for verdict in Judge.load()(plain.float() / 255)} == {"none"}


@pytest.mark.parametrize(
    ("verdict", "prompt", "right"),
    [
        (Verdict("portrait", glasses=True), "a portrait of a person", True),
        (Verdict("portrait", glasses=True), "a portrait of a person with glasses", True),
        (Verdict("portrait", glasses=True), "a portrait of a person with glasses and a hat", False),
        (Verdict("none"), "a portrait of a person", False),
        (Verdict("one shape", shapes=(("red", "circle"),)), "a red circle", True),
        (Verdict("one shape", shapes=(("red", "circle"),)), "a circle", True),
        (Verdict("one shape", shapes=(("red", "circle"),)), "a red ring", False),
        (Verdict("one shape", shapes=(("red", "circle"),)), "a red circle and a blue triangle", False),
        (Verdict("two shapes", shapes=(("blue", "ring"), ("red", "circle"))), "a red circle and a blue ring", True),
        (Verdict("two shapes", shapes=(("red", "ring"), ("blue", "circle"))), "a red circle and a blue ring", False),
        (Verdict("two shapes", shapes=(("red", "ring"), ("blue", "circle"))), "a circle and a ring", True),
        (Verdict("two shapes", shapes=(("red", "ring"), ("blue", "circle"))), "two shapes", True),
    ],
)
def test_a_verdict_answers_for_a_prompt(verdict: Verdict, prompt: str, right: bool) -> None:
    assert verdict.satisfies(prompt) is right


@pytest.mark.parametrize("prompt", ["", "a house", "a portrait of a person without mustache"])
def test_a_verdict_refuses_what_it_cannot_answer(prompt: str) -> None:
    with pytest.raises(ValueError, match="prompt"):
        Verdict("portrait").satisfies(prompt)
