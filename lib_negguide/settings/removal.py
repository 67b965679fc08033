"""Removing something from a picture that is otherwise to stay as it is."""

from __future__ import annotations

from typing import Optional

from lib_negguide.errors import SettingsError
from lib_negguide.settings.schedule import Window
from lib_negguide.settings.table import choice, pydantic

SEARCHES = ("loop", "window", "exhaustive")
DETECTORS = ("presence", "attention", "clip", "caption")
REGIONS = ("object", "attention", "mask", "everywhere")


class Removal(Window):
    """Take something out of a picture: a negative that acts while the thing is there, and where it is.

    Start and stop are the bounds in which it may act; after Ban et al. (ECCV 2024), with a loop in place of their search.
    """

    text: str = pydantic.Field(
        ..., title="Remove", allowed="a text that is not empty", help="What is to go, in the words of a negative prompt: glasses.")
    start: Optional[float] = pydantic.Field(
        None, ge=0, title="Start", allowed="a number from 0, or null for the first step",
        help="Noise level, fraction of the run or step from which it may act. Later, more of the picture stays and less goes.")
    stop: Optional[float] = pydantic.Field(
        1.5, ge=0, title="Stop", allowed="a number from 0, or null for the last step",
        help="Where it ceases at the latest: what is there by then stays, and what is not there does not come.")
    weight: float = pydantic.Field(
        2.0, ge=0, le=4, step=0.05, title="Strength", allowed="a number from 0 to 4",
        help="How strongly it is pushed away where it is; the detector presence as much as doubles it where the thing is surest.")
    search: str = pydantic.Field(
        "loop", title="When", choices=SEARCHES,
        help="loop: from start until it is gone, by each picture's own signal. window: from start to stop. "
             "exhaustive: windows of growing length, a whole sampling each, until it is gone (Ban et al.).")
    detector: str = pydantic.Field(
        "presence", title="Detector", choices=DETECTORS,
        help="Who says whether it is there. presence: whether guidance leads to it. attention: how much the picture attends to its words. "
             "clip: CLIP on a preview. caption: a captioner on a preview.")
    every: int = pydantic.Field(
        2, ge=1, le=20, step=1, title="Look every", allowed="a whole number from 1 to 20",
        help="Look, and predict what its words change, at every so many calls; between them what was seen last holds.")
    gone: Optional[float] = pydantic.Field(
        None, title="Gone below", allowed="a number, or null for the detector's own",
        help="Presence up to which it counts as gone, in the detector's unit. Empty: the detector's own.")
    back: Optional[float] = pydantic.Field(
        None, title="Back above", allowed="a number, or null for the detector's own",
        help="Presence from which it is back, in the detector's unit; at least that of Gone below.")
    region: str = pydantic.Field(
        "object", title="Where", choices=REGIONS,
        help="object: where its words change the prediction. attention: where the picture attends to its words. "
             "mask: in the painted mask. everywhere: in the whole picture.")
    mask: str = pydantic.Field(
        "", title="Mask", allowed="a picture as base64, as a data URL or as the reference (sha256:…) of a stored one",
        help="White: where it may act. Empty in inpainting: the host's own mask.")
    anchor: bool = pydantic.Field(
        False, title="Keep the rest", allowed="true or false",
        help="Outside the region the latents of the picture without removal, call by call. Costs a second sampling, once.")
    photo: bool = pydantic.Field(
        False, title="Photo", allowed="true or false",
        help="img2img: turn the picture back into noise (inversion) and sample it again without the thing.")
    fidelity: float = pydantic.Field(
        1.0, ge=0, le=1, step=0.05, title="Fidelity", allowed="a number from 0 to 1",
        help="Photo: how closely the rest follows the photo. 1: exactly outside the region.")

    _choices = choice("search", "detector", "region")

    @pydantic.root_validator(pre=True, allow_reuse=True)
    def _open_ends(cls, values):
        """The default bounds are noise levels: in another unit an end that is not given is open."""
        return values if values.get("unit", "sigma") == "sigma" else {"start": None, "stop": None, **values}

    def dict(self, **how):
        """In another unit than sigma a bound is told even if its number is that of the default noise level.

        So is what has been named and would be something else in inpainting (:mod:`lib_negguide.settings.inpainting`).
        """
        told = super().dict(**how)
        if how.get("exclude_defaults"):
            if self.unit != "sigma":
                told.update({name: value for name, value in (("start", self.start), ("stop", self.stop)) if value is not None})
            told.update({name: getattr(self, name) for name in ("region", "search", "start") if name in self.__fields_set__})
        return told

    @pydantic.validator("text", allow_reuse=True)
    def _named(cls, value):
        if not value.strip():
            raise ValueError("empty")
        return value.strip()

    @property
    def keeps(self) -> bool:
        """Is what lies outside the region put back at each call?"""
        return self.anchor or self.photo

    def check(self, path: str) -> None:
        """Rules between fields; raises :class:`SettingsError` naming the field under ``path``."""
        super().check(path)
        if self.gone is not None and self.back is not None and self.back < self.gone:
            raise SettingsError(path + "back", self.back, f"at least gone ({self.gone:g})")
        if self.anchor and self.region == "everywhere":
            raise SettingsError(path + "anchor", True, "false where the region is everywhere: there is no rest to keep")
