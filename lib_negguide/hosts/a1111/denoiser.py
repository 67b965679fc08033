"""A1111's denoiser: where a plan becomes conditions and predictions.

The unconditional condition is swapped in ``on_cfg_denoiser``, before the host runs the model; what else is predicted
(branches, a removal's negative) in ``on_cfg_denoised``, see ``predictions.py``. Guided predictions of a run without its
removal are noted, and put in place, in ``on_cfg_after_cfg``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import wraps
from typing import Any, List, Optional, Tuple

import torch
from modules import shared

from lib_negguide.errors import HostError, SettingsError
from lib_negguide.hosts import conditions
from lib_negguide.hosts.a1111 import images, predictions, removal
from lib_negguide.hosts.a1111.noise import full_run, sigma_of_call
from lib_negguide.hosts.a1111.report import Refused, answer, tell
from lib_negguide.hosts.a1111.run import Run, run_of
from lib_negguide.plan import StepInfo, Subset
from lib_negguide.said import said
from lib_negguide.settings import Schedule, Settings


def check_model(p) -> None:
    """Raises :class:`HostError` for models in which the plan would mean something else."""
    if shared.sd_model.cond_stage_key == "edit" and getattr(p, "image_cfg_scale", None) not in (None, 1.0):
        raise HostError("NegGuide: InstructPix2Pix checkpoints guide with three branches of their own; "
                        "switch NegGuide off, or set the image CFG scale to 1")
    if getattr(shared.sd_model, "is_sd3", False):
        raise HostError("NegGuide: Stable Diffusion 3 checkpoints are not supported; their noise levels are of another kind")


def check_scale(p) -> None:
    """Raises :class:`SettingsError` where a diffusion-negative picture cannot be guided: the host multiplies its own scale."""
    if not p.cfg_scale:
        raise SettingsError("cfg_scale", p.cfg_scale, "for a diffusion-negative picture another CFG scale than 0")


def settings_in_sigma(p, settings: Settings) -> Settings:
    """All windows in sigma. Fractions and steps are those of the first pass, in ``hires`` those of the hires pass."""
    hires = settings.hires
    if hires is not None:
        hires = _in_sigma(p, hires, hires=bool(getattr(p, "enable_hr", False)))
    return _in_sigma(p, settings.copy(update={"hires": None}), hires=False).copy(update={"hires": hires})


def _in_sigma(p, schedule: Schedule, hires: bool) -> Any:
    windows = [window for _, window in schedule.windows()]
    if getattr(schedule, "dnp", None) is not None:
        windows.append(schedule.dnp.window)
    windows += getattr(schedule, "images", [])
    if getattr(schedule, "remove", None) is not None:
        windows.append(schedule.remove)
    needed = any(w.unit != "sigma" and (w.start, w.stop) != (None, None) for w in windows)
    return schedule.in_sigma(full_run(p, hires) if needed else ())


def on_cfg_denoiser(params) -> None:
    """Callback before the host runs the model: put the planned unconditional condition in place, or fail visibly."""
    run = run_of(params.denoiser.p)
    if run is None:
        return
    try:
        if run.error is not None:
            raise run.error
        uncond = _uncond_of_call(run, params)
    except Exception as error:
        if run.error is None:
            run.error = error if run.nested else answer(params.denoiser.p, error)
        params.text_uncond = Refused(run.error)
    else:
        if uncond is not None:
            params.text_uncond = uncond


def on_cfg_denoised(params) -> None:
    """Callback after the host ran the model: add the negatives that are predicted on their own."""
    images.predicted(params)
    announced = predictions.announced(params.inner_model)
    if announced is None:
        return
    try:
        announced.apply(params.x, params.inner_model)
    except Exception as error:
        announced.run.error = error if announced.run.nested else answer(announced.call.denoiser.p, error)


def on_cfg_after_cfg(params) -> None:
    """Callback after the host has combined its predictions: keep what a removal leaves; what was set for this call is as before."""
    _put_back()
    while _plain:
        run, denoiser, sigma, x = _plain.pop()
        if run.error is not None:
            continue
        try:
            removal.after_call(run, denoiser, sigma, x, params)
        except Exception as error:
            run.error = error if run.nested else answer(denoiser.p, error)


def _put_back() -> None:
    while _borrowed:
        denoiser, name, value = _borrowed.pop()
        setattr(denoiser, name, value)


_plain: List[Tuple[Run, Any, float, torch.Tensor]] = []
"""(run, denoiser, sigma, x of the pictures) of the running model call, where a removal keeps to a run without it, or that is at work."""


_borrowed: List[Tuple[Any, str, Any]] = []
"""(denoiser, attribute, its own value) of the running model call."""


def _borrow(denoiser, name: str, value: Any) -> None:
    _borrowed.append((denoiser, name, getattr(denoiser, name)))
    setattr(denoiser, name, value)


def _uncond_of_call(run: Run, params) -> Optional[Any]:
    """The unconditional condition of this call; ``None`` leaves the host's own, untouched, where that is the right one."""
    denoiser = params.denoiser
    p = denoiser.p
    _put_back()  # the call before may have failed
    _plain.clear()
    current = run.current
    if current is None or current.hires != bool(p.is_hr_pass):
        current = run.begin_pass(p)
    if current.checkpoint != shared.sd_model.sd_checkpoint_info:  # the refiner has taken over
        run.encode(p)
    sigma = sigma_of_call(denoiser, params.sigma)
    step = current.plan.at(StepInfo(sigma, denoiser.step))
    host, mark = conditions.split_mark(params.text_uncond)

    def condition(subset: Subset) -> Any:
        if subset == current.box:
            return host
        schedules = run.schedules(p, subset)
        conditions.check_rows(schedules, host)
        return conditions.at_step(schedules, denoiser.step)

    if current.recording is not None or current.plain is not None:
        _plain.append((run, denoiser, sigma, params.x[-len(current.box_texts):]))
    skipped = current.away is None and _host_skips_uncond(denoiser, params.sigma)
    shown = images.announce(run, params, sigma, skipped)
    if current.away is not None:
        _away_from_prompt(denoiser, current.away)
    elif skipped:
        current.skipped_calls += 1
        current.trace.record(sigma, replace(step, strengths=(*(0.0 for _ in step.strengths), *shown), branches=()))
        return None
    negatives = [(conditions.marked(condition((term,)), mark, params.text_uncond), weight) for term, weight in step.branches]
    uncond = None
    if step.uncond != ((current.box, 1.0),):
        parts = [(condition(subset), coefficient) for subset, coefficient in step.uncond]
        uncond = conditions.marked(conditions.weighted(parts), mark, params.text_uncond)
    if current.away is None:
        _warn_of_call(p, denoiser, params, uncond)
    step = replace(step, strengths=(*step.strengths, *shown))
    wanted, without = removal.wanted(current, denoiser, sigma), None
    if any(wanted):
        without = predictions.beside(run, params, wanted)
    if negatives or wanted:
        scale = removal.scale_of(denoiser)
        setattr(denoiser.inner_model, predictions.KEY, predictions.Predictions(run, params, sigma, scale, step, negatives, wanted, without))
    if wanted and run.watching is not None:
        run.watching.begin(params)
    if not wanted:
        current.trace.record(sigma, step)
    return uncond


