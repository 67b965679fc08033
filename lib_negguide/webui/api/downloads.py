"""Endpoints that fetch published IP-Adapters and image encoders, on the user's wish alone.

What can be fetched is the fixed table of :mod:`~lib_negguide.image_prompt.published`, and it goes into a folder that no request names.
A request from the WebUI's own page is the user's click: browsers say where a request comes from, and no other site can say the
same. Any other caller needs the option ``negguide_adapter_downloads``, and so does a click where the host itself lets no page install
anything (``--listen``, ``--share``): the one who clicks may be anybody then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict
from urllib.parse import urlsplit

from fastapi import Body, HTTPException, Request
from modules import call_queue, shared

from lib_negguide.background import Background, Busy
from lib_negguide.hosts.a1111 import images
from lib_negguide.image_prompt import fetching, published, vision
from lib_negguide.image_prompt.published import ENCODER, Published
from lib_negguide.webui.api.answers import refusing

OPTION = "negguide_adapter_downloads"

job = Background("NegGuide: download")


def published_files() -> Dict[str, Any]:
    """The IP-Adapters and image encoders that can be fetched: ``name``, the ``model`` it is for, its ``kind``, the ``encoder`` that it
    needs or is, its size in ``megabytes`` (about), its ``page``, the ``folder`` it goes into, and whether it is ``here``.

    ``missing``: the name of what the loaded model lacks first, or null. ``why``: why even a click on the page would be refused, or "".
    """
    with call_queue.queue_lock, refusing():
        lacks = fetching.missing("auto", "auto", images.unet(), images.adapter_folders(), images.encoder_folders())
    return {"missing": lacks and lacks.name, "why": _refusal(True), "files": [_row(one) for one in published.TABLE.values()]}


def start_download(request: Request, name: Any = Body(embed=True)) -> Dict[str, Any]:
    """Begin to fetch the published file ``name``; answers as ``GET`` does. 403 without the user's leave, 409 while another is fetched."""
    refusal = _refusal(_of_own_page(request))
    if refusal:
        raise HTTPException(status_code=403, detail=refusal)
    with refusing():
        one = published.find(name)
        try:
            job.start(one.name, lambda progress: published.download(one, _folder(one), progress))
        except Busy as error:
            raise HTTPException(status_code=409, detail=str(error)) from error
    return job.told()


def download_state() -> Dict[str, Any]:
    """How far the download is, or how the last one ended: ``name``, bytes ``done`` of ``total`` (0: not known yet), ``state``
    (idle, running, done, failed, cancelled) and ``error`` in words."""
    return job.told()


def cancel_download() -> Dict[str, Any]:
    """End the download. What is here is kept, and the next one of the same file goes on from there."""
    job.cancel()
    return job.told()


def _folder(one: Published) -> Path:
    return (images.encoder_folders() if one.kind == ENCODER else images.adapter_folders())[0]


def _row(one: Published) -> Dict[str, Any]:
    folders = images.encoder_folders() if one.kind == ENCODER else images.adapter_folders()
    return {"name": one.name, "model": one.model, "kind": one.kind, "encoder": one.encoder, "megabytes": one.megabytes, "page": one.page,
            "folder": str(folders[0]), "here": any(_is_there(one, folder) for folder in folders)}


def _is_there(one: Published, folder: Path) -> bool:
    if one.kind != ENCODER:
        return one.target(folder).is_file()
    return one.target(folder).is_dir() and vision.look(one.target(folder)) is not None


def _refusal(clicked: bool) -> str:
    """Why a request to fetch something is refused; "" if it is not."""
    if getattr(shared.opts, OPTION, False):
        return ""
    how = 'NegGuide: nothing is downloaded without the user\'s leave: {}; allow it in the settings, section NegGuide, ' \
          '"Image prompts: allow downloads", or get the file by hand'
    if getattr(shared.cmd_opts, "disable_extension_access", False):
        return how.format("this WebUI is open to others (--listen, --share), so a click may be anybody's")
    if not clicked:
        return how.format("this request does not come from a click on the WebUI's own page")
    return ""


def _of_own_page(request: Request) -> bool:
    """Does a browser say that the request is made by a page of this very server?"""
    origin, site = request.headers.get("origin", ""), request.headers.get("sec-fetch-site", "same-origin")
    return urlsplit(origin).netloc == request.headers.get("host") and site == "same-origin"
