"""Image tokens in a UNet: equal to diffusers' own IP-Adapter, absent to the bit, right rows, nothing left behind."""

import copy
import sys

import pytest
import torch
from diffusers import EulerDiscreteScheduler

from lib_negguide.errors import HostError, ModelError
from lib_negguide.image_prompt import checkpoints, injection
from lib_negguide.image_prompt.injection import Injection
from tests import adapters

KINDS = ("base", "plus", "full-face")
FEATURE = 24


@pytest.fixture(scope="module")
def unet(host):
    """The small model's UNet."""
    return host.model.unet


def adapter_of(unet, kind="base", seed=5, strong=3.0):
    """(nested checkpoint, adapter) of random weights; ``strong`` makes it visible."""
    torch.manual_seed(seed)
    nested = adapters.fitting(unet, kind, feature=FEATURE)
    nested["ip_adapter"] = {key: strong * value for key, value in nested["ip_adapter"].items()}
    return nested, checkpoints.recognise(nested, "random.bin")


def features(kind, seed, count=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, FEATURE) if kind == "base" else (count, 9, FEATURE), generator=generator)


def picture(adapter, seed):
    return injection.image_tokens(adapter, adapter.tokens(features(adapter.kind, seed))[0], str(seed))


def forward(unet, rows=4, seed=1):
    """A forward of random latents and context."""
    generator = torch.Generator().manual_seed(seed)
    x, context = torch.randn(4, 4, 8, 8, generator=generator)[:rows], torch.randn(4, 77, 64, generator=generator)[:rows]
    with torch.no_grad():
        return unet(x, torch.tensor([500.0] * rows), context, return_dict=False)[0]


def theirs(unet, nested):
    """A copy of the UNet with diffusers' own IP-Adapter in it."""
    other = copy.deepcopy(unet)
    other._load_ip_adapter_weights([{group: dict(inside) for group, inside in nested.items()}])
    return other.eval()


