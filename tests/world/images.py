"""Pictures as prompts, measured on the small world: drawings as negatives, as positives, and one minus another.

    python -m lib_negguide bench images

Every seed has a drawing of its own (of up to 100 or, for positives alone, 500 held-out ones);
encoder, projection, weights, windows and injection are the project's own. A line is kept in
a file of its own once it is measured, so the benchmark can be interrupted, and lines can be
measured side by side by several processes. The judge only counts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import combinations, islice
from pathlib import Path

from PIL.Image import Image
from torch import Tensor

from lib_negguide import plots, world
from lib_negguide.errors import SettingsError
from lib_negguide.hosts.embedded.host import EmbeddedHost, Run
from lib_negguide.hosts.embedded.samplers import noise_levels, sampler
from lib_negguide.image_prompt import prompt as image_prompt
from lib_negguide.image_prompt.encoder import Picture
from lib_negguide.image_prompt.prompt import NEGATIVE, POSITIVE, Entry, ImagePrompts
from lib_negguide.settings import Settings, Window
from tests.world.draw import ATTRIBUTES, Attributes, draw
from tests.world.evaluate import article, wilson
from tests.world.judge import Judge, Verdict

FIRST_SEED = 300_000
DRAWINGS = 6_000  # of the seeds "picture 0", "picture 1", …: pools are chosen from these
SAMPLER, STEPS = "Euler", 30
POINTS = (0, 4, 8, 15, 30)
WEIGHTS = (0.25, 0.5, 1.0, 1.5, 2.0)
# One picture minus another: positive and negative weight, step from which the negative acts, how much of it is subtracted.
SHARED = ((1.0, 1.0, 0, 0.0), (0.5, 1.0, 3, 0.0), (1.0, 0.75, 0, 0.75))

Test = Callable[[Attributes], bool]
POOLS: dict[str, Test] = {
    "a portrait": lambda shown: shown.kind == "portrait",
    "one shape": lambda shown: shown.kind == "one shape",
    "two shapes": lambda shown: shown.kind == "two shapes",
    "a red circle": lambda shown: shown.shapes == (("red", "circle"),),
    **{f"{one} and {article(other)}": lambda shown, both=(one, other): shown.worn == both for one, other in combinations(ATTRIBUTES, 2)},
    **{f"{name} and nothing else": lambda shown, name=name: shown.worn == (name,) for name in ATTRIBUTES},
    **{f"{name} and whatever": lambda shown, name=name: name in shown.worn for name in ATTRIBUTES},
}


@dataclass(frozen=True)
class Line:
    """One line of pictures: texts, and the pools that each seed's drawings come from, with their weights."""

    key: str
    prompt: str = ""
    text: str = ""
    positive: str = ""
    negative: str = ""
    weights: tuple[float, float] = (1.0, 1.0)
    since: int = 0  # the step from which the negative drawing acts
    subtract: float = 0.0  # how much of the negative drawing the positive one loses

    @property
    def words(self) -> list[str]:
        """Prompt, what is drawn as positive, and what is avoided, in words."""
        also = [f"“{self.text}”"] if self.text else []
        since = f", from step {self.since}" if self.since else ""
        also += [f"drawing: {self.negative}" + _times(self.weights[1]) + since] if self.negative else []
        drawn = f"drawing: {self.positive}" + _times(self.weights[0]) if self.positive else ""
        return [f"“{self.prompt}”" if self.prompt else "", drawn, ", ".join(also)]


def _times(weight: float) -> str:
    return "" if weight == 1.0 else f" × {weight:g}"


