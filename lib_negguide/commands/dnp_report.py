"""Statistics, tables and the plot of ``bench dnp``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

from lib_negguide import plots
from lib_negguide.commands.dnp_rows import Metric

Scores = Sequence[Dict[str, float]]


def wilson(hits: float, of: int, z: float = 1.96) -> Tuple[float, float]:
    """95% Wilson interval of a share."""
    share, spread = hits / of, z * z / of
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / of + spread / of / 4) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(values: Sequence[float], z: float = 1.96) -> Tuple[float, float, float]:
    """Mean and its 95% interval (normal approximation)."""
    count = len(values)
    mean = sum(values) / count
    variance = sum((value - mean) ** 2 for value in values) / max(count - 1, 1)
    half = z * math.sqrt(variance / count)
    return mean, mean - half, mean + half


def sign_test(won: int, lost: int) -> float:
    """Two-sided p of as uneven a split of the pairs that differ (McNemar's exact test)."""
    count, least = won + lost, min(won, lost)
    if count == 0:
        return 1.0
    tail = sum(math.comb(count, k) for k in range(least + 1)) / 2**count
    return min(1.0, 2 * tail)


def cell(metric: Metric, scores: Scores) -> str:
    """A figure of many pictures with its interval, as text."""
    values = [score[metric.key] for score in scores]
    if metric.share:
        low, high = wilson(sum(values), len(values))
        return f"{100 * sum(values) / len(values):.1f}% ({100 * low:.1f}–{100 * high:.1f})"
    mean, low, high = mean_interval(values)
    return f"{mean:.3f} ± {high - mean:.3f}"


@dataclass(frozen=True)
class Against:
    """A row against the plain pictures of the same pairs: how often better and worse, and the mean difference of a figure."""

    won: int
    lost: int
    difference: Tuple[float, float, float]

    @classmethod
    def of(cls, key: str, scores: Scores, plain: Scores) -> Against:
        steps = [after[key] - before[key] for after, before in zip(scores, plain)]
        return cls(sum(step > 0 for step in steps), sum(step < 0 for step in steps), mean_interval(steps))

    def cells(self, share: bool) -> List[str]:
        factor, unit, digits = (100, " pp", 1) if share else (1, "", 4)
        mean, low, high = (factor * value for value in self.difference)
        p = sign_test(self.won, self.lost)
        return [f"{mean:+.{digits}f}{unit} ({low:+.{digits}f} to {high:+.{digits}f})", f"{self.won} / {self.lost}",
                f"{p:.2g}" if p >= 1e-4 else "<0.0001"]


@dataclass
class Row:
    """One row of a table: its name, the pictures' figures, and their mean change against the plain pictures."""

    name: str
    scores: Scores
    change: float = 0.0


def table(metrics: Sequence[Metric], rows: Sequence[Row]) -> str:
    """The rows against the first one, which is the plain one."""
    first, plain = metrics[0], rows[0].scores
    headers = ["negative", *[metric.title for metric in metrics], "against plain", "won / lost", "p", "change"]
    lines = []
    for row in rows:
        own = [cell(metric, row.scores) for metric in metrics]
        against = Against.of(first.key, row.scores, plain).cells(first.share) if row is not rows[0] else ["", "", ""]
        lines.append([row.name, *own, *against, f"{row.change:.1f}" if row is not rows[0] else ""])
    return plots.table(headers, lines)


def draw(path: Path, title: str, sections: Sequence[Tuple[str, Sequence[Row]]], metric: Metric) -> None:
    """The first figure of every row with its interval, a panel for each section."""
    panels = []
    for name, rows in sections:
        bars = []
        for row in rows:
            values = [score[metric.key] for score in row.scores]
            mean, low, high = mean_interval(values)
            if metric.share:
                low, high = wilson(sum(values), len(values))
                mean, low, high = 100 * mean, 100 * low, 100 * high
            bars.append(plots.Bar(row.name, mean, low, high))
        panels.append(plots.BarPanel(name, metric.title + (", %" if metric.share else ""), bars))
    plots.bars(path, title, panels, columns=min(2, len(panels)))
