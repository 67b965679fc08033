"""Trains the small image encoder, a CLIP vision tower of transformers, on drawn pictures, and measures it on held-out ones.

    python -m tests.world.train_encoder --work .world --out tests/world/model

As CLIP: contrastively against captions, with a small text tower that is thrown away. The
world has only 153 complete captions, so every one of them is a candidate for each picture
(CLIP takes those of the batch), and of a caption all its pictures in the batch count as
right. The pictures are those of `train_captioner.py`: drawings, a quarter of them through the
checkpoint's autoencoder with noise on the latents, and empty ones; no generated picture and
no judge is used. Every step draws its pictures from its own number, so a run that was
stopped and started again is the same run, to the bit on one thread.
"""

import argparse
import json
import os
import time
from itertools import combinations, permutations, product
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from tests.world import data, train_captioner
from tests.world.captioner import VOCABULARY, describe
from tests.world.draw import ATTRIBUTES, COLOURS, SHAPES, SIZE, Attributes
from tests.world.train_captioner import soften
from tests.world.train_judge import augment

SEED = 5
STEPS = 2000
BATCH = 64
LEARNING_RATE = 1e-3
WARM_UP = 100
SAVE_EVERY = 250
HELD_OUT = 2000

WIDTH = 96
CONFIG = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": 4, "num_attention_heads": 4,
          "image_size": SIZE, "patch_size": 8, "projection_dim": WIDTH}
FOLDER = Path(__file__).parent / "model" / "image_encoder"


def build() -> CLIPVisionModelWithProjection:
    """An untrained encoder of 0.5 M parameters: pictures (B,3,64,64) to `image_embeds` (B,96)."""
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**CONFIG))


def processor() -> CLIPImageProcessor:
    """CLIP's own preprocessing, for 64 pixels."""
    return CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})


def all_captions() -> list[str]:
    """Every complete caption of the world: 8 portraits, 12 shapes, 132 pairs from left to right, and nothing."""
    worn = [some for count in range(len(ATTRIBUTES) + 1) for some in combinations(ATTRIBUTES, count)]
    things = list(product(COLOURS, SHAPES))
    shown = [Attributes("portrait", worn=some) for some in worn]
    shown += [Attributes("one shape", shapes=(thing,)) for thing in things]
    shown += [Attributes("two shapes", shapes=pair) for pair in permutations(things, 2)]
    return [describe(attributes) for attributes in [*shown, Attributes("none")]]


