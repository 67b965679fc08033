"""Tokenizer of the small model, and the part of its vocabulary that is trained.

The tokenizer is CLIP's own BPE with all its 49,408 tokens. The captions use few of
them; the embedding table is trained on `known_ids` plus one row that all others share.
"""

import gzip
import json
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from tests.world.captions import WORDS
from tests.world.model import BOS, EOS, TOKENS, VOCABULARY, text_config

FOLDER = Path(__file__).parent / "model" / "tokenizer"


def _byte_characters() -> list[str]:
    """The 256 printable characters that stand for bytes in CLIP's BPE, in vocabulary order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


def write_tokenizer(folder: Path) -> None:
    """Write a folder that transformers' CLIPTokenizer and CLIPTextModel load from.

    The merges come from `bpe_simple_vocab_16e6.txt.gz` inside open_clip.
    """
    # Found without importing it: open_clip needs a complete torchvision, this file doesn't.
    packed = Path(find_spec("open_clip").origin).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.open(packed).read().decode("utf-8").split("\n")
    merges = lines[1 : VOCABULARY - 512 - 2 + 1]
    characters = _byte_characters()
    tokens = characters + [character + "</w>" for character in characters]
    tokens += ["".join(merge.split()) for merge in merges] + ["<|startoftext|>", "<|endoftext|>"]
    marks = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    marks |= {"unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    settings = {
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": TOKENS,
        "tokenizer_class": "CLIPTokenizer",
    }
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = json.dumps({token: index for index, token in enumerate(tokens)}, ensure_ascii=False)
    (folder / "vocab.json").write_text(vocabulary, encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(marks, indent=2) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | marks, indent=2) + "\n")
    config = text_config().to_diff_dict() | {"architectures": ["CLIPTextModel"]}
    config.pop("transformers_version", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


@lru_cache(maxsize=4)
def tokenizer(folder: Path = FOLDER) -> CLIPTokenizer:
    """The tokenizer of a folder."""
    return CLIPTokenizer.from_pretrained(str(folder))


def token_ids(texts: list[str], folder: Path = FOLDER) -> Tensor:
    """Full ids (B,77) of texts, padded with <|endoftext|> as SD1 does."""
    return tokenizer(folder)(
        texts, padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt"
    ).input_ids


@lru_cache(maxsize=4)
def known_ids(folder: Path = FOLDER) -> tuple[int, ...]:
    """Ids that have an embedding row of their own, in ascending order (so BOS, EOS are last)."""
    ids = set(tokenizer(folder)(" ".join(WORDS), add_special_tokens=False).input_ids)
    return tuple(sorted(ids | {BOS, EOS}))


def compact_map(folder: Path = FOLDER) -> Tensor:
    """Row of the trained table for each full id, int64 (49408,): row 0 is the shared one."""
    rows = torch.zeros(VOCABULARY, dtype=torch.long)
    known = torch.tensor(known_ids(folder))
    rows[known] = torch.arange(1, len(known) + 1)
    return rows
