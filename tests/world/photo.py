"""Removal from photos and in inpainting, measured on the small world.

    python -m lib_negguide bench photo

Photos are drawings (never generated, never trained on): each is captioned, inverted, and sampled again without one thing that
it shows. Inpainting is of generated portraits, in a rectangle where draw.py can put the thing. The judge counts; no method sees it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from lib_negguide import captioners, inversion, plots, world
from lib_negguide.hosts.embedded import image
from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.settings import Settings
from lib_negguide.settings.inpainting import in_inpainting
from tests.world.ban import REGIONS
from tests.world.captions import portrait_with
from tests.world.draw import ATTRIBUTES, draw
from tests.world.evaluate import wilson
from tests.world.judge import Judge, Verdict
from tests.world.results import Results, name_of

FIRST_SEED = 800_000  # of inpainted portraits; drawings are "photo 0", "photo 1", …
FROM_THE_START = {"search": "window", "region": "everywhere", "start": None, "stop": None, "weight": 1.0}
"""An ordinary negative prompt."""
INPAINT_STRENGTH, MARGIN = 1.0, 6
"""``MARGIN``: pixels that the mask is wider than the thing, left and right: cells of the latent half covered do not change."""
LINES = {
    "photo": {"ours": "photo: inverted, removed, the rest anchored", "img2img": "img2img with the negative from the first call"},
    "inpaint": {"ours": "inpainting, removal in the mask", "stock": "inpainting, the same negative from the first call",
                "none": "inpainting without a negative"},
}


class Bench:
    """One thing, photos or inpainting. ``results``: number of a drawing, or seed, to what is known of it."""

    def __init__(self, arguments, part: str, attribute: str) -> None:
        self.part, self.attribute = part, attribute
        self.wanted, self.controls, self.batch, self.steps = arguments.pictures, arguments.controls, arguments.batch, arguments.steps
        self.host, self.judge = EmbeddedHost.load(arguments.model or world.model()), Judge.load()
        self.options = {"steps": self.steps, "cfg_scale": arguments.cfg, "size": world.SIZE, "batch_size": self.batch}
        self.setting = {"part": part, "attribute": attribute, "steps": self.steps, "cfg": arguments.cfg,
                        "model": name_of(arguments.model)}
        self.results = Results(Path(arguments.out) / f"{part}-{attribute}.json", self.setting)
        left, top, right, bottom = REGIONS[attribute]
        self.box = torch.zeros(1, 1, *world.SIZE[::-1])
        self.box[..., top:bottom, left:right] = 1

    def run(self) -> dict:
        """Measure until there are enough."""
        pictures = self.results.load()
        measure = self.photos if self.part == "photo" else self.inpainted
        with tqdm(total=self.wanted, initial=len(pictures), desc=self.results.file.stem, unit="picture", disable=None) as bar:
            last = max(map(int, pictures), default=-1 if self.part == "photo" else FIRST_SEED - 1)
            while len(pictures) < self.wanted:
                last, found = measure(last + 1, min(self.batch, self.wanted - len(pictures)), len(pictures) < self.controls)
                pictures.update(found)
                self.results.save(pictures)
                bar.n = len(pictures)
                bar.refresh()
        return pictures

    def _settings(self, **removal) -> Settings:
        return Settings.parse({"remove": {"text": self.attribute, **removal}})

    def _drawings(self, first: int) -> Iterator[tuple]:
        """(number, drawing, what it wears) of those that show the thing."""
        number = first
        while True:
            picture, shown = draw(f"photo {number}")
            if self.attribute in shown.worn:
                yield number, picture, shown.worn
            number += 1

    def photos(self, first: int, count: int, controls: bool) -> tuple[int, dict]:
        """One batch of drawings; the last number looked at, and what was seen."""
        drawings = self._drawings(first)
        numbers, pictures, worn = zip(*(next(drawings) for _ in range(count)), strict=True)
        with captioners.opened(str(world.captioner()), keep="cpu") as captioner:
            prompts = captioner.caption(pictures)
        before, seeds = image.tensor_of(pictures, world.SIZE), list(numbers)
        made = image.photo(self.host, before, prompts, seeds, self._settings(), check=controls, **self.options)
        found = self._seen(made.result.images, made.encoded, worn)
        for index, one in enumerate(found):
            one["evaluations"] = made.result.evaluations(index)
            one["encoded"] = tuple(self.judge(made.encoded[index:index + 1])[0].worn) == worn[index]
            one["told"] = prompts[index] == portrait_with(worn[index])
            one["photo"] = round(self._outside(made.result.images[index:index + 1], before[index:index + 1])[0], 3)
            if controls:
                one["psnr"], one["l1"] = round(made.reconstructions[index].psnr, 2), round(made.reconstructions[index].l1, 3)
        if controls:
            plain = image.img2img(self.host, before, made.prompts, seeds, self._settings(**FROM_THE_START), **self.options)
            for one, other in zip(found, self._seen(plain.images, made.encoded, worn), strict=True):
                one["img2img"] = other
        return seeds[-1], {str(number): one for number, one in zip(numbers, found, strict=True)}

    def inpainted(self, first: int, count: int, controls: bool) -> tuple[int, dict]:
        """One batch of generated portraits with the thing."""
        seeds = list(range(first, first + count))
        before = self.host.sample([portrait_with([self.attribute])] * count, seeds, Settings(), **self.options).images
        verdicts = self.judge(before)
        kept = [index for index, verdict in enumerate(verdicts) if getattr(verdict, self.attribute)]
        before, worn, own = before[kept], [verdicts[index].worn for index in kept], [seeds[index] + 10_000_000 for index in kept]
        lines = {"none": Settings(), "stock": self._settings(**FROM_THE_START), "ours": Settings(remove=in_inpainting(self._settings().remove))}
        found: list[dict] = [{} for _ in kept]
        mask = self._mask()
        for line, settings in lines.items():
            made = image.img2img(self.host, before, [world.PROMPT] * len(kept), own, settings, strength=INPAINT_STRENGTH, mask=mask,
                                 **self.options)
            for index, one in enumerate(self._seen(made.images, before, worn)):
                one["seam"] = round(self._seam(made.images[index]) - self._seam(before[index]), 3)
                one["evaluations"] = made.evaluations(index)
                found[index][line] = one
        return seeds[-1], {str(seeds[index]): one for index, one in zip(kept, found, strict=True)}

    def _mask(self):
        from PIL import Image

        left, top, right, bottom = REGIONS[self.attribute]
        mask = Image.new("L", world.SIZE)
        mask.paste(255, (max(0, left - MARGIN), top, min(world.SIZE[0], right + MARGIN), bottom))
        return mask

    def _seen(self, made: Tensor, before: Tensor, worn) -> list[dict]:
        """Of each picture: is the thing gone from a person, is all else that is worn as it was, change outside (0 to 255)."""
        outside = self._outside(made, before)
        return [{"gone": verdict.kind == "portrait" and not getattr(verdict, self.attribute), "others": self._others(verdict, own),
                 "outside": round(change, 3)} for verdict, own, change in zip(self.judge(made), worn, outside, strict=True)]

    def _others(self, verdict: Verdict, worn) -> bool:
        return verdict.kind == "portrait" and all(getattr(verdict, name) == (name in worn) for name in ATTRIBUTES if name != self.attribute)

    def _outside(self, one: Tensor, other: Tensor) -> list[float]:
        rest = 1 - self.box
        return (255 * ((one - other).abs() * rest).sum((1, 2, 3)) / (3 * rest.sum())).tolist()

    def _seam(self, picture: Tensor) -> float:
        """Mean difference of neighbours across the rectangle's border, 0 to 255."""
        left, top, right, bottom = REGIONS[self.attribute]
        jumps = []
        for edge in (top, bottom):
            if 0 < edge < picture.shape[1]:
                jumps.append((picture[:, edge, left:right] - picture[:, edge - 1, left:right]).abs().mean())
        for edge in (left, right):
            jumps.append((picture[:, top:bottom, edge] - picture[:, top:bottom, edge - 1]).abs().mean())
        return 255 * float(torch.stack(jumps).mean())


