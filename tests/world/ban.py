"""When a negative takes effect, measured on the small world: Ban et al. (ECCV 2024, 2406.02965) as a benchmark.

    python -m lib_negguide bench windows

The negative starts at call k and stays to the end ("start"), or acts from the first call
and ends before call k ("end"). The pictures of "end" are also the paper's reverse
activation: negative in the first k calls only, looked at where the attribute is absent
without a negative. A run that starts at call k is the run without a negative up to k,
and one that ends at k is the full run up to k, so both share their beginnings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from lib_negguide import plots, world
from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.settings import Settings
from tests.world.evaluate import wilson
from tests.world.judge import Judge
from tests.world.results import Results, name_of

FIRST_SEED = 200_000
AT_MOST = 4  # times the pictures asked for are tried, to find enough with and without the attribute
SAMPLER = "Euler"

# Where draw.py can put the attribute, for distances outside of it: left, top, right, bottom.
REGIONS = {"glasses": (13, 24, 51, 43), "mustache": (19, 39, 45, 49), "hat": (7, 0, 57, 27)}

# Figures of the paper's raw files, for 30 steps.
PAPER_CRITICAL = {"glasses": 5, "mustache": 5, "hat": 5}


@dataclass(frozen=True)
class Shot:
    """One picture: what the judge sees, and its distances to the seed's picture without a negative (pixels in 0..1)."""

    shown: bool
    person: bool
    l1: float
    outside: float
    mse: float


class Bench:
    """Samples and judges. ``results``: seed to {"base": shown, "start"/"end": {k: shot}}."""

    def __init__(self, arguments) -> None:
        self.attribute, self.steps, self.points = arguments.attribute, arguments.steps, arguments.points
        self.wanted, self.batch, self.cfg = arguments.seeds, arguments.batch, arguments.cfg
        self.host = EmbeddedHost.load(arguments.model or world.model())
        self.judge = Judge.load()
        self.setting = {"attribute": self.attribute, "model": name_of(arguments.model), "prompt": world.PROMPT,
                        "steps": self.steps, "cfg": self.cfg, "sampler": SAMPLER, "points": self.points, "first seed": FIRST_SEED}
        self.results = Results(Path(arguments.out) / f"{self.attribute}.json", self.setting)
        left, top, right, bottom = REGIONS[self.attribute]
        self.mask = torch.ones(1, 1, *world.SIZE[::-1])
        self.mask[..., top:bottom, left:right] = 0

    def run(self) -> dict:
        """Sample until there are enough pictures with and without the attribute, or too many have been tried."""
        pictures = self.results.load()
        with tqdm(total=2 * self.wanted, desc=self.attribute, unit="picture", disable=None) as bar:
            while True:
                shown = sum(picture["base"] for picture in pictures.values())
                bar.n = min(shown, self.wanted) + min(len(pictures) - shown, self.wanted)
                bar.refresh()
                room = {True: self.wanted - shown, False: self.wanted - (len(pictures) - shown)}
                if max(room.values()) <= 0 or len(pictures) >= AT_MOST * self.wanted:
                    return pictures
                first = FIRST_SEED + len(pictures)
                seeds = list(range(first, first + min(self.batch, AT_MOST * self.wanted - len(pictures))))
                with self.host.threads():
                    pictures.update(self.measure(seeds, room))
                self.results.save(pictures)

    def _run(self, seeds: list[int], negative: bool):
        settings = Settings(negatives=[{"text": self.attribute}] if negative else [])
        return self.host.prepare([world.PROMPT] * len(seeds), seeds, settings, steps=self.steps, cfg_scale=self.cfg,
                                 sampler=SAMPLER, size=world.SIZE)

    def _states(self, run) -> list[Tensor]:
        """Latents before each call, and after the last; for a single-step sampler."""
        states = [run.latents]
        for call in range(self.steps):
            states.append(run.between(states[-1], call, call + 1))
        return states

    def measure(self, seeds: list[int], room: dict[bool, int]) -> dict:
        """One batch: without a negative, then every point for as many with and without the attribute as there is room."""
        base = self._states(self._run(seeds, negative=False))
        images = self.host.model.decode(base[-1])
        shown = [getattr(verdict, self.attribute) for verdict in self.judge(images)]
        result = {str(seed): {"base": value, "start": {}, "end": {}} for seed, value in zip(seeds, shown, strict=True)}
        kept = {value: [i for i, is_shown in enumerate(shown) if is_shown == value][: max(0, room[value])] for value in (True, False)}

        both = sorted(kept[True] + kept[False])
        if both:
            both_seeds = [seeds[i] for i in both]
            full = self._states(self._run(both_seeds, negative=True))
            run = self._run(both_seeds, negative=False)
            for point in self.points:
                self._note(result, "end", point, both_seeds, self._shared(point, run, full, first=base[-1][both]), images[both])
        if kept[True]:
            shown_seeds, among = [seeds[i] for i in kept[True]], [both.index(i) for i in kept[True]]
            run = self._run(shown_seeds, negative=True)
            for point in self.points:
                final = self._shared(point, run, [state[kept[True]] for state in base], first=full[-1][among])
                self._note(result, "start", point, shown_seeds, final, images[kept[True]])
        return result

    def _shared(self, point: int, run, states: list[Tensor], first: Tensor) -> Tensor:
        """Final latents of a run that has gone as ``states`` up to a call and goes on as ``run``; ``first``: as it, from call 0."""
        if point == 0:
            return first
        return run.between(states[point], point) if point < self.steps else states[-1]

    def _note(self, result: dict, kind: str, point: int, seeds: list[int], latents: Tensor, images: Tensor) -> None:
        made = self.host.model.decode(latents)
        change = (made - images).abs()
        outside = (change * self.mask).sum((1, 2, 3)) / (self.mask.sum() * 3)
        for index, (seed, verdict) in enumerate(zip(seeds, self.judge(made), strict=True)):
            shot = Shot(getattr(verdict, self.attribute), verdict.kind == "portrait", change[index].mean().item(),
                        outside[index].item(), change[index].square().mean().item())
            result[str(seed)][kind][str(point)] = [round(float(value), 6) for value in vars(shot).values()]


