"""Trains the autoencoder on drawn pictures, then whitens its latents.

    python -m tests.world.train_vae --work .world
"""

import argparse
import math
import os
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from tests.world import data, model

SEED = 1
STEPS = 2800
BATCH = 8
LEARNING_RATE = 1.5e-3
WARM_UP = 100
KL_WEIGHT = 1e-6
FOREGROUND_WEIGHT = 3.0
EDGE_WEIGHT = 0.5
SAVE_EVERY = 500
# Of whitened latents, whose own deviation is 1.
POSTERIOR_DEVIATION = 0.02


def foreground(pixels: Tensor) -> Tensor:
    """Weights (B,1,H,W): 1 on the background, the colour of the corner pixel, 3 elsewhere."""
    corner = pixels[:, :, :1, :1]
    differs = (pixels - corner).abs().amax(1, keepdim=True) > 0.06
    return 1 + (FOREGROUND_WEIGHT - 1) * differs.float()


def loss_terms(vae: AutoencoderKL, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Reconstruction (L1 and L2 of pixels, L1 of their differences) and KL, both means."""
    posterior = vae.encode(pixels).latent_dist
    rebuilt = vae.decode(posterior.sample()).sample
    weights = foreground(pixels)
    error = rebuilt - pixels
    pixel = (weights * (error.abs() + 2 * error.square())).mean()
    edges = F.l1_loss(rebuilt.diff(dim=2), pixels.diff(dim=2)) + F.l1_loss(rebuilt.diff(dim=3), pixels.diff(dim=3))
    return pixel + EDGE_WEIGHT * edges, posterior.kl().mean()


def rate(step: int) -> float:
    """Share of the learning rate: linear warm-up, then linear to 0."""
    return min((step + 1) / WARM_UP, (STEPS - step) / STEPS)


@torch.no_grad()
def encode_all(vae: AutoencoderKL, pixels: Tensor, batch: int = 100) -> Tensor:
    """Means of the latents (N,4,8,8) of uint8 pixels (N,3,64,64), without SD's scale factor."""
    return torch.cat([vae.encode(data.to_float(part)).latent_dist.mean for part in pixels.split(batch)])


@torch.no_grad()
def whiten(vae: AutoencoderKL, latents: Tensor) -> None:
    """Fold an affine map into the quant convolutions, so that latents × 0.18215 are white.

    The four channels get mean 0, variance 1 and no correlation (the symmetric square
    root, so each stays closest to what it was); decoding undoes the map exactly. The
    posterior's deviation becomes POSTERIOR_DEVIATION, so that img2img keeps what it got.
    """
    rows = latents.permute(0, 2, 3, 1).reshape(-1, model.LATENT_CHANNELS).double()
    mean = rows.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov(rows.T))
    scale = 1 / model.SCALE_FACTOR
    forward = vectors @ torch.diag(scale * values.rsqrt()) @ vectors.T
    backward = torch.linalg.inv(forward)
    channels = model.LATENT_CHANNELS
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.weight[channels:] = 0
    quant.bias[channels:] = 2 * math.log(scale * POSTERIOR_DEVIATION)
    weight, bias = quant.weight[:channels, :, 0, 0].double(), quant.bias[:channels].double()
    quant.weight[:channels, :, 0, 0] = (forward @ weight).float()
    quant.bias[:channels] = (forward @ (bias - mean)).float()
    weight = post.weight[:, :, 0, 0].double()
    post.bias += (weight @ mean).float()
    post.weight[:, :, 0, 0] = (weight @ backward).float()


@torch.no_grad()
def psnr(vae: AutoencoderKL, pixels: Tensor) -> float:
    """Mean peak signal-to-noise ratio in dB of rebuilt pictures, from uint8 pixels."""
    original = data.to_float(pixels)
    rebuilt = vae.decode(vae.encode(original).latent_dist.mean).sample.clamp(-1, 1)
    error = ((rebuilt - original) / 2).square().mean(dim=(1, 2, 3))
    return float((-10 * torch.log10(error)).mean())


def train(work: Path) -> None:
    pixels, _ = data.training_pictures(work)
    path = work / "vae.pt"
    torch.manual_seed(SEED)
    vae = model.build_vae().to(memory_format=torch.channels_last)  # a quarter faster
    optimizer = torch.optim.AdamW(vae.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=1e-4)
    start, seconds = 0, 0.0
    losses: list[tuple[int, float]] = []
    resume = work / "vae-resume.pt"
    if resume.exists():
        saved = torch.load(resume, weights_only=True)
        vae.load_state_dict(saved["vae"])
        optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["random"])
        start, seconds, losses = saved["step"], saved["seconds"], saved["losses"]
    began = time.monotonic() - seconds
    for step in range(start, STEPS):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * rate(step)
        batch = data.to_float(pixels[torch.randint(len(pixels), (BATCH,))])
        reconstruction, kl = loss_terms(vae, batch)
        optimizer.zero_grad()
        (reconstruction + KL_WEIGHT * kl).backward()
        norm = torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0:
            spent = time.monotonic() - began
            losses.append((step, reconstruction.item()))
            print(f"step {step} loss {reconstruction:.4f} kl {kl:.0f} gradient {norm:.2f} {spent:.0f} s", flush=True)
        if (step + 1) % SAVE_EVERY == 0:
            state = {"vae": vae.state_dict(), "optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}
            state |= {"step": step + 1, "seconds": time.monotonic() - began, "losses": losses}
            torch.save(state, resume.with_suffix(".partial"))
            os.replace(resume.with_suffix(".partial"), resume)
    held_out, _ = data.draw_many("held out", 200)
    whiten(vae, encode_all(vae, pixels[:5000]))
    state = {"vae": vae.state_dict(), "psnr": psnr(vae, held_out), "losses": losses}
    print(f"psnr {state['psnr']:.2f} dB", flush=True)
    torch.save(state | {"steps": STEPS, "seconds": time.monotonic() - began}, path)
    resume.unlink(missing_ok=True)
    torch.save(encode_all(vae, pixels) * model.SCALE_FACTOR, work / "latents.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".world"), help="folder for intermediate data")
    train(parser.parse_args().work)


if __name__ == "__main__":
    main()
