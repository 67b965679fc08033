"""The closed loop of removal: when it acts, what it adds, what it costs. Predictions are made up."""

import pytest
import torch

from lib_negguide import formulas, removal
from lib_negguide.removal import Removing, Seen
from lib_negguide.settings import Removal, Settings

SIGMAS = (14.0, 9.0, 6.0, 4.0, 3.0, 2.0, 1.5, 1.0, 0.5, 0.2)
SCALE = 5.0


class Told:
    """A detector that says what it is told: a row of numbers a call, one a picture."""

    name, gone, back, looks, needs_negative, graded, most = "told", 0.3, 0.6, 1, True, False, 2.0

    def __init__(self, presence, **changed):
        self._presence, self.asked = presence, []
        for name, value in changed.items():
            setattr(self, name, value)

    def presence(self, seen, pictures):
        self.asked.append((seen.call, tuple(pictures)))
        row = self._presence[seen.call]
        return torch.tensor([row[picture] for picture in pictures])


class Whole:
    def mask(self, seen):
        return torch.ones_like(seen.d_u[:, :1])


class Half:
    """The left half, or whatever is put in ``columns``."""

    columns = 2

    def mask(self, seen):
        mask = torch.zeros_like(seen.d_u[:, :1])
        mask[..., : self.columns] = 1.0
        return mask


def removing(presence=None, count=1, region=None, detector=None, **fields):
    whole = {"text": "hat", "every": 1, "weight": 2.0, "start": None, "stop": None}
    settings = Settings.parse({"remove": {**whole, **fields}}).remove
    if presence is not None:
        rows = [row if isinstance(row, tuple) else (row,) * count for row in presence]
        detector = Told(rows)
    return Removing(settings, count, detector, region or Whole())


def walk(loop, sigmas=SIGMAS, predictions=None, scale=SCALE, is_eps=False):
    """Runs a loop over noise levels as a host does; the records and changes of each call."""
    records, changes = [], []
    for call, sigma in enumerate(sigmas):
        wanted = loop.wants(sigma, call)
        d_c, d_u, words = predictions or [torch.full((loop.count, 4, 4, 4), value) for value in (3.0, 1.0, 2.0)]
        rows = words[[i for i, wants in enumerate(wanted) if wants]] if any(wanted) else None
        changes.append(loop.change(Seen.of(sigma, call, scale, d_c, d_u, rows, wanted, is_eps=is_eps)))
        records.append(loop.record)
    return records, changes


def on(records, picture=0):
    return "".join("-" if r is None else "x" if r.strengths[picture] else "." for r in records)


def predicted(records, picture=0):
    return "".join("-" if r is None else "p" if r.predicted[picture] else "." for r in records)


@pytest.mark.parametrize(("presence", "acts"), [
    ([0.9] * 10, "xxxxxxxxxx"),
    ([0.1] * 10, ".........."),
    ([0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], "xx........"),
    ([0.9, 0.9, 0.1, 0.4, 0.5, 0.5, 0.7, 0.5, 0.4, 0.2], "xx....xxx."),  # between gone and back it stays what it was
    ([0.5] * 10, "xxxxxxxxxx"),  # not sure at first: it acts
])
def test_it_acts_while_the_thing_is_there(presence, acts):
    assert on(walk(removing(presence))[0]) == acts


def test_its_own_thresholds_stand_for_the_detectors():
    presence = [0.9, 0.25, 0.25, 0.5, 0.5, 0.25, 0.1, 0.1, 0.2, 0.5]
    assert on(walk(removing(presence, gone=0.2, back=0.4))[0]) == "xxxxxx...x"
    assert removal.thresholds(removing([0.9] * 10, gone=0.8).removal, Told([])) == (0.8, 0.8)  # back is never below gone
    assert removal.thresholds(removing([0.9] * 10, back=0.1).removal, Told([])) == (0.1, 0.1)


def test_a_detector_may_want_several_looks_before_it_is_gone():
    loop = removing(detector=Told([(p,) for p in (0.9, 0.1, 0.9, 0.1, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1)], looks=2))
    assert on(walk(loop)[0]) == "xxxx..xx.."


def test_where_presence_is_a_matter_of_degree_so_is_the_strength():
    """Nothing up to gone, all of it at back, twice that at most, and so in each picture."""
    presence = [(0.29, 0.9), (0.45, 0.0), (0.6, 0.6), (0.75, -1.0), (5.0, 0.45)]
    loop = removing(detector=Told(presence, graded=True), count=2, weight=1.5)
    records, changes = walk(loop, SIGMAS[:5])
    assert [record.strengths[0] for record in records] == pytest.approx([0.0, 0.75, 1.5, 2.25, 3.0])
    assert [record.strengths[1] for record in records] == pytest.approx([3.0, 0.0, 1.5, 0.0, 0.75])
    assert not changes[0][0].any()
    torch.testing.assert_close(changes[0][1], 4.0 * changes[4][1])


def test_a_strength_by_degrees_holds_between_looks():
    loop = removing(detector=Told([(0.45,)] * 10, graded=True), every=3, weight=2.0)
    assert [record.strengths[0] for record in walk(loop)[0]] == pytest.approx([1.0] * 10)


