"""Fetching a captioner, from a small hub of our own on this machine: only where it is allowed, only what is needed, and on from where it was."""

import pytest

from lib_negguide import captioners
from lib_negguide.captioners import files
from tests import tiny_captioners, tiny_hub


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model with much beside it that no captioner needs."""
    folder = tiny_captioners.write(tmp_path_factory.mktemp("hub") / "served")
    for name in ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "README.md", "model.fp16.safetensors", "onnx/model.onnx", "onnx/config.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"not wanted")
    return folder


@pytest.fixture
def server(model, monkeypatch, tmp_path):
    served = tiny_hub.Hub("Salesforce/blip-image-captioning-base", model)
    tiny_hub.use(monkeypatch, served, tmp_path / "cache")
    yield served
    served.close()


def ask(spec="blip-base", downloads=True):
    captioners.check(spec, downloads=downloads)
    before = captioners.name_of(spec, downloads=downloads)
    with captioners.opened(spec, downloads=downloads) as captioner:
        said = captioner.caption([tiny_captioners.picture()], captioners.How(1, 3, 5))
    return {"before": before, "name": captioner.name, "after": captioners.name_of(spec), "said": said}


def test_fetched_once_and_no_more_than_needed(server, capfd):
    answer = ask()
    assert answer["before"] == "" and answer["name"] == answer["after"] and answer["name"].startswith("blip-base@") and answer["said"][0]
    assert "Fetching 7 files: 100%" in capfd.readouterr().err  # the console shows how far it is
    fetched = {name for command, name, _ in server.asked if command == "GET"}
    wanted = {"config.json", "model.safetensors", "vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "preprocessor_config.json"}
    assert wanted <= fetched and not fetched & {"pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "README.md", "model.fp16.safetensors", "model.onnx"}
    server.asked.clear()
    again = ask()
    assert again == {**answer, "before": answer["name"]} and ask(downloads=False) == again and server.asked == []


def test_on_from_where_it_was(server, model):
    """A transfer that breaks off leaves no captioner; the next one fetches the rest."""
    server.cut = (model / "model.safetensors").stat().st_size // 2
    try:
        answer = ask()
    except captioners.CaptionerError as error:  # this version of the client leaves going on to the next call
        assert "could not be fetched" in str(error)
        answer = ask()
    places = server.got("model.safetensors")
    assert answer["said"][0] and places[-1] is not None and int(places[-1][len("bytes="):].split("-")[0]) > 0


@pytest.mark.parametrize("spec, downloads", [("blip-base", False), ("blip-large", True), ("Salesforce/blip-image-captioning-base", False)])
def test_refused(server, spec, downloads):
    """Not allowed: nothing is even asked. Not on the hub: said with its page."""
    with pytest.raises(captioners.CaptionerError, match="https://huggingface.co/Salesforce/blip-image-captioning"):
        ask(spec, downloads)
    assert (server.asked == []) == (not downloads)


def test_what_is_fetched():
    both = ["config.json", "pytorch_model.bin", "model.safetensors", "tf_model.h5", "model.fp16.safetensors", "flax_model.msgpack"]
    assert files.weights_among(both) == ["model.safetensors"]
    assert files.weights_among(["pytorch_model.bin", "tf_model.h5", "rust_model.ot"]) == ["pytorch_model.bin"]
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert files.weights_among(["model.safetensors.index.json", *shards, "pytorch_model-00001-of-00002.bin"]) == shards
    assert files.weights_among(["tf_model.h5"]) == []
