"""Captioners of transformers, small and untrained ones: every kind through the code that loads the real ones."""

import gc
import shutil
import weakref

import pytest
import torch

from lib_negguide.captioners import CaptionerError, How, opened, pretrained, release
from lib_negguide.errors import HostError, SettingsError
from tests import tiny_captioners

PICTURES = [tiny_captioners.picture(seed) for seed in range(2)]


@pytest.fixture(scope="module", autouse=True)
def quick_collection(folder):
    """What is there already need not be looked through again each time that the collector is called."""
    with opened(folder("blip")) as captioner:
        captioner.caption(PICTURES[:1], How(1, 1, 1))
    del captioner
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("tiny")

    def of(kind, safetensors=True):
        path = place / f"{kind}-{safetensors}"
        return str(path if path.is_dir() else tiny_captioners.write(path, kind, safetensors))

    return of


@pytest.fixture(autouse=True)
def nothing_kept():
    yield
    release()


@pytest.fixture
def models(monkeypatch):
    """Weak references to every model and every parameter that is loaded."""
    seen, load = [], pretrained.load

    def loading(*args):
        loaded = load(*args)
        seen.extend(weakref.ref(thing) for thing in (loaded[0], *loaded[0].parameters()))
        return loaded

    monkeypatch.setattr(pretrained, "load", loading)
    return seen


def alive(references):
    gc.collect()
    return [reference() for reference in references if reference() is not None]


def memory(references):
    """Bytes that the parameters still hold, wherever they are referred to from."""
    return sum(thing.numel() * thing.element_size() for thing in alive(references)
               if isinstance(thing, torch.nn.Parameter) and thing.device.type != "meta")


@pytest.mark.parametrize("safetensors", [True, False], ids=["safetensors", "torch"])
@pytest.mark.parametrize("kind", tiny_captioners.KINDS)
def test_captions_as_transformers_does_itself(folder, kind, safetensors):
    """The same words as by the documented use of each class; the same ones at each call; each picture by itself."""
    import transformers

    place = folder(kind, safetensors)
    with opened(place) as captioner:
        assert type(captioner.model).__name__ in ("BlipForConditionalGeneration", "Blip2ForConditionalGeneration", "VisionEncoderDecoderModel")
        assert all(parameter.dtype == torch.float32 for parameter in captioner.model.parameters())
        said = captioner.caption(PICTURES, How(3, 4, 9))
        assert captioner.caption(PICTURES, How(3, 4, 9)) == said
        assert captioner.caption(PICTURES[1:], How(3, 4, 9)) == said[1:]
        kind = type(captioner.model)
    model = kind.from_pretrained(place)
    images = transformers.AutoImageProcessor.from_pretrained(place)(images=PICTURES, return_tensors="pt")
    tokens = model.generate(**images, num_beams=3, min_new_tokens=4, max_new_tokens=9)
    assert [text.strip() for text in transformers.AutoTokenizer.from_pretrained(place).batch_decode(tokens, skip_special_tokens=True)] == said
    assert all(said)


@pytest.mark.parametrize("kind", tiny_captioners.KINDS)
def test_how_long(folder, kind):
    """Tokens of a caption, counted by their ticks; one more tick is the picture's own."""
    ticks = []
    with opened(folder(kind), tick=lambda: ticks.append(1)) as captioner:
        for length in (1, 3, 17):
            for beams in (1, 2):
                ticks.clear()
                texts = captioner.caption(PICTURES, How(beams, length, length))
                assert len(ticks) == 2 * (length + 1) and all(1 <= len(text.split()) <= length for text in texts)
        assert captioner.caption([]) == []
        assert len(captioner.caption([PICTURES[0].convert("L").convert("RGBA")])) == 1


def test_precision(folder):
    with opened(folder("blip"), dtype="bf16") as captioner:
        assert all(parameter.dtype == torch.bfloat16 for parameter in captioner.model.parameters())
        assert captioner.caption(PICTURES[:1], How(1, 2, 4))[0]
    with pytest.raises(SettingsError, match="captioner precision"), opened(folder("blip"), dtype="int3"):
        pass
    with pytest.raises(SettingsError, match="captioner device"), opened(folder("blip"), device="gpu"):
        pass


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_no_such_gpu(folder):
    with pytest.raises(CaptionerError, match="torch sees no such GPU"), opened(folder("blip"), device="cuda:0"):
        pass


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", tiny_captioners.KINDS)
def test_on_a_gpu(folder, kind):
    torch.zeros(1, device="cuda")
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    for keep, stays in (("unload", False), ("cpu", False), ("loaded", True)):
        with opened(folder(kind), keep=keep) as captioner:
            assert captioner.place == ("cuda", "torch.float16") and torch.cuda.memory_allocated() > before
            assert captioner.caption(PICTURES, How(2, 3, 6))
        assert (torch.cuda.memory_allocated() > before) == stays
    release()
    with pytest.raises(KeyboardInterrupt), opened(folder(kind), tick=interrupt_at(3)) as captioner:
        captioner.caption(PICTURES, How(2, 5, 6))
    del captioner
    assert torch.cuda.memory_allocated() == before


# -- memory ------------------------------------------------------------------------------------------------


