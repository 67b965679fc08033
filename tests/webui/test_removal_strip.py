"""The script "Removal strip" over the API: its columns, its sheet, and that every picture makes itself again."""

import json

import numpy as np
import pytest

from tests.webui.client import DEFAULTS
from tests.webui.test_dnp_script import again
from tests.webui.test_img2img import start_image

TITLE = "removal strip"
PROMPT = "a portrait of a person with glasses"


def strip(host, negguide=None, *, image=None, prompt=PROMPT, **fields):
    asked = {name: fields.pop(name) for name in ("text", "columns", "unit", "where") if name in fields}
    wanted = {"script_name": TITLE, "script_args": [asked], "prompt": prompt, **fields}
    return host.txt2img(negguide, **wanted) if image is None else host.img2img(image, negguide, **wanted)


def told(shot):
    return [row["columns"] for row in shot.params["NegGuide removal strip"]["pictures"]]


@pytest.fixture(scope="module")
def shot(host):
    return strip(host, text="glasses", columns="full, 2-, -2, loop", unit="step", n_iter=2, seed=40)


def test_it_is_there_once(host):
    for tab in ("txt2img", "img2img"):
        assert host.get("/sdapi/v1/scripts").json()[tab].count(TITLE) == 1


def test_a_row_a_picture_and_a_column_a_window(shot):
    assert len(shot.images) == 11 and shot.info["index_of_first_image"] == 1 and shot.infotexts[0] == shot.infotexts[5]
    assert shot.images[0].width > 5 * 64 and shot.info["all_seeds"] == [40] * 5 + [41] * 5
    for number, columns in enumerate(told(shot)):
        assert [column["title"] for column in columns] == ["as it is", "whole run", "from step 2", "to step 2", "loop: until gone"]
        assert [column["strengths"] for column in columns[:4]] == [[], [1, 1, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0]]
        assert [column["extra_evaluations"] for column in columns[:4]] == [0, 0, 0, 0], "an ordinary negative costs nothing"
        assert columns[1]["when"].startswith("calls 1-4 of 4, σ 14.6 to ")
        plain, *others = (picture.astype(float) for picture in shot.pixels[1 + 5 * number:6 + 5 * number])
        for column, picture in zip(columns[1:], others):
            assert column["distance"] == pytest.approx(np.abs(picture - plain).mean() / 2.55, abs=0.01)
    assert max(column["distance"] or 0 for columns in told(shot) for column in columns) > 0.5


def test_every_picture_is_what_its_settings_make(host, shot):
    for first, seed in ((1, 40), (6, 41)):
        plain, whole, *_, loop = shot.pixels[first:first + 5]
        assert np.array_equal(plain, host.txt2img(prompt=PROMPT, seed=seed).pixels[0])
        assert np.array_equal(whole, host.txt2img(prompt=PROMPT, negative_prompt="glasses", seed=seed).pixels[0])
        assert np.array_equal(loop, host.txt2img({"remove": {"text": "glasses"}}, prompt=PROMPT, seed=seed).pixels[0])
        assert "NegGuide" not in shot.infotexts[first], "a picture of the host's own"
    for picture, infotext in zip(shot.pixels[2:6], shot.infotexts[2:6]):
        assert np.array_equal(again(host, infotext), picture), infotext


def test_with_the_accordions_settings_in_a_batch(host):
    accordion = {"negatives": [{"text": "hat"}], "remove": {"text": "glasses", "weight": 1.5, "region": "everywhere"}}
    shot = strip(host, accordion, columns=["2-", "loop"], unit="step", where="region", batch_size=2)
    assert len(shot.images) == 7
    own = {**accordion, "remove": {**accordion["remove"], "search": "window", "start": 2, "stop": None, "unit": "step"}}
    for settings, at in (({"negatives": accordion["negatives"]}, 0), (own, 1), (accordion, 2)):
        batch = host.txt2img(settings, prompt=PROMPT, batch_size=2, do_not_save_grid=True).pixels[-2:]
        for picture, alone in zip((shot.pixels[1 + at], shot.pixels[4 + at]), batch):
            assert np.array_equal(picture, alone), settings


def test_img2img(host):
    shot = strip(host, image=start_image(), text="glasses", columns="full, loop")
    assert len(shot.images) == 4 and [column["title"] for column in told(shot)[0]] == ["as it is", "whole run", "loop: until gone"]


@pytest.mark.parametrize("args, words", [
    ([], "script_args = [] is not allowed; a list with one object, whose fields are text, columns, unit, where"),
    ([{"text": "hat", "columns": "0.2-x"}], "columns = '0.2-x' is not allowed; 1 to 12 of full, loop, exhaustive and start-stop"),
    ([{}], "text = '' is not allowed; what is to go, here or in the accordion's section on removal"),
], ids=lambda value: json.dumps(value)[:30])
def test_what_is_not_allowed_is_said_at_once(host, args, words):
    answer = host.post("/sdapi/v1/txt2img", **DEFAULTS, script_name=TITLE, script_args=args)
    assert answer.status_code == 422 and words in answer.text
