"""``bench``: measurements that print a table; ratios are of one run."""

from __future__ import annotations

from lib_negguide.commands import dnp_bench, image_overhead, images, overhead, removal_bench, windows


def add(commands) -> None:
    parser = commands.add_parser("bench", help="measurements: dnp, image-overhead, images, overhead, removal, windows", description=__doc__)
    benches = parser.add_subparsers(title="benchmarks", metavar="BENCHMARK", required=True)
    dnp_bench.add(benches)
    images.add(benches)
    image_overhead.add(benches)
    overhead.add(benches)
    removal_bench.add(benches)
    windows.add(benches)
