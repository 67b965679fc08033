"""Removal in A1111: what its engine needs of the host in a sampling pass, and passes that are sampled more than once.

The sampler's own method is called again for those (an anchor's run without the removal, a search's windows): so networks,
masks, ControlNet, the refiner are what they are in the request, in each of its passes.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Callable, Iterator, List, Optional, Sequence

import torch
from modules import sd_samplers_common, shared

from lib_negguide import detectors, regions
from lib_negguide import removal as engine
from lib_negguide.errors import HostError, NegGuideError, SettingsError
from lib_negguide.hosts.a1111 import attention, clip, interrogator, masks, photo
from lib_negguide.hosts.a1111.noise import full_run
from lib_negguide.hosts.a1111.records import Calls, Kept, Records, key_of_pass
from lib_negguide.hosts.a1111.repeated import Repeated
from lib_negguide.hosts.a1111.report import answer, tell
from lib_negguide.hosts.a1111.run import Pass, Run
from lib_negguide.hosts.a1111.samplings import Beginning, Jobs, around_next, hires_steps, steps_of
from lib_negguide.plan import joins
from lib_negguide.removal import Removing
from lib_negguide.said import said
from lib_negguide.schedule import inside
from lib_negguide.settings import Dnp, Removal

records = Records()
"""What runs without their removals have left, for the next request that differs in the removal alone."""

OBSERVER = "negguide_observer"
"""Of a ``p`` whose model calls are looked at (``observing.py``)."""

CHOOSES_ITS_CALLS = ("DPM adaptive",)
"""Samplers whose noise levels depend on what is predicted."""


def check(p, settings) -> None:
    """Before anything is sampled: can this be done, and is all there that is needed? Raises :class:`NegGuideError`."""
    remove: Optional[Removal] = settings.remove
    if remove.photo:
        photo.check(p, remove)
    masks.check(p, remove)
    samplers = {"sampler_name": p.sampler_name}
    if getattr(p, "enable_hr", False):
        samplers["hr_sampler_name"] = p.hr_sampler_name or p.sampler_name
    for field, name in samplers.items():
        if remove.anchor and name in CHOOSES_ITS_CALLS:
            raise SettingsError(field, name, "with remove.anchor one whose noise levels do not depend on what it predicts")
    again = "remove.anchor" if remove.anchor else "remove.search" if remove.search == "exhaustive" else None
    if again and settings.dnp is not None and (settings.dnp.scores or settings.dnp.keep_better):
        raise SettingsError("dnp.scores", True, f"false with {again}, which samples the picture several times itself")
    if (remove.search, remove.detector) == ("loop", "clip") or (remove.search, remove.detector) == ("exhaustive", "clip"):
        clip.check()
    elif remove.search == "exhaustive" or (remove.search, remove.detector) == ("loop", "caption"):
        interrogator.check(Dnp())


def that_guides(p, settings) -> Any:
    """The settings, without their removal where the request's guidance cannot remove anything, which is said; a photo is kept as it is."""
    told = [] if settings.remove is None or settings.remove.photo else engine.unguided(p.cfg_scale)
    for text in told:
        tell(p, text)
    return settings.copy(update={"remove": None}) if told else settings


def scale_of(denoiser) -> float:
    """The scale by which the host guides at this call."""
    return denoiser.sampler.sampler_extra_args["cond_scale"] * denoiser.cond_scale_miltiplier


def wanted(current: Pass, denoiser, sigma: float) -> List[bool]:
    """For which pictures the removal's negative is wanted at this call; empty where nothing is removed at it."""
    if current.removing is None:
        if current.remove is not None and not joins(current.remove):
            raise HostError("NegGuide: nothing can be removed: another extension samples in a way of its own")
        return []
    unguided = engine.unguided(scale_of(denoiser))
    for text in unguided:
        tell(denoiser.p, text)
    if unguided:
        return []
    return current.removing.wants(sigma, denoiser.step)


def after_call(run: Run, denoiser, sigma: float, x: torch.Tensor, params) -> None:
    """In ``on_cfg_after_cfg``: note what a run without the removal makes of this call, or keep to it outside the region.

    ``x`` (B, C, h, w): what was predicted from, in the sampler's own scale.
    """
    current = run.current
    if current.recording is not None:
        uncond = denoiser.last_noise_uncond if denoiser.need_last_noise_uncond else None
        current.recording.append(Kept.of(sigma, params.x, uncond))
        return
    kept = current.plain.at(denoiser, sigma, x)
    params.x = current.removing.anchored(params.x, kept.guided.to(params.x))
    if kept.uncond is not None:  # CFG++ goes on in its direction
        denoiser.last_noise_uncond = current.removing.anchored(denoiser.last_noise_uncond, kept.uncond.to(params.x))


