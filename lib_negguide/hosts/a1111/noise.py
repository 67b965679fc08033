"""Noise levels in A1111: of a model call, and of a whole run."""

from __future__ import annotations

import copy
import inspect
from types import SimpleNamespace
from typing import List

import numpy as np
import torch
from modules import processing, sd_samplers, sd_samplers_common, shared
from modules.models.diffusion.uni_pc import uni_pc


def sigmas_of_timesteps(timesteps: torch.Tensor) -> torch.Tensor:
    """Training timesteps (any shape, may be fractional) to sigma; ln sigma is interpolated between them."""
    alphas_cumprod = shared.sd_model.alphas_cumprod
    timesteps = timesteps.to(alphas_cumprod.device, torch.float64).clamp(0, len(alphas_cumprod) - 1)
    below = timesteps.floor()

    def log_sigma(index: torch.Tensor) -> torch.Tensor:
        alpha = alphas_cumprod[index.long()].double()
        return 0.5 * ((1.0 - alpha) / alpha).log()

    return torch.lerp(log_sigma(below), log_sigma(timesteps.ceil()), timesteps - below).exp()


def counts_in_timesteps(denoiser) -> bool:
    """Do this denoiser's calls carry timesteps (DDIM, PLMS, UniPC) instead of sigmas?"""
    return not hasattr(denoiser.inner_model, "sigmas")


def sigma_of_call(denoiser, sigma: torch.Tensor) -> float:
    """Noise level of a model call, from the (rows,) tensor that the callback gets; units of sigma."""
    level = sigma.max()
    return float(sigmas_of_timesteps(level) if counts_in_timesteps(denoiser) else level)


def full_run(p, hires: bool = False) -> List[float]:
    """The falling sigmas of a pass, as if it started from pure noise.

    Under img2img and in the hires pass the host samples only the end of these. DPM fast and
    DPM adaptive choose their own: taken as even in ln sigma, which DPM fast nearly is.
    """
    probe = copy.copy(p)
    probe.extra_generation_params = {}  # asking for the sigmas notes the scheduler there
    probe.is_hr_pass = hires
    sampler = sd_samplers.create_sampler((p.hr_sampler_name if hires else None) or p.sampler_name, shared.sd_model)
    steps = p.steps
    if hires:
        steps, _ = sd_samplers_common.setup_img2img_steps(p, p.hr_second_pass_steps or p.steps)
    elif isinstance(p, processing.StableDiffusionProcessingImg2Img):
        steps, _ = sd_samplers_common.setup_img2img_steps(p)
    steps = max(steps, 1)
    if hasattr(sampler, "get_timesteps"):
        timesteps = sampler.get_timesteps(probe, steps).flip(0).double()
        if sampler.config.name == "UniPC":
            timesteps = _unipc_timesteps(len(timesteps))
        elif len(timesteps) > 1:
            timesteps = timesteps[:-1]
        return sigmas_of_timesteps(timesteps).tolist()
    parameters = inspect.signature(sampler.func).parameters
    if "sigmas" in parameters:
        return [sigma for sigma in sampler.get_sigmas(probe, steps).tolist() if sigma > 0.0]
    low, high = (np.log(float(end)) for end in (sampler.model_wrap.sigmas[0], sampler.model_wrap.sigmas[-1]))
    return np.exp(np.linspace(high, low, steps + 1)[:-1]).tolist()


def _unipc_timesteps(steps: int) -> torch.Tensor:
    """Timesteps at which UniPC calls the model, falling; (steps,)."""
    schedule = uni_pc.NoiseScheduleVP("discrete", alphas_cumprod=shared.sd_model.alphas_cumprod)
    times = uni_pc.UniPC.get_time_steps(
        SimpleNamespace(noise_schedule=schedule), shared.opts.uni_pc_skip_type, schedule.T, 1.0 / schedule.total_N, steps, "cpu")
    return (times[:-1].double() - 1.0 / schedule.total_N) * 1000.0
