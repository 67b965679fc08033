"""What a plan means on the embedded host."""

import pytest
import torch

from lib_negguide.errors import SettingsError
from lib_negguide.hosts.embedded.samplers import noise_levels, sampler
from lib_negguide.settings import Settings
from lib_negguide.world import PROMPT

OPTIONS = {"steps": 6, "cfg_scale": 4.0, "size": (64, 64)}
WINDOW = {"text": "mustache", "start": 5.8, "stop": 1.6}
ALL_SAMPLERS = ("Euler", "Euler a", "Heun", "DPM++ 2M", "DDIM")


def pictures(host, settings=None, box="", seeds=(3, 4), **options):
    return host.sample([PROMPT] * len(seeds), list(seeds), Settings.parse(settings or {}), negative_prompts=box,
                       **{**OPTIONS, **options})


def plain(host, negative, name, seeds=(3, 4)):
    """Classifier-free guidance written down without any of the plan's machinery."""
    model, levels, chosen = host.model, host.levels, sampler(name)
    context = torch.cat([model.encode([negative] * len(seeds), negative=True).crossattn, model.encode([PROMPT] * len(seeds)).crossattn])
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def noise():
        return torch.stack([torch.randn(4, 8, 8, generator=g) for g in generators])

    def denoise(x, sigma):
        rows = torch.cat([x, x])
        out = model.unet(rows / (sigma**2 + 1.0) ** 0.5, levels.timestep(sigma).expand(len(rows)), context).sample
        d_u, d_c = (rows - out * sigma).chunk(2)
        return d_u + OPTIONS["cfg_scale"] * (d_c - d_u)

    sigmas, _ = noise_levels(chosen, "automatic", OPTIONS["steps"], levels)
    scale = (1 + sigmas[0] ** 2) ** 0.5 if name == "DDIM" else sigmas[0]
    with torch.no_grad():
        x = chosen.step(denoise, noise() * scale, sigmas, noise)
        return model.decode(x / (1 + sigmas[-1] ** 2) ** 0.5 if name == "DDIM" else x)


@pytest.mark.parametrize("name", ALL_SAMPLERS)
def test_no_negatives_is_plain_guidance_to_the_bit(host, name):
    assert torch.equal(pictures(host, sampler=name).images, plain(host, "", name))


@pytest.mark.parametrize("name", ALL_SAMPLERS)
def test_weight_one_in_the_whole_run_is_the_stock_negative_to_the_bit(host, name):
    stock = plain(host, "mustache", name)
    assert torch.equal(pictures(host, {"negatives": [{"text": "mustache"}]}, sampler=name).images, stock)
    assert torch.equal(pictures(host, box="mustache", sampler=name).images, stock)


def test_disabled_is_the_stock_negative_to_the_bit(host):
    off = {"enabled": False, "box": {"start": 1.0}, "negatives": [{"text": "hat"}]}
    assert torch.equal(pictures(host, off, box="mustache").images, plain(host, "mustache", "Euler"))


def test_weight_zero_is_no_negative_to_the_bit(host):
    assert torch.equal(pictures(host, {"negatives": [{"text": "hat", "weight": 0}]}).images, plain(host, "", "Euler"))


@pytest.mark.parametrize("name", ALL_SAMPLERS)
def test_the_window_acts_exactly_at_its_calls(host, name):
    trace = pictures(host, {"negatives": [WINDOW]}, sampler=name, steps=9).trace
    inside = [n for n, call in enumerate(trace.calls) if 1.6 < call.sigma <= 5.8]
    assert trace.acted(0) == inside
    assert 0 < len(inside) < len(trace.calls)


def test_before_the_window_the_run_is_the_one_without_a_negative(host):
    def states(settings):
        run = host.prepare([PROMPT], [3], Settings.parse(settings), **OPTIONS)
        x = [run.latents]
        for call in range(OPTIONS["steps"]):
            x.append(run.between(x[-1], call, call + 1))
        return x

    settings = {"negatives": [{"text": "mustache", "start": 2, "stop": 4, "unit": "step"}]}
    same = [torch.equal(one, other) for one, other in zip(states({}), states(settings), strict=True)]
    assert same == [True, True, True, False, False, False, False]  # the first call that differs is the third


