"""The one captioner that may stay between two uses."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Iterator, Optional

from .base import Loadable, Tick

KEEP = ("unload", "cpu", "loaded")

_lock = threading.RLock()
_resting: Optional[Loadable] = None
_releases = 0


def release() -> None:
    """Give back the memory of the captioner that is kept; one in use now is unloaded when it is done."""
    global _resting, _releases
    with _lock:
        _releases += 1
        captioner, _resting = _resting, None
    if captioner is not None:
        captioner.close()


def _taken(wanted: Loadable) -> Loadable:
    """The one that is kept if it is the same, else ``wanted``; the slot is empty then."""
    global _resting
    with _lock:
        captioner, _resting = _resting, None
    if captioner is None:
        return wanted
    if (type(captioner), captioner.name, captioner.place) == (type(wanted), wanted.name, wanted.place):
        return captioner
    captioner.close()
    return wanted


@contextmanager
def held(wanted: Loadable, keep: str, tick: Optional[Tick] = None) -> Iterator[Loadable]:
    """``wanted``, or the same one kept from before, loaded; put away on leaving, see :func:`lib_negguide.captioners.opened`."""
    global _resting
    captioner = _taken(wanted)
    before, stays = _releases, False
    try:
        captioner.tick = tick
        captioner.load()
        yield captioner
        if keep == "cpu":
            captioner.rest()
        stays = keep != "unload"
    finally:
        captioner.tick = None
        with _lock:
            stays = stays and before == _releases and _resting is None
            if stays:
                _resting = captioner
        if not stays:
            captioner.close()
