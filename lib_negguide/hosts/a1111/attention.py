"""Attention in A1111: a removal's words watched in the prompts' rows of the host's own model calls, and maps of words to be shown.

As with image prompts, the host's callback says what one call will be asked (all rows of the prompts, then those of the
negative), the host may run the model on them at once or in parts, and the hooks go when the sampler's own method ends.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional, Sequence

import torch
from modules import shared

from lib_negguide.attention.history import NEGATIVE, PROMPT, History, every
from lib_negguide.attention.probes import Probe, each_resolution
from lib_negguide.attention.watch import Attention, Watch, needed
from lib_negguide.attention.words import Tokens
from lib_negguide.detectors import Make
from lib_negguide.hosts import conditions
from lib_negguide.hosts.a1111.images import parts_of_prompts, unet
from lib_negguide.hosts.a1111.run import Run, edited, encoded


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


def ids_of(text: str) -> List[int]:
    """Token ids of a text, as the host's own encoder (SDXL: its first) divides it into chunks."""
    chunks, _ = _encoder().tokenize_line(text)
    return [token for chunk in chunks for token in chunk.tokens]


def tokens(text: str, name: str) -> Tokens:
    """All that a text says, as one word."""
    return Tokens.whole(ids_of(text), _encoder().id_end, name)


def _encoder() -> Any:
    encoder = shared.sd_model.cond_stage_model
    return encoder if hasattr(encoder, "tokenize_line") else next(one for one in encoder.embedders if hasattr(one, "tokenize_line"))


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


_AND, _WEIGHT = re.compile(r"\bAND\b"), re.compile(r"\s*:\s*[-+]?[\d.]+\s*\Z")


class Looking:
    """The first picture's attention to the words of its prompt, in its own rows, and to those of a negative, in the negative's row.

    There the places are asked what of the negative they attend to, whatever the row's own text is: with an ordinary negative prompt
    that is the very attention of Ban et al. Opened at the first call, when the model is there, of one sampling.
    """

    def __init__(self, negative: str):
        self._negative = negative
        self.history: Optional[History] = None
        self._probe: Optional[Probe] = None
        self._schedules: Dict[str, Any] = {}
        self._forms: Dict[str, List[Tokens]] = {}

    def begin(self, params) -> None:
        """The host will predict the rows of this call."""
        denoiser, parts = params.denoiser, parts_of_prompts(params, "the heat maps of attention")
        sides = [PROMPT if not number else f"{PROMPT} {number + 1}" for number in range(parts[0])]
        if self.history is None:
            self._open(denoiser, sides)
        for side, schedule in self._schedules.items():
            entry = conditions.entry_at(schedule, denoiser.step)
            form = next(number for number, one in enumerate(schedule) if one.cond is entry)
            self.history.words[side] = self._forms[side][form]
            if side == NEGATIVE:
                self._context(entry)
        self.history.begin([*sides, *[None] * (sum(parts) - parts[0]), NEGATIVE if self._negative else None, *[None] * (len(parts) - 1)])

    def take(self, sigma: float) -> None:
        """It has."""
        self.history.take(sigma)

    def close(self) -> None:
        probe, self._probe = self._probe, None
        if probe is not None:
            probe.__exit__()

    def _open(self, denoiser, sides: Sequence[str]) -> None:
        p = denoiser.p
        own = denoiser.sampler.sampler_extra_args["cond"].batch[0]
        texts = dict(zip(sides, (_WEIGHT.sub("", text) for text in _AND.split(p.prompts[0]))))
        self._schedules = {side: part.schedules for side, part in zip(sides, own)}
        if self._negative:
            texts[NEGATIVE] = self._negative
            self._schedules[NEGATIVE] = encoded(p, [self._negative], False, [None, None, None])[0]
        self._forms = {side: Tokens.each_word(edited(p, text, False), ids_of) for side, text in texts.items()}
        self._probe = Probe(unet(), each_resolution)
        self._probe.__enter__()
        self.history = History(self._probe, {side: forms[0] for side, forms in self._forms.items()}, every=every(denoiser.total_steps or 1),
                               compared=bool(self._negative))

    def _context(self, entry: Any) -> None:
        """The same object as long as the text is, so that its keys are made once."""
        context = conditions.tokens_of(entry)
        known = self.history.contexts.get(NEGATIVE)
        if known is None or known.data_ptr() != context.data_ptr():
            self.history.contexts[NEGATIVE] = context[None]
