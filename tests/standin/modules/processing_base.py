"""One request: its fields, prompts and conditions."""

import os
from dataclasses import dataclass
from typing import Any

from modules import extra_networks, paths, prompt_parser, sd_samplers, shared

opt_f = 8


class Cached:
    """Class-wide caches of conditions, as [key, value]; every request shares them."""

    uc, c, hr_uc, hr_c = ([None, None] for _ in range(4))


@dataclass(repr=False)
class StableDiffusionProcessing:
    sd_model: Any = None
    outpath_samples: str = os.path.join(paths.data_path, "outputs", "samples")
    outpath_grids: str = os.path.join(paths.data_path, "outputs", "grids")
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

    def overlaid(self, image, index):
        """The picture on what it was painted over."""
        return image

    def sample(self, conditioning, unconditional_conditioning, seeds, subseeds, subseed_strength, prompts):
        raise NotImplementedError

    def setup_prompts(self):
        def many(text, count):
            return list(text) if isinstance(text, list) else [text] * count

        lists = [text for text in (self.prompt, self.negative_prompt) if isinstance(text, list)]
        count = len(lists[0]) if lists else self.batch_size * self.n_iter
        self.all_prompts, self.all_negative_prompts = many(self.prompt, count), many(self.negative_prompt, count)
        styles = shared.prompt_styles
        self.all_prompts = [styles.apply_styles_to_prompt(text, self.styles) for text in self.all_prompts]
        self.all_negative_prompts = [styles.apply_negative_styles_to_prompt(text, self.styles) for text in self.all_negative_prompts]
        self.main_prompt, self.main_negative_prompt = self.all_prompts[0], self.all_negative_prompts[0]

    def parse_extra_network_prompts(self):
        self.prompts, self.extra_network_data = extra_networks.parse_prompts(self.prompts)

    def get_token_merging_ratio(self, for_hr=False):
        return shared.opts.token_merging_ratio

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
