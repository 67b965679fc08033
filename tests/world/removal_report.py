"""What the removal bench found, in tables and pictures; see :mod:`tests.world.removal`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from lib_negguide import plots
from lib_negguide.hosts.embedded.result import pil
from tests.world.evaluate import wilson
from tests.world.removal import SHARES, Bench, Line, Shot, lines

GOAL_POINTS, GOAL_DISTANCE, GOAL_COST = 0.02, 0.5, 1.15
SHOWN = {"none": "no negative", "full": "whole run", "5-15": "Ban et al.", "loop": "closed loop", "loop-anchor": "rest kept"}
DEFAULTS = ("loop", "loop-anchor")


@dataclass(frozen=True)
class Row:
    """One method of one thing: its pictures by seed, those of the full run, and how long one sampling is."""

    line: Line
    shots: dict[str, Shot]
    full: dict[str, Shot]
    sampling: int

    @property
    def count(self) -> int:
        return len(self.shots)

    @property
    def removed(self) -> float:
        return self.mean("gone")

    def mean(self, name: str, of_full: bool = False) -> float:
        """Of this method's pictures; or of the full run's of the same seeds."""
        pictures = self.full if of_full else self.shots
        found = [getattr(pictures[seed], name) for seed in self.shots if seed in pictures]
        return sum(found) / len(found) if found else math.nan

    def both(self) -> tuple[int, float, float]:
        """Pictures in which both this and the full run remove it, and their mean distances: this one's and the full run's."""
        pairs = [(shot, self.full[seed]) for seed, shot in self.shots.items() if seed in self.full and shot.gone and self.full[seed].gone]
        if not pairs:
            return 0, math.nan, math.nan
        return len(pairs), 255 * sum(one.l1 for one, _ in pairs) / len(pairs), 255 * sum(other.l1 for _, other in pairs) / len(pairs)

    @property
    def cost(self) -> float:
        """Evaluations, in samplings: with shared beginnings, and where a method keeps the rest with that of the picture to be kept."""
        return self.mean("alone" if self.line.cached else "evaluations") / self.sampling

    def cells(self) -> list[str]:
        hits = sum(shot.gone for shot in self.shots.values())
        low, high = wilson(hits, self.count)
        mse, (number, own, theirs) = self.mean("mse"), self.both()
        other = self.mean("evaluations" if self.line.cached else "alone") / self.sampling
        cost = f"{self.cost:.2f}" + (f" ({other:.2f})" if abs(other - self.cost) > 0.005 else "")
        return [self.line.words, str(self.count), f"{100 * self.removed:.1f}% ({100 * low:.1f}–{100 * high:.1f})", f"{100 * self.mean('kept'):.1f}%",
                f"{255 * self.mean('l1'):.1f}", f"{self.mean('l1') / self.mean('l1', of_full=True):.2f}" if self.full else "",
                "∞" if mse < 1e-8 else f"{-10 * math.log10(mse):.1f}", f"{self.mean('perceptual'):.3f}",
                f"{own:.1f} of {theirs:.1f} ({number})" if number else "", cost]


HEADERS = ["method", "pictures", "removed", "rest as before", "L1 outside", "of full", "PSNR", "features", "both remove: L1", "samplings"]


def rows(bench: Bench) -> list[Row]:
    """Every method that has been measured, in the table's order."""
    full = bench.kept(next(line for line in lines() if line.key == "full"))
    found = [(line, bench.kept(line)) for line in lines()]
    return [Row(line, dict(list(shots.items())[: bench.wanted]), full, bench.sampling) for line, shots in found if shots]


def goals(thing: str, measured: list[Row]) -> list[list[str]]:
    """Removal within 2 points of the full run, at most half its change outside, at most 1.15 samplings; on the same seeds."""
    table = []
    for row in measured:
        if row.line.key not in DEFAULTS or not row.full:
            continue
        full, share = row.mean("gone", of_full=True), row.mean("l1") / row.mean("l1", of_full=True)
        verdicts = (row.removed >= full - GOAL_POINTS, share <= GOAL_DISTANCE, row.cost <= GOAL_COST)
        words = (f"{100 * row.removed:.1f}% against {100 * full:.1f}%", f"{100 * share:.0f}% of the full run's", f"{row.cost:.2f} samplings")
        table.append([thing, row.line.words, *(text if met else f"**missed**: {text}" for text, met in zip(words, verdicts, strict=True))])
    return table


