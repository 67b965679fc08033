"""``bench images``: drawings as negative and positive prompts on the small model, against texts."""

from __future__ import annotations

import argparse
from pathlib import Path

from lib_negguide import world
from lib_negguide.errors import SettingsError

ATTRIBUTES = ("glasses", "mustache", "hat")

EXAMPLES = """\
examples:
  python -m lib_negguide bench images --seeds 32
  python -m lib_negguide bench images --lines glasses-only,glasses-text --report

It can be interrupted and started again: what is done stays in OUT, a file for each line.
"""


def add(commands) -> None:
    parser = commands.add_parser(
        "images", help="pictures as negatives and positives, against texts", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EXAMPLES)
    parser.add_argument("--seeds", type=int, default=500, help="pictures per line (default %(default)s)")
    parser.add_argument("--first-seed", type=int, default=300_000, help="default %(default)s")
    parser.add_argument("--lines", type=lambda written: written.split(","), default=[], help="only these (names of the files in OUT)")
    parser.add_argument("--report", action="store_true", help="write the report of some lines, too")
    parser.add_argument("--attribute", choices=ATTRIBUTES, default="glasses", help="of the curves (default %(default)s)")
    parser.add_argument("--cfg", type=float, default=world.GUIDANCE, help="guidance scale (default %(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="pictures at a time (default %(default)s)")
    parser.add_argument("--model", type=Path, help="another file of the small model")
    parser.add_argument("--adapter", type=Path, help="another IP-Adapter for it")
    parser.add_argument("--encoder", type=Path, help="another folder of its image encoder")
    parser.add_argument("--out", type=Path, default=Path("out/images"), help="folder (default %(default)s)")
    parser.set_defaults(run=run)


def run(arguments) -> int:
    for name in ("seeds", "batch"):
        if getattr(arguments, name) < 1:
            raise SettingsError(f"--{name}", getattr(arguments, name), "a whole number from 1")
    return world.part("images").run(arguments)
