"""Looking on while A1111 samples: directions of guidance, attention, and x0 previews at chosen calls. Changes no picture.

Of a ``p`` that carries an :class:`Observer` every model call is seen twice: :func:`before` NegGuide changes the predictions, and
:func:`after`. Only what is asked for is computed; the two predictions of the norms are the observer's own.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from modules import sd_samplers_common

from lib_negguide.errors import NegGuideError
from lib_negguide.hosts import conditions
from lib_negguide.hosts.a1111.attention import Looking
from lib_negguide.hosts.a1111.noise import counts_in_timesteps, sigma_of_call
from lib_negguide.hosts.a1111.predictions import Predictions
from lib_negguide.hosts.a1111.run import encoded, run_of
from lib_negguide.workbench.directions import chosen, directions

ATTRIBUTE = "negguide_observer"
"""Of a ``p``."""
KEY = "negguide_observed"
"""Attribute of the sampler's model wrapper during one call: (observer, the call)."""


class Observer:
    """What was seen of one picture: ``norms``, one a call; ``previews``, (call, Pillow image); ``sigmas`` of all calls; ``maps``.

    Of a picture that is sampled several times (a removal that keeps the rest), the last time. ``attended``: the negative whose words,
    and the prompt's, are looked for in the picture's attention; ``None`` for no maps. ``notes``: what could not be seen.
    """

    def __init__(self, negative: str, count: int, attended: Optional[str] = None):
        self.negative, self.count, self.attended = negative, count, attended
        self.notes: List[str] = []
        self.maps: Optional[Looking] = None
        self._schedules: List[Sequence[Any]] = []
        self._pass: Any = None
        self._begin()

    def _begin(self) -> None:
        self.norms: List[Dict[str, float]] = []
        self.previews: List[Tuple[int, Any]] = []
        self.sigmas: List[float] = []
        self.close()
        self.maps = None if self.attended is None else Looking(self.attended)

    @property
    def wanted(self) -> bool:
        """Is there anything to look at?"""
        return bool(self.negative or self.count or self.attended is not None)

    def begin_call(self, params) -> None:
        """The host will predict; another sampling of the same picture may have begun."""
        run = run_of(params.denoiser.p)
        now = None if run is None else run.current
        if now is not self._pass:
            self._pass = now
            self._begin()
        self._attend(lambda: self.maps.begin(params))

    def _attend(self, what) -> None:
        """Maps that cannot be had are a note, not an error."""
        if self.maps is None:
            return
        try:
            what()
        except NegGuideError as error:
            self.notes.append(str(error))
            self.close()
            self.attended = self.maps = None

    def called(self, sigma: float) -> None:
        """The model has predicted what the host asked for."""
        self.sigmas.append(sigma)
        self._attend(lambda: self.maps.take(sigma))

    @property
    def history(self) -> Any:
        """What was kept of attention, or ``None``."""
        return None if self.maps is None else self.maps.history

    def close(self) -> None:
        """No hook stays."""
        if self.maps is not None:
            self.maps.close()

    def conditions(self, p, step: int) -> List[Any]:
        """Those of the empty prompt and of the negative."""
        if not self._schedules:
            self._schedules = [encoded(p, [text], False, [None, None, None]) for text in ("", self.negative)]
        return [conditions.at_step(schedules, step) for schedules in self._schedules]


class Observed(Predictions):
    """One call that is looked at."""

    @classmethod
    def of(cls, params) -> Observed:
        return cls(SimpleNamespace(acting=None), params, sigma_of_call(params.denoiser, params.sigma), 0.0, None, ())

    def norms(self, observer: Observer, x_out: torch.Tensor, model) -> Dict[str, float]:
        denoiser, weights = self.call.denoiser, self._prompt_weights()
        d_u, d_n = (self._predict(model, condition, [0]) for condition in observer.conditions(denoiser.p, denoiser.step))
        d_p = self._guided(x_out, x_out[-len(weights):], weights)
        return directions(d_p[:1], d_u, d_n, self.sigma, counts_in_timesteps(denoiser))

    def preview(self, x_out: torch.Tensor) -> Any:
        """The guided x0 of the first picture, decoded."""
        denoiser, weights = self.call.denoiser, self._prompt_weights()
        count = len(weights)
        d_u = x_out[-count:]
        scale = denoiser.sampler.sampler_extra_args["cond_scale"] * denoiser.cond_scale_miltiplier
        guided = d_u + scale * (self._guided(x_out, d_u, weights) - d_u)
        x0 = denoiser.get_pred_x0(self.call.x[-count:][:1], guided[:1], self.call.sigma[-count:][:1])
        return sd_samplers_common.sample_to_image(x0, 0, 0)


def on_cfg_denoiser(params) -> None:
    """Callback before the model runs: is anybody looking?"""
    observer = getattr(params.denoiser.p, ATTRIBUTE, None)
    if observer is not None:
        observer.begin_call(params)
        params.denoiser.inner_model.__dict__[KEY] = observer, Observed.of(params)


def before(params) -> None:
    """Callback after the model ran, before NegGuide's own: the predictions are the model's."""
    observer, seen = params.inner_model.__dict__.get(KEY, (None, None))
    if observer is None:
        return
    observer.called(seen.sigma)
    if observer.negative:
        observer.norms.append(seen.norms(observer, params.x, params.inner_model))


def after(params) -> None:
    """Callback after NegGuide's own: the predictions are those that guide."""
    observer, seen = params.inner_model.__dict__.pop(KEY, (None, None))
    if observer is None or not observer.count:
        return
    call = len(observer.sigmas) - 1
    if call in chosen(observer.count, int(params.total_sampling_steps)):
        observer.previews.append((call, seen.preview(params.x)))
