"""The README's example does what it says, as it stands there."""

import json
import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

README = Path(__file__).parents[2] / "README.md"
PORT_OF_THE_README = "http://127.0.0.1:7860"


def test_the_api_example_runs(host_url, tmp_path):
    (example,) = re.findall(r"tests/webui/test_readme\.py -->\n```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert PORT_OF_THE_README in example
    script = tmp_path / "example.py"
    script.write_text(example.replace(PORT_OF_THE_README, host_url), "utf-8")
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "picture.png").size == (64, 64)
    noted = json.loads(done.stdout)["extra_generation_params"]
    assert noted["NegGuide"]
    negatives = json.loads(noted["NegGuide schedule"])["negatives"]
    assert [negative["text"] for negative in negatives] == ["mustache", "hat"]
    assert negatives[0]["start"] == 5.8 and negatives[1]["weight"] == 1.2
