"""One request: its fields, the loop over batches, the two kinds of pictures; hooks in the host's order."""

import json
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from modules import images, prompt_parser, rng, scripts, sd_models, sd_samplers, sd_samplers_common, shared
from modules.infotext import create_infotext
from modules.sd_hijack import model_hijack
from PIL import Image, ImageFilter, ImageOps

opt_f = 8


class Cached:
    """Class-wide caches of conditions, as [key, value]; every request shares them."""

    uc, c, hr_uc, hr_c = ([None, None] for _ in range(4))


@dataclass(repr=False)
class StableDiffusionProcessing:
    sd_model: Any = None
    outpath_samples: str = None
    outpath_grids: str = None
    prompt: str = ""
    negative_prompt: str = ""
    styles: list = None
    seed: int = -1
    subseed: int = -1
    subseed_strength: float = 0
    sampler_name: str = None
    scheduler: str = None
    batch_size: int = 1
    n_iter: int = 1
    steps: int = 50
    cfg_scale: float = 7.0
    width: int = 512
    height: int = 512
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    extra_generation_params: dict = None
    eta: float = None
    denoising_strength: float = None
    s_min_uncond: float = None
    override_settings: dict = None
    override_settings_restore_afterwards: bool = True
    refiner_checkpoint: str = None
    refiner_switch_at: float = None
    disable_extra_networks: bool = False
    firstpass_image: Any = None

    is_hr_pass = is_api = scripts_setup_complete = False
    scripts_value = script_args_value = None
    sampler = c = uc = rng = refiner_checkpoint_info = None
    all_prompts = all_negative_prompts = all_seeds = all_subseeds = None
    prompts = negative_prompts = seeds = subseeds = extra_network_data = None
    iteration = 0

    def __post_init__(self):
        self.comments = {}
        self.styles = self.styles or []
        self.extra_generation_params = self.extra_generation_params or {}
        self.override_settings = self.override_settings or {}
        self.cached_uc, self.cached_c = Cached.uc, Cached.c

    @property
    def sd_model(self):
        return shared.sd_model

    @sd_model.setter
    def sd_model(self, value):
        pass

    @property
    def scripts(self):
        return self.scripts_value

    @scripts.setter
    def scripts(self, value):
        self.scripts_value = value
        self._setup_scripts()

    @property
    def script_args(self):
        return self.script_args_value

    @script_args.setter
    def script_args(self, value):
        self.script_args_value = value
        self._setup_scripts()

    def _setup_scripts(self):
        if self.scripts_value and self.script_args_value and not self.scripts_setup_complete:
            self.scripts_setup_complete = True
            self.scripts.setup_scripts(self, is_ui=not self.is_api)

    def comment(self, text):
        self.comments[text] = 1

    def close(self):
        self.sampler = self.c = self.uc = None

    def init(self, all_prompts, all_seeds, all_subseeds):
        pass

    def sample(self, conditioning, unconditional_conditioning, seeds, subseeds, subseed_strength, prompts):
        raise NotImplementedError

    def setup_prompts(self):
        def many(text, count):
            return list(text) if isinstance(text, list) else [text] * count

        lists = [text for text in (self.prompt, self.negative_prompt) if isinstance(text, list)]
        count = len(lists[0]) if lists else self.batch_size * self.n_iter
        self.all_prompts, self.all_negative_prompts = many(self.prompt, count), many(self.negative_prompt, count)
        self.main_prompt, self.main_negative_prompt = self.all_prompts[0], self.all_negative_prompts[0]

    def parse_extra_network_prompts(self):
        self.extra_network_data = {}

    def get_conds_with_caching(self, function, required_prompts, steps, caches, extra_network_data, hires_steps=None):
        """The key leaves out is_negative_prompt, as the real host's does."""
        key = (list(required_prompts), steps, hires_steps, shared.opts.use_old_scheduling, shared.opts.CLIP_stop_at_last_layers,
               shared.sd_model.sd_checkpoint_info, extra_network_data, self.width, self.height, shared.opts.emphasis)
        for cache in caches:
            if cache[0] is not None and cache[0] == key:
                return cache[1]
        caches[0][1] = function(shared.sd_model, required_prompts, steps, hires_steps, shared.opts.use_old_scheduling)
        caches[0][0] = key
        return caches[0][1]

    def setup_conds(self):
        prompts = prompt_parser.SdConditioning(self.prompts, width=self.width, height=self.height)
        negatives = prompt_parser.SdConditioning(self.negative_prompts, is_negative_prompt=True, width=self.width, height=self.height)
        self.firstpass_steps = sd_samplers.find_sampler_config(self.sampler_name).total_steps(self.steps)
        self.step_multiplier = self.firstpass_steps // self.steps
        self.uc = self.get_conds_with_caching(prompt_parser.get_learned_conditioning, negatives, self.firstpass_steps,
                                              [self.cached_uc], self.extra_network_data)
        self.c = self.get_conds_with_caching(prompt_parser.get_multicond_learned_conditioning, prompts, self.firstpass_steps,
                                             [self.cached_c], self.extra_network_data)

    def get_conds(self):
        return self.c, self.uc

    def no_image_conditioning(self, latent):
        return latent.new_zeros(latent.shape[0], 5, 1, 1)

    def hook(self, name, *args, **kwargs):
        if self.scripts is not None:
            self.scripts.call(name, self, *args, **kwargs)


