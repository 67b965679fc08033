"""What the embedded host gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, List, Optional, Tuple

import torch

from lib_negguide import dns
from lib_negguide.trace import Trace


@dataclass(frozen=True)
class Search:
    """One picture's search for a window (Ban et al.): the steps at which those tried ended; the last is the picture's.

    ``gone``: the thing is, there. ``evaluations``: predictions spent, those that windows share counted once; ``alone``: what
    a whole sampling for each window would have taken.
    """

    ends: Tuple[int, ...]
    gone: bool
    evaluations: int
    alone: int


@dataclass
class Result:
    """Pictures (B, 3, H, W), float32 in 0..1, and what was done; the trace is the same for every picture of the call.

    Of auto-DNP also: ``negatives``, one a picture; ``dns_calls``: model calls for each negative picture that was
    sampled now; and where scores were asked for, ``plain`` and ``guided``: the pictures without and with the captions,
    ``scores``: of each picture (without, with its caption), ``without``: for which the one without was kept, and
    ``compared``: predictions for each picture of ``plain``.

    Of a removal also: ``recorded``: predictions, a picture, of the run without it that was made to keep the rest; ``searches``:
    what the search of Ban et al. tried for each picture; ``notes``: what a person should know of it. What was done in each
    picture at each call is in the trace.
    """

    images: torch.Tensor
    trace: Trace
    scheduler: str
    negatives: List[dns.Negative] = field(default_factory=list)
    dns_calls: int = 0
    plain: Optional[torch.Tensor] = None
    guided: Optional[torch.Tensor] = None
    scores: List[Tuple[Any, Any]] = field(default_factory=list)
    without: List[bool] = field(default_factory=list)
    compared: List[int] = field(default_factory=list)
    recorded: int = 0
    searches: List[Search] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)

    def pil(self) -> list:
        """Pillow images."""
        return pil(self.images)

    def evaluations(self, picture: int) -> int:
        """Predictions of the network for one picture, those for its negative pictures and for ``plain`` included.

        Two a call, and the extra ones of branches and of a removal, whose search counts with all that it tried. A negative
        picture that two pictures share counts for both.
        """
        calls = len(self.trace.calls)
        spent = self.searches[picture].evaluations if self.searches else 2 * calls + self.trace.extra_of(picture) + self.recorded
        spent += self.compared[picture] if self.compared else 0
        shown = self.negatives[picture].shown if self.negatives else []
        return spent + 2 * self.dns_calls * sum(not entry.cached for entry in shown)


def pil(images: torch.Tensor) -> list:
    """Pillow images of pictures (B, 3, H, W) in 0..1; values are cut to whole numbers as the WebUI does."""
    from PIL import Image

    return [Image.fromarray(array) for array in (images * 255.0).byte().permute(0, 2, 3, 1).numpy()]
