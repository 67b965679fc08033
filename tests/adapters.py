"""IP-Adapter checkpoints of random weights, in the published layouts and any shapes."""

import torch
from safetensors.torch import save_file

from lib_negguide.image_prompt import injection


def base(width=32, feature=24, tokens=4):
    """``image_proj`` of the base kind."""
    return {"proj.weight": noise(tokens * width, feature), "proj.bias": noise(tokens * width),
            "norm.weight": 1 + noise(width), "norm.bias": noise(width)}


def full_face(width=32, feature=24):
    return {"proj.0.weight": noise(feature, feature), "proj.0.bias": noise(feature),
            "proj.2.weight": noise(width, feature), "proj.2.bias": noise(width),
            "proj.3.weight": 1 + noise(width), "proj.3.bias": noise(width)}


def plus(width=32, feature=24, tokens=16, heads=2, dim=48, depth=4):
    """``image_proj`` of the plus kind; ``heads``: each 64 wide."""
    out = {"latents": noise(1, tokens, dim),
           "proj_in.weight": noise(dim, feature), "proj_in.bias": noise(dim),
           "proj_out.weight": noise(width, dim), "proj_out.bias": noise(width),
           "norm_out.weight": 1 + noise(width), "norm_out.bias": noise(width)}
    for layer in range(depth):
        name = f"layers.{layer}."
        for norm in ("0.norm1", "0.norm2", "1.0"):
            out |= {f"{name}{norm}.weight": 1 + noise(dim), f"{name}{norm}.bias": noise(dim)}
        out |= {name + "0.to_q.weight": noise(64 * heads, dim), name + "0.to_kv.weight": noise(128 * heads, dim),
                name + "0.to_out.weight": noise(dim, 64 * heads), name + "1.1.weight": noise(4 * dim, dim),
                name + "1.3.weight": noise(dim, 4 * dim)}
    return out


KINDS = {"base": base, "plus": plus, "full-face": full_face}


def attention(inner, width=32):
    """``ip_adapter`` for layers of these inner widths."""
    return {f"{2 * n + 1}.to_{part}_ip.weight": noise(size, width) for n, size in enumerate(inner) for part in "kv"}


def checkpoint(kind="base", inner=(64, 64), width=32, **shapes):
    """A nested checkpoint."""
    return {"image_proj": KINDS[kind](width=width, **shapes), "ip_adapter": attention(inner, width)}


def fitting(unet, kind="base", **shapes):
    """A nested checkpoint for a UNet."""
    layers = [module for _, module in injection.cross_attention(unet)]
    return checkpoint(kind, [layer.to_k.out_features for layer in layers], layers[0].to_k.in_features, **shapes)


def flat(nested):
    return {f"{group}.{key}": value.contiguous() for group, inside in nested.items() for key, value in inside.items()}


def write(nested, path):
    """As safetensors or as a pickle, by the path's ending."""
    if path.suffix == ".safetensors":
        save_file(flat(nested), str(path))
    else:
        torch.save(nested, str(path))
    return path


def noise(*shape):
    return torch.randn(shape) * 0.2
