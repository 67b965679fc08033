"""Is it better? CLIP scores of pictures by the protocol of Attend-and-Excite.

Chefer et al., SIGGRAPH 2023; metrics/compute_clip_similarity.py and metrics/imagenet_utils.py of
github.com/yuval-alaluf/Attend-and-Excite at 163efdf:

- CLIP ViT-B/16 of OpenAI; raw cosine of the picture's embedding with a text's, neither scaled nor clipped.
- A text's embedding is the mean over OpenAI's 80 ImageNet templates ("a bad photo of a {}.", …) of unit embeddings,
  made a unit again. In a filled template "a a" becomes "a", then "the a" becomes "a", wherever they stand.
- *full*: the whole prompt. *minimum*: the least of its halves, split at " and ", or where there is none at " with ".
  A prompt with neither has no minimum.

Two things that protocol does not say: of a prompt with several " and " it looks at the first two parts, here the minimum is over
all of them; and its prompts are plain, so a host's prompt syntax is taken out first. CLIP reads the first 77 tokens of a text.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

from lib_negguide import clip_model
from lib_negguide.errors import SettingsError
from lib_negguide.wording import plain

KEEP = ("unload", "cpu", "loaded")
"""What becomes of the model after its use."""

PICTURES, TEXTS = 16, 80
"""At most so many of each in one call of the model."""


@dataclass(frozen=True)
class Score:
    """Cosines from -1 to 1 (about 0.2 to 0.4 where picture and text belong together)."""

    full: float
    minimum: Optional[float] = None

    def better_than(self, other: Score) -> bool:
        """By the least of the objects, which the whole prompt's score hardly notices missing; else by the whole prompt."""
        if self.minimum is None or other.minimum is None or self.minimum == other.minimum:
            return self.full > other.full
        return self.minimum > other.minimum

    def to_dict(self) -> Dict[str, Optional[float]]:
        """To four decimals, for people and for JSON."""
        return {"full": round(self.full, 4), "minimum": None if self.minimum is None else round(self.minimum, 4)}


def objects(prompt: str) -> List[str]:
    """The halves of a prompt, in plain words; empty where it cannot be split."""
    prompt = plain(prompt)
    for word in (" and ", " with "):
        if word in prompt:
            return [part for part in prompt.split(word) if part.strip()]
    return []


class ClipScores:
    """A CLIP model that scores pictures; texts' embeddings are kept as long as it is."""

    def __init__(self, clip: clip_model.Clip, device: Any = None):
        self.name, self._clip, self._device = clip.name, clip, device or "cpu"
        self._texts: Dict[str, Any] = {}
        self.scale = float(clip.model.logit_scale.exp())
        """What its cosines are multiplied with to be logits; 100 of OpenAI's models."""
        clip.model.to(self._device)

    @classmethod
    def load(cls, spec: str = "auto", folders: Sequence[Path] = (), device: Any = None, downloads: bool = False) -> ClipScores:
        """See :func:`lib_negguide.clip_model.find`; raises :class:`ModelError`."""
        return cls(clip_model.load(clip_model.find(spec, folders, downloads)), device)

    def scores(self, images: Sequence[Any], prompts: Sequence[str]) -> List[Score]:
        """The score of each PIL image for its own prompt."""
        parts = [[plain(prompt), *objects(prompt)] for prompt in prompts]
        pictures = self.pictures(images)
        scores = []
        for picture, texts in zip(pictures, parts, strict=True):
            cosines = (self.texts(texts) @ picture).tolist()
            scores.append(Score(cosines[0], min(cosines[1:]) if len(cosines) > 1 else None))
        return scores

    def similarities(self, images: Sequence[Any], prompts: Sequence[str]) -> List[float]:
        """The *full* score of each PIL image for its own prompt."""
        return [score.full for score in self.scores(images, prompts)]

    def pictures(self, images: Sequence[Any]):
        """Unit embeddings of PIL images, (N, D) float32 on the CPU."""
        import torch

        rows = []
        for at in range(0, len(images), PICTURES):
            batch = torch.stack([self._clip.picture(image.convert("RGB")) for image in images[at:at + PICTURES]])
            rows.append(_unit(self._run("encode_image", batch)))
        return torch.cat(rows) if rows else torch.empty(0, 0)

    def texts(self, texts: Sequence[str]):
        """Unit embeddings of texts, each the mean over all templates, (N, D) float32 on the CPU."""
        import torch

        for text in texts:
            if text not in self._texts:
                forms = filled(text)
                rows = [_unit(self._run("encode_text", self._clip.tokens(forms[at:at + TEXTS]))) for at in range(0, len(forms), TEXTS)]
                self._texts[text] = _unit(torch.cat(rows).mean(dim=0))
        return torch.stack([self._texts[text] for text in texts])

    def to(self, device: Any) -> ClipScores:
        """Move the model."""
        self._device = device or "cpu"
        self._clip.model.to(self._device)
        return self

    def close(self) -> None:
        """Let go of the model, whoever still holds this object."""
        self._clip, self._texts = None, {}

    def _run(self, method: str, batch):
        """One call of the model; (N, D) float32 on the CPU."""
        import torch

        with torch.inference_mode(), torch.autocast(torch.device(self._device).type, enabled=False):
            return getattr(self._clip.model, method)(batch.to(self._device)).float().cpu()


_kept: Dict[clip_model.Found, ClipScores] = {}
"""At most one model."""


@contextmanager
def opened(spec: str = "auto", *, folders: Sequence[Path] = (), device: Any = None, keep: str = "unload",
           downloads: bool = False) -> Iterator[ClipScores]:
    """A :class:`ClipScores` to use; afterwards it is unloaded, moved to the CPU, or left as it is, as ``keep`` says.

    After a failure it is unloaded in any case.
    """
    if keep not in KEEP:
        raise SettingsError("keep", keep, "one of " + ", ".join(KEEP))
    found = clip_model.find(spec, folders, downloads)
    scores = _kept.pop(found, None)
    if scores is None:
        release()
        scores = ClipScores(clip_model.load(found))
    try:
        yield scores.to(device)
        if keep != "unload":
            _kept[found] = scores if keep == "loaded" else scores.to("cpu")
    finally:
        if found not in _kept:
            scores.close()
        _collect()


def release() -> None:
    """Let go of a model that was kept."""
    for scores in _kept.values():
        scores.close()
    _kept.clear()
    _collect()


def _collect() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def filled(text: str) -> List[str]:
    """The text in every template, articles mended as the protocol does."""
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

    return [template(text).replace("a a", "a").replace("the a", "a") for template in OPENAI_IMAGENET_TEMPLATES]


def _unit(rows):
    return rows / rows.norm(dim=-1, keepdim=True)


def scores_text(scores: Optional[Dict[str, Any]]) -> Optional[str]:
    """``0.2841/0.2311 with, 0.2712/0.2102 without the caption``: whole prompt / least part; and which was kept, if not the first."""
    if scores is None:
        return None
    with_it, without = ("/".join(f"{value:.4f}" for value in scores[which].values() if value is not None) for which in ("with", "without"))
    return f"{with_it} with, {without} without the caption" + (", kept without" if scores["kept"] == "without" else "")
