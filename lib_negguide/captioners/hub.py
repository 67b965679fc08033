"""The Hugging Face hub: its cache on this machine, and downloads where they are allowed."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional

from lib_negguide.errors import CaptionerError

from .files import SAFETENSORS, SMALL, TORCH


def page(hub: str) -> str:
    return f"https://huggingface.co/{hub}"


def folder_of(hub: str) -> Path:
    """Where the cache keeps a model."""
    from huggingface_hub import constants

    cache = getattr(constants, "HF_HUB_CACHE", None) or constants.HUGGINGFACE_HUB_CACHE  # older clients have the second alone
    return Path(cache) / ("models--" + hub.replace("/", "--"))


def cached(hub: str) -> Optional[Path]:
    """The folder with the files of the newest known revision, as far as they are there; no network."""
    revision = folder_of(hub) / "refs" / "main"
    if not revision.is_file():
        return None
    snapshot = folder_of(hub) / "snapshots" / revision.read_text("utf-8").strip()
    return snapshot if snapshot.is_dir() else None


def download(hub: str) -> Path:
    """Fetch what a captioner needs into the cache; bars in the console, and an interrupted download goes on where it was."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        names = HfApi().list_repo_files(hub)
        return Path(snapshot_download(hub, allow_patterns=[*SMALL, *weights_among(names)], ignore_patterns=["*/*"]))
    except Exception as error:
        raise CaptionerError(f"NegGuide: {page(hub)} could not be fetched: {type(error).__name__}: {error}") from error


def weights_among(names: List[str]) -> List[str]:
    """The weight files to fetch: safetensors if there are any, else PyTorch's; nothing of other frameworks and precisions."""
    for single in (SAFETENSORS, TORCH):
        stem, suffix = single.rsplit(".", 1)
        if single in names:
            return [single]
        if f"{single}.index.json" in names:
            return [name for name in names if name.startswith(stem + "-") and name.endswith("." + suffix)]
    return []
