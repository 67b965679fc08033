"""Samplers over timesteps: the model answers eps, a mask is blended before the call."""

import torch
from modules import sampling_timestep, sd_samplers_cfg_denoiser, sd_samplers_common, shared
from modules.sd_model import TimestepDenoiser

SAMPLERS = [
    ("DDIM", sampling_timestep.ddim, ["ddim"], {}),
    ("DDIM CFG++", sampling_timestep.ddim_cfgpp, ["ddim_cfgpp"], {}),
    ("PLMS", sampling_timestep.plms, ["plms"], {}),
    ("UniPC", sampling_timestep.unipc, ["unipc"], {}),
]


class CFGDenoiserTimesteps(sd_samplers_cfg_denoiser.CFGDenoiser):
    mask_before_denoising = True

    @property
    def inner_model(self):
        if self.model_wrap is None:
            self.model_wrap = TimestepDenoiser(shared.sd_model)
        return self.model_wrap

    def get_pred_x0(self, x_in, x_out, sigma):
        abar = shared.sd_model.alphas_cumprod[sigma.long()][:, None, None, None]
        return (x_in - (1 - abar).sqrt() * x_out) / abar.sqrt()


class CompVisSampler(sd_samplers_common.Sampler):
    def __init__(self, function, config):
        super().__init__(function, config)
        self.model_wrap_cfg = CFGDenoiserTimesteps(self)
        self.model_wrap = self.model_wrap_cfg.inner_model

    def get_timesteps(self, p, steps):
        """Rising; the first of them is only arrived at, never asked."""
        return torch.arange(0, 1000, 1000 // steps).add(1).clamp(0, 999)

    def _sample(self, x, timesteps, steps, whole):
        run = sampling_timestep.Run(self.model_wrap_cfg, self.sampler_extra_args, self.callback_state,
                                    shared.sd_model.alphas_cumprod, whole)
        return self.launch_sampling(steps, lambda: self.func(run, x, timesteps))

    def sample(self, p, x, conditioning, unconditional_conditioning, steps=None, image_conditioning=None):
        steps = steps or p.steps
        self.prepare(p, conditioning, unconditional_conditioning, image_conditioning)
        self.last_latent = x
        return self._sample(x, self.get_timesteps(p, steps), steps, True)

    def sample_img2img(self, p, x, noise, conditioning, unconditional_conditioning, steps=None, image_conditioning=None):
        steps, last = sd_samplers_common.setup_img2img_steps(p, steps)
        timesteps = self.get_timesteps(p, steps)
        abar = shared.sd_model.alphas_cumprod[timesteps[last]]
        self.prepare(p, conditioning, unconditional_conditioning, image_conditioning)
        self.model_wrap_cfg.init_latent = self.last_latent = x
        return self._sample(x * abar.sqrt() + noise * (1 - abar).sqrt(), timesteps[:last], last + 1, False)
