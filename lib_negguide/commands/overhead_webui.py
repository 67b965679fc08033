"""``bench overhead --webui-url``: the extension in a running WebUI, against one without it."""

from __future__ import annotations

import base64
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Callable, Optional, Tuple

from lib_negguide import world
from lib_negguide.commands import overhead
from lib_negguide.errors import HostError, SettingsError


def run(arguments) -> int:
    """Print the table; raises :class:`HostError` where a WebUI does not answer."""
    for option, url in (("--webui-url", arguments.webui_url), ("--stock-url", arguments.stock_url)):
        check_address(option, url)
    windowed = {"negatives": [{"text": overhead.NEGATIVE, "start": 5.8, "stop": 1.6}]}
    width, height = arguments.size or world.SIZE
    request = {"prompt": world.PROMPT, "negative_prompt": overhead.NEGATIVE, "steps": arguments.steps, "width": width, "height": height,
               "cfg_scale": arguments.cfg or world.GUIDANCE, "sampler_name": arguments.sampler}

    def asked(url: str, script=None, **changes) -> Callable[[int], object]:
        body = dict(request, **changes)
        if script is not None:
            body["alwayson_scripts"] = {"NegGuide": {"args": [script]}}
        return lambda seed: txt2img(url, dict(body, seed=seed))

    variants = {"stock": asked(arguments.stock_url)} if arguments.stock_url else {}
    variants["disabled"] = asked(arguments.webui_url, {"enabled": False})
    variants["windowed"] = asked(arguments.webui_url, windowed, negative_prompt="")
    if arguments.stock_url and variants["stock"](7) != variants["disabled"](7):
        print("the two WebUIs do not give the same picture with NegGuide disabled", file=sys.stderr)
    urls = {name: arguments.stock_url if name == "stock" else arguments.webui_url for name in variants}
    used_cuda = any(_memory(url)[1] for url in urls.values())
    times = overhead.measure(variants, arguments.rounds, {name: _clock(url, used_cuda) for name, url in urls.items()})
    used = {name: _memory(url)[0] for name, url in urls.items()}
    first = next(iter(variants))
    print(f"WebUI, {width}x{height}, {arguments.steps} steps, {arguments.sampler}, {arguments.rounds} rounds")
    print(overhead.report(times, {name: f"{value / used[first]:.3f}" for name, value in used.items()}))
    return 0


def check_address(option: str, url: Optional[str]) -> None:
    if url and not url.startswith(("http://", "https://")):
        raise SettingsError(option, url, "an address as http://127.0.0.1:7860")


def txt2img(url: str, body: dict) -> bytes:
    """The first picture's bytes as the API gives them."""
    return base64.b64decode(ask(url, "/sdapi/v1/txt2img", body)["images"][0])


def ask(url: str, path: str, body: Optional[dict] = None) -> dict:
    """A WebUI's answer; raises :class:`HostError` with its words."""
    data = None if body is None else json.dumps(body).encode()
    question = urllib.request.Request(url.rstrip("/") + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(question, timeout=600) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise HostError(f"NegGuide: {url} answered {error.code}: {error.read(300).decode(errors='replace')}") from None
    except (OSError, ValueError) as error:
        raise HostError(f"NegGuide: {url} cannot be reached: {getattr(error, 'reason', error)}") from None


def _memory(url: str) -> Tuple[float, bool]:
    """Bytes in use as the WebUI reports them, and whether those are of a GPU (the peak), not resident ones."""
    memory = ask(url, "/sdapi/v1/memory")
    peak = (memory.get("cuda", {}).get("allocated") or {}).get("peak")
    return float(peak or memory["ram"]["used"]), bool(peak)


def _clock(url: str, uses_cuda: bool) -> Callable[[], float]:
    """Processor time of all threads of the process that listens at ``url``, where it can be seen; else the clock on the wall."""
    import psutil

    port = urllib.parse.urlsplit(url).port
    try:
        listening = [c.pid for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port and c.status == psutil.CONN_LISTEN]
    except psutil.Error:
        listening = []
    threads = Path(f"/proc/{listening[0]}/task") if listening and listening[0] else None
    if uses_cuda or threads is None or not threads.is_dir():
        return time.perf_counter
    return lambda: sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads.iterdir()) / 1e9
