"""IP-Adapter checkpoints: what kind one is, told by its keys, and what it needs.

A checkpoint has two groups. ``image_proj`` turns an image encoder's output into tokens. ``ip_adapter`` has, for each
cross-attention layer of the UNet, projections of the tokens to keys and values, ``N.to_k_ip.weight`` and
``N.to_v_ip.weight`` with N = 1, 3, 5, … (the even numbers are self-attention): input blocks, then output blocks,
then the middle block. In a pickle the groups are dictionaries, in a safetensors file prefixes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Tuple

import torch

from lib_negguide.errors import ModelError
from lib_negguide.image_prompt import projection, weights
from lib_negguide.image_prompt.weights import Weights

GROUPS = ("image_proj", "ip_adapter")
BASE, PLUS, FULL = "base", "plus", "full-face"
EMBEDS, STATES = "image_embeds", "hidden_states"
MODELS = {768: "SD1.5", 1024: "SD2", 2048: "SDXL"}
"""Known models by their cross-attention width."""
FACE = 512
"""Width of the face recogniser's embeddings."""



class NoAdapter(ModelError):
    """The file is something else altogether."""


_TOKENS = {BASE: projection.linear_tokens, PLUS: projection.resampled_tokens, FULL: projection.mlp_tokens}
_NEEDED = {
    BASE: ("proj.weight", "proj.bias", "norm.weight", "norm.bias"),
    FULL: tuple(f"proj.{n}.{leaf}" for n in (0, 2, 3) for leaf in ("weight", "bias")),
    PLUS: ("latents", *(f"{name}.{leaf}" for name in ("proj_in", "proj_out", "norm_out") for leaf in ("weight", "bias"))),
}
_LAYER_OF_PLUS = ("0.norm1.weight", "0.norm1.bias", "0.norm2.weight", "0.norm2.bias", "0.to_q.weight", "0.to_kv.weight",
                  "0.to_out.weight", "1.0.weight", "1.0.bias", "1.1.weight", "1.3.weight")
_KEY = re.compile(r"(\d+)\.to_([kv])_ip\.weight")


@dataclass
class Adapter:
    """A checkpoint, recognised.

    ``kind``: base (also light and ViT-G), plus (also plus-face) or full-face. ``feature``: what it wants of an image
    encoder, ``image_embeds`` (E) or the penultimate ``hidden_states`` (P, E), E being ``feature_width``. ``width``:
    cross-attention width C. ``layers``: (to_k_ip, to_v_ip), each (inner, C), in the order of their numbers.
    """

    name: str
    kind: str
    feature: str
    feature_width: int
    width: int
    image_proj: Weights
    layers: List[Tuple[torch.Tensor, torch.Tensor]]

    @property
    def model(self) -> str:
        """What it is made for, in words."""
        known = MODELS.get(self.width)
        shape = f"cross-attention width {self.width}, {len(self.layers)} layers"
        return f"{known} ({shape})" if known else f"a model of {shape}"

    def tokens(self, features: torch.Tensor) -> torch.Tensor:
        """Image tokens (B, T, C) of features (B, E) or (B, P, E), in float32, where the features are."""
        expected = 2 if self.feature == EMBEDS else 3
        if features.ndim != expected or features.shape[-1] != self.feature_width:
            raise ModelError(f"NegGuide: {self.name} wants {self.feature} of width {self.feature_width}; "
                             f"the image encoder gives {tuple(features.shape)}")
        proj = {key: value.to(features.device, torch.float32) for key, value in self.image_proj.items()}
        return _TOKENS[self.kind](proj, features.float())

    def to(self, device) -> Adapter:
        """The same with its weights on that device."""
        self.image_proj = {key: value.to(device) for key, value in self.image_proj.items()}
        self.layers = [(k.to(device), v.to(device)) for k, v in self.layers]
        return self


def load(path) -> Adapter:
    """Read and recognise a checkpoint file; raises :class:`ModelError` saying what else the file is, or what it lacks."""
    path = Path(path)
    return recognise(weights.read(path), path.name)


def recognise(data: Dict[str, Any], name: str) -> Adapter:
    """The adapter in the contents of a file, nested or flattened."""
    groups = _groups(data)
    if groups is None:
        what = weights.other_kind(data)
        raise NoAdapter(f"NegGuide: {name} is no IP-Adapter" + (f": it looks like {what}" if what else
                         ", which has image_proj and ip_adapter weights"))
    proj, attention = groups
    _refuse_faces(proj, attention, name)
    kind = _kind(proj, name)
    layers = _layers(attention, name)
    width = layers[0][0].shape[1]
    feature_width = {BASE: "proj.weight", FULL: "proj.0.weight", PLUS: "proj_in.weight"}[kind]
    adapter = Adapter(name, kind, EMBEDS if kind == BASE else STATES, proj[feature_width].shape[1], width, proj, layers)
    _check(adapter)
    return adapter


