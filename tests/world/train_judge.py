"""Trains the judge on drawn pictures, crisp and softened, and measures it on held-out ones.

    python -m tests.world.train_judge --work .world --out tests/world/model

A quarter of the pictures went through the autoencoder with some noise on the latents (when
`vae.pt` is there), since that is how a latent diffusion model's pictures look. No
generated picture is used.
"""

import argparse
import json
import os
import random
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from tests.world import data, model
from tests.world.draw import ATTRIBUTES, COLOURS, SHAPES, Attributes, draw_background
from tests.world.judge import KINDS, SLOTS, Judge, Network, split

SEED = 3
PICTURES = 12_000
NOTHING_SHARE = 0.12
EPOCHS = 6
BATCH = 64
LEARNING_RATE = 2e-3
HELD_OUT = 3000


def labels(shown: list[Attributes]) -> Tensor:
    """Labels (N,8): kind, three 0/1 for what is worn, colour and shape per slot; -1 means not asked."""
    rows = []
    for attributes in shown:
        row = [KINDS.index(attributes.kind)]
        portrait = attributes.kind == "portrait"
        row += [int(name in attributes.worn) if portrait else -1 for name in ATTRIBUTES]
        for slot in range(SLOTS):
            there = slot < len(attributes.shapes)
            colour, shape = attributes.shapes[slot] if there else ("", "")
            row += [list(COLOURS).index(colour), SHAPES.index(shape)] if there else [-1, -1]
        rows.append(row)
    return torch.tensor(rows)


def loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Sum of the cross entropies of every question that the pictures answer."""
    kinds, worn, slots = split(logits)
    total = F.cross_entropy(kinds, wanted[:, 0])
    asked = wanted[:, 1:4] >= 0
    total += F.binary_cross_entropy_with_logits(worn[asked], wanted[:, 1:4][asked].float())
    for slot, (colour, shape) in enumerate(slots):
        total += F.cross_entropy(colour, wanted[:, 4 + 2 * slot], ignore_index=-1)
        total += F.cross_entropy(shape, wanted[:, 5 + 2 * slot], ignore_index=-1)
    return total


@torch.no_grad()
def soften(pixels: Tensor, work: Path, generator: torch.Generator) -> Tensor:
    """Every fourth picture of uint8 pixels (N,3,64,64) through the autoencoder, latents a bit noisy."""
    saved = torch.load(work / "vae.pt", weights_only=True)
    vae = model.build_vae()
    vae.load_state_dict(saved["vae"])
    softened = pixels.clone()
    for at in range(0, len(pixels), 200):
        chosen = slice(at, min(at + 200, len(pixels)), 4)
        latents = vae.encode(data.to_float(pixels[chosen])).latent_dist.mean
        noise = torch.randn(latents.shape, generator=generator) / model.SCALE_FACTOR
        latents += noise * torch.rand(len(latents), 1, 1, 1, generator=generator) * 0.35
        softened[chosen] = ((vae.decode(latents).sample.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return softened


def nothing(pixels: Tensor, count: int) -> Tensor:
    """Pictures (count,3,64,64) uint8 that show neither a person nor shapes.

    In turn: plain backgrounds, smooth colour fields, two pictures blended, and pictures
    whose 16-pixel patches are shuffled.
    """
    rng = random.Random(SEED)
    generator = torch.Generator().manual_seed(SEED)
    made = []
    for index in range(count):
        one, other = pixels[rng.randrange(len(pixels))], pixels[rng.randrange(len(pixels))]
        turn = index % 4
        if turn == 0:
            plain = torch.tensor(draw_background(f"judge {index}").getpixel((0, 0)), dtype=torch.uint8)
            made.append(plain[:, None, None].expand(3, 64, 64))
        elif turn == 1:
            coarse = torch.rand(1, 3, *rng.choice([(2, 2), (4, 4), (8, 8)]), generator=generator)
            made.append((F.interpolate(coarse, 64, mode="bicubic").clamp(0, 1)[0] * 255).to(torch.uint8))
        elif turn == 2:
            upside_down = other.flip(1)
            made.append(((one.int() + upside_down.int()) // 2).to(torch.uint8))
        else:
            patches = one.unfold(1, 16, 16).unfold(2, 16, 16).reshape(3, 16, 16, 16)
            order = torch.randperm(16, generator=generator)
            made.append(patches[:, order].reshape(3, 4, 4, 16, 16).permute(0, 1, 3, 2, 4).reshape(3, 64, 64))
    return torch.stack(made)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift by up to 2 pixels, blur or resample some, change contrast and brightness, add noise."""
    dy, dx = torch.randint(-2, 3, (2,), generator=generator).tolist()
    images = F.pad(images, (2, 2, 2, 2), mode="replicate")[..., 2 + dy : 66 + dy, 2 + dx : 66 + dx]
    chance = float(torch.rand((), generator=generator))
    if chance < 0.3:
        images = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    elif chance < 0.45:
        images = F.interpolate(F.interpolate(images, 32, mode="area"), 64, mode="bilinear")
    count = len(images)
    gain = 0.9 + 0.2 * torch.rand(count, 3, 1, 1, generator=generator)
    shift = 0.1 * torch.rand(count, 1, 1, 1, generator=generator) - 0.05
    grain = 0.05 * torch.rand(count, 1, 1, 1, generator=generator)
    return (images * gain + shift + grain * torch.randn(images.shape, generator=generator)).clamp(0, 1)


