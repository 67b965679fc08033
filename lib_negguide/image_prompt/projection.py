"""From an image encoder's output to image tokens: the three projections of IP-Adapter (Ye et al., 2308.06721).

Each is a function of the checkpoint's ``image_proj`` weights under their published names, and of features:
``image_embeds`` (B, E) for the base kind, hidden states (B, P, E) for the others. It gives tokens (B, T, C), C being
the cross-attention width of the model that the adapter is made for. Gradients pass through.
"""

from __future__ import annotations

from typing import Mapping

import torch
import torch.nn.functional as F

Weights = Mapping[str, torch.Tensor]
HEAD = 64
"""Channels of one attention head in every published resampler."""


def linear_tokens(weights: Weights, features: torch.Tensor) -> torch.Tensor:
    """Base, light, ViT-G: one linear layer to all tokens, then a LayerNorm of each; (B, E) to (B, T, C)."""
    width = weights["norm.weight"].shape[0]
    tokens = _linear(weights, "proj", features).reshape(len(features), -1, width)
    return _norm(weights, "norm", tokens)


def mlp_tokens(weights: Weights, features: torch.Tensor) -> torch.Tensor:
    """Full-face: each hidden state through an MLP becomes a token; (B, P, E) to (B, P, C)."""
    hidden = F.gelu(_linear(weights, "proj.0", features))
    return _norm(weights, "proj.3", _linear(weights, "proj.2", hidden))


def resampled_tokens(weights: Weights, features: torch.Tensor) -> torch.Tensor:
    """Plus: learned latents that attend to the hidden states and to themselves, layer by layer; (B, P, E) to (B, T, C).

    The perceiver resampler of Flamingo (2204.14198, appendix A.1.1).
    """
    x = _linear(weights, "proj_in", features)
    latents = weights["latents"].expand(len(features), -1, -1)
    for layer in range(depth(weights)):
        latents = latents + _attended(weights, f"layers.{layer}.0.", x, latents)
        hidden = F.linear(_norm(weights, f"layers.{layer}.1.0", latents), weights[f"layers.{layer}.1.1.weight"])
        latents = latents + F.linear(F.gelu(hidden), weights[f"layers.{layer}.1.3.weight"])
    return _norm(weights, "norm_out", _linear(weights, "proj_out", latents))


def depth(weights: Weights) -> int:
    """Number of a resampler's layers."""
    return len({key.split(".")[1] for key in weights if key.startswith("layers.")})


def _attended(weights: Weights, name: str, x: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """What the latents (B, T, D) read from the states (B, P, D) and from themselves."""
    x, latents = _norm(weights, name + "norm1", x), _norm(weights, name + "norm2", latents)
    q = F.linear(latents, weights[name + "to_q.weight"])
    k, v = F.linear(torch.cat([x, latents], 1), weights[name + "to_kv.weight"]).chunk(2, -1)
    q, k, v = (part.unflatten(-1, (-1, HEAD)).transpose(1, 2) for part in (q, k, v))
    return F.linear(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2), weights[name + "to_out.weight"])


def _linear(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    return F.linear(x, weights[name + ".weight"], weights[name + ".bias"])


def _norm(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-1:], weights[name + ".weight"], weights[name + ".bias"])