def lines() -> list[Line]:
    """Every line of the table."""
    table = [Line("plain", world.PROMPT)]
    for name in ATTRIBUTES:
        table += [Line(f"{name}-text", world.PROMPT, text=name),
                  Line(f"{name}-only", world.PROMPT, negative=f"{name} and nothing else"),
                  Line(f"{name}-any", world.PROMPT, negative=f"{name} and whatever")]
    table += [Line("circle", "a circle"), Line("circle-text", "a circle", text="red circle"),
              Line("circle-drawing", "a circle", negative="a red circle")]
    table += [Line(f"alone-{kind.replace(' ', '-')}", positive=kind) for kind in ("a portrait", "one shape", "two shapes")]
    a, b = "glasses and a hat", "glasses and nothing else"
    table += [Line(f"minus-{one:g}-{other:g}-from-{since}" + (f"-subtract-{less:g}" if less else ""), positive=a, negative=b,
                   weights=(one, other), since=since, subtract=less) for one, other, since, less in SHARED]
    one, other, since, less = SHARED[-1]
    table += [Line(f"minus-{b.split()[0]}-of-{a.replace(' ', '-')}", positive=a, negative=b, weights=(one, other), since=since, subtract=less)
              for a, b in (("glasses and a hat", "hat and nothing else"), ("mustache and a hat", "mustache and nothing else"),
                           ("glasses and a mustache", "glasses and nothing else"))]
    table += [Line("minus-with-text", world.PROMPT, positive=a, negative=b, weights=(0.5, 1.0))]
    return table


@cache
def drawing(index: int) -> tuple[Image, Attributes]:
    return draw(f"picture {index}")


def pool(name: str, count: int) -> list[tuple[Image, Attributes]]:
    """One drawing for each of `count` seeds; they come again where there are fewer."""
    distinct = min(count, 500 if name in ("a portrait", "one shape", "two shapes") else 100)
    fitting = (pair for pair in map(drawing, range(DRAWINGS)) if POOLS[name](pair[1]))
    found = list(islice(fitting, distinct))
    return [found[index % len(found)] for index in range(count)]


class Painter:
    """The small model, its adapter and its encoder: prepares batches in which every picture has drawings of its own."""

    def __init__(self, model: Path, adapter: Path, encoder: Path, cfg: float) -> None:
        self.host, self.adapter, self.encoder, self.cfg = EmbeddedHost.load(model), adapter, encoder, cfg

    def prompts(self, positive: list[Image], negative: list[Image], weights: tuple[float, float], since: int = 0,
                subtract: float = 0.0) -> list[ImagePrompts]:
        """For each seed its drawings, one on each side that has any, ready to act; negative ones from step `since` on."""
        sides = [(POSITIVE, positive, self.window(weights[0], 0)), (NEGATIVE, negative, self.window(weights[1], since))]
        entries = [[Entry(Picture(image), side, window) for image in images] for side, images, window in sides if images]
        return [image_prompt.prepare(own, self.adapter, self.host.model.unet, subtract=subtract, image_encoder=str(self.encoder), keep="loaded")
                for own in zip(*entries, strict=True)]

    def window(self, weight: float, since: int) -> Window:
        """A window in sigma, as those of a run's settings become."""
        sigmas, _ = noise_levels(sampler(SAMPLER), "automatic", STEPS, self.host.levels)
        return Window(weight=weight, start=since, unit="step").in_sigma(sigmas[:-1].tolist())

    def run(self, prompt: str, seeds: list[int], pictures: list[ImagePrompts], **options) -> Run:
        """A prepared batch in which the pictures, if any, act."""
        return self.host.prepare([prompt] * len(seeds), seeds, images=pictures, cfg_scale=self.cfg, steps=STEPS, sampler=SAMPLER,
                                 size=world.SIZE, **options)

    def decode(self, latents: Tensor) -> Tensor:
        return self.host.model.decode(latents)


def told(verdict: Verdict) -> dict:
    """What is kept of one picture."""
    return {"kind": verdict.kind, "worn": list(verdict.worn), "shapes": [list(thing) for thing in verdict.shapes]}


