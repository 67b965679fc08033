"""Writes the one checkpoint file, its yaml and its tokenizer folder.

    python -m tests.world.export --from .world/unet.pt --vae .world/vae.pt --out tests/world/model
    python -m tests.world.export --random --out DIR
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.world import keys, model, words

NAME = "negguide-world"

YAML = f"""\
# The small model in the original Latent Diffusion terms. `version` is the tokenizer
# folder; whoever installs the model into a WebUI writes its absolute path here.
model:
  target: ldm.models.diffusion.ddpm.LatentDiffusion
  params:
    linear_start: {model.BETA_START}
    linear_end: {model.BETA_END:.4f}
    num_timesteps_cond: 1
    log_every_t: 200
    timesteps: {model.TRAIN_STEPS}
    first_stage_key: jpg
    cond_stage_key: txt
    image_size: {model.LATENT_SIZE}
    channels: {model.LATENT_CHANNELS}
    cond_stage_trainable: false
    conditioning_key: crossattn
    monitor: val/loss_simple_ema
    scale_factor: {model.SCALE_FACTOR}
    use_ema: false
    unet_config:
      target: ldm.modules.diffusionmodules.openaimodel.UNetModel
      params:
        image_size: {model.LATENT_SIZE}
        in_channels: {model.LATENT_CHANNELS}
        out_channels: {model.LATENT_CHANNELS}
        model_channels: 64
        attention_resolutions: [2, 1]
        num_res_blocks: 1
        channel_mult: [1, 2]
        num_heads: 4
        use_spatial_transformer: true
        transformer_depth: 1
        context_dim: {model.CONTEXT_DIM}
        use_checkpoint: false
        legacy: false
    first_stage_config:
      target: ldm.models.autoencoder.AutoencoderKL
      params:
        embed_dim: {model.LATENT_CHANNELS}
        monitor: val/rec_loss
        ddconfig:
          double_z: true
          z_channels: {model.LATENT_CHANNELS}
          resolution: {model.IMAGE_SIZE}
          in_channels: 3
          out_ch: 3
          ch: 64
          ch_mult: [1, 1, 1, 1]
          num_res_blocks: 0
          attn_resolutions: []
          dropout: 0.0
        lossconfig:
          target: torch.nn.Identity
    cond_stage_config:
      target: ldm.modules.encoders.modules.FrozenCLIPEmbedder
      params:
        version: tokenizer
"""


def full_text_state(compact: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """State of the text encoder with all 49,408 rows, from that with the trained rows only."""
    state = dict(compact)
    table = "text_model.embeddings.token_embedding.weight"
    state[table] = compact[table][words.compact_map(folder)]
    return state


def write(out: Path, unet: dict[str, Tensor], vae: dict[str, Tensor], text: dict[str, Tensor]) -> Path:
    """Write checkpoint (fp16), yaml and tokenizer into `out`; `text` has the trained rows only."""
    words.write_tokenizer(out / "tokenizer")
    state = keys.to_original(unet, vae, full_text_state(text, out / "tokenizer"))
    state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    path = out / f"{NAME}.safetensors"
    partial = path.with_suffix(".partial")
    save_file({key: value.contiguous() for key, value in state.items()}, partial, metadata={"format": "pt"})
    partial.replace(path)
    (out / f"{NAME}.yaml").write_text(YAML)
    return path


def random_states(seed: int, folder: Path) -> tuple[dict, dict, dict]:
    """Untrained states whose output does depend on the prompt: for tests of plumbing."""
    torch.manual_seed(seed)
    unet, vae = model.build_unet(), model.build_vae()
    text = model.build_text(len(words.known_ids(folder)) + 1)
    with torch.no_grad():
        for name, weight in unet.named_parameters():
            if "attn2.to_out" in name or "attn2.to_v" in name:
                weight.mul_(4)
    return unet.state_dict(), vae.state_dict(), text.state_dict()


def record(trained: dict, vae: dict) -> dict:
    """What is kept beside the weights of how they came about; losses as [step, loss]."""
    from tests.world import train_unet, train_vae

    return {
        "autoencoder": {
            "seed": train_vae.SEED,
            "steps": vae["steps"],
            "batch": train_vae.BATCH,
            "seconds": round(vae["seconds"]),
            "psnr of held-out pictures, dB": round(vae["psnr"], 2),
            "losses": [[step, round(loss, 4)] for step, loss in vae["losses"]],
        },
        "unet and text encoder": {
            "seed": train_unet.SEED,
            "steps": trained["step"],
            "batch": train_unet.BATCH,
            "seconds": round(trained["seconds"]),
            "losses": [[step, round(loss, 4)] for step, loss in trained["losses"]],
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", type=Path, help="checkpoint of train_unet.py")
    parser.add_argument("--vae", type=Path, help="checkpoint of train_vae.py")
    parser.add_argument("--random", action="store_true", help="untrained weights instead")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    arguments = parser.parse_args()
    if arguments.random:
        words.write_tokenizer(arguments.out / "tokenizer")
        path = write(arguments.out, *random_states(0, arguments.out / "tokenizer"))
    elif arguments.source and arguments.vae:
        trained = torch.load(arguments.source, map_location="cpu", weights_only=True)
        vae = torch.load(arguments.vae, map_location="cpu", weights_only=True)
        path = write(arguments.out, trained["ema"]["unet"], vae["vae"], trained["ema"]["text"])
        (arguments.out / "training.json").write_text(json.dumps(record(trained, vae)) + "\n")
    else:
        parser.error("give --from and --vae, or --random")
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
