"""Where a removal may act: its painted mask in the frame of the picture that is sampled, and inpainting's own."""

from __future__ import annotations

from typing import Any, Optional

import torch
import torch.nn.functional as F
from modules import images as host_images

from lib_negguide import regions
from lib_negguide.errors import SettingsError
from lib_negguide.hosts.a1111.images import store
from lib_negguide.hosts.a1111.samplings import IMG2IMG
from lib_negguide.image_prompt.store import picture_in
from lib_negguide.settings import Removal, Settings
from lib_negguide.settings.inpainting import in_inpainting

FACTOR = 8
"""Pixels of one cell of the latent."""
LATENT_UPSCALE = 3
"""The resize mode in which img2img enlarges the latent instead of the picture."""


def by_reference(settings: Settings) -> Settings:
    """The removal's mask put into the store, and named by reference; raises :class:`SettingsError` for what is none."""
    remove = settings.remove
    picture = None if remove is None else picture_in(remove.mask, store(), "remove.mask")
    if picture is None:
        return settings
    return settings.copy(update={"remove": remove.copy(update={"mask": store().put(picture)})})


def as_in_inpainting(p, settings: Settings) -> Settings:
    """A removal whose user has said no more than what is to go is, where img2img has a mask, what it is in inpainting."""
    if settings.remove is None or not inpaints(p):
        return settings
    return settings.copy(update={"remove": in_inpainting(settings.remove)})


def inpaints(p) -> bool:
    return isinstance(p, IMG2IMG) and p.image_mask is not None


def check(p, remove: Removal) -> None:
    """Raises :class:`SettingsError` where a mask is wanted and there is none."""
    if remove.region == "mask" and not remove.mask.strip() and not inpaints(p):
        raise SettingsError("remove.mask", remove.mask, "a picture where remove.region is mask, but in inpainting")


def within(p, remove: Removal, hires: bool) -> Optional[torch.Tensor]:
    """The mask that bounds a removal in this pass, (1, 1, H, W) from 0 to 1, in pixels or in cells; ``None`` for no bounds.

    In inpainting nothing is changed outside the host's own mask anyway; so a removal is not there either.
    """
    painted = None
    if remove.region == "mask" and remove.mask.strip():
        painted = regions.mask_of(_framed(p, picture_in(remove.mask, store(), "remove.mask").convert("L"), hires))
    own = getattr(p, "nmask", None)
    if own is None:
        return painted
    own = own[:1][None].float().cpu()
    return own if painted is None else own * F.interpolate(painted, own.shape[-2:], mode="area")


def _framed(p, mask: Any, hires: bool) -> Any:
    """A mask (Pillow) of the whole picture, in pixels, cut and scaled as the host does it with the picture."""
    if hires:
        x, y = getattr(p, "truncate_x", 0), getattr(p, "truncate_y", 0)  # cells that are cut off
        left, top, right, bottom = (FACTOR * cells for cells in (x // 2, y // 2, (x + 1) // 2, (y + 1) // 2))
        width, height = p.hr_upscale_to_x, p.hr_upscale_to_y
        return mask.resize((width, height)).crop((left, top, width - right, height - bottom))
    pictures = getattr(p, "init_images", None)
    if not pictures or p.resize_mode == LATENT_UPSCALE:
        return mask.resize((p.width, p.height))
    mask = mask.resize(pictures[0].size)
    cut = getattr(p, "paste_to", None)  # inpainting of the masked part only
    if cut is None:
        return host_images.resize_image(p.resize_mode, mask, p.width, p.height).convert("L")
    x, y, width, height = cut
    return host_images.resize_image(2, mask.crop((x, y, x + width, y + height)), p.width, p.height).convert("L")
