"""The pictures of ``bench dnp``: what is sampled for which row, each picture once, kept in a folder."""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Protocol, Sequence, Tuple

from tqdm import tqdm

from lib_negguide import captioners
from lib_negguide.cache import digest, key_of
from lib_negguide.hosts.embedded import dns as embedded
from lib_negguide.settings import Dnp, Settings


@dataclass(frozen=True)
class Pair:
    """A prompt and the seed that it is sampled with."""

    prompt: str
    seed: int


@dataclass(frozen=True)
class Category:
    """Pairs that are reported together."""

    name: str
    pairs: Tuple[Pair, ...]


@dataclass(frozen=True)
class Metric:
    """One figure of a picture. ``share``: it is 0 or 1, reported as a share with its Wilson interval; else as a mean."""

    key: str
    title: str
    share: bool = False


class Scorer(Protocol):
    """Who looks at the pictures. The first of ``metrics`` decides whether a picture is better than the plain one."""

    name: str
    metrics: Sequence[Metric]
    away: Sequence[Metric]
    """Figures that tell how far a diffusion-negative picture is from its prompt."""

    def scores(self, images: Sequence[Any], prompts: Sequence[str]) -> List[Dict[str, float]]:
        """Every figure of ``metrics`` and ``away`` for each picture and its prompt."""

    def describe(self, images: Sequence[Any]) -> Optional[List[str]]:
        """The true descriptions of pictures, where this is known."""

    def failures(self, captions: Sequence[str], prompts: Sequence[str]) -> Optional[List[str]]:
        """The captions of plain pictures that are not what their prompts ask for, "" for the others, where words can tell."""

    def wrong(self, prompts: Sequence[str]) -> Optional[List[str]]:
        """Prompts that tell of the same with a mistake, where there are such."""

    def agree(self, captions: Sequence[str], images: Sequence[Any]) -> Optional[List[bool]]:
        """Whether captions say exactly what is there, where this is known."""


class ClipScorer:
    """CLIP scores by the A&E protocol, for models that are not the small world's."""

    metrics = (Metric("minimum", "least object"), Metric("full", "whole prompt"))
    away = (Metric("full", "whole prompt"),)

    def __init__(self, clip) -> None:
        self.clip, self.name = clip, clip.name

    def scores(self, images, prompts):
        found = self.clip.scores(images, prompts)
        return [{"full": score.full, "minimum": score.full if score.minimum is None else score.minimum} for score in found]

    def describe(self, images):
        return None

    def failures(self, captions, prompts):
        return None

    def wrong(self, prompts):
        return None

    def agree(self, captions, images):
        return None


@dataclass(frozen=True)
class Task:
    """One picture. ``caption``: its n* ("" for none), which acts as ``settings`` say; ``cfg``, ``steps``, ``size``: of its sampling."""

    pair: Pair
    cfg: float
    steps: int
    size: Tuple[int, int]
    caption: str = ""
    settings: str = "{}"


@dataclass
class Studio:
    """Samples, captions and scores; what is done already is read from the folder ``work``."""

    host: Any
    scorer: Scorer
    captioner: Any
    dnp: Dnp
    options: Dict[str, Any]
    work: Path
    batch: int
    _captions: Dict[str, Any] = field(default_factory=dict)
    _scores: Dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.work / "pictures").mkdir(parents=True, exist_ok=True)
        self._captions, self._scores = _read(self.work / "captions.jsonl"), _read(self.work / "scores.jsonl")
        self._model = embedded.fingerprint(self.host.model)

    def task(self, pair: Pair, cfg: float, caption: str = "", settings: Mapping[str, Any] = {}) -> Task:
        """A picture at the run's steps and size."""
        own = json.dumps(settings, sort_keys=True) if caption else "{}"
        return Task(pair, cfg, self.options["steps"], self.options["size"], caption, own)

    def away(self, pair: Pair, cfg: float, dnp: Optional[Dnp] = None) -> Task:
        """The diffusion-negative picture: guidance −s with an empty negative (eq. 19), at the steps and size of ``dnp``."""
        dnp = dnp or self.dnp
        cheap = embedded.dns_options(dnp, {**self.options, "cfg_scale": cfg})
        return Task(pair, -dnp.away(cfg), cheap["steps"], cheap["size"])

    def key(self, task: Task) -> str:
        own = {"prompt": task.pair.prompt, "seed": task.pair.seed, "cfg": task.cfg, "steps": task.steps, "size": list(task.size),
               "caption": task.caption, "settings": task.settings}
        run = {"model": self._model, "dtype": str(self.host.model.dtype), **{name: self.options[name] for name in ("sampler", "scheduler")}}
        return digest(key_of({**run, **own}))

    def path(self, task: Task) -> Path:
        return self.work / "pictures" / f"{self.key(task)}.png"

    def paint(self, tasks: Iterable[Task], label: str = "") -> None:
        """Make the pictures that are not there yet, in batches of equal settings."""
        missing = [task for task in dict.fromkeys(tasks) if not self.path(task).exists()]
        groups: Dict[tuple, List[Task]] = {}
        for task in missing:
            groups.setdefault((task.cfg, task.steps, task.size, task.settings), []).append(task)
        with tqdm(total=len(missing), desc=label, unit="picture", disable=None, leave=False) as bar:
            for group in groups.values():
                for at in range(0, len(group), self.batch):
                    part = group[at:at + self.batch]
                    for task, image in zip(part, self._sample(part)):
                        _save(self.path(task), image)
                    bar.update(len(part))

    def _sample(self, tasks: Sequence[Task]) -> List[Any]:
        first = tasks[0]
        settings = Settings.parse({"dnp": {}, **json.loads(first.settings)})
        result = self.host.sample([task.pair.prompt for task in tasks], [task.pair.seed for task in tasks], settings,
                                  captions=[task.caption for task in tasks], cfg_scale=first.cfg, steps=first.steps, size=first.size,
                                  sampler=self.options["sampler"], scheduler=self.options["scheduler"], batch_size=len(tasks))
        return result.pil()

    def images(self, tasks: Sequence[Task]) -> List[Any]:
        """The pictures of tasks that have been painted."""
        from PIL import Image

        pictures = []
        for task in tasks:
            with Image.open(self.path(task)) as image:
                pictures.append(image.convert("RGB"))
        return pictures

    def captions(self, tasks: Sequence[Task]) -> List[str]:
        """What the captioner says of pictures, safe for a prompt parser."""
        how = captioners.How(self.dnp.beams, self.dnp.min_tokens, self.dnp.max_tokens)
        keys = [f"{self.key(task)} {self.captioner.name} {how.beams} {how.min_tokens} {how.max_tokens}" for task in tasks]
        missing = {key: task for key, task in zip(keys, tasks) if key not in self._captions}
        for part in _parts(list(missing), 100):
            said = self.captioner.caption(self.images([missing[key] for key in part]), how)
            _note(self.work / "captions.jsonl", self._captions, {key: captioners.safe(text) for key, text in zip(part, said)})
        return [self._captions[key] for key in keys]

    def scores(self, tasks: Sequence[Task], prompts: Optional[Sequence[str]] = None) -> List[Dict[str, float]]:
        """The scorer's figures of pictures, each for its own prompt or for one of ``prompts``."""
        prompts = prompts or [task.pair.prompt for task in tasks]
        keys = [f"{self.key(task)} {self.scorer.name} {prompt}" for task, prompt in zip(tasks, prompts)]
        missing = {key: (task, prompt) for key, task, prompt in zip(keys, tasks, prompts) if key not in self._scores}
        for part in _parts(list(missing), 100):
            found = self.scorer.scores(self.images([missing[key][0] for key in part]), [missing[key][1] for key in part])
            _note(self.work / "scores.jsonl", self._scores, dict(zip(part, found)))
        return [self._scores[key] for key in keys]


