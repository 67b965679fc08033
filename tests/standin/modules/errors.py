"""How the host reports what went wrong in a script: to the console, and on it goes."""

import sys
import textwrap
import traceback

records = []


def report(message, *, exc_info=False):
    records.append(message)
    text = "".join(f"*** {line}\n" for line in message.splitlines())
    if exc_info:
        text += textwrap.indent(traceback.format_exc(), "    ") + "---\n"
    sys.stderr.write(text)
    sys.stderr.flush()


def display(error, task, *, full_traceback=False):
    report(f"{task}: {type(error).__name__}: {error}")


def print_error_explanation(message):
    report(message)
