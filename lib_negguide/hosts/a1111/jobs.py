"""A job of NegGuide's own in the host: its turn in the queue, and the host's names of sampler and schedule type."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator, Optional, Tuple

from modules import call_queue, sd_samplers, sd_schedulers, shared

from lib_negguide.errors import SettingsError


@contextmanager
def job(name: str) -> Iterator[None]:
    """A turn in the host's queue, as its own endpoints take it."""
    with call_queue.queue_lock:
        try:
            shared.state.begin(job=name)
            yield
        finally:
            shared.state.end()
            shared.total_tqdm.clear()


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
