"""Weights from files of any of the usual forms, told apart by their content; nothing in a file is ever run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import torch

from lib_negguide.errors import ModelError

Weights = Dict[str, torch.Tensor]

# (a part of a key, what such a file is): kinds that are told apart to be refused by name. The first that fits counts.
OTHERS = (
    ("lora_down", "a LoRA"), ("lora_up", "a LoRA"), ("lora_A", "a LoRA"), ("hada_w1", "a LoRA (LoHa)"), ("lokr_w1", "a LoRA (LoKr)"),
    ("control_model.", "a ControlNet"), ("controlnet_", "a ControlNet"), ("input_hint_block", "a ControlNet"),
    ("double_blocks.", "made for Flux"), ("single_blocks.", "made for Flux"), ("joint_blocks.", "made for Stable Diffusion 3"),
    ("model.diffusion_model.", "a whole Stable Diffusion checkpoint"),
    ("adapter_modules.", "a checkpoint of IP-Adapter's training script; convert it as its authors describe"),
    ("pulid", "PuLID"), ("adapter.body.", "a T2I-Adapter"), ("body.0.", "a T2I-Adapter"),
    ("string_to_param", "a textual inversion"), ("emb_params", "a textual inversion"),
    ("decoder.up.", "a VAE"), ("decoder.up_blocks.", "a VAE"), ("down_blocks.", "a UNet"),
    ("visual.conv1", "a CLIP image encoder"), ("vision_model.", "a CLIP image encoder"), ("text_model.", "a text encoder"),
)


def read(path) -> Dict[str, Any]:
    """What a safetensors file or a pickle of tensors holds: tensors by name, in a pickle possibly in dictionaries by name.

    Pickles go through torch's weights-only unpickler. Raises :class:`ModelError`.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"NegGuide: there is no file {path}")
    try:
        with path.open("rb") as file:
            start = file.read(9)
        if start[8:] == b"{":  # safetensors: the length of a JSON header in 8 bytes, then the header
            from safetensors.torch import load_file

            return load_file(str(path))
        data = torch.load(str(path), map_location="cpu", weights_only=True)
    except Exception as error:  # each reader has exceptions of its own
        raise ModelError(f"NegGuide: {path.name} cannot be read as weights: {_first_line(error)}") from None
    if not isinstance(data, dict):
        raise ModelError(f"NegGuide: {path.name} holds no weights by name")
    return data.get("state_dict", data)


def other_kind(keys) -> str:
    """What a file with these keys is, as far as it is known; "" if it is not."""
    return next((name for part, name in OTHERS if any(part in key for key in keys)), "")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else 'no reason given'}"
