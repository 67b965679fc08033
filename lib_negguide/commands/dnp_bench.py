"""``bench dnp``: what diffusion-negative prompting does to the pictures, against other negatives and none."""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, List, Tuple

from lib_negguide import world
from lib_negguide.commands import common, dnp_report, pairs
from lib_negguide.commands.dnp_rows import Category, ClipScorer, Pair, Studio, Task, change, directions, others
from lib_negguide.errors import SettingsError
from lib_negguide.settings import Dnp, Settings

FIELDS = ("scale", "meaning", "steps", "size", "captioner", "beams", "min_tokens", "max_tokens")
SHARES, SIZES = (1.0, 0.5, 0.33, 0.25, 0.15), (1.0, 0.75, 0.5)
MEASURED = 32  # pairs of which directions are measured
SHOWN = 4  # pairs of each category on the sheet of pictures
DICTIONARY = "ugly, blurry, low quality"

ROWS = """\
rows, each a picture of the same prompt and seed:
  plain         no negative
  dictionary    --dictionary as the negative
  random        the caption of another prompt's diffusion-negative picture
  auto-DNP      the caption of its own
  true          what its own truly shows, said by the judge (small world only): an upper bound of any captioner
  own failure   no DNP: the caption of the plain picture where it tells something else than the prompt, else plain (small world only)
  --variant     NAME=JSON: as auto-DNP, under these settings of the API, e.g. 'half={"dnp": {"window": {"weight": 0.5}}}'
"""
EXAMPLES = """\
examples:
  python -m lib_negguide bench dnp --pairs 64 --category portraits
  python -m lib_negguide bench dnp --cheap --pairs 150
  python -m lib_negguide bench dnp --model v1-5.safetensors --captioner blip2 --prompts a.e.txt --pairs 1600 --batch 4

On another model than the small one, CLIP scores (A&E protocol) take the judge's place, and --prompts names the prompts, one
a line; pair i has prompt i modulo their number. It can be interrupted and started again: what is done stays in OUT/work.
"""


def add(commands) -> None:
    parser = commands.add_parser(
        "dnp", help="diffusion-negative prompting against other negatives and none", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=ROWS + "\n" + EXAMPLES)
    parser.add_argument("--category", action="append", metavar="NAME", help="of the small world: two shapes, portraits (default both)")
    parser.add_argument("--prompts", type=Path, metavar="FILE", help="prompts of your own, one a line; # begins a comment line")
    parser.add_argument("--pairs", type=int, default=500, help="prompt-seed pairs a category (default %(default)s)")
    parser.add_argument("--first-seed", type=int, default=300_000, help="default %(default)s")
    parser.add_argument("--dictionary", default=DICTIONARY, metavar="TEXT", help="default %(default)s")
    parser.add_argument("--variant", action="append", type=variant, default=[], metavar="NAME=JSON", help="one more row, see below")
    parser.add_argument("--cheap", action="store_true", help="instead of the rows: how few steps and how small a size the negative "
                        "picture may have")
    parser.add_argument("--captions-only", action="store_true", help="with --cheap: no pictures with the captions")
    parser.add_argument("--out", type=Path, default=Path("out/dnp-bench"), help="folder (default %(default)s)")
    common.dnp_options(parser, FIELDS)
    common.model_options(parser)
    common.sampling_options(parser)
    common.captioner_options(parser, cache=False)
    parser.set_defaults(run=run, batch=None)


def variant(written: str) -> Tuple[str, Dict[str, Any]]:
    """``NAME=JSON`` (for argparse)."""
    name, _, text = written.partition("=")
    try:
        settings = json.loads(text)
    except ValueError:
        settings = None
    if not name.strip() or not isinstance(settings, dict):
        raise argparse.ArgumentTypeError(f"{written!r} is not of the form NAME=JSON")
    Settings.parse({"dnp": {}, **settings})
    return name.strip(), settings


