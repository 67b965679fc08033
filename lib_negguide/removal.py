"""Removing something while a picture is sampled: a negative that acts in each picture as long, and where, the thing is.

Ban et al. (ECCV 2024, 2406.02965) delay a negative, so that the background forms before it acts, and find its end by
sampling again and again. Here a detector looks at each call what is forming: the negative is on while the thing is
there and off when it has gone, inside bounds in sigma, for each picture of a batch by itself. It acts in a region only, by
prediction: guidance is cfg(d_c, d_u + w M e, s) with the region M, the strength w, and e what the thing's words change in the
prompt's own prediction (:func:`lib_negguide.wording.beside`): d("a portrait, glasses") - d("a portrait"). Unlike "glasses"
against the empty prompt that is local from the first call on, when the picture as a whole is not yet decided.

Nothing here knows a host: it asks for which pictures e is wanted at a call (:meth:`Removing.wants`), predicts that,
and adds what :meth:`Removing.change` gives to the prompt's prediction. The search of Ban et al. is :func:`exhaustive`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Generic, List, Optional, Sequence, Tuple, TypeVar

import torch

from lib_negguide import formulas
from lib_negguide.said import said
from lib_negguide.schedule import inside, strength, to_sigma
from lib_negguide.settings import Removal
from lib_negguide.trace import RemovalCall

if TYPE_CHECKING:
    from PIL.Image import Image

    from lib_negguide.detectors import Detector
    from lib_negguide.regions import Region

CRITICAL = 0.19
"""The critical step of a noun as a share of the run: [0.19, 0.25] of N by the curves of Ban et al."""

T = TypeVar("T")


@dataclass
class Seen:
    """What a host shows at one model call, to be thrown away after it.

    ``scale``: of guidance; ``d_c``, ``d_u``: predictions of the prompt (what guidance goes towards, where parts are joined by
    AND) and of the planned unconditional condition; ``words``: e, what the removal's words change in the prompt's prediction.
    All (B, C, h, w), as x0, or all as eps (``is_eps``). ``wanted``: of which pictures ``words`` was predicted; its other rows mean
    nothing (:meth:`of` makes them 0). ``x``: (B, C, h, w), what was predicted from. ``preview``: x0 of these pictures guided as if
    nothing were removed, decoded; ``attention``: maps (K, 1, h', w') from 0 to 1 of how much these pictures attend to the words.
    """

    sigma: float
    call: int
    scale: float
    d_c: torch.Tensor
    d_u: torch.Tensor
    words: torch.Tensor
    wanted: Sequence[bool]
    x: Optional[torch.Tensor] = None
    is_eps: bool = False
    preview: Optional[Callable[[List[int]], List[Image]]] = None
    attention: Optional[Callable[[List[int]], torch.Tensor]] = None

    @classmethod
    def of(cls, sigma: float, call: int, scale: float, d_c: torch.Tensor, d_u: torch.Tensor, words: Optional[torch.Tensor],
           wanted: Sequence[bool], **more) -> Seen:
        """With ``words`` of the wanted pictures only, (K, C, h, w), in their order; ``None`` for none."""
        whole = torch.zeros_like(d_u)
        if any(wanted):
            whole[torch.tensor(list(wanted), device=d_u.device)] = words.to(d_u)
        return cls(sigma, call, scale, d_c, d_u, whole, wanted, **more)

    def differences(self, pictures: Sequence[int]) -> Tuple[torch.Tensor, torch.Tensor]:
        """(d_c - d_u, e) of these pictures, (K, C, h, w) float32."""
        rows = list(pictures)
        return self.d_c[rows].float() - self.d_u[rows].float(), self.words[rows].float()


@dataclass
class _Picture:
    """One picture's state. ``on``: ``None`` before anybody looked; ``low``: looks in a row at which it seemed gone.

    ``share``: of the strength, where the detector's presence is a matter of degree. ``looked``: the call of the last look;
    ``predicted``: of e's last prediction and its noise level, while it acts.
    """

    on: Optional[bool] = None
    share: float = 1.0
    low: int = 0
    looked: Optional[int] = None
    predicted: Optional[Tuple[int, float]] = None

    def looks(self, call: int, every: int) -> bool:
        return self.looked is None or call - self.looked >= every

    def predicts(self, call: int, every: int) -> bool:
        return self.on is not False and (self.predicted is None or call - self.predicted[0] >= every)

    def graded(self, call: int, presence: float, gone: float, back: float, most: float) -> None:
        """Nothing up to ``gone``, the whole strength at ``back``, and so on up to ``most`` times it."""
        self.looked = call
        self.share = min(max(presence - gone, 0.0) / max(back - gone, 1e-6), most)
        self.on = self.share > 0.0

    def saw(self, call: int, presence: float, gone: float, back: float, looks: int) -> None:
        """On or off, with hysteresis."""
        self.looked = call
        if self.on is False:
            if presence > back:
                self.on, self.low, self.predicted = True, 0, None
            return
        self.on = True
        self.low = self.low + 1 if presence < gone else 0
        if self.low >= looks:
            self.on, self.predicted = False, None


class Removing:
    """A removal in one sampling pass of a batch of ``count`` pictures.

    ``removal``: with its bounds in sigma. ``detector``: says at each look how much each picture shows it; ``None``: nobody
    looks, it acts from start to stop. ``region``: where. Looks and predictions come at every so many calls, as ``removal``
    says; between them what was predicted last acts on: the difference of x0 that the words make.

    At each call a host asks :meth:`wants`, then :meth:`change`; then ``record`` is what was done there (for the trace; ``None``
    outside the bounds), and ``mask`` (B, 1, h, w) where it acted last (``None`` while it never has). With an anchor or a photo
    the mask only grows, for :meth:`anchored`.
    """

    def __init__(self, removal: Removal, count: int, detector: Optional[Detector], region: Region):
        self.removal, self.count, self.detector, self.region = removal, count, detector, region
        self.gone, self.back = thresholds(removal, detector)
        self.grows = removal.keeps
        self.mask: Optional[torch.Tensor] = None
        self.record: Optional[RemovalCall] = None
        self._pictures = [_Picture() for _ in range(count)]
        self._difference: Optional[torch.Tensor] = None

    def strength(self, sigma: float) -> float:
        """w at a noise level; 0 outside the bounds."""
        r = self.removal
        return strength(sigma, r.start, r.stop, r.weight, r.curve, r.points)

    def wants(self, sigma: float, call: int) -> List[bool]:
        """For which pictures e is to be predicted at this call: where it acts, or is looked at."""
        if not self.strength(sigma):
            return [False] * self.count
        needs, every = self.detector is not None and self.detector.needs_negative, self.removal.every
        return [picture.predicts(call, every) or (needs and picture.looks(call, every)) for picture in self._pictures]

    def change(self, seen: Seen) -> Optional[torch.Tensor]:
        """What to add to ``seen.d_c`` before guidance, (B, C, h, w); ``None`` where that is nothing."""
        self.record = None
        weight = self.strength(seen.sigma)
        if not weight:
            return None
        presence = self._look(seen)
        difference = self._differences(seen)
        acting = [picture.on is not False and picture.predicted is not None for picture in self._pictures]
        weights = [weight * picture.share * one for picture, one in zip(self._pictures, acting)]
        delta, shares = None, [0.0] * self.count
        if any(acting):
            on = torch.tensor(acting, device=seen.d_u.device)[:, None, None, None]
            mask = self.region.mask(seen).to(seen.d_u) * on
            if self.grows and self.mask is not None:
                mask = torch.maximum(mask, self.mask * on)
                self.mask = torch.maximum(mask, self.mask)
            else:
                self.mask = mask
            shares = mask.float().mean((1, 2, 3)).tolist()
            strengths = torch.tensor(weights, device=seen.d_u.device, dtype=mask.dtype)[:, None, None, None]
            delta = formulas.regional(difference, seen.scale, strengths * mask)
        self.record = RemovalCall(tuple(weights), tuple(presence), tuple(shares), tuple(map(bool, seen.wanted)))
        return delta

    def _differences(self, seen: Seen) -> torch.Tensor:
        """e of each picture, as predicted now or last; those of x0 stay, and those of eps grow as the noise falls."""
        new = seen.words
        if self._difference is None:
            self._difference = torch.zeros_like(new)
        for number, (picture, wanted) in enumerate(zip(self._pictures, seen.wanted)):
            if wanted:
                self._difference[number] = new[number]
                if picture.on is not False:
                    picture.predicted = seen.call, seen.sigma
        if not seen.is_eps:
            return self._difference
        grown = [picture.predicted[1] / seen.sigma if picture.predicted else 1.0 for picture in self._pictures]
        return self._difference * torch.tensor(grown).to(new)[:, None, None, None]

    def anchored(self, guided: torch.Tensor, plain: torch.Tensor) -> torch.Tensor:
        """Guided x0 of this call with ``plain``, that of the run without the removal, outside the region so far.

        By ``fidelity``: 1 is exactly ``plain`` there, 0 is ``guided``.
        """
        mask = torch.zeros_like(guided[:, :1]) if self.mask is None else self.mask.to(guided)
        return formulas.anchored(guided, plain, 1.0 - self.removal.fidelity * (1.0 - mask))

    def _look(self, seen: Seen) -> List[Optional[float]]:
        presence: List[Optional[float]] = [None] * self.count
        if self.detector is None:
            return presence
        looking = [number for number, picture in enumerate(self._pictures) if picture.looks(seen.call, self.removal.every)]
        if looking:
            for number, value in zip(looking, self.detector.presence(seen, looking).tolist()):
                presence[number], picture = value, self._pictures[number]
                if self.detector.graded:
                    picture.graded(seen.call, value, self.gone, self.back, self.detector.most)
                else:
                    picture.saw(seen.call, value, self.gone, self.back, self.detector.looks)
        return presence


def thresholds(removal: Removal, detector: Optional[Detector]) -> Tuple[float, float]:
    """Below what it has gone, above what it is back: the settings', else the detector's own, ``back`` never below ``gone``."""
    if detector is None:
        return 0.0, 0.0
    gone = detector.gone if removal.gone is None else removal.gone
    back = detector.back if removal.back is None else removal.back
    if removal.back is None:
        back = max(back, gone)
    return min(gone, back), back


def notes(removal: Removal, sigmas: Sequence[float]) -> List[str]:
    """What a person should know of a removal over these falling noise levels, in sentences; bounds in any unit.

    Where it ends before the thing can form, it creates it: the reverse activation of Ban et al.
    """
    own, told = removal.in_sigma(sigmas), []
    if not any(inside(sigma, own.start, own.stop) for sigma in sigmas if sigma > 0):
        told.append(said('"{}" is not removed: no model call of this run falls between start and stop', removal.text))
    elif own.stop is not None and own.stop > to_sigma(CRITICAL, "fraction", sigmas):
        told.append(said('"{}" is removed in the first calls only (stop at sigma {}); a negative that ends before a thing forms can '
                         "bring it about (reverse activation, Ban et al.). Let it act below sigma {} too",
                         removal.text, f"{own.stop:g}", f"{to_sigma(CRITICAL, 'fraction', sigmas):g}"))
    return told


def unguided(scale: float) -> List[str]:
    """What is to be said where guidance of this scale gives one of its two predictions alone; nothing where it guides."""
    return [said("CFG scale {} does not guide, so nothing is removed", f"{scale:g}")] if scale in (0.0, 1.0) else []


@dataclass
class Searched(Generic[T]):
    """What :func:`exhaustive` found: ``picture`` with the window up to ``end``, whether the thing is ``gone`` there, and all ends tried."""

    picture: T
    end: int
    gone: bool
    tried: List[int] = field(default_factory=list)


def exhaustive(sample: Callable[[int], T], there: Callable[[T], bool], ends: Sequence[int]) -> Searched[T]:
    """The search of Ban et al. (section 5.1): one window after the other, each a whole sampling, until the thing is not there.

    ``sample``: the picture with a window that ends at a step; ``there``: does it show the thing?; ``ends``: rising, see
    :func:`ends_of`. Where it is there in all of them, the last one's picture is what there is.
    """
    tried: List[int] = []
    found: Any = None
    for end in ends:
        tried.append(end)
        found = sample(end)
        if not there(found):
            return Searched(found, end, True, tried)
    return Searched(found, tried[-1], False, tried)


def ends_of(removal: Removal, sigmas: Sequence[float]) -> List[int]:
    """Ends of windows to try, as steps: from the removal's start (a window of no step: the picture as it is) to its stop.

    ``sigmas``: the falling noise levels of a whole run, one a step (a last 0 is ignored).
    """
    own = removal.in_sigma(sigmas)
    steps = [step for step, sigma in enumerate(s for s in sigmas if s > 0) if inside(sigma, own.start, own.stop)]
    return [steps[0], *(step + 1 for step in steps)] if steps else [0]


def window_to(removal: Removal, end: int, sigmas: Sequence[float]) -> Removal:
    """The same removal as a fixed window from its start to before step ``end``, in sigma; nobody looks."""
    own = removal.in_sigma(sigmas)
    stop = max(to_sigma(end, "step", sigmas), own.stop or 0.0)
    if own.start is not None:
        stop = min(stop, own.start)
    return own.copy(update={"search": "window", "stop": stop or None})
