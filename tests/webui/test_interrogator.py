"""Captioners in the WebUI: the host's own BLIP and the settings page, in this process with the stand-in's modules; refusals on any host."""

import importlib
import sys
import types
import weakref
from pathlib import Path

import pytest
import torch
from PIL import Image

from lib_negguide import captioners
from lib_negguide.captioners import CaptionerError, How, NotHere
from lib_negguide.settings import Dnp
from tests import tiny_captioners

RED, BLUE = (Image.new("RGBA", (48, 64), colour) for colour in ("red", "blue"))
STANDIN = Path(__file__).parents[1] / "standin"


def taken_out():
    """The host's modules and those that import them, out of ``sys.modules``."""
    names = [name for name in sys.modules if name.split(".")[0] == "modules" or name.startswith(("lib_negguide.hosts.a1111", "lib_negguide.webui"))]
    return {name: sys.modules.pop(name) for name in names}


@pytest.fixture
def inside(monkeypatch, tmp_path):
    """The stand-in's modules and NegGuide's host side, fresh, as they see each other in one process."""
    monkeypatch.setenv("STANDIN_DATA", str(tmp_path))
    monkeypatch.syspath_prepend(str(STANDIN))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    before = taken_out()
    try:
        shared, devices, lowvram = (importlib.import_module("modules." + name) for name in ("shared", "devices", "lowvram"))
        importlib.import_module("modules.interrogate").initialize()
        importlib.import_module("lib_negguide.webui.options").add()
        interrogator = importlib.import_module("lib_negguide.hosts.a1111.interrogator")
        shared.opts.negguide_captioner_keep = "unload"
        yield types.SimpleNamespace(shared=shared, devices=devices, lowvram=lowvram, opts=shared.opts, host=shared.interrogator, folder=tmp_path,
                                    interrogator=interrogator)
    finally:
        captioners.release()
        taken_out()
        sys.modules.update(before)


@pytest.fixture
def blip(inside):
    """The files of the host's BLIP are there."""
    put_checkpoint(inside)
    put_tokenizer(inside)
    return inside


def put_checkpoint(inside, content=b"weights"):
    (inside.folder / "models" / "BLIP").mkdir(parents=True, exist_ok=True)
    (inside.folder / "models" / "BLIP" / "model_base_caption_capfilt_large.pth").write_bytes(content)


def put_tokenizer(inside):
    (inside.folder / "bert-base-uncased").mkdir()


WEBUI = Dnp(captioner="webui")
HOW = How(2, 3, 7)


def test_the_hosts_own(blip):
    for spec in ("webui", "auto"):
        with blip.interrogator.opened(Dnp(captioner=spec)) as captioner:
            assert captioner.caption([RED, BLUE, RED], HOW) == ["a red (picture)", "a blue (picture)", "a red (picture)"]
            assert captioner.name == blip.interrogator.name_of(Dnp(captioner=spec)) and captioner.name.startswith("webui@")
            assert blip.host.blip_model.asked == [{"num_beams": 2, "min_length": 7, "max_length": 11}] * 3
            assert blip.host.clip_model is None
        assert blip.host.blip_model is None


def test_lengths_in_tokens(blip):
    with blip.interrogator.opened(WEBUI) as captioner:
        assert captioner.caption([RED], How(1, 5, 5)) == ["a red (picture) really really"]
        assert captioner.caption([RED], How(1, 0, 2)) == ["a red"]
        assert captioner.caption([]) == []