def _host_skips_uncond(denoiser, sigma: torch.Tensor) -> bool:
    """Does the host leave out the unconditional prediction at this call, as its two options ask it to?"""
    opts = shared.opts
    if opts.skip_early_cond != 0.0 and denoiser.step / denoiser.total_steps <= opts.skip_early_cond:
        return True
    s_min_uncond = denoiser.sampler.s_min_uncond or 0.0
    return bool((denoiser.step % 2 or opts.s_min_uncond_all) and s_min_uncond > 0 and sigma[0] < s_min_uncond)


def _away_from_prompt(denoiser, s: float) -> None:
    """Eq. 19 for this call: eps_empty + (-s) (eps_prompt - eps_empty). The host multiplies its scale by the denoiser's factor."""
    _borrow(denoiser, "cond_scale_miltiplier", -s / denoiser.sampler.sampler_extra_args["cond_scale"])
    if shared.opts.skip_early_cond != 0.0:  # would give the prompt's own picture; no comparison with nan is true
        _borrow(denoiser, "total_steps", math.nan)


def _warn_of_call(p, denoiser, params, uncond: Optional[Any]) -> None:
    """Say what in the host's own options keeps a negative from acting."""
    if p.cfg_scale * denoiser.cond_scale_miltiplier == 1.0 and run_of(p).current.plan.combine == "join":
        tell(p, "CFG scale 1 uses no negative prompt, so no negative acts")
    longer = uncond is not None and uncond.shape[1] > params.text_cond.shape[1]
    if longer and shared.opts.pad_cond_uncond_v0:
        tell(p, said('the setting "Pad prompt/negative prompt (v0)" cuts negatives off after {} tokens', params.text_cond.shape[1]))


