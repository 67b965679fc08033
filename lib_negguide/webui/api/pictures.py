"""Endpoints on image prompts: pictures by reference, and the IP-Adapters that are here."""

from __future__ import annotations

import base64
import binascii
import io
from typing import Any, Dict

from fastapi import Body, HTTPException
from fastapi.responses import Response
from modules import call_queue

from lib_negguide.errors import SettingsError
from lib_negguide.hosts.a1111 import images
from lib_negguide.image_prompt.store import MARK
from lib_negguide.webui.api.answers import refusing

THUMBNAIL = 256
"""Pixels of the longer side."""


def put_image(image: Any = Body(embed=True)) -> Dict[str, Any]:
    """Keep a picture (base 64, with or without ``data:image/…;base64,`` before it): ``image`` is the reference that stands for it in
    settings and infotexts; with its ``width`` and ``height`` as kept."""
    with refusing():
        allowed = "a picture as base64 or as a data URL"
        if not isinstance(image, str):
            raise SettingsError("image", image, allowed)
        try:
            data = base64.b64decode(image.split(",", 1)[1] if image.startswith("data:image/") else image, validate=True)
            reference = images.store().put(data)
        except (binascii.Error, ValueError, IndexError):
            raise SettingsError("image", image, allowed) from None
    width, height = images.store().get(reference).size
    return {"image": reference, "width": width, "height": height}


def get_image(name: str) -> Response:
    """A kept picture, small, as PNG; ``name``: its reference, or the hash in it. 404 where it is not here."""
    picture = images.store().get(name if name.startswith(MARK) else MARK + name)
    if picture is None:
        raise HTTPException(status_code=404, detail=f"NegGuide: there is no picture {name} here; choose its file again")
    small = picture.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    small.save(file, "PNG")
    return Response(file.getvalue(), media_type="image/png", headers={"Cache-Control": "private, max-age=604800, immutable"})


def adapters() -> Dict[str, Any]:
    """IP-Adapters in the folders: ``kind``, what ``model`` each is for, whether it ``fits`` the one that is loaded, its ``encoder``, and
    whether it is ``usable``, or ``why`` not. ``auto``: the one taken where none is named. ``folders``: where adapters and encoders are."""
    with call_queue.queue_lock, refusing():
        rows = images.found()
    auto = next((row["adapter"] for row in rows if row["fits"]), None)
    return {"adapters": rows, "auto": auto, "folders": {"adapters": [str(folder) for folder in images.adapter_folders()],
                                                         "encoders": [str(folder) for folder in images.encoder_folders()]}}
