"""What the network predicted in the sampling before, given again where the next one asks the very same.

The windows of a search differ in their end alone, so their samplings agree to the bit until the shorter one ends. Each is made
by the host as ever, with its noise, masks and scripts; only the network is not asked twice.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Tuple

import torch

from lib_negguide.hosts.a1111.records import feed
from lib_negguide.trace import Trace

MEGABYTES = 512.0
"""At most so much is kept; calls behind that are predicted anew. 30 calls of one 512x512 picture are 6 MB."""


class Repeated:
    """Predictions at the calls of the last sampling with one denoiser, on the CPU as they were."""

    def __init__(self, denoiser: Any):
        self._denoiser = denoiser
        self._kept: Dict[Tuple[int, int], Tuple[bytes, torch.Tensor]] = {}
        self._asked: Dict[int, int] = {}
        self._made: Dict[int, int] = {}

    @contextmanager
    def inside(self) -> Iterator[None]:
        """One sampling; the host's model is as before afterwards, whatever happens."""
        self._asked, self._made = {}, {}
        model = self._denoiser.inner_model
        before, predict = model.__dict__.get("forward"), model.forward
        turns: Dict[int, int] = {}

        def forward(x: torch.Tensor, level: torch.Tensor, **conditions: Any) -> torch.Tensor:
            call = self._denoiser.step
            place = call, turns.get(call, 0)
            turns[call] = place[1] + 1
            self._asked[call] = self._asked.get(call, 0) + len(x)
            key = _digest(x, level, conditions)
            kept, predicted = self._kept.get(place, (b"", None))
            if kept == key:
                return predicted.to(x.device, copy=True)
            self._made[call] = self._made.get(call, 0) + len(x)
            self._kept.pop(place, None)
            predicted = predict(x, level, **conditions)
            if predicted.nbytes + sum(tensor.nbytes for _, tensor in self._kept.values()) <= MEGABYTES * 1e6:
                self._kept[place] = key, predicted.detach().to("cpu", copy=True)
            return predicted

        model.forward = forward
        try:
            yield
        finally:
            model.__dict__.pop("forward", None)
            if before is not None:
                model.forward = before

    def evaluations(self, trace: Trace) -> float:
        """Predictions of the network for one picture in the last sampling, without what was given again."""
        shares = (self._made.get(call, 0) / self._asked[call] if call in self._asked else 1.0 for call in range(len(trace.calls)))
        return sum(share * (2 + call.extra_of(0)) for share, call in zip(shares, trace.calls))


def _digest(*asked: Any) -> bytes:
    whole = hashlib.sha256()
    feed(whole, asked)
    return whole.digest()
