"""What a removal in inpainting is where its user has said nothing else."""

from __future__ import annotations

from typing import Any, Dict

from lib_negguide.settings.removal import Removal

INPAINTING: Dict[str, Any] = {"region": "mask", "search": "window", "start": None}
"""Outside the mask nothing can change, so there is nothing to wait for, and nobody has to look: docs/removal/photos.md."""


def in_inpainting(remove: Removal) -> Removal:
    """The removal for a picture that is sampled anew in a mask: fields that its object does not name are as in inpainting.

    One that names another region than the mask is meant as it is.
    """
    named = remove.__fields_set__
    if "region" in named and remove.region != "mask":
        return remove
    return remove.copy(update={name: value for name, value in INPAINTING.items() if name not in named})
