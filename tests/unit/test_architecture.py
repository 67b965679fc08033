"""The rule of dependence: webui and hosts import the core, the core imports neither."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "lib_negguide"
FILES = sorted(PACKAGE.rglob("*.py"))
ENTRY = {"cli.py", "__main__.py"}  # with commands/: the command line drives the embedded host


def imported(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_host_side_knows_a_host(path):
    room, *below = path.relative_to(PACKAGE).parts
    names = set(imported(path))
    if room != "webui" and not (room == "hosts" and below[0] in ("a1111", "forge")):
        assert not [n for n in names if n == "modules" or n.startswith("modules.")]
        assert not [n for n in names if n.split(".")[0] == "gradio"]
    if room not in ("webui", "hosts", "commands") and path.name not in ENTRY:
        assert not [n for n in names if n.startswith(("lib_negguide.webui", "lib_negguide.hosts"))]
    if room == "settings" or path.name in ("schedule.py", "plan.py", "errors.py", "presets.py", "trace.py"):
        assert "torch" not in {n.split(".")[0] for n in names}
