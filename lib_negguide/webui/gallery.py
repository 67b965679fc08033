"""Diffusion-negative pictures beside a request's own: what is written under them, and how they are shown and saved."""

from __future__ import annotations

from copy import copy
from typing import Any, Iterable, Sequence

from modules import images, sd_vae, shared
from modules.processing import Processed, create_infotext

from lib_negguide import __version__, dns
from lib_negguide.hosts.a1111.run import run_of
from lib_negguide.settings import Dnp, Dns, Settings
from lib_negguide.webui import dnp, infotext

SHOW = "negguide_show"
"""Attribute of a ``p`` whose negative pictures are shown, whatever the settings page says."""


def infotext_of(p, shown: dns.Shown, settings: Dnp) -> str:
    """The infotext that makes a negative picture again, as a picture of its own; ``p``: of the request that it was made for."""
    own = copy(p)
    (own.steps, (own.width, own.height)), own.enable_hr = dnp.cost(p, settings), False
    own.sd_model_name, own.sd_model_hash = shared.sd_model.sd_checkpoint_info.name_for_extra, shared.sd_model.sd_model_hash
    own.sd_vae_name, own.sd_vae_hash = sd_vae.get_loaded_vae_name(), sd_vae.get_loaded_vae_hash()
    own.extra_generation_params = {
        key: value for key, value in p.extra_generation_params.items() if not key.startswith(("Hires ", infotext.ON))}
    alone = Settings(dns=Dns(scale=settings.scale, meaning=settings.meaning))
    own.extra_generation_params.update({
        infotext.ON: __version__, infotext.SCHEDULE: infotext.to_json(alone), infotext.CAPTION: shown.caption or None})
    wanted = shown.wanted
    return create_infotext(own, [wanted.prompt], [wanted.seed], [wanted.subseed or 0], index=0, all_negative_prompts=[""])


def add_negatives(p, processed: Processed, negatives: Sequence[dns.Negative]) -> None:
    """Put the negative pictures behind the request's own, where the settings page or the script wants them shown."""
    if not (getattr(p, SHOW, False) or shared.opts.negguide_show_negatives):
        return
    for shown in pictures(negatives):
        text = infotext_of(p, shown, run_of(p).settings.dnp)
        processed.images.append(with_text(shown.image, text))
        processed.infotexts.append(text)


def pictures(negatives: Sequence[dns.Negative]) -> Iterable[dns.Shown]:
    """Every negative picture once."""
    return {shown.wanted: shown for negative in negatives for shown in negative.shown}.values()


def with_text(image: Any, text: str) -> Any:
    """A copy of the picture that carries its infotext."""
    image = image.copy()
    if shared.opts.enable_pnginfo:
        image.info["parameters"] = text
    return image


def save(p, shown: dns.Shown, text: str) -> None:
    """Write a negative picture where the host writes its pictures, if it does."""
    if shared.opts.samples_save and not p.do_not_save_samples:
        images.save_image(shown.image, p.outpath_samples, "", shown.wanted.seed, shown.wanted.prompt, shared.opts.samples_format,
                          info=text, p=p, suffix="-dns")


def save_figure(p, figure: Any, text: str, seed: int, prompt: str, name: str = "four-pictures") -> None:
    """Write a sheet of pictures where the host writes its grids, if it does."""
    if shared.opts.grid_save and not p.do_not_save_grid:
        images.save_image(figure, p.outpath_grids, name, seed, prompt, shared.opts.grid_format, info=text,
                          short_filename=not shared.opts.grid_extended_filename, p=p, grid=True)
