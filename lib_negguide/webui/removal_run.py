"""What the script "Removal strip" makes: each picture as it is and with each way of removing, on one sheet and one by one."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

from modules import shared
from modules.processing import Processed

from lib_negguide import plots
from lib_negguide.hosts.a1111.run import Removed, run_of
from lib_negguide.webui import dnp, gallery, infotext
from lib_negguide.webui.removal_asked import Asked, Column
from lib_negguide.webui.several import Picture, accordion_of, copied, made, processed, taken
from lib_negguide.workbench.outcome import distance

STRIP = "NegGuide removal strip"
"""In the API's ``info``: a row a picture, with each column's title, calls and distance to the picture as it is."""


def run(p, asked: Asked) -> Processed:
    """The strip of what is asked for; raises :class:`NegGuideError`."""
    columns = asked.strip(accordion_of(p))
    shared.state.job_count = len(columns) * p.n_iter
    resolved = dnp.resolve(p)
    strip: List[List[Picture]] = []
    removed: List[Dict[int, Removed]] = []
    for column in columns:
        shared.state.textinfo = f"NegGuide: {column.title}"
        own = copied(p, seed=list(resolved.seeds), subseed=list(resolved.subseeds))
        pictures = taken(made(own, column.settings))
        ended = shared.state.interrupted or shared.state.stopping_generation
        if ended and strip:  # the last one is not done
            break
        strip.append(pictures)
        removed.append(run_of(own).removed if run_of(own) is not None else {})
        if ended:
            break
    p.all_prompts, p.all_negative_prompts = resolved.prompts, resolved.negative_prompts
    p.all_seeds, p.all_subseeds = resolved.seeds, resolved.subseeds
    p.sampler_name, p.scheduler = own.sampler_name, own.scheduler
    by_picture = list(zip(*strip))
    pictures = [picture for row in by_picture for picture in row]
    if len(strip) < 2 or not pictures:
        return processed(p, pictures)
    told = [[_told(column, number, row, at, removed[at]) for at, column in enumerate(columns[:len(row)])]
            for number, row in enumerate(by_picture)]
    p.extra_generation_params[STRIP] = infotext.InfoOnly(pictures=[
        {"seed": seed, "columns": cells} for seed, cells in zip(resolved.seeds, told)])
    text = by_picture[0][-1][1]  # pasted, it makes the last picture of the first row
    figure = sheet(columns[1].settings.remove.text, resolved.prompts, resolved.seeds, by_picture, told, side=min(max(p.width, 128), 320))
    gallery.save_figure(p, figure, text, resolved.seeds[0], resolved.prompts[0], name="removal-strip")
    return processed(p, pictures, first=(gallery.with_text(figure, text), text))


def _told(column: Column, number: int, row: Sequence[Picture], at: int, removed: Dict[int, Removed]) -> Dict[str, Any]:
    """What is said of one picture, JSON-ready. ``strengths``: in the first pass, 1 at the calls at which it acted."""
    passes = removed[number].passes if number in removed else []
    acted = set(passes[0]["on"]) if passes else ()
    return {"title": column.title, "when": "; ".join(removed[number].told) if passes else "",
            "strengths": [float(call in acted) for call in range(passes[0]["calls"])] if passes else [],
            "extra_evaluations": sum(one["extra_evaluations"] for one in passes),
            "distance": round(distance(row[0][0], row[at][0]) / 2.55, 2) if at else None}


def sheet(text: str, prompts: Sequence[str], seeds: Sequence[int], by_picture: Sequence[Sequence[Picture]],
          told: Sequence[Sequence[Dict[str, Any]]], side: Optional[int] = None):
    """A Pillow image: a row a picture, a column a way of removing, under each when it acted and how much it changed the picture."""
    rows = []
    for prompt, seed, pictures, cells in zip(prompts, seeds, by_picture, told):
        row = plots.Row(f"seed {seed}", prompt)
        for (image, _, _), cell in zip(pictures, cells):
            words = [cell["when"]] if cell["distance"] is not None else []
            if cell["extra_evaluations"]:
                words.append(f"{cell['extra_evaluations']} extra evaluations")
            if cell["distance"] is not None:
                words.append(f"mean change {cell['distance']:.1f}%")
            row.cells.append(plots.Cell(image, cell["strengths"], [cell["title"]], words="\n".join(words)))
        rows.append(row)
    footer = "Below each picture: at which model calls something was removed, and the mean change of the pixels from the picture as it is."
    return plots.contact_sheet(f"Removing: {text}", rows, footer, side or 192)
