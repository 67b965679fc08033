"""All that a nested picture depends on in A1111 beside its prompt and seed, JSON-ready: the cache's key.

Rather too much than too little: an option that changes nothing costs a sampling, one forgotten would give a wrong picture.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import sys
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import torch
from modules import sd_models, sd_vae, shared
from PIL import Image

from lib_negguide import __version__
from lib_negguide.settings import Dns

NOT_OF_THE_PICTURE = {
    "prompt", "negative_prompt", "prompt_for_display", "styles", "seed", "subseed", "sd_model", "batch_size", "n_iter", "steps", "width",
    "height", "outpath_samples", "outpath_grids", "do_not_save_samples", "do_not_save_grid", "extra_generation_params", "override_settings",
    "override_settings_restore_afterwards", "comments", "restore_faces", "overlay_images", "do_not_reload_embeddings", "force_task_id",
    "sampler_index", "enable_hr", "firstphase_width", "firstphase_height", "firstpass_image", "init_images", "mask", "refiner_checkpoint"}
"""Fields of ``p``; those of the hires pass are left out too."""

OTHER_SECTIONS = {
    "saving-images", "saving-paths", "saving-to-dirs", "face-restoration", "system", "profiler", "API", "training",
    "interrogate", "ui_prompt_editing", "ui_gallery", "ui_alternatives", "ui", "infotext", "postprocessing", "negguide", None}
"""Sections of the settings page whose options a picture does not depend on. Sections of other extensions are none of them."""

OTHER_OPTIONS = {"sd_model_checkpoint", "sd_checkpoint_hash", "sd_checkpoint_cache", "sd_checkpoints_limit"}

FLAGS = ("no_half", "precision", "upcast", "xformers", "force_enable_xformers", "opt_", "sub_quad", "disable_opt", "use_", "device_id")
"""Beginnings of the names of launch arguments that change numbers."""

_TAG = re.compile(r"<(\w+):([^:>]+)[^>]*>")
ADDED = ("sd_lora", "sd_hypernetwork")
"""Options that name a network which the host adds to every prompt."""


def identity(p, dns: Optional[Dns], steps: int, size: Tuple[int, int], image: Any = None, prompt: str = "") -> Dict[str, Any]:
    """``image``: the one that img2img starts from. ``prompt``: for the files of networks and embeddings that it names."""
    return {
        "host": "a1111", "negguide": __version__, "torch": torch.__version__, "device": _device(),
        "checkpoint": _file(_checkpoint(p).filename), "vae": _vae(p), "networks": networks(prompt),
        "flags": {name: content(value) for name, value in vars(shared.cmd_opts).items() if name.startswith(FLAGS)},
        "options": _options(p), "request": _request(p), "image": content(image), "away": None if dns is None else dns.away(p.cfg_scale),
        "steps": steps, "size": list(size)}


def networks(prompt: str) -> List[List[Any]]:
    """LoRAs and hypernetworks, each tag with its file, and the files of embeddings that a prompt names; a file that has changed is another.

    Also those of :data:`ADDED`.
    """
    known = getattr(sys.modules.get("networks"), "available_networks", {})
    aliases = getattr(sys.modules.get("networks"), "available_network_aliases", {})
    tags = [(tag.group(), tag.group(2)) for tag in _TAG.finditer(prompt)]
    tags += [(option, getattr(shared.opts, option, None) or "None") for option in ADDED]
    found = []
    for tag, name in tags:
        network = known.get(name) or aliases.get(name)
        found.append([tag, name, _file(getattr(network, "filename", None) or getattr(shared, "hypernetworks", {}).get(name))])
    low = prompt.lower()
    for folder, _, names in os.walk(getattr(shared.cmd_opts, "embeddings_dir", None) or ""):
        found += [[name, _file(os.path.join(folder, name))] for name in sorted(names) if os.path.splitext(name)[0].lower() in low]
    return found


def _request(p) -> Dict[str, Any]:
    names = {field.name for field in dataclasses.fields(p) if field.init and not field.name.startswith("hr_")} - NOT_OF_THE_PICTURE
    if getattr(p, "init_images", None) is None:
        names.discard("denoising_strength")  # of the hires pass
    fields = {name: content(getattr(p, name, None)) for name in sorted(names)}
    fields.update(kind=type(p).__name__, token_merging_ratio=p.get_token_merging_ratio(), mask=content(getattr(p, "image_mask", None)))
    second_only = getattr(p, "enable_hr", False) and shared.opts.hires_fix_refiner_pass == "second pass"
    fields["refiner_checkpoint"] = None if second_only else _refiner(p)
    return fields


def _refiner(p) -> Any:
    info = sd_models.get_closet_checkpoint_match(p.refiner_checkpoint) if p.refiner_checkpoint not in (None, "", "None", "none") else None
    return None if info is None else _file(info.filename)


def _options(p) -> Dict[str, Any]:
    values = {}
    for name, info in shared.opts.data_labels.items():
        if info.do_not_save or name in OTHER_OPTIONS or (info.section and info.section[0] in OTHER_SECTIONS):
            continue
        values[name] = content(p.override_settings.get(name, getattr(shared.opts, name)))
    return values


def _checkpoint(p) -> Any:
    return sd_models.checkpoint_aliases.get(p.override_settings.get("sd_model_checkpoint")) or sd_models.select_checkpoint()


def _vae(p) -> Any:
    name = p.override_settings.get("sd_vae")
    return [name, _file(sd_vae.vae_dict.get(name)), _file(sd_vae.resolve_vae(_checkpoint(p).filename).vae)]


def _device() -> str:
    device = shared.device
    return f"{device} {torch.cuda.get_device_name(device)}" if device.type == "cuda" else str(device)


def _file(path: Optional[str]) -> Any:
    """A file as it is now."""
    try:
        stat = os.stat(path)
    except (OSError, TypeError):
        return None if path is None else str(path)
    return [os.path.abspath(path), stat.st_size, stat.st_mtime_ns]


def content(value: Any) -> Any:
    """A value for JSON; pictures and arrays by their content."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return [content(part) for part in value]
    if isinstance(value, dict):
        return {str(key): content(part) for key, part in value.items()}
    if isinstance(value, Image.Image):
        return [value.mode, list(value.size), hashlib.sha256(value.tobytes()).hexdigest()]
    if isinstance(value, np.ndarray):
        return [str(value.dtype), list(value.shape), hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()]
    return repr(value)