@pytest.mark.parametrize("combine", ["branches", "perp-neg"])
def test_a_branch_is_predicted_only_where_it_acts(host, combine):
    rows = []
    hook = host.model.unet.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    try:
        result = pictures(host, {"negatives": [WINDOW, {"text": "hat", "start": 3}], "combine": combine})
    finally:
        hook.remove()
    expected = [2 * (2 + sum(strength > 0 for strength in call.strengths)) for call in result.trace.calls]
    assert rows == expected
    assert {4, 6, 8} == set(rows)
    assert result.trace.extra_evaluations == sum(row // 2 - 2 for row in rows)


def test_a_window_costs_no_prediction(host):
    rows = []
    hook = host.model.unet.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    try:
        pictures(host, {"negatives": [WINDOW, {"text": "hat", "weight": 0.5}]})
    finally:
        hook.remove()
    assert rows == [4] * OPTIONS["steps"]


def test_perp_neg_with_the_prompt_as_negative_is_the_empty_negative(host):
    perp = pictures(host, {"negatives": [{"text": PROMPT}], "combine": "perp-neg"}).images
    assert (perp - plain(host, "", "Euler")).abs().max() < 2e-3


def test_branches_with_weight_w_are_the_formula(host):
    """Three branches, one negative: d_u + s (d_c - w (d_n - d_u) - d_u), here with negative = prompt, so s (1 - w)."""
    half = pictures(host, {"negatives": [{"text": PROMPT, "weight": 0.5}], "combine": "branches"}).images
    assert (half - pictures(host, cfg_scale=2.0).images).abs().max() < 2e-3


def test_prompts_of_any_length(host):
    long = ", ".join(["a portrait of a person wearing a hat and glasses"] * 12)
    for settings in ({"negatives": [{"text": long}]}, {"negatives": [{"text": long, "weight": 0.5, "start": 5.0}]},
                     {"negatives": [{"text": long}, {"text": "hat"}], "combine": "branches"}):
        result = pictures(host, settings)
        assert torch.isfinite(result.images).all()
        assert not torch.equal(result.images, plain(host, "", "Euler"))


def test_batches_have_negatives_of_their_own(host):
    long = ", ".join(["hat"] * 60)
    both = host.sample([PROMPT] * 2, [3, 4], negative_prompts=["mustache", long], **OPTIONS).images
    alone = host.sample([PROMPT], [4], negative_prompts=long, **OPTIONS).images
    assert (both[1] - alone[0]).abs().max() < 2e-3


def test_a_picture_does_not_depend_on_its_batch(host):
    many = pictures(host, {"negatives": [WINDOW]}, seeds=(1, 2, 3, 4, 5), batch_size=2, sampler="Euler a").images
    one = pictures(host, {"negatives": [WINDOW]}, seeds=(5,), sampler="Euler a").images
    assert (many[4] - one[0]).abs().max() < 2e-3


def test_one_and_two_threads_give_the_same_bits(host):
    one = pictures(host, {"negatives": [WINDOW]}).images
    torch.set_num_threads(2)
    assert torch.equal(one, pictures(host, {"negatives": [WINDOW]}).images)
    assert torch.get_num_threads() == 2


def test_an_interrupted_run_leaves_nothing_behind(host):
    before = pictures(host, {"negatives": [WINDOW]}).images

    def interrupt(call, calls, sigma):
        if call == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pictures(host, {"negatives": [{"text": "hat"}]}, on_step=interrupt)
    assert torch.equal(before, pictures(host, {"negatives": [WINDOW]}).images)


def test_the_global_random_state_is_left_alone(host):
    before = torch.get_rng_state()
    pictures(host, sampler="Euler a")
    assert torch.equal(before, torch.get_rng_state())


def test_progress_counts_every_call(host):
    seen = []
    pictures(host, seeds=(1, 2, 3), batch_size=2, sampler="Heun", on_step=lambda *step: seen.append(step[:2]))
    assert seen == [(number, 22) for number in range(22)]


@pytest.mark.parametrize("bad", [{"sampler": "foo"}, {"scheduler": "foo"}, {"steps": 0}, {"steps": 1.5}, {"size": (65, 64)},
                                 {"size": (8, 8)}, {"sampler": "DDIM", "steps": 1}])
def test_wrong_options_are_named(host, bad):
    with pytest.raises(SettingsError, match=sorted(bad)[-1]):
        pictures(host, **bad)
