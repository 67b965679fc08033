"""What the commands share: options of model and sampling, the form of a negative, seeds, the progress bar."""

from __future__ import annotations

import argparse
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List, Optional, Tuple

from lib_negguide import world
from lib_negguide.errors import SettingsError
from lib_negguide.presets import WINDOWS
from lib_negguide.schedule import UNITS
from lib_negguide.settings import Negative, Settings

NEGATIVE_FORM = "TEXT[@WINDOW][*WEIGHT]"
NEGATIVE_HELP = """\
how a negative is written:  TEXT[@WINDOW][*WEIGHT]
  mustache                  acts in the whole run, like an ordinary negative prompt
  mustache@5.8:1.6          from noise level (sigma) 5.8 down to 1.6
  mustache@5:15:step        from step 5 up to step 15; also :fraction (0 to 1)
  mustache@5.8:             from sigma 5.8 to the end; @:1.6 from the start
  mustache@noun             a preset: {presets}
  mustache@noun*1.5         with weight 1.5 (0 to 2; 1 is an ordinary negative prompt)
curves, and texts with @ or * in them: --settings
"""

_NEGATIVE = re.compile(r"(?P<text>[^@]*?)(?:@(?P<window>[^@*]*))?(?:\*(?P<weight>[0-9.]+))?\Z", re.DOTALL)


def presets() -> dict:
    """First word of a window preset, in lower case, to its window."""
    return {re.match(r"\w+", name)[0].lower(): window for name, window in WINDOWS.items()}


def negative_help() -> str:
    return NEGATIVE_HELP.format(presets=", ".join(presets()))


def parse_negative(written: str) -> Negative:
    """A negative in the form above; raises :class:`SettingsError`."""
    match = _NEGATIVE.match(written)
    if not match or not match["text"].strip():
        raise SettingsError("--negative", written, f"{NEGATIVE_FORM}, e.g. mustache@5.8:1.6")
    data = {"text": match["text"].strip()}
    if match["window"] is not None:
        data.update(_window(written, match["window"].strip()))
    if match["weight"]:
        data["weight"] = _number(written, match["weight"])
    # Validated as part of whole settings, so that the messages are those of the API.
    return Settings.parse({"negatives": [data]}).negatives[0]


def _window(written: str, window: str) -> dict:
    if window.lower() in presets():
        return presets()[window.lower()].dict(exclude_defaults=True)
    parts = [part.strip() for part in window.split(":")]
    if len(parts) not in (2, 3) or (len(parts) == 3 and parts[2] not in UNITS):
        raise SettingsError("--negative", written, "a window START:STOP, START:STOP:UNIT with unit "
                            + ", ".join(UNITS) + ", or a preset: " + ", ".join(presets()))
    data = {name: _number(written, part) for name, part in zip(("start", "stop"), parts) if part}
    return {**data, "unit": parts[2]} if len(parts) == 3 else data


def _number(written: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SettingsError("--negative", written, f"{text!r} is not a number") from None


def seeds(written: str) -> List[int]:
    """``3``, ``1-8`` or ``1-4,9`` to a list of seeds (for argparse)."""
    numbers: List[int] = []
    for part in written.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match or (match[2] and int(match[2]) < int(match[1])):
            raise argparse.ArgumentTypeError(f"{written!r} is not of the form 3, 1-8 or 1-4,9")
        numbers += range(int(match[1]), int(match[2] or match[1]) + 1)
    return numbers


def size(written: str) -> Tuple[int, int]:
    """``512`` or ``512x768`` to (width, height) (for argparse)."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", written)
    if not match:
        raise argparse.ArgumentTypeError(f"{written!r} is not of the form 512 or 512x768")
    return int(match[1]), int(match[2] or match[1])


def model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument("--model", metavar="FILE_OR_FOLDER", type=Path,
                       help="an SD1.x or SDXL checkpoint or diffusers folder (default: the project's own small model)")
    group.add_argument("--device", help="cpu, cuda, … (default: cuda where there is one)")
    group.add_argument("--dtype", choices=("float32", "float16", "bfloat16"),
                       help="of the network (default: float32 on the CPU, else float16)")


def sampling_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("sampling")
    group.add_argument("--steps", type=int, default=30, help="default %(default)s")
    group.add_argument("--cfg", type=float, help=f"guidance scale (default 7.5, small model {world.GUIDANCE:g})")
    group.add_argument("--sampler", default="Euler", help="Euler, Euler a, Heun, DPM++ 2M or DDIM (default %(default)s)")
    group.add_argument("--scheduler", default="automatic", help="automatic, uniform, karras, exponential or sgm uniform")
    group.add_argument("--size", type=size, help="e.g. 512 or 512x768 (default: what the model was made for)")
    group.add_argument("--batch", type=int, default=8, help="pictures at a time (default %(default)s)")


def load(arguments):
    """The embedded host with the model asked for."""
    import torch

    from lib_negguide.hosts.embedded.host import EmbeddedHost

    quiet()
    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = getattr(torch, arguments.dtype) if arguments.dtype else None
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError("--device", device, "a device of this machine: " + str(error).splitlines()[0]) from None
    return EmbeddedHost.load(arguments.model or world.model(), device, dtype)


def quiet() -> None:
    """Libraries' advice on their own matters is not for the users of a command."""
    import warnings

    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    warnings.filterwarnings("ignore", category=FutureWarning)
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()


def sampling(arguments, host) -> dict:
    """The options of :meth:`EmbeddedHost.sample`, with defaults that suit the model."""
    small = arguments.model is None or world.is_world(arguments.model)
    usual = world.SIZE if small else (1024, 1024) if host.model.kind == "sdxl" else (512, 512)
    if arguments.batch < 1:
        raise SettingsError("--batch", arguments.batch, "a whole number from 1")
    scale = arguments.cfg if arguments.cfg is not None else world.GUIDANCE if small else 7.5
    return {"steps": arguments.steps, "cfg_scale": scale, "sampler": arguments.sampler, "scheduler": arguments.scheduler,
            "size": arguments.size or usual, "batch_size": arguments.batch}


@contextmanager
def progress(label: str, total: Optional[int] = None) -> Iterator:
    """A bar of model calls on stderr (none where that is not a terminal); gives an ``on_step``."""
    from tqdm import tqdm

    bar = tqdm(total=total, desc=label, unit="call", disable=None, leave=False)

    def on_step(call: int, calls: int, sigma: float) -> None:
        if bar.total != calls:
            bar.total = calls
        bar.n = call + 1
        bar.set_postfix_str(f"σ {sigma:.2f}", refresh=False)
        bar.update(0)
        bar.refresh()

    try:
        yield on_step
    finally:
        bar.close()