def run(arguments) -> int:
    if arguments.pairs < 2:
        raise SettingsError("--pairs", arguments.pairs, "a whole number from 2")
    small = arguments.model is None or world.is_world(arguments.model)
    arguments.batch = arguments.batch or (32 if small else 4)
    categories = _categories(arguments, small)
    dnp = Settings.parse({"dnp": common.dnp_of(arguments, {"steps": 1.0, "size": 1.0})}).dnp  # as in the paper, unless asked for
    host = common.load(arguments)
    options = common.sampling(arguments, host)
    with ExitStack() as stack:
        captioner = stack.enter_context(_captioner(dnp, host, arguments.download))
        scorer = world.part("dnp").JudgeScorer() if small else ClipScorer(stack.enter_context(_clip(host, arguments)))
        studio = Studio(host, scorer, captioner, dnp, options, arguments.out / "work", arguments.batch)
        if arguments.cheap:
            report = cheap(studio, categories, arguments.out, arguments.captions_only)
        else:
            report = rows(studio, categories, arguments)
    print(report)
    return 0


def _categories(arguments, small: bool) -> List[Category]:
    if arguments.prompts:
        prompts = pairs.prompts_of(argparse.Namespace(prompt=[], prompts=arguments.prompts))
        if not prompts:
            raise SettingsError("--prompts", str(arguments.prompts), "a file with at least one prompt")
        chosen = [Pair(prompts[index % len(prompts)], arguments.first_seed + index) for index in range(arguments.pairs)]
        return [Category(arguments.prompts.stem, tuple(chosen))]
    if not small:
        raise SettingsError("--prompts", None, "a file with prompts, one a line: only the small model has prompts of its own")
    part = world.part("dnp")
    wrong = [name for name in arguments.category or () if name not in part.CATEGORIES]
    if wrong:
        raise SettingsError("--category", wrong[0], "one of " + ", ".join(part.CATEGORIES))
    return [part.category(name, arguments.pairs, arguments.first_seed) for name in arguments.category or part.CATEGORIES]


def _captioner(dnp: Dnp, host, downloads: bool):
    from lib_negguide.hosts.embedded.dns import opener

    return opener(dnp, host, downloads, keep="unload")()


def _clip(host, arguments):
    from lib_negguide.hosts.embedded import scores

    return scores.opened(host, arguments.clip, arguments.download)


def rows(studio: Studio, categories: List[Category], arguments) -> str:
    """Sample every row of every category; the report in markdown and the plot, in the folder."""
    scorer, out, cfg = studio.scorer, arguments.out, studio.options["cfg_scale"]
    text, sections = [_heading(studio, "Diffusion-negative prompting"), ""], []
    for category in categories:
        plain, tasks = _tasks(studio, category, cfg, arguments)
        reference = studio.images(plain)
        found = []
        for name, row in tasks.items():
            changes = [change(left, right) for left, right in zip(studio.images(row), reference)]
            found.append(dnp_report.Row(name, studio.scores(row), sum(changes) / len(changes)))
        sections.append((category.name, found))
        text += [f"## {category.name}: {len(category.pairs)} pairs", "", dnp_report.table(scorer.metrics, found), "",
                 f"### Diffusion-negative pictures of {category.name}", "", _negative_table(studio, category, cfg), ""]
        text += _directions(studio, category, arguments.dictionary)
    text += [f"![the first figure of each row]({_name(cfg)}.png)", "", f"![pictures as in figure 4 of the paper](four-{_name(cfg)}.png)"]
    out.mkdir(parents=True, exist_ok=True)
    report = "\n".join(text) + "\n"
    (out / f"{_name(cfg)}.md").write_text(report, "utf-8")
    dnp_report.draw(out / f"{_name(cfg)}.png", f"Guidance {cfg:g}", sections, scorer.metrics[0])
    sheet(studio, categories, out)
    return report


