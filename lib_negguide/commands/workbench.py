"""``workbench``: a strip of pictures from one seed that shows what a negative does, as PNG, JSON and one HTML file."""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

from lib_negguide import metrics
from lib_negguide.commands import common
from lib_negguide.commands.generate import infotext
from lib_negguide.dns import Interrupted
from lib_negguide.errors import SettingsError
from lib_negguide.workbench import attention, report
from lib_negguide.workbench.form import FORMULAS, POINTS, STRIPS, WEIGHTS, Form
from lib_negguide.workbench.outcome import INTERRUPTED, Made, begun, perform
from lib_negguide.workbench.runs import Folder
from lib_negguide.workbench.sheet import measured
from lib_negguide.workbench.strips import Cell

EXAMPLES = """\
strips:
  windows    a grid of starts and ends of the negative (after Ban et al., ECCV 2024)
  weights    the negative from weak to strong
  formulas   the host's own negative prompt, a window, three branches, Perp-Neg, removal in a closed loop
  removal    the picture as it is and without the negative: in a closed loop, and with the rest kept
  four       figure 4 of Desai and Vasconcelos: the model's own negative (DNS, DNP)

examples:
  python -m lib_negguide workbench windows "a portrait of a person" --negative glasses --seed 7
  python -m lib_negguide workbench weights "a portrait of a person" --negative hat --weights 0.5,1,2 --window 5.8:1.6
  python -m lib_negguide workbench formulas "a portrait of a person" --negative mustache --out out/mustache
  python -m lib_negguide workbench removal "a portrait of a person" --negative glasses --seed 3
  python -m lib_negguide workbench four "a red circle and a blue triangle"
"""


def add(commands) -> None:
    parser = commands.add_parser(
        "workbench", help="strips of pictures that show what a negative does", formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__, epilog=EXAMPLES)
    parser.add_argument("strip", choices=STRIPS, metavar="STRIP", help=", ".join(STRIPS))
    parser.add_argument("prompt", help="what the pictures show")
    parser.add_argument("-n", "--negative", default="", metavar="TEXT", help="the negative that is looked at (all strips but four)")
    parser.add_argument("--negative-prompt", default="", metavar="TEXT", help="an ordinary negative prompt that acts in all pictures")
    parser.add_argument("--seed", type=int, default=1, help="default %(default)s")
    parser.add_argument("--points", type=numbers, metavar="A,B,…",
                        help=f"windows: where it may start and end (default {_listed(POINTS)} of the run)")
    parser.add_argument("--unit", choices=("fraction", "step", "sigma"), help="of --points (default fraction)")
    parser.add_argument("--weights", type=numbers, metavar="A,B,…",
                        help=f"weights (default {_listed(WEIGHTS)})")
    parser.add_argument("--formulas", type=lambda text: text.split(","), metavar="A,B,…", help="some of " + ",".join(FORMULAS))
    parser.add_argument("--window", metavar="WINDOW", help="weights, formulas: when it acts, e.g. 5.8:1.6, 5:15:step or noun")
    parser.add_argument("--caption", default="", metavar="TEXT", help="four: the caption n* instead of the captioner's")
    parser.add_argument("--captioner", metavar="CAPTIONER", default="auto", help=common.HELP["captioner"])
    parser.add_argument("--scores", action="store_true", help="CLIP scores of the prompt")
    parser.add_argument("--norms", action="store_true",
                        help="lengths and cosine of both directions at each call (two more predictions a call)")
    parser.add_argument("--previews", type=int, default=0, metavar="N", help="x0 at so many calls (default none)")
    parser.add_argument("--attention", action="store_true",
                        help="heat maps of the words of prompt and negative over the calls, and r_t (Ban et al., figure 1)")
    parser.add_argument("--out", type=Path, default=Path("out/workbench"), help="folder of the result (default %(default)s/)")
    common.model_options(parser)
    common.sampling_options(parser)
    common.captioner_options(parser, cache=False)
    parser.set_defaults(run=run)


def _listed(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)


