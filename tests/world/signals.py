"""How early, and how well, each detector of the removal's loop tells whether a picture will show a thing, and what a look costs.

    python -m tests.world.signals --out out/removal

On pictures without a negative (those of `bench removal`), at calls on their way: the area under the ROC curve (0.5: a coin, 1:
always right) of what a detector says there, against the judge's verdict on the finished picture. The judge only counts.
The time of a look is the process's own, of one picture, beside that of one prediction.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import torch

from lib_negguide import captioners, plots, world
from lib_negguide.attention.watch import Attention
from lib_negguide.detectors import Caption, Clip, Presence
from lib_negguide.settings import Settings
from tests.world import removal
from tests.world.ratio import Ratio
from tests.world.removal import Bench
from tests.world.removal_things import THINGS

CALLS = (0, 3, 6, 9, 12, 15)
WORDS = {"presence": "presence, from the predictions", "attention": "attention of the words", "clip": "CLIP on a preview",
         "caption": "a captioner on a preview", "ratio": "1 / r_t of Ban et al. (baseline)"}


class Everyone:
    """All detectors look; ``said``: by name what each said at this call, ``seconds``: of all looks so far, per picture."""

    name, gone, back, looks, needs_negative, graded = "everyone", 0.0, 0.0, 1, True, False

    def __init__(self, detectors: dict) -> None:
        self.detectors, self.said, self.seconds = {}, {}, {}
        self.pictures = 0
        for name, detector in detectors.items():
            self.add(name, detector)

    def add(self, name: str, detector) -> None:
        self.detectors[name], self.seconds[name] = detector, 0.0

    def presence(self, seen, pictures) -> torch.Tensor:
        for name, detector in self.detectors.items():
            began = time.process_time()
            self.said[name] = detector.presence(seen, pictures)
            self.seconds[name] += time.process_time() - began
        self.pictures += len(pictures)
        return torch.ones(len(pictures))


def area(values: torch.Tensor, there: torch.Tensor) -> float:
    """Under the ROC curve: the share of pairs in the right order, one of each kind; equal ones count half."""
    a, b = values[there][:, None], values[~there][None]
    return float(((a > b).float() + 0.5 * (a == b).float()).mean())


@torch.no_grad()
def measure(bench: Bench, count: int, clip, captioner) -> dict:
    """{"auc": {detector: [of each call]}, "look": {detector: in predictions}, "shown": how many show it}."""
    base, shown = bench.first_ones(count)
    name, prompt = bench.thing.name, bench.thing.prompt
    settings = Settings.parse({"remove": {"text": name, "start": None, "stop": None, "every": 1, "detector": "attention"}})
    values = {key: [[] for _ in CALLS] for key in WORDS}
    seconds, looks, prediction, predicted = dict.fromkeys(WORDS, 0.0), 0, 0.0, 0
    for at in range(0, count, bench.batch):
        part = base.part(slice(at, min(at + bench.batch, count)))
        for number, call in enumerate(CALLS):
            ratio = Ratio(name)
            everyone = Everyone({"presence": Presence(), "clip": Clip(clip, name, [prompt] * len(part.seeds)),
                                 "caption": Caption(captioner, name)})
            run = bench.run_of(part.seeds, settings, everyone)
            guidance = run.guidance
            everyone.add("attention", Attention(guidance.watch))
            ratio.guidance = guidance
            everyone.add("ratio", ratio)  # the last: it uses the model
            began = time.process_time()
            run.between(part.states[call], call, call + 1)
            # What is left of the call is three predictions a picture, and little else.
            prediction += time.process_time() - began - sum(everyone.seconds.values())
            predicted += 3 * len(part.seeds)
            looks += everyone.pictures
            for key, said in everyone.said.items():
                values[key][number].append(said)
                seconds[key] += everyone.seconds[key]
        print(f"{name}: {at + len(part.seeds)} pictures", flush=True)
    there = torch.tensor(shown)
    unit = prediction / predicted
    return {"shown": sum(shown), "pictures": count,
            "auc": {key: [round(area(torch.cat(parts).float(), there), 3) for parts in per_call] for key, per_call in values.items()},
            "look": {key: round(spent / looks / unit, 2) for key, spent in seconds.items()}, "prediction": unit}


def report(found: dict, first: int) -> str:
    text = ["# Detectors", "", __doc__.split("\n\n")[2].replace("\n", " "), "", f"Seeds from {first}, 30 steps of Euler, guidance 5. Written by "
            "`python -m tests.world.signals`."]
    for name, one in found.items():
        rows = [[words, *(f"{value:.2f}" for value in one["auc"][key]), f"{one['look'][key]:.2f}" + (" + 1" if key in ("presence", "ratio") else "")]
                for key, words in WORDS.items()]
        text += ["", f"## {name}", "", f"{one['shown']} of {one['pictures']} pictures show it.", "",
                 plots.table(["AUC at call", *map(str, CALLS), "a look, in predictions"], rows)]
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--things", type=lambda written: written.split(","), default=["glasses", "mustache", "hat"])
    parser.add_argument("--pictures", type=int, default=128)
    parser.add_argument("--first-seed", type=int, default=3_000_000)
    parser.add_argument("--out", type=Path, default=Path("out/removal"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    options = SimpleNamespace(seeds=1, batch=16, first_seed=arguments.first_seed, steps=30, cfg=world.GUIDANCE, sampler="Euler", model=None,
                              out=arguments.out)
    file = arguments.out / f"signals-{arguments.first_seed}.json"
    found = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    with ExitStack() as stack:
        clip = stack.enter_context(removal.clip())
        captioner = stack.enter_context(captioners.opened(str(world.captioner())))
        for name in arguments.things:
            assert name in THINGS, name
            if found.get(name, {}).get("pictures") != arguments.pictures:
                found[name] = measure(Bench(options, name), arguments.pictures, clip, captioner)
                arguments.out.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(found, indent=1), "utf-8")
    text = report(found, arguments.first_seed)
    (arguments.out / "detectors.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
