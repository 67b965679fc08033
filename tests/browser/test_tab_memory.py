"""Run after run, neither page nor server nor disk grows.

``NEGGUIDE_RUNS=50 pytest tests/browser/test_tab_memory.py -s`` prints what each block of runs has left behind.
"""

import os

import pytest

from tests.browser.test_tab import Tab
from tests.browser.webui_page import WebUIPage

RUNS = int(os.environ.get("NEGGUIDE_RUNS") or 10)
WARM = 4
KEPT = 3
GROWTH = {"heap": 400_000, "nodes": 20, "listeners": 10, "objects": 2000, "tensors": 10}
"""At most, between the runs after the first ones and the last, however many: bytes of the page's heap, its nodes and listeners; Python's
objects and tensors on the server. Bytes of the server are told, not judged: they come and go in blocks of its allocator."""


@pytest.fixture
def tab(browser, host_url, screenshots, host):
    """A page of its own, whose garbage can be collected; the host keeps few runs."""
    before = host.get("/sdapi/v1/options").json()["negguide_workbench_runs"]
    host.post("/sdapi/v1/options", negguide_workbench_runs=KEPT)
    page = WebUIPage(browser, host_url, screenshots)
    yield Tab(page)
    page.page.close()
    host.post("/sdapi/v1/options", negguide_workbench_runs=before)


def measured(session, host):
    """Of page and server, after garbage has been collected."""
    for _ in range(2):
        session.send("HeapProfiler.collectGarbage")
    told = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    alive = host.get("/saboteur/alive")
    return {"heap": told["JSHeapUsedSize"], "nodes": told["Nodes"], "listeners": told["JSEventListeners"],
            "bytes": host.get("/sdapi/v1/memory").json()["ram"]["used"], **(alive.json() if alive.ok else {"objects": 0, "tensors": 0})}


def test_nothing_grows(tab, host):
    session = tab.page.page.context.new_cdp_session(tab.page.page)
    session.send("Performance.enable")
    entries = tab.root.locator(".negguide-tab-entry")
    shown = []
    tab.fill("weights", weights="0.5, 1", steps="1")  # once: the browser remembers what is typed, to undo it

    def run():
        tab.press("run")
        tab.page.wait(lambda: tab.ended() and entries.first.get_attribute("data-run") not in shown and len(tab.names()) == 3, "the run")
        shown.append(entries.first.get_attribute("data-run"))
        tab.cell("weight-1").click()
        tab.root.locator("svg.negguide-plot").wait_for()

    for _ in range(WARM):
        run()
    first = measured(session, host)
    for number in range(RUNS):
        run()
        if number % 10 == 9:
            print(number + 1, {name: value - first[name] for name, value in measured(session, host).items()})
    last = measured(session, host)
    grown = {name: last[name] - first[name] for name in first}
    assert {name: by for name, by in grown.items() if by > GROWTH.get(name, by)} == {}, grown
    assert len(shown) == WARM + RUNS and entries.count() == KEPT
    assert len(host.get("/negguide/v1/workbench/runs").json()["runs"]) == KEPT
    assert tab.page.complaints == []
