"""Removal on the small world: how often a thing goes, and how little else changes, by method.

    python -m lib_negguide bench removal

Pictures without a negative are sampled first and kept with their latents at every level, for all things of one prompt; a
method that starts later begins where they were. A method's pictures are kept in a file of its own, written after each
batch: the benchmark can be interrupted, and methods can be measured side by side by several processes. The judge only
counts; no method asks it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from lib_negguide import captioners, detectors, metrics, world
from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.hosts.embedded.samplers import sampler as sampler_named
from lib_negguide.removal import ends_of, window_to
from lib_negguide.schedule import inside
from lib_negguide.settings import Settings
from tests import with_open_clip
from tests.world.judge import Judge, Verdict
from tests.world.ratio import Ratio
from tests.world.removal_things import THINGS, outside, perceptual

SHARES = "Euler"  # whose runs are begun where others were; others may remember steps, or draw noise at each
TRIED = 64  # seeds at a time, to find pictures that show the thing
BOUNDS = {"start": None, "stop": 1.5}  # sigma; calls 0 to 15 of 30
LOOP = {**BOUNDS, "gone": 0.0, "back": 0.05, "every": 2}  # the defaults, written out; chosen on seeds from 600000 and 700000
KEPT = {**BOUNDS, "gone": -0.1, "back": 0.0, "every": 2, "anchor": True}  # and those where the rest is kept
RATIO = {"gone": 0.90, "back": 0.91}  # of 1 / r_t, chosen on the same seeds


@dataclass(frozen=True)
class Line:
    """A method: its settings of ``remove`` without the text; ``cached``: it needs a run without it, which may be at hand.

    ``ratio``: r_t of Ban et al. looks (:mod:`tests.world.ratio`), which the settings do not offer.
    """

    key: str
    words: str
    remove: dict | None
    group: str = ""
    cached: bool = False
    ratio: bool = False


def clip():
    """The small world's own, for a ``with`` block."""
    with_open_clip.ready()
    return metrics.opened(str(world.clip()))


def window(start: int, stop: int | None) -> dict:
    return {"search": "window", "region": "everywhere", "weight": 1.0, "unit": "step", "start": start, "stop": stop}


def lines() -> list[Line]:
    """Every method of the table; the default loop is the settings' own."""
    table = [Line("none", "without a negative", None), Line("full", "negative in the whole run", window(0, None), "full run")]
    table += [Line(f"from-{k}", f"negative from call {k}", window(k, None), "late start") for k in (3, 4, 6)]
    table += [Line(f"until-{k}", f"negative before call {k}", window(0, k), "early end") for k in (4, 6, 10)]
    table += [Line("5-15", "negative in calls 5 to 14 (Ban et al.)", window(5, 15), "window")]
    table += [Line(f"{a}-{b}", f"negative in calls {a} to {b - 1}", window(a, b), "window") for a, b in ((1, 7), (2, 8), (2, 10), (3, 13))]
    table += [
        Line("loop", "closed loop, the default", LOOP, "loop"),
        Line("loop-anchor", "closed loop, the rest kept", KEPT, "loop, anchored", cached=True),
        Line("loop-late", "closed loop, from sigma 9", {**LOOP, "start": 9.0}, "loop, from sigma 9"),
        Line("no-gate", "the default's region and bounds, nobody looks", {**BOUNDS, "search": "window"}, "nobody looks"),
        Line("everywhere", "closed loop, everywhere", {**LOOP, "region": "everywhere", "weight": 1.0}, "loop, everywhere"),
        Line("loop-every-1", "closed loop, a prediction at each call", {**LOOP, "every": 1}, "loop, each call"),
        Line("loop-clip", "closed loop, CLIP looks", {**BOUNDS, "detector": "clip"}, "loop, CLIP"),
        Line("loop-caption", "closed loop, a captioner looks", {**BOUNDS, "detector": "caption"}, "loop, captioner"),
        Line("loop-attention", "closed loop, attention looks", {**BOUNDS, "detector": "attention"}, "loop, attention"),
        Line("loop-ratio", "closed loop, r_t of Ban et al. looks (baseline)", {**BOUNDS, **RATIO}, "loop, r_t", ratio=True),
        Line("region-attention", "closed loop, where attention is", {**LOOP, "region": "attention"}, "loop, attention's region"),
        Line("exhaustive", "search of Ban et al., from call 6", {**window(6, None), "search": "exhaustive"}, "search"),
        Line("exhaustive-3", "search of Ban et al., from call 3", {**window(3, None), "search": "exhaustive"}, "search"),
    ]
    return table


