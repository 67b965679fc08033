"""The shapes of the small model, and how to build its three parts.

The figures here, the yaml that `export.py` writes and the text config in the
tokenizer folder describe the same architecture.
"""

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

IMAGE_SIZE = 64
LATENT_SIZE = 8
LATENT_CHANNELS = 4
SCALE_FACTOR = 0.18215
CONTEXT_DIM = 64
TOKENS = 77
VOCABULARY = 49408
BOS, EOS = 49406, 49407
TRAIN_STEPS = 1000
BETA_START, BETA_END = 0.00085, 0.012

UNET_CONFIG = {
    "sample_size": LATENT_SIZE,
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "block_out_channels": (64, 128),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D",) * 2,
    "up_block_types": ("CrossAttnUpBlock2D",) * 2,
    "cross_attention_dim": CONTEXT_DIM,
    "attention_head_dim": 4,  # diffusers' name for the number of heads
}

VAE_CONFIG = {
    "sample_size": IMAGE_SIZE,
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (64,) * 4,
    "latent_channels": LATENT_CHANNELS,
    "layers_per_block": 0,
    "scaling_factor": SCALE_FACTOR,
}

# The mean of a token's embedding. A WebUI's emphasis rescales by the mean of the whole
# embedding, so a final LayerNorm that leaves it at 0 makes "(word:1.2)" blow up.
EMBEDDING_MEAN = 0.2


def text_config(vocabulary: int = VOCABULARY) -> CLIPTextConfig:
    """Config of the text encoder; training uses a smaller `vocabulary` (see `words.py`)."""
    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=CONTEXT_DIM,
        intermediate_size=4 * CONTEXT_DIM,
        projection_dim=CONTEXT_DIM,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        hidden_act="quick_gelu",
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=1,  # as in SD1's own config; the tokenizer pads with <|endoftext|>
    )


def build_unet() -> UNet2DConditionModel:
    """UNet of 4.2 M parameters: latents (B,4,8,8), context (B,77,64)."""
    return UNet2DConditionModel(**UNET_CONFIG)


def build_vae() -> AutoencoderKL:
    """Autoencoder: pixels (B,3,64,64) in -1..1, latents (B,4,8,8)."""
    return AutoencoderKL(**VAE_CONFIG)


def build_text(vocabulary: int = VOCABULARY) -> CLIPTextModel:
    """Text encoder: ids (B,77) to embeddings (B,77,64) whose mean starts at EMBEDDING_MEAN."""
    model = CLIPTextModel(text_config(vocabulary))
    torch.nn.init.constant_(model.text_model.final_layer_norm.bias, EMBEDDING_MEAN)
    return model


def alphas_cumprod() -> torch.Tensor:
    """Cumulated alphas (1000,) of the scaled-linear schedule, float64."""
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, TRAIN_STEPS, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0)
