"""Does a picture that is being sampled show a thing? Detectors of one form, each with its own scale and its own price.

``presence`` needs the removal's own prediction and nothing else, ``clip`` and ``caption`` a preview (a decoded x0), and
``attention`` the host's probes. High means: it is there.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable, ContextManager, Dict, Iterator, List, Optional, Protocol, Sequence

import torch

from lib_negguide import captioners, metrics
from lib_negguide.captioners import How
from lib_negguide.errors import HostError
from lib_negguide.settings import Removal
from lib_negguide.wording import plain

if TYPE_CHECKING:
    from PIL.Image import Image

    from lib_negguide.captioners import Captioner
    from lib_negguide.metrics import ClipScores
    from lib_negguide.removal import Seen

NAMES = ("presence", "attention", "clip", "caption")
COSTS: Dict[str, str] = {
    "presence": "one prediction a look, by which it acts where it is there",
    "attention": "no prediction; the attention of some layers, computed a second time",
    "clip": "a decoded preview and one call of CLIP's image encoder a look",
    "caption": "a decoded preview and a caption a look",
}
"""What a look of each detector costs one picture."""


class Detector(Protocol):
    """``gone`` and ``back``: its own thresholds; ``looks``: so many looks in a row below ``gone`` switch off;
    ``needs_negative``: whether it looks at the removal's own prediction; ``graded``: whether presence is a matter of degree, and then
    ``most``: so many times the strength acts at most."""

    name: str
    gone: float
    back: float
    looks: int
    needs_negative: bool
    graded: bool

    def presence(self, seen: Seen, pictures: Sequence[int]) -> torch.Tensor:
        """(K,) of these pictures of a call, higher where it is more surely there."""
        ...


class OnPictures(Protocol):
    """A detector that can also look at finished pictures; ``prompts``: where in the batch they stand, by ``numbers``."""

    gone: float

    def of_pictures(self, images: Sequence[Image], numbers: Sequence[int]) -> List[float]:
        ...


class Presence:
    """From the predictions alone: the cosine of e and d_c - d_u, -1 to 1. Does guidance lead to the thing, or away from it?

    e is what the thing's words change in the prompt's prediction; d_c - d_u is where guidance goes. A cosine knows no noise level
    and no size of the latent, in eps and in x0 form alike. In the small world, of pictures that come to show a thing and others, it
    tells 81 to 99 of 100 pairs apart at the first call (shapes: 54, and 70 from the fourth on). It is a matter of degree: so
    is how strongly the removal acts (the optimal weight of a negative also grows with the thing's posterior: 2410.14398).
    """

    name, needs_negative, looks, graded = "presence", True, 1, True
    gone, back, most = 0.0, 0.05, 2.0
    KEPT, PHOTO = (-0.1, 0.0, 1.5), (-1.0, -0.6, 2.0)
    """``gone``, ``back``, ``most`` where the rest of the picture is kept, so that less is lost by acting longer; of a photo, which
    shows the thing for certain, so that it acts whatever guidance does."""

    def __init__(self, removal: Optional[Removal] = None):
        if removal is not None and removal.keeps:
            self.gone, self.back, self.most = self.PHOTO if removal.photo else self.KEPT

    def presence(self, seen: Seen, pictures: Sequence[int]) -> torch.Tensor:
        towards, words = seen.differences(pictures)
        lengths = (towards.square().sum((1, 2, 3)) * words.square().sum((1, 2, 3))).sqrt()
        return (towards * words).sum((1, 2, 3)) / lengths.clamp_min(torch.finfo(torch.float32).tiny)


class Preview:
    """What detectors that look at pictures share."""

    needs_negative, looks, graded = False, 1, False

    def presence(self, seen: Seen, pictures: Sequence[int]) -> torch.Tensor:
        if seen.preview is None:
            raise HostError("NegGuide: this host shows no previews")
        return torch.tensor(self.of_pictures(seen.preview(list(pictures)), list(pictures)), dtype=torch.float32)

    def of_pictures(self, images: Sequence[Image], numbers: Sequence[int]) -> List[float]:
        raise NotImplementedError


class Clip(Preview):
    """CLIP's own probability (its cosines times its logit scale) that a preview shows "prompt, text", not "prompt".

    A matter of degree. Thresholds from 32 portraits of the small world and its own CLIP, which says 0.37 where glasses are and 0.004 where
    not; other models want their own.
    """

    name, graded = "clip", True
    gone, back, most = 0.03, 0.2, 2.0

    def __init__(self, clip: ClipScores, text: str, prompts: Sequence[str]):
        self._clip = clip
        bare = [plain(prompt) for prompt in prompts]
        self._texts = [(f"{prompt}, {plain(text)}".strip(" ,"), prompt) for prompt in bare]

    def of_pictures(self, images: Sequence[Image], numbers: Sequence[int]) -> List[float]:
        cosines = [self._clip.texts(self._texts[number]) @ row for row, number in zip(self._clip.pictures(images), numbers)]
        return [float((self._clip.scale * both).softmax(0)[0]) for both in cosines]


class Caption(Preview):
    """A captioner on a preview: 1 where its caption says one of the text's parts (between commas), else 0."""

    name, gone, back = "caption", 0.5, 0.5

    HOW = How(beams=1, min_tokens=1, max_tokens=30)
    """As cheap as a caption can be: there is one at each look."""

    def __init__(self, captioner: Captioner, text: str):
        self._captioner, self._text = captioner, text

    def of_pictures(self, images: Sequence[Image], numbers: Sequence[int]) -> List[float]:
        return [float(said(self._text, caption)) for caption in self._captioner.caption(images, self.HOW)]


def said(text: str, caption: str) -> bool:
    """Does a caption have all words of one of the text's parts (between commas), in singular or plural?"""
    words = {_stem(word) for word in re.findall(r"\w+", caption.lower())}
    parts = [[_stem(word) for word in re.findall(r"\w+", part.lower())] for part in plain(text).split(",")]
    return any(part and words.issuperset(part) for part in parts)


def _stem(word: str) -> str:
    return re.sub(r"(?<=\w\w)e?s$", "", word)


def there(detector: OnPictures, removal: Removal, images: Sequence[Image], numbers: Sequence[int]) -> List[bool]:
    """Does each finished picture show it? ``numbers``: the pictures' places in the batch that the detector was opened for."""
    gone = detector.gone if removal.gone is None else removal.gone
    return [value >= gone for value in detector.of_pictures(images, numbers)]


Open = Callable[[], ContextManager[Any]]
"""Opens a captioner, or a :class:`ClipScores`, for a ``with`` block."""
Make = Callable[[Sequence[str]], Any]
"""Gives the :class:`Detector` of a batch, by its prompts, or ``None`` where nobody looks."""


@contextmanager
def opened(removal: Removal, *, captioner: Optional[Open] = None, clip: Optional[Open] = None, attention: Optional[Make] = None,
           final: bool = False) -> Iterator[Make]:
    """What makes the detectors of a removal's batches; its weights are loaded inside.

    ``captioner``, ``clip``: by default blip-base and the CLIP of the scores; ``attention``: the host's own. ``final``: for
    detectors that look at finished pictures (:func:`there`), as the search of Ban et al. does: clip where the settings say so,
    else the captioner. Raises what says which weights are missing, and where they belong.
    """
    name = removal.detector
    if name == "attention" and attention is None and removal.search == "loop":
        raise HostError('NegGuide: the detector "attention" is not to be had on this host')
    if not final and removal.search != "loop":
        yield lambda prompts: None
    elif name == "clip":
        with (clip or metrics.opened)() as scores:
            yield lambda prompts: Clip(scores, removal.text, prompts)
    elif name == "caption" or final:
        with (captioner or _captioner)() as talker:
            yield lambda prompts: Caption(talker, removal.text)
    else:
        yield attention if name == "attention" else lambda prompts: Presence(removal)


@contextmanager
def nobody() -> Iterator[Make]:
    """In place of :func:`opened` where nothing is removed."""
    yield lambda prompts: None


def _captioner() -> ContextManager[Any]:
    return captioners.opened("auto")