class Bench:
    """Samples and judges; one JSON file a line and one for the curves, written when it is measured."""

    def __init__(self, arguments) -> None:
        self.out, self.wanted, self.batch = Path(arguments.out), arguments.seeds, arguments.batch
        self.first, self.attribute = arguments.first_seed, arguments.attribute
        model, self.adapter = Path(arguments.model or world.model()), Path(arguments.adapter or world.adapter())
        encoder = Path(arguments.encoder or world.image_encoder())
        self.painter = Painter(model, self.adapter, encoder, arguments.cfg)
        self.judge = Judge.load()
        hashes = [hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in (model, self.adapter, encoder / "model.safetensors")]
        self.setting = {"model, adapter, encoder": hashes, "cfg": arguments.cfg, "steps": STEPS, "sampler": SAMPLER, "first seed": self.first,
                        "seeds": self.wanted}

    def kept(self, name: str, make: Callable[[], dict]) -> dict:
        """What the file of that name has, or what is made and put there now; measured anew when the setting was another."""
        file = self.out / f"{name}.json"
        if file.is_file():
            data = json.loads(file.read_text("utf-8"))
            if data["setting"] == self.setting:
                return data
        with self.painter.host.threads():
            data = {"setting": self.setting, **make()}
        self.out.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(data), "utf-8")
        os.replace(part, file)
        return data

    def batches(self, seeds: list[int]) -> Iterator[slice]:
        for at in range(0, len(seeds), self.batch):
            yield slice(at, at + self.batch)

    def line(self, line: Line) -> dict:
        """Verdicts of one line's pictures, and what the drawings showed."""
        seeds = list(range(self.first, self.first + self.wanted))
        drawn = {side: pool(name, self.wanted) if name else [] for side, name in ((POSITIVE, line.positive), (NEGATIVE, line.negative))}
        pictures = self.painter.prompts(*([image for image, _ in drawn[side]] for side in (POSITIVE, NEGATIVE)), line.weights, line.since,
                                        line.subtract)
        verdicts = []
        for part in self.batches(seeds):
            run = self.painter.run(line.prompt, seeds[part], pictures[part], negative_prompts=line.text)
            verdicts += self.judge(self.painter.decode(run.between(run.latents)))
        shown = [{"kind": a.kind, "worn": list(a.worn), "shapes": [list(thing) for thing in a.shapes]} for _, a in drawn[POSITIVE]]
        return {"line": asdict(line), "verdicts": [told(verdict) for verdict in verdicts], "shown": shown}

    def curves(self, by: str) -> dict:
        """How an attribute goes with start, end and weight of a negative, a `text` or a `drawing`, where it was shown without."""
        everything = list(range(self.first, self.first + self.wanted))
        images = [image for image, _ in pool(f"{self.attribute} and nothing else", self.wanted)]
        points = {kind: {str(at): [] for at in ats} for kind, ats in (("start", POINTS), ("end", POINTS), ("weight", (0.0, *WEIGHTS)))}
        for part in self.batches(everything):
            self._curves(by, everything[part], images[part], points)
        return {"attribute": self.attribute, "by": by, **points}

    def _curves(self, by: str, seeds: list[int], images: list[Image], points: dict) -> None:
        states = _states(self.painter.run(world.PROMPT, seeds, []))
        base = self.painter.decode(states[-1])
        shown = [index for index, verdict in enumerate(self.judge(base)) if getattr(verdict, self.attribute)]
        if not shown:
            return
        base, states = base[shown], [state[shown] for state in states]
        seeds, images = [seeds[index] for index in shown], [images[index] for index in shown]

        def note(kind: str, at: float, latents: Tensor) -> None:
            made = self.painter.decode(latents)
            change = (made - base).abs().mean((1, 2, 3)).tolist()
            points[kind][str(at)] += [[getattr(v, self.attribute), v.kind == "portrait", round(255 * d, 3)]
                                      for v, d in zip(self.judge(made), change, strict=True)]

        run = self.negative(by, seeds, images, 1.0)
        full = _states(run)
        for point in POINTS:
            note("start", point, full[-1] if point == 0 else states[-1] if point == STEPS else run.between(states[point], point))
        run = self.painter.run(world.PROMPT, seeds, [])
        for point in POINTS:
            note("end", point, states[-1] if point == 0 else full[-1] if point == STEPS else run.between(full[point], point))
        note("weight", 0.0, states[-1])
        note("weight", 1.0, full[-1])
        for weight in WEIGHTS:
            if weight != 1.0:
                run = self.negative(by, seeds, images, weight)
                note("weight", weight, run.between(run.latents))

    def negative(self, by: str, seeds: list[int], images: list[Image], weight: float) -> Run:
        """A run with the attribute as a negative of that weight, as a text or as each seed's drawing."""
        if by == "drawing":
            return self.painter.run(world.PROMPT, seeds, self.painter.prompts([], images, (1.0, weight)))
        return self.painter.run(world.PROMPT, seeds, [], settings=Settings(negatives=[{"text": self.attribute, "weight": weight}]))


