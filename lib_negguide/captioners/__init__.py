"""Captioners: which there are, and how one is opened and put away.

``with opened("blip-base") as captioner: captioner.caption(images, how)``
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterable, Iterator, List, Mapping, Optional

from lib_negguide.errors import CaptionerError, SettingsError

from . import files, kept
from .base import Captioner, How, Loadable, Tick
from .files import NotHere
from .fixed import FixedText
from .kept import release
from .safe import join, safe

__all__ = ["KEEP", "HOST", "Captioner", "CaptionerError", "How", "Loadable", "NotHere", "Tick",
           "check", "find", "join", "known", "name_of", "opened", "release", "safe"]

KEEP = kept.KEEP
Factory = Callable[[], Captioner]
HOST = "webui"
"""Name under which a host registers its own captioner in ``extra``."""


def find(spec: str, *, text: str = "", device=None, dtype=None, folder: Optional[Path] = None, downloads: bool = False,
         extra: Optional[Mapping[str, Factory]] = None) -> Captioner:
    """The captioner that ``spec`` means, not loaded: its files are looked for, its ``name`` is known.

    spec: ``auto`` (the host's own if ``extra`` has it, else ``blip-base``), ``text``, a name in ``extra``, ``blip-base``,
    ``blip-large``, ``blip2``, the name of a folder below ``folder``, a folder anywhere, or a model id of the hub.
    device: None or "auto" (the first GPU, else the processor), "cpu", "cuda:0", …; dtype: None or "auto" (fp16 on a GPU,
    else fp32), "fp32", "fp16", "bf16". downloads: whether a model that is not on this machine may be fetched from the hub.
    Raises :class:`CaptionerError`, which says what is missing and where to put it.
    """
    extra = extra or {}
    if spec == "auto":
        spec = HOST if HOST in extra else "blip-base"
    if spec == "text":
        if not text.strip():
            raise SettingsError("dnp.text", text, 'the captioner "text" needs one')
        return FixedText(text)
    if spec in extra:
        return extra[spec]()
    if spec == HOST:
        raise CaptionerError('NegGuide: the captioner "webui" is the WebUI\'s own interrogator, and there is none here; choose blip-base')
    from .pretrained import Pretrained

    return Pretrained.find(spec, device=device, dtype=dtype, folder=folder, downloads=downloads)


def check(spec: str, *, downloads: bool = False, **where) -> None:
    """Raises what :func:`find` would raise, but fetches nothing: where downloads are allowed, what they will bring is no error."""
    try:
        find(spec, downloads=False, **where)
    except NotHere:
        if not downloads:
            raise


def name_of(spec: str, **where) -> str:
    """The ``name`` that the opened captioner will have; "" if it cannot be had yet. Loads and fetches nothing. As :func:`find`."""
    try:
        return find(spec, **{**where, "downloads": False}).name
    except (CaptionerError, SettingsError):
        return ""


def known(folder: Optional[Path] = None, extra: Iterable[str] = ()) -> List[str]:
    """What ``spec`` may well be here, for a list to choose from: fixed names, the host's own, those in the folder of captioners."""
    return list(dict.fromkeys(["auto", *extra, *files.KNOWN, *files.below(folder), "text"]))


@contextmanager
def opened(spec: str, *, text: str = "", device=None, dtype=None, keep: str = "unload", folder: Optional[Path] = None,
           downloads: bool = False, extra: Optional[Mapping[str, Factory]] = None, tick: Optional[Tick] = None) -> Iterator[Captioner]:
    """The captioner, loaded; on leaving it is put away as ``keep`` says.

    keep: "unload" (all memory given back), "cpu" (waits in the processor's memory) or "loaded". After any exception
    it is unloaded. At most one captioner is kept: opening another one unloads it. The other arguments: see :func:`find`.
    """
    if keep not in KEEP:
        raise SettingsError("keep", keep, "one of " + ", ".join(KEEP))
    captioner = find(spec, text=text, device=device, dtype=dtype, folder=folder, downloads=downloads, extra=extra)
    if not isinstance(captioner, Loadable):
        yield captioner
        return
    with kept.held(captioner, keep, tick) as ready:
        yield ready
