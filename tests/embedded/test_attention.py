"""Probes in a running UNet: right shares of the right rows, nothing changed, nothing left behind."""

import pytest
import torch

from lib_negguide import world
from lib_negguide.attention import ratio
from lib_negguide.attention.probes import Probe, every
from lib_negguide.attention.watch import Attention, Watch
from lib_negguide.attention.words import Tokens
from lib_negguide.errors import HostError
from lib_negguide.image_prompt.injection import cross_attention
from lib_negguide.settings import Settings

LAYER = "up_blocks.1.attentions.0.transformer_blocks.0.attn2"


@pytest.fixture(scope="module")
def unet(host):
    return host.model.unet


def inputs(rows=4, tokens=77):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, 4, 8, 8, generator=generator)[:rows], torch.randn(4, tokens, 64, generator=generator)[:rows]


@torch.no_grad()
def forward(unet, x, context):
    return unet(x, torch.tensor([500.0] * len(x)), encoder_hidden_states=context, return_dict=False)[0]


def hooks(module):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def test_shares_are_those_of_the_layer(unet):
    """By hand: what goes into the layer, through its own projections."""
    layer, seen = dict(cross_attention(unet))[LAYER], {}
    handle = layer.register_forward_pre_hook(lambda _m, args, kwargs: seen.update(x=args[0], context=kwargs["encoder_hidden_states"]),
                                             with_kwargs=True)
    with Probe(unet) as probe:
        probe.begin([True] * 4)
        forward(unet, *inputs())
        looked = {one.name: one for one in probe.look()}
    handle.remove()
    assert list(looked) == ["down_blocks.0.attentions.0.transformer_blocks.0.attn2", LAYER, LAYER.replace("attentions.0", "attentions.1")]
    with torch.no_grad():
        q, k = (part.unflatten(-1, (layer.heads, -1)).transpose(1, 2) for part in (layer.to_q(seen["x"]), layer.to_k(seen["context"])))
    scores = torch.einsum("bhpd,bhtd->bhpt", q, k) / q.shape[-1] ** 0.5
    expected = scores.exp() / scores.exp().sum(-1, keepdim=True)
    got = looked[LAYER]
    assert got.size == (8, 8) and got.weights.shape == (4, 4, 64, 77)
    assert (got.weights - expected).abs().max() < 1e-5
    for one in looked.values():
        assert (one.weights.sum(-1) - 1).abs().max() < 1e-5


def test_pictures_are_the_same_to_the_bit(unet):
    plain = forward(unet, *inputs())
    with Probe(unet, every) as probe:
        assert torch.equal(forward(unet, *inputs()), plain) and probe.rows() == []
        probe.begin([True, False, True, False])
        assert torch.equal(forward(unet, *inputs()), plain)
        assert {one.size for one in probe.look()} == {(8, 8), (4, 4)}
        probe.begin([False] * 4)
        assert torch.equal(forward(unet, *inputs()), plain) and probe.rows() == []


@pytest.mark.parametrize("cuts", [(2, 2), (1, 1, 1, 1), (3, 1)])
def test_a_call_may_be_split_into_forwards(unet, cuts):
    x, context = inputs()
    with Probe(unet) as probe:
        probe.begin([True, False, True, True])
        forward(unet, x, context)
        whole = probe.look()
        assert probe.rows() == [0, 2, 3] and len(whole[0].weights) == 3
        probe.begin([True, False, True, True])
        for parts in zip(x.split(cuts), context.split(cuts)):
            forward(unet, *parts)
        for one, other in zip(probe.look([0, 2, 3]), whole):
            assert (one.weights - other.weights).abs().max() < 1e-5
        assert torch.equal(probe.look([3])[0].weights[0], probe.look([0, 3])[0].weights[1])


def test_what_cannot_be_looked_at_is_said(unet):
    x, context = inputs()
    with Probe(unet) as probe:
        with pytest.raises(HostError, match="no attention to look at"):
            probe.look()
        probe.begin([True, False])
        with pytest.raises(HostError, match="4 rows where 2 were announced"):
            forward(unet, x, context)
        probe.begin([True, False])
        forward(unet, x[:2], context[:2])
        with pytest.raises(HostError, match="row 1"):
            probe.look([1])
        layer = dict(cross_attention(unet))[LAYER]
        try:
            layer.forward = lambda x, *_args, **_kwargs: x
            probe.begin([True, True])
            forward(unet, x[:2], context[:2])
            with pytest.raises(HostError, match="another extension has changed the attention of " + LAYER):
                probe.look()
        finally:
            del layer.forward


