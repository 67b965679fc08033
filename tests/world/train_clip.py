"""Trains the small CLIP, in open_clip's form, on drawn pictures and their captions, and measures it on held-out ones.

    python -m tests.world.train_clip --work .world --out tests/world/model

Both towers by CLIP's contrastive loss. The captions are `captions.py`'s, which leave things out, drawn anew each time; some
as a removal's detector puts a thing behind a prompt ("a portrait of a person, glasses"), and half of them in one of the
80 templates that scores fill. Pictures of a batch that share a caption count alike. The pictures are those of
`train_captioner.py`: drawings, a quarter of them through the checkpoint's autoencoder with noise on the latents, and empty
ones; no generated picture and no judge is used. Every step draws its pictures and captions from its own number, so a
run that was stopped and started again is the same run, to the bit on one thread.

The vocabulary is CLIP's own of 49,408 tokens. As in the small model, those of the captions have rows of their own, and all others share one.
"""

import argparse
import json
import os
import random
import time
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from lib_negguide import world
from lib_negguide.detectors import Clip as Detector
from lib_negguide.metrics import ClipScores, filled
from tests import with_open_clip
from tests.world import captions, data, words
from tests.world.captioner import agrees, describe, read
from tests.world.draw import ATTRIBUTES, COLOURS, SHAPES, SIZE, Attributes
from tests.world.train_captioner import soften
from tests.world.train_encoder import all_captions, contrastive_loss, pictures, rate
from tests.world.train_judge import augment

SEED = 7
STEPS = 2000
BATCH = 64
LEARNING_RATE = 1e-3
SAVE_EVERY = 250
HELD_OUT = 1000
LISTED, IN_TEMPLATE = 0.3, 0.5  # shares of the captions
MOST_SCALE = 100.0  # as CLIP's

CONFIG = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": SIZE, "patch_size": 8, "layers": 4, "width": 64, "head_width": 16},
    "text_cfg": {"context_length": 32, "vocab_size": words.VOCABULARY, "width": 24, "heads": 4, "layers": 3},
}
LOOK = {"mean": [0.5] * 3, "std": [0.5] * 3}


def build() -> nn.Module:
    """An untrained CLIP of 1.4 M parameters, 1.2 M of them the token table."""
    with_open_clip.ready()
    import open_clip

    return open_clip.CLIP(**CONFIG)


def listed(shown: Attributes, rng: random.Random) -> str:
    """What a picture shows as a prompt, a comma, and a thing of it, chosen before looking; else all that it shows."""
    if shown.kind == "portrait":
        chosen = captions.subset(rng)
        worn = list(shown.worn)
        rng.shuffle(worn)
        return ", ".join([captions.OPEN_PORTRAIT, *chosen]) if set(chosen) <= set(worn) else captions.complete_portrait(worn)
    colour, shape = rng.choice(list(COLOURS)), rng.choice(list(SHAPES))
    prompt = "two shapes" if len(shown.shapes) == 2 else "a shape"
    if rng.random() < 0.5:
        return f"{prompt}, {shape}" if shape in [one for _, one in shown.shapes] else describe(shown)
    return f"{prompt}, {colour} {shape}" if (colour, shape) in shown.shapes else describe(shown)


def caption(shown: Attributes, rng: random.Random) -> str:
    """One caption of a picture, drawn anew each time."""
    if shown.kind == "none":
        return describe(shown)
    return listed(shown, rng) if rng.random() < LISTED else captions.caption(shown, rng)


class Run:
    """One training run: its state, a step, saving and loading."""

    def __init__(self, work: Path, out: Path) -> None:
        self.path, self.folder = work / "clip.pt", out / "clip"
        self.pixels, which = pictures(work)
        shown = [read(text) for text in all_captions()]
        self.shown = [shown[number] for number in which.tolist()]
        torch.manual_seed(SEED)
        self.model = build()
        self.rows = words.compact_map()
        # Training needs the rows that the captions have, and one for all others; the highest is still the text's end.
        self.model.token_embedding = nn.Embedding(int(self.rows.max()) + 1, CONFIG["text_cfg"]["width"])
        nn.init.normal_(self.model.token_embedding.weight, std=0.02)
        weights = list(self.model.parameters())
        groups = [{"params": [w for w in weights if w.ndim > 1], "weight_decay": 0.02},
                  {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98), fused=True)
        self.step, self.seconds = 0, 0.0
        self.losses: list[tuple[int, float]] = []

    def load(self) -> None:
        if not self.path.exists():
            return
        saved = torch.load(self.path, weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.losses = [tuple(entry) for entry in saved["losses"]]

    def save(self) -> None:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step,
                 "seconds": self.seconds, "losses": self.losses}
        torch.save(state, self.path.with_suffix(".partial"))
        os.replace(self.path.with_suffix(".partial"), self.path)

    def tokens(self, texts: list[str]) -> Tensor:
        """Rows of the trained table (T, 32) of texts."""
        from open_clip.tokenizer import tokenize

        return self.rows[tokenize(texts, context_length=CONFIG["text_cfg"]["context_length"])]

    def advance(self) -> float:
        """One step of the optimizer; returns the loss."""
        generator, rng = torch.Generator().manual_seed(SEED * 1_000_000 + self.step), random.Random(f"clip {SEED} {self.step}")
        chosen = torch.randint(len(self.pixels), (BATCH,), generator=generator)
        images = augment(self.pixels[chosen].float() / 255, generator) * 2 - 1
        told = [caption(self.shown[index], rng) for index in chosen.tolist()]
        texts = list(dict.fromkeys(told))
        which = torch.tensor([texts.index(text) for text in told])
        texts = [rng.choice(filled(text)) if rng.random() < IN_TEMPLATE else text for text in texts]
        seen = self.model.encode_image(images, normalize=True)
        said = self.model.encode_text(self.tokens(texts), normalize=True)
        loss = contrastive_loss(seen, said, which, self.model.logit_scale.exp())
        for group in self.optimizer.param_groups:
            group["lr"] = LEARNING_RATE * rate(self.step)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=torch.tensor(MOST_SCALE).log())
        self.step += 1
        return loss.item()

    def export(self) -> None:
        """The folder that `clip_model.load` takes: configuration, and weights as fp16 safetensors."""
        state = self.model.state_dict()
        state["token_embedding.weight"] = state["token_embedding.weight"][self.rows]
        self.folder.mkdir(parents=True, exist_ok=True)
        save_file({name: value.half().contiguous() for name, value in state.items()}, self.folder / "open_clip_model.safetensors")
        form = {"model_cfg": CONFIG, "preprocess_cfg": LOOK}
        (self.folder / "open_clip_config.json").write_text(json.dumps(form, indent=1) + "\n")


