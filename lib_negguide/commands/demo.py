"""``demo``: a contact sheet of one prompt without, with a stock, and with a windowed negative, and what the judge saw."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import List, Optional

from lib_negguide import plots, world
from lib_negguide.commands import common
from lib_negguide.errors import ModelError
from lib_negguide.settings import Negative, Settings, parsed_as

NEGATIVE = "mustache"
WINDOW = "9:1.6"

EXAMPLES = """\
examples:
  python -m lib_negguide demo
  python -m lib_negguide demo --negative hat --window 5.8:1.6
  python -m lib_negguide demo --model v1-5.safetensors --prompt "a portrait of a man" --negative mustache
"""


def add(commands) -> None:
    parser = commands.add_parser(
        "demo", help="a contact sheet: no negative, stock negative, windowed negative",
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EXAMPLES,
        description="One prompt and eight seeds without a negative, with an ordinary one, and with one in a window: "
                    "a contact sheet, and, with the small model, a table of what its judge sees.")
    parser.add_argument("--prompt", default=world.PROMPT, help="default: %(default)s")
    parser.add_argument("--negative", default=NEGATIVE, metavar="TEXT", help="what must not be there (default: %(default)s)")
    parser.add_argument("--window", default=WINDOW, help="START:STOP[:UNIT] or a preset, "
                        f"one of {', '.join(common.presets())} (default %(default)s)")
    parser.add_argument("--seeds", type=common.seeds, default=list(range(1, 9)), help="default 1-8")
    parser.add_argument("--out", type=Path, default=Path("out/demo.png"), help="default %(default)s")
    common.model_options(parser)
    common.sampling_options(parser)
    parser.set_defaults(run=run)


def run(arguments) -> int:
    negative = parsed_as(Negative, {"text": arguments.negative, **common.parse_window(arguments.window)})
    negative.check("window.")
    cases = (
        ("no negative", "the prompt alone", Settings()),
        ("stock negative", "in the whole run, as every host does", Settings(negatives=[{"text": negative.text}])),
        ("windowed negative", "", Settings(negatives=[negative])),
    )
    judge = _judge(arguments)
    host = common.load(arguments)
    options = common.sampling(arguments, host)
    prompts = [arguments.prompt] * len(arguments.seeds)
    results = []
    for number, (name, _, settings) in enumerate(cases, 1):
        with common.progress(f"{number}/{len(cases)} {name}") as on_step:
            results.append(host.sample(prompts, arguments.seeds, settings, on_step=on_step, **options))

    verdicts = [judge(result.images) if judge else None for result in results]
    rows = [_row(name, words, result, seen, arguments.seeds, negative.text)
            for (name, words, _), result, seen in zip(cases, results, verdicts)]
    sheet = plots.contact_sheet(
        f"“{arguments.prompt}”, negative “{negative.text}”", rows,
        f"{host.model.name} · {options['sampler']}, {options['steps']} steps, CFG {options['cfg_scale']:g} · "
        "the bar below a picture is its run from left to right, red where the negative acts"
        + (f" · green frame: the judge sees no {negative.text}" if judge else ""))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(arguments.out)

    for (name, _, _), result in zip(cases, results):
        print(f"{name}: " + ("; ".join(result.trace.summary()) or "ordinary guidance with the empty prompt"))
    if judge:
        print("\nWhat the judge saw:\n" + _judge_table([case[0] for case in cases], results, verdicts, negative.text))
    print(f"\n{arguments.out.resolve()}")
    return 0


def _judge(arguments):
    """The small world's judge where its model is used."""
    if arguments.model is not None and not world.is_world(arguments.model):
        return None
    try:
        return world.judge()
    except ModelError as error:
        print(f"{error}; so there is no table of what it saw")
        return None


def _row(name: str, words: str, result, verdicts, seeds: List[int], text: str) -> plots.Row:
    strengths = [call.strengths[0] if call.strengths else 0.0 for call in result.trace.calls]
    acted = result.trace.summary()
    when = "never acts" if not acted else acted[0][len(text) + 2:].replace(", strength 1", "")
    short = when.split(",")[0].replace("calls", text if len(text) <= 12 else text[:11] + "…")
    row = plots.Row(name, words or when.replace(", ", ",\n"))
    for index, (seed, image) in enumerate(zip(seeds, result.pil())):
        lines, good = [f"seed {seed}", short], None
        if verdicts:
            lines.append(_words(verdicts[index]))
            good = not getattr(verdicts[index], text, False) if hasattr(verdicts[index], text) else None
        row.cells.append(plots.Cell(image, strengths, lines, good))
    return row


def _words(verdict) -> str:
    if verdict.kind == "portrait":
        return ", ".join(verdict.worn) or "a bare face"
    return " + ".join(" ".join(shape) for shape in verdict.shapes) or "nothing known"


def _judge_table(names: List[str], results, verdicts, text: str) -> str:
    """Counts per row, and how far its pictures are from those without a negative."""
    base = results[0].images
    worn = ("glasses", "mustache", "hat")
    columns = [text] + [name for name in worn if name != text] if text in worn else list(worn)
    rows = []
    for name, result, seen in zip(names, results, verdicts):
        total = len(seen)
        counts = [f"{sum(getattr(verdict, column) for verdict in seen)} of {total}" for column in columns]
        person: Optional[str] = f"{sum(verdict.kind == 'portrait' for verdict in seen)} of {total}"
        distance = (result.images - base).abs().mean().item()
        rows.append([name, *counts, person, "–" if result is results[0] else f"{255 * distance:.1f}"])
    return plots.table(["", *columns, "a person", "mean change of a pixel (0–255)"], rows)
