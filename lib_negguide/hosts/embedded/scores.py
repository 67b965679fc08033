"""CLIP on the embedded host: for scores, and for a removal's detector."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, ContextManager

from lib_negguide import metrics, world
from lib_negguide.errors import ModelError


def opened(host, spec: str = "auto", downloads: bool = False) -> ContextManager[Any]:
    """A :class:`lib_negguide.metrics.ClipScores` for a ``with`` block.

    "auto" is the small world's own for its model, and the hub's copy of ViT-B/16 for others and where that one is not there.
    """
    if spec == "auto" and host.model.name == Path(world.NAME).stem:
        with suppress(ModelError):
            spec = str(world.clip())
    return metrics.opened(spec, device=host.model.device, downloads=downloads)