@contextmanager
def acting(run: Run) -> Iterator[detectors.Make]:
    """A removal may act inside; what looks at pictures for it is loaded there, and put away."""
    remove = run.settings.remove
    if remove is None:
        with detectors.nobody() as make:
            yield make
        return
    with attention.watching(run) as attend, detectors.opened(
            remove, captioner=partial(interrogator.opened, Dnp()), clip=clip.opened, attention=attend,
            final=remove.search == "exhaustive") as make:
        run.make = partial(_removing, make)
        try:
            yield make
        finally:
            run.make = None


def _removing(make: detectors.Make, p, current: Pass) -> Optional[Removing]:
    """What removes in a pass; ``None`` where nothing does, or an ordinary negative of its plan."""
    remove = current.remove
    if remove is None or joins(remove):
        return None
    count = len(current.box_texts)
    current.trace.removed, current.trace.pictures = remove.text, count
    detector = make(_prompts(p, current.hires)) if remove.search == "loop" else None
    return Removing(remove, count, detector, regions.make(remove, masks.within(p, remove, current.hires)))


def _prompts(p, hires: bool) -> List[str]:
    return list(p.hr_prompts if hires else p.prompts)


def act_in(sampler, run: Run, p) -> None:
    """Let the removal act in the sampler object that is about to sample a pass, once."""

    def around(sample):
        try:
            with acting(run) as make:
                return _Sampling(run, p, sampler, sample, make).samples()
        except NegGuideError as error:
            run.error = answer(p, error)
            raise run.error from error

    around_next(sampler, around)


class _Ended(Exception):
    """The user has ended a sampling; ``samples``: as far as they came."""

    def __init__(self, samples: torch.Tensor):
        self.samples = samples


