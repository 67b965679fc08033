"""The small model's parts in other layouts: a diffusers folder, a small SDXL-shaped checkpoint."""

import json

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModelWithProjection

from tests.world import keys, model

OPEN_CLIP = {"text_model.embeddings.token_embedding.weight": "token_embedding.weight",
             "text_model.embeddings.position_embedding.weight": "positional_embedding",
             "text_model.final_layer_norm.weight": "ln_final.weight", "text_model.final_layer_norm.bias": "ln_final.bias"}


def write_folder(host, folder, tokenizer):
    """The parts of a loaded host as a diffusers folder."""
    folder.mkdir()
    host.model.unet.save_pretrained(folder / "unet")
    host.model.vae.save_pretrained(folder / "vae")
    for name, encoder in zip(("text_encoder", "text_encoder_2"), host.model.text.encoders, strict=False):
        encoder.model.save_pretrained(folder / name)
    (folder / "tokenizer").mkdir()
    for name in ("vocab.json", "merges.txt"):
        (folder / "tokenizer" / name).write_bytes((tokenizer / name).read_bytes())
    (folder / "scheduler").mkdir()
    prediction = {"eps": "epsilon", "v": "v_prediction"}[host.model.prediction]
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"prediction_type": prediction}))


def write_sdxl(source, path):
    """An SDXL-shaped checkpoint of random weights with its yaml; the VAE and first encoder are those of ``source``."""
    torch.manual_seed(1)
    second = CLIPTextModelWithProjection(model.text_config())
    unet = UNet2DConditionModel(**{
        **model.UNET_CONFIG, "cross_attention_dim": 128, "use_linear_projection": True, "addition_embed_type": "text_time",
        "addition_time_embed_dim": 16, "projection_class_embeddings_input_dim": 64 + 6 * 16, "attention_head_dim": (4, 8)})
    state = {key: value for key, value in load_file(source).items() if key.startswith(keys.VAE_PREFIX)}
    for key, value in load_file(source).items():
        if key.startswith(keys.TEXT_PREFIX):
            state["conditioner.embedders.0.transformer." + key[len(keys.TEXT_PREFIX):]] = value
    for key, value in unet.state_dict().items():
        name = key.replace("add_embedding.linear_1", "label_emb.0.0").replace("add_embedding.linear_2", "label_emb.0.2")
        state[keys.UNET_PREFIX + (name if name != key else keys.unet_key(key))] = value
    state.update({"conditioner.embedders.1.model." + key: value for key, value in open_clip(second.state_dict()).items()})
    save_file({key: value.clone().contiguous() for key, value in state.items()}, path)
    path.with_suffix(".yaml").write_text(json.dumps({"model": {"params": sdxl_params()}}))


def open_clip(state):
    """transformers' names of a text model to open_clip's, with q, k, v in one matrix."""
    out = {"text_projection": state["text_projection.weight"].T}
    out.update({new: state[old] for old, new in OPEN_CLIP.items()})
    for layer in range(2):
        old, new = f"text_model.encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for leaf in ("weight", "bias"):
            out[f"{new}attn.in_proj_{leaf}"] = torch.cat([state[f"{old}self_attn.{part}_proj.{leaf}"] for part in "qkv"])
            pairs = {"attn.out_proj": "self_attn.out_proj", "ln_1": "layer_norm1", "ln_2": "layer_norm2",
                     "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
            out.update({f"{new}{a}.{leaf}": state[f"{old}{b}.{leaf}"] for a, b in pairs.items()})
    return out


def sdxl_params():
    """``model.params`` of the checkpoint above, in the terms of SDXL's own config."""
    sizes = [{"params": {"outdim": 16}}] * 3
    return {
        "scale_factor": model.SCALE_FACTOR,
        "network_config": {"params": {
            "adm_in_channels": 160, "num_classes": "sequential", "in_channels": 4, "out_channels": 4, "model_channels": 64,
            "attention_resolutions": [2, 1], "num_res_blocks": 1, "channel_mult": [1, 2], "num_head_channels": 16,
            "use_linear_in_transformer": True, "transformer_depth": 1, "context_dim": 128}},
        "first_stage_config": {"params": {"ddconfig": {
            "in_channels": 3, "out_ch": 3, "ch": 64, "ch_mult": [1, 1, 1, 1], "num_res_blocks": 0, "z_channels": 4}}},
        "conditioner_config": {"params": {"emb_models": [
            {"params": {"version": "tokenizer"}}, {"params": {"arch": "none"}}, *sizes]}},
    }


def same_state(left, right):
    """Equal names and values."""
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