def shots(pictures: dict, kind: str, point: int, base: bool, count: int) -> list[Shot]:
    """The shots of one point, of the first ``count`` pictures whose base shows the attribute or not."""
    found = [picture[kind].get(str(point)) for picture in pictures.values() if picture["base"] == base]
    return [Shot(bool(s[0]), bool(s[1]), *s[2:]) for s in found if s][:count]


@dataclass(frozen=True)
class Point:
    """What is reported of one point: a share of ``of`` pictures with its 95% interval, and mean distances."""

    at: int
    hits: int
    of: int
    persons: int
    l1: float
    outside: float
    psnr: float

    @classmethod
    def of_shots(cls, at: int, found: list[Shot], hit: bool) -> Point:
        """``hit``: count the pictures that show the attribute (or, False, those that do not)."""
        count = len(found)
        mse = sum(shot.mse for shot in found) / count
        return cls(at, sum(shot.shown == hit for shot in found), count, sum(shot.person for shot in found),
                   255 * sum(shot.l1 for shot in found) / count, 255 * sum(shot.outside for shot in found) / count,
                   -10 * math.log10(mse) if mse > 1e-8 else math.inf)

    @property
    def share(self) -> float:
        return self.hits / self.of

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.hits, self.of)

    def cells(self) -> list[str]:
        low, high = self.interval
        return [f"{100 * self.share:.1f}% ({100 * low:.1f}–{100 * high:.1f})", str(self.of), f"{100 * self.persons / self.of:.1f}%",
                f"{self.l1:.1f}", f"{self.outside:.1f}", "∞" if math.isinf(self.psnr) else f"{self.psnr:.1f}"]