class _Sampling:
    """One pass of one batch, sampled as often as its removal needs."""

    def __init__(self, run: Run, p, sampler, sample: Callable[[], torch.Tensor], make: detectors.Make):
        self.run, self.p, self.remove, self._sample, self._make = run, p, run.settings.remove, sample, make
        self._beginning = Beginning(p, sampler) if self.remove.anchor or self.remove.search == "exhaustive" else None
        self._sampler, self._region = sampler, None
        self._made = self._spent = 0
        self._plain: Any = None
        self._repeated = Repeated(sampler.model_wrap_cfg) if self._shares() else None
        self._steps = hires_steps(p) if p.is_hr_pass else steps_of(p, None, 1)

    def samples(self) -> torch.Tensor:
        """The latents of the pass, (B, C, h, w)."""
        try:
            if self.remove.photo:
                return self._from_photo()
            if self.remove.anchor:
                self._plain = self._without()
            if self.remove.search == "exhaustive":
                return self._searched()
            samples = self._once(self.remove)
        except _Ended as ended:
            return ended.samples
        note(self.run, self.p, self.run.current, range(len(samples)), self._spent)
        return samples

    def _once(self, remove: Optional[Removal], recording: Optional[Calls] = None) -> torch.Tensor:
        current = self.run.begin_pass_again(self.p, remove)
        current.recording = recording
        current.plain = None if recording is not None or current.removing is None else self._plain
        if self._region is not None and current.removing is not None:
            current.removing.region = self._region
        if self._made:
            self._beginning.again()
        self._made += 1
        with self._repeated.inside() if self._repeated else nullcontext():
            samples = self._sample()
        if self.run.error is not None:
            raise self.run.error
        return samples

    def _shares(self) -> bool:
        """Is the network to be asked but once for what several samplings have in common? Not where somebody looks into it."""
        return self.remove.search == "exhaustive" and self.run.watching is None and not hasattr(self.p, OBSERVER)

    def _evaluations(self) -> float:
        """Predictions, a picture, of the last sampling."""
        trace = self.run.current.trace
        return self._repeated.evaluations(trace) if self._repeated else 2 * len(trace.calls) + trace.extra_of(0)

    def _without(self) -> Calls:
        """What the run without the removal makes of each call, and, where it is made now, what that costs."""
        key = key_of_pass(self.p, self.run, self._sample)
        kept = records.get(key)
        if kept is None:
            kept = Calls()
            with self._another(1, "the picture as it is, to keep the rest of it") as done:
                samples = self._once(None, kept)
                done()
            if _stopped():
                raise _Ended(samples)
            self._spent = round(self._evaluations())
            records.put(key, kept)
        return kept

    def _from_photo(self) -> torch.Tensor:
        """From the photo's own noise; outside the region each call leads back to the photo."""
        photos, before = self._sample.args[1], shared.state.textinfo

        def on_step(number: int, steps: int, _sigma: float) -> None:
            shared.state.textinfo = f"NegGuide: the photo is turned into noise {number + 1}/{steps}"
            if _stopped():
                raise _Ended(photos)

        try:
            inverted = photo.Inverted(self.p, self._sampler, self.remove, self._sample, on_step)
            made = inverted.reconstructions(photos)
        finally:
            shared.state.textinfo = before
        self._plain, self._spent = inverted, inverted.evaluations
        self._region = None if inverted.region is None else regions.Painted(inverted.region)
        self._sample = partial(self._sample.func, self.p, photos, inverted.noise, *self._sample.args[3:], **self._sample.keywords)
        samples = self._once(self.remove)
        note(self.run, self.p, self.run.current, range(len(samples)), self._spent)
        for number, one in enumerate(made):
            self.run.removed_of(self.p.iteration * self.p.batch_size + number).passes[-1]["reconstruction"] = {
                "l1": one.l1, "psnr": min(one.psnr, 99.0), "poor": one.poor}
            if one.poor:
                tell(self.p, f"the photo's {one}")
        return samples

    def _searched(self) -> torch.Tensor:
        """One window after the other, until the thing is gone from every picture; each picture of the first in which it is."""
        remove, hires = self.remove, bool(self.p.is_hr_pass)
        levels = full_run(self.p, hires)
        ends, tried, spent = engine.ends_of(remove, levels), [], self._spent
        detector = self._make(_prompts(self.p, hires))
        found, left, first = None, [], None
        with self._another(len(ends) - 1, f"windows in which {remove.text} goes") as done:
            for end in ends:
                window, last = engine.window_to(remove, end, levels), end == ends[-1]
                if first is not None and not last and (window.stop or 0.0) >= first:
                    continue  # img2img begins behind it
                samples, trace = self._once(window), self.run.current.trace
                if _stopped():
                    raise _Ended(samples if found is None else found)
                if found is None:
                    found, left, first = samples.clone(), list(range(len(samples))), trace.calls[0].sigma
                found[left] = samples[left]
                tried.append(end)
                spent += self._evaluations()
                pictures = [sd_samplers_common.sample_to_image(samples, index, 0) for index in left]
                there = detectors.there(detector, remove, pictures, left)
                gone = [number for number, it_is in zip(left, there) if not it_is]
                others = round(spent) - 2 * len(trace.calls) - trace.extra_of(0)  # all that is not the picture's own sampling
                note(self.run, self.p, self.run.current, left if last else gone, others, {"ends": list(tried), "gone": gone})
                left = [number for number in left if number not in gone]
                if not left or last:
                    break
                done()
        return found

    @contextmanager
    def _another(self, count: int, what: str) -> Iterator[Callable[[], None]]:
        """So many samplings more in the job's progress; call what is given after each but the request's own."""
        jobs, before = Jobs(self.p, count, 1, self._steps), shared.state.textinfo
        shared.state.textinfo = f"NegGuide: {what}"

        def done() -> None:
            jobs.done()
            shared.state.nextjob()

        try:
            yield done
        finally:
            jobs.end()
            shared.state.textinfo = before


def _stopped() -> bool:
    return bool(shared.state.interrupted or shared.state.skipped)


def note(run: Run, p, current: Pass, pictures: Sequence[int], spent: int, search: Optional[dict] = None) -> None:
    """Keep what was done in these pictures of a batch. ``spent``: predictions in samplings that are not the picture's own."""
    trace, remove = current.trace, current.remove
    term = len(current.plan.terms) - 1 if joins(remove) else None
    for number in pictures:
        calls = trace.removing(number) if term is None else trace.acted(term)
        removed = run.removed_of(p.iteration * p.batch_size + number)
        row: Any = {"pass": "hires" if current.hires else "first", "calls": len(trace.calls), "on": calls}
        if term is None:
            seen = [call.removal for call in trace.calls]
            row["presence"] = [None if one is None else one.presence[number] for one in seen]
            row["shares"] = [None if one is None else one.shares[number] for one in seen]
        if search is not None:
            row["search"] = {"ends": search["ends"], "gone": number in search["gone"]}
        row["extra_evaluations"] = trace.extra_of(number) + spent
        removed.passes.append(row)
        removed.told.append(trace.when(calls) if calls else "never")


def tell_what_did_not(run: Run, p) -> None:
    """After a batch: say what kept the removal from acting."""
    remove, sampled = run.settings.remove, [call.sigma for done in run.passes for call in done.trace.calls]
    for text in engine.notes(remove, full_run(p)):
        tell(p, text)
    if not any(inside(sigma, remove.start, remove.stop) for sigma in sampled):
        tell(p, said('"{}" is not removed: no model call of this run falls between start and stop', remove.text))
