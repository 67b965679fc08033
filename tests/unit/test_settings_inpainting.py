"""What a removal is in inpainting: the defaults measured there, but for what its user has named."""

import pytest

from lib_negguide.settings import Removal, Settings
from lib_negguide.settings.inpainting import in_inpainting

USUAL = Removal(text="glasses")
MEANT = ("region", "search", "start", "stop", "unit")


def removal(**fields):
    return Settings.parse({"remove": {"text": "glasses", **fields}}).remove


@pytest.mark.parametrize("named, meant", [
    ({}, ("mask", "window", None, USUAL.stop, "sigma")),
    ({"weight": 1.5, "region": "mask"}, ("mask", "window", None, USUAL.stop, "sigma")),
    ({"search": "loop"}, ("mask", "loop", None, USUAL.stop, "sigma")),
    ({"start": 9.0}, ("mask", "window", 9.0, USUAL.stop, "sigma")),
    ({"stop": None}, ("mask", "window", None, None, "sigma")),
    ({"unit": "step", "stop": 9}, ("mask", "window", None, 9, "step")),
    ({"region": "object"}, ("object", "loop", USUAL.start, USUAL.stop, "sigma")),
    ({"region": "everywhere", "start": 3.0}, ("everywhere", "loop", 3.0, USUAL.stop, "sigma"))], ids=str)
def test_what_is_named_stays(named, meant):
    asked = removal(**named)
    own = in_inpainting(asked)
    assert tuple(getattr(own, name) for name in MEANT) == meant
    assert own.weight == asked.weight and own.text == "glasses"
    assert in_inpainting(own) == own


@pytest.mark.parametrize("named", [{}, {"search": "loop"}, {"start": 9.0}, {"region": "object"}, {"start": None, "region": "mask"}], ids=str)
def test_written_and_read_again_it_is_the_same(named):
    """What is named is written even where it is the default; what was made of the rest is written too."""
    for asked in (removal(**named), in_inpainting(removal(**named))):
        again = Settings.parse(Settings(remove=asked).to_dict()).remove
        assert again == asked and in_inpainting(again) == in_inpainting(asked)
        assert in_inpainting(again).__fields_set__ == in_inpainting(asked).__fields_set__
    assert Settings.parse({"remove": {"text": "hat"}}).to_dict() == {"remove": {"text": "hat"}}
