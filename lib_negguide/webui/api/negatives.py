"""Endpoints on diffusion-negative prompting: captions of pictures, and diffusion-negative pictures.

Each is a job of the host's own: it waits for its turn in the host's queue, shows in its progress, and can be interrupted.
"""

from __future__ import annotations

import base64
import io
from contextlib import closing
from typing import Any, Dict, Optional

from fastapi import Body, HTTPException
from modules import processing, shared
from PIL import Image, PngImagePlugin

from lib_negguide.captioners import How, safe
from lib_negguide.dns import Shown, Wanted
from lib_negguide.errors import NegGuideError, SettingsError
from lib_negguide.hosts.a1111 import interrogator
from lib_negguide.hosts.a1111.denoiser import check_model, check_scale
from lib_negguide.hosts.a1111.jobs import job, sampler_of
from lib_negguide.hosts.a1111.nested import nested, stop_if_asked
from lib_negguide.settings import Dnp
from lib_negguide.webui import dnp as auto_dnp
from lib_negguide.webui import gallery
from lib_negguide.webui.api.answers import refusing
from lib_negguide.webui.editor import CAPTIONERS
from lib_negguide.webui.forms import CaptionForm, DnsForm, whole


def captioners() -> Dict[str, Any]:
    """Captioners by name, and whether each can be used: ``usable``, its full ``name`` ("" while it is not here yet), or ``why`` not.

    A folder of a captioner anywhere on this machine and a model id of the hub can be named too.
    """
    return {"captioners": [_known(spec) for spec in (*CAPTIONERS, *interrogator.folders()) if spec != "text"]}


def caption(body: Any = Body()) -> Dict[str, Any]:
    """Say what pictures show, as auto-DNP captions its diffusion-negative pictures.

    Answers ``captioner`` (its full name) and for each picture ``caption``, safe to be put into a prompt, and ``raw``, as it was said.
    """
    with refusing():
        form = CaptionForm.parse(body)
        images = [_decoded(text, f"images[{number}]") for number, text in enumerate(form.images)]
        with job("negguide_caption"), interrogator.opened(form.dnp, tick=stop_if_asked) as captioner:
            said = captioner.caption(images, How(form.beams, form.min_tokens, form.max_tokens))
            name = captioner.name
    return {"captioner": name, "captions": [{"caption": safe(text), "raw": text} for text in said]}


def dns(body: Any = Body()) -> Dict[str, Any]:
    """Make the diffusion-negative picture of each prompt and seed (Desai and Vasconcelos, eq. 19), and caption it if asked.

    Answers ``pictures``, each with ``image`` (PNG in base 64, with its infotext), ``prompt`` (styles applied) and ``seed``; with
    captions also ``caption``, ``raw``, ``captioner`` and ``cached``, and ``negatives``: the text that auto-DNP would use for each
    prompt and seed.
    Scripts of other extensions do not take part.
    """
    with refusing():
        form = DnsForm.parse(body)
        sampler, scheduler = sampler_of(form.sampler_name, form.scheduler)
        for name, value in form.override_settings.items():
            if name not in shared.opts.data_labels:
                raise SettingsError(f"override_settings.{name}", value, "an option of the host, by its name")
        with job("negguide_dns"), closing(_request(form, sampler, scheduler)) as p:
            check_model(p)
            check_scale(p)
            shared.state.job_count = 0  # the nested pictures are all there is
            asked = auto_dnp.resolve(p)
            if form.dnp is None:
                images = nested(p, asked.prompts, asked.seeds, dns=form.dns)
                shown = [Shown(Wanted(*one), image, "", "") for image, *one in zip(images, asked.prompts, asked.seeds)]
                return {"pictures": [_picture(p, one, whole(form.dns)) for one in shown]}
            found = auto_dnp.negatives_of(p, form.dnp, asked.prompts, asked.seeds)
            pictures = [
                {**_picture(p, one, form.dnp), "caption": one.caption, "raw": one.raw, "captioner": one.captioner, "cached": one.cached}
                for negative in found for one in negative.shown]
    negatives = [{"prompt": prompt, "seed": seed, "text": negative.text}
                 for prompt, seed, negative in zip(asked.prompts, asked.seeds, found)]
    return {"pictures": pictures, "negatives": negatives}


def _known(spec: str) -> Dict[str, Any]:
    dnp = Dnp(captioner=spec)
    try:
        interrogator.check(dnp)
    except NegGuideError as error:
        return {"captioner": spec, "usable": False, "name": "", "why": str(error)}
    return {"captioner": spec, "usable": True, "name": interrogator.name_of(dnp), "why": ""}


def _request(form: DnsForm, sampler: str, scheduler: Optional[str]):
    seeds = [int(processing.get_fixed_seed(seed)) for seed in form.seed]
    p = processing.StableDiffusionProcessingTxt2Img(
        sd_model=shared.sd_model, prompt=list(form.prompt), seed=seeds, subseed=[0] * len(seeds), styles=list(form.styles),
        sampler_name=sampler, scheduler=scheduler, batch_size=1, n_iter=len(seeds), steps=form.steps, cfg_scale=form.cfg_scale,
        width=form.width, height=form.height, override_settings=dict(form.override_settings), do_not_save_samples=True,
        do_not_save_grid=True)
    p.is_api = True
    return p


def _decoded(text: str, field: str) -> Image.Image:
    """A picture as the host's API takes it; whether an address may stand for one is the host's to say."""
    from modules.api.api import decode_base64_to_image  # exists without --api too, and is only then loaded here

    try:
        return decode_base64_to_image(text).convert("RGB")
    except HTTPException as error:
        raise SettingsError(field, text, f"a picture in base 64 ({error.detail})") from error
    except Exception as error:
        raise SettingsError(field, text, f"a picture in base 64 ({type(error).__name__})") from error


def _picture(p, shown: Shown, settings: Dnp) -> Dict[str, Any]:
    """A picture for the answer, with the infotext that makes it again."""
    image = gallery.with_text(shown.image, gallery.infotext_of(p, shown, settings))
    texts = PngImagePlugin.PngInfo()
    if "parameters" in image.info:
        texts.add_text("parameters", image.info["parameters"])
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=texts)
    return {"image": base64.b64encode(file.getvalue()).decode("ascii"), "prompt": shown.wanted.prompt, "seed": shown.wanted.seed}
