"""CLIP image encoders from local files: transformers' and open_clip's layouts, told by keys and shapes.

A model is a folder with transformers' ``config.json`` beside its weights, or a lone file of weights; the sizes of a lone
file are in its shapes, and the number of attention heads, which is not, is known for the usual models.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional

import torch

from lib_negguide.captioners.base import Loadable
from lib_negguide.errors import ModelError
from lib_negguide.image_prompt import weights
from lib_negguide.image_prompt.checkpoints import EMBEDS
from lib_negguide.image_prompt.weights import Weights

PATCHES = "vision_model.embeddings.patch_embedding.weight"
OPEN_PATCHES = "visual.conv1.weight"
FILES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.safetensors", "model.fp16.safetensors")
# (hidden width, projection): what it is, heads, activation
KNOWN = {(1280, 1024): ("CLIP ViT-H/14", 16, "gelu"), (1664, 1280): ("CLIP ViT-bigG/14", 16, "gelu"),
         (1024, 768): ("CLIP ViT-L/14", 16, "quick_gelu"), (768, 512): ("CLIP ViT-B", 12, "quick_gelu")}


@dataclass(frozen=True)
class Shape:
    """Sizes of an image encoder: ``hidden`` states (P, hidden), ``embed``: image_embeds (embed)."""

    hidden: int
    embed: int

    @property
    def words(self) -> str:
        known = KNOWN.get((self.hidden, self.embed))
        return known[0] if known else f"an image encoder with hidden states of width {self.hidden} and embeddings of {self.embed}"


@dataclass(frozen=True)
class Found:
    """An image encoder's files. ``path``: folder or file, as it was named."""

    path: Path
    weights: Path
    config: Optional[Path]
    shape: Shape

    @property
    def key(self) -> str:
        """Tells it from every other, also from another file of later at the same place."""
        return weights.key_of(self.weights)


