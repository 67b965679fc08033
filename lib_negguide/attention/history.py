"""The attention of one picture to chosen words, from the first model call to the last: figure 1 of Ban et al. (2406.02965)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch

from lib_negguide.attention import maps, ratio
from lib_negguide.attention.probes import Layer, Probe, Size
from lib_negguide.attention.words import Tokens

PROMPT, NEGATIVE = "prompt", "negative"


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
    """Kept while a picture is sampled. ``words``: of each side (prompt, negative) those to be drawn, of which one side may lack.

    A host calls :meth:`begin` before each model call and :meth:`take` after it. ``ratios``: r_t of each call, of the probed layers.
    """

    probe: Probe
    words: Dict[str, Tokens]
    sigmas: List[float] = field(default_factory=list)
    _maps: Dict[str, List[Dict[Size, torch.Tensor]]] = field(default_factory=dict)
    _ratios: List[Optional[torch.Tensor]] = field(default_factory=list)
    _rows: Dict[str, int] = field(default_factory=dict)

    def begin(self, sides: Sequence[Optional[str]]) -> None:
        """Whose each row of the next call is: the picture's prompt's, its negative's, or neither (``None``)."""
        self._rows = {side: row for row, side in reversed(list(enumerate(sides))) if side is not None}
        self.probe.begin([row in self._rows.values() for row in range(len(sides))])

    def take(self, sigma: float) -> None:
        """The call is done; what was kept of it is looked at. Nothing is moved off the device before the end."""
        looked = self._looked()
        for side, tokens in self.words.items():
            self._maps.setdefault(side, []).append({size: found[0] for size, found in maps.each_size(looked[side], tokens).items()})
        both = len(looked) == 2
        self._ratios.append(ratio.ratio(looked[NEGATIVE], looked[PROMPT])[0] if both else None)
        self.sigmas.append(float(sigma))

    def _looked(self) -> Dict[str, List[Layer]]:
        """Each side's layers, of one row; computed at once where both texts have equally many tokens."""
        rows = list(self._rows.values())
        if len({self.probe.tokens(row) for row in rows}) > 1:
            return {side: self.probe.look([row]) for side, row in self._rows.items()}
        found = self.probe.look(sorted(rows))
        return {side: [replace(layer, weights=layer.weights[at:at + 1]) for layer in found]
                for side, at in ((side, sorted(rows).index(row)) for side, row in self._rows.items())}

    @property
    def ratios(self) -> List[Optional[float]]:
        return [None if one is None else float(one) for one in self._ratios]

    def sizes(self) -> List[Size]:
        """Of the maps that there are, the largest first."""
        return list(next(iter(self._maps.values()))[0])

    def of(self, size: Optional[Size] = None) -> List[Word]:
        """Every word over all calls, in maps of one size (default: the largest), on the CPU; the prompt's words first."""
        size, found = size or self.sizes()[0], []
        for side, tokens in sorted(self.words.items(), key=lambda entry: entry[0] != PROMPT):
            own = [call[size].float().cpu() for call in self._maps[side]]
            for index, (name, strengths) in enumerate(zip(tokens.names, maps.strengths(own))):
                found.append(Word(side, name, [one[index] for one in own], strengths, maps.critical(strengths)))
        return found

    def to_dict(self) -> Dict[str, Any]:
        """JSON-ready."""
        of_size: List[Tuple[Size, List[Word]]] = [(size, self.of(size)) for size in self.sizes()]
        return {"sigmas": self.sigmas, "r_t": self.ratios,
                "resolutions": [{"size": list(size), "words": [word.to_dict() for word in words]} for size, words in of_size]}