def numbers(text: str) -> List[float]:
    """``0,0.5,1`` (for argparse)."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 0,0.5,1") from None


def run(arguments) -> int:
    form_of(arguments, {"steps": 20, "cfg_scale": 7.0, "sampler": "", "scheduler": "", "size": (512, 512)})  # before weights are loaded
    host = common.load(arguments)
    options = common.sampling(arguments, host)
    form = form_of(arguments, options)
    folder = Folder(arguments.out)
    asked = {**begun(form, arguments.out.name), "model": host.model.name}
    painter = Painter(host, form, options, arguments)
    with common.progress("pictures") as on_step:
        painter.on_step = on_step

        def tell(done: int, total: int, _run: Dict[str, Any], row: Optional[Dict[str, Any]], made: Optional[Made]) -> None:
            painter.place = (done, total)
            if row is not None:
                folder.add(row, made)
                print("  ".join([str(folder.path / row["file"]), row["title"], *measured(row), row["caption"]]).rstrip())

        try:
            done = perform(form, painter, asked, tell)
        finally:
            folder.finish(asked)
    for note in done["notes"]:
        print(note)
    if done["cells"]:
        (folder.path / "report.html").write_text(report.html_of(done, folder.path), "utf-8")
        print(folder.path / "sheet.png")
    return 130 if done["state"] == INTERRUPTED else 0


def form_of(arguments, options: Dict[str, Any]) -> Form:
    """What is asked for; raises :class:`SettingsError`."""
    given = {name: getattr(arguments, name) for name in ("points", "unit", "weights", "formulas") if getattr(arguments, name) is not None}
    if arguments.window:
        given["window"] = common.parse_window(arguments.window)
    width, height = options["size"]
    if arguments.seed < 0:
        raise SettingsError("--seed", arguments.seed, "a whole number from 0")
    return Form.parse({
        "strip": arguments.strip, "prompt": arguments.prompt, "negative": arguments.negative, "seed": arguments.seed,
        "negative_prompt": arguments.negative_prompt, "caption": arguments.caption, "captioner": arguments.captioner,
        "clip": arguments.scores, "norms": arguments.norms, "previews": arguments.previews, "attention": arguments.attention,
        "steps": options["steps"], "cfg_scale": options["cfg_scale"], "width": width, "height": height,
        "sampler_name": options["sampler"], "scheduler": options["scheduler"], **given})


class Painter:
    """The embedded host for :func:`lib_negguide.workbench.outcome.perform`."""

    def __init__(self, host, form: Form, options: Dict[str, Any], arguments):
        self.host, self.form, self.options, self.arguments = host, form, options, arguments
        if form.watched or form.previews or form.attention:
            from lib_negguide.hosts.embedded.observing import Observing

            self.host = Observing(host.model, form.watched, form.previews)
        self.on_step: Any = None
        self.place = (0, 1)

    def paint(self, cell: Cell) -> Made:
        if self.form.attention:
            self.host.attended = attention.attended(self.form, cell)
        with _by_hand():
            result = self.host.sample([cell.prompt], [self.form.seed], cell.settings, negative_prompts=cell.negative_prompt,
                                      on_step=self._step, **self.options)
        sigmas = [call.sigma for call in result.trace.calls]
        text = infotext(cell.prompt, cell.negative_prompt, cell.settings, sigmas, self.host, self.form.seed, self.options, result.scheduler)
        made = Made(result.pil()[0], text, result.trace.to_dict(), notes=result.notes, previews=getattr(self.host, "previews", ()))
        return made.observed(getattr(self.host, "norms", ()), sigmas, getattr(self.host, "history", None))

    def opposite(self, cell: Cell) -> Made:
        made = self.paint(cell)
        if self.form.caption.strip():
            made.caption = self.form.caption.strip()
            return made
        from lib_negguide.captioners import How, safe
        from lib_negguide.hosts.embedded.dns import opener

        dnp = self.form.dnp
        with _by_hand(), opener(dnp, self.host, self.arguments.download)() as captioner:
            made.caption = safe(captioner.caption([made.image], How(dnp.beams, dnp.min_tokens, dnp.max_tokens))[0])
        return made

    @contextmanager
    def scores(self) -> Iterator[metrics.ClipScores]:
        from lib_negguide.hosts.embedded import scores

        with scores.opened(self.host, self.arguments.clip, self.arguments.download) as clip:
            yield clip

    def _step(self, call: int, calls: int, sigma: float) -> None:
        done, total = self.place
        if self.on_step is not None:
            self.on_step(done * calls + call, total * calls, sigma)


@contextmanager
def _by_hand() -> Iterator[None]:
    """Ctrl-C ends the strip; the pictures that are there stay."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted() from None
