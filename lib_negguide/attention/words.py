"""Which tokens of a text are whose words.

Host-free: a host gives the ids of its own chunks of 77 (start, 75, end), as it encodes them, so that its emphasis, BREAK and
padding are its own affair; of a word, its ids without start and end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Callable, List, Sequence, Tuple

import torch

from lib_negguide.errors import HostError, SettingsError

CHUNK = 77
MOST = 12
"""Words of one text that are looked at where nobody has chosen any."""

_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_SMALL = frozenset("a an the this that and or not of in on at to by for from as is are it its his her their with without under over near "
                   "very break".split())


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

    @classmethod
    def each_word(cls, texts: Sequence[str], ids_of: Callable[[str], Sequence[int]]) -> List[Tokens]:
        """The words that a text says, of each form that it takes in a run (prompt editing); small words are left out, and all but 12.

        ``ids_of``: the host's chunks of a text. All have the same names; a word that one form does not say has no place in it.
        """
        forms = [list(ids_of(text)) for text in texts]
        named = dict.fromkeys(word for text in texts for word in _WORD.findall(text.lower()) if word not in _SMALL)
        found = []
        for word in named:
            own = list(ids_of(word))
            inner = [one for place, one in enumerate(own) if place % CHUNK not in (0, CHUNK - 1)]
            while inner and inner[-1] == own[-1]:  # filled up with the end token
                inner.pop()
            places = [find(ids, inner) for ids in forms]
            if any(places):
                found.append((word, places))
        found = found[:MOST]
        return [cls(tuple(word for word, _ in found), tuple(places[form] for _, places in found), len(ids))
                for form, ids in enumerate(forms)]

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
