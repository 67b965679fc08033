"""Captions as plain words for a prompt parser, and several as one."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lib_negguide.captioners import join, safe
from lib_negguide.hosts.embedded.prompts import weighted
from tests.standin.modules import prompt_parser

MARKS = st.sampled_from(["(", ")", "[", "]", "{", "}", "<", ">", ":", "|", "\\", "#", "\n", "\r", "\t", "\0", "\u200b", "\u2028", "_", "__",
                         ",", ";", ".", " ", "AND", "BREAK", "AND_PERP", "ADDROW", ":0.5", "<lora:x:1>", "(a:1.3)", "[a:b:0.5]", "[a|b]",
                         "a cat", "red", "É", "\u0301", "ß", "名", "😀", "'", '"', "-"])
TEXTS = st.one_of(st.text(), st.lists(MARKS).map("".join), st.lists(st.one_of(MARKS, st.text(max_size=5)), max_size=120).map(" ".join))


class Texts:
    """Stands where the text encoder does: a prompt's condition is its text."""

    @staticmethod
    def get_learned_conditioning(texts):
        return list(texts)


@given(TEXTS)
@example("_AND b")
@example("x" * 396 + " ANDy")
@example("a AND b BREAK (c:1.2) [d:e:3] [f|g] <lora:h:1> \\(i\\) :0.5")
def test_nothing_in_it_means_anything(text):
    line = safe(text)
    assert weighted(line) in ([(line, 1.0)], [])
    (part,), = prompt_parser.get_multicond_learned_conditioning(Texts, [line], 8).batch
    assert part.weight == 1.0 and part.schedules == [(8, line)]
    assert not set(line) & set("()[]{}<>:|\\#\n\r\t\0")
    assert "__" not in line and "  " not in line and line == line.strip(" ,;.")
    assert safe(line) == line
    assert len(line.split()) <= 60 and len(line) <= 400


@given(TEXTS, st.integers(1, 20))
def test_short_as_asked(text, words):
    line = safe(text, words)
    assert len(line.split()) <= words and safe(line, words) == line


@pytest.mark.parametrize("raw, line", [
    ("a red circle and a blue square", "a red circle and a blue square"),
    (" A photo of New York.\n", "A photo of New York"),
    ("a sign that says (STOP)", "a sign that says stop"),
    ("two dogs AND a cat BREAK here AND_PERP", "two dogs and a cat break here and_perp"),
    ("a hat <lora:x:1.5> on <unk> a head", "a hat on a head"),
    ("3 < 5 | 5 > 3", "3 5 5 3"),
    ("a clock at 10:30 :0.5", "a clock at 10 30 0.5"),
    ("a ,, b ; ,c , ", "a, b; c"),
    ("__animal__ {a|b} ${x}", "animal a b x"),
    ("a wall # with a door", "a wall with a door"),
    ("…((( ", ""),
    (". , !", ""),
    ("a man's well-lit face", "a man's well-lit face"),
])
def test_examples(raw, line):
    assert safe(raw) == line


def test_long_captions_end_after_a_word():
    assert safe("a cat " * 100) == " ".join(["a cat"] * 30)
    assert safe("one, two, three", words=2) == "one, two"


@pytest.mark.parametrize("captions, joined", [
    ([], ""),
    (["", " ", "."], ""),
    (["a cat"], "a cat"),
    (["a cat", "A  Cat.", "a dog"], "a cat, a dog"),
    (["a cat", "a cat on a mat", "a dog"], "a cat on a mat, a dog"),
    (["a cat on a mat", "a mat", "at"], "a cat on a mat, at"),
])
def test_several_without_repetitions(captions, joined):
    assert join(captions) == joined


@given(st.lists(TEXTS, max_size=5))
def test_joined_captions_stay_harmless(texts):
    line = join([safe(text) for text in texts])
    assert weighted(line) in ([(line, 1.0)], [])
    assert join([line]) == line
