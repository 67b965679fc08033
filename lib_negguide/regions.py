"""Where a removal acts: regions over the latent, soft masks (B, 1, h, w) from 0 to 1."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, List, Optional, Protocol

import torch
import torch.nn.functional as F

from lib_negguide.errors import HostError, SettingsError
from lib_negguide.settings import Removal

if TYPE_CHECKING:
    from lib_negguide.removal import Seen

THRESHOLD, SOFTNESS, MEMORY = 0.5, 0.2, 0.0
"""Of a map from 0 to 1: the value that counts half, the width over which it fades, and how much of the map of the last call stays."""
BLUR = 16
"""Maps are smoothed over so many parts of the shorter side: an 8x8 latent not at all, a 64x64 one over 4 cells."""


class Region(Protocol):
    """One object a sampling pass; asked at each call at which the removal acts somewhere."""

    def mask(self, seen: Seen) -> torch.Tensor:
        """(B, 1, h, w) from 0 to 1; rows of pictures that are not wanted mean nothing."""
        ...


class Everywhere:
    """The whole picture."""

    def mask(self, seen: Seen) -> torch.Tensor:
        return torch.ones_like(seen.d_u[:, :1])


class Painted:
    """A given mask: (1 or B, 1, H, W), white where it may act, each cell of the latent the mean of its part."""

    def __init__(self, mask: torch.Tensor):
        self._given = mask.float().clamp(0.0, 1.0)
        self._fitted: Optional[torch.Tensor] = None

    def mask(self, seen: Seen) -> torch.Tensor:
        if self._fitted is None or self._fitted.shape[-2:] != seen.d_u.shape[-2:]:
            self._fitted = F.interpolate(self._given.to(seen.d_u.device), seen.d_u.shape[-2:], mode="area")
        return self._fitted.expand(len(seen.d_u), -1, -1, -1)


class Mapped:
    """Where a map is at least half as high as at its highest: softly, and with a memory of the calls before.

    Each picture's map is divided by its maximum; ``memory`` of the map so far stays at each call.
    """

    def __init__(self, threshold: float = THRESHOLD, softness: float = SOFTNESS, memory: float = MEMORY):
        self.threshold, self.softness, self.memory = threshold, softness, memory
        self._maps: Optional[torch.Tensor] = None

    def map(self, seen: Seen, pictures: List[int]) -> torch.Tensor:
        """(K, 1, h, w) of these pictures, 0 or more, in any unit."""
        raise NotImplementedError

    def mask(self, seen: Seen) -> torch.Tensor:
        pictures = [number for number, wanted in enumerate(seen.wanted) if wanted]
        if self._maps is None:
            self._maps = seen.d_u.new_full((len(seen.d_u), 1, *seen.d_u.shape[-2:]), float("nan"), dtype=torch.float32)
        if pictures:
            new = self.map(seen, pictures).float()
            new = new / new.amax((2, 3), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
            old = self._maps[pictures]
            self._maps[pictures] = torch.where(old.isnan(), new, self.memory * old + (1.0 - self.memory) * new)
        low = self.threshold - self.softness / 2.0
        return ((self._maps.nan_to_num(0.0) - low) / self.softness).clamp(0.0, 1.0)


class Object(Mapped):
    """Where the thing's words change the prompt's prediction: ||e|| over the channels of each cell.

    In eps and in x0 alike, since a call's differences are multiples of each other there.
    """

    THRESHOLD, KEPT = 0.6, 0.45
    """``KEPT``: where the rest of the picture is kept, which lets the thing's neighbourhood give way, too."""

    def __init__(self, kept: bool = False):
        super().__init__(self.KEPT if kept else self.THRESHOLD)

    def map(self, seen: Seen, pictures: List[int]) -> torch.Tensor:
        return blurred(seen.differences(pictures)[1].square().sum(1, keepdim=True).sqrt())


class Attended(Mapped):
    """Where the picture attends to the removal's words, from the host's probes of cross-attention."""

    def map(self, seen: Seen, pictures: List[int]) -> torch.Tensor:
        if seen.attention is None:
            raise HostError("NegGuide: this host shows no attention maps")
        maps = seen.attention(pictures).to(seen.d_u.device, torch.float32)
        return F.interpolate(maps, seen.d_u.shape[-2:], mode="bilinear", align_corners=False)


class Within:
    """Another region, inside a given mask only."""

    def __init__(self, region: Region, within: torch.Tensor):
        self._region, self._painted = region, Painted(within)

    def mask(self, seen: Seen) -> torch.Tensor:
        return self._region.mask(seen) * self._painted.mask(seen).to(seen.d_u)


def make(removal: Removal, within: Optional[torch.Tensor] = None) -> Region:
    """The region that a removal names, for one pass. ``within``: the painted (or the host's inpainting) mask, as for :class:`Painted`.

    A mask bounds every other region too. Raises :class:`SettingsError` where a mask is wanted and there is none.
    """
    if removal.region == "mask":
        if within is None:
            raise SettingsError("remove.mask", removal.mask, "a mask, where the region is mask")
        return Painted(within)
    region: Any = {"object": partial(Object, removal.keeps), "attention": Attended, "everywhere": Everywhere}[removal.region]()
    return region if within is None else Within(region, within)


def mask_of(image: Any) -> torch.Tensor:
    """A Pillow image's brightness as a mask (1, 1, H, W)."""
    import numpy as np

    return torch.from_numpy(np.asarray(image.convert("L"), dtype=np.float32) / 255.0)[None, None]


def blurred(maps: torch.Tensor) -> torch.Tensor:
    """(K, 1, h, w) averaged over neighbouring cells, so that the noise of single cells of a large latent does not count."""
    width = min(maps.shape[-2:]) // BLUR
    if width < 2:
        return maps
    width += 1 - width % 2  # odd: centred
    edge = width // 2
    return F.avg_pool2d(F.pad(maps, (edge, edge, edge, edge), mode="replicate"), width, 1)
