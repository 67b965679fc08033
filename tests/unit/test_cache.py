"""The cache of negative pictures: never a wrong entry, never a broken one, no more room than allowed."""

import json
import os
import threading

import pytest
from PIL import Image, ImageChops

from lib_negguide import cache
from lib_negguide.cache import Pictures, key_of


def picture(shade, size=(16, 16)):
    return Image.effect_noise(size, 20).convert("RGB").point(lambda v: (v + shade) % 256)


def same(one, other):
    return one.size == other.size and ImageChops.difference(one, other).getbbox() is None


ONE, TWO = key_of({"seed": 1}), key_of({"seed": 2})


@pytest.fixture(params=["memory", "disk"])
def pictures(request, tmp_path):
    return Pictures(tmp_path / "cache" if request.param == "disk" else None)


def test_put_and_get(pictures):
    image = picture(7)
    assert pictures.get(ONE) is None
    pictures.put(ONE, image)
    assert same(pictures.get(ONE), image)
    assert pictures.get(TWO) is None


def test_what_is_given_out_is_a_copy(pictures):
    image = picture(7)
    pictures.put(ONE, image)
    pictures.get(ONE).paste((0, 0, 0), (0, 0, 16, 16))
    before = image.copy()
    image.paste((9, 9, 9), (0, 0, 16, 16))
    assert same(pictures.get(ONE), before)


def test_captions_belong_to_a_captioner(pictures):
    pictures.add_caption(ONE, "blip", "lost: no picture")
    pictures.put(ONE, picture(1))
    assert pictures.caption(ONE, "blip") is None
    pictures.add_caption(ONE, "blip", "a red (circle)\nAND so on")
    assert pictures.caption(ONE, "blip") == "a red (circle)\nAND so on"
    assert pictures.caption(ONE, "other") is None and pictures.caption(TWO, "blip") is None
    pictures.put(ONE, picture(2))
    assert pictures.caption(ONE, "blip") is None


