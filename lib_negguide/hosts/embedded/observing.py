"""Looking on while the embedded host samples: directions of guidance, attention, x0 previews at chosen calls. Changes no picture."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import torch

from lib_negguide.attention.history import NEGATIVE, PROMPT, History, every
from lib_negguide.attention.probes import Probe, each_resolution
from lib_negguide.attention.words import Tokens
from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.hosts.embedded.result import pil
from lib_negguide.workbench.directions import chosen, directions


class Observing(EmbeddedHost):
    """A host of the same model whose every run is looked at: ``norms``, ``previews`` and ``history`` are of the last one, of one picture.

    ``negative``: its text, or "" for no norms; ``count``: how many previews; ``attended``: the negative whose words are looked for in the
    picture's attention, as well as the prompt's, ``None`` for no maps. It may be another one at each run.
    """

    def __init__(self, model, negative: str, count: int, attended: Optional[str] = None):
        super().__init__(model)
        self.negative, self.count, self.attended = negative, count, attended
        self.history: Optional[History] = None
        self.norms: List[Dict[str, float]] = []
        self.previews: List[Tuple[int, Any]] = []

    def prepare(self, prompts, *args, **kwargs):
        run = super().prepare(prompts, *args, **kwargs)
        self.norms, self.previews = [], []
        self.history = run.guidance.attended = None if self.attended is None else self._history(prompts[0], run.guidance.calls)
        self._look_at(run.guidance)
        return run

    def _history(self, prompt: str, calls: int) -> History:
        chunker = self.model.text.chunker
        texts = {side: text for side, text in ((PROMPT, prompt), (NEGATIVE, self.attended)) if text.strip()}
        words = {side: Tokens.each_word([text], chunker.ids)[0] for side, text in texts.items()}
        with torch.no_grad():
            contexts = {NEGATIVE: self.model.encode([self.attended], negative=True).crossattn} if NEGATIVE in texts else {}
        return History(Probe(self.model.unet, each_resolution), words, contexts, every(calls), NEGATIVE in texts)

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