def _groups(data: Dict[str, Any]):
    """(image_proj, ip_adapter), or ``None`` where a group is missing."""
    groups: List[Weights] = []
    for group in GROUPS:
        inside = data.get(group)
        if not isinstance(inside, dict):
            inside = {key[len(group) + 1:]: value for key, value in data.items() if str(key).startswith(group + ".")}
        groups.append({key: value for key, value in inside.items() if isinstance(value, torch.Tensor)})
    return groups if all(groups) else None


def _refuse_faces(proj: Weights, attention: Weights, name: str) -> None:
    lora = any("_lora." in key for key in attention)
    recogniser = "perceiver_resampler.proj_in.weight" in proj or ("proj.0.weight" in proj and "norm.weight" in proj)
    instant = "latents" in proj and "proj_in.weight" in proj and proj["proj_in.weight"].shape[1] == FACE
    if lora or recogniser or instant:
        what = "InstantID" if instant and not lora else "IP-Adapter FaceID"
        raise ModelError(f"NegGuide: {name} is {what}: it works on the embedding of a face recogniser (InsightFace), not on a "
                         "picture's, so it cannot say what to avoid in a picture; use an IP-Adapter of the base, plus or full-face kind")


def _kind(proj: Weights, name: str) -> str:
    kind = PLUS if "latents" in proj else FULL if "proj.3.weight" in proj else BASE if "proj.weight" in proj else None
    if kind is None:
        raise ModelError(f"NegGuide: {name} is an IP-Adapter of an unknown kind; its image projection has "
                         + ", ".join(sorted(proj)[:4]) + " …")
    needed = _NEEDED[kind]
    if kind == PLUS:
        depth = projection.depth(proj)
        if not depth:
            raise ModelError(f"NegGuide: {name} is broken: it lacks image_proj.layers")
        needed = (*needed, *(f"layers.{n}.{leaf}" for n in range(depth) for leaf in _LAYER_OF_PLUS))
    for key in needed:
        if key not in proj:
            raise ModelError(f"NegGuide: {name} is broken: it lacks image_proj.{key}")
    return kind


def _layers(attention: Weights, name: str) -> List[Tuple[torch.Tensor, torch.Tensor]]:
    parts: Dict[int, Dict[str, torch.Tensor]] = {}
    for key, value in attention.items():
        match = _KEY.fullmatch(key)
        if match:
            parts.setdefault(int(match[1]), {})[match[2]] = value
    if not parts:
        raise ModelError(f"NegGuide: {name} is no IP-Adapter of a known layout; its ip_adapter group has "
                         + ", ".join(sorted(attention)[:3]) + " …")
    for number, expected in zip(sorted(parts), range(1, 2 * len(parts), 2)):
        missing = [part for part in "kv" if part not in parts.get(expected, {})]
        if number != expected or missing:
            raise ModelError(f"NegGuide: {name} is broken: it lacks ip_adapter.{expected}.to_{(missing or 'k')[0]}_ip.weight")
    return [(parts[number]["k"], parts[number]["v"]) for number in sorted(parts)]


def _check(adapter: Adapter) -> None:
    """Shapes that have to agree inside a checkpoint."""
    proj, width = adapter.image_proj, adapter.width
    out = {BASE: "norm.weight", FULL: "proj.3.weight", PLUS: "norm_out.weight"}[adapter.kind]
    if proj[out].shape[0] != width:
        raise ModelError(f"NegGuide: {adapter.name} is broken: its tokens are {proj[out].shape[0]} wide, its layers take {width}")
    for number, (k, v) in enumerate(adapter.layers):
        if k.ndim != 2 or k.shape != v.shape or k.shape[1] != width:
            raise ModelError(f"NegGuide: {adapter.name} is broken: ip_adapter.{2 * number + 1} has shapes "
                             f"{tuple(k.shape)}, {tuple(v.shape)}")
    if adapter.kind == BASE and proj["proj.weight"].shape[0] % width:
        raise ModelError(f"NegGuide: {adapter.name} is broken: image_proj.proj.weight is {tuple(proj['proj.weight'].shape)}")
    if adapter.kind == PLUS and proj["layers.0.0.to_q.weight"].shape[0] % projection.HEAD:
        raise ModelError(f"NegGuide: {adapter.name} has attention heads that are not {projection.HEAD} wide")
