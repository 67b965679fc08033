"""What the small captioner says, and how its words are read back.

The captioner is transformers' BLIP, small (`train_captioner.py`); it loads and runs by the
code that a real one takes. It describes a picture completely, in wordings that the small
model was trained on, so that a caption means the same to both.
"""

import re
from pathlib import Path

import torch
from torch import Tensor

from tests.world.captions import WORDS, portrait_with
from tests.world.draw import ATTRIBUTES, COLOURS, SHAPES, Attributes

FOLDER = Path(__file__).parent / "model" / "captioner"

# Of an empty picture. The one word that the model has no row of its own for: to it, it is any unknown word.
NOTHING = "nothing"

# In the order of vocab.txt. [DEC] begins every caption, as in the authors' BLIP; [SEP] ends it.
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]")
VOCABULARY = (*SPECIALS, *dict.fromkeys((*WORDS, NOTHING)))


def describe(shown: Attributes) -> str:
    """The one caption that says all of a picture: what is worn in a fixed order, shapes from left to right.

    One shape and a bare face take three words: the small model reads any longer text as two shapes or more.
    """
    if shown.kind == "none":
        return NOTHING
    if shown.kind != "portrait":
        return " and ".join(f"a {colour} {shape}" for colour, shape in shown.shapes)
    worn = [name for name in ATTRIBUTES if name in shown.worn]
    return portrait_with(worn) if worn else "a bare face"


def read(caption: str) -> Attributes | None:
    """What a caption says is there, or None where it is none of the world's; shapes in the order told."""
    said = re.findall(r"[a-z]+", caption.lower())
    person = bool({"portrait", "person", "face"} & set(said))
    shapes, colour = [], ""
    for word in said:
        if word in COLOURS:
            colour = word
        elif word in SHAPES:
            shapes.append((colour, word))
            colour = ""
    if person and not shapes:
        return Attributes("portrait", worn=tuple(name for name in ATTRIBUTES if name in said))
    if person or not all(colour for colour, _ in shapes) or len(shapes) > 2:
        return None
    if shapes:
        return Attributes("one shape" if len(shapes) == 1 else "two shapes", shapes=tuple(shapes))
    return Attributes("none") if said == [NOTHING] else None


def agrees(caption: str, shown: Attributes) -> bool:
    """Does a caption name exactly what is there? Which shape is told first does not matter."""
    said = read(caption)
    return said is not None and _unordered(said) == _unordered(shown)


def _unordered(shown: Attributes) -> tuple:
    return shown.kind, sorted(shown.worn), sorted(shown.shapes)


class Captioner:
    """The small BLIP, for training and measuring: `Captioner(model, processor)(pixels)`; methods use lib_negguide's own."""

    def __init__(self, model, processor) -> None:
        self.model, self.processor = model.eval(), processor

    @classmethod
    def load(cls, folder: Path | str | None = None) -> "Captioner":
        from transformers import BlipForConditionalGeneration, BlipProcessor

        folder = str(folder or FOLDER)
        return cls(BlipForConditionalGeneration.from_pretrained(folder, torch_dtype=torch.float32), BlipProcessor.from_pretrained(folder))

    @torch.no_grad()
    def __call__(self, pixels: Tensor, batch: int = 100, **how) -> list[str]:
        """Captions of pictures (B,3,64,64) uint8; `how` goes to `generate` (beam search of 3 and at most 50 tokens without)."""
        from PIL import Image

        captions = []
        how = {"num_beams": 3, "max_length": 50} | how
        for part in pixels.split(batch):
            images = [Image.fromarray(array) for array in part.permute(0, 2, 3, 1).numpy()]
            inputs = self.processor(images=images, return_tensors="pt")
            tokens = self.model.generate(**inputs, **how)
            captions += [text.strip() for text in self.processor.batch_decode(tokens, skip_special_tokens=True)]
        return captions
