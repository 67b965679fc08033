"""What was done at each model call of one sampling run: for plots, labels and tests."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Optional, Sequence, Tuple

from lib_negguide.plan import StepPlan


@dataclass(frozen=True)
class RemovalCall:
    """What a removal did at one model call; every tuple has an entry a picture.

    ``strengths``: 0 where it did not act; ``presence``: in the detector's unit, ``None`` where nobody looked; ``shares``:
    how much of the picture its region covered, 0 to 1; ``predicted``: whether the negative was predicted (one evaluation).
    """

    strengths: Tuple[float, ...]
    presence: Tuple[Optional[float], ...]
    shares: Tuple[float, ...]
    predicted: Tuple[bool, ...]

    def __add__(self, other: RemovalCall) -> RemovalCall:
        """The same call of another batch behind this one."""
        return RemovalCall(self.strengths + other.strengths, self.presence + other.presence, self.shares + other.shares,
                           self.predicted + other.predicted)

    @classmethod
    def nothing(cls, pictures: int) -> RemovalCall:
        """A call at which nothing was done."""
        return cls((0.0,) * pictures, (None,) * pictures, (0.0,) * pictures, (False,) * pictures)

    @property
    def evaluations(self) -> float:
        """Predictions spent, a picture's mean."""
        return sum(self.predicted) / len(self.predicted)

    def to_dict(self) -> Dict[str, Any]:
        """JSON-ready, to four digits."""
        return {"strengths": [_short(s) for s in self.strengths], "presence": [None if p is None else _short(p) for p in self.presence],
                "shares": [_short(s) for s in self.shares], "predicted": list(self.predicted)}


@dataclass(frozen=True)
class Call:
    """One model call: its noise level (units of sigma), the strength of every term, the extra predictions spent.

    ``removal``: what a removal did, where it was in its bounds; ``extra_evaluations`` then is the mean of the pictures.
    """

    sigma: float
    strengths: Tuple[float, ...]
    extra_evaluations: float = 0
    removal: Optional[RemovalCall] = None

    def extra_of(self, picture: int) -> float:
        """The extra predictions for one picture."""
        if self.removal is None:
            return self.extra_evaluations
        return self.extra_evaluations - self.removal.evaluations + self.removal.predicted[picture]


@dataclass
class Trace:
    """The calls of one run; ``names`` are those of the plan's terms, in its order.

    ``removed``: the text of its removal, where that is no term; ``pictures``: how many there are, then.
    """

    names: Tuple[str, ...]
    calls: List[Call] = field(default_factory=list)
    removed: str = ""
    pictures: int = 0

    @classmethod
    def joined(cls, batches: Sequence[Trace]) -> Trace:
        """One trace of batches that were sampled alike: what is per picture follows on, the rest is the last batch's."""
        last = batches[-1]
        if len(batches) == 1 or not last.removed:
            return last
        pictures, calls = sum(batch.pictures for batch in batches), []
        for at in zip(*(batch.calls for batch in batches)):
            call, removal = at[-1], None
            if any(one.removal is not None for one in at):
                whole, *others = [one.removal or RemovalCall.nothing(batch.pictures) for one, batch in zip(at, batches)]
                removal = sum(others, whole)
            own = 0 if call.removal is None else call.removal.evaluations
            extra = call.extra_evaluations - own + (0 if removal is None else removal.evaluations)
            calls.append(replace(call, extra_evaluations=extra, removal=removal))
        return cls(last.names, calls, last.removed, pictures)

    def record(self, sigma: float, step: StepPlan, removal: Optional[RemovalCall] = None) -> None:
        """Append a call; to be called where the plan is really applied."""
        extra = step.extra_evaluations + (removal.evaluations if removal is not None else 0)
        self.calls.append(Call(float(sigma), step.strengths, extra, removal))

    @property
    def extra_evaluations(self) -> float:
        """Predictions beyond the two of ordinary guidance, over the whole run, per picture (with a removal: their mean)."""
        return sum(call.extra_evaluations for call in self.calls)

    def extra_of(self, picture: int) -> int:
        """Those for one picture."""
        return round(sum(call.extra_of(picture) for call in self.calls))

    def acted(self, term: int) -> List[int]:
        """Numbers (from 0) of the calls at which a term had a strength above 0."""
        return [number for number, call in enumerate(self.calls) if call.strengths[term] > 0.0]

    def removing(self, picture: int) -> List[int]:
        """Numbers (from 0) of the calls at which the removal acted in a picture."""
        return [number for number, call in enumerate(self.calls) if call.removal is not None and call.removal.strengths[picture] > 0.0]

    def summary(self) -> List[str]:
        """One line a term, e.g. ``mustache: calls 6-15 of 30, σ 5.1 to 1.6, strength 1``; calls counted from 1.

        Then one line a picture of what a removal did.
        """
        lines = []
        for term, name in enumerate(self.names):
            acted = self.acted(term)
            strengths = [self.calls[number].strengths[term] for number in acted]
            lines.append(f"{name}: {self.when(acted)}, strength {_span(strengths)}" if acted else f"{name}: never")
        return lines + self._removals()

    def _removals(self) -> List[str]:
        if not self.removed:
            return []
        if not any(call.removal for call in self.calls):
            return [f"{self.removed} removed: never, no call was in its bounds"]
        lines = []
        for picture in range(self.pictures):
            acted, whose = self.removing(picture), f" in picture {picture + 1}" if self.pictures > 1 else ""
            looked = sum(call.removal is not None and call.removal.presence[picture] is not None for call in self.calls)
            if not acted:
                lines.append(f"{self.removed} removed{whose}: never, it was not there at {looked} looks" if looked else
                             f"{self.removed} removed{whose}: never")
                continue
            calls = [self.calls[number].removal for number in acted]
            strengths, shares = [c.strengths[picture] for c in calls], [100 * c.shares[picture] for c in calls]
            lines.append(f"{self.removed} removed{whose}: {self.when(acted)}, strength {_span(strengths)}, "
                         f"in {_span(shares, '.2g')}% of the picture, {self.extra_of(picture)} extra evaluations")
        return lines

    def when(self, acted: List[int]) -> str:
        """``calls 6-15 of 30, σ 5.1 to 1.6``."""
        return f"calls {_ranges(acted)} of {len(self.calls)}, σ {self.calls[acted[0]].sigma:.3g} to {self.calls[acted[-1]].sigma:.3g}"

    def to_dict(self) -> Dict[str, Any]:
        """JSON-ready."""
        calls = []
        for call in self.calls:
            told = {"sigma": call.sigma, "strengths": list(call.strengths), "extra_evaluations": call.extra_evaluations}
            calls.append(told if call.removal is None else {**told, "removal": call.removal.to_dict()})
        told = {"names": list(self.names), "calls": calls}
        return {**told, "removed": self.removed} if self.removed else told


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _span(values: Sequence[float], form: str = ".3g") -> str:
    """``1`` or ``0.5 to 1``."""
    low, high = format(min(values), form), format(max(values), form)
    return high if low == high else f"{low} to {high}"


def _ranges(numbers: List[int]) -> str:
    """``[0, 1, 2, 5]`` to ``1-3, 6``."""
    runs: List[List[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a + 1) if a == b else f"{a + 1}-{b + 1}" for a, b in runs)
