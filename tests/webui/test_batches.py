"""Several pictures in one request."""

import pytest

from tests.webui.client import distance, same

LONG = ", ".join(["a hat with a very wide brim"] * 14)  # over 75 tokens: two chunks
WINDOW = {"negatives": [{"text": "mustache", "start": 5.8, "stop": 0.7}]}


@pytest.mark.parametrize("sampler", ["Euler a", "DDIM"])
def test_batch_size(host, sampler):
    """As many single requests give, but for the order of additions in a larger batch."""
    batch = host.txt2img(WINDOW, batch_size=3, sampler_name=sampler)
    assert len(batch.pixels) == 3 and len(batch.infotexts) == 3
    for n, pixels in enumerate(batch.pixels):
        single = host.txt2img(WINDOW, seed=7 + n, sampler_name=sampler)
        assert abs(pixels.astype(int) - single.pixels[0].astype(int)).max() <= 4
        assert batch.infotexts[n] == single.infotexts[0]


def test_batch_count(host):
    shots = host.txt2img(WINDOW, n_iter=2)
    singles = [host.txt2img(WINDOW, seed=seed) for seed in (7, 8)]
    assert all((pixels == single.pixels[0]).all() for pixels, single in zip(shots.pixels, singles))


@pytest.mark.parametrize("fields", [{"batch_size": 2}, {"n_iter": 2}, {"batch_size": 2, "n_iter": 2}], ids=str)
def test_to_the_bit_in_batches(host, fields):
    own = host.reference(negative_prompt="mustache", **fields)
    assert same(host.txt2img({"negatives": [{"text": "mustache"}]}, **fields), own)
    assert same(host.txt2img({}, **fields), host.reference(**fields))


def matrix(host, negguide, negative, batch_size, steps=4):
    """The host's prompt matrix over the parts of the negative: unequal negatives in one request."""
    return host.txt2img(negguide, script_name="prompt matrix", script_args=[False, False, "negative", "comma", 0], batch_size=batch_size,
                        negative_prompt=negative, steps=steps, do_not_save_grid=True)


@pytest.mark.parametrize("extra", ["mustache", LONG], ids=["equal lengths", "unequal lengths"])
@pytest.mark.parametrize("combine", ["join", "branches"])
def test_unequal_negatives_in_one_batch(host, extra, combine):
    """The host itself fails where negatives of one batch have different numbers of chunks.

    The shorter one is then filled up with empty chunks, as the host does with prompts: nearly its own picture.
    """
    settings = {**WINDOW, "combine": combine}
    apart = matrix(host, settings, f"glasses|{extra}", 1)
    together = matrix(host, settings, f"glasses|{extra}", 2)
    pictures = [shot.pixels[-2:] for shot in (apart, together)]
    assert all(len(pair) == 2 for pair in pictures)
    assert (pictures[0][0] != pictures[0][1]).any()
    (short, long), (filled, same_long) = ([picture.astype(int) for picture in pair] for pair in pictures)
    assert abs(long - same_long).max() <= 4
    assert abs(short - filled).max() <= 4 or extra == LONG
    assert abs(short - filled).mean() < abs(short - long).mean() / 2


@pytest.mark.parametrize("text", ["hat", LONG])
def test_long_negatives(host, text):
    own = host.reference(negative_prompt=text)
    assert same(host.txt2img({"negatives": [{"text": text}]}), own)
    part = host.txt2img({"negatives": [{"text": text, "start": 5.8, "stop": 0.7}]})
    assert distance(part, own) > 0


@pytest.mark.parametrize("first", ["mustache", LONG], ids=["short", "long"])
def test_two_negatives_take_turns(host, first):
    """Like prompt editing, whose shorter text the host fills up with empty chunks; here each keeps its own length."""
    settings = {"negatives": [{"text": first, "stop": 2, "unit": "step"}, {"text": "hat", "start": 2, "unit": "step"}]}
    shot, edited = host.txt2img(settings, steps=5), host.reference(negative_prompt=f"[{first}:hat:1]", steps=5)
    assert same(shot, edited) == (first != LONG)
    assert not same(shot, host.reference(negative_prompt=first, steps=5))


@pytest.mark.parametrize("curve", ["constant", "linear down"])
def test_a_long_negative_at_half_weight(host, curve):
    shot = host.txt2img({"negatives": [{"text": LONG, "weight": 0.5, "curve": curve}]}, negative_prompt="hat")
    assert not same(shot, host.reference(negative_prompt="hat"))


@pytest.mark.parametrize("prompt", ["a red circle AND a blue square", "a portrait AND a hat :0.4 AND glasses :-0.3", "a [person:shape:0.5]", LONG])
def test_prompts_of_every_kind(host, prompt):
    own = host.reference(prompt=prompt, negative_prompt="mustache")
    assert same(host.txt2img({"negatives": [{"text": "mustache"}]}, prompt=prompt), own)
    part = host.txt2img(WINDOW, prompt=prompt)
    assert not same(part, own) and not same(part, host.reference(prompt=prompt))


def test_and_in_a_batch(host):
    prompt = "a red circle AND a blue square :0.7"
    own = host.reference(prompt=prompt, negative_prompt="mustache", batch_size=2)
    assert same(host.txt2img({"negatives": [{"text": "mustache"}]}, prompt=prompt, batch_size=2), own)
