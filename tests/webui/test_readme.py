"""The examples of README.md and docs/api.md do what they say, as they stand there."""

import json
import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

PROJECT = Path(__file__).parents[2]
PORT_OF_THE_PAGES = "http://127.0.0.1:7860"


def run(page, host_url, folder):
    """What the one tested example of a page prints."""
    (example,) = re.findall(r"tests/webui/test_readme\.py -->\n```python\n(.*?)```", (PROJECT / page).read_text("utf-8"), re.DOTALL)
    assert PORT_OF_THE_PAGES in example
    script = folder / "example.py"
    script.write_text(example.replace(PORT_OF_THE_PAGES, host_url), "utf-8")
    done = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme(host_url, tmp_path):
    noted = json.loads(run("README.md", host_url, tmp_path))["extra_generation_params"]
    assert Image.open(tmp_path / "picture.png").size == (64, 64)
    assert noted["NegGuide"]
    negatives = json.loads(noted["NegGuide schedule"])["negatives"]
    assert [negative["text"] for negative in negatives] == ["mustache", "hat"]
    assert negatives[0]["start"] == 5.8 and negatives[1]["weight"] == 1.2


def test_the_api_page(host_url, tmp_path):
    removed, caption, schedule = run("docs/api.md", host_url, tmp_path).splitlines()
    assert int(removed.split()[0]) > 0 and 'NegGuide removed: "glasses: ' in removed
    assert caption == "a blue ring"
    assert '"curve": "linear down"' in schedule and '"combine": "perp-neg"' in schedule and schedule.endswith(" 8")
