"""The algebra of guidance: pure functions of tensors, one a formula.

Predictions are d_c (prompt), d_u (empty prompt), d_n (a negative), all (B, C, H, W);
classifier-free guidance is affine in them, so each formula holds for eps and for x0
predictions alike. Embeddings are (B, T, C) or (B, C).
"""

from __future__ import annotations

import math
from typing import Sequence, Tuple

import torch


def cfg(d_c: torch.Tensor, d_u: torch.Tensor, scale: float) -> torch.Tensor:
    """d_u + scale (d_c - d_u). Ho and Salimans, Classifier-Free Diffusion Guidance (2207.12598), eq. 6."""
    return d_u + scale * (d_c - d_u)


def three_branch(d_u: torch.Tensor, negatives: Sequence[Tuple[torch.Tensor, float]]) -> torch.Tensor:
    """-sum_i w_i (d_n_i - d_u): what to add to d_c before guidance.

    With one negative of weight 1, ``cfg(d_c + this, d_u, s)`` is d_u + s (d_c - d_n):
    eq. 4 of Desai and Vasconcelos, Improving image synthesis with diffusion-negative
    sampling (ECCV 2024); with weights, composable NOT (Liu et al., 2206.01714).
    """
    return -sum(weight * (d_n - d_u) for d_n, weight in negatives)


def perp_neg(d_c: torch.Tensor, d_u: torch.Tensor, negatives: Sequence[Tuple[torch.Tensor, float]]) -> torch.Tensor:
    """-sum_i w_i perp(d_n_i - d_u): what to add to d_c before guidance.

    perp(v) is v without its part along d_c - d_u, per picture. A negative that equals
    the prompt does nothing. Armandpour et al., Perp-Neg (2304.04968).
    """
    direction = d_c - d_u
    dims = tuple(range(1, direction.dim()))
    norm = direction.square().sum(dims, keepdim=True).clamp_min(torch.finfo(direction.dtype).tiny)

    def perp(v: torch.Tensor) -> torch.Tensor:
        return v - (v * direction).sum(dims, keepdim=True) / norm * direction

    return -sum(weight * perp(d_n - d_u) for d_n, weight in negatives)


def regional(difference: torch.Tensor, scale: float, strength: torch.Tensor) -> torch.Tensor:
    """-(s - 1)/s strength (d_n - d_u): what to add to d_c before guidance of ``scale`` s, which must not be 0.

    ``difference``: d_n - d_u; ``strength`` (B, 1, H, W), weight times region. Then ``cfg(d_c + this, d_u, s)`` is
    ``cfg(d_c, d_u + strength (d_n - d_u), s)``: the negative stands in the unconditional place
    (Ban et al., 2406.02965, eq. 4, its weight after muerrilla's NPW) where strength is 1, the
    empty prompt where it is 0, and d_u itself stays what it is.
    """
    return (1.0 - scale) / scale * strength * difference


def anchored(guided: torch.Tensor, plain: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """mask guided + (1 - mask) plain; where mask (B, 1, H, W) is 0 this is ``plain`` to the bit, and ``guided`` where it is 1.

    With ``plain`` the guided x0 of another run of the same seed at the same call, a sampler that treats
    every element alike takes all that lies outside the mask where that run takes it. The blending of
    known and new parts at every step is that of Lugmayr et al., RePaint (2201.09865), eq. 8.
    """
    return torch.where(mask > 0.0, torch.lerp(plain, guided, mask), plain)


def mix(embeddings: Sequence[Tuple[torch.Tensor, float]]) -> torch.Tensor:
    """sum_i a_i E_i over embeddings (B, T_i, C) of whole 77-token chunks, or pooled ones (B, C).

    Those of different lengths are repeated to their least common multiple. One embedding
    with coefficient 1 is returned as it is. Source of the weighting: muerrilla,
    stable-diffusion-NPW (lerp from empty to negative).
    """
    if len(embeddings) == 1 and embeddings[0][1] == 1.0:
        return embeddings[0][0]
    if embeddings[0][0].dim() == 3:
        length = math.lcm(*(embedding.shape[1] for embedding, _ in embeddings))
        embeddings = [(repeat(embedding, length), a) for embedding, a in embeddings]
    return sum(a * embedding for embedding, a in embeddings)


def repeat(embedding: torch.Tensor, length: int) -> torch.Tensor:
    """(B, T, C) to (B, length, C) by whole repetitions; ``length`` a multiple of T.

    Cross attention knows no positions, and softmax over keys that all occur k times gives
    the same weighted mean of the values: a repeated condition predicts what it did before.
    (Filling up with the empty prompt's tokens would draw attention away.)
    """
    repetitions, rest = divmod(length, embedding.shape[1])
    if rest or not repetitions:
        raise ValueError(f"length = {length} is not allowed; a multiple of {embedding.shape[1]}")
    return embedding if repetitions == 1 else embedding.repeat(1, repetitions, 1)
