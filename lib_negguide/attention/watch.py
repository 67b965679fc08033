"""A removal's words watched in the attention of a picture that is being sampled: is the thing there, and where.

The prompt's own queries are held against the keys of the removal's text. They are computed anyway, and the keys are the same in
all calls, so that a look costs no prediction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, List, Optional, Sequence

import torch

from lib_negguide.attention import maps, ratio
from lib_negguide.attention.probes import Choice, Probe, Size, is_decoder, spread
from lib_negguide.attention.words import Tokens
from lib_negguide.errors import HostError
from lib_negguide.plan import joins
from lib_negguide.settings import Removal

if TYPE_CHECKING:
    from lib_negguide.removal import Seen

MOST_LAYERS = 9


def needed(remove: Optional[Removal]) -> bool:
    """Does a removal's detector or its region look at attention?"""
    return remove is not None and not joins(remove) and (
        remove.region == "attention" or (remove.search, remove.detector) == ("loop", "attention"))


def decoder(layers: Dict[str, int], _size: Size) -> List[str]:
    """The layers of the UNet's second half, of all resolutions; at most nine, evenly spread."""
    return spread([name for name in layers if is_decoder(name)] or list(layers), MOST_LAYERS)


class Watch:
    """The attention of a batch's prompts to a text that may not be theirs, while it is entered.

    ``context``: (1, T, C), the text's condition as the UNet takes it; ``tokens``: its words, as one; ``choose``: the layers.
    Before each model call its host says whose prompt each row is: :meth:`begin`. :meth:`presence` and :meth:`maps` are of that call.
    """

    def __init__(self, unet: torch.nn.Module, context: torch.Tensor, tokens: Tokens, choose: Choice = decoder):
        self.probe = Probe(unet, choose)
        self.context, self.tokens = context, tokens
        self._rows: Dict[int, int] = {}

    def __enter__(self) -> Watch:
        self.probe.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self.probe.__exit__(*error)

    def begin(self, pictures: Sequence[Optional[int]]) -> None:
        """For each row of the next call the number of the picture whose prompt it has; ``None`` for other rows."""
        self._rows = {}
        for row, picture in enumerate(pictures):
            if picture is not None:
                self._rows.setdefault(picture, row)  # of several joined by AND the first
        self.probe.begin([row in self._rows.values() for row in range(len(pictures))])

    def end(self) -> None:
        """The call is over; another one's rows are not looked at before the next :meth:`begin`."""
        self.probe.end()

    def presence(self, pictures: Sequence[int]) -> torch.Tensor:
        """(K,): 1 / r with r of :func:`lib_negguide.attention.ratio.ratio`, both by the prompt's queries.

        Queries of a picture that shows the thing find more than the start token in the removal's text, so that their attention
        to it is less sharp, compared with that to their own prompt.
        """
        rows = self._of(pictures)
        return ratio.squares(self.probe.look(rows)) / ratio.squares(self.probe.look(rows, self.context))

    def maps(self, pictures: Sequence[int]) -> torch.Tensor:
        """(K, 1, h, w) from 0 to 1: where these pictures attend to the words, each one's highest place 1 and its lowest 0."""
        rows = self._of(pictures)
        layers = self.probe.look(rows, self.context)
        found = maps.of_words(layers, self.tokens).sum(1, keepdim=True)
        found = found - found.amin((2, 3), keepdim=True)
        return found / found.amax((2, 3), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)

    def _of(self, pictures: Sequence[int]) -> List[int]:
        missing = [picture for picture in pictures if picture not in self._rows]
        if missing:
            raise HostError(f"NegGuide: picture {missing[0]} is not among those whose attention is watched")
        return [self._rows[picture] for picture in pictures]


class Attention:
    """The detector by attention (:class:`lib_negguide.detectors.Detector`): no prediction a look, but less sure than the predictions.

    Thresholds from 32 portraits with glasses of the small world; other models and words want their own.
    """

    name, needs_negative, looks, graded = "attention", False, 2, False
    gone, back = 0.82, 0.85

    def __init__(self, watch: Watch):
        self._watch = watch

    def presence(self, _seen: Seen, pictures: Sequence[int]) -> torch.Tensor:
        return self._watch.presence(pictures).float().cpu()