def share(found: list[dict], key: str) -> str:
    """``91.0% (88.2–93.2)`` of those where it is so."""
    hits, (low, high) = sum(one[key] for one in found), wilson(sum(one[key] for one in found), len(found))
    return f"{100 * hits / len(found):.1f}% ({100 * low:.1f}–{100 * high:.1f})"


def mean(found: list[dict], key: str) -> str:
    return f"{sum(one[key] for one in found) / len(found):.2f}"


def report(benches: list[tuple[Bench, dict]]) -> str:
    """The tables in markdown."""
    photos, inpainted, words = [], [], []
    for bench, pictures in benches:
        found = list(pictures.values())
        if bench.part == "photo":
            controls = [one["img2img"] for one in found if "img2img" in one]
            for line, some in (("ours", found), ("img2img", controls)):
                if some:
                    spent = mean(some, "evaluations") if line == "ours" else "–"
                    photos.append([bench.attribute, LINES["photo"][line], len(some), share(some, "gone"), share(some, "others"),
                                   mean(some, "outside"), spent])
            checked = [one for one in found if "psnr" in one]
            poor = sum(one["psnr"] < inversion.POOR for one in checked)
            least = f"; reconstruction {mean(checked, 'psnr')} dB (least {min(one['psnr'] for one in checked):.1f}, poor: {poor} of " \
                    f"{len(checked)}), L1 {mean(checked, 'l1')}" if checked else ""
            words.append(f"- {bench.attribute}: the VAE alone keeps all that is worn in {share(found, 'encoded')}, captions right in "
                         f"{share(found, 'told')}; change outside against the drawing itself {mean(found, 'photo')}{least}.")
        else:
            for line, words_of in LINES["inpaint"].items():
                some = [one[line] for one in found]
                inpainted.append([bench.attribute, words_of, len(some), share(some, "gone"), share(some, "others"), mean(some, "seam"),
                                  mean(some, "outside"), mean(some, "evaluations")])
    text = []
    if photos:
        text += ["## Photos: drawings that no model has seen", "", plots.table(
            ["thing", "how", "pictures", "removed", "all else unchanged", "L1 outside", "predictions"], photos), "", *words, ""]
    if inpainted:
        text += ["## Inpainting of generated portraits", "", plots.table(
            ["thing", "how", "pictures", "removed", "all else unchanged", "seam", "L1 outside", "predictions"], inpainted), ""]
    return "\n".join(text)


def run(arguments) -> int:
    """The command line's ``bench photo``."""
    parts = [part.split("-") for part in arguments.parts]
    benches = [Bench(arguments, part, attribute) for part, attribute in parts]
    done = [(bench, bench.results.load() if arguments.report else bench.run()) for bench in benches]
    text = report([(bench, pictures) for bench, pictures in done if pictures])
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "photo.md").write_text(text, "utf-8")
    print(text)
    return 0
