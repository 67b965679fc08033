"""One long job at a time beside everything else: started, watched, cancelled."""

from __future__ import annotations

import logging
import threading
from dataclasses import asdict, dataclass
from typing import Any, Callable, Dict, Optional

from lib_negguide.errors import NegGuideError

IDLE, RUNNING, DONE, FAILED, CANCELLED = STATES = ("idle", "running", "done", "failed", "cancelled")

log = logging.getLogger("NegGuide")


class Busy(NegGuideError):
    """Another job has not ended yet."""


class Cancelled(NegGuideError):
    """The user has ended the job."""


@dataclass(frozen=True)
class State:
    """``done`` of ``total`` (0 while it is not known); ``error``: why it failed, in words."""

    name: str = ""
    done: int = 0
    total: int = 0
    state: str = IDLE
    error: str = ""


class Background:
    """``work`` gets a function to be called with (done, total), which raises :class:`Cancelled` when the job shall end."""

    def __init__(self, title: str):
        self.title, self._lock = title, threading.Lock()
        self._state, self._cancel, self._thread = State(), threading.Event(), None

    def start(self, name: str, work: Callable[[Callable[[int, int], None]], Any]) -> None:
        """Begin; raises :class:`Busy`."""
        with self._lock:
            if self._state.state == RUNNING:
                raise Busy(f"NegGuide: {self._state.name} is still being fetched; wait for it or cancel it")
            self._cancel.clear()
            self._state = State(name, state=RUNNING)
            self._thread = threading.Thread(target=self._run, args=(name, work), name=self.title, daemon=True)
            self._thread.start()

    def cancel(self) -> None:
        """Ask a running job to end; it does when it next tells how far it is."""
        self._cancel.set()

    @property
    def ending(self) -> bool:
        """Whether the running job was asked to end."""
        return self._state.state == RUNNING and self._cancel.is_set()

    def told(self) -> Dict[str, Any]:
        """The state of the job that runs, or of the last one; JSON-ready."""
        return asdict(self._state)

    def wait(self, seconds: Optional[float] = None) -> None:
        """Until the job has ended."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self, name: str, work: Callable) -> None:
        def progress(done: int, total: int) -> None:
            if self._cancel.is_set():
                raise Cancelled(f"NegGuide: {name} was cancelled")
            self._state = State(name, done, total, RUNNING)

        state, error = DONE, ""
        try:
            log.info("%s: %s", self.title, name)
            work(progress)
        except Cancelled:
            state = CANCELLED
        except NegGuideError as problem:
            state, error = FAILED, str(problem)
        except Exception as problem:  # nobody else would hear of it
            log.exception("%s: %s failed", self.title, name)
            state, error = FAILED, f"NegGuide: {type(problem).__name__}: {problem}"
        log.info("%s: %s %s %s", self.title, name, state, error)
        self._state = State(name, self._state.done, self._state.total, state, error)