def area(positive: list[float], negative: list[float]) -> float:
    """Under the ROC curve: the share of pairs in the right order."""
    a, b = torch.tensor(positive)[:, None], torch.tensor(negative)[None]
    return float(((a > b).float() + 0.5 * (a == b).float()).mean())


def told(scores: ClipScores, pixels: Tensor, shown: list[Attributes]) -> dict[str, float]:
    """How well a removal's detector tells each thing from its absence: the area under the ROC curve."""
    images, found = pil(pixels), {}
    asked = [(name, world.PROMPT, "portrait", lambda a, n=name: n in a.worn) for name in ATTRIBUTES]
    asked += [(name, "two shapes", "two shapes", lambda a, n=name: n in [shape for _, shape in a.shapes]) for name in SHAPES]
    for name, prompt, kind, there in asked:
        some = [number for number, attributes in enumerate(shown) if attributes.kind == kind]
        values = Detector(scores, name, [prompt]).of_pictures([images[number] for number in some], [0] * len(some))
        sides = [[v for v, number in zip(values, some, strict=True) if there(shown[number]) is side] for side in (True, False)]
        found[name] = round(area(*sides), 4)
    return found


def pil(pixels: Tensor) -> list[Image.Image]:
    return [Image.fromarray(array) for array in pixels.permute(0, 2, 3, 1).numpy()]


def best(scores: ClipScores, pixels: Tensor, shown: list[Attributes], texts: list[str]) -> dict[str, float]:
    """How often the best of these complete captions is right, by kind; which of two shapes is told first does not matter."""
    nearest = (scores.pictures(pil(pixels)) @ scores.texts(texts).T).argmax(1).tolist()
    right: dict[str, list[bool]] = {}
    for number, attributes in zip(nearest, shown, strict=True):
        right.setdefault(f"best caption, {attributes.kind}", []).append(agrees(texts[number], attributes))
    return {name: round(sum(answers) / len(answers), 4) for name, answers in right.items()}


def measure(scores: ClipScores, pixels: Tensor, shown: list[Attributes]) -> dict[str, float]:
    """As the project uses it: see :func:`told`, and :func:`best` of all captions."""
    return {**told(scores, pixels, shown), **best(scores, pixels, shown, all_captions())}


def train(work: Path, out: Path) -> None:
    torch.set_num_threads(1)  # rounding depends on it
    run = Run(work, out)
    run.load()
    began = time.monotonic() - run.seconds
    total, count = 0.0, 0
    while run.step < STEPS:
        total, count = total + run.advance(), count + 1
        run.seconds = time.monotonic() - began
        if run.step % 50 == 0:
            run.losses.append((run.step, round(total / count, 4)))
            print(f"step {run.step} loss {total / count:.4f} scale {run.model.logit_scale.exp():.1f} {run.seconds:.0f} s", flush=True)
            total, count = 0.0, 0
        if run.step % SAVE_EVERY == 0 or run.step == STEPS:
            run.save()
    run.export()
    scores = ClipScores.load(str(run.folder))
    drawn, shown = data.draw_many("clip", HELD_OUT)
    soft = soften(drawn[::4], torch.Generator().manual_seed(SEED + 1))
    record = {"seed": SEED, "pictures": len(run.pixels), "steps": STEPS, "batch": BATCH, "seconds": round(run.seconds),
              "parameters": sum(weight.numel() for weight in build().parameters()), "scale": round(float(run.model.logit_scale.exp()), 2),
              "held out": HELD_OUT, "crisp": measure(scores, drawn, shown),
              "through the autoencoder": measure(scores, soft, shown[::4]), "losses": run.losses}
    (out / "clip.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({name: value for name, value in record.items() if name != "losses"}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".world"), help="folder for intermediate data")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "model", help="folder to write into")
    arguments = parser.parse_args()
    train(arguments.work, arguments.out)


if __name__ == "__main__":
    main()
