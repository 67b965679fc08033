"""A request for pictures from noise, with a hires pass."""

from dataclasses import dataclass

import torch
from modules import extra_networks, prompt_parser, rng, sd_samplers, shared
from modules.processing_base import Cached, StableDiffusionProcessing, opt_f


@dataclass(repr=False)
class StableDiffusionProcessingTxt2Img(StableDiffusionProcessing):
    enable_hr: bool = False
    denoising_strength: float = 0.75
    hr_scale: float = 2.0
    hr_upscaler: str = None
    hr_second_pass_steps: int = 0
    hr_resize_x: int = 0
    hr_resize_y: int = 0
    hr_checkpoint_name: str = None
    hr_sampler_name: str = None
    hr_scheduler: str = None
    hr_prompt: str = ""
    hr_negative_prompt: str = ""
    force_task_id: str = None

    hr_c = hr_uc = all_hr_prompts = all_hr_negative_prompts = hr_extra_network_data = None
    hr_upscale_to_x = hr_upscale_to_y = 0

    def __post_init__(self):
        super().__post_init__()
        self.cached_hr_uc, self.cached_hr_c = Cached.hr_uc, Cached.hr_c

    def init(self, all_prompts, all_seeds, all_subseeds):
        if not self.enable_hr:
            return
        noted = self.extra_generation_params
        noted["Denoising strength"] = self.denoising_strength
        if self.hr_sampler_name and self.hr_sampler_name != self.sampler_name:
            noted["Hires sampler"] = self.hr_sampler_name
        for key, listed, own in (("Hires prompt", "all_hr_prompts", "prompt_text"),
                                 ("Hires negative prompt", "all_hr_negative_prompts", "negative_prompt")):
            noted[key] = lambda p, index, listed=listed, own=own, **known: (
                None if getattr(p, listed)[index] == known[own] else getattr(p, listed)[index])
        noted["Hires schedule type"] = None
        if self.hr_scheduler is None:
            self.hr_scheduler = self.scheduler
        if self.hr_resize_x and self.hr_resize_y:
            noted["Hires resize"] = f"{self.hr_resize_x}x{self.hr_resize_y}"
            self.hr_upscale_to_x, self.hr_upscale_to_y = self.hr_resize_x, self.hr_resize_y
        else:
            noted["Hires upscale"] = self.hr_scale
            self.hr_upscale_to_x, self.hr_upscale_to_y = int(self.width * self.hr_scale), int(self.height * self.hr_scale)
        if not shared.state.processing_has_refined_job_count:
            shared.state.job_count = 2 * (self.n_iter if shared.state.job_count == -1 else shared.state.job_count)
            shared.state.processing_has_refined_job_count = True
        if self.hr_second_pass_steps:
            noted["Hires steps"] = self.hr_second_pass_steps
        if self.hr_upscaler is not None:
            noted["Hires upscaler"] = self.hr_upscaler

    def setup_prompts(self):
        super().setup_prompts()
        if not self.enable_hr:
            return
        for name in ("prompt", "negative_prompt"):
            text = getattr(self, "hr_" + name) or getattr(self, name)
            setattr(self, "hr_" + name, text)
            texts = list(text) if isinstance(text, list) else [text] * self.batch_size * self.n_iter
            apply = getattr(shared.prompt_styles, f"apply_{'negative_' * name.startswith('negative')}styles_to_prompt")
            setattr(self, f"all_hr_{name}s", [apply(text, self.styles) for text in texts])

    def parse_extra_network_prompts(self):
        super().parse_extra_network_prompts()
        if self.enable_hr:
            own = slice(self.iteration * self.batch_size, (self.iteration + 1) * self.batch_size)
            self.hr_prompts, self.hr_negative_prompts = self.all_hr_prompts[own], self.all_hr_negative_prompts[own]
            self.hr_prompts, self.hr_extra_network_data = extra_networks.parse_prompts(self.hr_prompts)

    def setup_conds(self):
        super().setup_conds()
        self.hr_c = self.hr_uc = None

    def calculate_hr_conds(self):
        if self.hr_c is not None:
            return
        size = {"width": self.hr_upscale_to_x, "height": self.hr_upscale_to_y}
        config = sd_samplers.find_sampler_config(self.hr_sampler_name or self.sampler_name)
        total = config.total_steps(self.hr_second_pass_steps or self.steps)
        negatives = prompt_parser.SdConditioning(self.hr_negative_prompts, is_negative_prompt=True, **size)
        self.hr_uc = self.get_conds_with_caching(prompt_parser.get_learned_conditioning, negatives, self.firstpass_steps,
                                                 [self.cached_hr_uc, self.cached_uc], self.hr_extra_network_data, total)
        prompts = prompt_parser.SdConditioning(self.hr_prompts, **size)
        self.hr_c = self.get_conds_with_caching(prompt_parser.get_multicond_learned_conditioning, prompts, self.firstpass_steps,
                                                [self.cached_hr_c, self.cached_c], self.hr_extra_network_data, total)

    def get_conds(self):
        return (self.hr_c, self.hr_uc) if self.is_hr_pass else super().get_conds()

    def sample(self, conditioning, unconditional_conditioning, seeds, subseeds, subseed_strength, prompts):
        self.sampler = sd_samplers.create_sampler(self.sampler_name, self.sd_model)
        x = self.rng.next()
        self.hook("process_before_every_sampling", x=x, noise=x, c=conditioning, uc=unconditional_conditioning)
        samples = self.sampler.sample(self, x, conditioning, unconditional_conditioning,
                                      image_conditioning=self.no_image_conditioning(x))
        if not self.enable_hr or shared.state.interrupted:
            return samples
        self.is_hr_pass = True
        self.sampler = sd_samplers.create_sampler(self.hr_sampler_name or self.sampler_name, self.sd_model)
        mode = shared.latent_upscale_modes.get(self.hr_upscaler) or shared.latent_upscale_modes[shared.latent_upscale_default_mode]
        samples = torch.nn.functional.interpolate(
            samples, size=(self.hr_upscale_to_y // opt_f, self.hr_upscale_to_x // opt_f), **mode)
        shared.state.nextjob()
        self.rng = rng.ImageRNG(samples.shape[1:], self.seeds, self.subseeds, self.subseed_strength)
        noise = self.rng.next()
        if not self.disable_extra_networks:
            extra_networks.activate(self, self.hr_extra_network_data)
        self.calculate_hr_conds()
        self.hook("before_hr")
        self.hook("process_before_every_sampling", x=samples, noise=noise, c=self.hr_c, uc=self.hr_uc)
        samples = self.sampler.sample_img2img(self, samples, noise, self.hr_c, self.hr_uc,
                                              steps=self.hr_second_pass_steps or self.steps,
                                              image_conditioning=self.no_image_conditioning(samples))
        self.is_hr_pass = False
        return samples

    def close(self):
        super().close()
        self.hr_c = self.hr_uc = None
