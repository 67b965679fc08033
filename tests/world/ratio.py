"""r_t of Ban et al. (2406.02965, section 3.1) as a detector in the removal's loop: a baseline to compare with, not offered to users.

r_t is the sum over all cross-attention layers and heads of mean(A²) over all tokens, of the negative's own prediction, over that of
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
    """A :class:`lib_negguide.detectors.Detector` that is also the ``watch`` of the embedded host's guidance, which tells it whose the rows are."""

    name, needs_negative, looks = "ratio", True, 1
    gone, back = 0.90, 0.91

    def __init__(self, unet: torch.nn.Module) -> None:
        self.probe = Probe(unet, every)
        self._prompts: list[int] = []
        self.maps = None

    def __enter__(self) -> Ratio:
        self.probe.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self.probe.__exit__(*error)

    def begin(self, pictures: Sequence[int | None]) -> None:
        """For each row of the next call whose prompt it has; the removal's own rows are the last."""
        self._prompts = [row for row, picture in enumerate(pictures) if picture is not None]
        self.probe.begin([row >= self._prompts[0] for row in range(len(pictures))])

    def end(self) -> None:
        self.probe.end()

    def presence(self, seen: Seen, pictures: Sequence[int]) -> torch.Tensor:
        """(K,): 1 / r_t."""
        predicted = [picture for picture, wanted in enumerate(seen.wanted) if wanted]
        first = self._prompts[-1] + 1
        negative = self.probe.look([first + predicted.index(picture) for picture in pictures])
        return 1 / ratio(negative, self.probe.look([self._prompts[picture] for picture in pictures])).float().cpu()
