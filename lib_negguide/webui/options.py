"""NegGuide's section of the settings page."""

from __future__ import annotations

from modules import shared
from modules.options import OptionInfo

SECTION = ("negguide", "NegGuide")


def add() -> None:
    """Register the options; called by the host when it builds its settings."""
    for name, option in (
        ("negguide_enabled", OptionInfo(False, "NegGuide is on when the page opens").needs_reload_ui()),
        ("negguide_settings", OptionInfo(
            "", "Settings of the accordion when the page opens",
        ).info("JSON, as in the API; empty: no negatives").needs_reload_ui()),
        ("negguide_presets", OptionInfo(
            "", "Folder of saved presets", restrict_api=True,
        ).info("empty: negguide/presets in the WebUI's data folder")),
        ("negguide_keep_negatives", OptionInfo(
            False, "Keep diffusion-negative pictures on disk",
        ).info("in negguide/dns in the WebUI's data folder, up to 500 MB; without it as long as the WebUI runs, up to 64 of them")),
        ("negguide_clip", OptionInfo(
            "auto", "CLIP model for scores", restrict_api=True,
        ).info("auto: from models/CLIP, else the model hub's local copy; or an open_clip folder, a file of ViT-B/16, a model id")),
    ):
        option.section = SECTION
        shared.opts.add_option(name, option)
