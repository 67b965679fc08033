"""The command line: ``python -m lib_negguide``."""

from __future__ import annotations

import argparse
import sys
from typing import List, Optional

from lib_negguide import __version__
from lib_negguide.errors import NegGuideError, SettingsError

FAILED, MISUSED, INTERRUPTED = 1, 2, 130

EPILOG = """\
exit codes: 0 done; 1 could not be done (model, host, disk); 2 asked for in a wrong way; 130 interrupted

examples:
  python -m lib_negguide demo
  python -m lib_negguide generate "a portrait of a person" --negative mustache@5.8:1.6 --seeds 1-4
  python -m lib_negguide remove glasses photo.png
  python -m lib_negguide workbench windows "a portrait of a person" --negative glasses
  python -m lib_negguide dnp "a red circle and a blue triangle" --seeds 1-4 --four
  python -m lib_negguide bench overhead
"""


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong; the commands' parsers are of this class too."""

    def error(self, message: str):
        self.exit(MISUSED, f"{self.prog}: {message}; --help shows how\n")


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    from lib_negguide.commands import attention, bench, demo, dnp, dns, generate, remove, workbench

    top = _Parser(
        prog="python -m lib_negguide", formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EPILOG,
        description="NegGuide: negative prompts on a schedule, without a WebUI.")
    top.add_argument("--version", action="version", version=f"NegGuide {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (generate, remove, workbench, dnp, dns, attention, demo, bench):
        command.add(commands)
    return top


def main(arguments: Optional[List[str]] = None) -> int:
    """Run a command line; returns the exit code."""
    try:
        given = parser().parse_args(arguments)
        return given.run(given) or 0
    except SystemExit as stop:  # argparse, after its own message
        return stop.code if isinstance(stop.code, int) else MISUSED
    except KeyboardInterrupt:
        return _say("interrupted", INTERRUPTED)
    except SettingsError as error:
        return _say(error, MISUSED)
    except NegGuideError as error:
        return _say(error, FAILED)
    except ImportError as error:
        return _say(f"NegGuide: the command line needs {error.name or error}: pip install 'negguide[cli]'", FAILED)
    except (OSError, MemoryError) as error:
        return _say(f"NegGuide: {error or type(error).__name__}", FAILED)


def _say(error, code: int) -> int:
    print(" ".join(str(error).split()), file=sys.stderr)
    return code
