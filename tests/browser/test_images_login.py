"""Image prompts in the page of a host that asks who is there: logged in and not, a proxy that takes no large picture, a real download."""

import threading
import types
from pathlib import Path

import pytest
import requests

from tests import adapters, tiny_hub
from tests.browser.test_images import Section, as_file, picture
from tests.browser.webui_page import WebUIPage
from tests.webui import servers

NAME = "ip-adapter_sd15.safetensors"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    (folder / "models").mkdir()
    adapters.write(adapters.checkpoint(inner=(8, 16), width=768, feature=1024, tokens=1), folder / "models" / NAME)
    served = tiny_hub.Hub("h94/IP-Adapter", folder)
    served.strangers = False
    yield served
    served.close()


@pytest.fixture(scope="module")
def url(request, hub, tmp_path_factory):
    """Address of a host of its own: ``--gradio-auth`` for the page, ``--api-auth`` for others, and a hub of ours."""
    option = request.config.getoption
    if option("--webui-url"):
        pytest.skip("needs a host of its own: --webui-dir")
    folder, flags = tmp_path_factory.mktemp("guarded"), ["--gradio-auth", "someone:s3cret", "--api-auth", "other:one"]
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0", "no_proxy": "127.0.0.1"}.items():
            patch.setenv(key, value)
        if option("--webui-dir"):
            server = servers.start_webui(Path(option("--webui-dir")).resolve(), folder, flags=flags)
        else:
            server = servers.start_standin(folder, model=option("--standin-model"), flags=flags)
    try:
        server.wait()
        yield server.url
    finally:
        server.stop()


@pytest.fixture(scope="module")
def context(browser, url):
    """A browser's session that has logged in."""
    opened = browser.new_context(viewport={"width": 1280, "height": 1000})
    assert opened.request.post(f"{url}/login", form={"username": "someone", "password": "s3cret"}).ok
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def section(context, url, screenshots):
    page = WebUIPage(types.SimpleNamespace(new_page=lambda **_: context.new_page()), url, screenshots)
    page.reset()
    yield Section(page)
    page.page.close()


def test_logged_in(section, url):
    """A picture is stored, shown and, from the results, sent to a slot; a stranger gets none of it."""
    section.choose(as_file("red.png", picture()))
    section.wait(1)
    section.page.wait(section.seen, "the thumbnail")
    place = f"{url}/negguide/v1/images/{section.images()[0]['image']}"
    assert requests.get(place, timeout=60).status_code == 401
    assert requests.get(place, auth=("other", "one"), timeout=60).headers["Content-Type"] == "image/png"
    section.row().locator("[data-action=remove]").click()
    section.page.generate(41)
    section.page.page.wait_for_selector("#txt2img_gallery .thumbnail-item img")
    section.page.page.locator("#image_buttons_txt2img [data-negguide=send-negative]").click()
    section.wait(1)
    section.page.wait(section.seen, "the thumbnail")
    section.row().locator("[data-action=remove]").click()
    assert section.page.complaints == []


def test_too_large_for_the_proxy(section):
    """A server in front of the WebUI refuses large requests with 413 and a page of its own."""
    pattern = "**/negguide/v1/images"
    section.page.excuse("status of 413")
    section.page.page.route(pattern, lambda route: route.fulfill(status=413, body="<html>413 Request Entity Too Large</html>"))
    section.choose(as_file("huge.png", picture()))
    section.page.wait(lambda: "huge.png: it is too large" in section.told())
    section.page.page.unroute(pattern)
    section.button("dismiss").click()
    assert section.images() == [] and section.told() == ""


def test_downloaded_on_a_click(section, url, hub):
    """The small model lacks nothing that is published, so the page is told that it does; all else is real."""
    page = section.page.page

    def missing(route):
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "missing": NAME})

    page.route("**/adapters/published", missing)
    page.on("dialog", lambda dialog: dialog.accept())
    hub.gate = threading.Event()
    section.element.locator("summary").first.click()
    section.element.locator("summary").first.click()
    part = section.element.locator("[data-download]")
    part.locator("[data-action=download]").click()
    section.page.wait(lambda: f"{NAME}: " in part.inner_text() and " MB of " in part.inner_text() and part.locator("progress").is_visible())
    hub.gate.set()
    listed = lambda: requests.get(f"{url}/negguide/v1/adapters/published", auth=("other", "one"), timeout=60).json()["files"]  # noqa: E731
    section.page.wait(lambda: any(row["name"] == NAME and row["here"] for row in listed()))
    folder = Path(next(row["folder"] for row in listed() if row["name"] == NAME))
    assert (folder / NAME).read_bytes() == (hub.folder / "models" / NAME).read_bytes()
    section.page.wait(lambda: "is made for SD1.5" in section.element.locator("[data-missing]").inner_text())  # and not for the small model
    assert section.page.complaints == []


def test_logged_out(section, context):
    """The session ended while the page was open."""
    section.page.excuse("status of 401")
    context.clear_cookies()
    section.choose(as_file("red.png", picture()))
    section.page.wait(lambda: "red.png: you are not logged in" in section.told())
    section.button("dismiss").click()
    assert section.images() == [] and section.page.complaints == []
