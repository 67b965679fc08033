"""Where a removal acts."""

import pytest
import torch
from PIL import Image

from lib_negguide import regions
from lib_negguide.errors import SettingsError
from lib_negguide.regions import Attended, Mapped, Object
from lib_negguide.removal import Seen
from lib_negguide.settings import Settings


def remove(**fields):
    return Settings.parse({"remove": {"text": "hat", **fields}}).remove


def seen(difference, wanted=None, attention=None):
    """A call in which the words change the prediction by ``difference`` (B, C, h, w)."""
    d_u = torch.full_like(difference, 0.5)
    wanted = wanted or [True] * len(d_u)
    rows = difference[[i for i, wants in enumerate(wanted) if wants]]
    return Seen.of(2.0, 0, 5.0, d_u, d_u, rows, wanted, attention=attention)


def spot(value=1.0, at=(2, 3), size=(8, 8), rest=0.0):
    d = torch.full((1, 4, *size), rest)
    d[:, :, at[0], at[1]] = value
    return d


def test_the_object_is_where_the_words_change_the_prediction():
    mask = Object().mask(seen(torch.cat([spot(3.0), spot(-0.1, (7, 0), rest=0.02)])))
    assert mask.shape == (2, 1, 8, 8) and mask.sum() == 2.0
    assert mask[0, 0, 2, 3] == 1.0 and mask[1, 0, 7, 0] == 1.0


@pytest.mark.parametrize(("height", "value"), [(0.3, 0.0), (0.5, 0.0), (0.6, 0.5), (0.7, 1.0), (1.0, 1.0)])
def test_its_edge_is_soft(height, value):
    difference = spot(2.0)
    difference[:, :, 5, 5] = 2.0 * height
    assert Object().mask(seen(difference))[0, 0, 5, 5] == pytest.approx(value, abs=1e-5)


def test_scaled_predictions_have_the_same_region():
    difference = torch.randn(2, 4, 8, 8)
    one, other = Object().mask(seen(difference)), Object().mask(seen(difference * 17.0))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_no_difference_is_nowhere():
    assert not Object().mask(seen(torch.zeros(1, 4, 8, 8))).any()


def test_a_picture_that_is_not_wanted_keeps_its_region():
    region = Object()
    before = region.mask(seen(torch.cat([spot(at=(1, 1)), spot(at=(2, 2))])))
    after = region.mask(seen(torch.cat([spot(at=(5, 5)), spot(at=(6, 6))]), [True, False]))
    assert after[0, 0, 5, 5] == 1.0 and not after[0, 0, 1, 1]
    assert torch.equal(after[1], before[1])


def test_memory_is_a_running_mean():
    class Given(Mapped):
        def map(self, seen, pictures):
            return seen.words[:, :1]

    region = Given(threshold=0.5, softness=1.0, memory=0.75)  # the mask is the map itself
    region.mask(seen(spot(1.0, (0, 0))))
    mask = region.mask(seen(spot(1.0, (4, 4))))
    assert (mask[0, 0, 0, 0], mask[0, 0, 4, 4]) == (0.75, 0.25)


def test_single_cells_of_a_large_latent_do_not_count():
    noise = torch.zeros(1, 4, 64, 64)
    noise[:, :, 40, 40] = 1.5  # one cell that is higher
    noise[:, :, 10:20, 10:20] = 1.0
    mask = Object().mask(seen(noise))
    assert mask[0, 0, 14, 14] == 1.0 and mask[0, 0, 40, 40] == 0.0
    assert torch.equal(regions.blurred(torch.ones(1, 1, 96, 64)), torch.ones(1, 1, 96, 64))


def test_a_painted_mask_is_the_mean_of_each_cells_part():
    image = Image.new("L", (32, 32))
    image.paste(255, (0, 0, 8, 8))
    image.paste(255, (8, 0, 12, 8))  # half of its cell
    region = regions.make(remove(region="mask"), regions.mask_of(image))
    mask = region.mask(seen(torch.ones(3, 4, 4, 4)))
    assert mask.shape == (3, 1, 4, 4) and mask[2, 0, 0].tolist() == [1.0, 0.5, 0.0, 0.0] and mask.sum() == 3 * 1.5


def test_each_picture_may_have_a_mask_of_its_own():
    masks = torch.zeros(2, 1, 16, 16)
    masks[1] = 1.0
    assert regions.make(remove(region="mask"), masks).mask(seen(torch.ones(2, 4, 4, 4))).sum((1, 2, 3)).tolist() == [0.0, 16.0]


def test_a_mask_bounds_the_other_regions():
    within = torch.zeros(1, 1, 8, 8)
    within[..., 4:] = 1.0
    difference = spot(1.0, (2, 3)) + spot(1.0, (2, 6))
    assert regions.make(remove(), within).mask(seen(difference)).nonzero().tolist() == [[0, 0, 2, 6]]
    assert regions.make(remove(region="everywhere"), within).mask(seen(difference)).sum() == 32
    assert regions.make(remove(region="everywhere")).mask(seen(difference)).sum() == 64


def test_a_mask_that_is_missing_is_asked_for():
    with pytest.raises(SettingsError, match="remove.mask"):
        regions.make(remove(region="mask"))


def test_where_the_picture_attends():
    small = torch.zeros(1, 1, 4, 4)
    small[0, 0, 1, 1] = 0.01  # attention is spread over many tokens; only where it is highest counts
    mask = Attended().mask(seen(torch.ones(1, 4, 8, 8), attention=lambda pictures: small[pictures]))
    assert mask[0, 0, 2:4, 2:4].min() == 1.0 and not mask[0, 0, 6:, 6:].any()