def before_sampling(p, uc: Any) -> None:
    """Once before each sampling pass: plan and encode; level negatives of unequal length, which the host cannot stack."""
    run = run_of(p)
    if run is None or run.error is not None:
        return
    try:
        run.begin_pass(p)
        if run.settings.dns is not None:
            if run.s_min_uncond is None:  # not yet the hires pass
                run.s_min_uncond = p.s_min_uncond
            p.s_min_uncond = 0.0  # where the host skips the empty prompt it gives the prompt's own picture
        levelled = conditions.levelled(uc)
        if levelled is not None:
            _hand_over(p.sampler, uc, levelled)
        if run.current.images is not None:
            images.act_in(p.sampler, run, p)
        if run.settings.remove is not None:
            removal.act_in(p.sampler, run, p)
    except Exception as error:
        run.error = answer(p, error)


def _hand_over(sampler, old: Any, new: Any) -> None:
    """Let this sampler object, made for this pass, take ``new`` where it is given ``old``."""

    def exchanged(method):
        @wraps(method)
        def call(*args, **kwargs):
            args = [new if arg is old else arg for arg in args]
            return method(*args, **{key: new if arg is old else arg for key, arg in kwargs.items()})
        return call

    sampler.sample = exchanged(sampler.sample)
    sampler.sample_img2img = exchanged(sampler.sample_img2img)


def after_sampling(p, args) -> None:
    """Once after a batch was sampled: raise what went wrong last; say by name what did not act."""
    run = run_of(p)
    if run is None:
        return
    if run.s_min_uncond is not None:
        p.s_min_uncond, run.s_min_uncond = run.s_min_uncond, None
    if run.error is not None:
        args.samples = Refused(run.error)
        return
    if shared.state.interrupted or shared.state.skipped or shared.state.stopping_generation:
        return
    calls = sum(len(done.trace.calls) for done in run.passes)
    if not calls:
        tell(p, said('did not act: the CFG denoiser callback never came for sampler "{}"; '
                     "another extension has probably replaced the sampler or the denoiser", p.sampler_name))
        return
    if run.settings.remove is not None:
        removal.tell_what_did_not(run, p)
    for name in _never(run):
        tell(p, said('"{}" did not act: no model call of this run falls into its window', name))
    skipped = sum(done.skipped_calls for done in run.passes)
    if skipped:
        tell(p, said('at {} of {} calls the host skipped the negative prompt, as its options '
                     '"Negative Guidance minimum sigma" or "Ignore negative prompt during early sampling" ask', skipped, calls))


def _never(run: Run) -> List[str]:
    """Names, shortened, of terms and pictures that could act, but no call of any pass was in their window."""
    met = {}
    for done in run.passes:
        for index, name in enumerate(done.trace.names):
            if index >= len(done.plan.terms) or done.plan.terms[index].window.weight > 0:  # pictures without weight are not there
                met[name] = met.get(name, False) or done.skipped_calls > 0 or bool(done.trace.acted(index))
    return [name if len(name) <= 40 else name[:37] + "..." for name, any_call in met.items() if not any_call]
