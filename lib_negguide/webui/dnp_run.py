"""What the script "Diffusion-negative prompting" makes, one function a mode: each takes ``p`` and gives the host's ``Processed``."""

from __future__ import annotations

import math
from typing import Any, List, Optional, Tuple

from modules import shared
from modules.processing import Processed

from lib_negguide import plots
from lib_negguide.dns import Four, Negative, Shown, Wanted
from lib_negguide.errors import CaptionerError, SettingsError
from lib_negguide.hosts.a1111.nested import Stopped, nested
from lib_negguide.hosts.a1111.report import tell
from lib_negguide.hosts.a1111.run import Run, run_of
from lib_negguide.metrics import Score
from lib_negguide.settings import Dnp, Dns, Settings
from lib_negguide.webui import dnp, gallery, infotext
from lib_negguide.webui.dnp import Resolved
from lib_negguide.webui.dnp_asked import AUTO, BY_HAND, PICTURE, Asked
from lib_negguide.webui.several import Picture, accordion_of, copied, made, processed, taken


def run(p, asked: Asked) -> Processed:
    """Make what is asked for; raises :class:`NegGuideError`."""
    settings = asked.settings(accordion_of(p))
    if asked.mode == PICTURE:
        return made(p, settings.copy(update={"dnp": None, "dns": _dns(settings.dnp)}))
    if asked.mode == BY_HAND and asked.captions.strip():
        return without(p, settings, *asked.lines())
    if asked.mode == BY_HAND:
        return captioned(p, settings.dnp)
    if asked.mode == AUTO:
        setattr(p, gallery.SHOW, asked.show)
        return made(p, settings)
    return four_pictures(p, settings)


def captioned(p, settings: Dnp) -> Processed:
    """By hand, first: the diffusion-negative pictures with their captions; without a captioner, with none. Nothing else is made."""
    shared.state.job_count = 0  # the request's own batches are not sampled
    resolved = dnp.resolve(p)
    try:
        negatives = _negatives(p, settings, resolved)
    except CaptionerError as error:
        tell(p, f"the pictures are there, the captions are yours to write: {error}")
        negatives = _negatives(p, settings, resolved, caption="")
    pictures = [_of_negative(p, shown, settings) for shown in gallery.pictures(negatives)]
    for shown, (_, text, _) in zip(gallery.pictures(negatives), pictures):
        gallery.save(p, shown, text)
    _tell_captions(p, settings, negatives, resolved)
    return processed(p, pictures)


def without(p, settings: Settings, seeds: Optional[List[int]], captions: List[str]) -> Processed:
    """By hand, then: the pictures without what the captions say; with seeds, exactly the pictures of these seeds."""
    count = p.batch_size * p.n_iter
    if seeds is None and len(captions) not in (1, count):
        raise SettingsError("captions", len(captions), f"one line, or one for each of the {count} pictures, or each with its seed")
    if seeds is not None:
        p.seed = seeds
        if len(seeds) != count:
            p.prompt, p.negative_prompt = [p.prompt] * len(seeds), [p.negative_prompt] * len(seeds)
            p.n_iter = math.ceil(len(seeds) / p.batch_size)
    return made(p, settings, captions)