class TextTower(nn.Module):
    """Complete captions to vectors of the picture's width; only there while training."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__()
        rows = [[VOCABULARY.index(word) for word in text.replace(",", " ,").split()] for text in texts]
        ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
        self.register_buffer("ids", ids, persistent=False)
        self.words = nn.Embedding(len(VOCABULARY), WIDTH)
        self.places = nn.Parameter(0.02 * torch.randn(ids.shape[1], WIDTH))
        self.layer = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self) -> Tensor:
        """Unit vectors (captions, WIDTH)."""
        empty = self.ids == 0
        hidden = self.layer(self.words(self.ids) + self.places, src_key_padding_mask=empty)
        there = (~empty).unsqueeze(2).float()
        return F.normalize(self.out((hidden * there).sum(1) / there.sum(1)), dim=1)


def contrastive_loss(pictures: Tensor, texts: Tensor, which: Tensor, scale: Tensor) -> Tensor:
    """CLIP's two cross entropies of unit vectors (B,W) and (T,W); `which` (B,) is each picture's caption."""
    logits = scale * pictures @ texts.T
    of_pictures = F.cross_entropy(logits, which)
    told, share = which.unique(return_counts=True)
    right = which == told.unsqueeze(1)
    of_texts = -(F.log_softmax(logits.T[told], dim=1) * right).sum(1) / share
    return (of_pictures + of_texts.mean()) / 2


def pictures(work: Path) -> tuple[Tensor, Tensor]:
    """The captioner's pictures (25000,3,64,64) uint8, the drawn ones first, and the number of each one's caption."""
    pixels, texts = train_captioner.pictures(work)
    number = {text: index for index, text in enumerate(all_captions())}
    return pixels, torch.tensor([number[text] for text in texts])


def normalized(images: Tensor) -> Tensor:
    """Pictures (B,3,64,64) in 0..1 as the encoder takes them."""
    own = processor()
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (own.image_mean, own.image_std))
    return (images - mean) / std


@torch.no_grad()
def embed(encoder: CLIPVisionModelWithProjection, pixels: Tensor) -> Tensor:
    """`image_embeds` (N,96) of pictures (N,3,64,64) uint8."""
    encoder.eval()
    return torch.cat([encoder(normalized(part.float() / 255)).image_embeds for part in pixels.split(200)])


def rate(step: int) -> float:
    """Share of the learning rate: linear warm-up, then half a cosine down to 1%."""
    angle = torch.tensor(torch.pi * step / STEPS)
    return min(1.0, (step + 1) / WARM_UP) * (0.01 + 0.99 * 0.5 * (1 + float(torch.cos(angle))))


class Run:
    """One training run: its state, a step, saving and loading."""

    def __init__(self, work: Path, out: Path) -> None:
        self.path, self.folder = work / "encoder.pt", out / "image_encoder"
        self.pixels, self.which = pictures(work)
        self.captions = all_captions()
        torch.manual_seed(SEED)
        self.encoder, self.text = build(), TextTower(self.captions)
        self.scale = nn.Parameter(torch.tensor(10.0).log())
        self.parts = nn.ModuleList([self.encoder, self.text])
        weights = [*self.parts.parameters(), self.scale]
        groups = [{"params": [w for w in weights if w.ndim > 1], "weight_decay": 0.02},
                  {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98), fused=True)
        self.step, self.seconds = 0, 0.0
        self.losses: list[tuple[int, float]] = []

    def load(self) -> None:
        if not self.path.exists():
            return
        saved = torch.load(self.path, weights_only=True)
        self.parts.load_state_dict(saved["parts"])
        self.scale.data = saved["scale"]
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.losses = [tuple(entry) for entry in saved["losses"]]

    def save(self) -> None:
        state = {"parts": self.parts.state_dict(), "scale": self.scale.data, "optimizer": self.optimizer.state_dict(),
                 "step": self.step, "seconds": self.seconds, "losses": self.losses}
        torch.save(state, self.path.with_suffix(".partial"))
        os.replace(self.path.with_suffix(".partial"), self.path)

    def advance(self) -> float:
        """One step of the optimizer; returns the loss."""
        generator = torch.Generator().manual_seed(SEED * 1_000_000 + self.step)
        chosen = torch.randint(len(self.pixels), (BATCH,), generator=generator)
        images = normalized(augment(self.pixels[chosen].float() / 255, generator))
        seen = F.normalize(self.encoder(images).image_embeds, dim=1)
        loss = contrastive_loss(seen, self.text(), self.which[chosen], self.scale.exp().clamp(max=100.0))
        for group in self.optimizer.param_groups:
            group["lr"] = LEARNING_RATE * rate(self.step)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parts.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return loss.item()

    def export(self) -> None:
        """The folder that `from_pretrained` loads, weights as fp16 safetensors."""
        half = build().half()
        half.load_state_dict(self.encoder.state_dict())
        half.save_pretrained(str(self.folder), safe_serialization=True)
        processor().save_pretrained(str(self.folder))

    @torch.no_grad()
    def shares(self, pixels: Tensor, shown: list[Attributes], encoder=None) -> dict[str, float]:
        """Share of pictures whose nearest caption of all 153 is the right one: of all and by kind."""
        seen = F.normalize(embed(encoder or self.encoder, pixels), dim=1)
        nearest = (seen @ self.text().T).argmax(1).tolist()
        right: dict[str, list[bool]] = {}
        for best, attributes in zip(nearest, shown, strict=True):
            for group in ("all", attributes.kind):
                right.setdefault(group, []).append(self.captions[best] == describe(attributes))
        return {group: round(sum(answers) / len(answers), 4) for group, answers in right.items()}


def measure(run: Run) -> dict:
    """Held-out figures of the exported folder, for the record."""
    encoder = CLIPVisionModelWithProjection.from_pretrained(str(run.folder), torch_dtype=torch.float32)
    drawn, shown = data.draw_many("encoder", HELD_OUT)
    soft = soften(drawn[::4], torch.Generator().manual_seed(SEED + 1))
    return {"nearest caption right, crisp": run.shares(drawn, shown, encoder),
            "nearest caption right, through the autoencoder": run.shares(soft, shown[::4], encoder)}


def train(work: Path, out: Path) -> None:
    torch.set_num_threads(1)  # rounding depends on it
    run = Run(work, out)
    run.load()
    began = time.monotonic() - run.seconds
    total, count = 0.0, 0
    held_out, truth = data.draw_many("encoder check", 200)
    while run.step < STEPS:
        total, count = total + run.advance(), count + 1
        run.seconds = time.monotonic() - began
        if run.step % 50 == 0:
            run.losses.append((run.step, round(total / count, 4)))
            print(f"step {run.step} loss {total / count:.4f} {run.seconds:.0f} s", flush=True)
            total, count = 0.0, 0
        if run.step % SAVE_EVERY == 0 or run.step == STEPS:
            run.save()
            print(run.shares(held_out, truth), flush=True)
            run.encoder.train()
    run.export()
    parameters = sum(weight.numel() for weight in run.encoder.parameters())
    record = {"seed": SEED, "pictures": len(run.pixels), "steps": STEPS, "batch": BATCH, "seconds": round(run.seconds),
              "parameters": parameters, "held out": HELD_OUT, **measure(run), "losses": run.losses}
    (out / "image_encoder.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({name: value for name, value in record.items() if name != "losses"}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".world"), help="folder for intermediate data")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "model", help="folder to write into")
    arguments = parser.parse_args()
    train(arguments.work, arguments.out)


if __name__ == "__main__":
    main()
