"""What a captioner is: it says in words what a picture shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, List, Optional, Protocol, Sequence, runtime_checkable

if TYPE_CHECKING:
    from PIL.Image import Image

Tick = Callable[[], None]
"""Called about once per token; may raise what shall end the captioning (the host's interrupt)."""


@dataclass(frozen=True)
class How:
    """Length and search of a caption; ``None`` leaves it to the captioner. Sampling is never random."""

    beams: Optional[int] = None
    min_tokens: Optional[int] = None
    """Without the captioner's own start of the sentence and its end mark."""
    max_tokens: Optional[int] = None


@runtime_checkable
class Captioner(Protocol):
    """The least that is asked of a captioner."""

    name: str
    """Tells it from every other, by its weights too: part of the cache's key and of the infotext."""

    def caption(self, images: Sequence[Image], how: How = How()) -> List[str]:
        """The captioner's raw words, one text per picture; :class:`~lib_negguide.errors.CaptionerError` if it fails."""
        ...


class Loadable:
    """A captioner with weights. ``load`` is called before the first caption, then one of ``rest`` and ``close``.

    Making one is cheap: it finds its files and its name, and loads nothing.
    """

    name: str
    place = ("", "")
    """Device and precision: with the name it decides whether a kept captioner is the one asked for."""
    tick: Optional[Tick] = None

    def load(self) -> None:
        """Make ready; also brings one that rests back. Whoever fails here leaves nothing behind."""

    def caption(self, images: Sequence[Image], how: How = How()) -> List[str]:
        raise NotImplementedError

    def rest(self) -> None:
        """Out of the way of the picture model, ready to come back (to the processor's memory)."""

    def close(self) -> None:
        """Give all memory back; called on every path, also twice or after a failed ``load``."""
