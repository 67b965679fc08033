"""Every language's file covers all that the page says: tables of settings, scripts, the settings page, the editor and the tab."""

import ast
import json
import re
from pathlib import Path

import pytest

from lib_negguide import presets
from lib_negguide.settings import Removal, fields
from lib_negguide.webui import dnp_asked, editor, removal_asked
from lib_negguide.workbench.form import Form
from lib_negguide.workbench.strips import NAMES

PROJECT = Path(__file__).resolve().parents[2]
FILES = sorted((PROJECT / "localizations").glob("*.json"))
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
# Prose begins with a letter and has two words; what has signs of code in it is none.
PROSE = re.compile(r"[A-Za-z]\S* .*[A-Za-z]")
CODE = re.compile(r"negguide|[\[\]{}<>#=\\]|^noopener|^use strict$| $")


def literals(path):
    """String literals of a script that people read."""
    for line in path.read_text("utf-8").splitlines():
        if not line.strip().startswith(("*", "/")):
            yield from (text for text in LITERAL.findall(line) if PROSE.match(text) and not CODE.search(text))


SAYS = re.compile(r'\bsay\(\s*"((?:[^"\\]|\\.)*)"')


def says(path):
    """Texts of a script with places for values."""
    yield from (text for text in SAYS.findall(path.read_text("utf-8")) if "{}" in text)


def templates():
    """(file, text) that the server puts values into: lib_negguide/said.py."""
    for path in sorted((PROJECT / "lib_negguide").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "said" and isinstance(node.args[0], ast.Constant):
                yield path.name, node.args[0].value.removeprefix("NegGuide: ")


def allowed(model):
    """What a model's fields allow, as refusals say it."""
    for field in model.__fields__.values():
        text = field.field_info.extra.get("allowed")
        if text:
            yield f"{model.__name__}.{field.name}", text


def options():
    """Labels and remarks of the settings page."""
    for node in ast.walk(ast.parse((PROJECT / "lib_negguide/webui/options.py").read_text("utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name == "OptionInfo" and len(node.args) > 1:
                yield ast.literal_eval(node.args[1])
            if name == "info" and node.args:
                yield f"({ast.literal_eval(node.args[0])})"  # as the host shows it


def said():
    """(where, text) of all that has to be translated."""
    for model in (*editor.MODELS, Removal, Form, dnp_asked.Asked, removal_asked.Asked):
        for row in fields(model):
            yield from ((f"{model.__name__}.{row['name']}", text) for text in (row["title"], row["help"]) if text)
        yield from allowed(model)
    yield from (("DNP script", text) for text in (dnp_asked.TITLE, *dnp_asked.MODES, *dnp_asked.HINTS.values()))
    yield from (("cell", text) for text in NAMES.values() if " " in text)
    yield from (("preset", name) for name in presets.WINDOWS)
    yield from templates()
    yield from (("settings page", text) for text in options())
    for path in sorted((PROJECT / "javascript").glob("negguide*.js")):
        yield from ((path.name, text) for text in (*literals(path), *says(path)))


def test_there_is_prose_in_every_place():
    found = {where.split(".")[0] for where, _ in said()}
    assert {"Settings", "Form", "Removal", "DNP script", "settings page", "negguide_tab", "negguide_editor", "strips", "outcome", "preset"} <= found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_language_is_complete(path):
    known = json.loads(path.read_text("utf-8"))
    missing = {f"{where}: {text}" for where, text in said() if not known.get(text)}
    assert sorted(missing) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_translation_has_a_place_for_each_value(path):
    odd = [text for text, said in json.loads(path.read_text("utf-8")).items() if text.count("{}") != said.count("{}")]
    assert odd == []


def test_german_is_there():
    assert "de_DE" in [path.stem for path in FILES]
