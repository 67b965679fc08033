"""The search of Ban et al. on the embedded host: shared beginnings change no picture, and both prices are told."""

from contextlib import contextmanager

import pytest
import torch
from PIL import Image

from lib_negguide import removal, world
from lib_negguide.hosts.embedded.samplers import noise_levels
from lib_negguide.hosts.embedded.samplers import sampler as sampler_named
from lib_negguide.settings import Settings
from tests.embedded.test_removal import ALL_SAMPLERS, OPTIONS, rows_of

REMOVE = {"text": "hat", "start": 2, "stop": None, "unit": "step", "search": "exhaustive"}


@contextmanager
def saying(*captions):
    """A captioner that says one thing after the other, then the last for ever."""
    left = list(captions)

    class Talker:
        name = "talker"

        def caption(self, images, how):
            return [left.pop(0) if len(left) > 1 else left[0] for _ in images]

    yield Talker()


def search(host, *captions, seeds=(3,), **options):
    remove = {**REMOVE, **options.pop("remove", {})}
    with rows_of(host) as rows, saying(*captions) as talker:
        result = host.sample([world.PROMPT] * len(seeds), list(seeds), Settings.parse({"remove": remove, **options.pop("settings", {})}),
                             open_captioner=lambda: _given(talker), **{**OPTIONS, **options})
    return result, rows


@contextmanager
def _given(what):
    yield what


def window(host, end, name, **fields):
    """The picture of one window, sampled whole."""
    sigmas, _ = noise_levels(sampler_named(name), "automatic", OPTIONS["steps"], host.levels)
    own = Settings.parse({"remove": {**REMOVE, **fields}}).remove
    settings = Settings(remove=removal.window_to(own, end, sigmas[:-1].tolist()))
    return host.sample([world.PROMPT], [3], settings, sampler=name, **OPTIONS).images


WHOLE = {"region": "everywhere", "weight": 1}


@pytest.mark.parametrize(("name", "fields"), [*((name, WHOLE) for name in ALL_SAMPLERS), ("Euler a", {"every": 2}), ("Heun", {"every": 2})])
def test_shared_beginnings_give_the_pictures_of_whole_samplings(host, name, fields):
    result, rows = search(host, "a hat", "a hat", "a hat", "gone", remove=fields, sampler=name)
    found = result.searches[0]
    assert found.ends == (2, 3, 4, 5) and found.gone
    assert torch.equal(result.images, window(host, 5, name, **fields))
    assert sum(rows) == found.evaluations == result.evaluations(0)
    assert found.alone == found.evaluations if name == "DPM++ 2M" else found.alone > found.evaluations
    assert found.alone >= 4 * 2 * len(result.trace.calls)


def test_each_picture_has_a_search_of_its_own(host):
    result, _ = search(host, "a hat", "gone", "gone", "a hat", seeds=(3, 4, 5))
    assert [one.ends for one in result.searches] == [(2, 3), (2,), (2, 3, 4, 5, 6)]
    assert [one.gone for one in result.searches] == [True, True, False]
    plain = host.sample([world.PROMPT], [4], Settings(), **OPTIONS)
    assert torch.equal(result.images[1], plain.images[0])  # it was not there: the picture as it is
    assert [result.trace.removing(picture) for picture in range(3)] == [[2], [], [2, 3, 4, 5]]
    assert result.evaluations(1) == plain.evaluations(0)


def test_the_trace_of_a_window_in_the_whole_picture(host):
    result, _ = search(host, "a hat", "gone", remove=WHOLE, settings={"negatives": [{"text": "hat"}]})
    assert result.trace.names == ("hat",) and result.trace.acted(0) == list(range(6))
    assert result.trace.removing(0) == [2] and result.trace.calls[2].removal.shares == (1.0,)


def test_anchored(host):
    mask = Image.new("L", world.SIZE)
    mask.paste(255, (0, 0, 32, 64))
    result, rows = search(host, "a hat", "gone", remove={"region": "mask", "anchor": True}, mask=mask)
    assert sum(rows) == result.evaluations(0)
    assert result.searches[0].ends == (2, 3)


def test_progress_rises(host):
    seen = []
    search(host, "a hat", "gone", "gone", seeds=(3, 4), on_step=lambda call, calls, sigma: seen.append((call, calls)))
    numbers = [call for call, _ in seen]
    assert numbers == sorted(set(numbers)) and len({calls for _, calls in seen}) == 1 and numbers[-1] < seen[0][1]


def test_an_interrupt_ends_it(host):
    def interrupt(call, calls, sigma):
        if call == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(host, "a hat", on_step=interrupt)
    assert search(host, "gone")[0].searches[0].ends == (2,)