def test_the_hosts_options_where_nothing_is_asked(blip):
    before = dict(blip.opts.data)
    blip.opts.interrogate_clip_num_beams = 5
    with blip.interrogator.opened(WEBUI) as captioner:
        captioner.caption([RED])
        captioner.caption([RED], How(max_tokens=9))
        assert blip.host.blip_model.asked == [{"num_beams": 5, "min_length": 24, "max_length": 48}, {"num_beams": 5, "min_length": 24, "max_length": 13}]
        captioner.caption([RED], HOW)
        assert "generate" not in vars(blip.host.blip_model)
    assert blip.opts.data == {**before, "interrogate_clip_num_beams": 5}


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("repeating", [True, False], ids=["transformers repeats", "BLIP repeats alone"])
def test_features_once_for_each_beam(inside, beams, repeating):
    """BLIP's own code repeats the picture for each beam; since 4.26 transformers does too, and of more than one beam too many came."""
    from transformers.generation import GenerationMixin

    class Decoder(torch.nn.Module):
        def generate(self, input_ids, num_beams, encoder_hidden_states, encoder_attention_mask, **_):
            features = {"encoder_hidden_states": encoder_hidden_states, "encoder_attention_mask": encoder_attention_mask}
            if repeating:
                _, features = self._expand_inputs_for_generation(num_beams, False, input_ids, **features)
            assert [len(rows) for rows in features.values()] == [len(input_ids) * num_beams] * 2
            return num_beams

    if repeating:
        Decoder._expand_inputs_for_generation = staticmethod(GenerationMixin._expand_inputs_for_generation)

    class Original(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.text_decoder = Decoder()

        def generate(self, image, num_beams):
            features = image.repeat_interleave(num_beams, dim=0)
            return self.text_decoder.generate(input_ids=torch.ones(len(image), 4, dtype=torch.long), num_beams=num_beams, max_length=9,
                                              encoder_hidden_states=features, encoder_attention_mask=features[..., 0])

    model = Original()
    with inside.interrogator._lengths(model, How(beams)):
        assert model.generate(torch.rand(2, 5, 8), num_beams=7) == beams
    assert "generate" not in vars(model) and "generate" not in vars(model.text_decoder)
    if repeating and beams > 1:
        with pytest.raises(AssertionError):
            model.generate(torch.rand(2, 5, 8), num_beams=beams)


def test_no_job_is_touched(blip):
    state = blip.shared.state
    state.begin(job="the user's own")
    state.job_count, state.interrupted = 7, True
    with blip.interrogator.opened(WEBUI) as captioner:
        captioner.caption([RED], HOW)
    assert (state.job, state.job_count, state.interrupted) == ("the user's own", 7, True)


def test_one_that_the_host_had_loaded_stays_with_it(inside):
    """Its files are not even asked for."""
    put_checkpoint(inside)
    own = inside.host.blip_model = inside.host.load_blip_model()
    with inside.interrogator.opened(WEBUI) as captioner:
        assert captioner.caption([BLUE], HOW) == ["a blue (picture)"]
    assert inside.host.blip_model is own and own.weight.device.type == "cpu"


@pytest.mark.parametrize("keep, stays", [("unload", False), ("cpu", True), ("loaded", True)])
def test_kept_until_released(blip, keep, stays):
    blip.opts.negguide_captioner_keep = keep
    models = set()
    for _ in range(2):
        with blip.interrogator.opened(WEBUI) as captioner:
            captioner.caption([RED], HOW)
            models.add(blip.host.blip_model)
    assert len(models) == (1 if stays else 2) and (blip.host.blip_model is not None) == stays
    captioners.release()
    assert blip.host.blip_model is None
    assert all(model.weight.device.type == "meta" for model in models)


def test_the_option_releases(blip):
    blip.opts.negguide_captioner_keep = "cpu"
    with blip.interrogator.opened(WEBUI):
        pass
    assert blip.host.blip_model is not None
    blip.opts.set("negguide_captioner_keep", "unload")
    assert blip.host.blip_model is None


@pytest.mark.parametrize("lacking", ["checkpoint", "tokenizer", "both"])
def test_its_files_are_not_there(inside, lacking):
    if lacking == "tokenizer":
        put_checkpoint(inside)
    if lacking == "checkpoint":
        put_tokenizer(inside)
    for use in (inside.interrogator.check, lambda dnp: inside.interrogator.opened(dnp).__enter__()):
        with pytest.raises(NotHere) as error:
            use(Dnp())
        text = str(error.value)
        assert (str(inside.folder / "models" / "BLIP" / "model_base_caption_capfilt_large.pth") in text) == (lacking != "tokenizer")
        assert ("https://storage.googleapis.com" in text) == (lacking != "tokenizer")
        assert ("tokenizer bert-base-uncased" in text) == (lacking != "checkpoint")
        assert "allow downloads" in text and "blip-base" in text
    assert inside.interrogator.name_of(Dnp()) == ""
    inside.opts.negguide_captioner_downloads = True
    inside.interrogator.check(Dnp())


def test_the_host_fails_to_fetch(inside):
    inside.opts.negguide_captioner_downloads = True
    with pytest.raises(CaptionerError, match="could not be loaded; choose another captioner.*storage.googleapis.com"), inside.interrogator.opened(WEBUI):
        pass
    assert inside.host.blip_model is None


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
@pytest.mark.parametrize("place", ["to", "generate"])
@pytest.mark.parametrize("keep", captioners.KEEP)
def test_failures_give_everything_back(blip, monkeypatch, error, place, keep):
    blip.opts.negguide_captioner_keep = keep
    kind = type(blip.host.load_blip_model())
    made = []
    monkeypatch.setattr(blip.host, "load_blip_model", lambda: made.append(kind()) or made[-1])

    def fail(self, *args, **kwargs):
        if args == ("meta",):
            return to(self, *args)
        raise error("no")

    to = kind.to
    monkeypatch.setattr(kind, place, fail)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else CaptionerError):
        with blip.interrogator.opened(WEBUI) as captioner:
            captioner.caption([RED])
    assert blip.host.blip_model is None and [model.weight.device.type for model in made] == ["meta"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, TypeError])
def test_half_loaded(blip, monkeypatch, error):
    """What the host had made when it failed is gone, though the exception still remembers its way."""
    made = []

    def load():
        model = kind()
        made.append(weakref.ref(model))
        raise error("no such key")

    kind = type(blip.host.load_blip_model())
    monkeypatch.setattr(blip.host, "load_blip_model", load)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else CaptionerError) as held:
        with blip.interrogator.opened(WEBUI):
            pass
    assert [model() for model in made] == [None], held


