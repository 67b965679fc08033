"""The script "Diffusion-negative prompting" over the API: what each mode makes, and that every picture makes itself again."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from lib_negguide.dns import steps_of
from lib_negguide.settings import Dnp
from tests.webui.client import DEFAULTS, same
from tests.webui.servers import PROJECT
from tests.webui.test_img2img import start_image

TITLE = "diffusion-negative prompting"
CAPTIONER = str(PROJECT / "tests" / "world" / "model" / "captioner")
PROMPT = "a red circle"
CHEAP = steps_of(Dnp(), DEFAULTS["steps"])  # of the negative pictures, where the accordion says nothing


def script(host, negguide=None, *, mode, captioner=CAPTIONER, prompt=PROMPT, **fields):
    own = {name: fields.pop(name) for name in ("captions", "show", "scores") if name in fields}
    return host.txt2img(negguide, script_name=TITLE, script_args=[{"mode": mode, "captioner": captioner, **own}], prompt=prompt, **fields)


def again(host, infotext):
    """What a host makes of an infotext alone."""
    answer = host.post("/sdapi/v1/txt2img", infotext=infotext)
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][0]))).convert("RGB"))


def told(shot):
    return [(one["seed"], one["caption"]) for one in shot.params["NegGuide DNP"]["pictures"]]


def shown(infotext):
    return infotext.replace('\\"', '"')


def test_it_is_there_once(host):
    for tab in ("txt2img", "img2img"):
        assert host.get("/sdapi/v1/scripts").json()[tab].count(TITLE) == 1
        assert host.get("/sdapi/v1/scripts").json()[tab].count("negguide") == 1


def test_auto_is_the_accordions_auto_dnp(host):
    shot = script(host, mode="auto-DNP", show=False)
    assert same(shot, host.txt2img({"dnp": {"captioner": CAPTIONER}}, prompt=PROMPT))
    both = script(host, mode="auto-DNP")
    assert len(both.images) == 2 and '{"dns": {}}' in shown(both.infotexts[1])
    assert np.array_equal(again(host, both.infotexts[1]), both.pixels[1])


def test_the_dns_picture(host):
    assert same(script(host, mode="DNS picture"), host.txt2img({"dns": {}}, prompt=PROMPT))


def test_four_pictures(host):
    shot = script(host, mode="four pictures", n_iter=2, seed=40)
    assert len(shot.images) == 9 and shot.info["index_of_first_image"] == 1 and shot.infotexts[0] == shot.infotexts[4]
    assert shot.images[0].width > 4 * 64
    assert shot.info["all_seeds"] == [40] * 4 + [41] * 4
    for first, (seed, caption) in zip((1, 5), told(shot)):
        plain, dns, only, guided = shot.pixels[first:first + 4]
        assert np.array_equal(plain, host.txt2img(prompt=PROMPT, seed=seed).pixels[0])
        assert np.array_equal(dns, host.txt2img({"dns": {}}, prompt=PROMPT, seed=seed, steps=CHEAP).pixels[0])
        assert np.array_equal(only, host.txt2img(prompt="", negative_prompt=caption, seed=seed).pixels[0])
        assert np.array_equal(guided, host.txt2img(prompt=PROMPT, negative_prompt=caption, seed=seed).pixels[0])
        assert "NegGuide" not in shot.infotexts[first] + shot.infotexts[first + 2], "pictures of the host's own"
        for picture, infotext in zip((plain, dns, only, guided), shot.infotexts[first:first + 4]):
            assert np.array_equal(again(host, infotext), picture), infotext


def test_the_accordions_windows_act_beside_the_caption(host):
    accordion = {"negatives": [{"text": "hat", "start": 5.8}], "dnp": {"window": {"stop": 1.6}, "captioner": "text", "text": "a blue square"}}
    shot = script(host, accordion, mode="four pictures", captioner="")
    assert np.array_equal(shot.pixels[1], host.txt2img({"negatives": accordion["negatives"]}, prompt=PROMPT).pixels[0])
    assert np.array_equal(shot.pixels[4], host.txt2img(accordion, prompt=PROMPT).pixels[0])


def test_by_hand(host):
    first = script(host, mode="by hand", n_iter=2, seed=50)
    captions = told(first)
    assert [seed for seed, _ in captions] == [50, 51] and len(first.images) == 2
    assert all(caption in infotext and "dns" in infotext for (_, caption), infotext in zip(captions, first.infotexts))
    for (seed, _), pixels in zip(captions, first.pixels):
        assert np.array_equal(pixels, host.txt2img({"dns": {}}, prompt=PROMPT, seed=seed, steps=CHEAP).pixels[0])
    shot = script(host, mode="by hand", captions=["51: a blue square", "50: a green circle", "7: "], batch_size=2, seed=1, do_not_save_grid=True)
    own = shot.pixels[shot.info["index_of_first_image"]:]
    texts = shot.infotexts[shot.info["index_of_first_image"]:]
    for pixels, text, (seed, caption) in zip(own, texts, ((51, "a blue square"), (50, "a green circle"), (7, ""))):
        alone = host.txt2img(prompt=PROMPT, negative_prompt=caption, seed=seed).pixels[0]
        assert np.abs(pixels.astype(int) - alone).max() <= 2, "but for the rounding of batches"
        assert f"Seed: {seed}," in text
    assert np.abs(again(host, texts[0]).astype(int) - own[0]).max() <= 2 and '"text": "a blue square"' in shown(texts[0])


def test_without_a_captioner_the_pictures_come_all_the_same(host):
    shot = script(host, mode="by hand", captioner="no/such captioner")
    assert told(shot) == [(DEFAULTS["seed"], "")] and same(shot, host.txt2img({"dns": {}}, prompt=PROMPT, steps=CHEAP))
    assert "no/such captioner" in shot.notes


def test_img2img(host):
    shot = host.img2img(start_image(), script_name=TITLE, script_args=[{"mode": "four pictures", "captioner": CAPTIONER}], prompt=PROMPT)
    (_, caption), = told(shot)
    assert len(shot.images) == 5 and caption in shot.infotexts[4]
    assert len({picture.tobytes() for picture in shot.pixels[1:]}) == 4


@pytest.mark.parametrize("args, words", [
    ([], "script_args = [] is not allowed; a list with one object, whose fields are mode, captions"),
    ([{"mode": "five pictures"}], "mode = 'five pictures' is not allowed; one of auto-DNP, DNS picture, by hand, four pictures"),
    ([{"mode": "by hand", "captions": ["1: a", "b"]}], "captions = 'b' is not allowed; every line begins with its seed"),
    ([{"show": "yes"}], "show = 'yes' is not allowed; true or false"),
    ([{"samples": 2}], "samples = 2 is not allowed; unknown field; known are mode, captions"),
], ids=lambda value: json.dumps(value)[:30])
def test_what_is_not_allowed_is_said_at_once(host, args, words):
    answer = host.post("/sdapi/v1/txt2img", **DEFAULTS, script_name=TITLE, script_args=args)
    assert answer.status_code == 422 and words in answer.text
