"""Devices and precisions by name, and memory given back."""

from __future__ import annotations

import gc
import logging
import traceback

from lib_negguide.errors import CaptionerError, SettingsError

log = logging.getLogger("NegGuide")
DEVICES = "auto, cpu, cuda, cuda:0, … or mps"
DTYPES = ("auto", "fp32", "fp16", "bf16")


def device_of(device):
    """None or "auto": the first GPU if torch sees one, else the processor."""
    import torch

    if device is None or device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(device)
    except RuntimeError:
        raise SettingsError("captioner device", device, "one of " + DEVICES) from None
    if device.type == "cuda" and not (torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()):
        raise CaptionerError(f"NegGuide: the captioner's device is {device}, but torch sees no such GPU; choose auto or cpu")
    return device


def dtype_of(dtype, device):
    """None or "auto": fp16 on a GPU, fp32 on the processor. A torch.dtype is taken as it is."""
    import torch

    if isinstance(dtype, torch.dtype):
        return dtype
    names = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    if dtype is None or dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.float16
    if dtype not in names:
        raise SettingsError("captioner precision", dtype, "one of " + ", ".join(DTYPES))
    return names[dtype]


def free(device) -> None:
    """Unused memory of the device back to the driver."""
    import torch

    if device.type == "cuda" and torch.cuda.is_available():
        with torch.cuda.device(device):
            torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def let_go(error: BaseException) -> None:
    """The calls that ``error`` came through hold no models and tensors any more, also while the error is held."""
    traceback.clear_frames(error.__traceback__)
    gc.collect()


def empty(model) -> None:
    """The model's memory goes even while somebody still holds the module (an exception's frames, say)."""
    try:
        if model is not None:
            model.to("meta")
    except Exception:  # a model that cannot be moved so goes with its last reference
        log.debug("captioner not emptied", exc_info=True)
