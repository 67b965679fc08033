"""Where NegGuide has nothing to do, or does what the host does, the pictures are the host's own, to the bit."""

import pytest

from tests.webui.client import same

SAMPLERS = ["Euler", "Euler a", "DPM++ 2M", "DPM++ SDE", "DPM++ 3M SDE", "Heun", "LMS", "DDIM", "PLMS", "UniPC"]
NEGATIVE = "hat, mustache"
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS)


@every_sampler
def test_one_whole_negative_is_the_hosts_own(host, sampler):
    own = host.reference(negative_prompt=NEGATIVE, sampler_name=sampler)
    ours = host.txt2img({"negatives": [{"text": NEGATIVE}]}, sampler_name=sampler)
    assert same(ours, own)
    assert not same(ours, host.reference(sampler_name=sampler)), "the negative does nothing: this test could not fail"


@every_sampler
def test_the_box_alone_is_the_hosts_own(host, sampler):
    own = host.reference(negative_prompt=NEGATIVE, sampler_name=sampler)
    assert same(host.txt2img({}, negative_prompt=NEGATIVE, sampler_name=sampler), own)


@every_sampler
def test_no_negatives_are_an_empty_box(host, sampler):
    assert same(host.txt2img({}, sampler_name=sampler), host.reference(sampler_name=sampler))


@every_sampler
def test_weight_0_is_an_empty_box(host, sampler):
    shot = host.txt2img({"negatives": [{"text": NEGATIVE, "weight": 0}]}, sampler_name=sampler)
    assert same(shot, host.reference(sampler_name=sampler))


@every_sampler
def test_disabled_is_the_host_without_the_extension(host, stock, sampler):
    own = stock.txt2img(negative_prompt=NEGATIVE, sampler_name=sampler)
    for negguide in (None, {"enabled": False}):
        assert same(host.txt2img(negguide, negative_prompt=NEGATIVE, sampler_name=sampler), own)
    ours = host.txt2img({"negatives": [{"text": NEGATIVE}]}, sampler_name=sampler)
    assert same(ours, own)


@pytest.mark.parametrize("fields", [
    {"batch_size": 2}, {"n_iter": 2}, {"enable_hr": True, "hr_scale": 1.5, "hr_second_pass_steps": 3},
    {"prompt": "a red circle AND a blue square :0.7"}, {"prompt": "a [person:hat:0.5]"}, {"width": 128},
    {"override_settings": {"CLIP_stop_at_last_layers": 2}}], ids=str)
def test_disabled_in_other_requests(host, stock, fields):
    assert same(host.txt2img({"enabled": False}, negative_prompt=NEGATIVE, **fields), stock.txt2img(negative_prompt=NEGATIVE, **fields))


def test_disabled_leaves_no_trace_in_the_infotext(host, stock):
    shots = host.txt2img({"enabled": False}), stock.txt2img()
    assert shots[0].infotexts == shots[1].infotexts


def test_box_and_negative_of_the_same_window_are_one_text(host):
    own = host.reference(negative_prompt="hat, mustache")
    assert same(host.txt2img({"negatives": [{"text": "mustache"}]}, negative_prompt="hat"), own)
    assert same(host.txt2img({"negatives": [{"text": "hat"}, {"text": "mustache"}]}), own)
