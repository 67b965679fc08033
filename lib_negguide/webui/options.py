"""NegGuide's section of the settings page."""

from __future__ import annotations

import gradio as gr
import torch
from modules import shared
from modules.options import OptionInfo

from lib_negguide import captioners, metrics
from lib_negguide.captioners.devices import DTYPES
from lib_negguide.hosts.a1111 import images
from lib_negguide.image_prompt import prompt
from lib_negguide.webui import preset_files

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
        ("negguide_show_negatives", OptionInfo(False, "Show the diffusion-negative pictures of auto-DNP in the gallery")),
        ("negguide_keep_negatives", OptionInfo(
            False, "Keep diffusion-negative pictures on disk",
        ).info("in negguide/dns in the WebUI's data folder, up to 500 MB; without it as long as the WebUI runs, up to 64 of them")),
        ("negguide_workbench_runs", OptionInfo(
            50, "Workbench: runs that are kept", gr.Slider, {"minimum": 1, "maximum": 500, "step": 1},
        ).info("in negguide/runs in the WebUI's data folder; the oldest go first")),
        ("negguide_clip", OptionInfo(
            "auto", "CLIP model for scores", restrict_api=True,
        ).info("auto: from models/CLIP, else the model hub's local copy; or an open_clip folder, a file of ViT-B/16, a model id")),
        ("negguide_captioner_device", OptionInfo(
            "auto", "Captioner and image encoder: device", gr.Dropdown, lambda: {"choices": ["auto", "cpu", *_cards()]},
        ).info("auto: where the WebUI interrogates")),
        ("negguide_captioner_precision", OptionInfo(
            "auto", "Captioner and image encoder: precision", gr.Radio, {"choices": list(DTYPES)},
        ).info("auto: fp16 on a graphics card, fp32 on the processor")),
        ("negguide_captioner_keep", OptionInfo(
            "cpu", "Captioner and image encoder: after use", gr.Radio, {"choices": list(captioners.KEEP)}, onchange=release,
        ).info("unload: all its memory is given back; cpu: it waits in main memory; loaded: it stays on the graphics card, "
               "which --medvram and --lowvram do not allow; CLIP likewise")),
        ("negguide_captioners", OptionInfo(
            "", "Captioner: folder of captioners", restrict_api=True,
        ).info("each of them a folder in it; empty: negguide-captioners in the WebUI's models folder")),
        ("negguide_image_models", OptionInfo(
            "", "Image prompts: folder of IP-Adapters and image encoders", restrict_api=True,
        ).info("beside the folders ipadapter and clip_vision in the WebUI's models folder, and ControlNet's own")),
        ("negguide_images_megabytes", OptionInfo(
            500, "Image prompts: MB of pictures that are kept", gr.Slider, {"minimum": 10, "maximum": 10000, "step": 10},
        ).info("in negguide/images in the WebUI's data folder, for infotexts to name; those used longest ago go first, those in "
               "presets stay")),
        ("negguide_adapter_downloads", OptionInfo(
            False, "Image prompts: allow downloads", restrict_api=True,
        ).info("of the published IP-Adapters and their image encoders over the API, and with --listen or --share; without it only a click "
               "on this page downloads")),
        ("negguide_captioner_downloads", OptionInfo(
            False, "Captioner: allow downloads", restrict_api=True,
        ).info("from the Hugging Face hub, of any model that a request names; off: only what is on this machine")),
    ):
        option.section = SECTION
        shared.opts.add_option(name, option)
    images.spared = preset_files.texts


def release() -> None:
    """Give back the memory of models that were kept."""
    captioners.release()
    metrics.release()
    prompt.release()


def _cards():
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