def test_interrupted_between_pictures(blip):
    calls = []

    def tick():
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), blip.interrogator.opened(WEBUI, tick) as captioner:
        captioner.caption([RED, RED, RED])
    assert blip.host.blip_model is None


def test_a_host_without_interrogator(inside):
    inside.shared.interrogator = None
    with pytest.raises(CaptionerError, match="this one has none; choose blip-base"):
        inside.interrogator.check(WEBUI)


def test_the_name_follows_the_file(blip):
    name = blip.interrogator.name_of(WEBUI)
    put_checkpoint(blip, b"others!")
    assert blip.interrogator.name_of(WEBUI) != name


# -- the settings page -------------------------------------------------------------------------------------


def test_room_is_made(blip):
    """What medvram has on the card goes off it before a captioner is loaded; for a typed text nothing moves."""
    model = blip.lowvram.module_in_gpu = torch.nn.Linear(1, 1)
    with blip.interrogator.opened(Dnp(captioner="text", text="x")):
        assert blip.lowvram.module_in_gpu is model
    with blip.interrogator.opened(WEBUI):
        assert blip.lowvram.module_in_gpu is None


@pytest.mark.parametrize("flag", [None, "lowvram", "medvram", "medvram_sdxl"])
@pytest.mark.parametrize("sdxl", [False, True])
def test_none_stays_on_the_card_under_medvram(inside, flag, sdxl):
    inside.opts.negguide_captioner_keep = "loaded"
    inside.shared.sd_model = types.SimpleNamespace(**({"conditioner": 1} if sdxl else {}))
    if flag:
        setattr(inside.shared.cmd_opts, flag, True)
    scarce = flag in ("lowvram", "medvram") or (flag == "medvram_sdxl" and sdxl)
    assert inside.interrogator.keep() == ("cpu" if scarce else "loaded")
    inside.opts.negguide_captioner_keep = "unload"
    assert inside.interrogator.keep() == "unload"


def test_a_captioner_of_the_folder(inside):
    """models/negguide-captioners by default, or another folder; device and precision from the options."""
    default = inside.folder / "models" / "negguide-captioners"
    tiny_captioners.write(default / "mine")
    tiny_captioners.write(inside.folder / "elsewhere" / "other", seed=1)
    assert inside.interrogator.folders() == ["mine"]
    with inside.interrogator.opened(Dnp(captioner="mine")) as captioner:
        assert captioner.caption([RED], HOW) and captioner.place == ("cpu", "torch.float32")
        assert captioner.name == inside.interrogator.name_of(Dnp(captioner="mine"))
    inside.opts.negguide_captioner_precision = "bf16"
    with inside.interrogator.opened(Dnp(captioner="mine")) as captioner:
        assert captioner.caption([RED], HOW) and captioner.place == ("cpu", "torch.bfloat16")
    inside.opts.negguide_captioners = str(inside.folder / "elsewhere")
    assert inside.interrogator.folders() == ["other"]
    with pytest.raises(CaptionerError, match="there is no captioner \"mine\""):
        inside.interrogator.check(Dnp(captioner="mine"))
    inside.opts.negguide_captioners = str(inside.folder / "none")
    assert inside.interrogator.folders() == []


def test_device_and_precision_of_the_host(inside):
    tiny_captioners.write(inside.folder / "models" / "negguide-captioners" / "mine")
    inside.devices.device_interrogate = torch.device("meta")
    found = captioners.find("mine", **inside.interrogator._where(Dnp(captioner="mine"), False))
    assert found.place == ("meta", "torch.float16")
    inside.shared.cmd_opts.no_half = True
    assert captioners.find("mine", **inside.interrogator._where(Dnp(captioner="mine"), False)).place == ("meta", "torch.float32")
    inside.opts.negguide_captioner_device = "cpu"
    assert captioners.find("mine", **inside.interrogator._where(Dnp(captioner="mine"), False)).place == ("cpu", "torch.float32")


# -- any host ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec, said", [("webui", "model_base_caption_capfilt_large.pth"), ("auto", "own BLIP interrogator, lacks"),
                                        ("blip-base", "https://huggingface.co/Salesforce/blip-image-captioning-base"),
                                        ("blip2", "negguide-captioners/blip2"), ("nonsense", "there is no captioner")])
def test_refused_with_the_reason(host, spec, said):
    """A host without the captioner's files makes no picture that pretends."""
    known = {row["captioner"]: row for row in host.get("/negguide/v1/captioners").json()["captioners"]}
    if known.get(spec, {}).get("usable"):
        pytest.skip("this host has it")
    answer = host.refused({"dnp": {"captioner": spec}})
    assert answer.status_code == 422 and said in answer.text and "images" not in answer.json()
