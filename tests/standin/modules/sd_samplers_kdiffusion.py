"""Samplers over sigma."""

import inspect

import torch
from modules import sampling_sigma, sd_samplers_cfg_denoiser, sd_samplers_common, sd_schedulers, shared
from modules.sd_model import Denoiser

from lib_negguide.hosts.embedded import samplers

_2ND, _SDE = {"scheduler": "karras", "second_order": True}, {"scheduler": "exponential"}
SAMPLERS = [
    ("DPM++ 2M", samplers.dpmpp_2m, ["k_dpmpp_2m"], {"scheduler": "karras"}),
    ("DPM++ SDE", sampling_sigma.dpmpp_sde, ["k_dpmpp_sde"], _2ND),
    ("DPM++ 2M SDE", sampling_sigma.dpmpp_2m_sde, ["k_dpmpp_2m_sde"], _SDE),
    ("DPM++ 2S a", sampling_sigma.dpmpp_2s_ancestral, ["k_dpmpp_2s_a"], _2ND),
    ("DPM++ 3M SDE", sampling_sigma.dpmpp_2m_sde, ["k_dpmpp_3m_sde"], {**_SDE, "discard_next_to_last_sigma": True}),
    ("Euler a", samplers.euler_ancestral, ["k_euler_a", "k_euler_ancestral"], {}),
    ("Euler", samplers.euler, ["k_euler"], {}),
    ("LMS", sampling_sigma.lms, ["k_lms"], {}),
    ("Heun", samplers.heun, ["k_heun"], {"second_order": True}),
    ("DPM2", sampling_sigma.dpm_2, ["k_dpm_2"], {**_2ND, "discard_next_to_last_sigma": True}),
    ("DPM2 a", sampling_sigma.dpm_2_ancestral, ["k_dpm_2_a"], {**_2ND, "discard_next_to_last_sigma": True}),
    ("DPM fast", sampling_sigma.dpm_fast, ["k_dpm_fast"], {}),
    ("DPM adaptive", sampling_sigma.dpm_adaptive, ["k_dpm_ad"], {}),
    ("Restart", sampling_sigma.restart, ["restart"], _2ND),
    ("LCM", sampling_sigma.lcm, ["k_lcm"], {}),
]


class CFGDenoiserKDiffusion(sd_samplers_cfg_denoiser.CFGDenoiser):
    @property
    def inner_model(self):
        if self.model_wrap is None:
            self.model_wrap = Denoiser(shared.sd_model)
        return self.model_wrap


class KDiffusionSampler(sd_samplers_common.Sampler):
    def __init__(self, function, config):
        super().__init__(function, config)
        self.model_wrap_cfg = CFGDenoiserKDiffusion(self)
        self.model_wrap = self.model_wrap_cfg.inner_model

    def get_sigmas(self, p, steps):
        drop = self.config.options.get("discard_next_to_last_sigma", False) or shared.opts.always_discard_next_to_last_sigma
        label = (p.hr_scheduler if p.is_hr_pass else p.scheduler) or "Automatic"
        scheduler = sd_schedulers.schedulers_map.get(self.config.options.get("scheduler") if label == "Automatic" else label)
        count = steps + 1 if drop else steps
        if scheduler is None or scheduler.function is None:
            sigmas = self.model_wrap.get_sigmas(count)
        else:
            key = "Hires schedule type" if p.is_hr_pass else "Schedule type"
            if p.is_hr_pass is False or scheduler.label != p.extra_generation_params.get("Schedule type"):
                p.extra_generation_params[key] = scheduler.label
            low, high = float(self.model_wrap.sigmas[0]), float(self.model_wrap.sigmas[-1])
            sigmas = scheduler.function(count, shared.opts.sigma_min or low, shared.opts.sigma_max or high, self.model_wrap)
        return torch.cat([sigmas[:-2], sigmas[-1:]]) if drop else sigmas

    def _sample(self, p, x, sigmas, steps):
        wanted = inspect.signature(self.func).parameters
        levels = {"sigmas": sigmas, "sigma_max": float(sigmas[0]), "sigma_min": float(sigmas[-2]), "n": len(sigmas) - 1}

        def denoise(x, sigma):
            x0 = self.model_wrap_cfg(x, x.new_full((x.shape[0],), float(sigma)), **self.sampler_extra_args)
            done = int((sigmas > sigma).sum())
            self.callback_state({"x": x, "i": done, "sigma": sigma, "sigma_hat": sigma, "denoised": x0})
            return x0

        known = {name: value for name, value in levels.items() if name in wanted}
        return self.launch_sampling(steps, lambda: self.func(denoise, x, noise=p.rng.next, **known))

    def sample(self, p, x, conditioning, unconditional_conditioning, steps=None, image_conditioning=None):
        steps = steps or p.steps
        sigmas = self.get_sigmas(p, steps)
        self.prepare(p, conditioning, unconditional_conditioning, image_conditioning)
        self.last_latent = x = x * sigmas[0]
        return self._sample(p, x, sigmas, steps)

    def sample_img2img(self, p, x, noise, conditioning, unconditional_conditioning, steps=None, image_conditioning=None):
        steps, last = sd_samplers_common.setup_img2img_steps(p, steps)
        sigmas = self.get_sigmas(p, steps)[steps - last - 1:]
        self.prepare(p, conditioning, unconditional_conditioning, image_conditioning)
        self.model_wrap_cfg.init_latent = self.last_latent = x
        return self._sample(p, x + noise * sigmas[0], sigmas, last + 1)
