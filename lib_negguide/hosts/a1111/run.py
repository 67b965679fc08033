"""One request in A1111: what NegGuide keeps on ``p`` while it is processed, and nowhere else."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

from modules import prompt_parser, sd_samplers, shared
from modules.sd_hijack import model_hijack

from lib_negguide.attention.watch import needed
from lib_negguide.dns import Negative
from lib_negguide.hosts.a1111 import images
from lib_negguide.image_prompt.prompt import ImagePrompts
from lib_negguide.plan import BOX, GuidancePlan, Subset, joins
from lib_negguide.removal import Removing
from lib_negguide.settings import Removal, Schedule, Settings
from lib_negguide.trace import Trace
from lib_negguide.wording import beside

ATTRIBUTE = "negguide_run"


@dataclass
class Pass:
    """One sampling pass of one batch: its plan, the encoded negatives, what was done so far."""

    hires: bool
    plan: GuidancePlan
    box_texts: Tuple[str, ...]
    trace: Trace
    captions: Optional[Tuple[str, ...]] = None
    away: Optional[float] = None
    """The paper's s, where this pass makes a diffusion-negative picture."""
    remove: Optional[Removal] = None
    """What is removed in this pass, in sigma."""
    removing: Optional[Removing] = None
    recording: Optional[List[Any]] = None
    """Takes what is left of each call, where this is the run without the removal; ``plain.at(denoiser, sigma, x)`` is what is kept to."""
    plain: Any = None
    checkpoint: Any = None
    schedules: Dict[Tuple[Subset, str], List[Any]] = field(default_factory=dict)
    beside: Optional[Tuple[List[Any], List[bool]]] = None
    images: Optional[ImagePrompts] = None
    skipped_calls: int = 0

    @property
    def box(self) -> Optional[Subset]:
        """The subset that is the ordinary negative prompt alone: the host's own condition.

        ``()`` if that is empty; ``None`` if it is not, and the plan leaves it out.
        """
        for index, term in enumerate(self.plan.terms):
            if term.source == BOX:
                return (index,)
        return None if any(self.box_texts) else ()


@dataclass
class Removed:
    """What a removal did in one picture. ``passes``: of each sampling pass, JSON-ready; ``told``: in words, one a pass."""

    passes: List[Dict[str, Any]] = field(default_factory=list)
    told: List[str] = field(default_factory=list)


