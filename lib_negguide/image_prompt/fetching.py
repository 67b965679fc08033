"""Adapter and image encoder for a model, fetched where the user allows it and they are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Sequence, Tuple

import torch

from lib_negguide.errors import ModelError
from lib_negguide.hub import Progress
from lib_negguide.image_prompt import encoder, files, published
from lib_negguide.image_prompt.published import Missing, Published


def missing(adapter: str, image_encoder: str, unet: torch.nn.Module, folders: Sequence[Path],
            encoders: Sequence[Path] = ()) -> Optional[Published]:
    """The published file that settings with these names lack first; ``None`` where nothing is missing or it is none of these."""
    try:
        encoder.find(image_encoder, files.look(files.find(adapter, unet, folders)), encoders or folders)
    except Missing as error:
        return error.published
    except ModelError:  # something that is here is wrong
        pass
    return None


def obtained(adapter: str, image_encoder: str, unet: torch.nn.Module, folders: Sequence[Path],
             progress: Optional[Progress] = None) -> Tuple[Path, str]:
    """(adapter's file, encoder) as :func:`~.files.find` and :func:`~.encoder.find` would have them; what is missing is fetched into
    the first of the folders. Raises :class:`ModelError`."""
    path = _or_fetched(lambda: files.find(adapter, unet, folders), folders, progress)
    found = _or_fetched(lambda: encoder.find(image_encoder, files.look(path), folders), folders, progress)
    return path, str(found.path)


def _or_fetched(find, folders: Sequence[Path], progress: Optional[Progress]):
    try:
        return find()
    except Missing as error:
        if error.published is None:
            raise
        published.download(error.published, folders[0], progress)
    return find()
