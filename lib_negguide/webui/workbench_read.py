"""What the workbench takes over from a picture that is there: its infotext as fields of a strip."""

from __future__ import annotations

import base64
import io
from typing import Any, Dict, List, Tuple

from modules import images, infotext_utils
from PIL import Image

from lib_negguide.errors import NegGuideError, SettingsError
from lib_negguide.said import Said, said
from lib_negguide.settings import Settings
from lib_negguide.webui import infotext as written
from lib_negguide.workbench.form import Form

_NUMBERS = {"seed": ("Seed", int), "steps": ("Steps", int), "cfg_scale": ("CFG scale", float), "width": ("Size-1", int),
            "height": ("Size-2", int)}
_TEXTS = {"prompt": "Prompt", "negative_prompt": "Negative prompt", "sampler_name": "Sampler", "scheduler": "Schedule type"}


def form_of(infotext: Any, image: Any = "") -> Tuple[Dict[str, Any], List[Said]]:
    """The fields that an infotext, or a picture's own, has, and what of it a strip has no place for; raises :class:`SettingsError` where it
    says nothing.

    What NegGuide removes is the negative to look at; else the first of its negatives, with its window; else the caption of auto-DNP; else
    the ordinary negative prompt, with its window.
    """
    if image:
        infotext = _of_picture(image)
    if not isinstance(infotext, str) or not infotext.strip():
        raise SettingsError("infotext", infotext, "the text that a WebUI writes under its pictures")
    params = infotext_utils.parse_generation_parameters(infotext)
    found: Dict[str, Any] = {name: params[key] for name, key in _TEXTS.items() if params.get(key)}
    for name, (key, kind) in _NUMBERS.items():
        try:
            found[name] = kind(params[key])
        except (KeyError, TypeError, ValueError):
            continue
    if "prompt" not in found:
        raise SettingsError("infotext", infotext, "the text that a WebUI writes under its pictures, with a prompt")
    try:
        settings = written.from_params(params)
    except NegGuideError:
        settings = None
    notes: List[Said] = []
    if settings is None or not _negative(settings, found, notes):
        found["negative"] = found.pop("negative_prompt", "")
        if settings is not None:
            found["window"] = settings.box.dict(exclude_defaults=True)
    return {name: value for name, value in found.items() if name in Form.__fields__}, notes


def _negative(settings: Settings, found: Dict[str, Any], notes: List[Said]) -> bool:
    """Write the negative of NegGuide's settings and its strip into ``found``; is there one?"""
    rest = list(settings.negatives)
    if settings.remove is not None:
        found.update(strip="removal", negative=settings.remove.text)
    elif rest:
        first = rest.pop(0).dict(exclude_defaults=True)
        found["negative"] = first.pop("text")
        found["window"] = first
        if settings.combine != "join":
            found.update(strip="formulas", formulas=["stock", "window", settings.combine])
    elif settings.dnp is not None:
        captioner = settings.dnp.captioner
        found.update(strip="four", caption=settings.dnp.text, captioner="auto" if captioner == "text" else captioner)
    if rest:
        notes.append(said("not taken over, a strip looks at one negative: {}", ", ".join(one.text for one in rest)))
    if settings.images:
        notes.append(said("not taken over: the picture's image prompts"))
    return bool(settings.remove or settings.negatives or settings.dnp)


def _of_picture(image: Any) -> str:
    allowed = "a picture (base 64) with an infotext in it"
    try:
        data = base64.b64decode(image.split(",", 1)[1] if image.startswith("data:") else image, validate=True)
        with Image.open(io.BytesIO(data)) as opened:
            text, _ = images.read_info_from_image(opened)
    except Exception as error:
        raise SettingsError("image", image, f"{allowed} ({type(error).__name__})") from None
    if not text:
        raise SettingsError("image", "a picture without an infotext", allowed)
    return text
