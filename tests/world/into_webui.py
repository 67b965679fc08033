"""Puts this checkout and the small checkpoint into an existing WebUI, and starts it.

    python -m tests.world.into_webui /path/to/stable-diffusion-webui [--python PYTHON] [launch arguments]

The extension is linked, so the WebUI runs what is in this checkout. The checkpoint is
selected by argument: the WebUI's own settings stay as they are.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
MODEL = Path(__file__).resolve().parent / "model"
NAME = "negguide-world"


def put_extension(webui: Path) -> Path:
    """Link the checkout into ``extensions/``; something else that stands there already is an error."""
    link = webui / "extensions" / "negguide"
    if link.is_symlink() and link.resolve() == CHECKOUT or link.resolve() == CHECKOUT:
        return link
    if link.exists() or link.is_symlink():
        raise SystemExit(f"{link} exists and is not this checkout; move it away first")
    link.symlink_to(CHECKOUT, target_is_directory=True)
    return link


def put_checkpoint(folder: Path, model: Path = MODEL) -> Path:
    """Copy checkpoint and yaml into ``folder``; the yaml then names the tokenizer by its absolute path."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / f"{NAME}.safetensors"
    shutil.copyfile(model / checkpoint.name, checkpoint)
    relative, absolute = "version: tokenizer", f"version: {model / 'tokenizer'}"
    text = (model / f"{NAME}.yaml").read_text("utf-8")
    if relative not in text:
        raise SystemExit(f"{model / NAME}.yaml does not name its tokenizer as expected ({relative!r})")
    (folder / f"{NAME}.yaml").write_text(text.replace(relative, absolute), "utf-8")
    return checkpoint


def interpreter(webui: Path) -> str:
    """The WebUI's own Python where it has one."""
    for path in (webui / "venv/bin/python", webui / "venv/Scripts/python.exe"):
        if path.exists():
            return str(path)
    return shutil.which("python3") or sys.executable


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("webui", type=Path)
    parser.add_argument("--python", help="interpreter that has the WebUI's packages (default: its venv's, else python3)")
    arguments, launch = parser.parse_known_args()
    webui = arguments.webui.resolve()
    if not (webui / "launch.py").is_file() or not (webui / "modules").is_dir():
        print(f"{arguments.webui} is not a WebUI: it has no launch.py and modules/", file=sys.stderr)
        return 2
    python = arguments.python or interpreter(webui)
    extension = put_extension(webui)
    checkpoint = put_checkpoint(webui / "models" / "Stable-diffusion")
    print(f"extension: {extension}\ncheckpoint: {checkpoint}\npython: {python}", flush=True)
    command = [python, "launch.py", "--ckpt", str(checkpoint), *launch]
    if subprocess.run([python, "-c", "import torch, sys; sys.exit(not torch.cuda.is_available())"]).returncode:
        command += ["--skip-torch-cuda-test", "--use-cpu", "all", "--no-half"]
    return subprocess.run(command, cwd=webui, env={**os.environ, "PYTHONPATH": ""}).returncode


if __name__ == "__main__":
    raise SystemExit(main())
