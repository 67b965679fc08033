"""The host's own captioner: BLIP from models/BLIP, and CLIP, which the stand-in has not."""

import os
from pathlib import Path

import numpy as np
import torch
from modules import devices, lowvram, paths, shared
from modules.options import OptionInfo

URL = "https://storage.googleapis.com/sfr-vision-language-research/BLIP/models/model_base_caption_capfilt_large.pth"


class Blip(torch.nn.Module):
    """In the place of the real one: one weight, and words on the picture's mean colour."""

    prompt_length = 4  # of "[DEC] a picture of"

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.asked = []

    def generate(self, image, sample=False, num_beams=3, max_length=30, min_length=10):
        assert image.device == self.weight.device and image.dtype == self.weight.dtype and not torch.is_grad_enabled()
        self.asked.append({"num_beams": num_beams, "max_length": max_length, "min_length": min_length})
        red, green, blue = image[0].mean(dim=(1, 2)).tolist()
        colour = max((red, "red"), (green, "green"), (blue, "blue"))[1]
        words = ["a", colour, "(picture)"] + ["really"] * (min_length - self.prompt_length - 3)
        return [" ".join(words[:max_length - self.prompt_length])]


class InterrogateModels:
    blip_model = clip_model = clip_preprocess = dtype = None

    def __init__(self, content_dir):
        self.content_dir = content_dir
        self.running_on_cpu = devices.device_interrogate == torch.device("cpu")

    def load_blip_model(self):
        folder = Path(paths.models_path) / "BLIP"
        if not list(folder.rglob("*.pth")):
            raise OSError(f"<urlopen error> {URL}")  # the real host would fetch it
        return Blip().eval()

    def load_clip_model(self):
        raise OSError("<urlopen error> ViT-L/14")

    def load(self):
        if self.blip_model is None:
            self.blip_model = self.load_blip_model()
        self.blip_model = self.blip_model.to(devices.device_interrogate)
        if self.clip_model is None:
            self.clip_model, self.clip_preprocess = self.load_clip_model()
        self.dtype = next(self.clip_model.parameters()).dtype

    def send_clip_to_ram(self):
        if self.clip_model is not None and not shared.opts.interrogate_keep_models_in_memory:
            self.clip_model = self.clip_model.to(devices.cpu)

    def send_blip_to_ram(self):
        if self.blip_model is not None and not shared.opts.interrogate_keep_models_in_memory:
            self.blip_model = self.blip_model.to(devices.cpu)

    def unload(self):
        self.send_clip_to_ram()
        self.send_blip_to_ram()
        devices.torch_gc()

    def generate_caption(self, pil_image):
        pixels = np.asarray(pil_image.resize((384, 384)), dtype=np.float32).transpose(2, 0, 1)[None] / 255
        image = torch.from_numpy(pixels).type(self.dtype).to(devices.device_interrogate)
        with torch.no_grad():
            return self.blip_model.generate(
                image, sample=False, num_beams=shared.opts.interrogate_clip_num_beams,
                min_length=shared.opts.interrogate_clip_min_length, max_length=shared.opts.interrogate_clip_max_length)[0]

    def interrogate(self, pil_image):
        shared.state.begin(job="interrogate")
        try:
            lowvram.send_everything_to_cpu()
            devices.torch_gc()
            self.load()
            return self.generate_caption(pil_image)
        except Exception:
            return "<error>"
        finally:
            self.unload()
            shared.state.end()


def initialize():
    """The options and ``shared.interrogator``."""
    for name, value in {"keep_models_in_memory": False, "clip_num_beams": 1, "clip_min_length": 24, "clip_max_length": 48}.items():
        shared.opts.add_option("interrogate_" + name, OptionInfo(value, name))
    shared.interrogator = InterrogateModels(os.path.join(paths.data_path, "interrogate"))
