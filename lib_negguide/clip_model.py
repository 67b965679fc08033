"""CLIP models for open_clip: found among local files, read without running any code in them.

A model is a folder with ``open_clip_config.json`` beside its weights (as on the model hub), or a lone file of weights,
which is taken for the protocol's: OpenAI's ViT-B/16. Nothing is downloaded unless the caller allows it.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from lib_negguide.errors import ModelError

HUB = "timm/vit_base_patch16_clip_224.openai"
"""OpenAI's ViT-B/16 in open_clip's form, as safetensors."""

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
VIT_B_16 = {
    "embed_dim": 512,
    "quick_gelu": True,  # OpenAI's models were trained with it
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
}
HOW = f'Get "{WEIGHTS[0]}" and "{CONFIG}" of {HUB} from huggingface.co, and put both into one folder'


@dataclass(frozen=True)
class Found:
    """A model's files: weights and, where there is one, its configuration."""

    name: str
    weights: Path
    config: Optional[Path] = None


@dataclass
class Clip:
    """A loaded model: ``model`` (float32, eval), ``picture`` from a PIL image to a (3, H, W) tensor, ``tokens`` from texts to ids."""

    name: str
    model: Any
    picture: Callable[[Any], Any]
    tokens: Callable[[List[str]], Any]


def find(spec: str = "auto", folders: Sequence[Path] = (), downloads: bool = False) -> Found:
    """The files of ``spec``: a file, a folder, a hub id, or ``auto`` (the ``folders``, then the hub's local copy of :data:`HUB`).

    Raises :class:`ModelError` saying what is missing and where to get and to put it.
    """
    if spec != "auto":
        path = Path(spec).expanduser()
        if path.exists():
            return _in(path)
        if spec.count("/") == 1 and path.suffix not in SUFFIXES and not spec.startswith((".", "/", "~")):
            return _hub(spec, downloads)
        raise ModelError(f'NegGuide: CLIP model "{spec}" is neither a file, a folder, nor a hub id (owner/name)')
    for folder in map(Path, folders):
        for place in (folder, *sorted(p for p in folder.glob("*") if p.is_dir())) if folder.is_dir() else ():
            if (place / CONFIG).is_file():
                return _in(place)
        for file in sorted(folder.glob("*.safetensors")):
            if "vit-b-16" in file.name.lower().replace("_", "-").replace("/", "-"):
                return Found(file.stem, file)
    try:
        return _hub(HUB, downloads)
    except ModelError as error:
        if downloads:
            raise
        places = " or ".join(str(folder) for folder in folders)
        raise ModelError(f"NegGuide: no CLIP weights for scores. {HOW}" + (f", {places}" if places else "; name that folder")) from error


def _in(path: Path) -> Found:
    """A model by its file or its folder."""
    if path.is_file():
        config = path.parent / CONFIG
        return Found(path.stem, path, config if path.name in WEIGHTS and config.is_file() else None)
    if not (path / CONFIG).is_file():
        raise ModelError(f'NegGuide: {path} is no folder of an open_clip model: it has no "{CONFIG}". {HOW}')
    for name in WEIGHTS:
        if (path / name).is_file():
            return Found(path.name, path / name, path / CONFIG)
    raise ModelError(f"NegGuide: {path} holds no weights; expected one of " + ", ".join(WEIGHTS))


def _hub(name: str, downloads: bool) -> Found:
    """A model of the hub: its local copy, or a download where that is allowed."""
    from huggingface_hub import hf_hub_download

    def get(file: str) -> Path:
        return Path(hf_hub_download(name, file, local_files_only=not downloads))

    try:
        config = get(CONFIG)
    except Exception as error:  # offline, absent, private: the library has a class for each, and adds some with time
        reason = _short(error) if downloads else "there is no copy of it on this machine"
        raise ModelError(f"NegGuide: CLIP model {name}: {reason}") from error
    for file in WEIGHTS:
        try:
            return Found(name, get(file), config)
        except Exception as error:
            problem = error
    raise ModelError(f"NegGuide: CLIP model {name}: none of its weights is on this machine ({', '.join(WEIGHTS)})") from problem


def load(found: Found) -> Clip:
    """Build the model on the CPU; raises :class:`ModelError`."""
    try:
        import open_clip
        from open_clip.tokenizer import tokenize
    except Exception as error:  # an ill-matched torchvision raises RuntimeError
        raise ModelError(f"NegGuide: CLIP scores need open_clip, which cannot be imported: {_short(error)}") from error

    config = _config(found)
    model_config: Dict[str, Any] = dict(config.get("model_cfg") or {})
    look: Dict[str, Any] = config.get("preprocess_cfg") or {}
    if "multimodal_cfg" in model_config or "hf_model_name" in model_config.get("text_cfg", {}):
        raise ModelError(f"NegGuide: {found.name}: only CLIP models whose text part is open_clip's own can be used")
    if look.get("interpolation", "bicubic") != "bicubic" or look.get("resize_mode", "shortest") != "shortest":
        raise ModelError(f"NegGuide: {found.name}: only models for pictures resized bicubically by their shorter side can be used")
    kind = open_clip.CustomTextCLIP if model_config.pop("custom_text", False) else open_clip.CLIP
    state = read(found.weights)
    try:
        model = kind(**model_config)
        model.load_state_dict(state)
    except Exception as error:
        what = f'its "{CONFIG}"' if found.config else "OpenAI's ViT-B/16, for which a file without a configuration is taken"
        raise ModelError(f"NegGuide: {found.weights} does not fit {what}: {_short(error)}") from error
    size = model_config["vision_cfg"]["image_size"]
    length = model_config["text_cfg"].get("context_length", 77)
    picture = open_clip.image_transform(size, is_train=False, mean=look.get("mean"), std=look.get("std"))
    return Clip(found.name, model.eval().requires_grad_(False), picture, lambda texts: tokenize(texts, context_length=length))


def read(path: Path) -> Dict[str, Any]:
    """The float32 state dict in a file. Files that can only be read by running what is in them are refused."""
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            if _is_torchscript(path):
                raise ModelError(f"NegGuide: {path} is a TorchScript archive (as OpenAI's ViT-B-16.pt): loading it runs code. {HOW}")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"NegGuide: {path} cannot be read as weights: {_short(error)}") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    state = {key[7:] if key.startswith("module.") else key: value for key, value in state.items()}
    for key in ("input_resolution", "context_length", "vocab_size"):  # of OpenAI's originals
        state.pop(key, None)
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelError(f"NegGuide: {path} holds no weights of a model")
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def _config(found: Found) -> Dict[str, Any]:
    if found.config is None:
        return {"model_cfg": VIT_B_16}
    try:
        config = json.loads(found.config.read_text("utf-8"))
        for part in ("vision_cfg", "text_cfg"):
            config["model_cfg"][part].items()
        config["model_cfg"]["vision_cfg"]["image_size"] + 0
    except Exception as error:
        raise ModelError(f"NegGuide: {found.config} is no configuration of an open_clip model: {_short(error)}") from error
    return config


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") or "/code/" in name for name in archive.namelist())


def _short(error: Exception) -> str:
    """An exception in one line."""
    words = " ".join(str(error).split()) or "no reason given"
    return f"{type(error).__name__}: {words if len(words) <= 300 else words[:297] + '...'}"