def four_pictures(p, settings: Settings) -> Processed:
    """Figure 4 of the paper for each picture: of p; its DNS picture with caption; of ("", n*); of (p, n*). First a sheet of them all."""
    shared.state.job_count = 3 * p.n_iter
    resolved = dnp.resolve(p)
    negatives = _negatives(p, settings.dnp, resolved)
    captions = [negative.text for negative in negatives]
    plain = settings.copy(update={"dnp": None})
    plain = plain.copy(update={"enabled": plain != Settings()})  # nothing of the accordion's: a picture of the host's own
    guided = settings.copy(update={"dnp": settings.dnp.copy(update={"keep_better": False})})
    empty = {"prompt": [""] * len(captions), "negative_prompt": captions, "styles": [], "hr_prompt": "", "hr_negative_prompt": ""}
    passes: List[List[Picture]] = []
    last = p
    for changes, asked, given in (
        ({}, plain, None),
        (empty, Settings(enabled=False), None),
        ({}, guided, captions),
    ):
        if not captions or shared.state.interrupted or shared.state.stopping_generation:
            break
        last = copied(p, seed=list(resolved.seeds), subseed=list(resolved.subseeds), **changes)
        if given is not None:
            setattr(last, dnp.PLAIN, [image for image, _, _ in passes[0]])
        passes.append(taken(made(last, asked, given)))
    p.all_prompts, p.all_negative_prompts = resolved.prompts, resolved.negative_prompts
    p.all_seeds, p.all_subseeds = resolved.seeds, resolved.subseeds
    p.sampler_name, p.scheduler = last.sampler_name, last.scheduler
    by_picture = list(zip(*passes)) if len(passes) == 3 else []
    scores = run_of(last).scores if by_picture else {}
    _tell_captions(p, settings.dnp, negatives, resolved, scores)
    pictures = [[plain, *(_of_negative(last, shown, settings.dnp) for shown in negative.shown), only, with_caption]
                for (plain, only, with_caption), negative in zip(by_picture, negatives)]
    if not pictures:  # the user has ended it
        return processed(p, [picture for one in passes for picture in one])
    fours = [Four(own[0][0], negative, own[-2][0], own[-1][0]) for own, negative in zip(pictures, negatives)]
    pairs = [_pair(scores.get(number)) for number in range(len(fours))]
    figure = plots.figure_four(resolved.prompts, resolved.seeds, fours, pairs, side=min(max(p.width, 128), 384))
    text = pictures[0][-1][1]  # of (p, n*): pasted, it makes the last picture of the first row
    gallery.save_figure(p, figure, text, resolved.seeds[0], resolved.prompts[0])
    for own, negative in zip(pictures, negatives):
        for shown, (_, about, _) in zip(negative.shown, own[1:]):
            gallery.save(p, shown, about)
    return processed(p, [picture for own in pictures for picture in own], first=(gallery.with_text(figure, text), text))


def _dns(settings: Dnp) -> Dns:
    return Dns(scale=settings.scale, meaning=settings.meaning)


def _negatives(p, settings: Dnp, resolved: Resolved, caption: Optional[str] = None) -> List[Negative]:
    """Negative pictures with captions of their own, or with this one; a typed text has pictures too. None when the user has ended it."""
    if caption is None and settings.captioner == "text":
        caption = settings.text.strip()
    subseeds = resolved.subseeds if p.subseed_strength else None
    try:
        if caption is None:
            return dnp.negatives_of(p, settings, resolved.prompts, resolved.seeds, subseeds)
        steps, size = dnp.cost(p, settings)
        images = nested(p, resolved.prompts, resolved.seeds, subseeds=subseeds, dns=_dns(settings), steps=steps, size=size)
    except Stopped:
        return []
    wanted = [Wanted(*one) for one in zip(resolved.prompts, resolved.seeds, subseeds or [None] * len(images))]
    return [Negative(caption, [Shown(one, image, caption, caption, "text")]) for one, image in zip(wanted, images)]


def _of_negative(p, shown: Shown, settings: Dnp) -> Picture:
    text = gallery.infotext_of(p, shown, settings)
    return gallery.with_text(shown.image, text), text, (shown.wanted.prompt, "", shown.wanted.seed)


def _tell_captions(p, settings: Dnp, negatives: List[Negative], resolved: Resolved, scores: Any = None) -> None:
    """Note in ``info`` what was said of which picture, as auto-DNP does."""
    told = Run(p, Settings(dnp=settings))
    told.negatives, told.resolved, told.scores = negatives, resolved, scores or {}
    infotext.write_captions(p, told)


def _pair(scores: Any) -> Optional[Tuple[Score, Score]]:
    """Scores of p and of (p, n*), from a run's."""
    return None if scores is None else (Score(**scores["without"]), Score(**scores["with"]))
