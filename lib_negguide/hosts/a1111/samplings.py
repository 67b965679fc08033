"""Samplings beside the request's own: their share of the job's progress, and what they draw from, which has to be put back."""

from __future__ import annotations

import random
from copy import copy, deepcopy
from functools import partial, wraps
from typing import Any, Callable, Dict, Optional

import torch
from modules import devices, processing, rng, sd_models, sd_samplers_common, shared

from lib_negguide.dns import Interrupted

IMG2IMG = processing.StableDiffusionProcessingImg2Img


class Stopped(Interrupted):
    """The user ended a nested generation; ``skipped``: only that one, the request goes on."""

    def __init__(self, skipped: bool):
        super().__init__()
        self.skipped = skipped


def stop_if_asked() -> None:
    """Raises :class:`Stopped` where the user has asked for it; a skip is taken by that."""
    state = shared.state
    if state.interrupted or state.stopping_generation:
        raise Stopped(skipped=False)
    if state.skipped:
        state.skipped = False  # the request's own batches are not meant
        raise Stopped(skipped=True)


def generators(states: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
    """The states of all global random generators; given some, sets them."""
    kinds = {"python": (random.getstate, random.setstate), "torch": (torch.get_rng_state, torch.set_rng_state)}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        kinds["cuda"] = torch.cuda.get_rng_state_all, torch.cuda.set_rng_state_all
    if devices.device.type == "mps":
        kinds["mps"] = torch.mps.get_rng_state, torch.mps.set_rng_state
    if hasattr(rng, "nv_rng"):
        kinds["nv"] = (lambda: copy(rng.nv_rng)), (lambda state: setattr(rng, "nv_rng", state))
    if states is None:
        return {kind: get() for kind, (get, _) in kinds.items()}
    for kind, (_, put) in kinds.items():
        if kind in states:
            put(states[kind])
    return states


class Beginning:
    """What a sampling pass of ``p`` begins with, as it is now, so that the same call of the sampler can be made again."""

    def __init__(self, p, sampler):
        self._p, self._sampler = p, sampler
        self._noise, self._generators = _copy_of(p.rng), generators()
        self._checkpoint = shared.sd_model.sd_checkpoint_info

    def again(self) -> None:
        """As at the beginning: the noise of the pictures, the global generators, the checkpoint (the refiner may have taken over)."""
        self._p.rng = _copy_of(self._noise)
        generators(self._generators)
        if shared.sd_model.sd_checkpoint_info != self._checkpoint:
            with sd_models.SkipWritingToConfig():
                sd_models.reload_model_weights(info=self._checkpoint)
            self._p.setup_conds()
            denoiser = self._sampler.model_wrap_cfg
            denoiser.model_wrap = None
            self._sampler.model_wrap = denoiser.inner_model


def _copy_of(noise: Any) -> Any:
    own = copy(noise)
    own.generators = [_generator(generator) for generator in noise.generators]
    return own


def _generator(generator: Any) -> Any:
    if not isinstance(generator, torch.Generator):  # the host's own kinds
        return deepcopy(generator)
    own = torch.Generator(generator.device)
    own.set_state(generator.get_state())
    return own


def around_next(sampler, around: Callable[[Callable[[], Any]], Any]) -> None:
    """Let the next sampling of a sampler object be ``around(sample)``, where ``sample()`` does what it would have done.

    img2img keeps its sampler for the next batch; so the object is as before when ``around`` is called.
    """
    own = {name: sampler.__dict__.get(name) for name in ("sample", "sample_img2img")}

    def wrapped(method):
        @wraps(method)
        def call(*args, **kwargs):
            for name, before in own.items():
                sampler.__dict__.pop(name, None) if before is None else setattr(sampler, name, before)
            return around(partial(method, *args, **kwargs))
        return call

    for name in own:
        setattr(sampler, name, wrapped(getattr(sampler, name)))


def steps_of(p, steps: Optional[int], passes: int) -> int:
    """Model steps of one sampling with all its passes, for the console's bar."""
    if isinstance(p, IMG2IMG):
        probe = copy(p)
        probe.steps = steps or p.steps
        return sd_samplers_common.setup_img2img_steps(probe)[1] + 1
    return (steps or p.steps) + (passes - 1) * hires_steps(p)


def hires_steps(p) -> int:
    return getattr(p, "hr_second_pass_steps", 0) or p.steps


class Jobs:
    """The samplings in the progress of the whole: added at the start, those that did not happen taken out at the end.

    Counts the request's own jobs too where the host has not yet, as it would.
    """

    def __init__(self, p, count: int, passes: int, steps: int):
        self.left, self.passes = count, passes
        state, bar = shared.state, shared.total_tqdm
        hires = bool(getattr(p, "enable_hr", False))
        total = getattr(getattr(bar, "_tqdm", None), "total", None)
        if state.job_count == -1:
            state.job_count, total = p.n_iter, None
        own = state.job_count
        if hires and not state.processing_has_refined_job_count:
            state.job_count *= 2
            state.processing_has_refined_job_count = True
            total = None
        state.job_count += count * passes
        if total is None:
            total = own * (p.steps + hires_steps(p) * hires)
        bar.updateTotal(total + count * steps)

    def done(self) -> None:
        self.left -= 1

    def end(self) -> None:
        shared.state.job_count -= self.left * self.passes