def test_hooks_go_whatever_happens(unet):
    before = hooks(unet)
    with pytest.raises(KeyboardInterrupt):
        with Probe(unet) as probe:
            assert hooks(unet) > before
            probe.begin([True])
            raise KeyboardInterrupt
    assert hooks(unet) == before


def test_hooks_act_after_a_forward_that_failed(unet):
    x, context = inputs()
    with Probe(unet) as probe:
        probe.begin([True] * 8)
        with pytest.raises(RuntimeError):
            forward(unet, x, context[..., :5])
        forward(unet, x, context)
        probe.begin([True] * 4)
        forward(unet, x, context)
        assert probe.rows() == [0, 1, 2, 3]


def test_another_texts_tokens(unet):
    """The same queries against another condition; equal to looking at it where it is the row's own."""
    x, context = inputs()
    with Probe(unet) as probe:
        probe.begin([True] * 4)
        forward(unet, x, context)
        own, other = probe.look([2]), probe.look([2], context[2:3])
        for one, two in zip(own, other):
            assert (one.weights - two.weights).abs().max() < 1e-6
        assert (probe.look([2], context[1:2])[0].weights - own[0].weights).abs().max() > 1e-3


def test_a_watch_tells_each_picture_from_its_prompts_row(unet):
    x, context = inputs()
    with Watch(unet, context[3:], Tokens(("a",), ((1,),))) as watch:
        watch.begin([None, None, 0, 1])
        forward(unet, x, context)
        presence, maps = watch.presence([0, 1]), watch.maps([1])
        layers = watch.probe.look([2])
        assert presence[1] == pytest.approx(1.0, abs=1e-5)  # its prompt is the text itself
        assert presence[0] == pytest.approx(float(1 / ratio.ratio(watch.probe.look([2], context[3:]), layers)), rel=1e-5)
        assert Attention(watch).presence(None, [0]).tolist() == pytest.approx(presence[:1].tolist())
        assert maps.shape == (1, 1, 8, 8) and float(maps.min()) == 0.0 and float(maps.max()) == 1.0
        assert all(one.name.startswith("up") for one in layers)
        with pytest.raises(HostError, match="picture 2"):
            watch.maps([2])


def test_half_precision(unet):
    import copy

    x, context = inputs(2)
    half = copy.deepcopy(unet).bfloat16()
    with Probe(unet) as one, Probe(half) as two:
        one.begin([True] * 2), two.begin([True] * 2)
        forward(unet, x, context), forward(half, x.bfloat16(), context.bfloat16())
        for full, rough in zip(one.look(), two.look(context=context.bfloat16()[:1])):
            assert rough.weights.dtype == torch.float32 and (full.weights[0] - rough.weights[0]).abs().max() < 0.05


@pytest.mark.parametrize("asked", [{"detector": "attention"}, {"region": "attention"}, {"detector": "attention", "region": "attention"}])
def test_a_removal_by_attention(host, asked):
    """The loop runs by it, its looks cost no prediction, and its hooks are gone."""
    before = hooks(host.model.unet)
    settings = Settings.parse({"remove": {"text": "glasses", "start": None, "stop": None, "gone": -1.0, "every": 1, **asked}})
    result = host.sample([world.PROMPT] * 2, [1, 2], settings, steps=3, cfg_scale=5.0, size=world.SIZE)
    calls = [call.removal for call in result.trace.calls]
    assert hooks(host.model.unet) == before
    assert all(0 < share <= 1 for call in calls for share in call.shares)
    if "detector" in asked:
        assert all(0.5 < value < 1.5 for call in calls for value in call.presence)
        off = settings.copy(update={"remove": settings.remove.copy(update={"gone": 9.0, "back": 9.0, "every": 1})})
        shown = host.sample([world.PROMPT], [1], off, steps=4, cfg_scale=5.0, size=world.SIZE).trace
        assert [call.removal.predicted for call in shown.calls][-1] == (False,) and shown.calls[-1].removal.presence[0] is not None
