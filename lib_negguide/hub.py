"""The Hugging Face hub: its cache on this machine, and downloads. Nothing here is called unless the user has allowed it.

Models of transformers go into the hub's own cache (:func:`snapshot`), single files into a folder of the user's (:func:`fetch`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Mapping, Optional

from lib_negguide.errors import ModelError

Progress = Callable[[int, int], None]
"""Called with the bytes that are here and those of the whole; whatever it raises ends the download, which can be gone on with."""

CHUNK = 1 << 16
TIMEOUT = (10, 60)
"""Seconds to connect, and without any byte."""
PART = ".part"


def page(name: str) -> str:
    return f"https://huggingface.co/{name}"


def folder_of(name: str) -> Path:
    """Where the cache keeps a model."""
    from huggingface_hub import constants

    cache = getattr(constants, "HF_HUB_CACHE", None) or constants.HUGGINGFACE_HUB_CACHE  # older clients have the second alone
    return Path(cache) / ("models--" + name.replace("/", "--"))


def cached(name: str) -> Optional[Path]:
    """The folder with the files of the newest known revision, as far as they are there; no network."""
    revision = folder_of(name) / "refs" / "main"
    if not revision.is_file():
        return None
    found = folder_of(name) / "snapshots" / revision.read_text("utf-8").strip()
    return found if found.is_dir() else None


def snapshot(name: str, wanted: Callable[[List[str]], List[str]]) -> Path:
    """Fetch files of a model's main folder into the cache: those that fit a pattern that ``wanted`` gives for all names.

    Bars in the console; an interrupted download goes on where it was. Raises :class:`ModelError`.
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        names = HfApi().list_repo_files(name)
        return Path(snapshot_download(name, allow_patterns=wanted(names), ignore_patterns=["*/*"]))
    except Exception as error:  # the client has a class for each case, and adds some with time
        raise ModelError(f"NegGuide: {page(name)} could not be fetched: {_said(error)}") from error


@dataclass(frozen=True)
class Remote:
    """A file on the hub: where it is now, its size in bytes, and the hash that the hub has of it."""

    name: str
    url: str
    size: int
    hash: str

    def digest(self):
        """A hasher for a file of this size. Large files are known by their sha256, small ones by git's hash of a blob."""
        return hashlib.sha256() if len(self.hash) == 64 else hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)


def look(repository: str, path: str) -> Remote:
    """Ask the hub for a file; who asks is not told. Raises :class:`ModelError`."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    try:
        about = get_hf_file_metadata(hf_hub_url(repository, path), token=False)
    except Exception as error:
        raise ModelError(f"NegGuide: {path} of {page(repository)} could not be fetched: {_said(error)}") from error
    if not about.size or len(about.etag or "") not in (40, 64):
        raise ModelError(f"NegGuide: {path} of {page(repository)} could not be fetched: the hub names no size or checksum of it")
    return Remote(path, about.location, about.size, about.etag)


def fetch(repository: str, targets: Mapping[str, Path], progress: Optional[Progress] = None) -> None:
    """Fetch files of a repository, each to its own place, one after the other.

    A file is whole and its checksum that of the hub before it gets its name; until then it is called NAME.….part, and
    a download that was broken off goes on from it. A file with other content is deleted. One that is there already is
    checked, not replaced. Raises :class:`ModelError`, and what ``progress`` raises.
    """
    remotes = {look(repository, path): Path(target) for path, target in targets.items()}
    total, before = sum(remote.size for remote in remotes), 0
    for remote, target in remotes.items():
        def told(done: int, before: int = before) -> None:
            if progress:
                progress(before + done, total)

        try:
            _fetch(remote, target, told)
        except (OSError, EOFError) as error:  # requests' errors are OSErrors too
            raise ModelError(f"NegGuide: {remote.name} of {page(repository)} could not be fetched: {_said(error)}; "
                             "what is here is kept, and the next download goes on from there") from error
        before += remote.size


def _fetch(remote: Remote, target: Path, told: Callable[[int], None]) -> None:
    if target.exists():
        if target.stat().st_size != remote.size or _digest(remote, target, told).hexdigest() != remote.hash:
            raise ModelError(f"NegGuide: {target} is not the file {remote.name} of the hub; move or delete it first")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{remote.hash[:8]}{PART}")  # a newer version of the file begins anew
    here = part.stat().st_size if part.is_file() else 0
    if remote.size - here > shutil.disk_usage(target.parent).free:
        raise ModelError(f"NegGuide: {target.parent} has no room for {remote.name}, {remote.size / 1e6:.0f} MB")
    if _received(remote, part, here, told).hexdigest() != remote.hash:
        part.unlink()
        raise ModelError(f"NegGuide: {remote.name} came with a wrong checksum and was deleted; try again")
    os.replace(part, target)


def _received(remote: Remote, part: Path, here: int, told: Callable[[int], None]):
    """Fetch what lacks into ``part``; as often as something comes before the connection breaks. Gives its hasher."""
    import requests

    digest = _digest(remote, part, told) if here else remote.digest()
    while here < remote.size:
        begun, head = here, {"Accept-Encoding": "identity", **({"Range": f"bytes={here}-"} if here else {})}
        try:
            with requests.get(remote.url, headers=head, stream=True, timeout=TIMEOUT) as answer:
                answer.raise_for_status()
                if answer.status_code != 206:  # from the beginning, whatever was asked
                    here, digest = 0, remote.digest()
                with part.open("ab" if here else "wb") as file:
                    for chunk in answer.iter_content(CHUNK):
                        file.write(chunk)
                        digest.update(chunk)
                        here += len(chunk)
                        told(here)
                        if here > remote.size:
                            return digest
        except requests.RequestException:
            if here <= begun:
                raise
        if here <= begun:
            raise EOFError("the connection ends too early")
    return digest


def _digest(remote: Remote, path: Path, told: Callable[[int], None]):
    """The hasher of what is in a file."""
    digest, done = remote.digest(), 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            done += len(chunk)
            told(done)
    return digest


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no reason given'}"