def _directions(studio: Studio, category: Category, dictionary: str) -> List[str]:
    """Where each negative pushes, call by call; for a category of which a wrong prompt can be told."""
    from lib_negguide import plots

    pairs = category.pairs[:MEASURED]
    wrong = studio.scorer.wrong([pair.prompt for pair in pairs])
    if wrong is None:
        return []
    captions = studio.captions([studio.away(pair, studio.options["cfg_scale"]) for pair in pairs])
    negatives = {"empty": [""] * len(pairs), "dictionary": [dictionary] * len(pairs), "auto-DNP": captions}
    found = directions(studio.host, pairs, wrong, negatives, studio.options)
    headers = ["call", "σ", *[f"{name}: {what}" for name in negatives for what in ("length", "cosine")]]
    lines = [[call, f"{sigma:.2f}", *[f"{value:.2f}" for pair in row for value in pair]] for call, sigma, row in found]
    return [f"### Where the negatives push, {category.name}", "",
            f"Length of ε_p − ε_n along plain sampling, and its cosine with ε_p − ε_wrong, wrong being the prompt with its colours "
            f"exchanged: what tells right from wrong. Means over {len(pairs)} pairs.", "", plots.table(headers, lines), ""]


def sheet(studio: Studio, categories: List[Category], out: Path) -> None:
    """Figure 4 of the paper for the first pairs of each category: p, DNS with its caption, ("", n*), (p, n*)."""
    from lib_negguide import dns, plots

    cfg, pictured = studio.options["cfg_scale"], [pair for category in categories for pair in category.pairs[:SHOWN]]
    negatives = [studio.away(pair, cfg) for pair in pictured]
    captions = studio.captions(negatives)
    columns = [[studio.task(pair, cfg) for pair in pictured], negatives,
               [studio.task(Pair("", pair.seed), cfg, caption) for pair, caption in zip(pictured, captions)],
               [studio.task(pair, cfg, caption) for pair, caption in zip(pictured, captions)]]
    studio.paint([task for column in columns for task in column], "figure 4")
    fours = []
    for pair, caption, plain, shown, only, guided in zip(pictured, captions, *map(studio.images, columns)):
        own = dns.Shown(dns.Wanted(pair.prompt, pair.seed), shown, caption, caption)
        fours.append(dns.Four(plain, dns.Negative(caption, [own]), only, guided))
    image = plots.figure_four([pair.prompt for pair in pictured], [pair.seed for pair in pictured], fours,
                              side=max(128, fours[0].plain.width))
    image.save(out / f"four-{_name(cfg)}.png")


def _name(cfg: float) -> str:
    return f"guidance-{cfg:g}"


def _heading(studio: Studio, title: str) -> str:
    run = studio.options
    return (f"# {title}\n\n{studio.host.model.name}, {run['sampler']}, {run['steps']} steps, guidance {run['cfg_scale']:g}; captioner "
            f"{studio.captioner.name}; looked at by {studio.scorer.name}.")


def _tasks(studio: Studio, category: Category, cfg: float, arguments) -> Tuple[List[Task], Dict[str, List[Task]]]:
    """Row to its pictures, all painted; pictures that rows share are sampled once."""
    chosen, label = category.pairs, category.name
    plain = [studio.task(pair, cfg) for pair in chosen]
    negatives = [studio.away(pair, cfg) for pair in chosen]
    studio.paint([*plain, *negatives], f"{label}: plain and negative pictures")
    captions, truth = studio.captions(negatives), studio.scorer.describe(studio.images(negatives))

    def row(texts, settings=None) -> List[Task]:
        return [studio.task(pair, cfg, text, settings or {}) for pair, text in zip(chosen, texts)]

    tasks = {"plain": plain, "dictionary": row([arguments.dictionary] * len(chosen))}
    if len({pair.prompt for pair in chosen}) > 1:
        tasks["random"] = row([captions[index] for index in others(chosen)])
    tasks["auto-DNP"] = row(captions)
    if truth is not None:
        tasks["true (upper bound)"] = row(truth)
    failures = studio.scorer.failures(studio.captions(plain), [pair.prompt for pair in chosen])
    if failures is not None:
        tasks["own failure (no DNP)"] = row(failures)
    for name, settings in arguments.variant:
        tasks[name] = _variant(studio, chosen, cfg, settings, row)
    studio.paint([task for each in tasks.values() for task in each], f"{label}: rows")
    return plain, tasks


def _variant(studio: Studio, chosen, cfg: float, settings: Dict[str, Any], row) -> List[Task]:
    """Pictures of auto-DNP under other settings, those of its negative pictures included."""
    own = studio.dnp.copy(update={name: value for name, value in settings.get("dnp", {}).items() if name != "window"})
    negatives = [studio.away(pair, cfg, own) for pair in chosen]
    studio.paint(negatives, "negative pictures of a variant")
    return row(studio.captions(negatives), settings)


