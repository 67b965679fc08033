"""Options for image prompts: pictures with windows, the IP-Adapter and its image encoder."""

from __future__ import annotations

import argparse
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List

from lib_negguide import world
from lib_negguide.commands import common
from lib_negguide.errors import ModelError, SettingsError
from lib_negguide.hub import Progress
from lib_negguide.settings import SIDES, Settings

FORM = "FILE[@WINDOW][*WEIGHT]"
OPTIONS = {"negative": "--negative-image", "positive": "--image"}
HELP = {"negative": "a picture of what to avoid, with its window as for a negative; may be repeated",
        "positive": "a picture of what to show, likewise"}

_WRITTEN = re.compile(r"(?P<file>.+?)(?:@(?P<window>[^@*/\\]*))?(?:\*(?P<weight>[0-9.]+))?\Z", re.DOTALL)


def add(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("image prompts")
    for side in SIDES:
        group.add_argument(OPTIONS[side], action="append", default=[], metavar=FORM, dest=f"{side}_images", help=HELP[side])
    group.add_argument("--image-subtract", type=float, metavar="0..1",
                       help="how much of the negative pictures is taken out of the positive ones; what both show is avoided (default 0)")
    group.add_argument("--adapter", type=Path, metavar="FILE",
                       help="the IP-Adapter (default: the small model's own, else the first in --image-models that fits)")
    group.add_argument("--encoder", type=Path, metavar="FILE_OR_FOLDER", help="its CLIP image encoder (default: likewise)")
    group.add_argument("--image-models", type=Path, metavar="FOLDER", default=Path.home() / ".cache" / "negguide",
                       help="where adapters and encoders are, and where --download puts them (default %(default)s)")


def on_top(data: Dict[str, Any], arguments, store) -> Dict[str, Any]:
    """Settings as the API takes them, with the options' pictures; pictures named by their files are put into the store."""
    images: List[Dict[str, Any]] = [_stored(dict(one), store) for one in data.get("images", ())]
    for side in SIDES:
        for written in getattr(arguments, f"{side}_images", ()):
            images.append(_stored({"side": side, **parse(written, OPTIONS[side])}, store, OPTIONS[side]))
    out = {**data, "images": images} if images else data
    if getattr(arguments, "image_subtract", None) is not None:
        out = {**out, "image_subtract": arguments.image_subtract}
    return {**out, "adapter": arguments.adapter.name} if images and arguments.adapter else out


def parse(written: str, option: str) -> Dict[str, Any]:
    """A picture in the form above to fields of an image prompt, the file's name as its ``image``; raises :class:`SettingsError`."""
    if _is_file(written):
        return {"image": written}
    match = _WRITTEN.match(written)
    if not match or not _is_file(match["file"]):
        raise SettingsError(option, written, f"{FORM}, e.g. cat.png@5.8:1.6*0.8, with a file that is there")
    rest = (match["window"] or "") + (f"*{match['weight']}" if match["weight"] else "")
    try:
        return {"image": match["file"], **common.parse_window(rest)}
    except SettingsError as error:
        raise SettingsError(option, written, error.allowed) from None


def prepared(arguments, settings: Settings, host, options: Dict[str, Any], store) -> Dict[str, Any]:
    """What :meth:`EmbeddedHost.sample` needs for the settings' pictures; nothing for settings without any that act."""
    if not settings.enabled or not settings.images:
        return {}
    from lib_negguide.hosts.embedded.samplers import noise_levels, sampler
    from lib_negguide.image_prompt import fetching, files, prompt

    sigmas, _ = noise_levels(sampler(options["sampler"]), options["scheduler"], options["steps"], host.levels)
    entries = prompt.entries(settings.in_sigma(sigmas[:-1].tolist()).images, store)
    if not entries:
        return {}
    adapter, encoder = arguments.adapter, arguments.encoder
    if adapter is None and settings.adapter == "auto" and world.is_world(arguments.model or world.model()):
        adapter, encoder = world.adapter(), encoder or world.image_encoder()
    named, encoder_named, folders = str(adapter or settings.adapter), str(encoder or settings.image_encoder), [arguments.image_models]
    with _offering(arguments.download), host.threads():
        if arguments.download:
            with _bar() as progress:
                file, encoder_named = fetching.obtained(named, encoder_named, host.model.unet, folders, progress)
        else:
            file = files.find(named, host.model.unet, folders)
        return {"images": prompt.prepare(entries, file, host.model.unet, subtract=settings.image_subtract, image_encoder=encoder_named,
                                         folders=folders, device=str(host.model.device))}


@contextmanager
def _offering(download: bool) -> Iterator[None]:
    """What is missing and could be fetched is said with how to have it fetched."""
    from lib_negguide.image_prompt.published import Missing

    try:
        yield
    except Missing as error:
        if download or error.published is None:
            raise
        one = error.published
        raise ModelError(f"{error}; or --download fetches {one.name} ({one.megabytes} MB)") from error


@contextmanager
def _bar() -> Iterator[Progress]:
    """A bar of bytes on stderr (none where that is not a terminal)."""
    from tqdm import tqdm

    bar = tqdm(desc="download", unit="B", unit_scale=True, disable=None, leave=False)

    def progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    try:
        yield progress
    finally:
        bar.close()


def _stored(image: Dict[str, Any], store, option: str = "images") -> Dict[str, Any]:
    """With the store's reference in place of a file's name."""
    from lib_negguide.image_prompt.store import opened

    path = image.get("image", "")
    if not _is_file(path):
        return image
    try:
        reference = store.put(opened(path))
    except ValueError as error:
        raise SettingsError(option, path, f"a picture ({error})") from None
    return {"name": Path(path).name, **image, "image": reference}


def _is_file(text: str) -> bool:
    return 0 < len(text) < 1024 and Path(text).is_file()
