"""Which captioner is meant, and what becomes of it: loaded, kept, put away, on every path."""

import threading

import pytest

from lib_negguide import captioners
from lib_negguide.captioners import CaptionerError, How, Loadable, find, known, name_of, opened, release
from lib_negguide.captioners.fixed import FixedText
from lib_negguide.errors import NegGuideError, SettingsError


class Fake(Loadable):
    """Writes down what is done to it."""

    def __init__(self, name="fake", place=("cpu", "fp32"), fails=None):
        self.name, self.place, self.fails, self.done = name, place, fails, []

    def _do(self, what):
        self.done.append(what)
        if what == self.fails:
            raise CaptionerError(what)

    def load(self):
        self._do("load")

    def caption(self, images, how=How()):
        self._do("caption")
        if self.tick:
            self.tick()
        return [self.name for _ in images]

    def rest(self):
        self._do("rest")

    def close(self):
        self.done.append("close")


@pytest.fixture(autouse=True)
def nothing_kept():
    release()
    yield
    release()


def use(fake, keep="unload", **more):
    with opened("fake", keep=keep, extra={"fake": lambda: fake}, **more) as captioner:
        captioner.caption([1])
    return captioner


def test_fixed_text():
    with opened("text", text="a cat") as captioner:
        assert captioner.name == "text" and captioner.caption([1, 2]) == ["a cat", "a cat"]
    with pytest.raises(SettingsError) as error:
        find("text", text=" ")
    assert error.value.field == "dnp.text"


def test_auto_is_the_hosts_own_else_blip(monkeypatch, tmp_path):
    own = FixedText("own")
    assert find("auto", extra={"webui": lambda: own}) is own
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CaptionerError, match="blip-image-captioning-base"):
        find("auto")
    with pytest.raises(CaptionerError, match="none here; choose blip-base"):
        find("webui")
    assert issubclass(CaptionerError, NegGuideError)


def test_names():
    assert name_of("fake", extra={"fake": Fake}) == "fake"
    assert name_of("no such") == name_of("text") == ""


def test_known(tmp_path):
    for name in ("mine", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    assert known(tmp_path, ["webui"]) == ["auto", "webui", "blip-base", "blip-large", "blip2", "mine", "text"]
    assert known(tmp_path / "none") == known() == ["auto", "blip-base", "blip-large", "blip2", "text"]


def test_unloaded_after_use():
    fake = Fake()
    use(fake)
    use(fake)
    assert fake.done == ["load", "caption", "close"] * 2


@pytest.mark.parametrize("keep, middle", [("cpu", ["rest"]), ("loaded", [])])
def test_kept(keep, middle):
    first, second = Fake(), Fake()
    assert use(first, keep) is first
    assert use(second, keep) is first
    assert first.done == ["load", "caption", *middle] * 2 and second.done == []
    release()
    assert first.done[-1] == "close"
    release()
    assert first.done.count("close") == 1


@pytest.mark.parametrize("other", [Fake("other"), Fake(place=("cuda", "fp16")), Fake(place=("cpu", "bf16"))], ids=["model", "device", "precision"])
def test_another_one_takes_its_place(other):
    first = Fake()
    use(first, "loaded")
    assert use(other, "loaded") is other
    assert first.done[-1] == "close" and "close" not in other.done


def test_kept_then_unloaded():
    first = Fake()
    use(first, "loaded")
    use(Fake(), "unload")
    assert first.done == ["load", "caption", "load", "caption", "close"]


class Interrupt(BaseException):
    pass


@pytest.mark.parametrize("keep", captioners.KEEP)
@pytest.mark.parametrize("fails", ["load", "caption"])
def test_failures_unload(keep, fails):
    fake = Fake(fails=fails)
    with pytest.raises(CaptionerError, match=fails):
        use(fake, keep)
    assert fake.done[-1] == "close"
    again = Fake()
    assert use(again, keep) is again


@pytest.mark.parametrize("keep", captioners.KEEP)
@pytest.mark.parametrize("error", [KeyboardInterrupt, Interrupt, ZeroDivisionError])
def test_whatever_ends_the_use_unloads(keep, error):
    fake = Fake()
    with pytest.raises(error), opened("fake", keep=keep, extra={"fake": lambda: fake}):
        raise error
    assert fake.done == ["load", "close"]


def test_a_failure_to_rest_unloads():
    fake = Fake(fails="rest")
    with pytest.raises(CaptionerError):
        use(fake, "cpu")
    assert fake.done[-1] == "close"


def test_ticks_only_while_open():
    fake, ticks = Fake(), []
    use(fake, "loaded", tick=lambda: ticks.append(1))
    assert ticks == [1] and fake.tick is None
    use(fake, "loaded")
    assert ticks == [1]


def test_released_while_in_use():
    fake = Fake()
    with opened("fake", keep="loaded", extra={"fake": lambda: fake}):
        thread = threading.Thread(target=release)
        thread.start()
        thread.join()
        assert "close" not in fake.done
    assert fake.done[-1] == "close"


def test_two_at_once_keep_one():
    outer, inner = Fake("outer"), Fake("inner")
    with opened("fake", keep="loaded", extra={"fake": lambda: outer}):
        use(inner, "loaded")
    assert inner.done[-1] != "close" and outer.done[-1] == "close"


def test_keep_is_checked():
    with pytest.raises(SettingsError, match="keep"):
        use(Fake(), "forever")
