"""Untrained captioners of a few thousand weights, saved as transformers saves real ones: for the loading code."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

WORDS = "a the red green blue circle square hat cat dog on of and with (AND) <lora:x> | : man woman picture".split()
KINDS = ("blip", "blip-2", "vision-encoder-decoder")


def picture(seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 32, 3), dtype=np.uint8))


def write(folder: Path, kind="blip", safetensors=True, seed=0, shard="5GB") -> Path:
    """A whole captioner of this kind in ``folder``, the same for the same seed."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model = {"blip": _blip, "blip-2": _blip_2, "vision-encoder-decoder": _encoder_decoder}[kind](folder)
    model.save_pretrained(folder, safe_serialization=safetensors, max_shard_size=shard)
    return folder


def _bert_tokenizer(folder):
    from transformers import BertTokenizerFast

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]  # as in the real ones, the two ids after these have no word
    (folder / "vocab.txt").write_text("\n".join(vocabulary), "utf-8")
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    return tokenizer


def _gpt2_tokenizer(folder):
    from transformers import GPT2TokenizerFast

    vocabulary = {token: number for number, token in enumerate(["<pad>", "</s>", *("\u0120" + word for word in WORDS)])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    tokenizer = GPT2TokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"), bos_token="</s>", eos_token="</s>",
                                  unk_token="</s>", pad_token="<pad>")
    tokenizer.save_pretrained(folder)
    return tokenizer


def _livelier(model):
    """Untrained logits are nearly equal, whatever the picture: larger weights tell pictures apart."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.4)
    return model.eval()


def _blip(folder):
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    tokenizer = _bert_tokenizer(folder)
    BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    text = dict(vocab_size=len(tokenizer) + 2, hidden_size=16, encoder_hidden_size=16, intermediate_size=32, num_hidden_layers=2,
                num_attention_heads=2, projection_dim=16, max_position_embeddings=64, pad_token_id=0, sep_token_id=3, eos_token_id=3,
                bos_token_id=len(tokenizer))
    vision = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8, projection_dim=16)
    return _livelier(BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision, projection_dim=16)))


def _blip_2(folder):
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor, BlipImageProcessor

    tokenizer = _gpt2_tokenizer(folder)
    Blip2Processor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    layers = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    config = Blip2Config(
        vision_config=dict(**layers, image_size=32, patch_size=8),
        qformer_config=dict(**layers, vocab_size=8, encoder_hidden_size=16, cross_attention_frequency=1),
        text_config=dict(model_type="opt", vocab_size=len(tokenizer), hidden_size=16, ffn_dim=32, num_hidden_layers=2, num_attention_heads=2,
                         word_embed_proj_dim=16, max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=1),
        num_query_tokens=4)
    return _livelier(Blip2ForConditionalGeneration(config))


def _encoder_decoder(folder):
    from transformers import GPT2Config, VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig, ViTImageProcessor

    tokenizer = _gpt2_tokenizer(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        ViTConfig(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8),
        GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=2, n_head=2, n_positions=128, bos_token_id=1, eos_token_id=1))
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 1
    return _livelier(VisionEncoderDecoderModel(config=config))