def test_outside_its_bounds_nobody_looks_and_nothing_is_predicted():
    loop = removing([0.9] * 10, start=6.0, stop=1.0)
    records, changes = walk(loop)
    assert on(records) == "--xxxxx---"
    assert [change is None for change in changes] == [True] * 2 + [False] * 5 + [True] * 3
    assert [call for call, _ in loop.detector.asked] == [2, 3, 4, 5, 6]


def test_each_picture_has_a_loop_of_its_own():
    presence = [(0.9, 0.9, 0.1), (0.9, 0.1, 0.1), (0.9, 0.1, 0.9), (0.1, 0.1, 0.9)] + [(0.1, 0.1, 0.1)] * 6
    records, changes = walk(removing(presence, count=3))
    assert [on(records, picture) for picture in range(3)] == ["xxx.......", "x.........", "..xx......"]
    assert [tuple(bool(part.any()) for part in change) for change in changes[:4]] == [
        (True, True, False), (True, False, False), (True, False, True), (False, False, True)]
    for picture in range(3):
        alone = walk(removing([(row[picture],) for row in presence]))[0]
        assert on(alone) == on(records, picture)


def test_what_it_adds_is_the_words_difference_in_the_region():
    generator = torch.Generator().manual_seed(3)
    d_c, d_u, words = (torch.randn(2, 4, 4, 4, generator=generator) for _ in range(3))
    for scale in (5.0, 1.5, 0.5):
        loop = removing([0.9] * 10, count=2, region=Half(), weight=1.5)
        changes = walk(loop, predictions=(d_c, d_u, words), scale=scale)[1]
        mask = torch.zeros(2, 1, 4, 4)
        mask[..., :2] = 1.0
        wanted = formulas.cfg(d_c, d_u + 1.5 * mask * words, scale)
        torch.testing.assert_close(formulas.cfg(d_c + changes[0], d_u, scale), wanted)
        assert not changes[0][..., 2:].any()
        assert torch.equal(loop.mask, mask)


def test_the_weight_has_its_curve():
    records, _ = walk(removing([0.9] * 10, start=6.0, stop=1.0, curve="linear down", weight=1.0))
    strengths = [r.strengths[0] for r in records if r]
    assert strengths[0] == 1.0 and all(a > b > 0 for a, b in zip(strengths, strengths[1:]))


@pytest.mark.parametrize(("every", "presence", "calls"), [
    (1, [0.9] * 10, "pppppppppp"), (2, [0.9] * 10, "p.p.p.p.p."), (3, [0.9] * 10, "p..p..p..p"), (3, [0.1] * 10, "p..p..p..p")])
def test_it_looks_and_predicts_at_every_so_many_calls(every, presence, calls):
    loop = removing(presence, every=every)
    records, _ = walk(loop)
    assert predicted(records) == calls
    assert [call for call, _ in loop.detector.asked] == [at for at, sign in enumerate(calls) if sign == "p"]
    assert on(records) == ("x" if presence[0] > 0.5 else ".") * 10  # between looks it goes on


@pytest.mark.parametrize(("is_eps", "grown"), [(False, 1.0), (True, 14.0 / 9.0)])
def test_between_looks_the_difference_of_x0_stays(is_eps, grown):
    """x0 = x - sigma eps: the same difference of x0 is a larger one of eps at a lower noise level."""
    changes = walk(removing([0.9] * 10, every=2), is_eps=is_eps)[1]
    torch.testing.assert_close(changes[1], changes[0] * grown)
    torch.testing.assert_close(changes[2], changes[0])  # predicted anew


def test_a_detector_of_previews_needs_no_prediction_while_it_is_gone():
    presence = [(p,) for p in (0.9, 0.1, 0.1, 0.1, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1)]
    loop = removing(detector=Told(presence, needs_negative=False))
    records, _ = walk(loop)
    assert predicted(records) == "pp...pp..."  # at the fourth look it was back: predicted from the next call on
    assert on(records) == "x....x...."
    assert len(loop.detector.asked) == 10


def test_without_a_detector_it_acts_from_start_to_stop():
    records, _ = walk(removing(search="window", start=6.0, stop=1.0))
    assert on(records) == predicted(records).replace("p", "x") == "--xxxxx---"
    assert records[2].presence == (None,)


def test_a_weight_of_zero_does_nothing():
    assert on(walk(removing([0.9] * 10, weight=0.0))[0]) == "-" * 10


def test_with_an_anchor_the_region_only_grows():
    region = Half()
    loop = removing([0.9] * 3 + [0.1] * 2 + [0.9] * 5, region=region, anchor=True)
    shares = []
    for call, (sigma, columns) in enumerate(zip(SIGMAS, (1, 3, 2, 2, 2, 1, 1, 1, 1, 1))):
        region.columns = columns
        ones = [torch.full((1, 4, 4, 4), v) for v in (3.0, 1.0, 2.0)]
        loop.change(Seen.of(sigma, call, SCALE, *ones, loop.wants(sigma, call)))
        shares.append((loop.record.shares[0], float(loop.mask.mean())))
    assert shares[:3] == [(0.25, 0.25), (0.75, 0.75), (0.75, 0.75)]
    assert shares[3] == (0.0, 0.75)  # gone: it does not act, but what it did stays
    assert shares[5] == (0.75, 0.75)


