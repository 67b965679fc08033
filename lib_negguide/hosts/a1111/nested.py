"""Pictures within a request: a generation of its own, before or between the request's batches, that leaves no trace.

The host has one job at a time, and most of what a generation touches is global: options, token merging, LoRA,
random generators, the progress of the job. Here a copy of the request's ``p`` is processed, and all of it is put back.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from copy import copy
from functools import partial
from typing import Any, Callable, Iterator, List, Optional, Sequence, Tuple, Union

import torch
from modules import extra_networks, processing, sd_models, shared
from modules.sd_hijack import model_hijack

from lib_negguide.hosts import conditions
from lib_negguide.hosts.a1111 import images, removal
from lib_negguide.hosts.a1111.denoiser import check_model, settings_in_sigma
from lib_negguide.hosts.a1111.run import ATTRIBUTE, Run
from lib_negguide.hosts.a1111.samplings import IMG2IMG, Jobs, Stopped, generators, steps_of, stop_if_asked
from lib_negguide.settings import Dns, Settings

__all__ = ["Stopped", "nested", "stop_if_asked", "undisturbed"]

_OF_ONE_RUN = ("sampler", "rng", "c", "uc", "hr_c", "hr_uc", "mask_for_overlay", "overlay_images", "color_corrections", "paste_to",
               "mask", "nmask", "init_latent", "image_conditioning", "extra_network_data")
"""Attributes of ``p`` that a generation fills in by itself."""


def nested(
    p,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    subseeds: Optional[Sequence[Optional[int]]] = None,
    negative_prompts: Union[str, Sequence[str]] = "",
    dns: Optional[Dns] = None,
    settings: Optional[Settings] = None,
    steps: Optional[int] = None,
    size: Optional[Tuple[int, int]] = None,
    hires_prompts: Optional[Tuple[Sequence[str], Sequence[str]]] = None,
    label: str = "diffusion-negative picture",
) -> List[Any]:
    """One picture (Pillow) for each prompt and seed, made as ``p`` would be, without the scripts of other extensions.

    ``p``: the host's processing object, of txt2img or img2img; it and all global state are left as they were, in
    success and failure. ``prompts``, ``negative_prompts``: final texts, styles are not applied to them.
    ``subseeds``: for a ``p`` with a subseed strength. ``dns``: make diffusion-negative pictures.
    ``settings``: or what else NegGuide does in them. ``steps``, ``size`` (width, height in pixels):
    instead of the request's. ``hires_prompts`` (prompts, negative prompts): with the request's hires pass, which is
    left out otherwise. ``label``: for the progress bar.

    Pictures are made in batches of the request's size (img2img one by one: its VAE encoder draws noise by position, and
    a picture shall not depend on its neighbours). They come as sampled: without face restoration, colour correction
    and the overlay of inpainting. Progress, preview, interrupt and skip work as in any job, which must have begun.
    Raises :class:`Stopped` when the user ends it: nothing half-done is given.
    """
    count = len(prompts)
    negative_prompts = [negative_prompts] * count if isinstance(negative_prompts, str) else list(negative_prompts)
    subseeds = list(subseeds) if subseeds is not None else [None] * count
    batch = 1 if isinstance(p, IMG2IMG) else max(1, int(p.batch_size))
    cuts = [slice(at, at + batch) for at in range(0, count, batch)]
    wanted = settings if dns is None else Settings(dns=dns)
    passes = 2 if hires_prompts else 1
    images: List[Any] = []
    with undisturbed(p):
        jobs = Jobs(p, len(cuts), passes, steps_of(p, steps, passes))
        try:
            for number, cut in enumerate(cuts):
                shared.state.textinfo = f"NegGuide: {label}" + (f" {number + 1}/{len(cuts)}" if len(cuts) > 1 else "")
                own = _copy(p, prompts[cut], seeds[cut], subseeds[cut], negative_prompts[cut], steps, size, dns is not None)
                if hires_prompts:
                    own.enable_hr, own.refiner_checkpoint = True, p.refiner_checkpoint
                    own.hr_prompt, own.hr_negative_prompt = (list(texts[cut]) for texts in hires_prompts)
                images += _made(own, wanted)
                jobs.done()
                stop_if_asked()
        finally:
            jobs.end()
        if images and shared.opts.live_previews_enable:
            shared.state.assign_current_image(images[-1])
    return images


def _copy(p, prompts, seeds, subseeds, negative_prompts, steps, size, dns: bool) -> Any:
    """A ``p`` for one batch that shares nothing with the request's which a generation changes."""
    own = copy(p)
    for name, value in list(vars(own).items()):
        if isinstance(value, (dict, list, set)):  # also the caches of conditions, which are the class's
            setattr(own, name, copy(value))
        elif callable(value) and callable(getattr(type(own), name, None)):  # an extension's method over the class's
            delattr(own, name)
    for name in _OF_ONE_RUN:
        if hasattr(own, name):
            setattr(own, name, None)
    own.__dict__.pop(ATTRIBUTE, None)
    own.scripts = None
    own.extra_generation_params, own.comments, own.styles = {}, {}, []
    own.do_not_save_samples = own.do_not_save_grid = True
    own.override_settings_restore_afterwards = True
    own.restore_faces = False
    own.color_corrections = []  # not None: the option must not ask for them
    own.is_hr_pass, own.iteration, own.n_iter, own.batch_size = False, 0, 1, len(prompts)
    own.prompt, own.negative_prompt = list(prompts), list(negative_prompts)
    own.seed = list(seeds)
    own.subseed = [0 if subseed is None else subseed for subseed in subseeds]
    if getattr(own, "enable_hr", False):
        if shared.opts.hires_fix_refiner_pass == "second pass":  # the request's first pass goes without
            own.refiner_checkpoint = None
        own.enable_hr = False
    own.steps = steps or own.steps
    if dns:
        own.s_min_uncond = 0.0  # where the host skips the empty prompt it gives the prompt's own picture
    own.width, own.height = size or (own.width, own.height)
    return own


