"""``bench windows``: removal and preservation by where a negative starts and ends, on the small model (after Ban et al.)."""

from __future__ import annotations

import argparse
from pathlib import Path

from lib_negguide import world
from lib_negguide.errors import SettingsError

POINTS = (0, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30)
ATTRIBUTES = ("glasses", "mustache", "hat")

EXAMPLES = """\
examples:
  python -m lib_negguide bench windows --seeds 32 --points 0,5,10,15,30
  python -m lib_negguide bench windows --attribute mustache --out out/windows

It can be interrupted and started again: what is done stays in OUT/ATTRIBUTE.json.
"""


def add(commands) -> None:
    parser = commands.add_parser(
        "windows", help="removal and preservation by start and end of the negative", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EXAMPLES)
    parser.add_argument("--attribute", choices=ATTRIBUTES, default="glasses", help="default %(default)s")
    parser.add_argument("--seeds", type=int, default=500, help="pictures per point (default %(default)s)")
    parser.add_argument("--points", type=points, default=list(POINTS), help="calls at which it starts or ends (default: "
                        + ",".join(map(str, POINTS)) + ")")
    parser.add_argument("--steps", type=int, default=30, help="default %(default)s")
    parser.add_argument("--cfg", type=float, default=world.GUIDANCE, help="guidance scale (default %(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="pictures at a time (default %(default)s)")
    parser.add_argument("--model", type=Path, help="another file of the small model")
    parser.add_argument("--out", type=Path, default=Path("out/windows"), help="folder (default %(default)s)")
    parser.set_defaults(run=run)


def points(written: str):
    """``0,5,10`` to a rising list (for argparse)."""
    try:
        return sorted({int(part) for part in written.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(f"{written!r} is not of the form 0,5,10") from None


def run(arguments) -> int:
    wrong = [point for point in arguments.points if not 0 <= point <= arguments.steps]
    if wrong:
        raise SettingsError("--points", wrong[0], f"whole numbers from 0 to the steps ({arguments.steps})")
    for name in ("seeds", "batch"):
        if getattr(arguments, name) < 1:
            raise SettingsError(f"--{name}", getattr(arguments, name), "a whole number from 1")
    return world.part("ban").run(arguments)
