"""A headless chromium for tests: Debian's (or ``$CHROMIUM``), silent on the network."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def browser():
    """A playwright browser; ``make test`` installs chromium where it is missing."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    assert path, "the browser tests need chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield opened
        opened.close()