def _made(own, settings: Optional[Settings]) -> List[Any]:
    run = None
    if settings is not None:
        run = Run(own, settings, nested=True)
        setattr(own, ATTRIBUTE, run)
    began_with = []

    def sample(conditioning, unconditional_conditioning, *args, **kwargs):
        began_with.append(shared.sd_model.sd_checkpoint_info)
        own.overlay_images = own.mask_for_overlay = own.color_corrections = None
        if run is not None:
            check_model(own)
            run.settings = settings_in_sigma(own, run.settings)
        level = conditions.levelled(unconditional_conditioning)
        with ExitStack() as acting:
            if run is not None:
                acting.enter_context(images.acting(run))
                acting.enter_context(removal.acting(run))
                run.begin_pass(own)
            samples = type(own).sample(own, conditioning, unconditional_conditioning if level is None else level, *args, **kwargs)
        if run is not None and run.error is not None:
            raise run.error
        return samples

    own.sample = sample
    torch.manual_seed(own.seed[0])  # img2img's VAE encoder draws from the global generator
    try:
        return list(processing.process_images(own).images)
    except BaseException:
        if not own.disable_extra_networks and own.extra_network_data:
            extra_networks.deactivate(own, own.extra_network_data)
        raise
    finally:
        if began_with and shared.sd_model.sd_checkpoint_info != began_with[0]:  # the refiner is still there
            with sd_models.SkipWritingToConfig():
                sd_models.reload_model_weights(info=began_with[0])


@contextmanager
def undisturbed(p) -> Iterator[None]:
    """What generations and captioners change in the host beside job and queue is afterwards as it was before."""
    keep: List[Callable[[], None]] = []

    def attribute(owner: Any, name: str) -> None:
        if hasattr(owner, name):
            value = getattr(owner, name)
            keep.append(lambda: setattr(owner, name, value))

    def content(container: Any) -> None:
        before = copy(container)

        def put_back() -> None:
            container.clear()
            container.update(before) if isinstance(container, dict) else container.extend(before)

        keep.append(put_back)

    def option(name: str) -> None:  # the host does not put back overrides of options that were never saved
        data = shared.opts.data
        keep.append(partial(data.__setitem__, name, data[name]) if name in data else partial(data.pop, name, None))

    states = generators()
    for name in p.override_settings:
        option(name)
    attribute(shared.state, "textinfo")
    attribute(shared.cmd_opts, "no_prompt_history")
    content(model_hijack.extra_generation_params)
    content(model_hijack.comments)
    ratio = getattr(shared.sd_model, "applied_token_merged_ratio", 0)
    shared.cmd_opts.no_prompt_history = True  # params.txt is the request's
    try:
        yield
    finally:
        for put_back in keep:
            put_back()
        sd_models.apply_token_merging(shared.sd_model, ratio)
        generators(states)
