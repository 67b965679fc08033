"""Names of the weights: from diffusers' to those of the original SD1 checkpoints.

diffusers' `convert_ldm_unet_checkpoint` and `convert_ldm_vae_checkpoint` go the
other way; a test holds the two together.
"""

import re

from torch import Tensor

from tests.world.model import UNET_CONFIG, VAE_CONFIG

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TEXT_PREFIX = "cond_stage_model.transformer."

_UNET_TOP = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def unet_key(key: str) -> str:
    """Original name of one weight of the UNet, without the prefix."""
    name, leaf = key.rsplit(".", 1)
    if name in _UNET_TOP:
        return f"{_UNET_TOP[name]}.{leaf}"
    per_block = UNET_CONFIG["layers_per_block"] + 1
    block = re.match(r"(?:(down|up)_blocks\.(\d+)|mid_block)\.(\w+)\.(\d+)\.(.+)", key)
    side, number, part, index, rest = block.groups()
    index = int(index)
    if part == "resnets":
        inner, leaf = rest.rsplit(".", 1)
        rest = f"{_UNET_RESNET[inner]}.{leaf}"
    if side is None:
        return f"middle_block.{2 * index if part == 'resnets' else 1}.{rest}"
    number = int(number)
    if part == "downsamplers":
        return f"input_blocks.{(number + 1) * per_block}.0.op.{leaf}"
    if part == "upsamplers":
        return f"output_blocks.{number * per_block + per_block - 1}.2.{rest}"
    slot = 0 if part == "resnets" else 1
    first = 1 if side == "down" else 0
    return f"{'input' if side == 'down' else 'output'}_blocks.{first + number * per_block + index}.{slot}.{rest}"


def vae_key(key: str) -> str:
    """Original name of one weight of the autoencoder, without the prefix."""
    last = len(VAE_CONFIG["block_out_channels"]) - 1
    key = re.sub(r"down_blocks\.(\d+)\.", r"down.\1.", key)
    key = re.sub(r"up_blocks\.(\d+)\.", lambda match: f"up.{last - int(match[1])}.", key)
    key = re.sub(r"(down|up)samplers\.0\.", r"\1sample.", key)
    key = re.sub(r"mid_block\.resnets\.(\d)\.", lambda match: f"mid.block_{int(match[1]) + 1}.", key)
    key = key.replace(".resnets.", ".block.").replace("conv_shortcut", "nin_shortcut")
    key = key.replace("conv_norm_out", "norm_out")
    attention = re.match(r"(.*)mid_block\.attentions\.0\.(.+)\.(weight|bias)$", key)
    if attention:
        key = f"{attention[1]}mid.attn_1.{_VAE_ATTENTION[attention[2]]}.{attention[3]}"
    return key


def to_original(unet: dict[str, Tensor], vae: dict[str, Tensor], text: dict[str, Tensor]) -> dict[str, Tensor]:
    """One state dict in the original layout from those of the three parts.

    The autoencoder's attention is linear in diffusers and a 1×1 convolution in the original.
    """
    state = {UNET_PREFIX + unet_key(key): value for key, value in unet.items()}
    for key, value in vae.items():
        name = vae_key(key)
        if ".attn_1." in name and value.ndim == 2:
            value = value[:, :, None, None]
        state[VAE_PREFIX + name] = value
    state.update({TEXT_PREFIX + key: value for key, value in text.items()})
    return state