def _states(run: Run) -> list[Tensor]:
    """Latents before each call, and after the last."""
    states = [run.latents]
    for call in range(STEPS):
        states.append(run.between(states[-1], call, call + 1))
    return states


# What is counted.

def share(hits: list[bool]) -> str:
    low, high = wilson(sum(hits), len(hits))
    return f"{100 * sum(hits) / len(hits):.1f}% ({100 * low:.1f}–{100 * high:.1f})"


def plain_share(hits: list[bool]) -> float:
    return sum(hits) / len(hits)


def wears(name: str) -> Callable[[dict], bool]:
    return lambda verdict: name in verdict["worn"]


def person(verdict: dict) -> bool:
    return verdict["kind"] == "portrait"


def red(verdict: dict) -> bool:
    return verdict["shapes"] == [["red", "circle"]]


def circle(verdict: dict) -> bool:
    return [thing[1] for thing in verdict["shapes"]] == ["circle"]


def minus(line: Line) -> Callable[[dict], bool]:
    """A person with what only A wears, without what B shares; of the rest nothing is asked."""
    a, b = ({name for name in ATTRIBUTES if name in words.split()} for words in (line.positive, line.negative))
    return lambda verdict: person(verdict) and a - b <= set(verdict["worn"]) and not a & b & set(verdict["worn"])


def same(verdict: dict, shown: dict, ordered: bool = True) -> bool:
    """Exactly what the drawing shows; which shape is where may be left open."""
    put = list if ordered else sorted
    return (verdict["kind"], verdict["worn"], put(verdict["shapes"])) == (shown["kind"], shown["worn"], put(shown["shapes"]))


def portrait_rows(measured: dict[str, dict]) -> list[list]:
    keys = [key for key in measured if key == "plain" or key.split("-")[0] in ATTRIBUTES]
    rows = []
    for key in keys:
        verdicts, line = measured[key]["verdicts"], Line(**measured[key]["line"])
        rows.append([*line.words, *(share([wears(name)(v) for v in verdicts]) for name in ATTRIBUTES), share([person(v) for v in verdicts])])
    return rows


