"""Auto-DNP in a request: which diffusion-negative pictures it needs, their captions, and whether they have helped.

The pictures are made before the request's own (``before_process``), where nothing of it has begun. Where another
extension has changed the prompts since, those of a batch are made again just before it.
"""

from __future__ import annotations

from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np
import torch
from modules import paths_internal, processing, scripts, shared
from PIL import Image

from lib_negguide import dns
from lib_negguide.cache import Pictures
from lib_negguide.dns import Negative, Wanted
from lib_negguide.errors import SettingsError
from lib_negguide.hosts.a1111 import clip, interrogator
from lib_negguide.hosts.a1111.denoiser import check_scale
from lib_negguide.hosts.a1111.identity import identity, networks
from lib_negguide.hosts.a1111.nested import Stopped, nested, stop_if_asked, undisturbed
from lib_negguide.hosts.a1111.report import answer, tell
from lib_negguide.hosts.a1111.run import Run, run_of
from lib_negguide.settings import Dnp, Dns

CAPTIONS = "negguide_captions"
"""Attribute of ``p`` by which a script hands in captions, one per picture or one for all, in place of the pictures'."""

PLAIN = "negguide_plain"
"""Attribute of ``p`` by which a script hands in the pictures without captions, to compare with, where it has them."""

SKIPPED = "skipped: the picture is made without the caption of its diffusion-negative picture"

_cache: Optional[Pictures] = None


def cache() -> Pictures:
    """The one cache of this process: in memory, and on disk where the settings page says so."""
    global _cache
    folder = Path(paths_internal.data_path) / "negguide" / "dns" if shared.opts.negguide_keep_negatives else None
    if _cache is None or _cache.folder != folder:
        _cache = Pictures(folder)
    return _cache


@dataclass
class Resolved:
    """What the host will make of a request: texts and seeds of every picture, styles applied. ``hires``: (prompts, negatives)."""

    prompts: List[str]
    negative_prompts: List[str]
    seeds: List[int]
    subseeds: List[int]
    hires: Optional[Tuple[List[str], List[str]]] = None


def resolve(p) -> Resolved:
    """As the host resolves them later; fixes a random seed of ``p``, so that both get the same one."""
    processing.fix_seed(p)
    probe = copy(p)
    probe.setup_prompts()
    _strip_comments(probe)
    count = min(len(probe.all_prompts), p.n_iter * _batch_size(p))
    step = 1 if p.subseed_strength == 0 else 0  # variations of one picture share its seed
    seeds = list(p.seed) if isinstance(p.seed, list) else [int(p.seed) + step * n for n in range(count)]
    subseeds = list(p.subseed) if isinstance(p.subseed, list) else [int(p.subseed) + n for n in range(count)]
    hires = None
    if getattr(p, "enable_hr", False):
        hires = probe.all_hr_prompts[:count], probe.all_hr_negative_prompts[:count]
    return Resolved(probe.all_prompts[:count], probe.all_negative_prompts[:count], seeds[:count], subseeds[:count], hires)


def _strip_comments(p) -> None:
    """What the host's own script does to prompts in ``process``: else negative pictures would be made for nothing."""
    module = next((data.module for data in scripts.scripts_data if data.script_class.__module__ == "comments.py"), None)
    if module is None or not shared.opts.enable_prompt_comments:
        return
    for name in ("all_prompts", "all_negative_prompts", "all_hr_prompts", "all_hr_negative_prompts"):
        if getattr(p, name, None):
            setattr(p, name, [module.strip_comments(text) for text in getattr(p, name)])


def _batch_size(p) -> int:
    """Several init images are a batch of their own, as the host takes them."""
    images = getattr(p, "init_images", None) or []
    return len(images) if len(images) > 1 else p.batch_size


def cost(p, dnp: Dnp) -> Tuple[int, Tuple[int, int]]:
    """Steps, and width and height, of a negative picture. UniPC refuses less than 3 steps."""
    steps = dns.steps_of(dnp, p.steps)
    if p.sampler_name == "UniPC":
        steps = max(steps, min(3, p.steps))
    return steps, dns.size_of(dnp, (p.width, p.height))


