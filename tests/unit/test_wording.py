"""Prompts in plain words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_negguide.wording import plain


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
