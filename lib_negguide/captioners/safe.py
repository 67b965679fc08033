"""A caption as plain words: nothing in it means anything to a WebUI's prompt parser.

What a WebUI (and the usual extensions) read as more than words: ``()[]{}`` emphasis, editing,
variants; ``:`` and ``|`` inside them and in AND weights; ``\\`` escapes; ``<lora:…>`` and other
tags; ``#`` comments; ``$`` variables; ``__wildcards__``; ``AND``, ``BREAK`` and other keywords in capitals;
new lines. They become spaces or small letters: text encoders read ``and`` and ``AND`` alike.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Iterable, List

WORDS = 60
"""Longest safe caption in words: what fits into a chunk of 75 tokens, nearly always."""
LETTERS = 400

_TAG = re.compile(r"</?\w[^<>]*>")
_MARKS = re.compile(r"[()\[\]{}<>:|\\#$]|__+")
_CAPITALS = re.compile(r"\b[A-Z][A-Z0-9_]+\b")
_ENDS = " ,.;!?-–—_/*~^`'\"=+&"
_WORD = re.compile(r"\w", re.UNICODE)


def safe(text: str, words: int = WORDS) -> str:
    """``text`` as one line of at most ``words`` words; idempotent. May be empty."""
    text = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in text)
    text = _MARKS.sub(" ", _TAG.sub(" ", text))
    text = re.sub(r"\s*([,;])(?:\s*[,;])*\s*", r"\1 ", text)
    kept = " ".join(text.split()[:words])[:LETTERS]
    kept = _CAPITALS.sub(lambda word: word[0].lower(), kept.strip(_ENDS))
    return kept if _WORD.search(kept) else ""


def join(captions: Iterable[str]) -> str:
    """The captions in their order, without those that another one already says (capitals and spaces do not count)."""
    texts: List[str] = []
    for caption in captions:
        caption = caption.strip(_ENDS)
        if not caption or any(_says(said, caption) for said in texts):
            continue
        texts = [said for said in texts if not _says(caption, said)] + [caption]
    return ", ".join(texts)


def _says(whole: str, part: str) -> bool:
    """Whether the words of ``part`` occur in ``whole``, side by side."""
    words, sought = (" ".join(re.findall(r"\w+", text.lower())) for text in (whole, part))
    return f" {sought} " in f" {words} "
