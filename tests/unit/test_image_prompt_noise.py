"""Noise on pictures."""

import numpy as np
import pytest

from lib_negguide.errors import SettingsError
from lib_negguide.image_prompt.noise import noisy
from lib_negguide.settings import NOISES as ALL

NOISES = [kind for kind in ALL if kind != "none"]


def picture(size=64):
    return np.random.default_rng(1).random((size, size, 3), np.float32) * 0.5 + 0.25


@pytest.mark.parametrize("kind", NOISES)
def test_amount_nought_is_the_picture_and_more_is_further_from_it(kind):
    plain = picture()
    assert np.array_equal(noisy(plain, kind, 0.0, 64), plain)
    distances = [np.abs(noisy(plain, kind, amount, 64) - plain).mean() for amount in (0.25, 0.5, 1.0)]
    assert 0 < distances[0] < distances[1] < distances[2]


@pytest.mark.parametrize("kind", NOISES)
def test_the_same_seed_gives_the_same_noise(kind):
    one, two, other = (noisy(picture(), kind, 0.5, 64, seed) for seed in (3, 3, 4))
    assert np.array_equal(one, two) and not np.array_equal(one, other)
    assert one.dtype == np.float32 and one.shape == (64, 64, 3) and 0 <= one.min() and one.max() <= 1


def test_the_picture_itself_is_left_alone():
    plain = picture()
    before = plain.copy()
    for kind in NOISES:
        noisy(plain, kind, 1.0, 64)
    assert np.array_equal(plain, before)


def test_formulas():
    plain = picture()
    faded, whole = noisy(plain, "fade", 0.25, 64), noisy(plain, "fade", 1.0, 64)
    assert np.allclose(faded, 0.75 * plain + 0.25 * whole, atol=1e-6)
    assert abs(whole.mean() - 0.5) < 0.02 and abs(whole.std() - 12 ** -0.5) < 0.02
    kept = (noisy(plain, "dissolve", 0.25, 64) == plain).all(-1)
    assert abs(kept.mean() - 0.75) < 0.03
    assert abs((noisy(plain, "gaussian", 0.1, 64) - plain).std() - 0.1) < 0.01


@pytest.mark.parametrize("size", [64, 224, 70])
@pytest.mark.parametrize("amount", [0.5, 1.0])
def test_shuffle_moves_tiles_and_loses_none(size, amount):
    plain = picture(size)
    mixed = noisy(plain, "shuffle", amount, size)
    assert np.array_equal(np.sort(mixed.ravel()), np.sort(plain.ravel()))
    tile = size // 8
    moved = [not np.array_equal(mixed[y:y + tile, x:x + tile], plain[y:y + tile, x:x + tile])
             for y in range(0, 8 * tile, tile) for x in range(0, 8 * tile, tile)]
    assert sum(moved) == 64 * amount


@pytest.mark.parametrize("kind", ["fade", "dissolve", "gaussian"])
def test_noise_without_a_picture(kind):
    noise = noisy(None, kind, 0.5, 32)
    assert noise.shape == (32, 32, 3) and noise.std() > 0.05


@pytest.mark.parametrize("pixels, kind, amount", [(picture(), "blur", 0.5), (picture(), "fade", 1.5), (picture(), "fade", -0.1),
                                                  (None, "none", 0.5), (None, "shuffle", 0.5), (None, "fade", 0.0)])
def test_what_is_not_allowed_is_named(pixels, kind, amount):
    with pytest.raises(SettingsError, match="noise|amount"):
        noisy(pixels, kind, amount, 64)
