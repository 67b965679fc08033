"""Prompts in plain words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_negguide.wording import beside, plain, without


@pytest.mark.parametrize("prompt, expected", [
    ("a cat and a dog", "a cat and a dog"),
    ("a (red:1.2) cat, ((dog)), [bird]", "a red cat, dog, bird"),
    ("a cat <lora:cats:0.8>, <hypernet:x:1> sitting", "a cat, sitting"),
    ("a cat AND a dog :0.5", "a cat and a dog"),
    ("a cat AND glasses :-1", "a cat"),
    ("a cat\nBREAK a dog", "a cat a dog"),
    ("[photo:painting:0.4] of a cat", "painting of a cat"),
    ("a cat [with a hat:10]", "a cat with a hat"),
    ("a cat [with a hat::5]", "a cat"),
    ("a [cat|dog]", "a cat dog"),
    (r"a cat \(animal\)", "a cat (animal)"),
    ("((a) cat", "a cat"),
    ("a cat) and] a dog", "a cat and a dog"),
    ("(red:blue:1.3) cat", "red:blue cat"),
    ("BREAKFAST, , and ANDROID", "BREAKFAST, and ANDROID"),
    ("", ""),
])
def test_plain(prompt, expected):
    assert plain(prompt) == expected


@given(st.text(alphabet="ab ,()[]|:<>\\1.0-\nANDBREK", max_size=40))
def test_any_prompt_can_be_read(prompt):
    text = plain(prompt)
    assert "\n" not in text and "  " not in text
    assert "\\" in prompt or not set(text) & set("()[]")


@pytest.mark.parametrize("prompt, thing, expected", [
    ("a person with glasses", "glasses", "a person"),
    ("a person with glasses and a hat", "glasses", "a person with a hat"),
    ("a person with glasses and a hat", "hat", "a person with glasses"),
    ("a person with glasses, a mustache and a hat", "glasses", "a person with a mustache and a hat"),
    ("a person with glasses, a mustache and a hat", "mustache", "a person with glasses and a hat"),
    ("a person with glasses, a mustache and a hat", "hat", "a person with glasses and a mustache"),
    ("a person with glasses, a mustache, and a hat", "a hat", "a person with glasses and a mustache"),
    ("a person with glasses, a mustache and a hat", "hat, glasses", "a person with a mustache"),
    ("a man wearing a large red hat in a park", "hat", "a man in a park"),
    ("a man in glasses, oil painting", "glasses", "a man, oil painting"),
    ("face, glasses, hat", "glasses", "face, hat"),
    ("face, glasses, hat", "hat", "face, glasses"),
    ("glasses", "glasses", ""),
    ("a hat and a bird", "hat", "a bird"),
    ("two traffic lights, a street", "traffic light", "a street"),
    ("a street, Traffic Lights, a tree", "traffic light", "a street, a tree"),
    ("a person with (glasses:1.3) and a hat", "glasses", "a person with a hat"),
    ("a person with (glasses, a hat:1.3)", "hat", "a person with glasses"),
    ("a glassmaker with eyeglasses", "glasses", "a glassmaker with eyeglasses"),
    ("a person", "hat", "a person"),
    ("a person", " , ", "a person"),
])
def test_without(prompt, thing, expected):
    assert without(prompt, thing) == expected


@given(st.lists(st.sampled_from(["a hat", "glasses", "a red mustache"]), min_size=1, max_size=3, unique=True), st.sampled_from([" with ", ", "]))
def test_without_all_that_is_worn_the_person_is_left(worn, link):
    prompt = "a person" + link + (", ".join(worn[:-1]) + " and " + worn[-1] if worn[1:] else worn[0])
    for thing in ("mustache", "hat", "glasses"):
        prompt = without(prompt, thing)
        assert thing not in prompt and prompt.startswith("a person") and not prompt.endswith(("and", "with", ","))
    assert prompt == "a person"


@pytest.mark.parametrize("prompt, words, expected", [
    ("a portrait of a person", "glasses", ("a portrait of a person, glasses", False)),
    ("a portrait of a person, ", "glasses, hat", ("a portrait of a person, glasses, hat", False)),
    ("", "glasses", ("glasses", False)),
    ("a person with glasses and a hat", "glasses", ("a person with a hat", True)),
    ("a (cat:1.2) :0.6 AND a dog :0.4", "hat", ("a (cat:1.2), hat", False)),
    ("a cat with a hat AND a dog", "hat", ("a cat", True)),
    ("a cat AND a dog with a hat", "hat", ("a cat, hat", False))])
def test_beside(prompt, words, expected):
    """What is predicted beside a prompt tells what the thing's words change in it."""
    assert beside(prompt, words) == expected
