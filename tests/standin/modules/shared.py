"""The host's global objects."""

import argparse
import os

from modules import devices, paths
from modules.options import OptionHTML, OptionInfo, Options, options_section  # noqa: F401
from modules.shared_state import State
from modules.styles import StyleDatabase

device = devices.device
cmd_opts = argparse.Namespace(
    api=True, api_auth=None, api_log=False, port=None, data_dir=paths.data_path, no_prompt_history=False,
    hide_ui_dir_config=False, lowvram=False, medvram=False, theme=None, ckpt=None, subpath=None, gradio_auth=None)
config_filename = os.path.join(paths.data_path, "config.json")
parallel_processing_allowed = True
demo = sd_model = None
tab_names = []
sd_upscalers = []
latent_upscale_default_mode = "Latent"
latent_upscale_modes = {
    "Latent": {"mode": "bilinear", "antialias": False},
    "Latent (nearest)": {"mode": "nearest", "antialias": False},
}

_DEFAULTS = {
    "sd_model_checkpoint": None, "CLIP_stop_at_last_layers": 1, "emphasis": "Original", "use_old_scheduling": False,
    "comma_padding_backtrack": 20, "persistent_cond_cache": True, "hires_fix_use_firstpass_conds": False,
    "batch_cond_uncond": True, "pad_cond_uncond": False, "pad_cond_uncond_v0": False, "s_min_uncond": 0.0,
    "s_min_uncond_all": False, "skip_early_cond": 0.0, "eta_noise_seed_delta": 0, "sigma_min": 0.0, "sigma_max": 0.0,
    "rho": 0.0, "always_discard_next_to_last_sigma": False, "img2img_fix_steps": False, "initial_noise_multiplier": 1.0,
    "enable_pnginfo": True, "return_grid": True, "grid_only_if_multiple": True, "samples_save": False,
    "samples_format": "png", "grid_save": False, "grid_format": "png", "grid_extended_filename": False,
    "overlay_inpaint": True, "return_mask": False, "infotext_skip_pasting": [], "hide_samplers": [], "send_seed": True,
    "token_merging_ratio": 0.0, "show_progress_every_n_steps": 10, "live_preview_content": "Prompt",
    "refiner_switch_by_sample_steps": False, "hires_fix_refiner_pass": "second pass", "live_previews_enable": False,
    "randn_source": "CPU", "uni_pc_order": 3, "uni_pc_skip_type": "time_uniform", "sgm_noise_multiplier": False,
}
_INFOTEXT = {"CLIP_stop_at_last_layers": "Clip skip", "emphasis": "Emphasis", "pad_cond_uncond": "Pad conds",
             "pad_cond_uncond_v0": "Pad conds v0", "s_min_uncond_all": "NGMS all steps", "skip_early_cond": "Skip Early CFG"}
options_templates = {key: OptionInfo(value, key, infotext=_INFOTEXT.get(key)) for key, value in _DEFAULTS.items()}
options_templates.update(options_section(("upscaling", "Upscaling"), {
    "upscaler_for_img2img": OptionInfo(None, "Upscaler for img2img")}))
opts = Options(options_templates)
opts.load(config_filename)
state = State()
prompt_styles = StyleDatabase(paths.data_path)


class TotalTQDM:
    """The console's bar over all jobs; the stand-in draws none."""

    def update(self):
        pass

    updateTotal = lambda self, total: None  # noqa: E731
    clear = reset = update


total_tqdm = TotalTQDM()
