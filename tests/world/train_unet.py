"""Trains UNet and text encoder together on the latents of the drawn pictures.

    python -m tests.world.train_unet --work .world

Needs `vae.pt` and `latents.pt` of `train_vae.py` in the same folder. Each step draws its
pictures, captions and noise from its own number, so a run that was stopped and started
again ends at the same weights as one that was not.
"""

import argparse
import os
import random
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.world import data, export, model, words
from tests.world.captions import EMPTY_SHARE, caption
from tests.world.draw import Attributes

SEED = 2
STEPS = 4000
BATCH = 64
LEARNING_RATE = 8e-4
WARM_UP = 200
FLAT_STEPS = 2400  # at full rate before it falls
EMA_DECAY = 0.999
SNR_CAP = 5.0
SAVE_EVERY = 250
SNAPSHOT_EVERY = 500


class Texts:
    """Captions to rows of the compact embedding table."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows = words.compact_map(folder)
        self._known: dict[str, Tensor] = {}

    def ids(self, texts: list[str]) -> Tensor:
        """Compact ids (len(texts),77)."""
        for text in texts:
            if text not in self._known:
                self._known[text] = self._rows[words.token_ids([text], self._folder)[0]]
        return torch.stack([self._known[text] for text in texts])


class Trainee(nn.Module):
    """UNet and text encoder as one module, so that optimizer and EMA see both."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.unet = model.build_unet()
        self.text = model.build_text(vocabulary)

    def forward(self, noisy: Tensor, timesteps: Tensor, ids: Tensor, which: Tensor) -> Tensor:
        """Predicted noise (B,4,8,8); `ids` holds each caption once, `which` (B,) picks among them."""
        context = self.text(ids).last_hidden_state[which]
        return self.unet(noisy, timesteps, context).sample


def captions_of(shown: list[Attributes], step: int) -> list[str]:
    """The captions of one batch; some are empty, for classifier-free guidance."""
    rng = random.Random(f"captions {SEED} {step}")
    return ["" if rng.random() < EMPTY_SHARE else caption(attributes, rng) for attributes in shown]


def rate(step: int) -> float:
    """Share of the learning rate: linear warm-up, flat, then half a cosine down to 1%."""
    if step < FLAT_STEPS:
        return min(1.0, (step + 1) / WARM_UP)
    angle = torch.tensor(torch.pi * (step - FLAT_STEPS) / (STEPS - FLAT_STEPS))
    return 0.01 + 0.99 * 0.5 * (1 + float(torch.cos(angle)))


def parameter_groups(trainee: Trainee) -> list[dict]:
    """Weight decay on matrices and kernels only: it would pull the embedding's mean to 0."""
    decayed = [weight for weight in trainee.parameters() if weight.ndim > 1]
    others = [weight for weight in trainee.parameters() if weight.ndim <= 1]
    return [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]


class Run:
    """One training run: its state, a step, saving and loading."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.path = work / "unet.pt"
        self.texts = Texts(work / "tokenizer")
        self.latents = torch.load(work / "latents.pt", weights_only=True)
        _, self.shown = data.training_pictures(work)
        self.alphas = model.alphas_cumprod().float()
        torch.manual_seed(SEED)
        vocabulary = len(words.known_ids(work / "tokenizer")) + 1
        self.trainee, self.ema = Trainee(vocabulary), Trainee(vocabulary)
        self.ema.load_state_dict(self.trainee.state_dict())
        self.ema.requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.trainee), lr=LEARNING_RATE, betas=(0.9, 0.99), fused=True
        )
        self.step, self.seconds = 0, 0.0
        self.losses: list[tuple[int, float]] = []

    def load(self) -> None:
        if not self.path.exists():
            return
        saved = torch.load(self.path, weights_only=True)
        self.trainee.unet.load_state_dict(saved["unet"])
        self.trainee.text.load_state_dict(saved["text"])
        self.ema.unet.load_state_dict(saved["ema"]["unet"])
        self.ema.text.load_state_dict(saved["ema"]["text"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.losses = [tuple(entry) for entry in saved["losses"]]

    def save(self) -> None:
        state = {
            "unet": self.trainee.unet.state_dict(),
            "text": self.trainee.text.state_dict(),
            "ema": {"unet": self.ema.unet.state_dict(), "text": self.ema.text.state_dict()},
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "losses": self.losses,
        }
        torch.save(state, self.path.with_suffix(".partial"))
        os.replace(self.path.with_suffix(".partial"), self.path)

    def loss(self, step: int) -> Tensor:
        """Noise prediction error of the batch of one step, weighted by min(SNR, 5) / SNR."""
        generator = torch.Generator().manual_seed(SEED * 1_000_000 + step)
        picked = torch.randint(len(self.latents), (BATCH,), generator=generator)
        timesteps = torch.randint(model.TRAIN_STEPS, (BATCH,), generator=generator)
        noise = torch.randn(BATCH, *self.latents.shape[1:], generator=generator)
        alpha = self.alphas[timesteps, None, None, None]
        noisy = alpha.sqrt() * self.latents[picked] + (1 - alpha).sqrt() * noise
        texts = captions_of([self.shown[index] for index in picked], step)
        distinct = sorted(set(texts))
        which = torch.tensor([distinct.index(text) for text in texts])
        predicted = self.trainee(noisy, timesteps, self.texts.ids(distinct), which)
        snr = alpha.flatten() / (1 - alpha.flatten())
        error = F.mse_loss(predicted, noise, reduction="none").mean(dim=(1, 2, 3))
        return (error * snr.clamp(max=SNR_CAP) / snr).mean()

    def advance(self) -> float:
        """One step of optimizer and EMA; returns the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = LEARNING_RATE * rate(self.step)
        loss = self.loss(self.step)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.trainee.parameters(), 1.0)
        self.optimizer.step()
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.trainee.parameters()), 1 - decay)
        self.step += 1
        return loss.item()

    def snapshot(self, out: Path) -> None:
        """Export the EMA weights of the moment."""
        vae = torch.load(self.work / "vae.pt", weights_only=True)["vae"]
        export.write(out, self.ema.unet.state_dict(), vae, self.ema.text.state_dict())


def train(work: Path, snapshots: Path | None) -> None:
    words.write_tokenizer(work / "tokenizer")
    run = Run(work)
    run.load()
    began = time.monotonic() - run.seconds
    total, count = 0.0, 0
    while run.step < STEPS:
        total, count = total + run.advance(), count + 1
        run.seconds = time.monotonic() - began
        if run.step % 50 == 0:
            run.losses.append((run.step, total / count))
            print(f"step {run.step} loss {total / count:.4f} {run.seconds:.0f} s", flush=True)
            total, count = 0.0, 0
        if run.step % SAVE_EVERY == 0 or run.step == STEPS:
            run.save()
        if snapshots and run.step % SNAPSHOT_EVERY == 0:
            run.snapshot(snapshots)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".world"), help="folder for intermediate data")
    parser.add_argument("--snapshot", type=Path, help=f"export into this folder every {SNAPSHOT_EVERY} steps")
    arguments = parser.parse_args()
    train(arguments.work, arguments.snapshot)


if __name__ == "__main__":
    main()