def goals(measured: dict[str, dict]) -> list[list]:
    """What was to be shown, and whether it was."""
    rows = []

    def goal(words: str, value: float, wanted: str, met: bool) -> None:
        rows.append([words, f"{100 * value:.1f}%", wanted, "met" if met else "**missed**"])

    def of(key: str, test: Callable[[dict], bool]) -> float:
        return plain_share([test(v) for v in measured[key]["verdicts"]])

    for name in ATTRIBUTES:
        if f"{name}-text" not in measured:
            continue
        text = of(f"{name}-text", wears(name))
        for pool_name, words in (("only", f"a drawing of {article(name)} and nothing else"), ("any", f"a drawing of {article(name)} and whatever")):
            key = f"{name}-{pool_name}"
            if key in measured:
                left, there = of(key, wears(name)), of(key, person)
                goal(f"negative: {words}: {name} left", left, f"at most 10 points above the text's {100 * text:.1f}%", left <= text + 0.1)
                goal(f"negative: {words}: a person", there, "at least 95%", there >= 0.95)
    if {"circle", "circle-text", "circle-drawing"} <= set(measured):
        text, left, plain = (of(key, red) for key in ("circle-text", "circle-drawing", "circle"))
        goal("negative: a drawing of a red circle: a red circle", left,
             f"at most 10 points above the text's {100 * text:.1f}%; {100 * plain:.1f}% without", left <= text + 0.1)
    for key in measured:
        line = Line(**measured[key]["line"])
        if line.subtract:
            goal(f"A ({line.positive}) minus B ({line.negative}), no text, subtracted: a person with what only A has, without what B shares",
                 of(key, minus(line)), "at least 90%", of(key, minus(line)) >= 0.9)
    for kind in ("a portrait", "one shape"):
        key = f"alone-{kind.replace(' ', '-')}"
        if key in measured:
            hits = [same(v, s) for v, s in zip(measured[key]["verdicts"], measured[key]["shown"], strict=True)]
            goal(f"positive: a drawing of {kind} alone, no text: everything as drawn", plain_share(hits), "at least 90%", plain_share(hits) >= 0.9)
    return rows


def report(bench: Bench, measured: dict[str, dict], curves: dict[str, dict]) -> str:
    """The report in markdown; the sheet beside it."""
    cfg, adapter = bench.setting["cfg"], bench.adapter.name
    text = ["# Pictures as prompts", "", f"{bench.wanted} pictures a line, seeds from {bench.first}; {STEPS} steps of {SAMPLER}, guidance {cfg:g}; "
            f"the small world's own model, encoder and adapter ({adapter}). Each seed has a drawing of its own, of the held-out seeds “picture N” "
            "(of negatives and of subtractions up to 100 different ones). Shares with 95% Wilson intervals, counted by the judge.", "",
            "## What was to be shown", "", plots.table(["what", "share", "wanted", ""], goals(measured)), "", "## People", "",
            plots.table(["prompt", "positive", "negative", *ATTRIBUTES, "a person"], portrait_rows(measured))]
    circles = [key for key in measured if key.startswith("circle")]
    if circles:
        rows = [[Line(**measured[key]["line"]).words[0], Line(**measured[key]["line"]).words[2],
                 share([red(v) for v in measured[key]["verdicts"]]), share([circle(v) for v in measured[key]["verdicts"]])] for key in circles]
        text += ["", "## Circles", "", plots.table(["prompt", "negative", "one red circle", "one circle"], rows)]
    alone = [key for key in measured if key.startswith("alone")]
    if alone:
        rows = []
        for key in alone:
            pairs = list(zip(measured[key]["verdicts"], measured[key]["shown"], strict=True))
            rows.append([measured[key]["line"]["positive"], share([same(v, s) for v, s in pairs]), share([same(v, s, False) for v, s in pairs]),
                         share([v["kind"] == s["kind"] for v, s in pairs])])
        text += ["", "## A positive drawing alone, no text", "",
                 plots.table(["drawing", "everything as drawn", "in any order", "the kind as drawn"], rows)]
    subtracted = [key for key in measured if key.startswith("minus")]
    if subtracted:
        rows = []
        for key in subtracted:
            line, verdicts = Line(**measured[key]["line"]), measured[key]["verdicts"]
            rows.append([f"“{line.prompt}”" if line.prompt else "", line.positive, line.negative, *(f"{weight:g}" for weight in line.weights),
                         line.since, f"{line.subtract:g}", *(share([test(v) for v in verdicts]) for test in
                                                             (minus(line), *map(wears, ATTRIBUTES), person))])
        text += ["", "## One picture minus another", "",
                 "Wanted: a person with what only A wears, without what B shares. *Subtracted*: how much of B's features A's lose.", "",
                 plots.table(["prompt", "A", "B", "weight of A", "of B", "B from step", "subtracted", "as wanted", *ATTRIBUTES, "a person"], rows)]
    for kind, title in (("start", "from call k to the end"), ("end", "in the first k calls only"), ("weight", "all along, by its weight")):
        for by, curve in curves.items():
            rows = [[at, share([not shown for shown, *_ in found]), len(found), share([there for _, there, _ in found]),
                     f"{sum(change for *_, change in found) / len(found):.1f}"] for at, found in curve[kind].items() if found]
            rows.sort(key=lambda row: float(row[0]))
            text += ["", f"## {curve['attribute']}: a {by} as negative, {title}", "",
                     plots.table(["weight" if kind == "weight" else "k", "removed", "pictures", "a person", "L1"], rows)]
    if curves:
        text += ["", f"Of {bench.wanted} pictures those that show the attribute without a negative; L1: mean change of a pixel (0–255) "
                 "against the same seed without it."]
    return "\n".join(text) + "\n"


