"""Attention in A1111: a removal's words watched in the prompts' rows of the host's own model calls.

As with image prompts, the host's callback says what one call will be asked (all rows of the prompts, then those of the
negative), the host may run the model on them at once or in parts, and the hooks go when the sampler's own method ends.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator, Optional, Sequence

import torch
from modules import shared

from lib_negguide.attention.watch import Attention, Watch, needed
from lib_negguide.attention.words import Tokens
from lib_negguide.detectors import Make
from lib_negguide.hosts import conditions
from lib_negguide.hosts.a1111.images import parts_of_prompts, unet
from lib_negguide.hosts.a1111.run import Run, edited


class Watching:
    """The attention of a pass's prompts to the removal's text alone, as long as a sampler is at work."""

    def __init__(self, run: Run):
        self._run = run
        self._watch: Optional[Watch] = None
        self._entry: Any = None

    def begin(self, params) -> None:
        """The host will predict the rows of this call; what is asked from now on is about them."""
        parts = parts_of_prompts(params, "a removal's attention")
        self._open(params.denoiser)
        self._watch.begin([picture for picture, count in enumerate(parts) for _ in range(count)] + [None] * len(parts))

    def end_call(self) -> None:
        """What is predicted from now on is not looked at."""
        if self._watch is not None:
            self._watch.end()

    def presence(self, pictures: Sequence[int]) -> torch.Tensor:
        """(K,), see :meth:`Watch.presence`."""
        return self._watch.presence(pictures)

    def maps(self, pictures: Sequence[int]) -> torch.Tensor:
        """(K, 1, h, w), see :meth:`Watch.maps`."""
        return self._watch.maps(pictures)

    def close(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.__exit__()

    def _open(self, denoiser) -> None:
        """Watch the loaded model with the text as it is at this call: the refiner, and prompt editing, take over in the midst of a run."""
        current, p = self._run.current, denoiser.p
        text = current.plan.texts((), current.box_texts, current.captions, current.remove.text)[0]
        schedule = self._run.schedules(p, (), current.remove.text)[0]
        entry = conditions.entry_at(schedule, denoiser.step)
        if self._watch is not None and entry is self._entry and self._watch.probe.unet is unet():
            return
        self.close()
        said = next(said for one, said in zip(schedule, edited(p, text, current.hires)) if one.cond is entry)
        watch = Watch(unet(), conditions.tokens_of(entry)[None], tokens(said, current.remove.text))
        watch.__enter__()
        self._watch, self._entry = watch, entry


def tokens(text: str, name: str) -> Tokens:
    """All that a text says, as the host's own encoder (SDXL: its first) divides it into chunks."""
    encoder = shared.sd_model.cond_stage_model
    if not hasattr(encoder, "tokenize_line"):
        encoder = next(one for one in encoder.embedders if hasattr(one, "tokenize_line"))
    chunks, _ = encoder.tokenize_line(text)
    return Tokens.whole([token for chunk in chunks for token in chunk.tokens], encoder.id_end, name)


@contextmanager
def watching(run: Run) -> Iterator[Optional[Make]]:
    """Attention can be looked at inside, where the run's removal needs it; gives what makes its detectors. Hooks go in any case."""
    if not needed(run.settings.remove):
        yield None
        return
    run.watching = now = Watching(run)
    try:
        yield lambda prompts: Attention(now)
    finally:
        run.watching = None
        now.close()
