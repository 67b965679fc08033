"""CLIP in the WebUI, for scores and for a removal's detector: where the settings page says, on the captioners' device."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List, Tuple

from modules import devices, paths_internal, shared

from lib_negguide import clip_model, metrics
from lib_negguide.hosts.a1111 import interrogator, memory


def _place() -> Tuple[str, List[Path], bool]:
    """What :func:`lib_negguide.clip_model.find` takes; fetched where captioners may be."""
    return shared.opts.negguide_clip or "auto", [Path(paths_internal.models_path) / "CLIP"], bool(shared.opts.negguide_captioner_downloads)


def check() -> None:
    """Raises what says which file is missing, and where it belongs."""
    clip_model.find(*_place())


@contextmanager
def opened() -> Iterator[metrics.ClipScores]:
    """CLIP, where and as long as the captioner is, for a ``with`` block."""
    spec, folders, downloads = _place()
    memory.make_room()
    with metrics.opened(spec, folders=folders, device=devices.device_interrogate, keep=interrogator.keep(), downloads=downloads) as scores:
        yield scores
