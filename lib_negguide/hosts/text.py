"""Prompts to conditions: CLIP's tokens in chunks of 75, as the A1111 WebUI cuts them.

No emphasis syntax: brackets are ordinary characters here.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import torch

from lib_negguide.errors import ModelError

CHUNK = 75
COMMA_BACKTRACK = 20  # the WebUI's default: a chunk may end at a comma up to so many tokens before its end
CACHED_TEXTS = 256


@dataclass(frozen=True)
class Condition:
    """What the UNet is told: ``crossattn`` (B, T, C), T a multiple of 77; ``pooled`` (B, P) for SDXL only."""

    crossattn: torch.Tensor
    pooled: Optional[torch.Tensor] = None

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Condition":
        """``change`` applied to each tensor."""
        return Condition(change(self.crossattn), None if self.pooled is None else change(self.pooled))


class Chunker:
    """Cuts the token ids of a prompt into chunks of 75 between start and end, each 77 long."""

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer
        self.start, self.end = tokenizer.bos_token_id, tokenizer.eos_token_id
        self._comma = tokenizer.convert_tokens_to_ids(",</w>")

    def __call__(self, text: str) -> List[List[int]]:
        """Ids of at least one chunk, padded with the end token."""
        ids = self._tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        chunks, chunk, comma = [], [], -1
        for token in ids:
            if token == self._comma:
                comma = len(chunk)
            elif len(chunk) == CHUNK and comma != -1 and len(chunk) - comma <= COMMA_BACKTRACK:
                chunks.append(chunk[: comma + 1])
                chunk, comma = chunk[comma + 1:], -1
            if len(chunk) == CHUNK:
                chunks.append(chunk)
                chunk, comma = [], -1
            chunk.append(token)
        if chunk or not chunks:
            chunks.append(chunk)
        return [[self.start, *c, *[self.end] * (CHUNK + 1 - len(c))] for c in chunks]


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
        self._encoders, self._chunk = list(encoders), Chunker(tokenizer)
        self._device, self._dtype = device, dtype
        self._zero_empty_negative = zero_empty_negative
        self._cache: Dict[Tuple[str, bool], Condition] = {}

    @torch.no_grad()
    def encode(self, texts: Sequence[str], negative: bool = False) -> Condition:
        """Conditions of texts, (B, T, C) with T that of the longest; shorter ones get chunks of the empty prompt.

        ``negative``: for the unconditional place; SDXL's true empty negative is all zeros there.
        """
        rows = [self._one(text, negative) for text in texts]
        length = max(row.crossattn.shape[1] for row in rows)
        if any(row.crossattn.shape[1] < length for row in rows):
            empty = self._one("", False).crossattn
            rows = [Condition(torch.cat([row.crossattn, *[empty] * ((length - row.crossattn.shape[1]) // 77)], 1), row.pooled)
                    for row in rows]
        pooled = None if rows[0].pooled is None else torch.cat([row.pooled for row in rows])
        return Condition(torch.cat([row.crossattn for row in rows]), pooled)

    def _one(self, text: str, negative: bool) -> Condition:
        key = (text, negative and self._zero_empty_negative and not text)
        if key not in self._cache:
            if len(self._cache) >= CACHED_TEXTS:
                self._cache.clear()
            self._cache[key] = self._encoded(text, zeros=key[1])
        return self._cache[key]

    def _encoded(self, text: str, zeros: bool) -> Condition:
        chunks = torch.tensor(self._chunk(text), device=self._device)
        hidden, pooled = [], None
        for encoder in self._encoders:
            states, vector = encoder(chunks, self._chunk.end)
            hidden.append(states.reshape(1, -1, states.shape[-1]))
            pooled = vector[:1] if vector is not None else pooled
        condition = Condition(torch.cat(hidden, -1), pooled).map(lambda t: t.to(self._dtype))
        return condition.map(torch.zeros_like) if zeros else condition


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
