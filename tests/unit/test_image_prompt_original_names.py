"""Image tokens in a UNet with the original code's names, as WebUIs have it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib_negguide.image_prompt import checkpoints, injection
from lib_negguide.image_prompt.injection import Injection
from tests import adapters

HEADS, INNER, WIDTH = 2, 16, 32


class Attention(nn.Module):
    """Cross-attention with the names and shapes of the original one; its projection out has a bias and a dropout."""

    def __init__(self, inner=INNER):
        super().__init__()
        self.heads = HEADS
        self.to_q, self.to_k, self.to_v = nn.Linear(8, inner, bias=False), nn.Linear(WIDTH, inner, bias=False), nn.Linear(WIDTH, inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, 8), nn.Dropout(0.0))

    def forward(self, x, context=None, mask=None):
        return self.to_out(attended(self.to_q(x), self.to_k(context), self.to_v(context)))


def attended(q, k, v):
    """softmax(q k / sqrt(d)) v, head by head, written out."""
    q, k, v = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in (q, k, v))
    return ((q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)


class Block(nn.Module):
    def __init__(self, inner=INNER):
        super().__init__()
        self.attn2 = Attention(inner)


class Unet(nn.Module):
    """Blocks in the order in which the original code registers and runs them: the middle one before the output ones."""

    def __init__(self, *inner):
        super().__init__()
        self.input_blocks = nn.ModuleList([Block(inner[0]), Block(inner[1])])
        self.middle_block = nn.ModuleList([Block(inner[2])])
        self.output_blocks = nn.ModuleList([Block(size) for size in inner[3:]])

    def forward(self, x, timesteps=None, context=None):
        for block in (*self.input_blocks, *self.middle_block, *self.output_blocks):
            x = x + block.attn2(x, context=context)
        return x


def test_layers_are_numbered_with_the_middle_last():
    unet = Unet(2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28)
    sizes = [layer.to_k.out_features for _, layer in injection.cross_attention(unet)]
    assert sizes == [2, 4, *range(8, 30, 2), 6]
    injection.check(checkpoints.recognise(adapters.checkpoint(inner=sizes), "a"), unet)


def test_the_order_is_that_of_diffusers(host_unet):
    """Its own processors are in the order in which its loader numbers them."""
    own = [name.removesuffix(".processor") for name in host_unet.attn_processors if "attn2" in name]
    assert [name for name, _ in injection.cross_attention(host_unet)] == own
    assert own[-1].startswith("mid_block")


@pytest.fixture
def host_unet():
    from tests.world import model

    return model.build_unet()


@pytest.mark.parametrize("optimised", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_the_published_formula(optimised, named, monkeypatch):
    """out = to_out(text attention + w softmax(q k_ip) v_ip), also where the host has put another forward into the class."""
    torch.manual_seed(0)
    unet = Unet(INNER, INNER, INNER, INNER)
    adapter = checkpoints.recognise(adapters.checkpoint(inner=(INNER,) * 4), "a")
    tokens = torch.randn(2, 4, WIDTH)
    pictures = [injection.image_tokens(adapter, one) for one in tokens]
    x, context = torch.randn(2, 9, 8), torch.randn(2, 77, WIDTH)
    weights = (0.7, 1.5)

    expected = x
    for (_, layer), (k_ip, v_ip) in in_the_order_of_running(unet, adapter):
        q = layer.to_q(expected)
        text = attended(q, layer.to_k(context), layer.to_v(context))
        image = attended(q, F.linear(tokens, k_ip), F.linear(tokens, v_ip))
        expected = expected + layer.to_out(text + torch.tensor(weights)[:, None, None] * image)

    if optimised:
        def fast(self, x, context=None, mask=None):
            q, k, v = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in (self.to_q(x), self.to_k(context), self.to_v(context)))
            return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

        monkeypatch.setattr(Attention, "forward", fast)
    with Injection(unet) as inside:
        inside.begin([[(picture, weight)] for picture, weight in zip(pictures, weights)])
        got = unet(x=x, context=context) if named else unet(x, None, context)
    assert (got - expected).abs().max() < 1e-5
    assert (got - unet(x, None, context)).abs().max() > 1e-2


def in_the_order_of_running(unet, adapter):
    """((name, layer), (k, v)): the middle block between the others."""
    pairs = list(zip(injection.cross_attention(unet), adapter.layers, strict=True))
    return [*pairs[:2], pairs[-1], *pairs[2:-1]]
