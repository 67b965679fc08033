"""Trains the small IP-Adapter (base kind) on the frozen small model and the frozen image encoder.

    python -m tests.world.train_adapter --work .world --out tests/world/model

The method is that of Ye et al. (2308.06721): the diffusion loss with the picture's own
embedding as a second condition; text, picture or both are left out now and then. They are
left out more often than in the paper (5% each): a negative picture without words and a
neutral one beside words both have to be learnt in thousands of steps, not millions.
`to_k_ip` and `to_v_ip` start as copies of the text's, as in the authors' code. Texts are the
captions of `captions.py`, which leave things open, so the picture has something to say.

Every step draws its pictures, captions and noise from its own number, so a run that was
stopped and started again is the same run, to the bit on one thread.
"""

import argparse
import json
import os
import random
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionModelWithProjection

from lib_negguide import world
from lib_negguide.hosts.embedded import checkpoint
from tests.world import data, model, train_captioner, train_encoder
from tests.world.captioner import read
from tests.world.captions import caption
from tests.world.train_judge import augment

SEED = 6
TOKENS = 4
STEPS = 1600
BATCH = 64
LEARNING_RATE = 2e-3
WARM_UP = 100
EMA_DECAY = 0.998
SNR_CAP = 5.0
TEXT_ONLY, PICTURE_ONLY, NEITHER = 0.10, 0.15, 0.10
SAVE_EVERY = 250
NAME = "ip-adapter-world"


class ImageProjection(nn.Module):
    """The base kind's: `image_embeds` (B,96) to tokens (B,4,64)."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, TOKENS * context)
        self.norm = nn.LayerNorm(context)

    def forward(self, embeds: Tensor) -> Tensor:
        return self.norm(self.proj(embeds).unflatten(1, (TOKENS, -1)))


class ImageAttention(nn.Module):
    """`to_k_ip` and `to_v_ip` of one cross-attention layer, and that layer's forward with both."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.to_k_ip = nn.Linear(model.CONTEXT_DIM, layer.to_k.out_features, bias=False)
        self.to_v_ip = nn.Linear(model.CONTEXT_DIM, layer.to_v.out_features, bias=False)
        self.to_k_ip.load_state_dict(layer.to_k.state_dict())
        self.to_v_ip.load_state_dict(layer.to_v.state_dict())


def cross_attentions(unet: nn.Module) -> list[nn.Module]:
    """The `attn2` layers in the order of the checkpoints: input blocks, output blocks, middle last."""
    return [module for name, module in unet.named_modules() if name.endswith("attn2")]


class Adapter(nn.Module):
    """All weights of the adapter, by the names of the published checkpoints: `ip_adapter.1.to_k_ip.weight`, …"""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.image_proj = ImageProjection(train_encoder.WIDTH, model.CONTEXT_DIM)
        layers = cross_attentions(unet)
        self.ip_adapter = nn.ModuleDict({str(2 * index + 1): ImageAttention(layer) for index, layer in enumerate(layers)})


class Together:
    """Attention processor of one layer: attention to the texts plus attention to the picture's tokens."""

    def __init__(self, batch: "Conditions", image: ImageAttention) -> None:
        self.batch, self.image = batch, image

    def __call__(self, attn, hidden_states, *_, **__) -> Tensor:
        def heads(rows: Tensor) -> Tensor:
            return rows.unflatten(2, (attn.heads, -1)).transpose(1, 2)

        query, batch = heads(attn.to_q(hidden_states)), self.batch
        key, value = heads(attn.to_k(batch.texts)[batch.which]), heads(attn.to_v(batch.texts)[batch.which])
        out = F.scaled_dot_product_attention(query, key, value)
        key, value = heads(self.image.to_k_ip(batch.tokens)), heads(self.image.to_v_ip(batch.tokens))
        out = out + F.scaled_dot_product_attention(query, key, value)
        return attn.to_out[0](out.transpose(1, 2).flatten(2))


