"""A headless chromium for tests: Debian's (or ``$CHROMIUM``), silent on the network; ``$NEGGUIDE_SLOW_PAGE`` times slower, as on a small machine."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import contextmanager

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync",
             # Fonts and a script that gradio's page has from elsewhere: nobody waits for them where the network swallows the question.
             "--host-resolver-rules=" + ",".join(f"MAP {name} ~NOTFOUND" for name in ("*.googleapis.com", "*.gstatic.com", "*.cloudflare.com"))]

NAMES = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT_MS = 60_000


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


def new_page(opener, **options):
    """A page of a browser, or of a session of its own (``browser.new_context()``)."""
    page = opener.new_page(**options)
    page.set_default_timeout(TIMEOUT_MS)
    # Chromium tells of a file chooser only while somebody listens; playwright lets it know but does not wait until it does, so that
    # expect_file_chooser() alone misses what a key opens at once. Here somebody always listens.
    page.on("filechooser", lambda chooser: None)
    if slower := float(os.environ.get("NEGGUIDE_SLOW_PAGE") or 0):
        page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slower})
    return page


def wait(page, condition, what=""):
    """Until condition() holds. Assertions are for what a page does at once, in the event's own handler; for all else one waits."""
    end = time.monotonic() + TIMEOUT_MS / 1000
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what or condition}"
        page.wait_for_timeout(50)
