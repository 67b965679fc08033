"""Jobs that wait and the one at work, for bars and live previews."""

import base64
import io
import time
from collections import OrderedDict
from typing import Optional

from modules import shared
from pydantic import BaseModel

current_task = None
pending_tasks = OrderedDict()
finished_tasks = []


def add_task_to_queue(id_job):
    pending_tasks[id_job] = time.time()


def start_task(id_task):
    global current_task
    current_task = id_task
    pending_tasks.pop(id_task, None)


def finish_task(id_task):
    global current_task
    if current_task == id_task:
        current_task = None
    finished_tasks.append(id_task)
    del finished_tasks[:-16]


class ProgressRequest(BaseModel):
    id_task: str = None
    id_live_preview: int = -1
    live_preview: bool = True


class ProgressResponse(BaseModel):
    active: bool
    queued: bool
    completed: bool
    progress: Optional[float] = None
    eta: Optional[float] = None
    live_preview: Optional[str] = None
    id_live_preview: Optional[int] = None
    textinfo: Optional[str] = None


def progressapi(req: ProgressRequest):
    about = {"active": req.id_task == current_task, "queued": req.id_task in pending_tasks, "completed": req.id_task in finished_tasks}
    if not about["active"]:
        return ProgressResponse(**about, id_live_preview=-1, textinfo="Waiting...")
    state, done, eta = shared.state, 0, None
    if state.job_count > 0:
        share = state.sampling_step / state.sampling_steps if state.sampling_steps else 0
        done = min((state.job_no + share) / state.job_count, 1)
    if done:
        eta = (time.time() - state.time_start) * (1 / done - 1)
    image, number = None, req.id_live_preview
    if shared.opts.live_previews_enable and req.live_preview:
        state.set_current_image()
        if state.id_live_preview != number and state.current_image is not None:
            file = io.BytesIO()
            state.current_image.save(file, format="png")
            image = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
            number = state.id_live_preview
    return ProgressResponse(**about, progress=done, eta=eta, live_preview=image, id_live_preview=number, textinfo=state.textinfo)
