"""Schedulers: falling sigmas, with a final 0."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import stats


@dataclass
class Scheduler:
    name: str
    label: str
    function: Any
    default_rho: float = -1
    need_inner_model: bool = False
    aliases: list = None


def _ended(values):
    return torch.tensor([*[float(value) for value in values], 0.0])


def uniform(n, low, high, model):
    return model.get_sigmas(n)


def karras(n, low, high, model, rho=7.0):
    ramp = np.linspace(0, 1, n)
    return _ended((high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho)


def exponential(n, low, high, model):
    return _ended(np.exp(np.linspace(math.log(high), math.log(low), n)))


def sgm_uniform(n, low, high, model):
    return _ended(model.t_to_sigma(torch.linspace(999, 0, n + 1)[:-1]))


def kl_optimal(n, low, high, model):
    ramp = np.linspace(0, 1, n)
    return _ended(np.tan(ramp * math.atan(low) + (1 - ramp) * math.atan(high)))


def align_your_steps(n, low, high, model):
    known = np.log([14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029])
    return _ended(np.exp(np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(known)), known)))


def simple(n, low, high, model):
    return _ended(model.sigmas[-1 - int(i * len(model.sigmas) / n)] for i in range(n))


def normal(n, low, high, model):
    return _ended(model.t_to_sigma(torch.linspace(999, 0, n)))


def ddim(n, low, high, model):
    return _ended(model.sigmas[1::max(len(model.sigmas) // n, 1)].flip(0))


def beta(n, low, high, model):
    return _ended(low + stats.beta.ppf(1 - np.linspace(0, 1, n), 0.6, 0.6) * (high - low))


schedulers = [
    Scheduler("automatic", "Automatic", None),
    Scheduler("uniform", "Uniform", uniform, need_inner_model=True),
    Scheduler("karras", "Karras", karras, default_rho=7.0),
    Scheduler("exponential", "Exponential", exponential),
    Scheduler("polyexponential", "Polyexponential", exponential, default_rho=1.0),
    Scheduler("sgm_uniform", "SGM Uniform", sgm_uniform, need_inner_model=True, aliases=["SGMUniform"]),
    Scheduler("kl_optimal", "KL Optimal", kl_optimal),
    Scheduler("align_your_steps", "Align Your Steps", align_your_steps),
    Scheduler("simple", "Simple", simple, need_inner_model=True),
    Scheduler("normal", "Normal", normal, need_inner_model=True),
    Scheduler("ddim", "DDIM", ddim, need_inner_model=True),
    Scheduler("beta", "Beta", beta, need_inner_model=True),
]
schedulers_map = {key: scheduler for scheduler in schedulers for key in (scheduler.name, scheduler.label)}