def accuracy(judge: Judge, pixels: Tensor, shown: list[Attributes]) -> dict[str, float]:
    """Share of right answers per question; of those pictures that the question is about."""
    right: dict[str, list[bool]] = {}
    for verdict, attributes in zip(judge(pixels.float() / 255), shown, strict=True):
        right.setdefault("kind", []).append(verdict.kind == attributes.kind)
        if attributes.kind == "portrait":
            for name in ATTRIBUTES:
                right.setdefault(name, []).append(getattr(verdict, name) == (name in attributes.worn))
        seen = dict(enumerate(verdict.shapes))
        for slot, (colour, shape) in enumerate(attributes.shapes):
            seen_colour, seen_shape = seen.get(slot, ("", ""))
            right.setdefault(colour, []).append(seen_colour == colour)
            right.setdefault(shape, []).append(seen_shape == shape)
    return {question: sum(answers) / len(answers) for question, answers in right.items()}


def train(work: Path, out: Path) -> None:
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    began = time.monotonic()
    drawn, shown = data.draw_many("judge", PICTURES)
    empty = nothing(drawn, round(PICTURES * NOTHING_SHARE))
    pixels = soften(torch.cat([drawn, empty]), work, generator)
    wanted = labels(shown + [Attributes("none")] * len(empty))
    print(f"{len(pixels)} pictures, {time.monotonic() - began:.0f} s", flush=True)
    network = Network()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    per_epoch = len(pixels) // BATCH
    losses: list[float] = []
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=EPOCHS * per_epoch)
    resume = work / "judge-resume.pt"
    if resume.exists():
        saved = torch.load(resume, weights_only=True)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        generator.set_state(saved["generator"])
        losses = saved["losses"]
    for epoch in range(len(losses), EPOCHS):
        total = 0.0
        for chosen in torch.randperm(len(pixels), generator=generator)[: per_epoch * BATCH].split(BATCH):
            error = loss(network(augment(pixels[chosen].float() / 255, generator)), wanted[chosen])
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
            schedule.step()
            total += error.item()
        losses.append(round(total / per_epoch, 4))
        print(f"epoch {epoch + 1} loss {losses[-1]} {time.monotonic() - began:.0f} s", flush=True)
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
                 "generator": generator.get_state(), "losses": losses}
        torch.save(state, resume.with_suffix(".partial"))
        os.replace(resume.with_suffix(".partial"), resume)
    resume.unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "judge.safetensors"
    save_file({key: value.half() for key, value in network.state_dict().items() if value.ndim}, str(path))
    judge = Judge.load(path)
    held_out, truth = data.draw_many("held out judge", HELD_OUT)
    soft = soften(held_out, work, generator)
    record = {"seed": SEED, "pictures": len(pixels), "losses by epoch": losses, "held out": HELD_OUT}
    for name, tested, told in (("crisp", held_out, truth), ("through the autoencoder", soft[::4], truth[::4])):
        record[f"accuracy, {name}"] = accuracy(judge, tested, told)
    record["seconds"] = round(time.monotonic() - began)
    path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".world"), help="folder with vae.pt")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "model", help="folder to write into")
    arguments = parser.parse_args()
    train(arguments.work, arguments.out)


if __name__ == "__main__":
    main()