def negatives_of(p, dnp: Dnp, prompts: Sequence[str], seeds: Sequence[int], subseeds: Optional[Sequence[int]] = None,
                 cached: bool = True) -> List[Negative]:
    """What each picture moves away from: diffusion-negative pictures that the cache lacks, and their captions.

    ``p``: a request of txt2img or img2img whose job has begun; it stays as it is. ``prompts``: final texts, their
    pictures in the order of the request's batches. ``cached``: False where other extensions may have changed the model
    by now, so that its pictures are nobody else's. Raises :class:`NegGuideError`: before anything is sampled where
    the captioner or CLIP is missing; :class:`Stopped` when the user ends it.
    """
    check(p, dnp)
    found: List[Optional[Negative]] = [None] * len(prompts)
    with undisturbed(p):
        for source, numbers in _alike(p, prompts).items():
            texts = [prompts[n] for n in numbers]
            subs = [subseeds[n] for n in numbers] if subseeds is not None and p.subseed_strength else None
            made = _negatives(p, dnp, source, texts, [seeds[n] for n in numbers], subs, cache() if cached else None)
            for n, negative in zip(numbers, made):
                found[n] = negative
    return found


def _alike(p, prompts: Sequence[str]) -> Dict[Tuple[Optional[int], str], List[int]]:
    """Numbers of pictures by what, beside prompt and seed, differs between them: (number of the init image, networks).

    Of a batch the host takes the networks, and their weights, that the first prompt names.
    """
    groups: Dict[Tuple[Optional[int], str], List[int]] = {}
    images = getattr(p, "init_images", None) or []
    for number, prompt in enumerate(prompts):
        source = number % len(images) if images else None
        groups.setdefault((source, repr(networks(prompt))), []).append(number)
    return groups


def _negatives(p, dnp: Dnp, kind, prompts, seeds, subseeds, kept: Optional[Pictures]) -> List[Negative]:
    steps, size = cost(p, dnp)
    dns_settings = Dns(scale=dnp.scale, meaning=dnp.meaning)
    image = None
    if kind[0] is not None:
        image = p.init_images[kind[0]]
        p = copy(p)
        p.init_images = [image]

    def sample(wanted: Sequence[Wanted]) -> List[Any]:
        return nested(p, [one.prompt for one in wanted], [one.seed for one in wanted], subseeds=[one.subseed for one in wanted],
                      dns=dns_settings, steps=steps, size=size)

    @contextmanager
    def captioner() -> Iterator[Any]:
        shared.state.textinfo = "NegGuide: caption of the diffusion-negative picture"
        with interrogator.opened(dnp, tick=stop_if_asked) as opened:
            yield opened

    def score(images: Sequence[Any], texts: Sequence[str]) -> List[float]:
        with clip.opened() as opened:
            return opened.similarities(images, texts)

    return dns.negatives(
        dnp, prompts, seeds, sample, captioner, cache=kept, identity=identity(p, dns_settings, steps, size, image, prompts[0]),
        score=score, name=interrogator.name_of(dnp), subseeds=subseeds)


def check(p, dnp: Dnp) -> None:
    """Before anything is sampled: is all there that will be needed? Raises :class:`NegGuideError`."""
    check_scale(p)
    interrogator.check(dnp)
    check_scores(dnp)
    if dnp.several == "best" and dnp.samples > 1:
        clip.check()


# In the life of a request (webui/script.py).


def prepare(p, run: Run) -> None:
    """In ``before_process``: negatives of all pictures, and with scores the pictures without them. Raises what is missing."""
    given = getattr(p, CAPTIONS, None)
    run.resolved = resolve(p)
    if given is not None:
        run.given = True
        run.negatives = [Negative(text) for text in _one_each(given, len(run.resolved.prompts))]
        check_scores(run.settings.dnp)
    else:
        run.negatives = _until_stopped(p, partial(
            negatives_of, p, run.settings.dnp, run.resolved.prompts, run.resolved.seeds, run.resolved.subseeds))
    if run.negatives is None or not _compared(run.settings.dnp):
        return
    if getattr(p, PLAIN, None) is not None:
        run.plain = list(getattr(p, PLAIN))
    else:
        run.plain = _until_stopped(p, partial(_plain_pictures, p, run, run.resolved))


def again(p, run: Run) -> None:
    """In ``before_process_batch``: where another extension has changed prompts or seeds since, do it again for this batch."""
    if run.negatives is None or run.resolved is None or getattr(p, CAPTIONS, None) is not None:
        return
    first = p.iteration * p.batch_size
    count, before = len(p.prompts), run.resolved
    batch = slice(first, first + count)
    if (list(p.prompts), list(p.seeds)) == (before.prompts[batch], before.seeds[batch]):
        return
    own = Resolved(list(p.prompts), list(p.negative_prompts), list(p.seeds), list(p.subseeds))
    if before.hires is not None:
        own.hires = list(p.all_hr_prompts[batch]), list(p.all_hr_negative_prompts[batch])
    found = _until_stopped(p, partial(negatives_of, p, run.settings.dnp, own.prompts, own.seeds, own.subseeds, cached=False))
    run.negatives[batch] = found or [Negative("")] * count
    before.prompts[batch], before.seeds[batch] = own.prompts, own.seeds
    if run.plain is not None:
        run.plain[batch] = _until_stopped(p, partial(_plain_pictures, p, run, own)) or [None] * count


