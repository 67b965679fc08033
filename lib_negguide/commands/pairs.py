"""What ``dns`` and ``dnp`` share: prompts and seeds, names of pictures, and a file of results that can be gone on with."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from lib_negguide.cache import key_of
from lib_negguide.commands import common
from lib_negguide.errors import NegGuideError, SettingsError

RESULTS = "results.jsonl"

Pair = Tuple[str, int]
"""A prompt and a seed: one picture."""

AGAIN = """\
One JSON line a picture is written to OUT/results.jsonl. Interrupted or started again, a command makes what is not there yet.
"""


def options(parser: argparse.ArgumentParser, out: str) -> None:
    parser.add_argument("prompt", nargs="*", help="what the picture shows; several prompts: each in quotes")
    parser.add_argument("--prompts", type=Path, metavar="FILE", help="a file with one prompt a line; # begins a comment line")
    parser.add_argument("--seeds", "--seed", type=common.seeds, metavar="SEEDS", help="of every prompt, e.g. 7, 1-8 or 1-4,9 (default 1)")
    parser.add_argument("--out", type=Path, default=Path(out), help="folder for the pictures (default %(default)s/)")


def prompts_of(arguments) -> List[str]:
    """The prompts asked for, each once; raises :class:`SettingsError` where the file cannot be read."""
    prompts = list(arguments.prompt)
    if arguments.prompts:
        lines = [line.strip() for line in text_of("--prompts", arguments.prompts).splitlines()]
        prompts += [line for line in lines if line and not line.startswith("#")]
    return list(dict.fromkeys(prompts))


def pairs_of(arguments) -> List[Pair]:
    """Every prompt with every seed; raises :class:`SettingsError` where there is no prompt."""
    prompts = prompts_of(arguments)
    if not prompts:
        raise SettingsError("PROMPT", "", "at least one prompt, here or in a file (--prompts)")
    return [(prompt, seed) for prompt in prompts for seed in dict.fromkeys(arguments.seeds or [1])]


def text_of(option: str, path: Path) -> str:
    """A text file; raises :class:`SettingsError` naming the option."""
    try:
        return path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        raise SettingsError(option, str(path), f"a text file (UTF-8): {getattr(error, 'strerror', None) or error}") from None


def batches(pairs: Sequence[Pair], size: int) -> Iterator[Tuple[str, List[Pair]]]:
    """Parts of at most ``size`` pairs, each with its place among all in words."""
    for first in range(0, len(pairs), size):
        part = list(pairs[first:first + size])
        yield f"{first + 1}-{first + len(part)} of {len(pairs)}", part


class Results:
    """Pictures and ``results.jsonl`` in a folder; what was made by the same settings is not made again.

    ``identity``: everything that the pictures depend on but prompt and seed.
    """

    def __init__(self, folder: Path, identity: Dict[str, Any]):
        self.folder, self.identity = folder, identity
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / RESULTS
        self.lines = {line["key"]: line for line in read(self.path) if isinstance(line.get("key"), str)}

    def key(self, pair: Pair, **more) -> str:
        whole = key_of({"of": self.identity, "prompt": pair[0], "seed": pair[1], **more})
        return hashlib.sha256(whole.encode("utf-8")).hexdigest()

    def done(self, key: str, files: Sequence[str], fields: Sequence[str] = ()) -> Optional[Dict[str, Any]]:
        """The line of a picture that is there, with these ``files`` and other ``fields``; else ``None``."""
        line = self.lines.get(key)
        if line is None or any(name not in line for name in fields):
            return None
        named = line.get("files", {})
        there = [path for name in files for path in _list(named.get(name) or "missing")]
        return line if all((self.folder / path).is_file() for path in there) else None

    def name(self, pair: Pair, key: str, kind: str = "") -> str:
        """A file name for a picture of this pair; its key is in it, so that other settings overwrite nothing."""
        words = re.sub(r"[^a-z0-9]+", "-", pair[0].lower())[:40].strip("-") or "prompt"
        return f"{words}-{pair[1]:05d}-{key[:8]}{kind and '-' + kind}.png"

    def add(self, line: Dict[str, Any]) -> None:
        """Append a line; its pictures are there already."""
        self.lines[line["key"]] = line
        try:
            torn = self.path.is_file() and self.path.stat().st_size > 0 and not self.path.read_bytes().endswith(b"\n")
            with self.path.open("a", encoding="utf-8") as file:
                file.write("\n" * torn + json.dumps(line, ensure_ascii=False) + "\n")
        except OSError as error:
            raise NegGuideError(f"NegGuide: {self.path} cannot be written: {error.strerror or error}") from None


def read(path: Path) -> List[Dict[str, Any]]:
    """The lines of a results file; one that was cut off (by a crash while writing) is left out."""
    if not path.is_file():
        return []
    lines = []
    for text in text_of("--out", path).split("\n"):
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines


def captions_of(path: Path, pairs: Sequence[Pair], prompts: int) -> List[str]:
    """Captions by hand, one a pair: from an edited results file, by prompt and seed; or from a text file.

    Of a text file every line is a caption: one for all, one a prompt, or one a picture (prompt by prompt).
    """
    text = text_of("--captions", path)
    if is_results(text):
        found = {(line.get("prompt"), line.get("seed")): line.get("caption") for line in lines_of(path, text)}
        for pair in pairs:
            if not isinstance(found.get(pair), str):
                raise SettingsError("--captions", str(path), f'a line with prompt "{pair[0]}", seed {pair[1]} and its caption')
        return [found[pair] for pair in pairs]
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) not in (1, prompts, len(pairs)):
        raise SettingsError("--captions", f"{len(lines)} lines",
                            f"one line for all, one a prompt ({prompts}) or one a picture ({len(pairs)})")
    return [line for line in lines for _ in range(len(pairs) // len(lines))]


def is_results(text: str) -> bool:
    return text.lstrip().startswith("{")


def lines_of(path: Path, text: str) -> List[Dict[str, Any]]:
    """The objects of an edited results file; raises :class:`SettingsError` naming the line that is none."""
    lines = []
    for number, written in enumerate(text.split("\n"), 1):
        if not written.strip():
            continue
        try:
            line = json.loads(written)
        except ValueError:
            line = None
        if not isinstance(line, dict):
            raise SettingsError("--captions", f"line {number} of {path}", "one JSON object a line, as dns has written it")
        lines.append(line)
    return lines


def pairs_in(path: Path) -> List[Pair]:
    """The prompts and seeds of a results file, in its order."""
    text = text_of("--captions", path)
    if not is_results(text):
        raise SettingsError("PROMPT", "", "the prompts that these captions belong to (only a results file names them)")
    pairs = [(line.get("prompt"), line.get("seed")) for line in lines_of(path, text)]
    good = [pair for pair in pairs if isinstance(pair[0], str) and isinstance(pair[1], int)]
    return list(dict.fromkeys(good))


def _list(value) -> List[str]:
    return list(value) if isinstance(value, list) else [value]
