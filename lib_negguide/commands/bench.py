"""``bench``: measurements that print a table; ratios are of one run."""

from __future__ import annotations

from lib_negguide.commands import overhead, windows


def add(commands) -> None:
    parser = commands.add_parser("bench", help="measurements: overhead, windows", description=__doc__)
    benches = parser.add_subparsers(title="benchmarks", metavar="BENCHMARK", required=True)
    overhead.add(benches)
    windows.add(benches)