def _negative_table(studio: Studio, category: Category, cfg: float) -> str:
    """How far the diffusion-negative pictures are from their prompts, against the plain ones and those of no prompt."""
    from lib_negguide import plots

    prompts = [pair.prompt for pair in category.pairs]
    negatives = [studio.away(pair, cfg) for pair in category.pairs]
    nothing = [studio.task(Pair("", pair.seed), 1.0) for pair in category.pairs]
    studio.paint(nothing, f"{category.name}: no prompt")
    lines, told = [], ["different captions"]
    for name, tasks in (("plain", [studio.task(pair, cfg) for pair in category.pairs]), ("no prompt", nothing), ("DNS", negatives)):
        agree = studio.scorer.agree(studio.captions(tasks), studio.images(tasks))
        own = [dnp_report.cell(metric, studio.scores(tasks, prompts)) for metric in studio.scorer.away]
        line = [name, *own, str(len(set(studio.captions(tasks))))]
        if agree is not None:
            told = ["different captions", "captions exactly right"]
            line.append(f"{100 * sum(agree) / len(agree):.1f}%")
        lines.append(line)
    return plots.table(["picture", *[metric.title for metric in studio.scorer.away], *told], lines)


def cheap(studio: Studio, categories: List[Category], out: Path, captions_only: bool = False) -> str:
    """How few steps and how small a size the negative picture may have; a report a category in markdown, in the folder."""
    out.mkdir(parents=True, exist_ok=True)
    reports = []
    for category in categories:
        reports.append(_cheap(studio, category, captions_only))
        (out / f"cheap-{category.name.replace(' ', '-')}.md").write_text(reports[-1], "utf-8")
    return "\n".join(reports)


def _cheap(studio: Studio, category: Category, captions_only: bool) -> str:
    from lib_negguide import plots

    cfg, metric, chosen = studio.options["cfg_scale"], studio.scorer.metrics[0], category.pairs
    full, first, lines = None, None, []
    for size in SIZES:
        for steps in SHARES:
            dnp = studio.dnp.copy(update={"steps": steps, "size": size})
            negatives = [studio.away(pair, cfg, dnp) for pair in chosen]
            studio.paint(negatives, f"negative pictures, steps {steps:g}, size {size:g}")
            captions = studio.captions(negatives)
            full = full or captions
            same = sum(left == right for left, right in zip(captions, full)) / len(full)
            away = [dnp_report.cell(one, studio.scores(negatives)) for one in studio.scorer.away]
            line = [f"{steps:g}", f"{size:g}", f"{1 + cost(studio, negatives[0]):.2f}", f"{100 * same:.0f}%", *away]
            if not captions_only:
                row = [studio.task(pair, cfg, caption) for pair, caption in zip(chosen, captions)]
                studio.paint(row, f"with their captions, steps {steps:g}, size {size:g}")
                scores = studio.scores(row)
                first = first or scores
                against = dnp_report.Against.of(metric.key, scores, first)
                line += [dnp_report.cell(metric, scores), *against.cells(metric.share)]
            lines.append(line)
    finals = [] if captions_only else [metric.title, "against full", "won / lost", "p"]
    headers = ["steps", "size", "evaluations", "captions as full", *[one.title for one in studio.scorer.away], *finals]
    return (f"{_heading(studio, f'Cheap diffusion-negative pictures: {category.name}')}\n\n{len(chosen)} pairs. Steps and size: shares of "
            "the run's. Evaluations: of the whole of auto-DNP (without captioning), relative to one plain sampling; one on a smaller "
            "picture counts by its area. “No …” is told of the negative pictures, the last columns of the pictures with their captions."
            "\n\n" + plots.table(headers, lines) + "\n")


def cost(studio: Studio, negative: Task) -> float:
    """Model evaluations of a negative picture relative to a picture of the run; a smaller one counts by its area."""
    width, height = studio.options["size"]
    return negative.steps / studio.options["steps"] * negative.size[0] * negative.size[1] / (width * height)
