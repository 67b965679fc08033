"""img2img, inpainting and photos on the embedded host."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from lib_negguide import world
from lib_negguide.errors import SettingsError
from lib_negguide.hosts.embedded import image
from lib_negguide.hosts.embedded.masks import InpaintMask
from lib_negguide.hosts.embedded.samplers import noise_levels, sampler
from lib_negguide.settings import Settings
from tests.world.draw import draw
from tests.world.judge import Judge

OPTIONS = {"steps": 6, "cfg_scale": 4.0, "size": (64, 64)}
PROMPT = world.PROMPT
ALL_SAMPLERS = ("Euler", "Euler a", "Heun", "DPM++ 2M", "DDIM")
WITH_GLASSES = [f"photo test {number}" for number in range(400)]


@pytest.fixture(scope="module")
def drawn():
    """Two drawings of people with glasses, as Pillow images and as a tensor."""
    found = [picture for picture, shown in map(draw, WITH_GLASSES) if "glasses" in shown.worn][:2]
    return found, image.tensor_of(found, world.SIZE)


@pytest.fixture(scope="module")
def mask():
    """The place of glasses, white on black."""
    painted = Image.new("RGB", world.SIZE)
    ImageDraw.Draw(painted).rectangle((13, 24, 50, 42), fill="white")
    return painted


def remove(**fields):
    return Settings.parse({"remove": {"text": "glasses", "search": "window", "stop": 1.6, "weight": 1.5, **fields}})


def test_the_latents_of_a_picture_are_decoded_to_it(host, drawn):
    _, pictures = drawn
    latents = host.model.latents(pictures)
    assert latents.shape == (2, 4, 8, 8)
    assert (host.model.decode(latents) - pictures).abs().mean() < 0.04
    assert torch.equal(host.model.latents(pictures[1:2]), latents[1:2])


def test_pictures_of_other_sizes_are_fitted(drawn):
    large = drawn[0][0].resize((128, 128)).convert("RGBA")
    assert (image.tensor_of([large], (64, 64)) - drawn[1][:1]).abs().mean() < 0.03


@pytest.mark.parametrize(("strength", "steps", "first"), [(0.75, 20, 4), (1.0, 20, 0), (0.0, 20, 19), (0.6, 5, 1), (0.5, 30, 14)])
def test_where_img2img_begins(strength, steps, first):
    assert image.first_level(strength, steps) == first


@pytest.mark.parametrize("strength", [-0.1, 1.1])
def test_a_strength_that_is_not_allowed(strength):
    with pytest.raises(SettingsError, match="strength"):
        image.first_level(strength, 20)


@pytest.mark.parametrize("name", ALL_SAMPLERS)
def test_img2img_written_down(host, drawn, name):
    """As the WebUI: the picture's latents plus noise of the level, then the rest of the levels."""
    _, pictures = drawn
    made = image.img2img(host, pictures, [PROMPT] * 2, [1, 2], Settings(), strength=0.6, **{**OPTIONS, "sampler": name})
    chosen = sampler(name)
    sigmas, _ = noise_levels(chosen, "automatic", 6, host.levels)
    run = host.prepare([PROMPT] * 2, [1, 2], Settings(), **{**OPTIONS, "sampler": name})
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]

    def noise():
        return torch.stack([torch.randn(4, 8, 8, generator=g) for g in generators])

    first = image.first_level(0.6, len(sigmas) - 1)
    x = host.model.latents(pictures) + noise() * sigmas[first]
    with torch.no_grad():
        x = run.finish(chosen.step(run.guidance, x, sigmas[first:], noise))
    assert torch.allclose(host.model.decode(x), made.images, atol=1e-4)
    assert len(made.trace.calls) == chosen.calls(sigmas[first:])


def test_a_low_strength_changes_little(host, drawn):
    _, pictures = drawn
    change = [(image.img2img(host, pictures, [PROMPT] * 2, [1, 2], Settings(), strength=strength, **OPTIONS).images
               - pictures).abs().mean().item() for strength in (0.1, 0.8)]
    assert change[0] < change[1] / 2


def test_the_mask_as_the_webui_makes_it(mask):
    made = InpaintMask(mask, world.SIZE, 4.0)
    assert made.pixels.shape == (1, 1, 64, 64) and made.cells.shape == (1, 1, 8, 8)
    assert (InpaintMask(mask.resize((128, 128)), world.SIZE, 4.0).pixels - made.pixels).abs().mean() < 0.01
    assert set(made.cells.unique().tolist()) == {0.0, 1.0}
    assert made.cells[0, 0, 4, 2:6].min() == 1 and made.cells[0, 0, 1].max() == made.cells[0, 0, 7].max() == 0
    assert made.pixels[0, 0, 33, 32] == 1 and made.pixels[0, 0, 0].max() == 0 and 0 < made.pixels[0, 0, 21, 32] < 1
    sharp = InpaintMask(mask, world.SIZE, 0).pixels
    assert torch.equal(sharp[0, 0], torch.from_numpy((np.asarray(mask.convert("L")) > 128).astype(np.float32)))


@pytest.mark.parametrize("blur", [0.0, 2.0, 30.0])
def test_blurring_keeps_what_is_even(blur):
    assert InpaintMask(Image.new("L", (64, 64), 255), (64, 64), blur).pixels.min() == 1


