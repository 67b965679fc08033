"""The workbench in the WebUI: each cell is a txt2img of the host's own, under its queue, with its progress, interrupt and skip.

Scripts of other extensions do not take part: the cells differ in what NegGuide does, and in nothing else.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from copy import copy
from pathlib import Path
from typing import Any, Dict, Optional

from fastapi import HTTPException
from modules import paths_internal, processing, scripts, shared

from lib_negguide import background
from lib_negguide.background import Background, Cancelled
from lib_negguide.errors import CaptionerError, HostError, NegGuideError
from lib_negguide.hosts.a1111.denoiser import check_model, check_scale
from lib_negguide.hosts.a1111.jobs import job as host_job
from lib_negguide.hosts.a1111.jobs import sampler_of
from lib_negguide.hosts.a1111.nested import nested, stop_if_asked
from lib_negguide.hosts.a1111.observing import ATTRIBUTE as OBSERVER
from lib_negguide.hosts.a1111.observing import Observer
from lib_negguide.hosts.a1111.report import notes_of
from lib_negguide.hosts.a1111.run import run_of
from lib_negguide.settings import Dns, Settings
from lib_negguide.webui import dnp as auto_dnp
from lib_negguide.webui import gallery, request
from lib_negguide.workbench import attention
from lib_negguide.workbench.form import Form
from lib_negguide.workbench.outcome import INTERRUPTED, Made, begun, perform
from lib_negguide.workbench.runs import Runs
from lib_negguide.workbench.strips import Cell

JOB = "negguide_workbench"
"""Name of the host's job while the workbench is at work."""

job = Background("NegGuide: workbench")


def runs() -> Runs:
    """The runs in the host's data folder; as many are kept as the settings page says."""
    return Runs(Path(paths_internal.data_path) / "negguide" / "runs", int(shared.opts.negguide_workbench_runs))


def checked(body: Any) -> Form:
    """What a request asks for, with the host's names of sampler and schedule type and a seed; raises :class:`SettingsError`."""
    form = Form.parse(body)
    name, scheduler = sampler_of(form.sampler_name, form.scheduler)
    seed = int(processing.get_fixed_seed(form.seed))
    return form.with_seed(seed).copy(update={"sampler_name": name, "scheduler": scheduler or "Automatic"})


def start(form: Form) -> str:
    """Begin a run in the background; its identity. Raises :class:`lib_negguide.background.Busy`."""
    kept = runs()
    if job.told()["state"] != background.RUNNING:
        kept.mend()
    identity = kept.new()
    kept.at(identity).write(begun(form, identity))
    try:
        job.start(identity, lambda progress: perform_in_host(form, kept, identity, progress))
    except BaseException:
        kept.delete(identity)
        raise
    return identity


def perform_in_host(form: Form, kept: Runs, identity: str, progress) -> Dict[str, Any]:
    """Make a run and keep it. ``progress`` (done, total) raises :class:`Cancelled` where the user has ended it."""
    folder = kept.at(identity)
    run = begun(form, identity)

    def tell(done: int, total: int, run: Dict[str, Any], row: Optional[Dict[str, Any]], made: Optional[Made]) -> None:
        if row is not None:
            folder.add(row, made)
            folder.write(run)
        shared.state.job_no, shared.state.job_count = done, total  # the host counts every sampling of a cell
        progress(done, total)

    try:
        with host_job(JOB):
            progress(0, 0)  # cancelled while it waited
            run["model"] = shared.sd_model.sd_checkpoint_info.name_for_extra
            return perform(form, Painter(form), run, tell)
    except Cancelled:
        run["state"] = INTERRUPTED
        return run
    finally:
        folder.finish(run)
        kept.make_room(identity)


def interrupt() -> None:
    """End the run: what is there stays."""
    job.cancel()
    if shared.state.job == JOB:
        shared.state.interrupt()


def skip() -> None:
    """Leave out the picture that is being made."""
    if shared.state.job == JOB:
        shared.state.skip()


class Painter:
    """The host for :func:`lib_negguide.workbench.outcome.perform`; its job has begun."""

    def __init__(self, form: Form):
        self.form = form

    def paint(self, cell: Cell) -> Made:
        shared.state.textinfo = f"NegGuide: {cell.title}"
        with closing(self._request(cell)) as p:
            observer = Observer(self.form.watched, self.form.previews, attention.attended(self.form, cell))
            if observer.wanted:
                setattr(p, OBSERVER, observer)
            try:
                done = processing.process_images(p)
            except HTTPException as error:
                raise error.__cause__ if isinstance(error.__cause__, NegGuideError) else HostError(str(error.detail)) from error
            finally:
                observer.close()
            stop_if_asked()
            run = run_of(p)
            passes = run.passes if run is not None else []
            first = done.index_of_first_image
            made = Made(done.images[first], done.infotexts[first], passes[0].trace.to_dict() if passes else {}, notes=notes_of(p),
                        previews=observer.previews)
            return made.observed(observer.norms, observer.sigmas, observer.history)

    def opposite(self, cell: Cell) -> Made:
        """Made and captioned once, as auto-DNP does: it is in that one's cache."""
        form, given = self.form, self.form.caption.strip()
        shared.state.textinfo = f"NegGuide: {cell.title}"
        with closing(self._request(Cell(cell.name, cell.title, Settings(), cell.prompt, ""))) as p:
            check_model(p)
            check_scale(p)
            try:
                shown = auto_dnp.negatives_of(p, form.dnp, [form.prompt], [form.seed])[0].shown[0]
            except CaptionerError:
                if not given:
                    raise
                shown = None
            if shown is None:
                image = nested(p, [form.prompt], [form.seed], dns=Dns())[0]
                return Made(image, caption=given)
            return Made(shown.image, gallery.infotext_of(p, shown, form.dnp), caption=given or shown.caption)

    def scores(self) -> AbstractContextManager:
        return auto_dnp.clip.opened()

    def _request(self, cell: Cell):
        form = self.form
        p = processing.StableDiffusionProcessingTxt2Img(
            sd_model=shared.sd_model, prompt=cell.prompt, negative_prompt=cell.negative_prompt, seed=form.seed, subseed=0, styles=[],
            sampler_name=form.sampler_name, scheduler=None if form.scheduler == "Automatic" else form.scheduler, batch_size=1, n_iter=1,
            steps=form.steps, cfg_scale=form.cfg_scale, width=form.width, height=form.height, do_not_save_samples=True,
            do_not_save_grid=True)
        p.scripts, p.script_args = _alone(), ()
        p.is_api = True
        setattr(p, request.GIVEN, cell.settings)
        return p


def _alone() -> Any:
    """A runner of txt2img's scripts with NegGuide's alone."""
    runner = copy(scripts.scripts_txt2img)
    ours = runner.script(request.TITLE)
    runner.scripts, runner.alwayson_scripts, runner.selectable_scripts, runner.callback_map = [ours], [ours], [], {}
    return runner


