"""Trains the small captioner, a BLIP of transformers, on drawn pictures, and measures it on held-out ones.

    python -m tests.world.train_captioner --work .world --out tests/world/model

A quarter of the pictures went through the checkpoint's autoencoder with noise on the
latents, since that is how a latent diffusion model's pictures look; no generated picture
is used. Every step draws its pictures from its own number, so a run that was stopped and
started again is the same run, to the bit on one thread.

In every eighth batch captions are followed by some [PAD], which decoding leaves out: whoever
asks a short caption for a minimum length (5 tokens are usual) then gets the same words, not
invented ones.
"""

import argparse
import json
import os
import random
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertTokenizerFast, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

from lib_negguide import world
from lib_negguide.hosts.embedded import checkpoint
from tests.world import data, model
from tests.world.captioner import SPECIALS, VOCABULARY, Captioner, agrees, describe
from tests.world.draw import SIZE, Attributes, draw_background
from tests.world.train_judge import augment

SEED = 4
DRAWN = 24_000
BACKGROUNDS = 1_000
SOFT_SHARE = 4  # every fourth picture through the autoencoder
SOFT_NOISE = 0.4  # at most, as a share of the latents' deviation
STEPS = 2000
BATCH = 64
LEARNING_RATE = 1e-3
WARM_UP = 100
FILLED_EVERY, FILLERS = 8, 30
SAVE_EVERY = 250
HELD_OUT = 2000

WIDTH = 96
VISION = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": 4, "num_attention_heads": 4,
          "image_size": SIZE, "patch_size": 8, "projection_dim": WIDTH}
TEXT = {"hidden_size": WIDTH, "encoder_hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 64, "projection_dim": WIDTH, "vocab_size": len(VOCABULARY)}


def build() -> BlipForConditionalGeneration:
    """An untrained captioner of 0.8 M parameters."""
    pad, sep, dec = (SPECIALS.index(name) for name in ("[PAD]", "[SEP]", "[DEC]"))
    marks = {"pad_token_id": pad, "sep_token_id": sep, "eos_token_id": sep, "bos_token_id": dec}
    return BlipForConditionalGeneration(BlipConfig(text_config=TEXT | marks, vision_config=VISION, projection_dim=WIDTH))


def processor(folder: Path) -> BlipProcessor:
    """Image processor and tokenizer; the vocabulary is written into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    tokenizer = BertTokenizerFast(vocab_file=str(folder / "vocab.txt"), model_max_length=64)
    names = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"}
    tokenizer.add_special_tokens(names | {"bos_token": "[DEC]"})  # so that decoding can skip them
    return BlipProcessor(BlipImageProcessor(size={"height": SIZE, "width": SIZE}), tokenizer)


@torch.no_grad()
def soften(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures (N,3,64,64) uint8 through the checkpoint's autoencoder, with noise of random strength on the latents."""
    vae = checkpoint.load(world.model()).vae
    softened = []
    for part in pixels.split(50):
        latents = vae.encode(data.to_float(part)).latent_dist.mean
        noise = torch.randn(latents.shape, generator=generator) / model.SCALE_FACTOR
        latents += noise * torch.rand(len(latents), 1, 1, 1, generator=generator) * SOFT_NOISE
        softened.append(((vae.decode(latents).sample.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8))
    return torch.cat(softened)


def backgrounds(name: str, count: int) -> Tensor:
    """Pictures (count,3,64,64) uint8 with nothing on them."""
    import numpy as np

    pictures = [np.asarray(draw_background(f"{name} {index}")).copy() for index in range(count)]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def pictures(work: Path) -> tuple[Tensor, list[str]]:
    """All pictures of the training with their captions; kept in the work folder."""
    path = work / "captioner-pictures.pt"
    if not path.exists():
        drawn, shown = data.draw_many("train", DRAWN)
        pixels = torch.cat([drawn, backgrounds("captioner background", BACKGROUNDS)])
        pixels[::SOFT_SHARE] = soften(pixels[::SOFT_SHARE], torch.Generator().manual_seed(SEED))
        work.mkdir(parents=True, exist_ok=True)
        texts = [describe(attributes) for attributes in shown + [Attributes("none")] * BACKGROUNDS]
        torch.save({"pixels": pixels, "texts": texts}, path)
    saved = torch.load(path, weights_only=True)
    return saved["pixels"], saved["texts"]


def targets(texts: list[str], tokenizer, step: int) -> Tensor:
    """Ids (B,T) of a batch's captions from [DEC] to [SEP]; -1 behind the end."""
    rng = random.Random(f"captioner {SEED} {step}")
    dec, sep, pad = (SPECIALS.index(name) for name in ("[DEC]", "[SEP]", "[PAD]"))
    rows = []
    for words in tokenizer(texts, add_special_tokens=False).input_ids:
        fillers = rng.randint(0, FILLERS) if step % FILLED_EVERY == FILLED_EVERY - 1 else 0
        rows.append(torch.tensor([dec, *words, *[pad] * fillers, sep]))
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)


def rate(step: int) -> float:
    """Share of the learning rate: linear warm-up, then half a cosine down to 1%."""
    angle = torch.tensor(torch.pi * step / STEPS)
    return min(1.0, (step + 1) / WARM_UP) * (0.01 + 0.99 * 0.5 * (1 + float(torch.cos(angle))))


class Run:
    """One training run: its state, a step, saving and loading."""

    def __init__(self, work: Path, out: Path) -> None:
        self.path, self.folder = work / "captioner.pt", out / "captioner"
        self.pixels, self.texts = pictures(work)
        torch.manual_seed(SEED)
        self.model = build()
        self.processor = processor(self.folder)
        scale = self.processor.image_processor
        self.mean, self.std = (torch.tensor(value).view(1, 3, 1, 1) for value in (scale.image_mean, scale.image_std))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.02, fused=True)
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

    def advance(self) -> float:
        """One step of the optimizer; returns the loss, the cross entropy per token."""
        generator = torch.Generator().manual_seed(SEED * 1_000_000 + self.step)
        chosen = torch.randint(len(self.pixels), (BATCH,), generator=generator)
        images = (augment(self.pixels[chosen].float() / 255, generator) - self.mean) / self.std
        ids = targets([self.texts[index] for index in chosen], self.processor.tokenizer, self.step)
        there = ids >= 0
        seen = self.model.vision_model(pixel_values=images).last_hidden_state
        logits = self.model.text_decoder(input_ids=ids.clamp(min=0), attention_mask=there.long(), encoder_hidden_states=seen).logits
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), ignore_index=-1)
        for group in self.optimizer.param_groups:
            group["lr"] = LEARNING_RATE * rate(self.step)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return loss.item()

    def export(self) -> None:
        """The folder that `from_pretrained` loads, weights as fp16 safetensors."""
        half = build().half()
        half.load_state_dict(self.model.state_dict())
        half.save_pretrained(str(self.folder), safe_serialization=True)
        self.processor.save_pretrained(str(self.folder))


