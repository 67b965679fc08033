"""Which IP-Adapters there are, and which one is meant."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import torch

from lib_negguide.errors import ModelError
from lib_negguide.image_prompt import checkpoints, injection, published, weights
from lib_negguide.image_prompt.checkpoints import Adapter

SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")

_outlines: Dict[str, Adapter] = {}


def look(path) -> Adapter:
    """An adapter's kind and shapes, its weights not read; raises :class:`ModelError`. A file is looked at once."""
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"NegGuide: there is no IP-Adapter {path}")
    key = weights.key_of(path)
    if key not in _outlines:
        _outlines[key] = checkpoints.recognise(weights.outline(path), path.name)
    return _outlines[key]


def candidates(folders: Sequence[Path]) -> List[Path]:
    """Files of weights in the folders and in the folders right below them, each folder's by name."""
    found: List[Path] = []
    for folder in map(Path, folders):
        if folder.is_dir():
            below = sorted(folder.iterdir())
            inside = [file for place in below if place.is_dir() for file in sorted(place.iterdir())]
            found += [file for file in below + inside if file.suffix in SUFFIXES and file.is_file()]
    return list(dict.fromkeys(found))


def adapters(folders: Sequence[Path]) -> List[Tuple[Path, Adapter]]:
    """The usable IP-Adapters in the folders; everything else that lies there is passed over."""
    found = []
    for path in candidates(folders):
        try:
            found.append((path, look(path)))
        except ModelError:
            continue
    return found


def find(spec: str, unet: torch.nn.Module, folders: Sequence[Path] = ()) -> Path:
    """The adapter's file: the one that ``spec`` names (path, or file name in a folder, with or without its ending), or for
    "auto" the first in ``folders`` that fits the model.

    Raises :class:`~.published.Missing` naming what is missing, where to get it and where to put it; whether a named one fits,
    says :func:`~.injection.check`.
    """
    spec = spec.strip()
    if spec not in ("", "auto"):
        path = Path(spec).expanduser()
        if path.is_file():
            return path
        named = [file for file in candidates(folders) if spec in (file.name, file.stem)]
        if named:
            return named[0]
        known = published.called(spec)
        known = known if known and known.model else None
        raise published.Missing(f"NegGuide: there is no IP-Adapter {spec}" + _where(known, folders, "it"), known)
    for path, adapter in adapters(folders):
        try:
            injection.check(adapter, unet)
        except ModelError:
            continue
        return path
    layers = injection.cross_attention(unet)
    model = checkpoints.MODELS.get(layers[0][1].to_k.in_features if layers else 0)
    known = published.adapter_for(model)
    where = _where(known, folders, "it" if known else "one")
    raise published.Missing(f"NegGuide: there is no IP-Adapter for {model or 'the loaded model'}" + where, known)


def _where(known: Optional[published.Published], folders: Sequence[Path], what: str) -> str:
    get = f"; get {known.words} and " if known else "; "
    if not folders:
        return get + "name its file"
    return get + f"put {what} into " + " or ".join(str(folder) for folder in folders)
