"""The default removal under one sampler after the other: of each one's own pictures that show the thing.

    python -m lib_negguide bench samplers --webui-url http://127.0.0.1:7860

Every picture is a request of its own; the negative in the whole run is what it is compared with. The judge only counts.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lib_negguide import world
from lib_negguide.commands.overhead_webui import ask
from lib_negguide.errors import SettingsError
from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.settings import Settings
from tests.world.evaluate import wilson
from tests.world.judge import Judge
from tests.world.removal_things import THINGS, outside

AT_ONCE = 8
NONE, FULL, LOOP = "none", "full", "loop"


Sampled = tuple[Tensor, int, list[float]]
"""(B, 3, H, W) from 0 to 1, model calls, and each picture's extra predictions."""


def webui(arguments, name: str, seeds: list[int], negative: str, settings: dict) -> Sampled:
    """In a running WebUI: seeds in a row in one request, others one by one."""
    if seeds != list(range(seeds[0], seeds[0] + len(seeds))):
        made = [webui(arguments, name, [seed], negative, settings) for seed in seeds]
        return torch.cat([one[0] for one in made]), made[0][1], [one[2][0] for one in made]
    count = len(seeds)
    width, height = world.SIZE
    answer = ask(arguments.webui_url, "/sdapi/v1/txt2img", {
        "prompt": world.PROMPT, "negative_prompt": negative, "seed": seeds[0], "batch_size": count, "sampler_name": name, "width": width,
        "height": height, "steps": arguments.steps, "cfg_scale": arguments.cfg, "do_not_save_grid": True,
        "alwayson_scripts": {"NegGuide": {"args": [settings]}}})
    images = [Image.open(io.BytesIO(base64.b64decode(image))).convert("RGB") for image in answer["images"][:count]]
    params = json.loads(answer["info"])["extra_generation_params"]
    extra = [one["extra_evaluations"] for one in params["NegGuide removal"]["pictures"]] if settings else [0.0] * count
    pixels = [torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 for image in images]
    return torch.stack(pixels), len(params["NegGuide trace"]["passes"][0]["calls"]), extra


def embedded(arguments, name: str, seeds: list[int], negative: str, settings: dict) -> Sampled:
    """On the embedded host."""
    host = _host()
    made = host.sample([world.PROMPT] * len(seeds), seeds, Settings.parse(settings), negative_prompts=negative, sampler=name,
                       steps=arguments.steps, cfg_scale=arguments.cfg, size=world.SIZE)
    return made.images, len(made.trace.calls), [made.trace.extra_of(number) for number in range(len(seeds))]


@cache
def _host() -> EmbeddedHost:
    return EmbeddedHost.load(world.model())


class Bench:
    """One sampler. ``plain``: pictures that show the thing, by seed; ``rows``: by name, of each seed whether it has gone, all else is
    there, the mean change outside its place (0 to 255), calls and extra predictions."""

    def __init__(self, arguments, name: str) -> None:
        self.arguments, self.name, self.thing = arguments, name, THINGS[arguments.thing]
        self.judge, self._sample = Judge.load(), webui if arguments.webui_url else embedded
        setting = [arguments.thing, arguments.steps, arguments.cfg, arguments.first_seed, str(Settings.parse(self._asked(LOOP)).remove)]
        self.file = Path(arguments.out) / (name.replace(" ", "-") + ".pt")
        kept = torch.load(self.file, weights_only=True) if self.file.is_file() else {}
        same = kept.get("setting", [])[:4] == setting[:4]
        self.tried, self.plain = (kept["tried"], kept["plain"]) if same else (0, {})
        self.rows = kept["rows"] if same else {}
        if not same or kept["setting"] != setting:
            self.rows.pop(LOOP, None)
        self.setting = setting

    def _asked(self, row: str) -> dict:
        return {"remove": {"text": self.arguments.thing}} if row == LOOP else {}

    def run(self) -> None:
        """What is not there yet."""
        while len(self.plain) < self.arguments.pictures:
            first = self.arguments.first_seed + self.tried
            images, *_ = self._sample(self.arguments, self.name, list(range(first, first + AT_ONCE)), "", self._asked(NONE))
            shown = [self.thing.shown(verdict) for verdict in self.judge(images)]
            self.plain.update({first + at: images[at] for at in range(AT_ONCE) if shown[at]})
            self.tried += AT_ONCE
            self._put()
        for row in self.arguments.rows:
            done = self.rows.setdefault(row, {})
            left = [seed for seed in self.seeds() if seed not in done]
            for seeds in [left[at:at + AT_ONCE] for at in range(0, len(left), AT_ONCE)]:
                negative = self.arguments.thing if row == FULL else ""
                images, calls, extra = self._sample(self.arguments, self.name, seeds, negative, self._asked(row))
                plain = torch.stack([self.plain[seed] for seed in seeds])
                before, after = self.judge(plain), self.judge(images)
                mask = outside(self.thing, plain, before)
                change = 255 * ((images - plain).abs() * mask).sum((1, 2, 3)) / (3 * mask.sum((1, 2, 3)))
                done.update({seed: [float(value) for value in (
                    self.thing.gone(after[at]), self.thing.kept(before[at], after[at]), change[at], calls, extra[at])]
                    for at, seed in enumerate(seeds)})
                self._put()

    def seeds(self) -> list[int]:
        return sorted(self.plain)[:self.arguments.pictures]

    def _put(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"setting": self.setting, "tried": self.tried, "plain": self.plain, "rows": self.rows}, self.file)

    def line(self) -> str:
        """Of the table."""
        count, cells = len(self.seeds()), [self.name]
        means = {row: torch.tensor([self.rows[row][seed] for seed in self.seeds()]).mean(0).tolist() for row in self.arguments.rows}
        cells += [f"{count} of {self.tried}"]
        for gone, kept, *_ in means.values():
            low, high = wilson(round(gone * count), count)
            cells += [f"{gone:.0%} ({low:.0%}–{high:.0%})", f"{kept:.0%}"]
        cells += [" / ".join(f"{one[2]:.1f}" for one in means.values())]
        _, _, _, calls, extra = means[self.arguments.rows[-1]]
        return "| " + " | ".join([*cells, f"{2 * calls:g} + {extra:.1f}"]) + " |"


def run(arguments) -> int:
    """The command line's ``bench samplers``."""
    if arguments.thing not in THINGS or THINGS[arguments.thing].prompt != world.PROMPT:
        raise SettingsError("--thing", arguments.thing, "glasses, mustache or hat")
    heads: Sequence[str] = [f"{words}{row}" for row in arguments.rows for words in ("removed, ", "all else there, ")]
    print("| " + " | ".join(["sampler", "pictures", *heads, "change outside, " + " / ".join(arguments.rows), "predictions"]) + " |")
    print("|---" * (4 + len(heads)) + "|")
    for name in arguments.samplers:
        bench = Bench(arguments, name)
        with torch.no_grad():
            bench.run()
        print(bench.line(), flush=True)
    return 0
