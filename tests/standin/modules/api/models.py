"""Requests of the API."""

from typing import Any, Dict, List, Optional

from pydantic import BaseModel


class _Request(BaseModel):
    prompt: str = ""
    negative_prompt: str = ""
    styles: Optional[List[str]] = None
    seed: int = -1
    subseed: int = -1
    subseed_strength: float = 0
    sampler_name: Optional[str] = None
    sampler_index: str = "Euler"
    scheduler: Optional[str] = None
    batch_size: int = 1
    n_iter: int = 1
    steps: int = 50
    cfg_scale: float = 7.0
    width: int = 512
    height: int = 512
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    eta: Optional[float] = None
    denoising_strength: float = 0.75
    s_min_uncond: Optional[float] = None
    override_settings: Optional[Dict[str, Any]] = None
    override_settings_restore_afterwards: bool = True
    refiner_checkpoint: Optional[str] = None
    refiner_switch_at: Optional[float] = None
    disable_extra_networks: bool = False
    force_task_id: Optional[str] = None
    script_name: Optional[str] = None
    script_args: list = []
    send_images: bool = True
    save_images: bool = False
    alwayson_scripts: Dict[str, Any] = {}
    infotext: Optional[str] = None


class Txt2Img(_Request):
    enable_hr: bool = False
    hr_scale: float = 2.0
    hr_upscaler: Optional[str] = None
    hr_second_pass_steps: int = 0
    hr_resize_x: int = 0
    hr_resize_y: int = 0
    hr_checkpoint_name: Optional[str] = None
    hr_sampler_name: Optional[str] = None
    hr_scheduler: Optional[str] = None
    hr_prompt: str = ""
    hr_negative_prompt: str = ""


class Img2Img(_Request):
    init_images: Optional[list] = None
    mask: Optional[str] = None
    include_init_images: bool = False
    resize_mode: int = 0
    image_cfg_scale: Optional[float] = None
    mask_blur: int = 4
    inpainting_fill: int = 0
    inpaint_full_res: bool = True
    inpaint_full_res_padding: int = 0
    inpainting_mask_invert: int = 0
    initial_noise_multiplier: Optional[float] = None


class PNGInfo(BaseModel):
    image: str


NOT_FOR_PROCESSING = ("sampler_index", "script_name", "script_args", "send_images", "save_images", "alwayson_scripts",
                      "infotext", "include_init_images")