def directions(host, pairs: Sequence[Pair], wrong: Sequence[str], negatives: Mapping[str, Sequence[str]],
               options: Mapping[str, Any]) -> List[Tuple[int, float, List[Tuple[float, float]]]]:
    """Along the plain sampling of pairs, at every third call: call, sigma, and of each negative (length, cosine), as means.

    Length: of ε_p − ε_n in latents, per picture. Cosine: with ε_p − ε_wrong.
    """
    import torch

    def flat(left, right):
        return (left - right).flatten(1)

    found = []
    with host.threads(), torch.no_grad():
        run = host.prepare([pair.prompt for pair in pairs], [pair.seed for pair in pairs],
                           **{name: value for name, value in options.items() if name != "batch_size"})
        texts = [[pair.prompt for pair in pairs], wrong, *negatives.values()]
        conditions, x = [host.model.encode(list(each)) for each in texts], run.latents
        for call, sigma in enumerate(run.sigmas[:-1]):
            if call % 3 == 0:
                right, mistaken, *predicted = run.guidance.predict(x, sigma, conditions)
                pushes, tells = [flat(right, other) for other in predicted], flat(right, mistaken)
                lengths = [float(push.norm(dim=1).mean() / sigma) for push in pushes]
                found.append((call, float(sigma), list(zip(lengths, [float(torch.cosine_similarity(p, tells).mean()) for p in pushes]))))
            x = run.between(x, call, call + 1)
    return found


def others(pairs: Sequence[Pair], seed: int = 1) -> List[int]:
    """For each pair the index of another one with another prompt, at random but always the same.

    Raises :class:`ValueError` where all prompts are the same.
    """
    if len({pair.prompt for pair in pairs}) < 2:
        raise ValueError("one prompt only: there is no other one")
    rng, chosen = random.Random(seed), []
    for pair in pairs:
        index = rng.randrange(len(pairs))
        while pairs[index].prompt == pair.prompt:
            index = rng.randrange(len(pairs))
        chosen.append(index)
    return chosen


def change(left, right) -> float:
    """Mean absolute difference of two Pillow pictures, 0 to 255."""
    import numpy as np

    return float(np.abs(np.asarray(left, dtype=np.int16) - np.asarray(right, dtype=np.int16)).mean())


def _parts(items: list, count: int) -> List[list]:
    return [items[at:at + count] for at in range(0, len(items), count)]


def _save(path: Path, image) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    image.save(part, "PNG")
    os.replace(part, path)


def _read(path: Path) -> Dict[str, Any]:
    """Notes of earlier runs; a last line that was cut off is ignored."""
    notes: Dict[str, Any] = {}
    if not path.is_file():
        return notes
    text = path.read_text("utf-8")
    for line in text.splitlines():
        try:
            notes.update(json.loads(line))
        except ValueError:
            continue
    if text and not text.endswith("\n"):
        with path.open("a", encoding="utf-8") as file:
            file.write("\n")
    return notes


def _note(path: Path, notes: Dict[str, Any], new: Mapping[str, Any]) -> None:
    notes.update(new)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({key: value}, ensure_ascii=False) + "\n" for key, value in new.items())
