"""Where a captioner's files are, whether they are complete and harmless, and what tells them from all others.

A model's files, as transformers saves them: ``config.json``, the image processor's and the tokenizer's files,
and weights: ``model.safetensors`` or shards with their index, else ``pytorch_model.bin`` (read as plain tensors only).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Set, Tuple

from lib_negguide import hub as on_hub
from lib_negguide.errors import CaptionerError, ModelError
from lib_negguide.said import said

KNOWN = {"blip-base": "Salesforce/blip-image-captioning-base", "blip-large": "Salesforce/blip-image-captioning-large",
         "blip2": "Salesforce/blip2-opt-2.7b"}  # blip2 is the one of Desai and Vasconcelos
SAFETENSORS, TORCH = "model.safetensors", "pytorch_model.bin"
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
IMAGES = ("preprocessor_config.json", "image_processor_config.json", "processor_config.json")
SMALL = ("*.json", "*.txt", "*.model", "*.jinja")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_WHOLE = 64 << 20
"""A weights file up to this size is hashed whole; a larger one by samples, its size and its time."""


class NotHere(CaptionerError):
    """A captioner that could be fetched, were downloads allowed."""


@dataclass(frozen=True)
class Files:
    """A model on this machine."""

    label: str
    folder: Path
    small: Tuple[Path, ...]
    weights: Tuple[Path, ...]

    @property
    def safetensors(self) -> bool:
        return self.weights[0].suffix == ".safetensors"

    @property
    def name(self) -> str:
        """``label@hash`` of the content: another model's words can never pass for this one's."""
        total = hashlib.sha256()
        for path in self.small + self.weights:
            total.update(f"{path.name}\0{digest(path)}\n".encode())
        return f"{self.label}@{total.hexdigest()[:10]}"


def find(spec: str, folder: Optional[Path] = None, downloads: bool = False) -> Files:
    """The files that ``spec`` means: a known name, a name below ``folder``, a folder anywhere, or a model id of the hub."""
    hub = KNOWN.get(spec, spec)
    places = [Path(folder) / name for name in dict.fromkeys((spec, hub, hub.split("/")[-1]))] if folder else []
    if spec not in KNOWN:
        places.append(Path(spec))
    for place in places:
        if _is_folder(place):
            files, lacks = look(place, spec if spec in KNOWN else place.name)
            if lacks:
                raise CaptionerError(said('NegGuide: the captioner "{}" in {} is not complete: {}', spec, place, f"{lacks}{_page(hub)}"))
            return files
    if not _HUB_ID.fullmatch(hub):
        raise CaptionerError(said(
            'NegGuide: there is no captioner "{}": it is none of {}, no folder (nor one in {}), and no model id of the hub (owner/name)',
            spec, ", ".join(("auto", "webui", "text", *KNOWN)), folder or "the folder of captioners"))
    cached = on_hub.cached(hub)
    files, lacks = look(cached, spec) if cached else (None, "it is not there")
    if lacks and downloads:
        files, lacks = look(download(hub), spec)
    if lacks:
        own = places[0] if folder else "a folder, and name that folder as the captioner"
        raise NotHere(said('NegGuide: the captioner "{}" is not on this machine ({}: {}). Put the files of {} into {}; or allow downloads',
                           spec, on_hub.folder_of(hub), lacks, on_hub.page(hub), own))
    return files


def download(hub: str) -> Path:
    """Fetch what a captioner needs into the hub's cache; bars in the console, and an interrupted download goes on where it was."""
    try:
        return on_hub.snapshot(hub, lambda names: [*SMALL, *weights_among(names)])
    except ModelError as error:
        raise CaptionerError(str(error)) from error


def weights_among(names: List[str]) -> List[str]:
    """The weight files to fetch: safetensors if there are any, else PyTorch's; nothing of other frameworks and precisions."""
    for single in (SAFETENSORS, TORCH):
        stem, suffix = single.rsplit(".", 1)
        if single in names:
            return [single]
        if f"{single}.index.json" in names:
            return [name for name in names if name.startswith(stem + "-") and name.endswith("." + suffix)]
    return []


def below(folder: Optional[Path]) -> List[str]:
    """Names of the captioners in a folder of captioners."""
    if folder is None or not _is_folder(folder):
        return []
    return sorted(place.name for place in Path(folder).iterdir() if (place / "config.json").is_file())


def _is_folder(place: Path) -> bool:
    try:
        return place.is_dir()
    except (OSError, ValueError):  # a text that is no path at all
        return False


def look(folder: Path, label: str) -> Tuple[Optional[Files], str]:
    """(files, "") if the folder holds a captioner, else (None, what is wrong in words)."""
    here = {path.name for path in folder.iterdir()}
    lacks: List[str] = []
    if "config.json" not in here:
        lacks.append("config.json")
    if not here.intersection(IMAGES):
        lacks.append(IMAGES[0])
    if not here.intersection(TOKENIZERS):
        lacks.append("tokenizer.json or vocab.txt")
    names, wrong = _weights(folder, here)
    if wrong:
        return None, wrong
    if not names:
        lacks.append(SAFETENSORS)
    lacks += [name for name in names if name not in here]
    if lacks:
        return None, "there is no " + ", no ".join(lacks)
    pickles = sorted(name for name in here if name.endswith((".pkl", ".pickle")) or name == "vocab.bin")
    if pickles:
        return None, f"{pickles[0]} is a pickle, which could run anything; such models are not opened"
    for name in names:
        with open(folder / name, "rb") as file:
            if file.read(20).startswith(b"version https://git-"):
                return None, f"{name} is a pointer of git LFS, not the file itself"
    small = sorted(path for pattern in SMALL for path in folder.glob(pattern))
    return Files(label, folder, tuple(small), tuple(folder / name for name in names)), ""


def _weights(folder: Path, here: Set[str]) -> Tuple[List[str], str]:
    """(names of the weight files, "") or ([], what is wrong): safetensors if they are all there, else PyTorch's."""
    names: List[str] = []
    for single in (SAFETENSORS, TORCH):
        if single in here:
            return [single], ""
        index = f"{single}.index.json"
        if index not in here:
            continue
        try:
            shards = {str(name) for name in json.loads((folder / index).read_text("utf-8"))["weight_map"].values()}
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            return [], f"{index} cannot be read"
        suffix = Path(single).suffix
        if not shards or any(Path(name).name != name or Path(name).suffix != suffix for name in shards):
            return [], f"{index} names files that are no {suffix} files of this folder"
        if shards <= here:
            return sorted(shards), ""
        names = names or sorted(shards)
    return names, ""


def _page(hub: str) -> str:
    return f" (its usual page: https://huggingface.co/{hub})" if _HUB_ID.fullmatch(hub) else ""


_digests: Dict[Tuple[str, int, int], str] = {}


def digest(path: Path) -> str:
    """Of the content. The hub's cache names a large file by its sha256, so nothing is read there."""
    real = path.resolve()
    if real.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", real.name):
        return real.name
    about = real.stat()
    key = (str(real), about.st_size, about.st_mtime_ns)
    if key not in _digests:
        content = hashlib.sha256()
        with open(real, "rb") as file:
            if about.st_size <= _WHOLE:
                content.update(file.read())
            else:
                content.update(f"{about.st_size} {about.st_mtime_ns}".encode())
                for part in range(65):
                    file.seek(part * (about.st_size - 16384) // 64)
                    content.update(file.read(16384))
        _digests[key] = content.hexdigest()
    return _digests[key]
