"""What the script "Removal strip" is asked for, and the columns that follow."""

import pytest

from lib_negguide.errors import SettingsError
from lib_negguide.settings import Removal, Settings
from lib_negguide.webui.removal_asked import Asked, parsed

PAGE = ["glasses", "full, 5.8-1.6", "sigma", "region"]
ACCORDION = Settings.parse({"negatives": [{"text": "blurry"}], "remove": {"text": "hat", "weight": 3, "region": "object", "start": 5.8, "anchor": True}})


def test_the_pages_values_and_the_apis_object():
    asked = parsed(PAGE)
    assert asked == parsed([{"text": "glasses", "columns": ["full", "5.8-1.6"], "unit": "sigma", "where": "region"}])
    assert parsed([{}]) == Asked() and parsed([{}, None, "other scripts' arguments"]) == Asked()


def test_the_default_is_a_grid_of_six():
    plain, *columns = parsed([{"text": "glasses"}]).strip(Settings(enabled=False))
    assert plain.settings == Settings(enabled=False), "the host's own picture"
    assert [column.title for column in columns] == ["whole run", "from 0.2", "from 0.35", "to 0.33", "to 0.5", "loop: until gone"]
    for column, (start, stop) in zip(columns, [(None, None), (0.2, None), (0.35, None), (None, 0.33), (None, 0.5)]):
        assert column.settings.remove == Removal(text="glasses", weight=1, search="window", region="everywhere", start=start, stop=stop,
                                                 unit="fraction")
    assert columns[-1].settings.remove == Removal(text="glasses")


def test_what_else_the_accordion_says_counts():
    plain, whole, window, loop, search = parsed([{"columns": "full, 4–9, loop, exhaustive", "unit": "step", "where": "region"}]).strip(ACCORDION)
    assert plain.settings == ACCORDION.copy(update={"remove": None})
    own = ACCORDION.remove
    assert whole.settings.remove == own.copy(update={"search": "window", "start": None, "stop": None, "unit": "step"})
    assert window.settings.remove == own.copy(update={"search": "window", "start": 4, "stop": 9, "unit": "step"})
    assert window.title == "from step 4 to step 9" and window.settings.negatives == ACCORDION.negatives
    assert (loop.settings.remove, search.settings.remove) == (own, own.copy(update={"search": "exhaustive"}))
    assert parsed([{"text": " glasses ", "columns": "loop"}]).strip(ACCORDION)[1].settings.remove == own.copy(update={"text": "glasses"})


@pytest.mark.parametrize("args, field", [
    ([], "script_args"), (None, "script_args"), (["glasses"], "script_args"), ([{"columns": ""}], "columns"), ([{"columns": "-"}], "columns"),
    ([{"columns": "0.2"}], "columns"), ([{"columns": "some-0.2"}], "columns"), ([{"columns": "loop," * 13}], "columns"),
    ([{"columns": "0.5-0.2"}], "columns.start"), ([{"columns": "0.5-1.2"}], "columns.stop"), ([{"unit": "percent"}], "unit"),
    ([{"where": "here"}], "where"), ([{"text": None}], "text"), ([{"steps": 3}], "steps")])
def test_refused(args, field):
    with pytest.raises(SettingsError) as error:
        parsed(args)
    assert error.value.field == field


def test_a_thing_to_remove_is_needed_and_no_dns():
    with pytest.raises(SettingsError) as error:
        Asked().strip(ACCORDION.copy(update={"enabled": False}))
    assert error.value.field == "text"
    with pytest.raises(SettingsError) as error:
        Asked(text="hat").strip(Settings.parse({"dns": {}}))
    assert error.value.field == "remove"