@dataclass
class Shot:
    """One picture of one method; distances are outside the thing's place, pixels from 0 to 1; ``alone``: evaluations without sharing."""

    gone: bool
    kept: bool
    l1: float
    mse: float
    perceptual: float
    evaluations: float
    alone: float


@dataclass
class Base:
    """Pictures without a negative: seeds, and latents before each call and after the last, (N, 4, h, w) each."""

    seeds: list[int] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)

    def part(self, which: slice | list[int]) -> Base:
        seeds = self.seeds[which] if isinstance(which, slice) else [self.seeds[number] for number in which]
        return Base(seeds, [state[which] for state in self.states])

    def joined(self, more: Base) -> Base:
        if not self.seeds:
            return more
        return Base(self.seeds + more.seeds, [torch.cat(pair) for pair in zip(self.states, more.states, strict=True)])


class Bench:
    """Samples and judges one thing."""

    def __init__(self, arguments, name: str) -> None:
        self.thing, self.wanted, self.batch, self.first = THINGS[name], arguments.seeds, arguments.batch, arguments.first_seed
        self.steps, self.cfg, self.sampler = arguments.steps, arguments.cfg, arguments.sampler
        path = Path(arguments.model or world.model())
        self.host, self.judge = EmbeddedHost.load(path), Judge.load()
        chosen = sampler_named(self.sampler)
        self.sampling = 2 * (chosen.orders * (self.steps - 1) + 1)  # evaluations of one
        suffix = "" if self.sampler == SHARES else f"-{self.sampler}"
        self.out = Path(arguments.out) / (name + suffix)
        self.pictures_file = Path(arguments.out) / f"{self.thing.prompt.replace(' ', '-')}{suffix}.pt"
        self._verdicts: list[Verdict] = []
        self.setting = {"model": hashlib.sha256(path.read_bytes()).hexdigest()[:16], "prompt": self.thing.prompt,
                        "steps": self.steps, "cfg": self.cfg, "sampler": self.sampler, "first seed": self.first}

    def run_of(self, seeds: list[int], settings: Settings = Settings(), detector=None):
        return self.host.prepare([self.thing.prompt] * len(seeds), seeds, settings, steps=self.steps, cfg_scale=self.cfg,
                                 sampler=self.sampler, size=world.SIZE, detector=detector)

    def base(self, wanted: int | None = None) -> Base:
        """As many pictures that show the thing as are wanted, made now where there are fewer; things of one prompt share them."""
        tried, wanted = self._tried(), wanted or self.wanted
        while True:
            shown = self._shown(tried)
            print(f"{self.thing.name}: {len(shown)} of {len(tried.seeds)} show it", flush=True)
            if len(shown) >= wanted:
                return tried.part(shown[:wanted])
            tried = self._more(tried)

    def first_ones(self, count: int) -> tuple[Base, list[bool]]:
        """The pictures of the first seeds, and whether each shows the thing."""
        tried = self._tried()
        while len(tried.seeds) < count:
            tried = self._more(tried)
        shown = set(self._shown(tried))
        return tried.part(slice(count)), [number in shown for number in range(count)]

    def _tried(self) -> Base:
        """All that has been sampled without a negative."""
        data = torch.load(self.pictures_file, weights_only=True) if self.pictures_file.is_file() else {}
        return Base(data["seeds"], data["states"]) if data.get("setting") == self.setting else Base()

    def _more(self, tried: Base) -> Base:
        first = self.first + len(tried.seeds)
        for at in range(first, first + TRIED, self.batch):
            tried = tried.joined(self._sampled(list(range(at, min(at + self.batch, first + TRIED)))))
        self._put(self.pictures_file, lambda part: torch.save({"setting": self.setting, **vars(tried)}, part))
        return tried

    def _shown(self, tried: Base) -> list[int]:
        """Which of the pictures show the thing; each is looked at once."""
        run = self.run_of([self.first])
        for at in range(len(self._verdicts), len(tried.seeds), self.batch):
            self._verdicts += self.judge(self.host.pictures(run, tried.states[-1][at:at + self.batch]))
        return [number for number, verdict in enumerate(self._verdicts) if self.thing.shown(verdict)]

    def _sampled(self, seeds: list[int]) -> Base:
        """Without a negative; the first and the last latents only where no beginnings are shared."""
        run = self.run_of(seeds)
        states = [run.latents]
        if self.sampler != SHARES:
            return Base(seeds, [*states, run.between(run.latents)])
        for call in range(len(run.sigmas) - 1):
            states.append(run.between(states[-1], call, call + 1))
        return Base(seeds, states)

    def _put(self, file: Path, write: Callable) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        write(part)
        os.replace(part, file)

    def kept(self, line: Line) -> dict[str, Shot]:
        """What has been measured of a method: by seed."""
        file = self.out / f"{line.key}.json"
        data = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        if data.get("setting") != self.setting or data.get("remove") != line.remove:
            return {}
        return {seed: Shot(bool(shot[0]), bool(shot[1]), *shot[2:]) for seed, shot in data["pictures"].items()}

    def measure(self, line: Line, base: Base, at_most: int) -> None:
        """The method on the first pictures of ``base``, as far as they are not there."""
        done = self.kept(line)
        opener = self._detectors(line)
        with self.host.threads(), opener as make:
            for at in range(0, min(at_most, len(base.seeds)), self.batch):
                part = base.part(slice(at, min(at + self.batch, at_most)))
                if all(str(seed) in done for seed in part.seeds):
                    continue
                images, spent, alone = self.pictures(line, part, make)[:3]
                done.update(zip(map(str, part.seeds), self.shots(part, images, spent, alone), strict=True))
                data = {"setting": self.setting, "remove": line.remove, "pictures": {
                    seed: [round(float(value), 6) for value in vars(shot).values()] for seed, shot in done.items()}}
                self._put(self.out / f"{line.key}.json", lambda file, data=data: file.write_text(json.dumps(data), "utf-8"))

    def settings(self, line: Line) -> Settings:
        """Of the whole run."""
        return Settings.parse({"remove": {"text": self.thing.name, **line.remove}}) if line.remove is not None else Settings()

    def _detectors(self, line: Line):
        remove = self.settings(line).remove
        if line.ratio:
            return nullcontext(lambda prompts: Ratio(self.thing.name))
        if remove is None or remove.search == "window" or (remove.search == "loop" and remove.detector in ("presence", "attention")):
            return nullcontext(lambda prompts: None)  # the host has its own
        return detectors.opened(remove, captioner=lambda: captioners.opened(str(world.captioner())), clip=clip, final=remove.search == "exhaustive")

    @torch.no_grad()
    def pictures(self, line: Line, part: Base, make) -> tuple:
        """(B, 3, H, W) of a method, evaluations of each picture with and without sharing, and the trace."""
        count, settings = len(part.seeds), self.settings(line)
        if settings.remove is None:
            return self.host.pictures(self.run_of(part.seeds), part.states[-1]), [self.sampling] * count, [self.sampling] * count, None
        if settings.remove.search == "exhaustive":
            return self._searched(settings, part, make([self.thing.prompt] * count))
        detector = make([self.thing.prompt] * count)
        run = self.run_of(part.seeds, settings, detector)
        if line.ratio:
            detector.guidance = run.guidance
        own = settings.remove.in_sigma(run.sigmas[:-1].tolist())
        acts = [at for at, sigma in enumerate(run.sigmas[:-1].tolist()) if inside(sigma, own.start, own.stop)]
        first = acts[0] if acts and self.sampler == SHARES else 0
        if settings.remove.anchor:
            run.guidance.plain = self._plain(part, run.sigmas, first)
        images = self.host.pictures(run, run.between(part.states[first], first))
        trace = run.guidance.trace
        looked = detector.predictions if line.ratio else {}
        spent = [2 * (first + len(trace.calls)) + trace.extra_of(number) + looked.get(number, 0) for number in range(count)]
        return images, spent, [each + self.sampling * settings.remove.anchor for each in spent], trace

    def _plain(self, part: Base, sigmas: Tensor, first: int) -> list[Tensor]:
        """Guided x0 of the run without removal at each call from ``first`` on, by its states: of Euler's steps."""
        return [part.states[k] - (part.states[k + 1] - part.states[k]) * sigmas[k] / (sigmas[k + 1] - sigmas[k])
                for k in range(first, len(sigmas) - 1)]

    def _searched(self, settings: Settings, part: Base, detector) -> tuple:
        """The search of Ban et al. on a batch: pictures that are gone leave it; windows share what is before their ends."""
        remove, count = settings.remove, len(part.seeds)
        sigmas = self.run_of(part.seeds[:1]).sigmas
        levels = sigmas[:-1].tolist()
        left, images = list(range(count)), [None] * count
        spent, alone = [0] * count, [0] * count
        inside_x, at = part.states, ends_of(remove, levels)[0]
        x = inside_x[at]
        start = at
        for end in ends_of(remove, levels):
            seeds = [part.seeds[number] for number in left]
            if end > at:
                run = self.run_of(seeds, settings.copy(update={"remove": window_to(remove, end, levels)}))
                x, at = run.between(x, at, end), end
                for number in left:
                    spent[number] += 2
            final = part.states[-1][left] if end == start else self.run_of(seeds).between(x, end)
            made = self.host.pictures(self.run_of(seeds), final)
            for place, number in enumerate(left):
                images[number] = made[place]
                # The first picture is the one that the user has; each further one is finished from its window's end.
                spent[number] += 2 * self.steps if end == start else 2 * (self.steps - end)
                alone[number] += 2 * self.steps
            there = detectors.there(detector, remove, _pil(made), list(left))
            stay = [place for place, is_there in enumerate(there) if is_there]
            left, x = [left[place] for place in stay], x[stay]
            if not left:
                break
        return torch.stack(images), spent, alone, None

    def shots(self, part: Base, images: Tensor, spent: list[int], alone: list[int]) -> list[Shot]:
        plain = self.host.pictures(self.run_of(part.seeds), part.states[-1])
        before, after = self.judge(plain), self.judge(images)
        mask = outside(self.thing, plain, before)
        change, pixels = (images - plain) * mask, 3 * mask.sum((1, 2, 3))
        l1, mse = change.abs().sum((1, 2, 3)) / pixels, change.square().sum((1, 2, 3)) / pixels
        with torch.no_grad():
            far = perceptual(self.judge, plain + change, plain)
        return [Shot(self.thing.gone(v), self.thing.kept(b, v), l1[i].item(), mse[i].item(), far[i].item(), spent[i], alone[i])
                for i, (b, v) in enumerate(zip(before, after, strict=True))]


def _pil(images: Tensor) -> list:
    from lib_negguide.hosts.embedded.result import pil

    return pil(images)


def run(arguments) -> int:
    """The command line's ``bench removal``."""
    from tests.world import removal_report

    table = [line for line in lines() if (not arguments.lines or line.key in arguments.lines)
             and (arguments.sampler == SHARES or not (line.cached or line.group == "search"))]
    benches = [Bench(arguments, name) for name in arguments.things]
    for bench in () if arguments.report else benches:
        with bench.host.threads():
            base = bench.base()
        for line in table:
            bench.measure(line, base, min(arguments.seeds, arguments.searched) if line.group == "search" else arguments.seeds)
            print(f"{bench.thing.name}, {line.key}: done", flush=True)
    if arguments.report or not arguments.lines:
        print(removal_report.write(benches, Path(arguments.out)))
    for bench in benches if arguments.pictures else ():
        removal_report.sheet(bench, Path(arguments.out) / f"{bench.thing.name}.png", arguments.pictures)
    return 0
