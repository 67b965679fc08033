"""``bench image-overhead``: it compares like with like, and leaves the model as it was."""

import re

import pytest
import torch

from lib_negguide.cli import main
from lib_negguide.commands import image_overhead


def test_all_variants_do_the_same_work(host):
    before = host.model.unet.attn_processors
    functions = image_overhead.variants(host.model, (64, 64), 1)
    out = {name: function() for name, function in functions.items()}
    assert torch.equal(out["none"], out["outside"])
    assert (out["NegGuide"] - out["diffusers"]).abs().max() < 1e-5
    assert (out["NegGuide"] - out["none"]).abs().max() > 1e-4
    assert host.model.unet.attn_processors == before and host.model.unet.encoder_hid_proj is None
    assert torch.equal(functions["none"](), out["none"])


def test_the_table(capsys):
    assert main(["bench", "image-overhead", "--rounds", "1", "--calls", "1"]) == 0
    rows = re.findall(r"^\| (\w+) +\| +[\d.]+ +\| [\d.]+ ", capsys.readouterr().out, re.MULTILINE)
    assert rows == ["none", "outside", "NegGuide", "diffusers"]


@pytest.mark.parametrize("option", ["--rounds", "--calls"])
def test_what_is_not_allowed_is_named(option, capsys):
    assert main(["bench", "image-overhead", option, "0"]) == 2
    assert option in capsys.readouterr().err