def test_a_black_mask_is_refused():
    with pytest.raises(SettingsError, match="mask"):
        InpaintMask(Image.new("L", (64, 64)), (64, 64))


@pytest.mark.parametrize("fill", ["original", "noise", "nothing"])
@pytest.mark.parametrize("name", ["Euler", "DDIM"])
def test_inpainting_changes_the_mask_alone(host, drawn, mask, fill, name):
    _, pictures = drawn
    made = image.img2img(host, pictures, [PROMPT] * 2, [1, 2], Settings(), strength=1.0, mask=mask, fill=fill,
                         **{**OPTIONS, "sampler": name}).images
    pixels = InpaintMask(mask, world.SIZE).pixels
    assert ((made - pictures).abs() * (pixels == 0)).max() == 0
    assert ((made - pictures).abs() * pixels).sum() / pixels.sum() > 0.05


def test_a_fill_that_is_not_allowed(host, drawn, mask):
    with pytest.raises(SettingsError, match="fill"):
        image.img2img(host, drawn[1], [PROMPT] * 2, [1, 2], mask=mask, fill="water", **OPTIONS)


def test_a_removal_acts_inside_the_mask(host, drawn, mask):
    _, pictures = drawn
    made = image.img2img(host, pictures, [PROMPT] * 2, [1, 2], remove(region="mask"), strength=0.9, mask=mask, **OPTIONS)
    shares = [call.removal.shares for call in made.trace.calls if call.removal]
    cells = InpaintMask(mask, world.SIZE).cells.mean().item()
    assert shares and all(share == pytest.approx(cells) for share in shares[0])


def photo(host, drawn, settings, prompt=f"{PROMPT} with glasses", **options):
    return image.photo(host, drawn[1], [prompt] * 2, [1, 2], settings, **{**OPTIONS, "steps": 6, **options})


@pytest.mark.parametrize("name", ALL_SAMPLERS)
def test_where_nothing_acts_a_photo_stays(host, drawn, name):
    """No call is within the bounds: with full fidelity the picture is what the VAE makes of it, with any sampler."""
    made = photo(host, drawn, remove(start=0.0, stop=0.0), sampler=name, strength=0.8, check=False)
    assert (made.result.images - made.encoded).abs().max() < 1e-3


def test_fidelity_is_how_much_stays(host, drawn):
    change = [(made.result.images - made.encoded).abs().mean().item()
              for made in (photo(host, drawn, remove(start=0.0, stop=0.0, fidelity=f), check=False) for f in (0.0, 0.5, 1.0))]
    assert change[0] > change[1] > change[2] and change[2] < 1e-4


def test_glasses_go_from_drawings(host, drawn):
    made = photo(host, drawn, remove(), steps=16)
    judge = Judge.load()
    assert all(verdict.glasses for verdict in judge(made.encoded))
    assert not any(verdict.glasses for verdict in judge(made.result.images))
    assert made.prompts == [PROMPT] * 2
    rows = made.regions.mean((0, 1, 3))
    assert made.regions.shape == (2, 1, 8, 8) and made.regions.amax((1, 2, 3)).min() == 1
    assert rows[3:5].min() > 4 * rows[[0, 1, 6, 7]].max()  # eyes, and what is far from them
    assert len(made.reconstructions) == 2 and all(one.psnr > 25 and not one.poor for one in made.reconstructions)


def test_what_a_photo_costs(host, drawn):
    made = photo(host, drawn, remove(), strength=0.8)
    calls = len(made.result.trace.calls)
    assert calls == 5 and made.evaluations == 5 + 6 + 5
    assert made.result.evaluations(0) == 2 * calls + made.result.trace.extra_of(0) + made.evaluations


def test_a_prompt_that_does_not_name_it(host, drawn):
    named, unnamed = photo(host, drawn, remove(), prompt=f"{PROMPT}, glasses", check=False), photo(host, drawn, remove(), prompt=PROMPT, check=False)
    assert torch.equal(named.result.images, unnamed.result.images) and unnamed.prompts == [PROMPT] * 2


def test_a_painted_mask_bounds_the_region(host, drawn):
    nowhere = torch.zeros(1, 1, 64, 64)
    made = photo(host, drawn, remove(), mask=nowhere, check=False)
    assert (made.result.images - made.encoded).abs().max() < 1e-3


def test_without_guidance_a_photo_comes_back(host, drawn):
    made = photo(host, drawn, remove(), check=False, cfg_scale=1.0)
    assert (made.result.images - made.encoded).abs().max() < 1e-3 and "nothing is removed" in made.result.notes[0]


def test_batches_of_photos_are_as_one(host, drawn):
    one, many = photo(host, drawn, remove(), batch_size=8), photo(host, drawn, remove(), batch_size=1)
    assert torch.allclose(one.result.images, many.result.images, atol=1e-4)
    assert [round(r.psnr, 1) for r in one.reconstructions] == [round(r.psnr, 1) for r in many.reconstructions]


def test_nothing_to_remove_is_refused(host, drawn):
    with pytest.raises(SettingsError, match="remove"):
        photo(host, drawn, Settings())