class Processed:
    """The pictures of a request and what is told about them."""

    def __init__(self, p, images_list, seed=-1, info="", subseed=None, all_prompts=None, all_negative_prompts=None,
                 all_seeds=None, all_subseeds=None, index_of_first_image=0, infotexts=None, comments=""):
        self.images, self.info, self.seed, self.subseed = images_list, info, seed, subseed
        self.comments = "".join(f"{comment}\n" for comment in p.comments)
        self.prompt = p.prompt[0] if isinstance(p.prompt, list) else p.prompt
        self.negative_prompt = p.negative_prompt[0] if isinstance(p.negative_prompt, list) else p.negative_prompt
        for name in ("width", "height", "sampler_name", "cfg_scale", "steps", "batch_size", "styles", "extra_generation_params",
                     "denoising_strength"):
            setattr(self, name, getattr(p, name))
        self.all_prompts = all_prompts or p.all_prompts or [self.prompt]
        self.all_negative_prompts = all_negative_prompts or p.all_negative_prompts or [self.negative_prompt]
        self.all_seeds, self.all_subseeds = all_seeds or p.all_seeds or [seed], all_subseeds or p.all_subseeds or [subseed]
        self.index_of_first_image = index_of_first_image
        self.infotexts = infotexts or [info] * len(images_list)

    def js(self):
        names = ("prompt", "all_prompts", "negative_prompt", "all_negative_prompts", "seed", "all_seeds", "subseed",
                 "all_subseeds", "width", "height", "sampler_name", "cfg_scale", "steps", "batch_size", "denoising_strength",
                 "extra_generation_params", "index_of_first_image", "infotexts", "styles")
        return json.dumps({name: getattr(self, name) for name in names}, default=lambda value: None)


def get_fixed_seed(seed):
    if isinstance(seed, list):
        return seed
    try:
        seed = int(seed)
    except (TypeError, ValueError):
        seed = -1
    return random.randrange(4294967294) if seed == -1 else seed


def fix_seed(p):
    p.seed, p.subseed = get_fixed_seed(p.seed), get_fixed_seed(p.subseed)


