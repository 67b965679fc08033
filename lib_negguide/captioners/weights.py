"""From a model's files to a model: whole or not at all."""

from __future__ import annotations

from typing import Tuple

from lib_negguide.errors import CaptionerError

from .files import Files

CLASSES = ("AutoModelForVision2Seq", "AutoModelForImageTextToText")
"""transformers 4.30 has the first, from 4.47 on both, from 5 on the second."""


def load(found: Files, dtype) -> Tuple:
    """(model on the processor in ``dtype``, for use only; image processor; tokenizer)."""
    from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

    local = {"local_files_only": True, "trust_remote_code": False}
    config = AutoConfig.from_pretrained(found.folder, **local)
    kind = class_for(config, found)
    images = AutoImageProcessor.from_pretrained(found.folder, **local)
    tokenizer = AutoTokenizer.from_pretrained(found.folder, **local)
    about = {"torch_dtype": dtype, "output_loading_info": True}
    if found.safetensors:  # their presence is known: without them use_safetensors alone would let 4.30 open a pickle
        model, info = kind.from_pretrained(found.folder, config=config, use_safetensors=True, local_files_only=True, **about)
    else:
        model, info = kind.from_pretrained(None, config=config, state_dict=tensors(found), **about)
        if (found.folder / "generation_config.json").is_file():
            from transformers import GenerationConfig

            model.generation_config = GenerationConfig.from_pretrained(found.folder, local_files_only=True)
    lacks = missing(model, info["missing_keys"])
    if lacks:
        raise CaptionerError(f"NegGuide: the weights of {found.name} are not a whole {kind.__name__}: "
                             f"{len(lacks)} of its tensors are not in the file, {lacks[0]} among them")
    return model.eval().requires_grad_(False), images, tokenizer


def class_for(config, found: Files):
    """The class that captions with a model of this configuration, by feature of the transformers that is installed."""
    import transformers

    for name in CLASSES:
        known = getattr(getattr(transformers, name, None), "_model_mapping", {})
        if type(config) in known.keys():
            return known[type(config)]
    raise CaptionerError(f"NegGuide: {found.folder} is a model of the kind {config.model_type}, which captions no pictures "
                         f"with the installed transformers {transformers.__version__}")


def tensors(found: Files) -> dict:
    """Weights in PyTorch's format, read as tensors and nothing else: a file that holds more than that is refused."""
    import torch

    merged = {}
    for path in found.weights:
        try:
            merged.update(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:
            raise CaptionerError(f"NegGuide: {path} cannot be read as plain tensors ({type(error).__name__}); "
                                 "only such a file is opened, or better one in the safetensors format") from error
    return merged


def missing(model, names) -> list:
    """Parameters among ``names`` that did not come from the file, neither themselves nor as what they are tied to."""
    names, loaded = set(names), set()
    parameters = list(model.named_parameters(remove_duplicate=False))
    loaded.update(id(parameter) for name, parameter in parameters if name not in names)
    return sorted(name for name, parameter in parameters if name in names and id(parameter) not in loaded)
