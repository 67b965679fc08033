"""A run as one HTML file that needs nothing else: pictures as data URLs, plots as inline SVG, no script."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any, Dict, List

from lib_negguide.workbench import traces
from lib_negguide.workbench.sheet import TITLES, footer, measured
from lib_negguide.workbench.strips import PLAIN, grid

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1200px; margin: 1.5em auto; padding: 0 1em; }
h1 { font-size: 1.4em; } h2 { font-size: 1.1em; margin-top: 1.6em; }
table { border-collapse: collapse; } th { text-align: left; padding: 0.3em 0.6em; font-weight: 600; }
td { padding: 0.3em; vertical-align: top; }
.grid { overflow-x: auto; } .strip { display: flex; flex-wrap: wrap; gap: 0.8em; }
figure { margin: 0; max-width: 256px; } figure img { width: 100%; min-width: 96px; display: block; border-radius: 4px; }
figcaption { font-size: 0.85em; } .quiet { opacity: 0.75; font-size: 0.9em; }
svg { max-width: 100%; height: auto; } pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.8em; }
"""


def html_of(run: Dict[str, Any], folder: Path) -> str:
    """The report of a run whose cells' pictures are in ``folder``."""
    form = run["form"]
    found = {row["name"]: row for row in run["cells"]}
    title = f"{TITLES[form['strip']]}: {form['prompt']}"
    about = "<br>".join(map(_safe, (footer(run), f"NegGuide {run['version']}, {run['created']}")))
    parts = [f"<h1>{_safe(title)}</h1>", f"<p class='quiet'>{about}</p>"]
    if run["caption"]:
        parts.append(f"<p>n* = <b>{_safe(run['caption'])}</b></p>")
    parts += [f"<p>{_safe(note)}</p>" for note in [*run["notes"], run["error"]] if note]
    columns = grid(run["cells"], "column")
    if columns:
        parts += [_figure(found[PLAIN], folder)] if PLAIN in found else []
        parts.append(_table(run["cells"], columns, folder))
    else:
        parts.append(f"<div class='strip'>{''.join(_figure(row, folder) for row in run['cells'])}</div>")
    parts.append("<h2>What acted, by noise level</h2>")
    for row in run["cells"]:
        drawn = traces.svg(row["trace"])
        if drawn or row["previews"] or row.get("attention"):
            parts.append(f"<h3>{_safe(row['title'])}</h3>{drawn}<div class='strip'>{_previews(row, folder)}</div>{_attention(row, folder)}")
    parts.append("<h2>Settings</h2>")
    for row in run["cells"]:
        parts.append(f"<details><summary>{_safe(row['title'])}</summary><pre>{_safe(row['infotext'])}</pre></details>")
    told = json.dumps({name: value for name, value in form.items() if value not in ("", [], None)}, ensure_ascii=False, indent=1)
    parts.append(f"<details><summary>Request</summary><pre>{_safe(told)}</pre></details>")
    return (f"<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
            f"<title>{_safe(title)}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>")


def _previews(row: Dict[str, Any], folder: Path) -> str:
    return "".join(f"<figure><img src='{_data(folder / one['file'])}' alt=''><figcaption>call {one['call'] + 1}</figcaption></figure>"
                   for one in row["previews"])


def _attention(row: Dict[str, Any], folder: Path) -> str:
    """Figure 1 of Ban et al. for a cell."""
    if not row.get("attention"):
        return ""
    return (f"<div class='grid'><img src='{_data(folder / row['attention']['sheet'])}' alt='attention, {_safe(row['title'])}'></div>"
            "<p class='quiet'>Where the picture attends to a word, red as its highest share; the critical call is framed. "
            "After Ban et al., ECCV 2024, figure 1.</p>")


def _data(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _table(rows: List[Dict[str, Any]], columns: List[str], folder: Path) -> str:
    head = "".join(f"<th scope='col'>{_safe(column)}</th>" for column in columns)
    lines = [f"<tr><td></td>{head}</tr>"]
    for heading in grid(rows, "row"):
        own = {row["column"]: row for row in rows if row["row"] == heading}
        cells = "".join(f"<td>{_figure(own[column], folder) if column in own else ''}</td>" for column in columns)
        lines.append(f"<tr><th scope='row'>{_safe(heading)}</th>{cells}</tr>")
    return f"<div class='grid'><table>{''.join(lines)}</table></div>"


def _figure(row: Dict[str, Any], folder: Path) -> str:
    words = "<br>".join(_safe(line) for line in [row["title"], *measured(row), row["caption"]] if line)
    return f"<figure><img src='{_data(folder / row['file'])}' alt='{_safe(row['title'])}'><figcaption>{words}</figcaption></figure>"


def _safe(text: Any) -> str:
    return html.escape(str(text), quote=True)