def process_images(p):
    p.hook("before_process")
    stored = {key: shared.opts.data[key] for key in p.override_settings if key in shared.opts.data}
    try:
        for key, value in p.override_settings.items():
            shared.opts.set(key, value, is_api=True, run_callbacks=False)
        p.sampler_name, p.scheduler = sd_samplers.get_sampler_and_scheduler(p.sampler_name, p.scheduler, convert_automatic=False)
        return process_images_inner(p)
    finally:
        if p.override_settings_restore_afterwards:
            for key, value in stored.items():
                setattr(shared.opts, key, value)


def _decoded(samples):
    """Latents to (B, 3, H, W) in 0..1; ``samples`` may be decoded already."""
    if not getattr(samples, "already_decoded", False):
        samples = torch.cat([shared.sd_model.decode_first_stage(samples[i:i + 1]) for i in range(len(samples))])
    return (samples / 2 + 0.5).clamp(0, 1)


@torch.no_grad()
def process_images_inner(p):
    state = shared.state
    seed, subseed = get_fixed_seed(p.seed), get_fixed_seed(p.subseed)
    p.s_min_uncond = shared.opts.s_min_uncond if p.s_min_uncond is None else p.s_min_uncond
    p.setup_prompts()
    p.all_seeds = list(seed) if isinstance(seed, list) else [seed + n for n in range(len(p.all_prompts))]
    p.all_subseeds = [subseed + n for n in range(len(p.all_prompts))]
    p.hook("process")
    p.init(p.all_prompts, p.all_seeds, p.all_subseeds)
    if state.job_count == -1:
        state.job_count = p.n_iter

    infotexts, output = [], []
    for n in range(p.n_iter):
        p.iteration = n
        state.skipped = False
        if state.interrupted or state.stopping_generation:
            break
        for name in ("prompts", "negative_prompts", "seeds", "subseeds"):
            setattr(p, name, getattr(p, "all_" + name)[n * p.batch_size:(n + 1) * p.batch_size])
        p.rng = rng.ImageRNG((4, p.height // opt_f, p.width // opt_f), p.seeds)
        about = {"batch_number": n, "prompts": p.prompts, "seeds": p.seeds, "subseeds": p.subseeds}
        p.hook("before_process_batch", **about)
        p.parse_extra_network_prompts()
        p.hook("process_batch", **about)
        p.setup_conds()
        p.extra_generation_params.update(model_hijack.extra_generation_params)
        if n == 0:
            images.write_params(create_infotext(p, p.all_prompts, p.all_seeds, p.all_subseeds, index=0))
        samples = p.sample(p.c, p.uc, p.seeds, p.subseeds, p.subseed_strength, p.prompts)
        args = scripts.PostSampleArgs(samples)
        p.hook("post_sample", args)
        pictures = _decoded(args.samples)
        state.nextjob()
        p.hook("postprocess_batch", images=pictures, batch_number=n)
        batch = scripts.PostprocessBatchListArgs(list(pictures))
        p.hook("postprocess_batch_list", batch, batch_number=n)
        for i, picture in enumerate(batch.images):
            p.batch_index = i
            image = scripts.PostprocessImageArgs(sd_samplers_common.to_image(picture))
            p.hook("postprocess_image", image)
            composed = scripts.PostprocessImageArgs(p.overlaid(image.image, i))
            p.hook("postprocess_image_after_composite", composed)
            text = create_infotext(p, p.prompts, p.seeds, p.subseeds, index=i, all_negative_prompts=p.negative_prompts)
            if shared.opts.enable_pnginfo:
                composed.image.info["parameters"] = text
            infotexts.append(text)
            output.append(composed.image)

    if not infotexts:
        infotexts.append(create_infotext(p, p.all_prompts, p.all_seeds, p.all_subseeds, index=0))
    first = 0
    if shared.opts.return_grid and not p.do_not_save_grid and len(output) > 1:
        grid, first = images.image_grid(output, p.batch_size), 1
        grid.info["parameters"] = infotexts[0]
        output.insert(0, grid)
        infotexts.insert(0, infotexts[0])
    processed = Processed(p, output, seed=p.all_seeds[0], info=infotexts[0], subseed=p.all_subseeds[0],
                          index_of_first_image=first, infotexts=infotexts)
    p.hook("postprocess", processed)
    return processed


StableDiffusionProcessing.overlaid = lambda self, image, index: image


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
            setattr(self, f"all_hr_{name}s", list(text) if isinstance(text, list) else [text] * self.batch_size * self.n_iter)

    def parse_extra_network_prompts(self):
        super().parse_extra_network_prompts()
        if self.enable_hr:
            own = slice(self.iteration * self.batch_size, (self.iteration + 1) * self.batch_size)
            self.hr_prompts, self.hr_negative_prompts = self.all_hr_prompts[own], self.all_hr_negative_prompts[own]
            self.hr_extra_network_data = {}

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
        self.rng = rng.ImageRNG(samples.shape[1:], self.seeds)
        noise = self.rng.next()
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


@dataclass(repr=False)
class StableDiffusionProcessingImg2Img(StableDiffusionProcessing):
    init_images: list = None
    resize_mode: int = 0
    denoising_strength: float = 0.75
    image_cfg_scale: float = None
    mask: Any = None
    mask_blur: int = 4
    inpainting_fill: int = 0
    inpaint_full_res: bool = True
    inpaint_full_res_padding: int = 0
    inpainting_mask_invert: int = 0
    initial_noise_multiplier: float = None
    force_task_id: str = None

    nmask: Any = field(default=None, init=False)
    init_latent: Any = field(default=None, init=False)

    def __post_init__(self):
        super().__post_init__()
        self.image_mask, self.mask = self.mask, None
        self.overlay = None

    def init(self, all_prompts, all_seeds, all_subseeds):
        self.extra_generation_params["Denoising strength"] = self.denoising_strength
        self.sampler = sd_samplers.create_sampler(self.sampler_name, self.sd_model)
        pictures = [image.convert("RGB").resize((self.width, self.height), Image.LANCZOS) for image in self.init_images]
        if len(pictures) == 1:
            pictures = pictures * self.batch_size
        self.batch_size = len(pictures)
        pixels = torch.from_numpy(np.stack([np.asarray(picture, dtype=np.float32) for picture in pictures]) / 255.0)
        self.init_latent = torch.cat([self.sd_model.encode(image[None] * 2 - 1) for image in pixels.permute(0, 3, 1, 2)])
        if self.image_mask is None:
            return
        mask = self.image_mask.convert("L")
        if self.inpainting_mask_invert:
            mask = ImageOps.invert(mask)
            self.extra_generation_params["Mask mode"] = "Inpaint not masked"
        mask = mask.resize((self.width, self.height)).filter(ImageFilter.GaussianBlur(self.mask_blur or 0))
        self.overlay = pictures, mask
        small = np.around(np.asarray(mask.resize(self.init_latent.shape[:1:-1]), dtype=np.float32) / 255.0)
        self.nmask = torch.from_numpy(small).expand(4, -1, -1)
        self.mask = 1.0 - self.nmask

    def overlaid(self, image, index):
        return image if self.overlay is None else Image.composite(image, self.overlay[0][index], self.overlay[1])

    def sample(self, conditioning, unconditional_conditioning, seeds, subseeds, subseed_strength, prompts):
        x = self.rng.next()
        self.hook("process_before_every_sampling", x=self.init_latent, noise=x, c=conditioning, uc=unconditional_conditioning)
        samples = self.sampler.sample_img2img(self, self.init_latent, x, conditioning, unconditional_conditioning,
                                              image_conditioning=self.no_image_conditioning(self.init_latent))
        if self.mask is None:
            return samples
        blended = samples * self.nmask + self.init_latent * self.mask
        args = scripts.MaskBlendArgs(samples, self.nmask, self.init_latent, self.mask, blended)
        self.hook("on_mask_blend", args)
        return args.blended_latent


assert sd_models
