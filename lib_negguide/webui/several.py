"""Several samplings of one request, for selectable scripts: each is the host's own, with other settings of NegGuide."""

from __future__ import annotations

from copy import copy
from typing import Any, List, Optional, Sequence, Tuple

from modules.processing import Processed, process_images

from lib_negguide.settings import Settings
from lib_negguide.webui import dnp, request

Picture = Tuple[Any, str, Tuple[str, str, int]]
"""A Pillow image, its infotext, and (prompt, negative prompt, seed)."""


def accordion_of(p) -> Settings:
    """What the accordion, or the API's object for it, says in this request; raises :class:`SettingsError`."""
    script = p.scripts.script(request.TITLE)
    return request.settings_of(p, p.script_args[script.args_from:script.args_to])


def made(p, settings: Settings, captions: Optional[Sequence[str]] = None) -> Processed:
    """``p`` under these settings, with these captions if there are any."""
    setattr(p, request.GIVEN, settings)
    if captions is not None:
        setattr(p, dnp.CAPTIONS, list(captions))
    return process_images(p)


def copied(p, **changes: Any) -> Any:
    """A ``p`` for one of several samplings of a request; only they share is what is told to the user."""
    own = copy(p)
    own.extra_generation_params, own.override_settings = dict(p.extra_generation_params), dict(p.override_settings)
    own.do_not_save_grid = True
    for name, value in changes.items():
        if hasattr(own, name):
            setattr(own, name, value)
    return own


def taken(processed: Processed) -> List[Picture]:
    """The pictures of a sampling, without its grid."""
    first = processed.index_of_first_image
    about = zip(processed.all_prompts, processed.all_negative_prompts, processed.all_seeds)
    return list(zip(processed.images[first:], processed.infotexts[first:], about))


def processed(p, pictures: List[Picture], first: Optional[Tuple[Any, str]] = None) -> Processed:
    """What the host wants back: ``first`` is a sheet with its infotext, then the pictures."""
    prompts, negative_prompts, seeds = ([about[n] for _, _, about in pictures] for n in range(3))
    sheet = [first] if first is not None else []
    texts = [text for _, text in sheet] + [text for _, text, _ in pictures]
    images = [image for image, _ in sheet] + [image for image, _, _ in pictures]
    return Processed(
        p, images, seed=seeds[0] if seeds else p.seed, info=texts[0] if texts else "", subseed=p.subseed, all_prompts=prompts,
        all_negative_prompts=negative_prompts, all_seeds=seeds, all_subseeds=[0] * len(seeds), index_of_first_image=len(sheet),
        infotexts=texts)
