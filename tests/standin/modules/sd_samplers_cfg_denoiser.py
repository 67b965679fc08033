"""Classifier-free guidance as the host does it: one model call of a sampler."""

import torch
from modules import prompt_parser, scripts, sd_samplers_common, shared
from modules.script_callbacks import (
    AfterCFGCallbackParams,
    CFGDenoisedParams,
    CFGDenoiserParams,
    cfg_after_cfg_callback,
    cfg_denoised_callback,
    cfg_denoiser_callback,
)


class CFGDenoiser(torch.nn.Module):
    """``denoiser(x, sigma, uncond=…, cond=…, cond_scale=…, s_min_uncond=…, image_cond=…)``.

    Rows of a call: those of the prompt (several an image under AND), then one an image
    without it. ``step`` counts calls, ``total_steps`` is their expected number.
    """

    mask_before_denoising = False

    def __init__(self, sampler):
        super().__init__()
        self.sampler, self.model_wrap, self.p = sampler, None, None
        self.mask = self.nmask = self.init_latent = self.image_cfg_scale = None
        self.steps = self.total_steps = None
        self.step = 0
        self.cond_scale_miltiplier = 1.0  # the host's own spelling
        self.need_last_noise_uncond, self.last_noise_uncond = False, None
        self.padded_cond_uncond = self.padded_cond_uncond_v0 = False

    @property
    def inner_model(self):
        raise NotImplementedError

    def get_pred_x0(self, x_in, x_out, sigma):
        return x_out

    def _blend(self, latent, sigma):
        """Outside the mask, the original."""
        blended = latent * self.nmask + self.init_latent * self.mask
        if self.p.scripts is None:
            return blended
        args = scripts.MaskBlendArgs(latent, self.nmask, self.init_latent, self.mask, blended, denoiser=self, sigma=sigma)
        self.p.scripts.call("on_mask_blend", self.p, args)
        return args.blended_latent

    def _skips_uncond(self, sigma, s_min_uncond):
        opts, noted = shared.opts, self.p.extra_generation_params
        if opts.skip_early_cond != 0 and self.step / self.total_steps <= opts.skip_early_cond:
            noted["Skip Early CFG"] = opts.skip_early_cond
            return True
        if s_min_uncond > 0 and sigma[0] < s_min_uncond and (opts.s_min_uncond_all or self.step % 2):
            noted["NGMS"] = s_min_uncond
            if opts.s_min_uncond_all:
                noted["NGMS all steps"] = True
            return True
        return False

    def _padded(self, cond, uncond):
        """Both of one length, where an option asks for that and it can be done."""
        self.padded_cond_uncond = self.padded_cond_uncond_v0 = False
        longer = cond.shape[1] - uncond.shape[1]
        if longer == 0:
            return cond, uncond
        if shared.opts.pad_cond_uncond_v0:
            self.padded_cond_uncond_v0 = True
            filler = uncond[:, -1:].expand(-1, max(longer, 0), -1)
            return cond, torch.cat([uncond[:, :cond.shape[1]], filler], 1)
        empty = shared.sd_model.cond_stage_model_empty_prompt
        repeats = longer // empty.shape[1]  # rounds down: an uneven difference overshoots
        if shared.opts.pad_cond_uncond and repeats:
            self.padded_cond_uncond = True
            filler = empty.repeat(cond.shape[0] if repeats < 0 else uncond.shape[0], abs(repeats), 1)
            return (torch.cat([cond, filler], 1), uncond) if repeats < 0 else (cond, torch.cat([uncond, filler], 1))
        return cond, uncond

    def _predict(self, x, sigma, image_cond, cond, uncond, batch, skip):
        """The model's answer for all rows: one forward, or two where the token counts differ."""

        def ask(rows, text):
            return self.inner_model(x[rows], sigma[rows], cond={"c_crossattn": [text], "c_concat": [image_cond[rows]]})

        if skip:
            return ask(slice(0, x.shape[0]), cond)
        if cond.shape[1] == uncond.shape[1] and shared.opts.batch_cond_uncond:
            return ask(slice(0, x.shape[0]), torch.cat([cond, uncond]))
        size = 2 * batch if shared.opts.batch_cond_uncond else batch
        answers = [ask(slice(at, min(at + size, len(cond))), cond[at:at + size]) for at in range(0, len(cond), size)]
        return torch.cat([*answers, ask(slice(x.shape[0] - len(uncond), x.shape[0]), uncond)])

    def forward(self, x, sigma, uncond, cond, cond_scale, s_min_uncond, image_cond):
        state = shared.state
        if state.interrupted or state.skipped:
            raise sd_samplers_common.InterruptedException

        places, text_cond = prompt_parser.reconstruct_multicond_batch(cond, self.step)
        text_uncond = prompt_parser.reconstruct_cond_batch(uncond, self.step)
        if self.mask_before_denoising and self.mask is not None:
            x = self._blend(x, sigma)

        batch = len(places)
        owners = [image for image, parts in enumerate(places) for _ in parts] + list(range(batch))
        params = CFGDenoiserParams(x[owners], image_cond[owners], sigma[owners], state.sampling_step, state.sampling_steps,
                                   text_cond, text_uncond, self)
        cfg_denoiser_callback(params)
        x_in, sigma_in, image_in = params.x, params.sigma, params.image_cond
        text_cond, text_uncond = params.text_cond, params.text_uncond

        skip = self._skips_uncond(sigma, s_min_uncond)
        if skip:  # image_cond is not cut: the real host forgets it, which inpainting models meet
            x_in, sigma_in = x_in[:-batch], sigma_in[:-batch]
        text_cond, text_uncond = self._padded(text_cond, text_uncond)
        x_out = self._predict(x_in, sigma_in, image_in, text_cond, text_uncond, batch, skip)
        first_rows = [parts[0][0] for parts in places]
        if skip:
            x_out = torch.cat([x_out, x_out[first_rows]])
        cfg_denoised_callback(CFGDenoisedParams(x_out, state.sampling_step, state.sampling_steps, self.inner_model))
        if self.need_last_noise_uncond:
            self.last_noise_uncond = x_out[-batch:].clone()

        scale = 1.0 if skip else cond_scale * self.cond_scale_miltiplier
        base = x_out[-batch:]
        denoised = base.clone()
        for image, parts in enumerate(places):
            for row, weight in parts:
                denoised[image] += (x_out[row] - base[image]) * (weight * scale)
        if not self.mask_before_denoising and self.mask is not None:
            denoised = self._blend(denoised, sigma)

        self.sampler.last_latent = self.get_pred_x0(x_in[first_rows], x_out[first_rows], sigma)
        sd_samplers_common.store_latent(self.get_pred_x0(x_in[first_rows], denoised, sigma))
        after = AfterCFGCallbackParams(denoised, state.sampling_step, state.sampling_steps)
        cfg_after_cfg_callback(after)
        self.step += 1
        return after.x
