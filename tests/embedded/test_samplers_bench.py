"""`bench samplers` counts each sampler's own pictures, goes on where it was, and measures the loop anew when its defaults change."""

import pytest
import torch

from lib_negguide import cli

COMMAND = ["bench", "samplers", "--samplers", "Euler,DDIM", "--thing", "hat", "--pictures", "2", "--steps", "6"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("samplers")
    assert cli.main([*COMMAND, "--out", str(out)]) == 0
    return out


def test_a_line_a_sampler(done, capsys):
    """Nothing is sampled again; six steps are few for a loop, but the whole run removes."""
    before = (done / "Euler.pt").stat().st_mtime
    assert cli.main([*COMMAND, "--out", str(done)]) == 0
    head, _, euler, ddim = capsys.readouterr().out.splitlines()
    assert head.startswith("| sampler | pictures | removed, full") and ddim.startswith("| DDIM | 2 of ")
    assert euler.endswith(" |") and "| 12 + " in euler and (done / "Euler.pt").stat().st_mtime >= before
    kept = torch.load(done / "Euler.pt", weights_only=True)
    assert set(kept["rows"]) == {"full", "loop"} and all(len(row) == 2 for row in kept["rows"].values())
    assert all(calls == 6 and extra == 0 for *_, calls, extra in kept["rows"]["full"].values())


def test_a_loop_with_other_defaults_is_made_anew(done, capsys):
    kept = torch.load(done / "DDIM.pt", weights_only=True)
    torch.save({**kept, "setting": [*kept["setting"][:4], "text='hat' weight=1.0"], "rows": {**kept["rows"], "loop": {}}}, done / "DDIM.pt")
    assert cli.main([*COMMAND, "--out", str(done)]) == 0 and "DDIM" in capsys.readouterr().out
    again = torch.load(done / "DDIM.pt", weights_only=True)
    assert again["rows"] == kept["rows"] and again["setting"] == kept["setting"]


@pytest.mark.parametrize(("arguments", "field"), [(["--pictures", "0"], "--pictures"), (["--thing", "circle"], "--thing"),
                                                  (["--samplers", "Dice"], "sampler"), (["--webui-url", "nowhere"], "nowhere")])
def test_wrong_options_are_named(arguments, field, capsys, tmp_path):
    assert cli.main([*COMMAND, *arguments, "--out", str(tmp_path)]) != 0 and field in capsys.readouterr().err
