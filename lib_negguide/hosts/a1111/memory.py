"""Memory of the graphics card beside the host's own model."""

from __future__ import annotations

from modules import devices, shared

try:
    from modules import lowvram
except ImportError:  # hosts that manage their memory otherwise
    lowvram = None


def scarce() -> bool:
    """Whether the host was told (--medvram, --lowvram, --medvram-sdxl) to keep only what is at work on the card."""
    asked = shared.cmd_opts
    return bool(getattr(asked, "lowvram", False) or getattr(asked, "medvram", False)
                or getattr(asked, "medvram_sdxl", False) and hasattr(shared.sd_model, "conditioner"))


def make_room() -> None:
    """Before another model works, as the host does before it interrogates: what medvram has on the card goes off it.

    The host brings it back by itself at its next use; without medvram nothing moves.
    """
    if lowvram is not None and hasattr(lowvram, "send_everything_to_cpu"):
        lowvram.send_everything_to_cpu()
    devices.torch_gc()
