"""Prompts to conditions, as A1111 makes them: CLIP over chunks of 75 tokens, emphasis on the embedding."""

from __future__ import annotations

import gzip
import json
import math
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Callable, Dict, Optional, Sequence, Tuple

import torch

from lib_negguide import formulas
from lib_negguide.errors import ModelError
from lib_negguide.hosts.embedded.prompts import Chunker

CACHED_TEXTS = 256


@dataclass(frozen=True)
class Condition:
    """What the UNet is told: ``crossattn`` (B, T, C), T a multiple of 77; ``pooled`` (B, P) for SDXL only."""

    crossattn: torch.Tensor
    pooled: Optional[torch.Tensor] = None

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Condition:
        """``change`` applied to each tensor."""
        return Condition(change(self.crossattn), None if self.pooled is None else change(self.pooled))


@dataclass
class Encoder:
    """One CLIP text model. ``layer``: index into its hidden states, ``None`` = last with its final norm.

    ``pad_with_zeros``: OpenCLIP pads with 0 behind the first end token. ``pooled``: also
    give the projected embedding of the end token.
    """

    model: torch.nn.Module
    layer: Optional[int] = None
    pad_with_zeros: bool = False
    pooled: bool = False

    def __call__(self, ids: torch.Tensor, end: int) -> Tuple[torch.Tensor, Optional[torch.Tensor]]:
        """Ids (B, 77) to embeddings (B, 77, C) and, where asked, (B, P)."""
        if self.pad_with_zeros:
            behind = (ids == end).cumsum(1).cumsum(1) > 1
            ids = ids.masked_fill(behind, 0)
        out = self.model(input_ids=ids, output_hidden_states=self.layer is not None)
        hidden = out.last_hidden_state if self.layer is None else out.hidden_states[self.layer]
        return hidden, out.text_embeds if self.pooled else None


class TextEncoder:
    """All text encoders of a model: ``encode(texts)`` gives one :class:`Condition`."""

    def __init__(self, encoders: Sequence[Encoder], tokenizer, device, dtype, zero_empty_negative: bool = False):
        self.encoders, self.chunker = list(encoders), Chunker(tokenizer)
        self._device, self._dtype = device, dtype
        self._zero_empty_negative = zero_empty_negative
        self._cache: Dict[Tuple[str, bool], Condition] = {}

    @torch.no_grad()
    def encode(self, texts: Sequence[str], negative: bool = False) -> Condition:
        """Conditions of texts, (B, T, C) with T the least common multiple of theirs.

        Shorter ones are repeated (:func:`formulas.repeat`): no picture depends on the others of its batch.
        ``negative``: for the unconditional place; SDXL's true empty negative is all zeros there.
        """
        rows = [self._one(text, negative) for text in texts]
        length = math.lcm(*(row.crossattn.shape[1] for row in rows))
        pooled = None if rows[0].pooled is None else torch.cat([row.pooled for row in rows])
        return Condition(torch.cat([formulas.repeat(row.crossattn, length) for row in rows]), pooled)

    def _one(self, text: str, negative: bool) -> Condition:
        key = (text, negative and self._zero_empty_negative and not text)
        if key not in self._cache:
            if len(self._cache) >= CACHED_TEXTS:
                self._cache.clear()
            self._cache[key] = self._encoded(text, zeros=key[1])
        return self._cache[key]

    def _encoded(self, text: str, zeros: bool) -> Condition:
        chunks = self.chunker(text)
        ids = torch.tensor([chunk.ids for chunk in chunks], device=self._device)
        weights = torch.tensor([chunk.weights for chunk in chunks], device=self._device)[:, :, None]
        hidden, pooled = [], None
        for encoder in self.encoders:
            states, vector = encoder(ids, self.chunker.end)
            hidden.append(emphasised(states, weights).reshape(1, -1, states.shape[-1]))
            pooled = vector[:1] if vector is not None else pooled
        condition = Condition(torch.cat(hidden, -1), pooled).map(lambda t: t.to(self._dtype))
        return condition.map(torch.zeros_like) if zeros else condition


def emphasised(states: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Embeddings (chunks, 77, C) times weights (chunks, 77, 1), each chunk's mean restored: A1111's "Original" emphasis."""
    if bool((weights == 1.0).all()):
        return states
    scaled = states * weights
    return scaled * (states.mean((1, 2), keepdim=True) / scaled.mean((1, 2), keepdim=True))


def tokenizer_of(folder: Optional[Path]):
    """CLIP's tokenizer from a folder with ``vocab.json`` and ``merges.txt``, or from the vocabulary inside open_clip_torch.

    Raises :class:`ModelError` where neither is there.
    """
    from transformers import CLIPTokenizer

    if folder is not None and (folder / "vocab.json").is_file():
        return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    package = find_spec("open_clip")
    packed = Path(package.origin).parent / "bpe_simple_vocab_16e6.txt.gz" if package else None
    if packed is None or not packed.is_file():
        raise ModelError("NegGuide: no tokenizer; install open_clip_torch, or name a tokenizer folder in the model's yaml")
    lines = gzip.open(packed).read().decode("utf-8").split("\n")[1:49152 - 256 - 2 + 1]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    characters = [chr(c) for c in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    tokens = characters + [c + "</w>" for c in characters] + ["".join(merge.split()) for merge in lines]
    vocabulary = {token: index for index, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    with tempfile.TemporaryDirectory() as temporary:
        vocab, merges = Path(temporary, "vocab.json"), Path(temporary, "merges.txt")
        vocab.write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
        merges.write_text("#version: 0.2\n" + "\n".join(lines) + "\n", "utf-8")
        return CLIPTokenizer(str(vocab), str(merges), pad_token="<|endoftext|>")