class Conditions:
    """What one batch is conditioned on: distinct texts (T,77,64), `which` (B,) of them, image tokens (B,4,64)."""

    texts: Tensor
    which: Tensor
    tokens: Tensor


def attach(unet: nn.Module, adapter: Adapter) -> Conditions:
    """Let the UNet read texts and pictures from the object returned instead of `encoder_hidden_states`."""
    batch = Conditions()
    for layer, image in zip(cross_attentions(unet), adapter.ip_adapter.values(), strict=True):
        layer.set_processor(Together(batch, image))
    return batch


@torch.no_grad()
def latents(work: Path, vae: nn.Module) -> Tensor:
    """Scaled latents (N,4,8,8) of the drawn pictures; kept in the work folder."""
    path = work / "adapter-latents.pt"
    if not path.exists():
        pixels, _ = data.draw_many("train", train_captioner.DRAWN)
        encoded = [vae.encode(data.to_float(part)).latent_dist.mean for part in pixels.split(50)]
        torch.save(torch.cat(encoded) * model.SCALE_FACTOR, path)
    return torch.load(path, weights_only=True)


@torch.no_grad()
def embeds(work: Path, encoder: CLIPVisionModelWithProjection) -> Tensor:
    """`image_embeds` (N,2,96) of the drawn pictures as the encoder was trained on them, plain and augmented."""
    path = work / "adapter-embeds.pt"
    if not path.exists():
        pixels = train_captioner.pictures(work)[0][: train_captioner.DRAWN]
        generator = torch.Generator().manual_seed(SEED)
        changed = torch.cat([(augment(part.float() / 255, generator) * 255).round().to(torch.uint8) for part in pixels.split(50)])
        torch.save(torch.stack([train_encoder.embed(encoder, pixels), train_encoder.embed(encoder, changed)], dim=1), path)
    return torch.load(path, weights_only=True)


def left_out(rng: random.Random) -> tuple[bool, bool]:
    """Whether a row goes without text, and whether without picture."""
    ways = {(False, True): TEXT_ONLY, (True, False): PICTURE_ONLY, (True, True): NEITHER}
    ways[False, False] = 1 - sum(ways.values())
    return rng.choices(list(ways), list(ways.values()))[0]


def rate(step: int) -> float:
    """Share of the learning rate: linear warm-up, then half a cosine down to 1%."""
    angle = torch.tensor(torch.pi * step / STEPS)
    return min(1.0, (step + 1) / WARM_UP) * (0.01 + 0.99 * 0.5 * (1 + float(torch.cos(angle))))


