"""What `bench dnp` needs of the small world: pairs of prompt and seed, and the judge as the one who looks.

    python -m lib_negguide bench dnp
"""

import random
import re
from itertools import permutations

import numpy as np
import torch
from PIL import Image

from lib_negguide.commands.dnp_rows import Category, Metric, Pair
from tests.world import captioner, captions
from tests.world.draw import ATTRIBUTES, COLOURS, SHAPES, Attributes
from tests.world.judge import Judge, Verdict

FIRST_SEED = 300_000
CATEGORIES = ("two shapes", "portraits")

# "ugly, blurry, low quality" needs no translation: as in large models, such words name nothing that is in a picture. No
# caption has them, so they share one untrained row of the token table; what is left to act is their number and the commas.
DICTIONARY = "ugly, blurry, low quality"


def category(name: str, count: int, first_seed: int = FIRST_SEED) -> Category:
    """Pairs of a category, at random but always the same: the first ones of a larger count are those of a smaller."""
    rng = random.Random(f"{name} {first_seed}")
    pairs = captions.all_shape_prompts()[1]
    prompts = []
    for _ in range(count):
        if name == "two shapes":
            prompts.append(rng.choice(pairs))
        else:
            prompts.append(captions.portrait_with(rng.sample(ATTRIBUTES, rng.randint(1, len(ATTRIBUTES)))))
    return Category(name, tuple(Pair(prompt, first_seed + index) for index, prompt in enumerate(prompts)))


def asked(prompt: str) -> Attributes:
    """What a prompt of these categories asks for."""
    said = captioner.read(prompt)
    if said is None or said.kind == "none":
        raise ValueError(f"prompt {prompt!r} is none of the small world's")
    return said


def found(verdict: Verdict, prompt: str) -> list[float]:
    """For each object of the prompt how much of it is there, in the best assignment of what is seen.

    A portrait's objects are what is worn: 1 or 0, all 0 without a person. A coloured shape is 1; 0.5 with one
    of its two words right; each shape seen stands for one that was asked for.
    """
    wanted = asked(prompt)
    if wanted.kind == "portrait":
        return [float(name in verdict.worn) for name in wanted.worn] or [float(verdict.kind == "portrait")]
    seen = [*verdict.shapes, *[("", "")] * len(wanted.shapes)]
    assigned = [
        [sum(a == b for a, b in zip(want, thing, strict=True)) / 2 for want, thing in zip(wanted.shapes, order, strict=True)]
        for order in permutations(seen, len(wanted.shapes))
    ]
    return max(assigned, key=lambda shares: (min(shares), sum(shares)))


def lacks(caption: str, prompt: str) -> bool:
    """Whether a picture of this caption is not what the prompt asks for; by the captions' words alone, no judge."""
    said, wanted = captioner.read(caption), asked(prompt)
    if said is None or said.kind != wanted.kind:
        return True
    return not set(wanted.worn) <= set(said.worn) or sorted(wanted.shapes) != sorted(said.shapes)


def exchanged(shapes: tuple[tuple[str, str], ...]) -> str:
    """Two shapes with each other's colour; where they have the same colour or the same shape, the first one twice."""
    (colour, shape), (other_colour, other_shape) = shapes
    if colour == other_colour or shape == other_shape:
        return f"a {colour} {shape} and a {colour} {shape}"
    return f"a {other_colour} {shape} and a {colour} {other_shape}"


def words(verdict: Verdict) -> set[str]:
    """Words for all that is seen."""
    return {*verdict.worn, *(["person"] if verdict.kind == "portrait" else []), *(word for thing in verdict.shapes for word in thing)}


class JudgeScorer:
    """The judge's figures, see `dnp_rows.Scorer`."""

    name = "judge"
    metrics = (
        Metric("all", "all that is asked for", share=True),
        Metric("minimum", "least object"),
        Metric("kind", "a person, or two shapes", share=True),
    )
    away = (Metric("nothing", "no object asked for", share=True), Metric("no word", "no word of the prompt", share=True))

    def __init__(self) -> None:
        self.judge = Judge.load()

    def verdicts(self, images) -> list[Verdict]:
        """Of Pillow pictures of any size."""
        arrays = [np.asarray(image.convert("RGB").resize((64, 64), Image.BICUBIC)) for image in images]
        return self.judge(torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 255)

    def scores(self, images, prompts):
        rows = []
        for verdict, prompt in zip(self.verdicts(images), prompts, strict=True):
            shares = found(verdict, prompt)
            said = {word for word in re.findall(r"[a-z]+", prompt) if word in {"person", *ATTRIBUTES, *COLOURS, *SHAPES}}
            wanted = asked(prompt)
            rows.append({
                "all": float(verdict.satisfies(prompt)), "minimum": min(shares), "kind": float(verdict.kind == wanted.kind),
                "nothing": float(not set(wanted.worn + wanted.shapes) & set(verdict.worn + verdict.shapes)),
                "no word": float(not said & words(verdict)),
            })  # fmt: skip
        return rows

    def describe(self, images):
        return [captioner.describe(_attributes(verdict)) for verdict in self.verdicts(images)]

    def failures(self, said, prompts):
        return [text if lacks(text, prompt) else "" for text, prompt in zip(said, prompts, strict=True)]

    def wrong(self, prompts):
        wanted = [asked(prompt).shapes for prompt in prompts]
        return [exchanged(shapes) for shapes in wanted] if all(len(shapes) == 2 for shapes in wanted) else None

    def agree(self, said, images):
        return [captioner.agrees(text, _attributes(verdict)) for text, verdict in zip(said, self.verdicts(images), strict=True)]


def _attributes(verdict: Verdict) -> Attributes:
    return Attributes(verdict.kind, worn=verdict.worn, shapes=verdict.shapes)
