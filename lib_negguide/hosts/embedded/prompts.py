"""A1111's prompt syntax within one prompt: emphasis, BREAK, and chunks of 75 tokens.

``(word)`` and ``(word:1.3)`` raise a word's weight (by 1.1 without a number), ``[word]``
lowers it by 1.1, ``\\(`` is a bracket, ``BREAK`` begins a new chunk. No prompt editing, no AND.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import List, Optional, Tuple

CHUNK = 75
COMMA_BACKTRACK = 20  # the WebUI's default: a chunk may end at a comma up to so many tokens before its end
STEP = 1.1

_MARKS = re.compile(r"\\[()\[\]\\]?|[()\[\]]|:\s*(?P<number>[+-]?[.\d]+)\s*\)|:|[^\\()\[\]:]+")
_BREAK = re.compile(r"\s*\bBREAK\b\s*")

Piece = Tuple[Optional[str], float]
"""A text and its weight; ``None`` for the text is a BREAK."""


def weighted(prompt: str) -> List[Piece]:
    """The prompt as texts with weights; neighbours of equal weight are one text."""
    pieces: List[List] = []
    opened = {"(": [], "[": []}

    def scale(first: int, factor: float) -> None:
        for piece in pieces[first:]:
            piece[1] *= factor

    for match in _MARKS.finditer(prompt):
        mark = match[0]
        if mark in opened:
            opened[mark].append(len(pieces))
        elif match["number"] is not None and opened["("]:
            scale(opened["("].pop(), float(match["number"]))
        elif mark == ")" and opened["("]:
            scale(opened["("].pop(), STEP)
        elif mark == "]" and opened["["]:
            scale(opened["["].pop(), 1.0 / STEP)
        elif mark.startswith("\\"):
            pieces.append([mark[1:], 1.0])
        else:
            for number, part in enumerate(_BREAK.split(mark)):
                pieces += [[None, 1.0]] * (number > 0) + [[part, 1.0]]
    for first in opened["("]:
        scale(first, STEP)
    for first in opened["["]:
        scale(first, 1.0 / STEP)

    merged: List[List] = []
    for text, weight in pieces:
        if text is not None and merged and merged[-1][0] is not None and merged[-1][1] == weight:
            merged[-1][0] += text
        else:
            merged.append([text, weight])
    return [(text, weight) for text, weight in merged]


@dataclass(frozen=True)
class Chunk:
    """77 token ids (start, 75, end) and their weights."""

    ids: Tuple[int, ...]
    weights: Tuple[float, ...]


class Chunker:
    """Cuts a prompt into chunks; at least one, padded with the end token."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.start, self.end = tokenizer.bos_token_id, tokenizer.eos_token_id
        self._comma = tokenizer.convert_tokens_to_ids(",</w>")

    def __call__(self, prompt: str) -> List[Chunk]:
        chunks: List[Chunk] = []
        current: List[Tuple[int, float]] = []
        comma = -1
        for text, weight in weighted(prompt):
            if text is None:
                chunks.append(self._framed(current))
                current, comma = [], -1
                continue
            for token in self.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]:
                if token == self._comma:
                    comma = len(current)
                elif len(current) == CHUNK and comma != -1 and CHUNK - comma <= COMMA_BACKTRACK:
                    chunks.append(self._framed(current[: comma + 1]))
                    current, comma = current[comma + 1:], -1
                if len(current) == CHUNK:
                    chunks.append(self._framed(current))
                    current, comma = [], -1
                current.append((token, weight))
        if current or not chunks:
            chunks.append(self._framed(current))
        return chunks

    def ids(self, prompt: str) -> List[int]:
        """All chunks' token ids."""
        return [token for chunk in self(prompt) for token in chunk.ids]

    def _framed(self, tokens: List[Tuple[int, float]]) -> Chunk:
        padding = CHUNK - len(tokens)
        ids = (self.start, *(token for token, _ in tokens), *[self.end] * (padding + 1))
        return Chunk(ids, (1.0, *(weight for _, weight in tokens), *[1.0] * (padding + 1)))
