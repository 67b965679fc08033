"""Which tokens of a text are whose words.

Host-free: a host gives the ids of its own chunks of 77 (start, 75, end), as it encodes them, so that its emphasis, BREAK and
padding are its own affair; of a word, its ids without start and end.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Sequence, Tuple

import torch

from lib_negguide.errors import HostError, SettingsError

CHUNK = 77


def find(ids: Sequence[int], word: Sequence[int]) -> Tuple[int, ...]:
    """Places in ``ids`` (77 a chunk) of all that say ``word``, also where it goes on in the next chunk; ``()`` where it is not said."""
    inside = [place for place in range(len(ids)) if place % CHUNK not in (0, CHUNK - 1)]
    said, count = [ids[place] for place in inside], len(word)
    starts = [at for at in range(len(said) - count + 1) if count and said[at:at + count] == list(word)]
    return tuple(sorted({inside[at + more] for at in starts for more in range(count)}))


@dataclass(frozen=True)
class Tokens:
    """Words of one text: for each its name and its places; ``length``: of the text's own condition, a multiple of 77."""

    names: Tuple[str, ...]
    places: Tuple[Tuple[int, ...], ...]
    length: int = CHUNK

    @classmethod
    def of(cls, ids: Sequence[int], words: Sequence[Tuple[str, Sequence[int]]], field: str = "token") -> Tokens:
        """The words, each (name, ids), in a text with these ids; raises :class:`SettingsError` where one is not in it."""
        places = [find(ids, word) for _, word in words]
        for (name, _), found in zip(words, places):
            if not found:
                raise SettingsError(field, name, "words that the text says")
        return cls(tuple(name for name, _ in words), tuple(places), len(ids))

    @classmethod
    def whole(cls, ids: Sequence[int], padding: int, name: str) -> Tokens:
        """All that a text says, as one word; ``padding``: the id that fills chunks up."""
        return cls((name,), (tuple(at for at, one in enumerate(ids) if at % CHUNK not in (0, CHUNK - 1) and one != padding),), len(ids))

    def columns(self, total: int) -> torch.Tensor:
        """(total, words), 1 where a token belongs to a word.

        ``total``: tokens of the condition as the model got it: this text's, repeated whole so many times
        (:func:`lib_negguide.formulas.repeat`), with one in front where another extension has put its mark there.
        """
        return _columns(self, total)


@lru_cache(maxsize=64)
def _columns(tokens: Tokens, total: int) -> torch.Tensor:
    front = total % CHUNK
    times, rest = divmod(total - front, tokens.length)
    if front > 1 or rest or not times:
        raise HostError(f"NegGuide: a text of {tokens.length} tokens reached the model as {total}; its words cannot be found in it")
    result = torch.zeros(total, len(tokens.names))
    for column, places in enumerate(tokens.places):
        for place in places:
            result[front + place::tokens.length, column] = 1.0
    return result