def sheet(bench: Bench, measured: dict[str, dict], curves: dict[str, dict], path: Path) -> None:
    """Window and weight curves of drawing and text, and the subtraction, as one PNG."""

    def removed(by: str, kind: str, label: str) -> plots.Curve:
        found = sorted((float(at), [not shown for shown, *_ in some]) for at, some in curves[by][kind].items() if some)
        bounds = [wilson(sum(hits), len(hits)) for _, hits in found]
        return plots.Curve(label, [at for at, _ in found], [100 * plain_share(hits) for _, hits in found],
                           [100 * low for low, _ in bounds], [100 * high for _, high in bounds])

    def mean(by: str, kind: str, column: int, factor: float, label: str) -> plots.Curve:
        found = sorted((float(at), some) for at, some in curves[by][kind].items() if some)
        return plots.Curve(label, [at for at, _ in found], [factor * sum(shot[column] for shot in some) / len(some) for _, some in found])

    what = f"% of pictures that showed {bench.attribute}"
    panels = [
        plots.Panel("Removed, by start", "negative from call k to the end", what, [removed(by, "start", by) for by in curves], (-3, 103)),
        plots.Panel("Removed, by end", "negative in the first k calls only", what, [removed(by, "end", by) for by in curves], (-3, 103)),
        plots.Panel("Removed, by weight", "weight of the negative", what, [removed(by, "weight", by) for by in curves]
                    + [mean(by, "weight", 1, 100, f"{by}: a person") for by in curves], (-3, 103)),
        plots.Panel("Change against no negative", "negative from call k to the end", "mean change of a pixel (0–255)",
                    [mean(by, "start", 2, 1, by) for by in curves]),
    ]
    plots.curves(path, f"A drawing and a text as negative: {bench.attribute}", panels)


def run(arguments) -> int:
    """The command line's ``bench images``."""
    chosen, known = arguments.lines, [line.key for line in lines()] + ["curves-drawing", "curves-text"]
    for key in chosen:
        if key not in known:
            raise SettingsError("--lines", key, "some of " + ", ".join(known))
    bench = Bench(arguments)
    measured, curves = {}, {}
    for line in lines():
        if not chosen or line.key in chosen:
            measured[line.key] = bench.kept(line.key, lambda line=line: bench.line(line))
            print(f"{line.key}: done", flush=True)
    for by in ("drawing", "text"):
        if not chosen or f"curves-{by}" in chosen:
            curves[by] = bench.kept(f"curves-{by}-{bench.attribute}", lambda by=by: bench.curves(by))
            print(f"curves-{by}: done", flush=True)
    if chosen and not arguments.report:
        return 0
    text = report(bench, measured, curves)
    (bench.out / "images.md").write_text(text, "utf-8")
    print(text)
    if curves:
        sheet(bench, measured, curves, bench.out / "images.png")
        print((bench.out / "images.png").resolve())
    return 0