class Run:
    """One training run: its state, a step, saving and loading."""

    def __init__(self, work: Path, out: Path) -> None:
        self.path, self.file = work / "adapter.pt", out / f"{NAME}.safetensors"
        host = checkpoint.load(world.model())
        self.unet, self.host = host.unet.requires_grad_(False), host
        self.encoder = CLIPVisionModelWithProjection.from_pretrained(str(out / "image_encoder"), torch_dtype=torch.float32)
        self.latents, self.embeds = latents(work, host.vae), embeds(work, self.encoder)
        self.shown = [read(text) for text in train_captioner.pictures(work)[1][: train_captioner.DRAWN]]
        self.alphas = model.alphas_cumprod().float()
        self.known: dict[str, Tensor] = {}
        torch.manual_seed(SEED)
        self.adapter, self.ema = Adapter(self.unet), Adapter(self.unet)
        self.ema.load_state_dict(self.adapter.state_dict())
        self.ema.requires_grad_(False)
        self.batch = attach(self.unet, self.adapter)
        self.optimizer = torch.optim.AdamW(self.adapter.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        self.step, self.seconds = 0, 0.0
        self.losses: list[tuple[int, float]] = []

    def load(self) -> None:
        if not self.path.exists():
            return
        saved = torch.load(self.path, weights_only=True)
        self.adapter.load_state_dict(saved["adapter"])
        self.ema.load_state_dict(saved["ema"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.losses = [tuple(entry) for entry in saved["losses"]]

    def save(self) -> None:
        state = {"adapter": self.adapter.state_dict(), "ema": self.ema.state_dict(), "optimizer": self.optimizer.state_dict(),
                 "step": self.step, "seconds": self.seconds, "losses": self.losses}
        torch.save(state, self.path.with_suffix(".partial"))
        os.replace(self.path.with_suffix(".partial"), self.path)

    @torch.no_grad()
    def texts(self, captions: list[str]) -> Tensor:
        """Embeddings (T,77,64) of captions, each computed once."""
        for text in captions:
            if text not in self.known:
                self.known[text] = self.host.encode([text]).crossattn
        return torch.cat([self.known[text] for text in captions])

    def loss(self) -> Tensor:
        """Noise prediction error of the batch of this step, weighted by min(SNR, 5) / SNR as in the UNet's training."""
        generator = torch.Generator().manual_seed(SEED * 1_000_000 + self.step)
        picked = torch.randint(len(self.latents), (BATCH,), generator=generator)
        timesteps = torch.randint(model.TRAIN_STEPS, (BATCH,), generator=generator)
        noise = torch.randn(BATCH, *self.latents.shape[1:], generator=generator)
        way = torch.randint(2, (BATCH,), generator=generator)
        alpha = self.alphas[timesteps, None, None, None]
        noisy = alpha.sqrt() * self.latents[picked] + (1 - alpha).sqrt() * noise

        rng = random.Random(f"adapter {SEED} {self.step}")
        without = [left_out(rng) for _ in range(BATCH)]
        captions = ["" if no_text else caption(self.shown[index], rng) for index, (no_text, _) in zip(picked, without, strict=True)]
        distinct = sorted(set(captions))
        self.batch.texts = self.texts(distinct)
        self.batch.which = torch.tensor([distinct.index(text) for text in captions])
        seen = torch.tensor([[not no_picture] for _, no_picture in without])
        self.batch.tokens = self.adapter.image_proj(self.embeds[picked, way] * seen)
        predicted = self.unet(noisy, timesteps, self.batch.texts).sample
        snr = alpha.flatten() / (1 - alpha.flatten())
        error = F.mse_loss(predicted, noise, reduction="none").mean(dim=(1, 2, 3))
        return (error * snr.clamp(max=SNR_CAP) / snr).mean()

    def advance(self) -> float:
        """One step of optimizer and EMA; returns the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = LEARNING_RATE * rate(self.step)
        loss = self.loss()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.adapter.parameters(), 1.0)
        self.optimizer.step()
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.adapter.parameters()), 1 - decay)
        self.step += 1
        return loss.item()

    def export(self, file: Path) -> None:
        """The checkpoint, flattened as the published ones are, fp16."""
        state = {key: value.half().contiguous() for key, value in self.ema.state_dict().items()}
        partial = file.with_suffix(".partial")
        save_file(state, partial, metadata={"format": "pt"})
        partial.replace(file)


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
            run.losses.append((run.step, round(total / count, 5)))
            print(f"step {run.step} loss {total / count:.5f} {run.seconds:.0f} s", flush=True)
            total, count = 0.0, 0
        if run.step % SAVE_EVERY == 0 or run.step == STEPS:
            run.save()
            run.export(work / f"{NAME}.safetensors")
    run.export(run.file)
    record = {"seed": SEED, "pictures": len(run.latents), "steps": STEPS, "batch": BATCH, "seconds": round(run.seconds),
              "parameters": sum(weight.numel() for weight in run.adapter.parameters()), "losses": run.losses}
    run.file.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({name: value for name, value in record.items() if name != "losses"}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".world"), help="folder for intermediate data")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "model", help="folder with image_encoder/, to write into")
    arguments = parser.parse_args()
    train(arguments.work, arguments.out)


if __name__ == "__main__":
    main()
