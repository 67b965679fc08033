"""Prompt syntax, chunks and the tokenizer."""

import pytest

from lib_negguide.hosts.embedded.prompts import Chunker, weighted
from lib_negguide.hosts.embedded.text import tokenizer_of


@pytest.fixture(scope="module")
def chunker(untrained):
    return Chunker(tokenizer_of(untrained / "tokenizer"))


@pytest.mark.parametrize(("prompt", "pieces"), [
    ("", []),
    ("plain, text", [("plain, text", 1.0)]),
    ("a (big) hat", [("a ", 1.0), ("big", 1.1), (" hat", 1.0)]),
    ("a (big:1.5) hat", [("a ", 1.0), ("big", 1.5), (" hat", 1.0)]),
    ("((hat))", [("hat", 1.21)]),
    ("[hat]", [("hat", 1 / 1.1)]),
    ("(open", [("open", 1.1)]),
    ("closed)", [("closed)", 1.0)]),
    (r"\(no\)", [("(no)", 1.0)]),
    ("(a)(b)", [("ab", 1.1)]),
    ("ratio 3:4", [("ratio 3:4", 1.0)]),
    ("one BREAK two", [("one", 1.0), (None, 1.0), ("two", 1.0)]),
    ("BREAKFAST", [("BREAKFAST", 1.0)]),
])
def test_weights(prompt, pieces):
    found = weighted(prompt)
    assert [text for text, _ in found] == [text for text, _ in pieces]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in pieces])


def test_the_packed_vocabulary_gives_the_ids_of_the_folder(untrained, chunker):
    packed = Chunker(tokenizer_of(None))
    for prompt in ("A portrait of a person, with glasses!", "naïve café — 東京 :) 12345", "", "it's the man's hat's"):
        assert packed(prompt) == chunker(prompt)
    assert packed("a hat")[0].ids[:4] == (49406, 320, 3801, 49407)


@pytest.mark.parametrize(("words", "chunks"), [(0, 1), (1, 1), (75, 1), (76, 2), (150, 2), (151, 3)])
def test_chunks_of_75(chunker, words, chunks):
    made = chunker(" ".join(["hat"] * words))
    assert len(made) == chunks
    for chunk in made:
        assert len(chunk.ids) == len(chunk.weights) == 77
        assert chunk.ids[0] == 49406 and chunk.ids[-1] == 49407


def test_a_chunk_ends_at_a_comma_nearby(chunker):
    near = chunker(" ".join(["hat"] * 65) + ", " + " ".join(["ring"] * 20))
    far = chunker(" ".join(["hat"] * 40) + ", " + " ".join(["ring"] * 50))
    assert near[0].ids[66:68] == (267, 49407)
    assert near[1].ids[1] == near[1].ids[20] != 49407
    assert 49407 not in far[0].ids[:76]


def test_weights_follow_the_tokens(chunker):
    chunk = chunker("a (hat:1.5) BREAK ring")[0]
    assert chunk.weights[:4] == (1.0, 1.0, 1.5, 1.0)
    assert set(chunk.weights[3:]) == {1.0}
