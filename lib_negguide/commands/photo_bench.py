"""``bench photo``: removal from drawings by inversion, and in inpainting, on the small model."""

from __future__ import annotations

import argparse
from pathlib import Path

from lib_negguide import world
from lib_negguide.errors import SettingsError

PARTS = ("photo-glasses", "inpaint-glasses", "photo-mustache", "photo-hat", "inpaint-mustache", "inpaint-hat")
USUAL = PARTS[:4]

EXAMPLES = """\
examples:
  python -m lib_negguide bench photo --pictures 32
  python -m lib_negguide bench photo --parts photo-glasses,inpaint-hat --report

It can be interrupted and started again: what is done stays in OUT, a file for each part.
"""


def add(commands) -> None:
    parser = commands.add_parser(
        "photo", help="removal from photos and in inpainting", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EXAMPLES)
    parser.add_argument("--parts", type=lambda written: written.split(","), default=list(USUAL), help=f"of {', '.join(PARTS)} "
                        f"(default {','.join(USUAL)})")
    parser.add_argument("--pictures", type=int, default=500, help="per part (default %(default)s)")
    parser.add_argument("--controls", type=int, default=100,
                        help="photos that are also reconstructed, and made by img2img (default %(default)s)")
    parser.add_argument("--steps", type=int, default=15, help="default %(default)s")
    parser.add_argument("--cfg", type=float, default=world.GUIDANCE, help="guidance scale (default %(default)s)")
    parser.add_argument("--batch", type=int, default=25, help="pictures at a time (default %(default)s)")
    parser.add_argument("--report", action="store_true", help="only report what has been measured")
    parser.add_argument("--model", type=Path, help="another file of the small model")
    parser.add_argument("--out", type=Path, default=Path("out/photo"), help="folder (default %(default)s)")
    parser.set_defaults(run=run)


def run(arguments) -> int:
    wrong = [part for part in arguments.parts if part not in PARTS]
    if wrong:
        raise SettingsError("--parts", wrong[0], "some of " + ", ".join(PARTS))
    for name in ("pictures", "batch"):
        if getattr(arguments, name) < 1:
            raise SettingsError(f"--{name}", getattr(arguments, name), "a whole number from 1")
    return world.part("photo").run(arguments)
