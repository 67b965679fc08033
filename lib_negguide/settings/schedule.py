"""Negatives on a schedule: windows, texts, and how those of one pass are combined."""

from __future__ import annotations

from typing import Iterator, List, Optional, Sequence, Tuple

from lib_negguide.errors import SettingsError
from lib_negguide.schedule import CURVES, UNITS, to_sigma
from lib_negguide.settings.table import Model, Number, choice, pydantic

COMBINE = ("join", "branches", "perp-neg")


class Window(Model):
    """When, and how strongly, one negative acts."""

    start: Optional[float] = pydantic.Field(
        None, ge=0, title="Start", allowed="a number from 0, or null for the first step",
        help="Noise level, fraction of the run or step from which it acts. Empty: from the first step.")
    stop: Optional[float] = pydantic.Field(
        None, ge=0, title="Stop", allowed="a number from 0, or null for the last step",
        help="Where it ceases to act. Empty: it acts to the last step.")
    unit: str = pydantic.Field(
        "sigma", title="Unit", choices=UNITS,
        help="Unit of start and stop. Sigma falls during a run; fraction and step rise. All are applied as sigma.")
    weight: float = pydantic.Field(
        1.0, ge=0, le=2, step=0.05, title="Weight", allowed="a number from 0 to 2",
        help="0: as an empty negative prompt. 1: as an ordinary one. Up to 2: beyond it.")
    curve: str = pydantic.Field(
        "constant", title="Curve", choices=CURVES,
        help="How the weight runs from start to stop.")
    points: List[Tuple[Number, Number]] = pydantic.Field(
        [], title="Points", allowed="a list of [position, factor], each number from 0 to 1, positions rising",
        help='For the curve "points": [position in the window, factor of the weight], each from 0 to 1.')

    _choices = choice("unit", "curve")

    @pydantic.validator("points", allow_reuse=True)
    def _a_curve(cls, value):
        if not all(0 <= number <= 1 for pair in value for number in pair):
            raise ValueError("out of range")
        if any(right[0] <= left[0] for left, right in zip(value, value[1:])):
            raise ValueError("not rising")
        return value

    def check(self, path: str) -> None:
        """Rules between fields; raises :class:`SettingsError` naming the field under ``path``."""
        if self.unit == "fraction":
            for name in ("start", "stop"):
                value = getattr(self, name)
                if value is not None and value > 1:
                    raise SettingsError(path + name, value, "a fraction of the run is a number from 0 to 1")
        if self.start is not None and self.stop is not None:
            if self.unit == "sigma" and self.start < self.stop:
                raise SettingsError(path + "start", self.start,
                                    f"sigma falls during a run, so start is at least stop ({self.stop:g})")
            if self.unit != "sigma" and self.start > self.stop:
                raise SettingsError(path + "start", self.start, f"at most stop ({self.stop:g})")
        if self.curve == "points" and not self.points:
            raise SettingsError(path + "points", self.points, 'the curve "points" needs at least one [position, factor]')

    def in_sigma(self, sigmas: Sequence[float]) -> Window:
        """The same window with ends in sigma, for a whole run over these falling ``sigmas``."""
        if self.unit == "sigma":
            return self
        start = self.start or None  # from step 0 is from the beginning, however noisy a sampler makes it
        ends = {"start": to_sigma(start, self.unit, sigmas), "stop": to_sigma(self.stop, self.unit, sigmas)}
        return self.copy(update=dict(ends, unit="sigma"))


class Negative(Window):
    """A negative prompt of NegGuide's own, with its window."""

    text: str = pydantic.Field(
        ..., title="Text", allowed="a text",
        help="What must not be in the picture, in the host's prompt syntax. An empty text does nothing.")


class Schedule(Model):
    """Which negatives act in one sampling pass, and how they are combined."""

    box: Window = pydantic.Field(
        Window(), title="Negative prompt box", allowed="an object with the fields of a window",
        help="Window and weight of the ordinary negative prompt.")
    negatives: List[Negative] = pydantic.Field(
        [], title="Negatives", allowed="a list of objects with a text and the fields of a window",
        help="More negatives, each with a window of its own.")
    combine: str = pydantic.Field(
        "join", title="Combine", choices=COMBINE,
        help="join: one unconditional condition, at no extra cost. branches: each active negative is one more "
             "prediction (Desai and Vasconcelos, eq. 4). perp-neg: so too, but only what is perpendicular to the prompt.")

    _choices = choice("combine")

    def windows(self) -> Iterator[Tuple[str, Window]]:
        """(path, window) of the box and of every negative."""
        yield "box.", self.box
        for index, negative in enumerate(self.negatives):
            yield f"negatives[{index}].", negative

    def map_windows(self, change) -> Schedule:
        """A copy with ``change(window)`` in place of each window, the box's included."""
        return self.copy(update={"box": change(self.box), "negatives": [change(n) for n in self.negatives]})

    def in_sigma(self, sigmas: Sequence[float]) -> Schedule:
        """A copy with every window in sigma (see :meth:`Window.in_sigma`)."""
        return self.map_windows(lambda window: window.in_sigma(sigmas))
