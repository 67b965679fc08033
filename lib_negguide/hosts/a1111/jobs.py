"""A job of NegGuide's own in the host: its turn in the queue, and the host's names of sampler and schedule type."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Dict, Iterator, Optional, Tuple

from modules import call_queue, progress, sd_samplers, sd_schedulers, shared

from lib_negguide.errors import SettingsError


@contextmanager
def job(name: str) -> Iterator[None]:
    """A turn in the host's queue, as its own endpoints take it; ``name`` is the job's, and its task's (:func:`told`)."""
    progress.add_task_to_queue(name)
    with call_queue.queue_lock:
        try:
            shared.state.begin(job=name)
            progress.start_task(name)
            yield
        finally:
            progress.finish_task(name)
            shared.state.end()
            shared.total_tqdm.clear()


def told(name: str, preview: Optional[int] = None) -> Dict[str, Any]:
    """How far a job is by the host's own count: ``progress`` (0 to 1) and ``eta`` (seconds, or ``None``); ``place`` of ``waiting`` in its
    queue (0 of 0: it has begun). Given the number of the last live preview that was seen (-1: none), a newer one as ``preview`` (a data
    URL, or ``None``) with its number ``preview_id``: where the host's settings want previews."""
    queue = sorted(progress.pending_tasks, key=progress.pending_tasks.get)
    place = queue.index(name) + 1 if name in queue else 0
    seen = progress.progressapi(progress.ProgressRequest(
        id_task=name, id_live_preview=-1 if preview is None else preview, live_preview=preview is not None))
    return {"progress": seen.progress or 0.0, "eta": seen.eta, "place": place, "queue": len(queue) if place else 0,
            "preview": seen.live_preview, "preview_id": seen.id_live_preview}


def sampler_of(sampler_name: str, scheduler: str) -> Tuple[str, Optional[str]]:
    """The host's names of sampler and schedule type (``None`` for the sampler's own, as its API has it).

    "" is the host's first sampler. The host itself would take its first ones for what it does not know.
    """
    name, found = sd_samplers.get_sampler_and_scheduler(sampler_name or None, scheduler)
    if sampler_name and not sampler_name.startswith(name):
        raise SettingsError("sampler_name", sampler_name, "one of " + ", ".join(sd_samplers.all_samplers_map))
    if scheduler not in sd_schedulers.schedulers_map:
        raise SettingsError("scheduler", scheduler, "one of " + ", ".join(one.label for one in sd_schedulers.schedulers))
    return name, None if found == "Automatic" else found
