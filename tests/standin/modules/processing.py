"""The loop over a request's batches, hooks in the host's order, and what it answers."""

import json
import random

import torch
from modules import extra_networks, images, rng, scripts, sd_models, sd_samplers, sd_samplers_common, shared
from modules.infotext import create_infotext
from modules.processing_base import StableDiffusionProcessing, opt_f  # noqa: F401  (scripts take it from here)
from modules.processing_img2img import StableDiffusionProcessingImg2Img  # noqa: F401
from modules.processing_txt2img import StableDiffusionProcessingTxt2Img  # noqa: F401
from modules.sd_hijack import model_hijack


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
        sd_models.apply_token_merging(shared.sd_model, p.get_token_merging_ratio())
        return process_images_inner(p)
    finally:
        sd_models.apply_token_merging(shared.sd_model, 0)
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
    count = range(len(p.all_prompts))
    p.all_seeds = list(seed) if isinstance(seed, list) else [seed + n * (p.subseed_strength == 0) for n in count]
    p.all_subseeds = list(subseed) if isinstance(subseed, list) else [subseed + n for n in count]
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
        p.rng = rng.ImageRNG((4, p.height // opt_f, p.width // opt_f), p.seeds, p.subseeds, p.subseed_strength)
        about = {"batch_number": n, "prompts": p.prompts, "seeds": p.seeds, "subseeds": p.subseeds}
        p.hook("before_process_batch", **about)
        p.parse_extra_network_prompts()
        if not p.disable_extra_networks:
            extra_networks.activate(p, p.extra_network_data)
        p.hook("process_batch", **about)
        p.setup_conds()
        p.extra_generation_params.update(model_hijack.extra_generation_params)
        if n == 0 and not shared.cmd_opts.no_prompt_history:
            images.write_params(create_infotext(p, p.all_prompts, p.all_seeds, p.all_subseeds, index=0))
        samples = p.sample(conditioning=p.c, unconditional_conditioning=p.uc, seeds=p.seeds, subseeds=p.subseeds,
                           subseed_strength=p.subseed_strength, prompts=p.prompts)
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

    if not p.disable_extra_networks and p.extra_network_data:
        extra_networks.deactivate(p, p.extra_network_data)
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
