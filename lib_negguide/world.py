"""Where the project's own small trained model lies in the checkout, and how it wants to be used."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from lib_negguide.errors import ModelError

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests" / "world" / "model"
NAME = "negguide-world.safetensors"
SIZE = (64, 64)
GUIDANCE = 5.0
PROMPT = "a portrait of a person"


def model() -> Path:
    """The checkpoint file; raises :class:`ModelError` where this installation lacks it."""
    path = FOLDER / NAME
    if not path.is_file():
        raise ModelError(f"NegGuide: the small model is not at {path}; name another one with --model")
    return path


def captioner() -> Path:
    """The folder of the small world's own captioner; raises :class:`ModelError` where this installation lacks it."""
    path = FOLDER / "captioner"
    if not (path / "config.json").is_file():
        raise ModelError(f"NegGuide: the small captioner is not at {path}; choose another one, or retrain it (tests/world/README.md)")
    return path


def image_encoder() -> Path:
    """The folder of the small world's own image encoder; raises :class:`ModelError` where this installation lacks it."""
    path = FOLDER / "image_encoder"
    if not (path / "config.json").is_file():
        raise ModelError(f"NegGuide: the small image encoder is not at {path}; choose another one, or retrain it (tests/world/README.md)")
    return path


def clip() -> Path:
    """The folder of the small world's own CLIP; raises :class:`ModelError` where this installation lacks it."""
    path = FOLDER / "clip"
    if not (path / "open_clip_config.json").is_file():
        raise ModelError(f"NegGuide: the small CLIP is not at {path}; name another one with --clip, or retrain it (tests/world/README.md)")
    return path


def adapter() -> Path:
    """The small world's own IP-Adapter; raises :class:`ModelError` where this installation lacks it."""
    path = FOLDER / "ip-adapter-world.safetensors"
    if not path.is_file():
        raise ModelError(f"NegGuide: the small IP-Adapter is not at {path}; choose another one, or retrain it (tests/world/README.md)")
    return path


def is_world(path) -> bool:
    """Is this file the small model (in the checkout or a snapshot of it)?"""
    return Path(path).name == NAME


def part(name: str):
    """A module of ``tests.world`` (e.g. ``judge``), from this checkout; raises :class:`ModelError` without it."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    try:
        return importlib.import_module(f"tests.world.{name}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("tests"):
            raise
        raise ModelError(f"NegGuide: tests/world/{name}.py is not in this installation; use a checkout of the project") from None


def judge():
    """The judge of the small world: pictures (B, 3, 64, 64) in 0..1 to verdicts. For showing and measuring only."""
    try:
        return part("judge").Judge.load()
    except FileNotFoundError:
        raise ModelError(f"NegGuide: the judge's weights are not in {FOLDER}") from None
