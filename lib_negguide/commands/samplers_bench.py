"""``bench samplers``: the default removal under one sampler after the other, on the small model."""

from __future__ import annotations

import argparse
from pathlib import Path

from lib_negguide import world
from lib_negguide.commands import overhead_webui
from lib_negguide.errors import SettingsError

SAMPLERS = "Euler,Euler a,Heun,DPM++ 2M,DPM++ SDE,DPM++ 2M SDE,LMS,DDIM,PLMS,UniPC"

EXAMPLES = """\
examples:
  python -m lib_negguide bench samplers --samplers "Euler,Euler a,Heun,DPM++ 2M,DDIM"
  python -m lib_negguide bench samplers --webui-url http://127.0.0.1:7860 --pictures 24

It can be interrupted and started again: what is done stays in OUT.
"""


def add(commands) -> None:
    parser = commands.add_parser(
        "samplers", help="the default removal under one sampler after the other", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EXAMPLES)
    parser.add_argument("--webui-url", metavar="URL", help="a WebUI with the extension and the small model; none: the embedded host")
    parser.add_argument("--samplers", type=lambda written: [name.strip() for name in written.split(",")], default=SAMPLERS.split(","),
                        metavar="NAMES", help=f"default {SAMPLERS}")
    parser.add_argument("--rows", type=lambda written: written.split(","), default=["full", "loop"], help="default full,loop")
    parser.add_argument("--thing", default="glasses", help="default %(default)s")
    parser.add_argument("--pictures", type=int, default=24, help="that show it, of each sampler (default %(default)s)")
    parser.add_argument("--first-seed", type=int, default=4_000_000, help="default %(default)s")
    parser.add_argument("--steps", type=int, default=30, help="default %(default)s")
    parser.add_argument("--cfg", type=float, default=world.GUIDANCE, help="guidance scale (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/samplers"), help="folder (default %(default)s)")
    parser.set_defaults(run=run)


def run(arguments) -> int:
    for name in ("pictures", "steps"):
        if getattr(arguments, name) < 1:
            raise SettingsError(f"--{name}", getattr(arguments, name), "a whole number from 1")
    overhead_webui.check_address("--webui-url", arguments.webui_url)
    return world.part("samplers").run(arguments)
