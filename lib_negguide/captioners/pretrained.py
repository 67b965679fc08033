"""Captioners of transformers: BLIP, BLIP-2, and any other model that turns a picture into text.

Li et al., BLIP (ICML 2022) and BLIP-2 (ICML 2023); encoder-decoders as ViT + GPT-2; GIT; and what
``AutoModelForVision2Seq`` (``AutoModelForImageTextToText`` in newer versions) knows besides.
No code comes from a model's folder, and no pickle is opened.
"""

from __future__ import annotations

import gc
import logging
from pathlib import Path
from typing import List, NoReturn, Optional, Sequence

from lib_negguide.errors import CaptionerError, NegGuideError

from . import files
from .base import How, Loadable
from .devices import device_of, dtype_of, empty, free, let_go
from .weights import load

log = logging.getLogger("NegGuide")


class Pretrained(Loadable):
    """A transformers model in a folder; captions pictures one by one, without chance."""

    def __init__(self, found: files.Files, device=None, dtype=None):
        self.files, self.name = found, found.name
        self.device = device_of(device)
        self.dtype = dtype_of(dtype, self.device)
        self.place = (str(self.device), str(self.dtype))
        self.model = self.images = self.tokenizer = None

    @classmethod
    def find(cls, spec: str, *, device=None, dtype=None, folder: Optional[Path] = None, downloads: bool = False) -> Pretrained:
        return cls(files.find(spec, folder, downloads), device, dtype)

    def load(self) -> None:
        try:
            if self.model is None:
                log.info("loading the captioner %s", self.name)
                self.model, self.images, self.tokenizer = load(self.files, self.dtype)
            self.model.to(self.device)
        except BaseException as error:
            self._failed(error, "could not be loaded")

    def caption(self, images: Sequence, how: How = How()) -> List[str]:
        if self.model is None:
            raise CaptionerError(f"NegGuide: the captioner {self.name} is not loaded")
        try:
            return [self._words(image, how) for image in images]
        except BaseException as error:
            self._failed(error, "failed")

    def _words(self, image, how: How) -> str:
        import torch
        from transformers import LogitsProcessorList

        if self.tick:
            self.tick()
        inputs = self.images(images=image.convert("RGB"), return_tensors="pt")
        inputs = {key: value.to(self.device, self.dtype) if value.is_floating_point() else value.to(self.device)
                  for key, value in inputs.items()}
        asked = {"num_beams": how.beams, "min_new_tokens": how.min_tokens, "max_new_tokens": how.max_tokens}
        asked = {key: value for key, value in asked.items() if value is not None}
        ticking = LogitsProcessorList([self._ticking] if self.tick else [])
        with torch.no_grad():
            tokens = self.model.generate(**inputs, **asked, do_sample=False, logits_processor=ticking)
        return self.tokenizer.decode(tokens[0], skip_special_tokens=True).strip()

    def _ticking(self, input_ids, scores):
        """A logits processor that changes nothing: the one place that every version visits at every token."""
        self.tick()
        return scores

    def rest(self) -> None:
        if self.model is not None:
            self.model.to("cpu")
            free(self.device)

    def close(self) -> None:
        model, self.model, self.images, self.tokenizer = self.model, None, None, None
        if model is not None:
            empty(model)
            del model
            gc.collect()
            free(self.device)

    def _failed(self, error: BaseException, what: str) -> NoReturn:
        """Give all memory back, then raise; the frames that the error remembers hold no tensors either."""
        import torch

        self.close()
        let_go(error)
        free(self.device)
        if not isinstance(error, Exception) or isinstance(error, NegGuideError):
            raise error
        if isinstance(error, torch.cuda.OutOfMemoryError):
            raise CaptionerError(f"NegGuide: the captioner {self.name} {what}: not enough memory on {self.device}; "
                                 "choose the processor, a lower precision or a smaller captioner") from None
        raise CaptionerError(f"NegGuide: the captioner {self.name} {what}: {type(error).__name__}: {error}") from error