@pytest.fixture
def pipeline(monkeypatch):
    """diffusers' own pipeline; it wants names of a transformers newer than the hosts' (which other tests may have imported anew), and does not use them."""
    for name in ("SiglipImageProcessor", "SiglipVisionModel"):
        monkeypatch.setattr(sys.modules["transformers"], name, object, raising=False)
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weight", [1.0, 0.6])
def test_ten_steps_equal_diffusers_own_ip_adapter(host, pipeline, kind, weight):
    """The same run by StableDiffusionPipeline with ip_adapter_image_embeds = cat([negative, positive])."""
    nested, adapter = adapter_of(host.model.unet, kind)
    negative, positive = features(kind, 1), features(kind, 2)
    model, prompt, steps, scale = host.model, "a portrait of a person", 10, 5.0
    with torch.no_grad():
        cond, uncond = model.encode([prompt]).crossattn, model.encode([""], negative=True).crossattn

    run = host.prepare([prompt], [3], steps=steps, cfg_scale=scale, sampler="Euler", size=(64, 64))
    tokens = [injection.image_tokens(adapter, adapter.tokens(part)[0]) for part in (negative, positive)]
    with Injection(model.unet) as inside:
        run.guidance.on_step = lambda *_: inside.begin([[(each, weight)] for each in tokens])
        inside.begin([[(each, weight)] for each in tokens])
        ours = run.between(run.latents)

    pipe = pipeline(
        vae=model.vae, text_encoder=None, tokenizer=None, unet=theirs(model.unet, nested), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
        scheduler=EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                                         timestep_spacing="linspace", steps_offset=1))
    pipe.set_progress_bar_config(disable=True)
    pipe.set_ip_adapter_scale(weight)
    expected = pipe(
        prompt_embeds=cond, negative_prompt_embeds=uncond, num_inference_steps=steps, guidance_scale=scale, height=64, width=64,
        latents=run.latents / run.sigmas[0], ip_adapter_image_embeds=[torch.cat([negative, positive])[:, None]], output_type="latent").images

    assert (run.sigmas - pipe.scheduler.sigmas).abs().max() < 1e-4
    plain = host.prepare([prompt], [3], steps=steps, cfg_scale=scale, sampler="Euler", size=(64, 64))
    assert (plain.between(plain.latents) - ours).abs().max() > 0.1  # the adapter does something
    print("max difference", float((ours - expected).abs().max()), "of", float(expected.abs().max()))
    assert (ours - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_one_forward_equals_diffusers(unet, kind):
    nested, adapter = adapter_of(unet, kind)
    rows = [[(picture(adapter, seed), 0.8)] for seed in range(4)]
    with Injection(unet) as inside:
        inside.begin(rows)
        ours = forward(unet)
    other = theirs(unet, nested)
    for processor in other.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [0.8]
    generator = torch.Generator().manual_seed(1)
    x, context = torch.randn(4, 4, 8, 8, generator=generator), torch.randn(4, 77, 64, generator=generator)
    embeds = torch.cat([features(kind, seed) for seed in range(4)])[:, None]
    with torch.no_grad():
        expected = other(x, torch.tensor([500.0] * 4), context, added_cond_kwargs={"image_embeds": [embeds]}, return_dict=False)[0]
    assert (ours - expected).abs().max() <= 1e-5
    assert len(inside.fired) == len(adapter.layers)


def test_two_pictures_in_a_row_are_two_adapters_of_diffusers(unet):
    """Each picture has its own softmax and weight; they are summed."""
    nested, adapter = adapter_of(unet)
    rows = [[(picture(adapter, 1), 0.8), (picture(adapter, 2), 0.5)]] * 2
    with Injection(unet) as inside:
        inside.begin(rows)
        ours = forward(unet, 2)
    other = copy.deepcopy(unet)
    other._load_ip_adapter_weights([{group: dict(part) for group, part in nested.items()} for _ in range(2)])
    for processor in other.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [0.8, 0.5]
    generator = torch.Generator().manual_seed(1)
    x, context = torch.randn(4, 4, 8, 8, generator=generator)[:2], torch.randn(4, 77, 64, generator=generator)[:2]
    embeds = [features("base", seed).expand(2, -1)[:, None] for seed in (1, 2)]
    with torch.no_grad():
        expected = other.eval()(x, torch.tensor([500.0] * 2), context, added_cond_kwargs={"image_embeds": embeds}, return_dict=False)[0]
    assert (ours - expected).abs().max() <= 1e-5


def test_nothing_or_weight_zero_is_no_adapter_to_the_bit(unet):
    _, adapter = adapter_of(unet)
    plain = forward(unet)
    with Injection(unet) as inside:
        assert torch.equal(forward(unet), plain)
        inside.begin([[(picture(adapter, 1), 0.0)]] * 4)
        assert inside.idle and torch.equal(forward(unet), plain)
        inside.begin([[(picture(adapter, 1), 1.0)]] * 4)
        assert not torch.equal(forward(unet), plain)
        with pytest.raises(HostError, match="4 rows where 0 were announced"):  # rows are of one call
            forward(unet)
        inside.begin(())
        assert torch.equal(forward(unet), plain)
        inside.begin([[(picture(adapter, 1), 1.0)]] * 4)
    assert torch.equal(forward(unet), plain)


def hooks(module):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def test_hooks_go_whatever_happens(unet):
    _, adapter = adapter_of(unet)
    before, plain = hooks(unet), forward(unet)
    with pytest.raises(KeyboardInterrupt):
        with Injection(unet) as inside:
            assert hooks(unet) > before
            inside.begin([[(picture(adapter, 1), 1.0)]] * 4)
            raise KeyboardInterrupt
    assert hooks(unet) == before
    assert torch.equal(forward(unet), plain)


def test_rows_have_pictures_of_their_own(unet):
    """Each row equals that row where all rows have its pictures; one without pictures is the plain one."""
    _, adapter = adapter_of(unet)
    one, two = picture(adapter, 1), picture(adapter, 2)
    rows = [[(one, 1.0)], [], [(two, 0.5), (one, 0.25)], [(two, 2.0)]]
    with Injection(unet) as inside:
        inside.begin(rows)
        mixed = forward(unet)
        for index, row in enumerate(rows):
            inside.begin([row] * 4)
            alone = forward(unet)
            assert (mixed[index] - alone[index]).abs().max() < 1e-5
    assert (mixed[0] - mixed[3]).abs().max() > 1e-3
    assert (mixed[1] - forward(unet)[1]).abs().max() < 1e-5


@pytest.mark.parametrize("cuts", [(4,), (2, 2), (1, 1, 1, 1), (3, 1)])
def test_a_call_may_be_split_into_forwards(unet, cuts):
    _, adapter = adapter_of(unet)
    rows = [[(picture(adapter, seed), 1.0)] for seed in range(3)] + [[]]
    generator = torch.Generator().manual_seed(1)
    x, context = torch.randn(4, 4, 8, 8, generator=generator), torch.randn(4, 77, 64, generator=generator)
    with torch.no_grad(), Injection(unet) as inside:
        inside.begin(rows)
        parts = [unet(a, torch.tensor([500.0] * len(a)), encoder_hidden_states=b, return_dict=False)[0]
                 for a, b in zip(x.split(list(cuts)), context.split(list(cuts)))]
        inside.begin(rows)
        whole = unet(x, torch.tensor([500.0] * 4), context, return_dict=False)[0]
    assert (torch.cat(parts) - whole).abs().max() < 1e-5


def test_rows_that_were_not_announced_are_refused(unet):
    _, adapter = adapter_of(unet)
    with Injection(unet) as inside:
        inside.begin([[(picture(adapter, 1), 1.0)]] * 2)
        with pytest.raises(HostError, match="4 rows where 2 were announced"):
            forward(unet)


def test_replaced_attention_is_named(unet):
    _, adapter = adapter_of(unet)
    layers = [module for _, module in injection.cross_attention(unet)]
    try:
        for layer in layers:
            layer.forward = lambda x, *_args, **_kwargs: x
        with Injection(unet) as inside:
            inside.begin([[(picture(adapter, 1), 1.0)]] * 4)
            with pytest.raises(HostError, match="replaced its attention"):
                forward(unet)
    finally:
        for layer in layers:
            del layer.forward


def test_a_forward_put_there_by_another_extension_is_left_and_acts(unet):
    _, adapter = adapter_of(unet)
    _, layer = injection.cross_attention(unet)[0]
    own, calls = layer.forward, []

    def wrapped(*args, **kwargs):
        calls.append(1)
        return own(*args, **kwargs)

    row = [[(picture(adapter, 1), 1.0)]] * 4
    with Injection(unet) as inside:
        inside.begin(row)
        plain = forward(unet)
        layer.forward = wrapped
        try:
            inside.begin(row)
            assert torch.equal(forward(unet), plain) and calls
        finally:
            del layer.forward


def test_an_adapter_for_another_model_is_refused(unet):
    for width, inner, made_for in ((2048, (64,) * 70, "SDXL"), (768, (64,) * 16, "SD1.5"), (64, (64, 64), "a model of")):
        adapter = checkpoints.recognise(adapters.checkpoint(inner=inner, width=width), "a.bin")
        with pytest.raises(ModelError, match=f"made for {made_for}.*the loaded model is one of cross-attention width 64"):
            injection.check(adapter, unet)
    injection.check(adapter_of(unet)[1], unet)


def test_half_precision(unet):
    """Tokens in float32, the UNet in bfloat16."""
    _, adapter = adapter_of(unet)
    other = copy.deepcopy(unet).to(torch.bfloat16)
    row = [[(picture(adapter, 1), 1.0)]] * 2 + [[(picture(adapter, 2), 0.5)]] * 2
    generator = torch.Generator().manual_seed(1)
    x, context = torch.randn(4, 4, 8, 8, generator=generator), torch.randn(4, 77, 64, generator=generator)
    with torch.no_grad(), Injection(unet) as full, Injection(other) as half:
        full.begin(row), half.begin(row)
        expected = unet(x, torch.tensor([500.0] * 4), context, return_dict=False)[0]
        got = other(x.bfloat16(), torch.tensor([500.0] * 4), context.bfloat16(), return_dict=False)[0]
    assert got.dtype == torch.bfloat16
    assert (got.float() - expected).abs().max() < 0.1 * expected.abs().max()


def test_gradients_reach_the_adapter(unet):
    """The adapter can be trained through the injection."""
    nested, _ = adapter_of(unet)
    weights = {group: {key: value.clone().requires_grad_() for key, value in inside.items()} for group, inside in nested.items()}
    adapter = checkpoints.recognise(weights, "training")
    x, context = torch.randn(1, 4, 8, 8), torch.randn(1, 77, 64)
    with Injection(unet) as inside:
        inside.begin([[(injection.image_tokens(adapter, adapter.tokens(features("base", 1))[0]), 1.0)]])
        unet(x, torch.tensor([500.0]), context, return_dict=False)[0].sum().backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for group in weights.values() for key, value in group.items())
