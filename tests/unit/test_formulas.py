import pytest
import torch

from lib_negguide import formulas


@pytest.fixture
def predictions():
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(3, 4, 8, 8, generator=generator, dtype=torch.float64) for _ in range(3)]


def test_three_branch_is_equation_4(predictions):
    p, u, n = predictions
    result = formulas.cfg(p + formulas.three_branch(u, [(n, 1.0)]), u, 7.5)
    torch.testing.assert_close(result, u + 7.5 * (p - n))


def test_three_branch_weights_add(predictions):
    p, u, n = predictions
    torch.testing.assert_close(formulas.three_branch(u, [(n, 0.5), (p, 2.0)]), -0.5 * (n - u) - 2 * (p - u))


def test_perp_neg_with_the_prompt_as_negative_is_the_empty_negative(predictions):
    p, u, _ = predictions
    torch.testing.assert_close(formulas.perp_neg(p, u, [(p, 1.0)]), torch.zeros_like(p))


def test_perp_neg_is_perpendicular_for_each_picture(predictions):
    p, u, n = predictions
    push = formulas.perp_neg(p, u, [(n, 1.0)])
    torch.testing.assert_close((push * (p - u)).sum((1, 2, 3)), torch.zeros(3, dtype=torch.float64))
    assert push.abs().max() > 0.1


def test_perp_neg_survives_a_prompt_that_equals_the_empty_one(predictions):
    _, u, n = predictions
    assert torch.isfinite(formulas.perp_neg(u, u, [(n, 1.0)])).all()


def test_mix_of_one_is_that_one():
    e = torch.randn(1, 77, 4)
    assert formulas.mix([(e, 1.0)]) is e


def test_mix_interpolates_from_empty_and_beyond():
    e, empty = torch.full((1, 77, 2), 3.0), torch.full((1, 77, 2), 1.0)
    for weight in (0.0, 0.5, 1.0, 2.0):
        assert (formulas.mix([(e, weight), (empty, 1 - weight)]) == 1 + 2 * weight).all()


@pytest.mark.parametrize("chunks, together", [((1, 2), 2), ((2, 3), 6), ((1, 3, 3), 3)])
def test_mix_of_different_lengths(chunks, together):
    parts = [(torch.full((2, 77 * count, 3), float(count)), 1 / len(chunks)) for count in chunks]
    mixed = formulas.mix(parts)
    assert mixed.shape == (2, 77 * together, 3)
    torch.testing.assert_close(mixed, torch.full_like(mixed, sum(chunks) / len(chunks)))


def test_a_repeated_condition_predicts_the_same():
    query, condition = torch.randn(2, 16, 8, dtype=torch.float64), torch.randn(2, 77, 8, dtype=torch.float64)

    def attention(context):
        return (query @ context.transpose(1, 2)).softmax(-1) @ context

    torch.testing.assert_close(attention(formulas.repeat(condition, 231)), attention(condition))
    for length in (0, 100):
        with pytest.raises(ValueError, match="multiple of 77"):
            formulas.repeat(condition, length)


def test_mix_of_pooled_embeddings():
    assert (formulas.mix([(torch.ones(2, 5), 0.5), (torch.zeros(2, 5), 0.5)]) == 0.5).all()
