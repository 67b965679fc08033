"""Starts the stand-in: the page, the API, and this checkout as its extension."""

import argparse
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
MODEL = PROJECT / "tests" / "world" / "model" / "negguide-world.safetensors"


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.standin", description=__doc__)
    parser.add_argument("--port", type=int, default=7862)
    parser.add_argument("--model", default=str(MODEL), help="an SD1-shaped checkpoint")
    parser.add_argument("--data-dir", help="config.json, params.txt and saved presets; default: a temporary folder")
    parser.add_argument("--stock", action="store_true", help="without NegGuide")
    parser.add_argument("--extension", action="append", default=[], help="a folder to load beside NegGuide")
    parser.add_argument("--api-auth", metavar="USER:PASSWORD", help="who may use the API")
    parser.add_argument("--gradio-auth", metavar="USER:PASSWORD", help="who may use the page")
    args = parser.parse_args()
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    if args.data_dir:
        os.makedirs(args.data_dir, exist_ok=True)
        os.environ["STANDIN_DATA"] = os.path.abspath(args.data_dir)
    sys.path.insert(0, str(HERE))
    if str(PROJECT) not in sys.path:
        sys.path.insert(1, str(PROJECT))

    from modules import shared, webui

    shared.cmd_opts.api_auth, shared.cmd_opts.gradio_auth = args.api_auth, args.gradio_auth
    webui.start(args.port, args.model, [*([] if args.stock else [str(PROJECT)]), *args.extension])


if __name__ == "__main__":
    main()