def test_a_new_process_finds_what_is_on_disk(tmp_path):
    image = picture(3)
    first = Pictures(tmp_path)
    first.put(ONE, image)
    first.add_caption(ONE, "blip", "a hat")
    again = Pictures(tmp_path)
    assert same(again.get(ONE), image) and again.caption(ONE, "blip") == "a hat"
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".png"]


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Pictures().put(ONE, picture(1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("limit", [0, 3])
def test_memory_holds_the_last_used(limit):
    pictures = Pictures(limit=limit)
    keys = [key_of({"seed": n}) for n in range(4)]
    for number, key in enumerate(keys):
        pictures.put(key, picture(number))
        pictures.get(keys[0])
    assert len(pictures) == limit
    assert [pictures.get(key) is not None for key in keys] == ([True, False, True, True] if limit else [False] * 4)


def test_disk_removes_the_least_recently_used(tmp_path):
    keys = [key_of({"seed": n}) for n in range(4)]
    one = picture(0, (64, 64))
    Pictures(tmp_path).put(keys[0], one)
    entry = sum(path.stat().st_size for path in tmp_path.iterdir()) / 1e6
    (tmp_path / "mine.png").write_bytes(b"not the cache's" * 10_000)
    pictures = Pictures(tmp_path, limit=0, megabytes=3.5 * entry)
    for number, key in enumerate(keys):
        pictures.put(key, one)
        os.utime(tmp_path / f"{cache.digest(key)}.json", (1000 + number, 1000 + number))
        os.utime(tmp_path / f"{cache.digest(key)}.png", (1000 + number, 1000 + number))
        assert pictures.get(keys[0]) is not None  # used: now the newest
    assert [pictures.get(key) is not None for key in keys] == [True, False, True, True]
    assert (tmp_path / "mine.png").is_file()


def test_clear(pictures):
    pictures.put(ONE, picture(1))
    if pictures.folder:
        (pictures.folder / "mine.json").write_text("{}")
        (pictures.folder / f"{'a' * 64}.png.x1.part").write_text("half")
    pictures.clear()
    assert pictures.get(ONE) is None and len(pictures) == 0
    if pictures.folder:
        assert [path.name for path in pictures.folder.iterdir()] == ["mine.json"]


def test_one_digest_for_two_keys_never_gives_the_other_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "digest", lambda key: "0" * 64)
    first, second = picture(1), picture(2)
    for pictures in (Pictures(tmp_path), Pictures(tmp_path / "bare", limit=0), Pictures()):
        pictures.put(ONE, first)
        pictures.add_caption(ONE, "blip", "first")
        assert pictures.get(TWO) is None and pictures.caption(TWO, "blip") is None
        pictures.put(TWO, second)
        assert same(pictures.get(TWO), second) and pictures.caption(TWO, "blip") is None
        got = pictures.get(ONE)  # replaced on disk, perhaps still in memory
        assert got is None or same(got, first)


def damage_truncated(folder, png, said):
    png.write_bytes(png.read_bytes()[:-20])


def damage_empty(folder, png, said):
    png.write_bytes(b"")


def damage_other_picture(folder, png, said):
    picture(99).save(png)


def damage_no_picture(folder, png, said):
    png.unlink()


def damage_no_text(folder, png, said):
    said.unlink()


def damage_half_text(folder, png, said):
    said.write_text(said.read_text()[:40])


def damage_other_key(folder, png, said):
    said.write_text(json.dumps({**json.loads(said.read_text()), "key": TWO}))


def damage_other_form(folder, png, said):
    said.write_text("[1, 2]")


def damage_captions(folder, png, said):
    said.write_text(json.dumps({**json.loads(said.read_text()), "captions": ["a hat"]}))


def damage_binary(folder, png, said):
    said.write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize("damage", [value for name, value in list(globals().items()) if name.startswith("damage_")])
def test_a_damaged_entry_is_absent_and_replaced(tmp_path, damage):
    Pictures(tmp_path).put(ONE, picture(1))
    damage(tmp_path, tmp_path / f"{cache.digest(ONE)}.png", tmp_path / f"{cache.digest(ONE)}.json")
    pictures = Pictures(tmp_path)
    assert pictures.get(ONE) is None and pictures.caption(ONE, "blip") is None
    new = picture(2)
    pictures.put(ONE, new)
    assert same(Pictures(tmp_path).get(ONE), new)


def test_a_write_that_fails_leaves_the_old_entry_or_none(tmp_path, monkeypatch, caplog):
    old, new = picture(1), picture(2)
    pictures = Pictures(tmp_path)
    pictures.put(ONE, old)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", full)
    pictures.put(ONE, new)
    assert "No space left" in caplog.text
    assert same(pictures.get(ONE), new)  # in memory
    assert same(Pictures(tmp_path).get(ONE), old)
    assert not list(tmp_path.glob("*.part"))


def test_a_crash_between_the_two_files_is_no_entry(tmp_path, monkeypatch):
    Pictures(tmp_path).put(ONE, picture(1))
    written, real = [], cache._replace

    def crash_at_second(path, content):
        written.append(path)
        if len(written) == 2:
            raise KeyboardInterrupt
        real(path, content)

    monkeypatch.setattr(cache, "_replace", crash_at_second)
    with pytest.raises(KeyboardInterrupt):
        Pictures(tmp_path).put(ONE, picture(2))
    assert Pictures(tmp_path).get(ONE) is None


def test_half_written_files_go_after_a_while(tmp_path):
    old, young, mine = (tmp_path / name for name in (f"{'a' * 64}.png.x1.part", f"{'b' * 64}.json.x2.part", "mine.part"))
    for path in (old, young, mine):
        path.write_text("half")
    for path in (old, mine):
        os.utime(path, (1, 1))
    Pictures(tmp_path).put(ONE, picture(1))
    assert (old.exists(), young.exists(), mine.exists()) == (False, True, True)


def test_many_threads(tmp_path):
    pictures = Pictures(tmp_path, limit=3)
    shades = {key_of({"seed": n}): Image.new("RGB", (8, 8), (n, n, n)) for n in range(6)}
    wrong = []

    def work():
        for _ in range(5):
            for key, image in shades.items():
                pictures.put(key, image)
                pictures.add_caption(key, "blip", key)
                if not same(pictures.get(key), image) or pictures.caption(key, "blip") not in (None, key):
                    wrong.append(key)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(pictures) == 3


def test_keys_say_what_differs_and_nothing_else():
    assert key_of({"a": 1, "b": [1, 2]}) == key_of({"b": (1.0, 2), "a": 1.0})
    different = [{"a": 1}, {"a": "1"}, {"a": True}, {"a": 1.5}, {"a": None}, {}, {"b": 1}, {"a": [1]}, {"a": {"b": 1}}, {"a": "ä"}, {"form": 2}]
    assert len({key_of(one) for one in different}) == len(different)


@pytest.mark.parametrize("bad", [{"a": object()}, {1: "a"}, {"a": {2: 1}}, {"a": float("nan")}, {"a": {1, 2}}])
def test_what_json_cannot_tell_apart_is_no_key(bad):
    with pytest.raises((TypeError, ValueError)):
        key_of(bad)