def interrupt_at(count, error=KeyboardInterrupt):
    calls = []

    def tick():
        calls.append(1)
        if len(calls) == count:
            raise error

    return tick


@pytest.mark.parametrize("kind", tiny_captioners.KINDS)
def test_unloaded(folder, kind, models):
    with opened(folder(kind)) as captioner:
        captioner.caption(PICTURES)
        assert memory(models) > 0
    assert len(models) > 10 and alive(models) == []
    with pytest.raises(CaptionerError, match="is not loaded"):
        captioner.caption(PICTURES)


@pytest.mark.parametrize("keep", ["cpu", "loaded"])
def test_kept_until_released(folder, keep, models):
    said = []
    for _ in range(2):
        with opened(folder("blip"), keep=keep) as captioner:
            said.append(captioner.caption(PICTURES))
    assert said[0] == said[1] and sum(isinstance(thing, torch.nn.Module) for thing in alive(models)) == 1
    with opened(folder("blip-2"), keep=keep):
        assert sum(isinstance(thing, torch.nn.Module) for thing in alive(models)) == 1
    del captioner
    release()
    assert alive(models) == []


class Interrupted(BaseException):
    """As the host's: no Exception."""


@pytest.mark.parametrize("kind", tiny_captioners.KINDS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, Interrupted, RuntimeError, HostError])
@pytest.mark.parametrize("count", [1, 5])
def test_ended_in_the_middle(folder, kind, error, count, models):
    """Also while the exception, and so every frame that it went through, is still held."""
    with pytest.raises(CaptionerError if error is RuntimeError else error) as held:
        with opened(folder(kind), keep="loaded", tick=interrupt_at(count, error)) as captioner:
            captioner.caption(PICTURES, How(1, 5, 9))
    assert memory(models) == 0
    del held, captioner
    assert alive(models) == []


@pytest.mark.parametrize("keep", ["unload", "loaded"])
@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, torch.cuda.OutOfMemoryError])
@pytest.mark.parametrize("place", ["to", "generate"])
def test_failing_inside_torch(folder, monkeypatch, models, keep, error, place):
    from transformers import BlipForConditionalGeneration

    def fail(self, *args, **kwargs):
        if args == ("meta",):
            return to(self, *args)
        raise error("no")

    to = BlipForConditionalGeneration.to
    with monkeypatch.context() as patch:
        patch.setattr(BlipForConditionalGeneration, place, fail)
        with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else CaptionerError) as held:
            with opened(folder("blip"), keep=keep) as captioner:
                captioner.caption(PICTURES)
        if error is torch.cuda.OutOfMemoryError:
            assert "not enough memory on cpu" in str(held.value)
    assert len(models) > 10 and memory(models) == 0
    with opened(folder("blip"), keep=keep) as captioner:
        assert captioner.caption(PICTURES)


def test_failing_while_loading(folder, tmp_path, monkeypatch):
    """Half a file, and weights of which a part is missing: no captioner at all."""
    from safetensors.torch import load_file, save_file
    from transformers import BlipForConditionalGeneration

    made, init = [], BlipForConditionalGeneration.__init__

    def counting(self, *args, **kwargs):
        made.append(weakref.ref(self))
        init(self, *args, **kwargs)

    monkeypatch.setattr(BlipForConditionalGeneration, "__init__", counting)
    place = shutil.copytree(folder("blip"), tmp_path / "copy")
    weights = place / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:len(content) // 2])
    with pytest.raises(CaptionerError, match="could not be loaded"), opened(str(place)):
        pass
    weights.write_bytes(content)
    state = {name: tensor.clone() for name, tensor in load_file(weights).items()}  # loaded, they are the file itself
    gone = next(name for name in state if name.endswith("query.weight"))
    save_file({name: tensor for name, tensor in state.items() if name != gone}, weights, {"format": "pt"})
    with pytest.raises(CaptionerError, match=f"not a whole BlipForConditionalGeneration: 1 of its tensors.*{gone}"), opened(str(place)):
        pass
    save_file({**state, gone: torch.zeros(3, 3)}, weights, {"format": "pt"})
    with pytest.raises(CaptionerError, match="could not be loaded"), opened(str(place)):
        pass
    assert made and alive(made) == []


def test_a_model_that_does_not_caption(folder, tmp_path):
    from transformers import BertConfig, BertModel

    place = shutil.copytree(folder("blip"), tmp_path / "copy")
    BertModel(BertConfig(vocab_size=8, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4)).save_pretrained(place, safe_serialization=True)
    with pytest.raises(CaptionerError, match="of the kind bert, which captions no pictures"), opened(str(place)):
        pass


@pytest.mark.parametrize("names", [["AutoModelForVision2Seq"], ["AutoModelForImageTextToText"]])
def test_old_and_new_transformers(folder, monkeypatch, names):
    """Whichever of the two classes there is."""
    import transformers

    both = transformers.AutoModelForVision2Seq
    for name in ("AutoModelForVision2Seq", "AutoModelForImageTextToText"):
        monkeypatch.setattr(transformers, name, both if name in names else None, raising=False)
    with opened(folder("blip")) as captioner:
        assert captioner.caption(PICTURES)
