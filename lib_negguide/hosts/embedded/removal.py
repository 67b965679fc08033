"""Removal on the embedded host: its parts for a run, the run that keeps the rest, and the search of Ban et al."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, ContextManager, List, Optional, Sequence, Tuple

import torch

from lib_negguide import detectors, regions, removal
from lib_negguide.attention.watch import Attention, Watch, needed
from lib_negguide.attention.words import Tokens
from lib_negguide.detectors import Detector, Make
from lib_negguide.errors import SettingsError
from lib_negguide.hosts.embedded import scores
from lib_negguide.hosts.embedded.result import Result, Search, pil
from lib_negguide.image_prompt.store import Store, picture_in
from lib_negguide.plan import joins
from lib_negguide.settings import Dnp, Removal, Settings
from lib_negguide.trace import RemovalCall, Trace

if TYPE_CHECKING:
    from lib_negguide.hosts.embedded.checkpoint import Model
    from lib_negguide.hosts.embedded.host import EmbeddedHost, Run


@dataclass(frozen=True)
class Part:
    """One batch: ``prepare`` gives its run under some settings, ``begin`` where that begins (x and the level's number).

    ``key``: all else that its pictures depend on; ``None`` where that cannot be told.
    """

    prepare: Callable[[Settings], Run]
    begin: Callable[[Run], Tuple[torch.Tensor, int]]
    key: Optional[tuple] = None


class Plain:
    """The guided x0 of all calls of the last runs without a removal, so that trying another one costs no second sampling again."""

    KEPT = 4

    def __init__(self):
        self._runs: OrderedDict = OrderedDict()

    def of(self, part: Part, settings: Settings) -> Tuple[List[torch.Tensor], int]:
        """The record of a batch without its removal, and the predictions a picture that it took now."""
        bare = settings.copy(update={"remove": None})
        key = None if part.key is None else (*part.key, bare.json())
        if key in self._runs:
            self._runs.move_to_end(key)
            return self._runs[key], 0
        run = part.prepare(bare)
        record = run.guidance.record = []
        run.between(*part.begin(run))
        if key is not None:
            self._runs[key] = record
            while len(self._runs) > self.KEPT:
                self._runs.popitem(last=False)
        return record, _evaluations(run.guidance.trace)


def removing(remove: Optional[Removal], sigmas: torch.Tensor, count: int, cfg_scale: float, detector: Optional[Detector],
             mask: Optional[torch.Tensor], watch: Optional[Watch] = None) -> Optional[removal.Removing]:
    """What removes in one run; ``None`` where nothing is removed, or by the plan (:func:`joins`). ``mask``: see :func:`regions.make`;
    ``watch``: see :func:`watched`."""
    if remove is None:
        return None
    if cfg_scale in (0.0, 1.0):
        raise SettingsError("cfg_scale", cfg_scale, "with a removal another than 0 or 1: guidance is what removes")
    if joins(remove):
        return None
    if remove.search != "loop":
        detector = None
    elif detector is None and remove.detector == "presence":
        detector = detectors.Presence(remove)
    elif detector is None and remove.detector == "attention" and watch is not None:
        detector = Attention(watch)
    elif detector is None:
        raise SettingsError("remove.detector", remove.detector, "presence, where no other one is handed in")
    return removal.Removing(remove.in_sigma(sigmas[:-1].tolist()), count, detector, regions.make(remove, mask))


def watched(model: Model, remove: Optional[Removal]) -> Optional[Watch]:
    """What watches a removal's words in the pictures' attention, where its detector or its region needs it."""
    if not needed(remove):
        return None
    ids = [token for chunk in model.text.chunker(remove.text) for token in chunk.ids]
    tokens = Tokens.whole(ids, model.text.chunker.end, remove.text)
    return Watch(model.unet, model.encode([remove.text], negative=True).crossattn, tokens)


def mask_of(remove: Optional[Removal], mask: Any) -> Optional[torch.Tensor]:
    """The mask of a removal as a tensor: that which is handed in (Pillow, tensor), else the settings' own; ``None`` without one."""
    if mask is None and remove is not None:
        mask = picture_in(remove.mask, Store(), "remove.mask")
    return mask if mask is None or isinstance(mask, torch.Tensor) else regions.mask_of(mask)


def opened(host: EmbeddedHost, remove: Optional[Removal], captioner=None, clip=None) -> ContextManager[Make]:
    """What makes the detectors of a run's batches (:func:`detectors.opened`), by default with the host's own captioner and CLIP."""
    from lib_negguide.hosts.embedded.dns import opener

    if remove is None:
        return detectors.nobody()
    captioner = captioner or (lambda: opener(Dnp(), host)())
    return detectors.opened(remove, captioner=captioner, clip=clip or partial(scores.opened, host), attention=lambda prompts: None,
                            final=remove.search == "exhaustive")


def anchored(part: Part, settings, plain: Plain) -> Tuple[Run, int]:
    """The prepared run, and where the rest is to be kept, the predictions a picture of the run without the removal."""
    run = part.prepare(settings)
    own = run.guidance.removing
    if own is None or not own.removal.anchor:
        return run, 0
    run.guidance.plain, spent = plain.of(part, settings)
    return run, spent


def that_guides(settings, cfg_scale: float) -> Tuple[Any, List[str]]:
    """The settings, without their removal where guidance of this scale cannot remove anything; and then what to say of that."""
    remove = settings.remove if isinstance(settings, Settings) and settings.enabled else None
    told = [] if remove is None else removal.unguided(cfg_scale)
    return (settings.copy(update={"remove": None}) if told else settings), told


def notes(settings, sigmas: torch.Tensor) -> List[str]:
    """What a person should know of a removal over these levels."""
    remove = settings.remove if isinstance(settings, Settings) and settings.enabled else None
    return [] if remove is None else removal.notes(remove, sigmas[:-1].tolist())


def searches(settings) -> bool:
    """Whether windows are searched for."""
    return isinstance(settings, Settings) and settings.enabled and settings.remove is not None and settings.remove.search == "exhaustive"


def searched(host: EmbeddedHost, settings: Settings, prompts: Sequence[str], part_of, make: Make, on_step) -> Result:
    """The search of Ban et al. for each picture by itself: a window from a fixed start, ever longer, until the thing is gone."""
    pictures, traces, found, scheduler = [], [], [], ""
    for number in range(len(prompts)):
        with host.threads():
            search = _Search(host, settings, part_of(slice(number, number + 1), None), number, len(prompts), on_step)
            one = removal.exhaustive(search.sample, partial(search.there, make(prompts[number:number + 1])), search.ends)
        image, trace = one.picture
        pictures.append(image)
        traces.append(trace)
        found.append(Search(tuple(one.tried), one.gone, search.spent, search.alone))
        scheduler = search.run.scheduler
    return Result(torch.cat(pictures), Trace.joined(traces), scheduler, searches=found, notes=notes(settings, search.run.sigmas))


class _Search:
    """One picture's search. Windows that differ in their end agree before it, so that part of the run is made once.

    A sampler that remembers steps is run anew for each window.
    """

    def __init__(self, host: EmbeddedHost, settings: Settings, part: Part, number: int, pictures: int, on_step):
        self.host, self.settings, self.remove = host, settings, settings.remove
        self.spent = self.alone = 0
        self._part, self._number, self._pictures, self._on_step = part, number, pictures, on_step
        plain = settings.copy(update={"remove": self.remove.copy(update={"search": "window"})})
        self.run, self.spent = anchored(part, plain, host.plain)
        self.alone = self.spent
        self._levels = self.run.sigmas[:-1].tolist()
        self._begin = part.begin(self.run)
        self._x, self._at = self._begin
        self.ends = sorted({max(end, self._at) for end in removal.ends_of(self.remove, self._levels)})
        self._start, self._done = self.run.noise.state(), 0
        self.run.guidance.on_step = self._stepped if on_step else None

    def sample(self, end: int) -> Tuple[torch.Tensor, Trace]:
        """The picture (1, 3, H, W) of the window to ``end``, and its trace."""
        run, guidance = self.run, self.run.guidance
        if not run.sampler.remembers:
            self._walk(end - (run.sampler.orders - 1))
        kept = run.noise.state(), guidance.removing, guidance.trace
        before = len(guidance.trace.calls)
        guidance.removing, guidance.trace = copy.deepcopy(guidance.removing), copy.copy(guidance.trace)
        guidance.trace.calls = list(guidance.trace.calls)
        self._to(end)
        image = self.host.pictures(run, run.between(self._x, self._at))
        trace = guidance.trace
        run.noise.restore(kept[0])
        guidance.removing, guidance.trace = kept[1:]
        self.spent += _evaluations(trace, before)
        self.alone += _evaluations(trace)
        return image, _of_picture(trace, self.remove) if joins(self._window(end)) else trace

    def there(self, detector, made: Tuple[torch.Tensor, Trace]) -> bool:
        return detectors.there(detector, self.remove, pil(made[0]), [0])[0]

    def _walk(self, level: int) -> None:
        """Go on to a level inside the window, for all windows that end behind it."""
        if level <= self._at:
            return
        self._to(self.ends[-1])
        before = len(self.run.guidance.trace.calls)
        self._x = self.run.between(self._x, self._at, level)
        self._at = level
        self.spent += _evaluations(self.run.guidance.trace, before)

    def _window(self, end: int) -> Removal:
        return removal.window_to(self.remove, end, self._levels)

    def _to(self, end: int) -> None:
        """Let the window end there."""
        guidance, window = self.run.guidance, self._window(end)
        if guidance.removing is not None:
            guidance.removing.removal = window
        else:
            *others, _ = guidance.plan.terms
            guidance.plan = replace(guidance.plan, terms=(*others, replace(guidance.plan.terms[-1], window=window)))

    def _stepped(self, call: int, calls: int, sigma: float) -> None:
        """Calls are counted as if every window were tried, since nobody knows which is the last."""
        whole = calls * (len(self.ends) + 1)
        self._on_step(self._number * whole + self._done, self._pictures * whole, sigma)
        self._done += 1


def _evaluations(trace: Trace, first: int = 0) -> int:
    """Predictions for one picture from a call on."""
    return round(sum(2 + call.extra_of(0) for call in trace.calls[first:]))


def _of_picture(trace: Trace, remove: Removal) -> Trace:
    """A trace in which an ordinary negative, the last term, is told as the removal that it was in this picture."""
    index = next(at for at in reversed(range(len(trace.names))) if trace.names[at] == remove.text)

    def told(call):
        strength = call.strengths[index]
        own = RemovalCall((strength,), (None,), (1.0,), (False,)) if strength > 0.0 else None
        return replace(call, strengths=call.strengths[:index] + call.strengths[index + 1:], removal=own)

    names: List[str] = [name for at, name in enumerate(trace.names) if at != index]
    return Trace(tuple(names), [told(call) for call in trace.calls], remove.text, 1)