def test_anchored_is_the_plain_run_outside_to_the_bit():
    guided, plain = torch.randn(2, 4, 4, 4), torch.randn(2, 4, 4, 4)
    loop = removing([0.9] * 10, count=2, region=Half(), anchor=True)
    assert torch.equal(loop.anchored(guided, plain), plain)  # it never acted
    walk(loop, SIGMAS[:1])
    kept = loop.anchored(guided, plain)
    assert torch.equal(kept[..., 2:], plain[..., 2:]) and torch.equal(kept[..., :2], guided[..., :2])


@pytest.mark.parametrize("fidelity", [0.0, 0.25, 1.0])
def test_fidelity_is_how_much_of_the_rest_stays(fidelity):
    guided, plain = torch.ones(1, 4, 4, 4), torch.zeros(1, 4, 4, 4)
    loop = removing([0.9] * 10, region=Half(), photo=True, fidelity=fidelity)
    walk(loop, SIGMAS[:1])
    kept = loop.anchored(guided, plain)
    assert kept[..., :2].unique().item() == 1.0 and kept[..., 2:].unique().item() == pytest.approx(1.0 - fidelity)


RUN = tuple(14.0 * 0.8**step for step in range(30))


@pytest.mark.parametrize(("fields", "word"), [
    ({}, None), ({"start": 9.0, "stop": 2.0}, None), ({"stop": 7, "unit": "step"}, None),
    ({"stop": 5, "unit": "step"}, "reverse activation"), ({"stop": 0.1, "unit": "fraction"}, "reverse activation"),
    ({"start": 50.0, "stop": 40.0}, "between start and stop"), ({"start": 6, "stop": 6, "unit": "step"}, "between start and stop"),
])
def test_notes(fields, word):
    told = removal.notes(removing([0.9], **fields).removal, RUN)
    assert len(told) == (word is not None) and all(word in line for line in told)


@pytest.mark.parametrize(("fields", "ends"), [
    ({"start": 2, "stop": 5, "unit": "step"}, [2, 3, 4, 5]), ({"start": 7, "unit": "step"}, [7, 8, 9, 10]),
    ({}, list(range(11))), ({"start": 6.0, "stop": 3.0}, [2, 3, 4]), ({"start": 0.1}, [0])])
def test_windows_of_the_search(fields, ends):
    remove = removing([0.9], **fields).removal
    assert removal.ends_of(remove, (*SIGMAS, 0.0)) == ends
    for end in ends:
        window = removal.window_to(remove, end, SIGMAS)
        acts = on(walk(Removing(window, 1, None, Whole()))[0])
        assert acts == "".join("x" if ends[0] <= step < end else "-" for step in range(10)) and window.search == "window"


def test_the_search_stops_at_the_first_window_after_which_it_is_gone():
    found = removal.exhaustive(lambda end: f"until {end}", lambda picture: picture != "until 5", [2, 3, 4, 5, 6])
    assert (found.picture, found.end, found.gone, found.tried) == ("until 5", 5, True, [2, 3, 4, 5])
    found = removal.exhaustive(str, lambda picture: True, [2, 3])
    assert (found.picture, found.end, found.gone, found.tried) == ("3", 3, False, [2, 3])


def test_seen_of_wanted_rows():
    d_u, rows = torch.zeros(3, 4, 2, 2), torch.stack([torch.full((4, 2, 2), 1.0), torch.full((4, 2, 2), 2.0)])
    seen = Seen.of(1.0, 0, SCALE, d_u + 5.0, d_u, rows, [True, False, True])
    assert seen.words[:, 0, 0, 0].tolist() == [1.0, 0.0, 2.0]
    towards, words = seen.differences([2, 1])
    assert towards.unique().tolist() == [5.0] and words[:, 0, 0, 0].tolist() == [2.0, 0.0]


def test_a_removal_is_a_window():
    assert Removal(text="hat", start=0.2, stop=0.5, unit="fraction").in_sigma(SIGMAS).unit == "sigma"


def test_its_own_bounds_are_those_that_were_measured():
    remove = Settings.parse({"remove": {"text": "hat"}}).remove
    assert (remove.start, remove.stop) == (None, 1.5)
    assert Settings.parse({"remove": {"text": "hat", "start": 9, "stop": None}}).to_dict() == {
        "remove": {"text": "hat", "start": 9.0, "stop": None}}


@pytest.mark.parametrize("fields", [{"unit": "step"}, {"unit": "fraction", "start": 0.1}, {"unit": "step", "stop": 2}, {"unit": "step", "start": 9},
                                    {"unit": "step", "start": 2, "stop": 9}])
def test_in_another_unit_an_end_that_is_not_given_is_open(fields):
    settings = Settings.parse({"remove": {"text": "hat", **fields}})
    assert (settings.remove.start, settings.remove.stop) == (fields.get("start"), fields.get("stop"))
    assert Settings.parse(settings.to_dict()) == settings