def write(benches: list[Bench], out: Path) -> str:
    """The report in markdown, and the plot of removal against preservation beside it."""
    every = {bench.thing.name: rows(bench) for bench in benches}
    every = {name: found for name, found in every.items() if found}
    first = benches[0].setting
    text = ["# Removal", "", f"{first['sampler']}, {first['steps']} steps, guidance {first['cfg']:g}, seeds from {first['first seed']}: the first ones "
            "whose picture shows the thing without a negative. Shares with 95% Wilson intervals, counted by the judge. *Rest as before*: all "
            "that the judge sees but the thing is as it was. L1 (0–255), PSNR and the distance in the judge's features (as LPIPS) are outside "
            "the thing's place, against the picture without a negative; *of full*: L1 as a share of the full run's on the same seeds; *both "
            "remove*: only pictures in which this method and the full run remove it, with their number. *Samplings*: model evaluations in "
            f"units of one sampling ({benches[0].sampling}); in brackets, of a search without what its windows share, and of the loop that keeps the rest if the run to be kept were at hand.", "",
            "## Goals", "", plots.table(["thing", "method", "removal (within 2 points)", "change outside (at most half)", "cost (at most 1.15)"],
                                        [row for name, found in every.items() for row in goals(name, found)])]
    for name, found in every.items():
        prompt = next(bench.thing.prompt for bench in benches if bench.thing.name == name)
        text += ["", f"## {name}", "", f"Prompt “{prompt}”, removed: “{name}”.", "", plots.table(HEADERS, [row.cells() for row in found])]
    report = "\n".join(text) + "\n"
    out.mkdir(parents=True, exist_ok=True)
    (out / "removal.md").write_text(report, "utf-8")
    draw(every, out / "removal.png")
    return report


def sheet(bench: Bench, path: Path, count: int) -> None:
    """The first pictures of some methods, one below the other; framed where the thing is gone and the rest is as before."""
    with bench.host.threads():
        base, shown = bench.base(count), []
        for line in lines():
            if line.key not in SHOWN or (bench.sampler != SHARES and line.cached):
                continue
            images, spent, alone, trace = bench.pictures(line, base, lambda prompts: None)
            cells = []
            for number, (image, shot) in enumerate(zip(pil(images), bench.shots(base, images, spent, alone), strict=True)):
                words = [f"seed {base.seeds[number]}"] if line.remove is None else [
                    f"{'gone' if shot.gone else 'there'}, rest {'as before' if shot.kept else 'changed'}", f"L1 outside {255 * shot.l1:.1f}"]
                good = None if line.remove is None else shot.gone and shot.kept
                cells.append(plots.Cell(image, _strengths(trace, number, bench.steps), words, good))
            cost = alone if line.cached else spent
            shown.append(plots.Row(SHOWN[line.key], f"{line.words}; {sum(cost) / len(cost) / bench.sampling:.2f} samplings", cells))
    footer = f"The first {count} seeds from {bench.first} whose picture shows it. Bars: when the negative acts."
    plots.contact_sheet(f"“{bench.thing.prompt}” without “{bench.thing.name}”", shown, footer).save(path)


def _strengths(trace, picture: int, steps: int) -> list[float]:
    """Of a negative in one picture at each call of the whole run; calls that were shared come first, and had none."""
    if trace is None:
        return [0.0] * steps
    own = [sum(call.strengths) if call.removal is None else call.removal.strengths[picture] for call in trace.calls]
    return [0.0] * (steps - len(own)) + own


def draw(every: dict[str, list[Row]], path: Path) -> None:
    """Removal over the change outside, a point a method, methods of a kind joined."""
    panels, groups = [], list(dict.fromkeys(row.line.group for found in every.values() for row in found if row.line.group))
    for name, found in every.items():
        full = next((row for row in found if row.line.key == "full"), None)
        marks = [(255 * full.mean("l1") / 2, "half of the full run's")] if full else []
        curves = []
        for group in groups:  # in every panel, so that each has its colour
            some = [row for row in found if row.line.group == group]
            curves.append(plots.Curve(group, [255 * row.mean("l1") for row in some], [100 * row.removed for row in some]))
        panels.append(plots.Panel(name, "L1 outside its place (0–255)", "removed, %", curves, (0, 103), marks))
    if panels:
        plots.curves(path, "What goes, and what else changes", panels)
