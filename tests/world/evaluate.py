"""Measures what the small model has learnt: 500 pictures a line, counted by the judge.

    python -m tests.world.evaluate --jobs 2

Samples with the project's embedded host at its defaults for this model and writes
`evaluation.md` and `evaluation.json` beside the checkpoint.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from lib_negguide import world
from lib_negguide.hosts.embedded.host import EmbeddedHost
from tests.world import captions, export, model
from tests.world.draw import ATTRIBUTES, COLOURS
from tests.world.judge import Judge, Verdict

PICTURES = 500
FIRST_SEED = 100_000
STEPS = 30
SAMPLER = "Euler"
BATCH = 64


@dataclass(frozen=True)
class Line:
    """One line of pictures: picture i has prompt i modulo their number, and seed FIRST_SEED + i."""

    name: str
    prompts: tuple[str, ...]
    negative: str = ""


@dataclass(frozen=True)
class Count:
    """A share of a line's pictures with its 95% interval and the target that it has to meet."""

    line: str
    counted: str
    hits: int
    of: int
    share: float
    low: float
    high: float
    target: tuple[float, float] | None
    met: bool | None


def article(attribute: str) -> str:
    return attribute if attribute == "glasses" else f"a {attribute}"


def lines() -> list[Line]:
    """Every line of the table."""
    person = captions.OPEN_PORTRAIT
    singles, pairs = captions.all_shape_prompts()
    table = [Line(person, (person,))]
    table += [Line(f"{person} with {article(name)}", (f"{person} with {article(name)}",)) for name in ATTRIBUTES]
    table += [Line(f"{person} | negative: {name}", (person,), name) for name in ATTRIBUTES]
    table += [
        Line(f"{person} without mustache", (f"{person} without mustache",)),
        Line("one coloured shape", tuple(singles)),
        Line("two coloured shapes", tuple(pairs)),
        Line("a circle", ("a circle",)),
        Line(f"(empty) | negative: {person}", ("",), person),
    ]
    return table


def wilson(hits: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """95% Wilson interval of a share."""
    share, spread = hits / of, z * z / of
    centre = (share + spread / 2) / (1 + spread)
    half = z * (share * (1 - share) / of + spread / of / 4) ** 0.5 / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def questions(line: Line) -> Iterator[tuple[str, Callable[[Verdict, str], bool], tuple[float, float] | None]]:
    """What is counted on a line: a name, a test of verdict and prompt, and the target range."""

    def worn(name: str) -> Callable[[Verdict, str], bool]:
        return lambda verdict, prompt: getattr(verdict, name)

    def coloured(colour: str) -> Callable[[Verdict, str], bool]:
        return lambda verdict, prompt: [thing[0] for thing in verdict.shapes] == [colour]

    if any("shape" in line.name or prompt == "a circle" for prompt in line.prompts):
        target = {"one coloured shape": (0.9, 1.0), "two coloured shapes": (0.5, 0.9)}.get(line.name)
        yield "as the prompt says", lambda verdict, prompt: verdict.satisfies(prompt), target
        if line.name == "two coloured shapes":
            yield "at least one as the prompt says", _one_right, None
        if line.name == "a circle":
            for colour in COLOURS:
                yield colour, coloured(colour), None
        return
    without, dns = "without" in line.name, line.prompts == ("",)
    for name in () if dns else ATTRIBUTES:
        if line.negative == name:
            yield name, worn(name), (0.0, 0.05)
        elif line.prompts == (captions.OPEN_PORTRAIT,) and not line.negative:
            yield name, worn(name), (0.2, 0.75)
        else:
            yield name, worn(name), (0.95, 1.0) if name in line.name and not without else None
    target = None if without or dns else (0.98, 1.0)
    yield "person", lambda verdict, prompt: verdict.kind == "portrait", target


def _one_right(verdict: Verdict, prompt: str) -> bool:
    asked = [tuple(thing.split()[1:]) for thing in prompt.split(" and ")]
    return any(thing in asked for thing in verdict.shapes)


def measure(line: Line, checkpoint: Path, pictures: int, guidance: float) -> list[Count]:
    """Sample a line and count."""
    torch.set_num_threads(1)
    host, judge = EmbeddedHost.load(checkpoint), Judge.load()
    prompts = [line.prompts[index % len(line.prompts)] for index in range(pictures)]
    result = host.sample(
        prompts,
        [FIRST_SEED + index for index in range(pictures)],
        negative_prompts=line.negative,
        steps=STEPS,
        cfg_scale=guidance,
        sampler=SAMPLER,
        size=(model.IMAGE_SIZE,) * 2,
        batch_size=BATCH,
    )
    verdicts = judge(result.images)
    counts = []
    for name, asked, target in questions(line):
        hits = sum(asked(verdict, prompt) for verdict, prompt in zip(verdicts, prompts, strict=True))
        share = hits / pictures
        met = target[0] <= share <= target[1] if target else None
        counts.append(Count(line.name, name, hits, pictures, share, *wilson(hits, pictures), target, met))
    return counts


def table(counts: list[Count]) -> str:
    """The counts as a markdown table."""
    rows = ["| prompt | counted | share | 95% interval | target |", "|---|---|--:|---|---|"]
    for count in counts:
        wanted = "" if count.target is None else f"{count.target[0]:.0%} to {count.target[1]:.0%}"
        verdict = {None: "", True: ", met", False: ", **missed**"}[count.met]
        name = count.line.replace("|", "\\|")
        interval = f"{count.low:.1%} to {count.high:.1%}"
        rows.append(f"| {name} | {count.counted} | {count.share:.1%} | {interval} | {wanted}{verdict} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = Path(__file__).parent / "model"
    parser.add_argument("--model", type=Path, default=folder / f"{export.NAME}.safetensors", help="checkpoint")
    parser.add_argument("--out", type=Path, default=folder, help="folder for evaluation.md and evaluation.json")
    parser.add_argument("--pictures", type=int, default=PICTURES, help="pictures a line")
    parser.add_argument("--guidance", type=float, default=world.GUIDANCE, help="guidance scale")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each")
    arguments = parser.parse_args()
    began = time.monotonic()
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        running = [
            pool.submit(measure, line, arguments.model, arguments.pictures, arguments.guidance) for line in lines()
        ]
        counts = []
        for future in running:
            counts += future.result()
            print(table(counts[-len(future.result()) :]).split("\n", 2)[2], flush=True)
    settings = f"{STEPS} steps of {SAMPLER}, guidance {arguments.guidance:g}, seeds from {FIRST_SEED}"
    text = f"# What the model does\n\n{arguments.pictures} pictures a line; {settings}.\n\n{table(counts)}\n"
    (arguments.out / "evaluation.md").write_text(text)
    (arguments.out / "evaluation.json").write_text(
        json.dumps({"settings": settings, "counts": [asdict(count) for count in counts]}, indent=1) + "\n"
    )
    print(f"{time.monotonic() - began:.0f} s; missed: {sum(count.met is False for count in counts)}")


if __name__ == "__main__":
    main()
