"""The text under a picture: what it was made with."""

from modules import errors, shared
from modules.infotext_utils import quote


def create_infotext(p, all_prompts, all_seeds, all_subseeds, comments=None, iteration=0, position_in_batch=0,
                    use_main_prompt=False, index=None, all_negative_prompts=None):
    """A value of extra_generation_params can be a text, a list (one entry an image) or a function of what is known here."""
    if use_main_prompt:
        index = 0
    elif index is None:
        index = position_in_batch + iteration * p.batch_size
    all_negative_prompts = p.all_negative_prompts if all_negative_prompts is None else all_negative_prompts
    prompt_text = p.main_prompt if use_main_prompt else all_prompts[index]
    negative_prompt = p.main_negative_prompt if use_main_prompt else all_negative_prompts[index]
    skip = shared.opts.CLIP_stop_at_last_layers
    params = {
        "Steps": p.steps, "Sampler": p.sampler_name, "Schedule type": p.scheduler, "CFG scale": p.cfg_scale,
        "Seed": all_seeds[index], "Size": f"{p.width}x{p.height}", "Model hash": shared.sd_model.sd_model_hash,
        "Model": shared.sd_model.sd_checkpoint_info.name_for_extra,
        "Denoising strength": p.extra_generation_params.get("Denoising strength"),
        "Clip skip": skip if skip > 1 else None, "RNG": shared.opts.randn_source, **p.extra_generation_params,
        "Version": "standin",
    }
    known = dict(p=p, all_prompts=all_prompts, all_seeds=all_seeds, all_subseeds=all_subseeds, index=index,
                 prompt_text=prompt_text, negative_prompt=negative_prompt, use_main_prompt=use_main_prompt,
                 position_in_batch=position_in_batch, iteration=iteration, all_negative_prompts=all_negative_prompts)
    parts = []
    for key, value in params.items():
        try:
            value = value[index] if isinstance(value, list) else value(**known) if callable(value) else value
        except Exception:
            errors.report(f'Error creating infotext for key "{key}"', exc_info=True)
            continue
        if value is not None:
            parts.append(f"{key}: {quote(value)}")
    negative = f"\nNegative prompt: {negative_prompt}" if negative_prompt else ""
    return f"{prompt_text}{negative}\n{', '.join(parts)}".strip()
