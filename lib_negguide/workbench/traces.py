"""What was done at each model call as an SVG plot: strengths (and, where they were asked for, norms) over the noise level."""

from __future__ import annotations

import html
import math
from typing import Any, Dict, List, Optional, Sequence, Tuple

from lib_negguide.plots import FAINT, INK, LANE, SERIES

NORMS = {"p": "‖d_p − d_u‖", "n": "‖d_n − d_u‖", "cosine": "cosine"}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 190, 46, 12, 22, 34


def series(trace: Dict[str, Any]) -> List[Tuple[str, List[float]]]:
    """Curves of a trace: (label, value per call), each term's strength and that of a removal in the first picture."""
    calls = trace.get("calls", ())
    found = [(name, [call["strengths"][term] for call in calls]) for term, name in enumerate(trace.get("names", ()))]
    if trace.get("removed"):
        found.append((trace["removed"], [call["removal"]["strengths"][0] if "removal" in call else 0.0 for call in calls]))
    return found


def signals(trace: Dict[str, Any]) -> List[Tuple[str, List[Optional[float]], float, float]]:
    """Curves on scales of their own: (label, value per call or ``None``, lowest, highest)."""
    calls = trace.get("calls", ())
    found = []
    if trace.get("removed"):
        found.append(("presence", [call["removal"]["presence"][0] if "removal" in call else None for call in calls]))
    if any("norms" in call for call in calls):
        found += [(label, [call.get("norms", {}).get(key) for call in calls]) for key, label in NORMS.items()]
    if any("r_t" in call for call in calls):
        found.append(("r_t", [call.get("r_t") for call in calls]))
    curves = []
    for label, values in found:
        known = [abs(value) for value in values if value is not None]
        curves.append((label, values, -1.0, 1.0) if label == NORMS["cosine"] else (label, values, 0.0, max(known, default=0.0) or 1.0))
    return curves


def svg(trace: Dict[str, Any]) -> str:
    """An inline SVG, model calls from left to right with their sigma; "" where there is nothing to show."""
    found, others = series(trace), signals(trace)
    calls = trace.get("calls", ())
    if not (found or others) or not calls:
        return ""
    top = max([1.0, *(value for _, values in found for value in values)])
    x = _scale(len(calls))
    lines = [f"<rect x='{LEFT}' y='{TOP}' width='{WIDTH - LEFT - RIGHT}' height='{HEIGHT - TOP - BOTTOM}' fill='none' stroke='{LANE}'/>"]
    for share in (0.0, 0.5, 1.0):
        y = _y(share)
        lines.append(f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y:.1f}' y2='{y:.1f}' stroke='{LANE}'/>"
                     f"<text x='{LEFT - 6}' y='{y + 4:.1f}' text-anchor='end' fill='{FAINT}' font-size='11'>{share * top:.3g}</text>")
    every = max(1, math.ceil(len(calls) / 10))
    for number in range(0, len(calls), every):
        lines.append(f"<text x='{x(number + 0.5):.1f}' y='{HEIGHT - BOTTOM + 15}' text-anchor='middle' fill='{FAINT}' "
                     f"font-size='10'>σ {calls[number]['sigma']:.3g}</text>")
    for number, (label, values) in enumerate(found):
        colour = SERIES[number % len(SERIES)]
        lines.append(f"<path d='{_steps(values, x, top)}' fill='none' stroke='{colour}' stroke-width='2'/>")
        lines.append(_name(number, label))
    for number, (label, values, low, high) in enumerate(others, len(found)):
        points = " ".join(f"{x(call + 0.5):.1f},{_y(max(value - low, 0.0) / (high - low)):.1f}"
                          for call, value in enumerate(values) if value is not None)
        lines.append(f"<polyline points='{points}' fill='none' stroke='{SERIES[number % len(SERIES)]}' stroke-width='1.5'/>")
        lines.append(_name(number, label))
    return (f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' role='img' "
            f"aria-label='strength of each negative at each model call' fill='{INK}' font-family='sans-serif'>{''.join(lines)}</svg>")


def _name(number: int, label: str) -> str:
    colour = SERIES[number % len(SERIES)]
    return f"<text x='{LEFT + 4 + 115 * number}' y='14' fill='{colour}' font-size='12'>{html.escape(label[:18])}</text>"


def _scale(calls: int):
    return lambda number: LEFT + (WIDTH - LEFT - RIGHT) * number / calls


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def _steps(values: Sequence[float], x, top: float) -> str:
    """A path that is level over each call."""
    path = []
    for number, value in enumerate(values):
        y = _y(value / top)
        path.append(f"{'L' if path else 'M'}{x(number):.1f} {y:.1f}H{x(number + 1):.1f}")
    return "".join(path)
