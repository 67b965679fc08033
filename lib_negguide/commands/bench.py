"""``bench``: measurements that print a table; ratios are of one run."""

from __future__ import annotations

from lib_negguide.commands import (
    attention_overhead,
    dnp_bench,
    image_overhead,
    images,
    overhead,
    photo_bench,
    removal_bench,
    samplers_bench,
    windows,
)


def add(commands) -> None:
    parser = commands.add_parser(
        "bench", help="measurements: attention, dnp, image-overhead, images, overhead, photo, removal, samplers, windows",
        description=__doc__)
    benches = parser.add_subparsers(title="benchmarks", metavar="BENCHMARK", required=True)
    attention_overhead.add(benches)
    dnp_bench.add(benches)
    images.add(benches)
    image_overhead.add(benches)
    overhead.add(benches)
    photo_bench.add(benches)
    removal_bench.add(benches)
    samplers_bench.add(benches)
    windows.add(benches)
