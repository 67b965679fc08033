"""A run as one picture, by :mod:`lib_negguide.plots`."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

from lib_negguide import plots
from lib_negguide.workbench.outcome import strengths
from lib_negguide.workbench.strips import DNS, PLAIN, grid

TITLES = {"windows": "Start and end of a negative", "weights": "Weight of a negative", "formulas": "Ways to use a negative",
          "removal": "Removal", "four": "Diffusion-negative prompting"}
IN_A_ROW = 6


def sheet(run: Dict[str, Any], image_of: Callable[[str], Any]) -> Any:
    """A contact sheet (Pillow) of a run with at least one cell; ``image_of``: a cell's picture by its name."""
    form, found = run["form"], run["cells"]
    drawn = {row["name"]: plots.Cell(image_of(row["name"]), strengths(row), [row["title"], *measured(row)],
                                     words=row["caption"] if row["name"] == DNS else "") for row in found}
    columns = grid(found, "column")
    plain = [drawn[PLAIN]] if PLAIN in drawn else []
    if columns:
        rows = [plots.Row("plain", "without the negative", plain)] if plain else []
        for heading in grid(found, "row"):
            by_column = {row["column"]: drawn[row["name"]] for row in found if row["row"] == heading}
            rows.append(plots.Row(heading, "", [by_column.get(column, plots.Cell(None)) for column in columns]))
    else:
        cells = [drawn[row["name"]] for row in found]
        rows = [plots.Row(form["prompt"] if not at else "", form["negative"] if not at else "", cells[at:at + IN_A_ROW])
                for at in range(0, len(cells), IN_A_ROW)]
    side = min(max(max(cell.image.width for cell in drawn.values()), 132), 320)
    return plots.contact_sheet(TITLES[form["strip"]], rows, footer(run), side)


def measured(row: Dict[str, Any]) -> List[str]:
    """Distance and score of a cell in words."""
    lines = [] if row["distance"] is None else [f"distance {row['distance']:.1f}"]
    if row["clip"]:
        least = row["clip"]["minimum"]
        lines.append(f"CLIP {row['clip']['full']:.3f}" + ("" if least is None else f", least {least:.3f}"))
    return lines


def footer(run: Dict[str, Any]) -> str:
    form = run["form"]
    about = [form["prompt"], form["negative"] and f"negative: {form['negative']}", f"seed {form['seed']}", f"{form['steps']} steps",
             form["sampler_name"], f"CFG {form['cfg_scale']:g}", run.get("model", "")]
    return " · ".join(part for part in about if part)