def look(path: Path) -> Optional[Found]:
    """The image encoder in a file or folder, its weights not read; ``None`` where there is none."""
    config = None
    file = path
    if path.is_dir():
        config = path / "config.json"
        file = next((path / name for name in FILES if (path / name).is_file()), None)
        if file is None or not config.is_file():
            return None
        try:
            said = _vision_config(json.loads(config.read_text("utf-8")))
            return Found(path, file, config, Shape(said["hidden_size"], said["projection_dim"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
    try:
        shape = _shape(weights.outline(file))
    except ModelError:  # whatever else lies in the folder
        return None
    return None if shape is None else Found(path, file, None, shape)


def _vision_config(data: Dict[str, Any]) -> Dict[str, Any]:
    """CLIP's image part, of a config of its own or of the whole model's."""
    if "vision_config" in data and data.get("model_type", "clip") == "clip":  # BLIP and others have one, too
        return {"projection_dim": data.get("projection_dim", 512), **data["vision_config"]}
    return {"projection_dim": 512, "hidden_size": 768, **data} if data.get("model_type") == "clip_vision_model" else {}


def _shape(state: Weights) -> Optional[Shape]:
    for patches, projection, axis in ((PATCHES, "visual_projection.weight", 0), (OPEN_PATCHES, "visual.proj", 1)):
        if patches in state and projection in state:
            return Shape(state[patches].shape[0], state[projection].shape[axis])
    return None


class Vision(Loadable):
    """An image encoder; loaded and put away by :func:`lib_negguide.captioners.kept.held`."""

    def __init__(self, found: Found, device: str = "cpu", dtype: Optional[torch.dtype] = None):
        self.found, self.name = found, found.key
        self.device = torch.device(device)
        self.dtype = dtype or (torch.float32 if self.device.type == "cpu" else torch.float16)
        self.place = (str(self.device), str(self.dtype))
        self._model: Any = None

    @property
    def size(self) -> int:
        """Side of its pictures in pixels; known once it is loaded."""
        return self._model.config.image_size

    def load(self) -> None:
        if self._model is None:
            self._model = build(self.found, self.dtype)
        self._model.to(self.device)

    def rest(self) -> None:
        if self._model is not None:
            self._model.to("cpu")
            _give_back(self.device)

    def close(self) -> None:
        self._model = None
        _give_back(self.device)

    @torch.no_grad()
    def features(self, pixels: torch.Tensor, feature: str) -> torch.Tensor:
        """Of normalised pictures (B, 3, S, S): ``image_embeds`` (B, E), or the penultimate ``hidden_states`` (B, P, E); float32, CPU."""
        out = self._model(pixels.to(self.device, self.dtype), output_hidden_states=feature != EMBEDS)
        return (out.image_embeds if feature == EMBEDS else out.hidden_states[-2]).float().cpu()


def build(found: Found, dtype: torch.dtype = torch.float32):
    """transformers' ``CLIPVisionModelWithProjection`` with the weights of the file, on the CPU; raises :class:`ModelError`."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    state = {key: value for key, value in weights.read(found.weights).items() if isinstance(value, torch.Tensor)}
    if OPEN_PATCHES in state:
        state = from_open_clip(state)
    if PATCHES not in state:
        raise ModelError(f"NegGuide: {found.weights} is no CLIP image encoder")
    if found.config is not None:
        config = CLIPVisionConfig(**_vision_config(json.loads(found.config.read_text("utf-8"))))
    else:
        config = CLIPVisionConfig(**_sizes(state, found))
    with torch.device("meta"):
        model = CLIPVisionModelWithProjection(config)
    own = {key: value.to(dtype) for key, value in state.items()
           if key.startswith(("vision_model.", "visual_projection.")) and not key.endswith("position_ids")}
    try:
        lacking = [key for key in model.load_state_dict(own, strict=False, assign=True).missing_keys if not key.endswith("position_ids")]
    except RuntimeError as error:
        raise ModelError(f"NegGuide: {found.weights} does not fit its config: {str(error).splitlines()[-1].strip()}") from None
    if lacking:
        raise ModelError(f"NegGuide: {found.weights} is broken: it lacks {lacking[0]}")
    embeddings = model.vision_model.embeddings
    embeddings.position_ids = torch.arange(embeddings.position_embedding.num_embeddings)[None]
    return model.eval().requires_grad_(False)


def _sizes(state: Weights, found: Found) -> Dict[str, Any]:
    """What a config would say."""
    known = KNOWN.get((found.shape.hidden, found.shape.embed))
    if known is None:
        raise ModelError(f"NegGuide: {found.path.name} is {found.shape.words}, whose attention heads are not known; "
                         "put it in a folder with its config.json, as model.safetensors")
    _, heads, activation = known
    patch = state[PATCHES].shape[-1]
    patches = state["vision_model.embeddings.position_embedding.weight"].shape[0] - 1
    layers = {key.split(".")[3] for key in state if key.startswith("vision_model.encoder.layers.")}
    return {"hidden_size": found.shape.hidden, "projection_dim": found.shape.embed, "num_attention_heads": heads, "hidden_act": activation,
            "patch_size": patch, "image_size": patch * round(patches**0.5), "num_hidden_layers": len(layers),
            "intermediate_size": state["vision_model.encoder.layers.0.mlp.fc1.weight"].shape[0]}


_OPEN_TOP = {"class_embedding": "embeddings.class_embedding", "conv1.weight": "embeddings.patch_embedding.weight",
             "positional_embedding": "embeddings.position_embedding.weight", "ln_pre.weight": "pre_layrnorm.weight",
             "ln_pre.bias": "pre_layrnorm.bias", "ln_post.weight": "post_layernorm.weight", "ln_post.bias": "post_layernorm.bias"}
_OPEN_LAYER = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
               "attn.out_proj": "self_attn.out_proj"}


def from_open_clip(state: Weights) -> Weights:
    """open_clip's names under ``visual.`` to transformers'; q, k and v are one matrix there."""
    out: Weights = {}
    for key, value in state.items():
        if not key.startswith("visual."):
            continue
        key = key[len("visual."):]
        if key in _OPEN_TOP:
            out["vision_model." + _OPEN_TOP[key]] = value
        elif key == "proj":
            out["visual_projection.weight"] = value.T.contiguous()
        elif key.startswith("transformer.resblocks."):
            number, _, rest = key[len("transformer.resblocks."):].partition(".")
            layer = f"vision_model.encoder.layers.{number}."
            name, _, leaf = rest.rpartition(".")
            if name in _OPEN_LAYER:
                out[f"{layer}{_OPEN_LAYER[name]}.{leaf}"] = value
            elif rest in ("attn.in_proj_weight", "attn.in_proj_bias"):
                for part, piece in zip("qkv", value.chunk(3)):
                    out[f"{layer}self_attn.{part}_proj.{leaf.rpartition('_')[2]}"] = piece
    return out


def _give_back(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
