"""The attention of one picture to chosen words, from the first model call to the last: figure 1 of Ban et al. (2406.02965)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch

from lib_negguide.attention import maps, ratio
from lib_negguide.attention.probes import Layer, Probe, Size
from lib_negguide.attention.words import Tokens

PROMPT, NEGATIVE = "prompt", "negative"
"""Sides. The second part of a prompt (AND) is ``prompt 2``."""
FEW, MOST = 12, 24


def every(calls: int) -> int:
    """Each first of how many calls is looked at: all of a run of up to 12, every second of up to 48, never more than 24 of a run."""
    return 1 if calls <= FEW else max(2, -(-calls // MOST))


@dataclass(frozen=True)
class Word:
    """One word over the calls: ``maps`` (h, w) of each, the share of the words' tokens; ``strengths``: see :func:`maps.strengths`.

    ``critical``: the call at which it has reached 90% of its rise, from 0; ``None`` where it does not rise.
    """

    side: str
    name: str
    maps: Sequence[torch.Tensor]
    strengths: Sequence[float]
    critical: Optional[int]

    def to_dict(self) -> Dict[str, Any]:
        """JSON-ready."""
        rounded = [[[round(value, 5) for value in row] for row in one.tolist()] for one in self.maps]
        return {"side": self.side, "word": self.name, "critical": self.critical, "strengths": list(self.strengths), "maps": rounded}


@dataclass
class History:
    """Kept while a picture is sampled. ``words``: of each side those to be drawn; a side may have none.

    ``contexts``: of a side whose text is not the row's own, (1, T, C) of the text: its places then attend to that. A host calls
    :meth:`begin` before each model call and :meth:`take` after it; it may change words (not their names) and contexts in between.
    ``every``: looks at each first of so many calls; ``calls``: their numbers, with their ``sigmas``. ``ratios``: r_t of each, of
    the probed layers, ``None`` where the negative says nothing (``compared`` is false).
    """

    probe: Probe
    words: Dict[str, Tokens]
    contexts: Dict[str, torch.Tensor] = field(default_factory=dict)
    every: int = 1
    compared: bool = True
    calls: List[int] = field(default_factory=list)
    sigmas: List[float] = field(default_factory=list)
    _maps: Dict[str, List[Dict[Size, torch.Tensor]]] = field(default_factory=dict)
    _ratios: List[Optional[torch.Tensor]] = field(default_factory=list)
    _rows: Dict[str, int] = field(default_factory=dict)
    _begun: int = 0

    def begin(self, sides: Sequence[Optional[str]]) -> None:
        """Whose each row of the next call is: the picture's prompt's, its negative's, or neither (``None``)."""
        due, self._begun = self._begun % self.every == 0, self._begun + 1
        self._rows = {side: row for row, side in reversed(list(enumerate(sides))) if side is not None} if due else {}
        self.probe.begin([row in self._rows.values() for row in range(len(sides))])

    def take(self, sigma: float) -> None:
        """The call is done; what was kept of it is looked at. Nothing is moved off the device before the end.

        A call without one of the rows (a host may leave out the negative's) is not looked at.
        """
        self.probe.end()
        run = self.probe.rows() if self._rows else []
        if not self._rows or run and any(row not in run for row in self._rows.values()):
            return
        looked = self._looked()
        for side, tokens in self.words.items():
            self._maps.setdefault(side, []).append({size: found[0] for size, found in maps.each_size(looked[side], tokens).items()})
        both = self.compared and NEGATIVE in looked and PROMPT in looked
        self._ratios.append(ratio.ratio(looked[NEGATIVE], looked[PROMPT])[0] if both else None)
        self.sigmas.append(float(sigma))
        self.calls.append(self._begun - 1)

    def done(self) -> History:
        """The run is over: what was kept goes off the device, and nothing of the model's is held on to."""
        self._maps = {side: [{size: one.cpu() for size, one in call.items()} for call in calls] for side, calls in self._maps.items()}
        self._ratios = [None if one is None else one.cpu() for one in self._ratios]
        self.probe.begin(())
        self.contexts.clear()
        return self

    def _looked(self) -> Dict[str, List[Layer]]:
        """Each side's layers, those of one kind together."""
        return dict(zip(self._rows, self.probe.together([(row, self.contexts.get(side)) for side, row in self._rows.items()])))

    @property
    def ratios(self) -> List[Optional[float]]:
        return [None if one is None else float(one) for one in self._ratios]

    def sizes(self) -> List[Size]:
        """Of the maps that there are, the largest first; none before the first look."""
        return list(next(iter(self._maps.values()))[0]) if self._maps else []

    def of(self, size: Optional[Size] = None) -> List[Word]:
        """Every word over all calls, in maps of one size (default: the largest), on the CPU; the negative's words last."""
        size, found = size or self.sizes()[0], []
        for side, tokens in sorted(self.words.items(), key=lambda entry: (entry[0] == NEGATIVE, entry[0])):
            own = torch.stack([call[size] for call in self._maps[side]]).float().cpu()
            for index, (name, strengths) in enumerate(zip(tokens.names, maps.strengths(own))):
                found.append(Word(side, name, list(own[:, index]), strengths, maps.critical(strengths)))
        return found

    def to_dict(self) -> Dict[str, Any]:
        """JSON-ready."""
        of_size: List[Tuple[Size, List[Word]]] = [(size, self.of(size)) for size in self.sizes()]
        return {"calls": self.calls, "sigmas": self.sigmas, "r_t": self.ratios,
                "resolutions": [{"size": list(size), "words": [word.to_dict() for word in words]} for size, words in of_size]}
