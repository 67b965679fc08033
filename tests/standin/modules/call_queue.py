"""One job at a time, and errors of a job shown in the page."""

import html
import threading
from functools import wraps

from modules import errors, shared

queue_lock = threading.Lock()


def wrap_gradio_gpu_call(func, extra_outputs=None):
    """``func`` under the queue's lock, its exception as HTML in the last output."""

    @wraps(func)
    def call(*args, **kwargs):
        with queue_lock:
            shared.state.begin(func.__name__)
            try:
                return tuple(func(*args, **kwargs))
            except Exception as error:
                errors.report("Error completing request", exc_info=True)
                text = html.escape(f"{type(error).__name__}: {error}")
                return (*(extra_outputs or [None, ""]), f"<div class='error'>{text}</div>")
            finally:
                shared.state.end()
                shared.state.skipped = shared.state.interrupted = shared.state.stopping_generation = False

    return call
