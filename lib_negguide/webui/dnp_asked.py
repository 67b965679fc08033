"""What the script "Diffusion-negative prompting" is asked for: the page's components, or the API's one object."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Sequence, Tuple

try:  # hosts have either major version; the v1 interface is in both
    import pydantic.v1 as pydantic
except ImportError:
    import pydantic

from lib_negguide.errors import SettingsError
from lib_negguide.settings import Dnp, Model, Settings, fields, parsed_as

TITLE = "Diffusion-negative prompting"
"""Name of the script, in the page's list and as the API's ``script_name`` (there in any case)."""

AUTO, PICTURE, BY_HAND, FOUR = MODES = ("auto-DNP", "DNS picture", "by hand", "four pictures")

HINTS = {
    AUTO: "Each picture with the caption of its diffusion-negative (DNS) picture as a negative.",
    PICTURE: "The diffusion-negative picture itself: sampled away from the prompt.",
    BY_HAND: "First the DNS pictures and their captions; once the captions are in the box, the pictures without what they say.",
    FOUR: "Side by side, with one seed: the prompt; its DNS picture; its caption as the negative of the empty prompt, and of the prompt.",
}
"""What each mode makes, for people."""

LAST_SEED = 2**63 - 1
"""Of torch's generators."""

_SEEDED = re.compile(r"\s*(\d{1,20})\s*:(.*)")


class Asked(Model):
    """The fields of the script, in the order of the page's components."""

    mode: str = pydantic.Field(
        AUTO, title="What is made", choices=MODES,
        help=" ".join(f"{mode}: {hint}" for mode, hint in HINTS.items()))
    captions: str = pydantic.Field(
        "", title="Captions, one line a picture", allowed='a text, one caption a line, each with its "seed:" in front or none of them',
        help="For by hand. Empty: Generate makes the DNS pictures and captions them. Otherwise: Generate makes the pictures without what "
             "the captions say, with the seeds in front of them.")
    captioner: str = pydantic.Field(
        "", title="Captioner", allowed="empty for the accordion's, or a captioner's name, a folder or a model id",
        help="Who says what the negative picture shows. Empty: as in NegGuide's accordion, else auto.")
    show: bool = pydantic.Field(
        True, title="Show the DNS pictures, after the pictures", allowed="true or false",
        help="For auto-DNP: in the gallery, with infotexts of their own.")
    scores: bool = pydantic.Field(
        False, title="CLIP scores with and without the caption", allowed="true or false",
        help="How well the pictures fit the prompt by CLIP, in the infotext and on the sheet of four (else one more sampling).")

    def check(self) -> None:
        """Rules that the kinds of the fields do not tell; raises :class:`SettingsError`."""
        if self.mode not in MODES:
            raise SettingsError("mode", self.mode, "one of " + ", ".join(MODES))
        if self.mode == BY_HAND:
            self.lines()

    def lines(self) -> Tuple[Optional[List[int]], List[str]]:
        """(seeds, or None where the lines have none; captions); raises :class:`SettingsError` where only some have one."""
        found = [(_SEEDED.fullmatch(line), line.strip()) for line in self.captions.splitlines() if line.strip()]
        seeds = [int(match.group(1)) for match, _ in found if match]
        captions = [match.group(2).strip() if match else line for match, line in found]
        if seeds and len(seeds) < len(captions):
            unseeded = next(line for match, line in found if not match)
            raise SettingsError("captions", unseeded, 'every line begins with its seed, as in "1234: a red circle", or none does')
        for seed in seeds:
            if seed > LAST_SEED:
                raise SettingsError("captions", seed, f"seeds from 0 to {LAST_SEED}")
        return seeds or None, captions

    def settings(self, accordion: Settings) -> Settings:
        """The accordion's settings with auto-DNP as it is asked for here; raises :class:`SettingsError`."""
        base = accordion if accordion.enabled else Settings()
        dns = base.dns.dict() if base.dns is not None else {}
        dnp = base.dnp or Dnp(**dns)
        changed = {"scores": self.scores or dnp.scores, **({"captioner": self.captioner.strip()} if self.captioner.strip() else {})}
        dnp = dnp.copy(update=changed)
        if not (self.mode == BY_HAND and self.captions.strip()):
            dnp.check("dnp.")
        return base.copy(update={"enabled": True, "dnp": dnp, "dns": None})


def row(name: str) -> Dict[str, Any]:
    """The table's row of a field."""
    return next(one for one in fields(Asked) if one["name"] == name)


def parsed(args: Sequence[Any]) -> Asked:
    """The script's arguments: the page's five values, or the API's one object; raises :class:`SettingsError`.

    A host that is given fewer arguments than the script has components fills up with those of other scripts, so the
    API's object stands alone.
    """
    if not isinstance(args, (list, tuple)) or not args or not (isinstance(args[0], dict) or len(args) >= len(Asked.__fields__)):
        raise SettingsError("script_args", args, "a list with one object, whose fields are " + ", ".join(Asked.__fields__))
    data = args[0] if isinstance(args[0], dict) else dict(zip(Asked.__fields__, args))
    if isinstance(data.get("captions"), list):
        data = {**data, "captions": "\n".join(" ".join(str(caption).split()) for caption in data["captions"])}
    asked = parsed_as(Asked, data)
    asked.check()
    return asked


def line(seed: int, caption: str) -> str:
    """One line of the captions box."""
    return f"{seed}: {' '.join(caption.split())}"
