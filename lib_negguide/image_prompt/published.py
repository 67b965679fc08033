"""The published IP-Adapters of Ye et al. (IP-Adapter, 2023) and their image encoders: where each is got, by hand or by a download.

The one table of what exists; messages about what is missing and downloads are made from it, and no other file is ever fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Optional

from lib_negguide import hub
from lib_negguide.errors import ModelError, SettingsError
from lib_negguide.hub import Progress
from lib_negguide.image_prompt.checkpoints import BASE, FULL, PLUS

REPOSITORY = "h94/IP-Adapter"
PAGE = hub.page(REPOSITORY)
ENCODER = "image encoder"
VIT_H, VIT_G = "CLIP ViT-H/14", "CLIP ViT-bigG/14"
"""As :data:`~.vision.KNOWN` has them."""


@dataclass(frozen=True)
class Published:
    """``path`` in the repository; ``model`` it is for ("" for encoders); ``kind``: of an adapter, or :data:`ENCODER`; ``encoder``: the
    one that it needs or is; ``megabytes``, about."""

    path: str
    model: str
    kind: str
    encoder: str
    megabytes: int

    @property
    def name(self) -> str:
        """Its file's name, or for an encoder that of its folder."""
        return "CLIP-" + self.encoder[len("CLIP "):].replace("/", "-") if self.kind == ENCODER else self.path.split("/")[-1]

    @property
    def page(self) -> str:
        return f"{PAGE}/{'tree' if self.kind == ENCODER else 'blob'}/main/{self.path}"

    @property
    def words(self) -> str:
        """Where it is got by hand."""
        return f"model.safetensors of {self.page}" if self.kind == ENCODER else f"{self.path} of {PAGE}"

    def files(self, folder: Path) -> Dict[str, Path]:
        """What it consists of, and the place of each in a folder: an adapter is a file there, an encoder a folder."""
        if self.kind != ENCODER:
            return {self.path: folder / self.name}
        return {f"{self.path}/{file}": folder / self.name / file for file in ("model.safetensors", "config.json")}

    def target(self, folder: Path) -> Path:
        return folder / self.name


TABLE = {one.name: one for one in (
    Published("models/ip-adapter_sd15.safetensors", "SD1.5", BASE, VIT_H, 45),
    Published("models/ip-adapter_sd15_light.safetensors", "SD1.5", BASE, VIT_H, 45),
    Published("models/ip-adapter-plus_sd15.safetensors", "SD1.5", PLUS, VIT_H, 98),
    Published("models/ip-adapter-plus-face_sd15.safetensors", "SD1.5", PLUS, VIT_H, 98),
    Published("models/ip-adapter-full-face_sd15.safetensors", "SD1.5", FULL, VIT_H, 44),
    Published("models/ip-adapter_sd15_vit-G.safetensors", "SD1.5", BASE, VIT_G, 46),
    Published("sdxl_models/ip-adapter_sdxl_vit-h.safetensors", "SDXL", BASE, VIT_H, 698),
    Published("sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors", "SDXL", PLUS, VIT_H, 848),
    Published("sdxl_models/ip-adapter-plus-face_sdxl_vit-h.safetensors", "SDXL", PLUS, VIT_H, 848),
    Published("sdxl_models/ip-adapter_sdxl.safetensors", "SDXL", BASE, VIT_G, 703),
    Published("models/image_encoder", "", ENCODER, VIT_H, 2528),
    Published("sdxl_models/image_encoder", "", ENCODER, VIT_G, 3690),
)}
"""By name; the first for a model is the one to begin with."""


class Missing(ModelError):
    """A file that is needed is not here; ``published``: the one that could be fetched, if there is one."""

    def __init__(self, text: str, published: Optional[Published] = None):
        super().__init__(text)
        self.published = published


def adapter_for(model: Optional[str]) -> Optional[Published]:
    """The adapter to begin with for a model ("SD1.5", "SDXL")."""
    return next((one for one in TABLE.values() if one.model and one.model == model), None)


def encoder_called(words: str) -> Optional[Published]:
    """The encoder of this name, as :data:`~.vision.KNOWN` has it."""
    return next((one for one in TABLE.values() if one.kind == ENCODER and one.encoder == words), None)


def called(name: str) -> Optional[Published]:
    """By name, with or without a file's ending."""
    return TABLE.get(name) or TABLE.get(f"{name}.safetensors")


def find(name: str, field: str = "name") -> Published:
    """By name; raises :class:`SettingsError` with all names."""
    found = called(name) if isinstance(name, str) else None
    if found is None:
        raise SettingsError(field, name, "one of " + ", ".join(TABLE))
    return found


def download(one: Published, folder: Path, progress: Optional[Progress] = None) -> Path:
    """Fetch it into a folder, which is made where there is none; only on the user's wish. See :func:`~lib_negguide.hub.fetch`."""
    folder = Path(folder)
    try:
        hub.fetch(REPOSITORY, one.files(folder), progress)
    except ModelError as error:
        raise ModelError(f"{error}. By hand: get {one.words} and put it into {_place(one, folder)}") from error
    return one.target(folder)


def _place(one: Published, folder: Path) -> str:
    return f"{one.target(folder)}, with the config.json beside it" if one.kind == ENCODER else str(folder)

