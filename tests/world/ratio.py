"""r_t of Ban et al. (2406.02965, section 3.1) as a detector in the removal's loop: a baseline to compare with, not offered to users.

r_t is the sum over all cross-attention layers and heads of mean(A²) over all tokens, of a prediction under the negative, over that of
the prompt's: as in the authors' code, not of the words' tokens. The paper reads it as how strongly a negative acts. In the small
model it says the opposite of what a detector needs, if anything: where the thing is there it is *lower*, from the middle of
the run on. So presence here is 1 / r_t, which is to the baseline's favour.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lib_negguide.attention.probes import Probe, every
from lib_negguide.attention.ratio import ratio
from lib_negguide.removal import Seen


class Ratio:
    """A :class:`lib_negguide.detectors.Detector`; ``guidance``: the run's, of the embedded host, to be set before it begins.

    A look takes a prediction under the negative alone, which no other part of the loop needs; ``predictions``: so far, of each picture.
    """

    name, needs_negative, looks, graded = "ratio", False, 1, False
    gone, back = 0.90, 0.91

    def __init__(self, text: str) -> None:
        self.text, self.guidance = text, None
        self.predictions: dict[int, int] = {}
        self._negative = None

    def presence(self, seen: Seen, pictures: Sequence[int]) -> torch.Tensor:
        """(K,): 1 / r_t. (The prompt's prediction is made again, to be probed; it is not counted.)"""
        guidance, rows, count = self.guidance, list(pictures), len(pictures)
        if self._negative is None:
            self._negative = guidance.model.encode([self.text], negative=True)
        conditions = [guidance.cond.map(lambda t: t[rows]), self._negative.map(lambda t: t.expand(count, *t.shape[1:]))]
        with Probe(guidance.model.unet, every) as probe:
            probe.begin([True] * (2 * count))
            guidance.predict(seen.x[rows], torch.tensor(seen.sigma), conditions)
            r_t = ratio(probe.look(range(count, 2 * count)), probe.look(range(count)))
        for number in rows:
            self.predictions[number] = self.predictions.get(number, 0) + 1
        return 1 / r_t.float().cpu()
