"""Pictures as files and grids."""

import math
import os

from modules import paths
from PIL import Image, PngImagePlugin


def image_grid(pictures, batch_size=1, rows=None):
    rows = rows or max(int(math.sqrt(len(pictures))), 1)
    columns = math.ceil(len(pictures) / rows)
    width, height = pictures[0].size
    grid = Image.new("RGB", (columns * width, rows * height))
    for n, picture in enumerate(pictures):
        grid.paste(picture, (n % columns * width, n // columns * height))
    return grid


def resize_image(resize_mode, picture, width, height, upscaler_name=None):
    """0: to this size; 1: cropped to its shape; 2: whole, the rest filled with the picture's edges."""
    if resize_mode == 0:
        return picture.resize((width, height), Image.LANCZOS)
    ratio = [width / picture.width, height / picture.height]
    scale = max(ratio) if resize_mode == 1 else min(ratio)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.LANCZOS)
    left, top = (width - picture.width) // 2, (height - picture.height) // 2
    whole = picture.resize((width, height)).convert("RGB")
    whole.paste(picture, (left, top))
    return whole


def save_image(picture, path, basename, seed=None, prompt=None, extension="png", info=None, suffix="", p=None, **_known):
    """A numbered PNG with its infotext; (path, None), as the host answers."""
    os.makedirs(path, exist_ok=True)
    number = len(os.listdir(path))
    file = os.path.join(path, "-".join(str(part) for part in (f"{number:05}", basename, seed) if part not in (None, "")) + f"{suffix}.{extension}")
    about = PngImagePlugin.PngInfo()
    if info:
        about.add_text("parameters", info)
    picture.save(file, pnginfo=about)
    return file, None


def read_info_from_image(image):
    """(infotext or None, the other texts of the file)."""
    items = {key: value for key, value in (image.info or {}).items() if isinstance(value, str)}
    return items.pop("parameters", None), items


def write_params(infotext):
    """What the paste button reads where the prompt is empty."""
    with open(os.path.join(paths.data_path, "params.txt"), "w", encoding="utf8") as file:
        file.write(infotext)