class Run:
    """NegGuide's state for one ``p``.

    ``nested``: ``p`` is not the request's own, and who made it answers for its errors. Of auto-DNP, for all pictures of
    the job: ``negatives``, their captions and where they come from, or ``None``; ``given``: they are a script's;
    ``resolved``, prompts and seeds that they were made for; ``plain``, the pictures without captions, for comparison;
    ``scores`` by number of the picture. ``acting``: the hooks of image prompts, while a sampler is at work. Of a removal:
    ``make``, while a sampler is at work, gives what removes in a pass, and ``watching`` looks at attention for it; ``removed``,
    what was done, by number of the picture.
    """

    def __init__(self, p, settings: Settings, nested: bool = False):
        self._p = weakref.ref(p)
        self.settings = settings
        self.nested = nested
        self.s_min_uncond: Optional[float] = None  # p's own, while it is 0 for a diffusion-negative picture
        self.negatives: Optional[List[Negative]] = None
        self.given = False
        self.resolved: Any = None
        self.plain: Optional[List[Any]] = None
        self.scores: Dict[int, Dict[str, Any]] = {}
        self.current: Optional[Pass] = None
        self.passes: List[Pass] = []
        self.error: Optional[Exception] = None
        self.acting: Optional[images.Acting] = None
        self.make: Optional[Callable[[Any, Pass], Optional[Removing]]] = None
        self.watching: Any = None
        self.removed: Dict[int, Removed] = {}
        self._caches: Dict[Tuple[bool, Subset, str], List[Any]] = {}
        self._beside: Dict[Tuple[bool, str], List[Any]] = {}
        self._images: Dict[Any, Optional[ImagePrompts]] = {}

    def belongs_to(self, p) -> bool:
        """False for a shallow copy of ``p`` (X/Y/Z cells, nested generations), which carries the same attribute."""
        return self._p() is p

    def begin_batch(self) -> None:
        self.current, self.passes = None, []

    def begin_pass(self, p, remove: Union[Removal, None, bool] = True) -> Pass:
        """Plan a sampling pass and encode what it needs; ``p`` is about to sample, its LoRAs and checkpoint are loaded.

        ``remove``: in place of what the settings remove.
        """
        hires, remove = bool(p.is_hr_pass), self.settings.remove if remove is True else remove
        box_texts = tuple(p.hr_negative_prompts if hires else p.negative_prompts)
        captions = self._captions_of_batch(p)
        plan, away = self._plan(hires, box_texts, captions, remove), None
        if self.settings.dns is not None:
            away = self.settings.dns.away(p.cfg_scale)
        pictures = self.images()
        names = (*(term.name for term in plan.terms), *(pictures.names if pictures else ()))
        self.current = Pass(hires, plan, box_texts, Trace(names), captions, away, remove, images=pictures)
        self.passes.append(self.current)
        if self.make is not None:
            self.current.removing = self.make(p, self.current)
        self.encode(p)
        return self.current

    def begin_pass_again(self, p, remove: Optional[Removal]) -> Pass:
        """The same pass anew, with this removal, in place of the last one."""
        self.passes.pop()
        return self.begin_pass(p, remove)

    def removed_of(self, number: int) -> Removed:
        """What a removal did in the picture of this number in the job."""
        return self.removed.setdefault(number, Removed())

    def _captions_of_batch(self, p) -> Optional[Tuple[str, ...]]:
        if self.negatives is None:
            return None
        own = self.negatives[p.iteration * p.batch_size:(p.iteration + 1) * p.batch_size]
        return tuple(negative.text for negative in own)

    def _plan(self, hires: bool, box_texts: Tuple[str, ...], captions: Optional[Tuple[str, ...]],
              remove: Optional[Removal]) -> GuidancePlan:
        settings = self.settings
        if settings.dns is not None:  # away from the prompt, from nothing else
            return GuidancePlan(())
        schedule: Schedule = settings.schedule(hires)
        if captions is None:
            return GuidancePlan.build(schedule, (), box_is_empty=not any(box_texts), remove=remove)
        without_box = settings.dnp.use == "replace" or not any(box_texts)
        return GuidancePlan.build(schedule, (), box_is_empty=without_box, caption=settings.dnp.window, remove=remove)

    def encode(self, p) -> None:
        """(Re-)encode every text that the pass can need, for the checkpoint that is loaded now."""
        current = self.current
        current.checkpoint = shared.sd_model.sd_checkpoint_info
        current.images = self.images()
        current.schedules, current.beside = {}, None
        for subset in current.plan.subsets():
            self.schedules(p, subset)
        if current.remove is not None and not joins(current.remove):
            self.beside(p)
        if needed(current.remove):
            self.schedules(p, (), current.remove.text)

    def images(self) -> Optional[ImagePrompts]:
        """Image prompts for the checkpoint that is loaded now, made once; ``None`` where there are none."""
        checkpoint = shared.sd_model.sd_checkpoint_info.filename
        if self.settings.images and checkpoint not in self._images:
            self._images[checkpoint] = images.prepared(self.settings)
        return self._images.get(checkpoint)

    def schedules(self, p, subset: Subset, also: str = "") -> List[Any]:
        """The prompt-editing schedules of a subset's joined texts, and of ``also`` behind them, one a picture."""
        current = self.current
        if (subset, also) not in current.schedules:
            texts = current.plan.texts(subset, current.box_texts, current.captions, also)
            cache = self._caches.setdefault((current.hires, subset, also), [None, None])
            current.schedules[subset, also] = encoded(p, texts, current.hires, cache)
        return current.schedules[subset, also]

    def beside(self, p) -> Tuple[List[Any], List[bool]]:
        """The schedules of the prompts with the removal's words behind them, or without them where they name the thing: ``True``."""
        current = self.current
        if current.beside is None:
            texts, named = zip(*(beside(prompt, current.remove.text) for prompt in (p.hr_prompts if current.hires else p.prompts)))
            cache = self._beside.setdefault((current.hires, current.remove.text), [None, None])
            current.beside = encoded(p, list(texts), current.hires, cache, negative=False), list(named)
        return current.beside


def run_of(p) -> Optional[Run]:
    """The run that acts for exactly this ``p``, if any."""
    run = getattr(p, ATTRIBUTE, None)
    return run if run is not None and run.belongs_to(p) else None


def encoded(p, texts: List[str], hires: bool, cache: List[Any], negative: bool = True) -> List[Any]:
    """Encode negative prompts, or prompts, as the host encodes its own in this pass: emphasis, embeddings, clip skip, SDXL sizes."""
    width, height = (p.hr_upscale_to_x, p.hr_upscale_to_y) if hires else (p.width, p.height)
    prompts = prompt_parser.SdConditioning(texts, is_negative_prompt=negative, width=width, height=height)
    schedules = p.get_conds_with_caching(
        prompt_parser.get_learned_conditioning, prompts, p.firstpass_steps, [cache],
        p.hr_extra_network_data if hires else p.extra_network_data, _hires_steps(p, hires))
    # As the host does after encoding its own prompts.
    for key, value in model_hijack.extra_generation_params.items():
        p.extra_generation_params[key] = ", ".join(dict.fromkeys(value.split(", "))) if key == "TI hashes" else value
    for comment in model_hijack.comments:
        p.comment(comment)
    return schedules


def edited(p, text: str, hires: bool) -> List[str]:
    """What a text with prompt editing says, for each entry of the schedule that :func:`encoded` gives of it."""
    schedule, = prompt_parser.get_learned_conditioning_prompt_schedules(
        [text], p.firstpass_steps, _hires_steps(p, hires), shared.opts.use_old_scheduling)
    return [said for _, said in schedule]


def _hires_steps(p, hires: bool) -> Optional[int]:
    """Model calls of the hires pass as prompt editing counts them; ``None`` for the first pass."""
    if not hires:
        return None
    steps = p.hr_second_pass_steps or p.steps
    config = sd_samplers.find_sampler_config(p.hr_sampler_name or p.sampler_name)
    return config.total_steps(steps) if config else steps
