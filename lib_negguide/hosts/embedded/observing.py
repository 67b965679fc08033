"""Looking on while the embedded host samples: directions of guidance, and x0 previews at chosen calls. Changes no picture."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import torch

from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.hosts.embedded.result import pil
from lib_negguide.workbench.directions import chosen, directions


class Observing(EmbeddedHost):
    """A host of the same model whose every run is looked at: ``norms`` and ``previews`` are those of the last one, of one picture.

    ``negative``: its text, or "" for no norms; ``count``: how many previews.
    """

    def __init__(self, model, negative: str, count: int):
        super().__init__(model)
        self.negative, self.count = negative, count
        self.norms: List[Dict[str, float]] = []
        self.previews: List[Tuple[int, Any]] = []

    def prepare(self, *args, **kwargs):
        run = super().prepare(*args, **kwargs)
        self.norms, self.previews = [], []
        self._look_at(run.guidance)
        return run

    def _look_at(self, guidance) -> None:
        predict, blend = guidance.predict, guidance.blend
        wanted = chosen(self.count, guidance.calls)
        if self.negative:
            with torch.no_grad():
                empty, negative = (self.model.encode([text], negative=True) for text in ("", self.negative))

            def predicted(x, sigma, conditions, rows=None):
                found = predict(x, sigma, conditions, rows)
                d_u, d_n = guidance._forward([x, x], sigma, [empty, negative]) if empty.crossattn.shape == negative.crossattn.shape else (
                    guidance._forward([x], sigma, [condition])[0] for condition in (empty, negative))
                self.norms.append(directions(found[1][:1], d_u[:1], d_n[:1], float(sigma)))
                return found

            guidance.predict = predicted

        def blended(guided, x, sigma):
            call = len(guidance.trace.calls)
            if call in wanted:
                self.previews.append((call, pil(self.model.decode(guided[:1]))[0]))
            return guided if blend is None else blend(guided, x, sigma)

        if wanted:
            guidance.blend = blended
