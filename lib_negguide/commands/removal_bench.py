"""``bench removal``: what goes and what stays, by method of removal, on the small model."""

from __future__ import annotations

import argparse
from pathlib import Path

from lib_negguide import world
from lib_negguide.errors import SettingsError

THINGS = ("glasses", "mustache", "hat", "circle")

EXAMPLES = """\
examples:
  python -m lib_negguide bench removal --things glasses --seeds 32
  python -m lib_negguide bench removal --things hat --lines full,loop --seeds 100
  python -m lib_negguide bench removal --report

It can be interrupted and started again: what is done stays in OUT/THING, a file for each line. The circle is one of two shapes.
"""


def add(commands) -> None:
    parser = commands.add_parser(
        "removal", help="what goes and what stays, by method of removal", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EXAMPLES)
    parser.add_argument("--things", type=lambda written: written.split(","), default=list(THINGS), help="default " + ",".join(THINGS))
    parser.add_argument("--lines", type=lambda written: written.split(","), default=[], help="only these (names of the files in OUT/THING)")
    parser.add_argument("--report", action="store_true", help="nothing is sampled: the report of what is there")
    parser.add_argument("--pictures", type=int, default=0, metavar="N", help="draw a sheet of the first N pictures, too")
    parser.add_argument("--seeds", type=int, default=500, help="pictures that show it without a negative (default %(default)s)")
    parser.add_argument("--searched", type=int, default=100, help="of these, for the search of Ban et al. (default %(default)s)")
    parser.add_argument("--first-seed", type=int, default=4_000_000, help="default %(default)s")
    parser.add_argument("--steps", type=int, default=30, help="default %(default)s")
    parser.add_argument("--sampler", default="Euler", help="default %(default)s")
    parser.add_argument("--cfg", type=float, default=world.GUIDANCE, help="guidance scale (default %(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="pictures at a time (default %(default)s)")
    parser.add_argument("--model", type=Path, help="another file of the small model")
    parser.add_argument("--out", type=Path, default=Path("out/removal"), help="folder (default %(default)s)")
    parser.set_defaults(run=run)


def run(arguments) -> int:
    for name in ("seeds", "searched", "batch", "steps"):
        if getattr(arguments, name) < 1:
            raise SettingsError(f"--{name}", getattr(arguments, name), "a whole number from 1")
    for name in arguments.things:
        if name not in THINGS:
            raise SettingsError("--things", name, " or ".join(THINGS))
    return world.part("removal").run(arguments)