def figures(bench: Bench, pictures: dict) -> dict[str, list[Point]]:
    """The three curves: removal by start, removal by end, appearance by end (reverse activation)."""
    wanted = {"start": ("start", True, False), "end": ("end", True, False), "reverse": ("end", False, True)}
    curves = {}
    for name, (kind, base, hit) in wanted.items():
        found = {point: shots(pictures, kind, point, base, bench.wanted) for point in bench.points}
        curves[name] = [Point.of_shots(point, some, hit) for point, some in found.items() if some]
    return curves


def write(bench: Bench, curves: dict[str, list[Point]], sigmas: list[float]) -> str:
    """The report in markdown, beside the JSON; the plot too."""
    name = bench.attribute
    headings = {
        "start": (f"Negative “{name}” from call k to the end", "removed"),
        "end": (f"Negative “{name}” in the first k calls only, pictures that show it without a negative", "removed"),
        "reverse": (f"Negative “{name}” in the first k calls only, pictures that do not show it without a negative", "appears"),
    }
    text = [f"# Windows: {name}", "", f"Prompt “{world.PROMPT}”, {SAMPLER}, {bench.steps} steps, guidance {bench.cfg:g}; seeds from "
            f"{FIRST_SEED}. Shares with 95% Wilson intervals; mean change of a pixel (L1, 0–255) against the same seed without a "
            f"negative, in the whole picture and outside the place where draw.py puts the {name}; PSNR of the mean squared change."]
    for key, (title, hit) in headings.items():
        rows = [[point.at, f"{sigmas[point.at]:.2f}" if point.at < bench.steps else "0", *point.cells()] for point in curves[key]]
        text += ["", f"## {title}", "", plots.table(["k", "σ at k", hit, "pictures", "a person", "L1", "L1 outside", "PSNR"], rows)]
    report = "\n".join(text) + "\n"
    (bench.results.file.parent / f"{name}.md").write_text(report, "utf-8")
    draw(bench, curves)
    return report


def draw(bench: Bench, curves: dict[str, list[Point]]) -> None:
    """Removal and distance over start and end, and reverse activation, as one PNG."""

    def share(label: str, points: list[Point]) -> plots.Curve:
        bounds = [point.interval for point in points]
        return plots.Curve(label, [p.at for p in points], [100 * p.share for p in points],
                           [100 * low for low, _ in bounds], [100 * high for _, high in bounds])

    def distance(label: str, points: list[Point], which: str) -> plots.Curve:
        return plots.Curve(label, [p.at for p in points], [getattr(p, which) for p in points])

    critical = PAPER_CRITICAL[bench.attribute] * bench.steps / 30
    paper = [(critical, "paper: nouns")]
    panels = [
        plots.Panel("Removed, by start and by end", "call k", "% of pictures that showed it", [
            share("from k to the end", curves["start"]), share("only before k", curves["end"])], (-3, 103), paper),
        plots.Panel("Change against no negative", "call k", "mean change of a pixel (0–255)", [
            distance("from k to the end", curves["start"], "l1"), distance("only before k", curves["end"], "l1"),
            distance("from k, outside the object", curves["start"], "outside")]),
    ]
    if curves["reverse"]:
        highest = max(100 * point.interval[1] for point in curves["reverse"])
        panels.append(plots.Panel("Reverse activation: appears unasked", "negative before call k only",
                                  "% of pictures that lacked it", [share(bench.attribute, curves["reverse"])], (-0.5, max(10, highest)), paper))
    plots.curves(bench.results.file.parent / f"{bench.attribute}.png", f"When the negative “{bench.attribute}” acts", panels, columns=3)


def run(arguments) -> int:
    """The command line's ``bench windows``."""
    bench = Bench(arguments)
    pictures = bench.run()
    sigmas = bench._run([FIRST_SEED], negative=False).sigmas.tolist()
    print(write(bench, figures(bench, pictures), sigmas))
    print((bench.results.file.parent / f"{bench.attribute}.png").resolve())
    return 0
