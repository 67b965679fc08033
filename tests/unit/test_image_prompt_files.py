"""Pictures by reference, and IP-Adapters among other files."""

import base64
import io
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from lib_negguide.errors import ModelError, SettingsError
from lib_negguide.image_prompt import files, prompt, store
from lib_negguide.image_prompt.store import Store, picture_of, referenced
from lib_negguide.settings import ImagePrompt, Settings
from tests import adapters


def image(seed=0, size=(20, 30)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def data(picture, form="PNG", **options):
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def same(one, other):
    return one.size == other.size and one.tobytes() == other.tobytes()


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_reference_gives_the_picture_back(tmp_path, on_disk):
    stored = Store(tmp_path / "images" if on_disk else None)
    reference = stored.put(image())
    assert store.is_reference(reference) and same(stored.get(reference), image())
    assert stored.put(data(image())) == stored.put(data(image(), "BMP")) == reference != stored.put(image(1))
    again = Store(tmp_path / "images").get(reference)
    assert same(again, image()) if on_disk else again is None
    assert stored.get("sha256:" + "0" * 64) is None and stored.get("../evil") is None


def test_memory_is_limited_and_a_broken_file_is_no_picture(tmp_path):
    stored = Store(tmp_path, limit=2)
    references = [stored.put(image(seed)) for seed in range(3)]
    assert len(stored._memory) == 2 and all(stored.get(reference) for reference in references)
    for file in tmp_path.iterdir():
        file.write_bytes(b"broken")
    assert Store(tmp_path).get(references[0]) is None
    lost = Store(None, limit=2)
    first = [lost.put(image(seed)) for seed in range(3)][0]
    assert lost.get(first) is None


def test_files_beyond_the_size_go_the_least_recently_used_first(tmp_path):
    spared, sizes = [], []
    stored = Store(tmp_path, limit=1, megabytes=lambda: sum(sizes) / 1e6 if sizes else 1.0, spared=lambda: spared)
    first, second, third = (stored.put(image(seed)) for seed in range(3))
    files = [tmp_path / f"{reference.split(':')[1]}.png" for reference in (first, second, third)]
    for age, file in enumerate(files):
        os.utime(file, (1000 + age, 1000 + age))
    sizes[:] = [100, *(file.stat().st_size for file in files)]
    assert stored.get(first) is not None  # used now, so the second is the oldest
    fourth = stored.put(image(3))
    assert [file.is_file() for file in files] == [True, False, True] and stored.get(fourth) is not None
    os.utime(files[2], (1000, 1000))
    spared.append(json.dumps({"images": [{"image": third}]}))
    fifth = stored.put(image(4))
    assert [file.is_file() for file in files] == [False, False, True]
    assert stored.get(fifth) is not None and stored.get(third) is not None


def test_pictures_are_upright_and_not_huge(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert store.opened(data(image(), "JPEG", exif=exif)).size == (30, 20)
    assert Store().get(Store().put(image())) is None
    kept = Store()
    assert max(kept.get(kept.put(Image.new("RGB", (5000, 100)))).size) == store.LONGEST_SIDE
    with pytest.raises(ValueError):
        store.opened(b"nothing")


def test_every_way_to_give_a_picture(tmp_path):
    stored = Store()
    plain = base64.b64encode(data(image())).decode()
    for text in (plain, "data:image/png;base64," + plain, stored.put(image())):
        assert same(picture_of(ImagePrompt(image=text), stored), image())
    assert picture_of(ImagePrompt(noise="fade"), stored) is None


@pytest.mark.parametrize("text, words", [("cat.png", "as base64"), ("aGVsbG8=", "as base64"), ("data:image/png;base64,%%", "as base64"),
                                         ("sha256:" + "a" * 64, '"cat.png" is not'), ("sha256:abc", "is not")])
def test_what_is_no_picture_names_its_field(text, words):
    prompts = Settings.parse({"images": [{"noise": "fade"}, {"image": text, "name": "cat.png"}]}).images
    for function in (referenced, prompt.entries):
        with pytest.raises(SettingsError, match=words) as caught:
            function(prompts, Store())
        assert caught.value.field == "images[1].image"


def test_references_in_place_of_pictures():
    stored = Store()
    plain = base64.b64encode(data(image())).decode()
    one, noise = referenced([ImagePrompt(image=plain, name="cat.png", weight=0.5), ImagePrompt(noise="fade")], stored)
    assert store.is_reference(one.image) and (one.name, one.weight) == ("cat.png", 0.5) and noise.image == ""
    assert referenced([one], stored) == [one]


def test_entries_have_side_window_noise_and_name():
    prompts = Settings.parse({"images": [{"noise": "fade", "amount": 0.3, "seed": 4, "start": 5.0, "name": "fog"}, {"noise": "gaussian", "weight": 0},
                                         {"noise": "dissolve", "side": "positive", "weight": 0.5}]}).images
    first, second = prompt.entries(prompts, Store())
    assert (first.side, first.name, first.picture.noise, first.picture.amount, first.picture.seed) == ("negative", "fog", "fade", 0.3, 4)
    assert first.strength(5.0) == 1.0 and first.strength(6.0) == 0.0
    assert (second.side, second.name, second.strength(9.0)) == ("positive", "3", 0.5)


class Attention(torch.nn.Module):
    def __init__(self, inner, width):
        super().__init__()
        self.to_q, self.to_k = torch.nn.Linear(8, inner), torch.nn.Linear(width, inner)


def unet(*inner, width=32):
    """Something with cross-attention layers in the original code's names."""
    return torch.nn.ModuleDict({"input_blocks": torch.nn.ModuleList([torch.nn.ModuleDict({"attn2": Attention(size, width)}) for size in inner])})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deeper").mkdir()
    adapters.write(adapters.checkpoint(inner=(8, 8)), tmp_path / "a_small.safetensors")
    adapters.write(adapters.checkpoint("plus", inner=(8, 16)), tmp_path / "deeper" / "b_other.bin")
    adapters.write(adapters.checkpoint(inner=(8, 16)), tmp_path / "z_base.bin")
    save_file({"control_model.x": torch.zeros(1)}, str(tmp_path / "0_controlnet.safetensors"))
    (tmp_path / "1_broken.bin").write_bytes(b"broken")
    (tmp_path / "notes.txt").write_text("hello")
    return tmp_path


def test_adapters_are_found_among_other_files_without_reading_their_weights(folder):
    found = files.adapters([folder / "gone", folder])
    assert [(path.name, adapter.kind) for path, adapter in found] == [("a_small.safetensors", "base"), ("z_base.bin", "base"), ("b_other.bin", "plus")]
    assert all(k.is_meta for _, adapter in found for k, _ in adapter.layers)


def test_auto_is_the_first_that_fits_the_model(folder):
    assert files.find("auto", unet(8, 16), [folder]).name == "z_base.bin"
    assert files.find("", unet(8, 8), [folder]).name == "a_small.safetensors"
    for spec in ("b_other", "b_other.bin", str(folder / "deeper" / "b_other.bin")):
        assert files.find(spec, unet(8, 8), [folder]).name == "b_other.bin"


@pytest.mark.parametrize("width, words", [(768, "for SD1.5; get models/ip-adapter_sd15.safetensors of https.* and put it into .*"),
                                          (2048, "for SDXL; get sdxl_models/.* and put it into "), (40, "for the loaded model; put one into ")])
def test_a_missing_adapter_is_named_with_where_to_get_and_to_put_it(folder, width, words):
    with pytest.raises(ModelError, match=f"no IP-Adapter {words}.*{folder.name}"):
        files.find("auto", unet(8, 16, width=width), [folder])
    with pytest.raises(ModelError, match=f"no IP-Adapter nowhere; put it into .*{folder.name}"):
        files.find("nowhere", unet(8), [folder])