def _until_stopped(p, make) -> Optional[List[Any]]:
    """What ``make`` gives; ``None`` when the user has ended it: a skip is said, after an interrupt the host ends the job."""
    try:
        return make()
    except Stopped as stopped:
        if stopped.skipped:
            tell(p, SKIPPED)
        return None


def _one_each(captions: Sequence[str], count: int) -> List[str]:
    texts = [captions] if isinstance(captions, str) else list(captions)
    if len(texts) not in (1, count):
        raise SettingsError(CAPTIONS, len(texts), f"one caption, or one for each of the {count} pictures")
    return texts * count if len(texts) == 1 else texts


def _compared(dnp: Dnp) -> bool:
    return dnp.scores or dnp.keep_better


def check_scores(dnp: Dnp) -> None:
    """Is CLIP there, if pictures are to be compared?"""
    if _compared(dnp):
        clip.check()


def _plain_pictures(p, run: Run, texts: Resolved) -> List[Any]:
    """The same pictures without captions."""
    return nested(
        p, texts.prompts, texts.seeds, subseeds=texts.subseeds if p.subseed_strength else None, negative_prompts=texts.negative_prompts,
        settings=run.settings.copy(update={"dnp": None}), hires_prompts=texts.hires, label="picture without the caption")


def compare(p, images: torch.Tensor) -> None:
    """In ``postprocess_batch``: score the pictures, (B, 3, H, W) in 0..1, and put the better ones in their place if asked."""
    run = run_of(p)
    if run is None or run.plain is None or shared.state.interrupted or shared.state.skipped:
        return
    try:
        _compare(p, run, images)
    except Exception as error:
        answer(p, error)  # the pictures are there, and good
        tell(p, f"no CLIP scores: {error}")


def _compare(p, run: Run, images: torch.Tensor) -> None:
    first = p.iteration * p.batch_size
    numbers = [n for n in range(len(images)) if first + n < len(run.plain) and run.plain[first + n] is not None]
    with undisturbed(p), clip.opened() as opened:
        prompts = [p.all_prompts[first + n] for n in numbers]
        made = opened.scores([_as_picture(images[n]) for n in numbers], prompts)
        plain = opened.scores([run.plain[first + n] for n in numbers], prompts)
    for n, ours, theirs in zip(numbers, made, plain):
        keep_plain = run.settings.dnp.keep_better and not ours.better_than(theirs)
        run.scores[first + n] = {"with": ours.to_dict(), "without": theirs.to_dict(), "kept": "without" if keep_plain else "with"}
        if keep_plain:
            images[n] = _as_pixels(run.plain[first + n], images[n])


def _as_picture(pixels: torch.Tensor) -> Image.Image:
    """As the host makes it; (3, H, W) in 0..1."""
    return Image.fromarray((255.0 * np.moveaxis(pixels.cpu().numpy(), 0, 2)).astype(np.uint8))


def _as_pixels(picture: Image.Image, like: torch.Tensor) -> torch.Tensor:
    """The tensor that the host, who cuts off what is behind the point, makes this very picture of."""
    levels = torch.from_numpy(np.asarray(picture.convert("RGB"), dtype=np.float32)).permute(2, 0, 1)
    return ((levels + 0.5) / 255.0).clamp(0.0, 1.0).to(like)


def told(run: Run) -> Optional[Dict[str, Any]]:
    """For the API's ``info``: of each picture its caption, as it was said, by whom, and whether the cache had it."""
    if run.negatives is None:
        return None
    return {"pictures": [_told(run, number) for number in range(len(run.negatives))]}


def _told(run: Run, number: int) -> Dict[str, Any]:
    negative = run.negatives[number]
    seed = run.resolved.seeds[number] if run.resolved is not None and number < len(run.resolved.seeds) else None
    row: Dict[str, Any] = {"seed": seed, "caption": negative.text}
    shown = [{"seed": one.wanted.seed, "caption": one.caption, "raw": one.raw, "captioner": one.captioner, "cached": one.cached,
              **({} if one.score is None else {"score": round(one.score, 4)})} for one in negative.shown]
    if shown:
        row.update({key: shown[0][key] for key in ("raw", "captioner")}, cached=all(one["cached"] for one in shown))
    if len(shown) > 1:
        row["shown"] = shown
    if number in run.scores:
        row["scores"] = run.scores[number]
    return row
