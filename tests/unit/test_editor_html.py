"""The editor's container carries the tables that the script works from."""

import json
from html.parser import HTMLParser

import pytest

from lib_negguide.presets import WINDOWS
from lib_negguide.schedule import progress
from lib_negguide.settings import Negative, Schedule, Settings, Window, fields
from lib_negguide.webui import editor


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.fixture(params=["txt2img", "img2img"])
def container(request):
    ((tag, attributes),) = Elements(editor.editor_html(request.param)).found
    assert tag == "div" and attributes["class"] == "negguide-editor" and attributes["data-tab"] == request.param
    return attributes


def test_tables_of_fields(container):
    tables = json.loads(container["data-schema"])
    for model in (Window, Negative, Schedule, Settings):
        rows = tables[model.__name__]
        assert [row["name"] for row in rows] == [row["name"] for row in fields(model)]
        for row, wanted in zip(rows, fields(model)):
            for key in ("title", "help", "allowed", "min", "max", "step"):
                assert row[key] == wanted[key]
            assert row["choices"] == (list(wanted["choices"]) if wanted["choices"] else None)
            if row["name"] != "text":
                assert model.parse_obj({row["name"]: row["default"], **({"text": ""} if model is Negative else {})}) is not None


def test_window_presets(container):
    presets = json.loads(container["data-presets"])
    assert {one["name"]: Window.parse_obj(one["window"]) for one in presets} == WINDOWS


def test_sigmas(container):
    sigmas = json.loads(container["data-sigmas"])
    assert len(sigmas) == 1000 and sigmas == sorted(sigmas)
    assert [progress(sigma) for sigma in (sigmas[0], sigmas[-1])] == pytest.approx([1.0, 0.0], abs=1e-6)
    assert progress(sigmas[499]) == pytest.approx(1 - 499 / 999, abs=1e-6)
