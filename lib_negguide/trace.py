"""What was done at each model call of one sampling run: for plots, labels and tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Tuple

from lib_negguide.plan import StepPlan


@dataclass(frozen=True)
class Call:
    """One model call: its noise level (units of sigma), the strength of every term, the extra predictions spent."""

    sigma: float
    strengths: Tuple[float, ...]
    extra_evaluations: int = 0


@dataclass
class Trace:
    """The calls of one run; ``names`` are those of the plan's terms, in its order."""

    names: Tuple[str, ...]
    calls: List[Call] = field(default_factory=list)

    def record(self, sigma: float, step: StepPlan) -> None:
        """Append a call; to be called where the plan is really applied."""
        self.calls.append(Call(float(sigma), step.strengths, step.extra_evaluations))

    @property
    def extra_evaluations(self) -> int:
        """Predictions beyond the two of ordinary guidance, over the whole run, per picture."""
        return sum(call.extra_evaluations for call in self.calls)

    def acted(self, term: int) -> List[int]:
        """Numbers (from 0) of the calls at which a term had a strength above 0."""
        return [number for number, call in enumerate(self.calls) if call.strengths[term] > 0.0]

    def summary(self) -> List[str]:
        """One line a term, e.g. ``mustache: calls 6-15 of 30, σ 5.1 to 1.6, strength 1``; calls counted from 1."""
        lines = []
        for term, name in enumerate(self.names):
            acted = self.acted(term)
            if not acted:
                lines.append(f"{name}: never")
                continue
            strengths = [self.calls[number].strengths[term] for number in acted]
            low, high = min(strengths), max(strengths)
            strength = f"{high:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
            lines.append(
                f"{name}: calls {_ranges(acted)} of {len(self.calls)}, "
                f"σ {self.calls[acted[0]].sigma:.3g} to {self.calls[acted[-1]].sigma:.3g}, strength {strength}")
        return lines

    def to_dict(self) -> Dict[str, Any]:
        """JSON-ready."""
        return {"names": list(self.names),
                "calls": [{"sigma": c.sigma, "strengths": list(c.strengths), "extra_evaluations": c.extra_evaluations}
                          for c in self.calls]}


def _ranges(numbers: List[int]) -> str:
    """``[0, 1, 2, 5]`` to ``1-3, 6``."""
    runs: List[List[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a + 1) if a == b else f"{a + 1}-{b + 1}" for a, b in runs)
