"""Weights from files of any of the usual forms, told apart by their content; nothing in a file is ever run."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any, Dict

import torch
from safetensors import safe_open
from safetensors.torch import load_file

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
    return _read(Path(path), whole=True)


def outline(path) -> Dict[str, Any]:
    """As :func:`read`, but only the shapes: tensors on the device "meta", and next to nothing is read."""
    return _read(Path(path), whole=False)


def key_of(path: Path) -> str:
    """Tells a file from every other, also from another one of later at the same place."""
    about = path.stat()
    return f"{path.resolve()}|{about.st_size}|{about.st_mtime_ns}"


def _read(path: Path, whole: bool) -> Dict[str, Any]:
    if not path.is_file():
        raise ModelError(f"NegGuide: there is no file {path}")
    try:
        with path.open("rb") as file:
            start = file.read(9)
        if start[8:] == b"{":  # safetensors: the length of a JSON header in 8 bytes, then the header
            return load_file(str(path)) if whole else _shapes(path)
        mapped = {} if whole or not zipfile.is_zipfile(path) else {"mmap": True}
        data = torch.load(str(path), map_location="cpu" if whole else "meta", weights_only=True, **mapped)
    except pickle.UnpicklingError:  # torch's own words advise to run what is in the file
        raise ModelError(f"NegGuide: {path.name} cannot be read as weights: it is no file of weights, or holds more than these") from None
    except Exception as error:  # each reader has exceptions of its own
        raise ModelError(f"NegGuide: {path.name} cannot be read as weights: {_first_line(error)}") from None
    if data is None:  # the WebUI puts a guard of its own in torch's place
        raise ModelError(f"NegGuide: {path.name} cannot be read as weights: the host's guard against code in such files has refused it, "
                         "see its console; a .safetensors file needs no guard")
    if not isinstance(data, dict):
        raise ModelError(f"NegGuide: {path.name} holds no weights by name")
    return data.get("state_dict", data)


def _shapes(path: Path) -> Weights:
    with safe_open(str(path), "pt") as opened:
        return {key: torch.empty(opened.get_slice(key).get_shape(), device="meta") for key in opened.keys()}


def other_kind(keys) -> str:
    """What a file with these keys is, as far as it is known; "" if it is not."""
    return next((name for part, name in OTHERS if any(part in key for key in keys)), "")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else 'no reason given'}"
