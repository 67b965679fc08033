"""Conditions as A1111 hands them around: schedules of unequal lengths, SDXL's dictionaries, ControlNet's mark."""

from collections import namedtuple

import pytest
import torch

from lib_negguide.errors import HostError
from lib_negguide.hosts import conditions

Entry = namedtuple("Entry", ["end_at_step", "cond"])


class WithShape(dict):
    """As the host's: a dictionary of tensors with the shape of one of them."""

    shape = property(lambda self: self["crossattn"].shape)


def tokens(value, chunks=1, mark=0):
    return torch.full((77 * chunks + mark, 4), float(value))


def sdxl(value, chunks=1):
    return {"crossattn": tokens(value, chunks), "vector": torch.full((6,), float(value))}


def schedule(*conds, ends=(2, 9)):
    return [Entry(end, cond) for end, cond in zip(ends, conds)]


@pytest.mark.parametrize("step, value", [(0, 1), (2, 1), (3, 2), (9, 2), (30, 1)])
def test_the_entry_that_the_host_would_take(step, value):
    assert (conditions.entry_at(schedule(tokens(1), tokens(2)), step) == value).all()


def test_pictures_of_unequal_lengths_are_repeated():
    at = conditions.at_step([schedule(tokens(1)), schedule(tokens(2, 2)), schedule(tokens(3, 3))], 0)
    assert at.shape == (3, 77 * 6, 4)
    assert [row.unique().tolist() for row in at] == [[1.0], [2.0], [3.0]]


def test_dictionaries_keep_what_has_no_tokens():
    at = conditions.at_step([schedule(sdxl(1)), schedule(sdxl(2, 2))], 0)
    assert at["crossattn"].shape == (2, 154, 4) and at["vector"].tolist() == [[1.0] * 6, [2.0] * 6]
    mixed = conditions.weighted([(at, 0.5), ({key: 3 * value for key, value in at.items()}, 0.5)])
    assert (mixed["crossattn"][1] == 4).all() and (mixed["vector"][1] == 4).all()


def test_what_is_not_of_whole_chunks_is_not_mixed():
    odd, even = torch.zeros(1, 79, 4), torch.zeros(1, 154, 4)
    assert conditions.weighted([(odd, 0.5), (odd, 0.5)]).shape == odd.shape
    with pytest.raises(HostError, match="79 and 154 tokens"):
        conditions.weighted([(odd, 0.5), (even, 0.5)])


@pytest.mark.parametrize("kind", [lambda t: t, lambda t: WithShape(crossattn=t, vector=torch.zeros(2, 6))], ids=["tensor", "sdxl"])
def test_controlnets_mark_goes_on_what_replaces_its_condition(kind):
    host = kind(torch.cat([torch.full((2, 1, 4), 7.0), torch.zeros(2, 77, 4)], dim=1))
    bare, mark = conditions.split_mark(host)
    assert conditions.tokens_of(bare).shape == (2, 77, 4) and (mark == 7).all()
    ours = {"crossattn": torch.ones(2, 154, 4), "vector": torch.ones(2, 6)} if isinstance(host, dict) else torch.ones(2, 154, 4)
    made = conditions.marked(ours, mark, host)
    assert type(made) is type(host) and made.shape == (2, 155, 4)
    assert (conditions.tokens_of(made)[:, 0] == 7).all() and (conditions.tokens_of(made)[:, 1:] == 1).all()
    assert conditions.tokens_of(host).shape == (2, 78, 4)


def test_without_a_mark_nothing_is_added():
    host = torch.zeros(1, 154, 4)
    assert conditions.split_mark(host) == (host, None)
    assert conditions.marked(torch.ones(1, 77, 4), None, host).shape == (1, 77, 4)


def test_levelled_schedules_leave_the_hosts_own_alone():
    short, long = schedule(tokens(1)), schedule(tokens(2, 2))
    assert conditions.levelled([short, short]) is None
    levelled = conditions.levelled([short, long])
    assert [entries[0].cond.shape[0] for entries in levelled] == [154, 154]
    assert short[0].cond.shape[0] == 77
    assert conditions.levelled([schedule(sdxl(1)), schedule(sdxl(2, 3))])[0][0].cond["crossattn"].shape[0] == 231


def test_rows_are_checked():
    conditions.check_rows([1, 2], torch.zeros(2, 77, 4))
    with pytest.raises(HostError, match="samples 2 pictures but names 1"):
        conditions.check_rows([1], torch.zeros(2, 77, 4))


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.5], [0.3, -0.7, 2.0]])
def test_shares_of_a_change_of_guidance(weights):
    assert sum(w * a for w, a in zip(weights, conditions.delta_weights(weights))) == pytest.approx(1)
    assert conditions.delta_weights([0.0, 0.0]) == [0.0, 0.0]


def test_first_rows_of_prompts_in_parts():
    assert conditions.first_rows([[0.5, 0.5], [1.0], [0.3, 0.3, 0.4], [1.0]]) == [0, 2, 3, 6]
