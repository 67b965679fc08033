"""Attention without a model: words in a text, maps, r_t, which layers are probed."""

import pytest
import torch

from lib_negguide.attention import maps, ratio
from lib_negguide.attention.probes import Layer, every, factors, middle, shares, spread
from lib_negguide.attention.words import Tokens, find
from lib_negguide.errors import HostError, SettingsError

START, END = 8, 9


def chunk(*ids):
    return [START, *ids, *[END] * (76 - len(ids))]


def test_words_are_found_where_they_are_said():
    ids = chunk(1, 2, 3, 2, 3)
    assert find(ids, [2]) == (2, 4)
    assert find(ids, [2, 3]) == (2, 3, 4, 5)
    assert find(ids, [3, 1]) == () and find(ids, []) == ()


def test_a_word_may_go_on_in_the_next_chunk():
    ids = chunk(*[5] * 74, 1) + chunk(2, 7)
    assert find(ids, [1, 2]) == (75, 78)
    assert find(ids, [2, 7]) == (78, 79)


def test_a_word_that_is_not_there_is_named():
    with pytest.raises(SettingsError, match="token.*hat"):
        Tokens.of(chunk(1), [("glasses", [1]), ("hat", [2])])


def test_repeated_texts_and_a_mark_in_front():
    tokens = Tokens.of(chunk(1, 2), [("a", [1]), ("b", [2])])
    assert tokens.columns(77).nonzero().tolist() == [[1, 0], [2, 1]]
    assert tokens.columns(154)[:, 0].nonzero().flatten().tolist() == [1, 78]
    assert tokens.columns(78)[:, 1].nonzero().flatten().tolist() == [3]
    for total in (76, 79, 0):
        with pytest.raises(HostError, match=str(total)):
            tokens.columns(total)
    with pytest.raises(HostError):
        Tokens(("a",), ((1,),), 154).columns(77 * 3)


def layer(weights, size=(1, 2), name="one"):
    return Layer(name, size, torch.as_tensor(weights, dtype=torch.float32))


def test_shares_are_the_softmax_written_out():
    query, key = torch.randn(2, 5, 6), torch.randn(2, 7, 6)
    got = shares(query, key, 3)
    for row in range(2):
        for head in range(3):
            part = slice(2 * head, 2 * head + 2)
            scores = (query[row, :, part] @ key[row, :, part].T / 2**0.5).exp()
            assert torch.allclose(got[row, head], scores / scores.sum(1, keepdim=True), atol=1e-6)


def test_maps_sum_a_words_tokens_and_average_heads_and_layers():
    weights = torch.zeros(1, 2, 2, 77)
    weights[0, 0, 0, 1], weights[0, 0, 0, 2], weights[0, 1, 1, 2] = 0.5, 0.25, 0.5
    tokens = Tokens(("ab", "b"), ((1, 2), (2,)))
    got = maps.of_words([layer(weights), layer(3 * weights, name="two")], tokens)
    assert got.shape == (1, 2, 1, 2)
    assert torch.allclose(got[0, :, 0], 2 * torch.tensor([[0.375, 0.25], [0.125, 0.25]]))


def test_maps_of_other_sizes_are_brought_to_the_largest():
    small, large = torch.full((1, 1, 1, 77), 0.5), torch.full((1, 1, 4, 77), 0.25)
    tokens = Tokens(("a",), ((1,),))
    layers = [layer(small, (1, 1)), layer(large, (2, 2))]
    assert torch.allclose(maps.of_words(layers, tokens), torch.full((1, 1, 2, 2), 0.375))
    assert {size: float(m.mean()) for size, m in maps.each_size(layers, tokens).items()} == {(2, 2): 0.25, (1, 1): 0.5}


def test_the_critical_call_is_where_nine_tenths_of_the_rise_are_reached():
    assert maps.critical([1.0, 1.5, 1.89, 1.9, 2.0, 1.0]) == 3
    assert maps.critical([1.0, 0.5, 0.9]) is None


def test_r_t_is_the_published_one():
    negative, positive = torch.rand(3, 2, 4, 77), torch.rand(3, 2, 4, 77)
    layers = [layer(w, (2, 2)) for w in (negative, positive)]
    by_hand = (negative[1, 0].square().mean() + negative[1, 1].square().mean()) / (positive[1, 0].square().mean() + positive[1, 1].square().mean())
    assert torch.allclose(ratio.ratio(layers[:1], layers[1:])[1], by_hand)
    left = (0.0, 0.0, 0.5, 1.0)
    assert torch.allclose(ratio.squares(layers[:1], left)[2], negative[2][:, [0, 2]].square().mean((1, 2)).sum())
    tokens = Tokens(("a",), ((4,),))
    assert torch.allclose(ratio.squares(layers[:1], tokens=tokens)[0], negative[0][..., 4].square().mean(1).sum())


def test_a_box_smaller_than_a_place_is_that_place():
    assert ratio.inside((0.8, 0.8, 0.81, 0.81), (2, 2)).tolist() == [False, False, False, True]


def meta(**config):
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return factors(UNet2DConditionModel(**config))


def test_sd15_is_probed_at_16x16():
    layers = meta(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    assert sorted(set(layers.values())) == [1, 2, 4, 8]
    chosen = middle(layers, (64, 64))
    assert len(chosen) == 5 and {layers[name] for name in chosen} == {4} and not any("mid" in name for name in chosen)
    assert {layers[name] for name in middle(layers, (16, 16))} == {2}
    assert {layers[name] for name in middle(layers, (2, 2))} == {1}
    assert every(layers, (64, 64)) == list(layers)


class Named(torch.nn.Module):
    """Modules with the names of the original code's SD1.5."""

    def __init__(self):
        super().__init__()
        self.input_blocks = torch.nn.ModuleList([self.block(number in (1, 2, 4, 5, 7, 8), "op" if number in (3, 6, 9) else "")
                                                 for number in range(12)])
        self.middle_block = torch.nn.ModuleList([self.block(True, "")])
        self.output_blocks = torch.nn.ModuleList([self.block(number > 2, "conv" if number in (2, 5, 8) else "") for number in range(12)])

    @staticmethod
    def block(attends, resampling):
        parts = torch.nn.ModuleList()
        if attends:
            attention = torch.nn.Module()
            attention.attn2 = torch.nn.Linear(1, 1)
            parts.append(attention)
        if resampling:
            changed = torch.nn.Module()
            setattr(changed, resampling, torch.nn.Linear(1, 1))
            parts.append(changed)
        return parts


def test_the_original_names_tell_the_same():
    layers = factors(Named())
    expected = ["input_blocks.7.0.attn2", "input_blocks.8.0.attn2", *(f"output_blocks.{n}.0.attn2" for n in (3, 4, 5))]
    assert middle(layers, (64, 64)) == expected and {layers[name] for name in expected} == {4}
    assert [layers[f"output_blocks.{n}.0.attn2"] for n in (6, 9)] == [2, 1] and layers["middle_block.0.0.attn2"] == 8


def test_many_layers_are_thinned_evenly():
    assert spread(range(50), 6) == [0, 10, 20, 29, 39, 49]
    assert spread(range(3), 6) == [0, 1, 2]