def shares(captioner: Captioner, pixels: Tensor, shown: list[Attributes]) -> dict[str, float]:
    """Share of captions that name exactly what is there: of all, by kind and by each thing shown."""
    right: dict[str, list[bool]] = {}
    for caption, attributes in zip(captioner(pixels), shown, strict=True):
        things = [*attributes.worn, *(word for thing in attributes.shapes for word in thing)]
        for group in dict.fromkeys(["all", attributes.kind, *things]):
            right.setdefault(group, []).append(agrees(caption, attributes))
    return {group: round(sum(answers) / len(answers), 4) for group, answers in right.items()}


def measure(run: Run) -> dict:
    """Held-out figures of the exported folder, for the record."""
    captioner = Captioner.load(run.folder)
    drawn, shown = data.draw_many("captioner", HELD_OUT)
    soft = soften(drawn[::4], torch.Generator().manual_seed(SEED + 1))
    empty = backgrounds("captioner held out", 200)
    return {"exactly right, crisp": shares(captioner, drawn, shown),
            "exactly right, through the autoencoder": shares(captioner, soft, shown[::4]),
            "exactly right, empty": shares(captioner, empty, [Attributes("none")] * len(empty))["all"]}


def train(work: Path, out: Path) -> None:
    torch.set_num_threads(1)  # rounding depends on it
    run = Run(work, out)
    run.load()
    began = time.monotonic() - run.seconds
    total, count = 0.0, 0
    held_out, truth = data.draw_many("captioner check", 200)
    while run.step < STEPS:
        total, count = total + run.advance(), count + 1
        run.seconds = time.monotonic() - began
        if run.step % 50 == 0:
            run.losses.append((run.step, round(total / count, 4)))
            print(f"step {run.step} loss {total / count:.4f} {run.seconds:.0f} s", flush=True)
            total, count = 0.0, 0
        if run.step % SAVE_EVERY == 0 or run.step == STEPS:
            run.save()
            print(shares(Captioner(run.model, run.processor), held_out, truth), flush=True)
            run.model.train()
    run.export()
    parameters = sum(weight.numel() for weight in run.model.parameters())
    record = {"seed": SEED, "pictures": len(run.pixels), "steps": STEPS, "batch": BATCH, "seconds": round(run.seconds),
              "parameters": parameters, "held out": HELD_OUT, **measure(run), "losses": run.losses}
    (out / "captioner.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({name: value for name, value in record.items() if name != "losses"}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".world"), help="folder for intermediate data")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "model", help="folder to write into")
    arguments = parser.parse_args()
    train(arguments.work, arguments.out)


if __name__ == "__main__":
    main()
