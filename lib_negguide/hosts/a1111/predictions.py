"""Predictions beside the host's own at one model call, and what they change.

They are made in ``on_cfg_denoised`` and change the conditional rows of the output in place: guidance is affine in them, so
adding d to the prompt's prediction adds ``cfg_scale * d`` to the guided one, in eps and in x0 form alike, and the
unconditional prediction (which CFG++ samplers use) stays what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple

import torch
from modules import sd_samplers_common, shared

from lib_negguide import formulas
from lib_negguide.hosts import conditions
from lib_negguide.hosts.a1111.noise import counts_in_timesteps
from lib_negguide.plan import StepPlan
from lib_negguide.removal import Seen

KEY = "negguide_predictions"
"""Attribute of the sampler's model wrapper, which lives as long as one sampling pass."""


@dataclass
class Predictions:
    """What is to be predicted after the host's predictions of the same call.

    ``call``: the host's parameters, read only after all extensions had their turn. ``negatives``: (condition, weight) of
    branches. ``wanted``: for which pictures it is wanted what a removal's words change, under ``without`` (:func:`beside`).
    """

    run: Any
    call: Any
    sigma: float
    scale: float
    step: StepPlan
    negatives: Sequence[Tuple[Any, float]]
    wanted: Sequence[bool] = ()
    without: Any = None

    def apply(self, x_out: torch.Tensor, model) -> None:
        """Change the conditional rows of ``x_out`` (cond rows, then B uncond rows; (rows, C, H, W))."""
        weights = self._prompt_weights()
        d_u = x_out[-len(weights):]
        prompts = x_out[conditions.first_rows(weights)] if any(self.wanted) else None  # before branches change them
        if self.run.watching is not None:
            self.run.watching.end_call()
        if self.negatives:
            everyone = range(len(weights))
            predictions = [(self._predict(model, condition, everyone), weight) for condition, weight in self.negatives]
            if self.step.perp:
                self._add(x_out, weights, formulas.perp_neg(self._guided(x_out, d_u, weights), d_u, predictions))
            else:
                self._add(x_out, weights, formulas.three_branch(d_u, predictions))
        if self.run.current.removing is not None:
            self._remove(x_out, d_u, prompts, weights, model)

    def _remove(self, x_out: torch.Tensor, d_u: torch.Tensor, prompts: Optional[torch.Tensor], weights: List[List[float]], model) -> None:
        """Ask a removal what it changes, and note what it did. ``prompts``: predictions of the pictures' first parts, (B, C, H, W)."""
        removing = self.run.current.removing
        rows = [picture for picture, wanted in enumerate(self.wanted) if wanted]
        words = None
        if rows:
            _, named = self.run.beside(self.call.denoiser.p)
            signs = torch.tensor([-1.0 if named[row] else 1.0 for row in rows]).to(x_out)[:, None, None, None]
            words = signs * (self._predict(model, self.without, rows, prompts=True) - prompts[rows])
        d_c = self._guided(x_out, d_u, weights)
        denoiser = self.call.denoiser
        seen = Seen.of(self.sigma, denoiser.step, self.scale, d_c, d_u, words, self.wanted, x=self.call.x[-len(weights):],
                       is_eps=counts_in_timesteps(denoiser))
        seen.preview = lambda pictures: self._preview(seen, pictures)
        seen.attention = None if self.run.watching is None else self.run.watching.maps
        delta = removing.change(seen)
        if delta is not None:
            self._add(x_out, weights, delta)
        self.run.current.trace.record(self.sigma, self.step, removing.record)

    def _preview(self, seen: Seen, pictures: List[int]) -> List[Any]:
        denoiser, rows = self.call.denoiser, list(pictures)
        guided = formulas.cfg(seen.d_c[rows], seen.d_u[rows], seen.scale)
        x0 = denoiser.get_pred_x0(seen.x[rows], guided, self.call.sigma[-len(seen.x):][rows])
        return [sd_samplers_common.sample_to_image(x0, index, 0) for index in range(len(rows))]

    @staticmethod
    def _add(x_out: torch.Tensor, weights: List[List[float]], delta: torch.Tensor) -> None:
        shares = [(picture, a) for picture, parts in enumerate(weights) for a in conditions.delta_weights(parts)]
        change = torch.stack([delta[picture] * a for picture, a in shares])
        x_out[: len(shares)] += change.to(x_out)

    def _prompt_weights(self) -> List[List[float]]:
        """Weights of the parts of every picture's prompt (several with AND)."""
        cond = self.call.denoiser.sampler.sampler_extra_args["cond"]
        return [[part.weight for part in parts] for parts in cond.batch]

    @staticmethod
    def _guided(x_out: torch.Tensor, d_u: torch.Tensor, weights: List[List[float]]) -> torch.Tensor:
        """d_u + sum_i w_i (p_i - d_u): what the host guides towards."""
        guided, row = [], 0
        for picture, parts in enumerate(weights):
            guided.append(d_u[picture] + sum(w * (x_out[row + i] - d_u[picture]) for i, w in enumerate(parts)))
            row += len(parts)
        return torch.stack(guided)

    def _predict(self, model, condition: Any, pictures: Sequence[int], prompts: bool = False) -> torch.Tensor:
        """The model's prediction under one negative, or of ``prompts``, on the unconditional rows of these pictures; (K, C, H, W)."""
        if self.run.acting is not None:
            self.run.acting.begin_branch(len(pictures), prompts)
        count, rows = len(self._prompt_weights()), list(pictures)
        x, sigma, image_cond = (part[-count:][rows] for part in (self.call.x, self.call.sigma, self.call.image_cond))
        if isinstance(condition, dict):
            cond = {**condition, "c_concat": [image_cond]}
        elif shared.sd_model.model.conditioning_key == "crossattn-adm":
            cond = {"c_crossattn": [condition], "c_adm": image_cond}
        else:
            cond = {"c_crossattn": [condition], "c_concat": [image_cond]}
        return model(x, sigma, cond=cond)


def beside(run: Any, params: Any, wanted: Sequence[bool]) -> Any:
    """The condition of the wanted pictures' prompts beside which a removal's words are seen (:meth:`Run.beside`), at this call."""
    rows = [picture for picture, wants in enumerate(wanted) if wants]
    schedules, _ = run.beside(params.denoiser.p)
    conditions.check_rows(schedules, params.text_uncond)
    _, mark = conditions.split_mark(params.text_cond)
    if mark is not None:
        first = conditions.first_rows(params.denoiser.sampler.sampler_extra_args["cond"].batch)
        mark = mark[[first[row] for row in rows]]
    return conditions.marked(conditions.at_step([schedules[row] for row in rows], params.denoiser.step), mark, params.text_uncond)


def announced(model: Any) -> Optional[Predictions]:
    """What is to be predicted after this call; taken, so that it is done once."""
    return model.__dict__.pop(KEY, None)
