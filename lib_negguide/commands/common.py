"""What the commands share: options of model and sampling, the form of a negative, seeds, the progress bar."""

from __future__ import annotations

import argparse
import re
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Iterator, List, Optional, Sequence, Tuple

from lib_negguide import world
from lib_negguide.errors import SettingsError
from lib_negguide.presets import WINDOWS
from lib_negguide.schedule import UNITS
from lib_negguide.settings import Dnp, Negative, Settings, fields, is_number

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

OPTIONS = {"steps": "dns-steps", "size": "dns-size", "text": "caption"}
"""Fields of Dnp whose option has another name."""

HELP = {"captioner": "auto (the small model's own, blip-base for other models), blip-base, blip-large, blip2, a folder or a model id.",
        "text": "A caption for all pictures; no negative picture is made.",
        "scale": "How strongly to move away from the prompt (default: the guidance scale)"}

LAST_SEED = 2**63 - 1
MOST_SEEDS = 1_000_000
"""In one command: a slip of the keys is not to fill the memory."""
"""Of torch's generators."""

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


def parse_window(written: str) -> dict:
    """WINDOW[*WEIGHT] in the form above to the fields of a window; raises :class:`SettingsError`."""
    window, _, weight = written.partition("*")
    data = _window(written, window.strip(), "--window") if window.strip() else {}
    return {**data, "weight": _number(written, weight, "--window")} if weight else data


def _window(written: str, window: str, option: str = "--negative") -> dict:
    if window.lower() in presets():
        return presets()[window.lower()].dict(exclude_defaults=True)
    parts = [part.strip() for part in window.split(":")]
    if len(parts) not in (2, 3) or (len(parts) == 3 and parts[2] not in UNITS):
        raise SettingsError(option, written, "a window START:STOP, START:STOP:UNIT with unit "
                            + ", ".join(UNITS) + ", or a preset: " + ", ".join(presets()))
    data = {name: _number(written, part, option) for name, part in zip(("start", "stop"), parts) if part}
    return {**data, "unit": parts[2]} if len(parts) == 3 else data


def _number(written: str, text: str, option: str = "--negative") -> float:
    try:
        return float(text)
    except ValueError:
        raise SettingsError(option, written, f"{text!r} is not a number") from None


def seeds(written: str) -> List[int]:
    """``3``, ``1-8`` or ``1-4,9`` to a list of seeds (for argparse)."""
    numbers: List[int] = []
    for part in written.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match or (match[2] and int(match[2]) < int(match[1])):
            raise argparse.ArgumentTypeError(f"{written!r} is not of the form 3, 1-8 or 1-4,9")
        if int(match[2] or match[1]) > LAST_SEED:
            raise argparse.ArgumentTypeError(f"{written!r}: seeds are whole numbers from 0 to {LAST_SEED}")
        if len(numbers) + int(match[2] or match[1]) - int(match[1]) >= MOST_SEEDS:
            raise argparse.ArgumentTypeError(f"{written!r}: at most {MOST_SEEDS:,} seeds in one command")
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


def captioner_options(parser: argparse.ArgumentParser, cache: bool = True) -> None:
    """What finds captioners and CLIP, and keeps negative pictures."""
    group = parser.add_argument_group("captioner and cache" if cache else "captioner and CLIP")
    if cache:
        group.add_argument("--cache", type=Path, metavar="FOLDER", help="keep diffusion-negative pictures and their captions there")
    group.add_argument("--clip", metavar="CLIP", default="auto",
                       help="CLIP for scores and the detector: a folder of open_clip's, a file of ViT-B/16, a model id (auto: the small "
                       "model's own, else the hub's copy)")
    group.add_argument("--download", action="store_true",
                       help="fetch from huggingface.co what is missing: captioner, CLIP, IP-Adapter and image encoder")


