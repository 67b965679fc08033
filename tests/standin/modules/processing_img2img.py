"""A request for pictures from pictures, with a mask."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from modules import scripts, sd_samplers
from modules.processing_base import StableDiffusionProcessing
from PIL import Image, ImageFilter, ImageOps


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
