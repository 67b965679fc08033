"""What a user can ask for: one validated model, whose fields are the one table.

The accordion, the API and its schema, the infotext, the X/Y/Z axes, the presets and
the command line all read names, labels, ranges, choices, defaults and help from here.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from lib_negguide.errors import SettingsError
from lib_negguide.settings.dnp import SCALES, SEVERAL, USES, Dnp, Dns
from lib_negguide.settings.images import NOISES, SIDES, ImagePrompt
from lib_negguide.settings.removal import DETECTORS, REGIONS, SEARCHES, Removal
from lib_negguide.settings.schedule import COMBINE, Negative, Schedule, Window
from lib_negguide.settings.table import Model, fields, is_number, is_text, is_whole, parsed_as, pydantic

__all__ = ["COMBINE", "DETECTORS", "NOISES", "REGIONS", "SCALES", "SCHEMA_VERSION", "SEARCHES", "SEVERAL", "SIDES", "USES", "Dnp", "Dns",
           "ImagePrompt", "Model", "Negative", "Removal", "Schedule", "Settings", "Window", "fields", "is_number", "is_text", "is_whole",
           "parsed_as", "pydantic"]

SCHEMA_VERSION = 1


class Settings(Schedule):
    """All of NegGuide for one request; also the API's object (``enabled`` defaults to true there)."""

    enabled: bool = pydantic.Field(True, title="Enabled", allowed="true or false", help="Off: the host as without NegGuide.")
    hires: Optional[Schedule] = pydantic.Field(
        None, title="Hires pass", allowed="an object with box, negatives and combine, or null for the same as the first pass",
        help="Other negatives for the hires pass. Empty: the same schedule, over sigma.")
    dnp: Optional[Dnp] = pydantic.Field(
        None, title="Auto-DNP", allowed="an object with the fields of Dnp, or null for off",
        help="Let the model show its own negative: a first sampling away from the prompt, captioned; the caption is the negative.")
    dns: Optional[Dns] = pydantic.Field(
        None, title="DNS", allowed="an object with scale and meaning, or null for off",
        help="Make the diffusion-negative picture of the prompt itself. No other negative acts.")
    images: List[ImagePrompt] = pydantic.Field(
        [], title="Image prompts", allowed="a list of objects with a picture and the fields of a window",
        help="Pictures of what to avoid and of what to show, in both passes, each with a window of its own. They need an IP-Adapter.")
    image_subtract: float = pydantic.Field(
        0.0, ge=0, le=1, step=0.05, title="Subtract from positive pictures", allowed="a number from 0 to 1",
        help="How much of the negative pictures is taken out of the positive ones before they act, while negatives act: what both show "
             "is then avoided, not kept. 0: each as it is. Try 0.5 to 0.75 with a weight of 0.75 for the negative picture; less where too "
             "much goes.")
    remove: Optional[Removal] = pydantic.Field(
        None, title="Remove", allowed="an object with a text and the other fields of Removal, or null for off",
        help="Take something out of the picture that the same seed gives; the rest is to stay as it is.")
    adapter: str = pydantic.Field(
        "auto", title="IP-Adapter", allowed="auto, or an IP-Adapter's file name",
        help="The IP-Adapter for image prompts. auto: the first that fits the model.")
    image_encoder: str = pydantic.Field(
        "auto", title="Image encoder", allowed="auto, or the name of a CLIP image encoder's file or folder",
        help="The CLIP image encoder for image prompts. auto: the first that fits the IP-Adapter.")
    version: int = pydantic.Field(
        SCHEMA_VERSION, title="Settings version", allowed=f"a whole number from 1 to {SCHEMA_VERSION}",
        ge=1, le=SCHEMA_VERSION, help="Version of this object's form; older ones are understood.")

    @classmethod
    def parse(cls, data: Any) -> Settings:
        """Validate a JSON object (dict or text); raises :class:`SettingsError` with path, value and what is allowed."""
        if isinstance(data, (str, bytes)):
            try:
                data = json.loads(data or "{}")
            except ValueError:
                raise SettingsError("settings", data, "a JSON object") from None
        if isinstance(data, Settings):
            return data
        if not isinstance(data, dict):
            raise SettingsError("settings", data, "a JSON object")
        settings = parsed_as(cls, data)
        for prefix, schedule in settings.passes():
            for path, window in schedule.windows():
                window.check(prefix + path)
        if settings.dns is not None:
            settings.dns.check("dns.")
        if settings.dnp is not None:
            settings.dnp.check("dnp.")
            if settings.dns is not None:
                raise SettingsError("dns", settings.dns.dict(exclude_defaults=True), "null while dnp is on: it is either of them")
        if settings.remove is not None:
            settings.remove.check("remove.")
            if settings.dns is not None:
                raise SettingsError("remove", settings.remove.text, "null while dns is on: it is the opposite of the prompt's text")
        for index, image in enumerate(settings.images):
            image.check(f"images[{index}].")
        if settings.images and settings.dns is not None:
            raise SettingsError("images", f"{len(settings.images)} pictures",
                                "none while dns is on: it is the opposite of the prompt's text")
        return settings

    def passes(self) -> Iterator[Tuple[str, Schedule]]:
        """(path, schedule) of the first pass and, where it has its own, of the hires pass."""
        yield "", self
        if self.hires is not None:
            yield "hires.", self.hires

    def schedule(self, is_hr_pass: bool = False) -> Schedule:
        """The schedule of a pass."""
        return self.hires if is_hr_pass and self.hires is not None else self

    def map_windows(self, change) -> Settings:
        """A copy with ``change(window)`` in place of the window of the box and of every negative, those of the hires pass included."""
        hires = None if self.hires is None else self.hires.map_windows(change)
        return super().map_windows(change).copy(update={"hires": hires})

    def in_sigma(self, sigmas: Sequence[float]) -> Settings:
        """A copy with every window in sigma, those of captions, pictures and the removal too."""
        update: Dict[str, Any] = {"images": [image.in_sigma(sigmas) for image in self.images]}
        if self.dnp is not None:
            update["dnp"] = self.dnp.copy(update={"window": self.dnp.window.in_sigma(sigmas)})
        if self.remove is not None:
            update["remove"] = self.remove.in_sigma(sigmas)
        return super().in_sigma(sigmas).copy(update=update)

    def to_dict(self) -> Dict[str, Any]:
        """JSON-ready, defaults left out; ``Settings.parse(s.to_dict()) == s``."""
        return self.dict(exclude_defaults=True)
