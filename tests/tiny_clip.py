"""A CLIP of 1.6 million random weights (its vocabulary is the real one), in open_clip's form."""

import json

import torch
from safetensors.torch import save_file

from tests import with_open_clip

CONFIG = {
    "embed_dim": 16, "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
LOOK = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}


def model():
    """Always the same weights."""
    with_open_clip.ready()
    import open_clip

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return open_clip.CLIP(**CONFIG).eval()


def write(folder):
    """As on the model hub: configuration and weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": LOOK}))
    save_file(model().state_dict(), folder / "open_clip_model.safetensors")
    return folder