def dnp_options(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Options of diffusion-negative prompting, from the table of its fields; :func:`dnp_of` reads them."""
    group = parser.add_argument_group("negative pictures and captions")
    for name in names:
        if name == "window":
            window_option(group, fields_of(Dnp, [name])[0]["help"], "dnp_")
        else:
            field_options(group, Dnp, [name], "dnp_", OPTIONS, HELP)


def fields_of(model, names: Sequence[str]) -> List[dict]:
    """Rows of a model's table, in this order."""
    rows = {row["name"]: row for row in fields(model)}
    return [rows[name] for name in names]


def window_option(group, words: str, prefix: str) -> None:
    """``--window WINDOW[*WEIGHT]``; :func:`given` reads it."""
    group.add_argument("--window", metavar="WINDOW[*WEIGHT]", dest=prefix + "window",
                       help=words.replace("%", "%%") + " Written as for a negative, e.g. 5.8:1.6*0.7")


def field_options(group, model, names: Sequence[str], prefix: str, options: Optional[dict] = None, helps: Optional[dict] = None) -> None:
    """Options of a model's fields; names, ranges, choices and help are those of its table. :func:`given` reads them.

    ``options``: fields whose option has another name; ``helps``: whose help has other words.
    """
    for row in fields_of(model, names):
        name, default = row["name"], row["default"]
        words = (helps or {}).get(name, row["help"]).replace("%", "%%")
        option, place = "--" + (options or {}).get(name, name.replace("_", "-")), prefix + name
        if default is False:
            group.add_argument(option, action="store_true", default=None, dest=place, help=words)
        elif row["choices"]:
            group.add_argument(option, choices=row["choices"], dest=place, help=f"{words} (default {default})")
        else:
            kind = type(default) if isinstance(default, (int, str)) else float
            shown = f" (default {default})" if default else ""
            group.add_argument(option, type=kind, metavar="TEXT" if kind is str else "NUMBER", dest=place, help=words + shown)


def given(arguments, prefix: str) -> dict:
    """What the options of :func:`field_options` and :func:`window_option` say, as the API takes it."""
    data = {name[len(prefix):]: value for name, value in vars(arguments).items() if name.startswith(prefix) and value is not None}
    if "window" in data:
        data["window"] = parse_window(data["window"])
    return data


def dnp_of(arguments, base: Optional[dict] = None) -> dict:
    """``base``, as the API takes it, with what the options of :func:`dnp_options` say on top."""
    found = given(arguments, "dnp_")
    if "text" in found:
        found.setdefault("captioner", "text")
    return {**(base or {}), **found}


def tell_resumed(count: int) -> None:
    if count:
        print(f"there already: {count}")


@contextmanager
def showing(arguments, settings: Settings, host, captions: bool = False, clip: bool = False) -> Iterator[dict]:
    """What :meth:`EmbeddedHost.sample` needs for auto-DNP: cache, captioner, CLIP, a progress bar of negative pictures.

    Nothing for other settings. Weights that are missing are said here, before anything is sampled; what was
    loaded is kept until the end. ``captions``: they are there already, or not wanted; ``clip``: it is wanted anyway.
    """
    dnp = settings.dnp if settings.enabled else None
    if dnp is None:
        yield {}
        return
    from lib_negguide import captioners
    from lib_negguide.cache import Pictures
    from lib_negguide.hosts.embedded import scores
    from lib_negguide.hosts.embedded.dns import needs_clip, opener

    with ExitStack() as stack:
        extra = {"cache": Pictures(arguments.cache) if arguments.cache else None}
        if not captions and dnp.captioner != "text":
            extra["captioner"] = opener(dnp, host, arguments.download, keep="cpu")
            stack.callback(captioners.release)
            extra["on_dns_step"] = stack.enter_context(progress("negative pictures"))
        if clip or needs_clip(dnp, () if captions else None):
            extra["clip"] = stack.enter_context(scores.opened(host, arguments.clip, arguments.download))
        yield extra


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
    for name in ("steps", "batch"):
        if getattr(arguments, name) < 1:
            raise SettingsError("--" + name, getattr(arguments, name), "a whole number from 1")
    if arguments.cfg is not None and not (is_number(arguments.cfg) and arguments.cfg >= 0):
        raise SettingsError("--cfg", arguments.cfg, "a number from 0")
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
