"""A captioner's files: found in their places; what is missing, cut off or harmful is said by name, without network."""

import json
import os
import pickle
import shutil

import pytest

from lib_negguide.captioners import CaptionerError, NotHere, check, files, find, name_of, opened
from tests import tiny_captioners

PAGE = "https://huggingface.co/Salesforce/blip-image-captioning-base"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tiny_captioners.write(tmp_path_factory.mktemp("tiny") / "whole")


@pytest.fixture(scope="module")
def pickled(tmp_path_factory):
    return tiny_captioners.write(tmp_path_factory.mktemp("tiny") / "pickled", safetensors=False)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache of the hub, and no way to the network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(files, "download", lambda name: pytest.fail("went to the network"))
    return tmp_path / "hub"


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copy")


def put_into_cache(cache, name, folder):
    """As the hub's client stores a model: blobs by their hash, a snapshot of links to them."""
    place = cache / ("models--" + name.replace("/", "--"))
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0123abcd")
    shutil.copytree(folder, place / "snapshots" / "0123abcd")
    return place / "snapshots" / "0123abcd"


def test_places(whole, tmp_path, cache, monkeypatch):
    put_into_cache(cache, "Salesforce/blip2-opt-2.7b", whole)
    put_into_cache(cache, "some/model", whole)
    own = tmp_path / "captioners"
    shutil.copytree(whole, own / "mine")
    shutil.copytree(whole, own / "blip-image-captioning-large")
    shutil.copytree(whole, own / "blip-base")
    monkeypatch.chdir(tmp_path)
    for spec, folder, label in [(str(whole), whole, "whole"), ("mine", own / "mine", "mine"), ("blip-base", own / "blip-base", "blip-base"),
                                ("captioners/mine", own / "mine", "mine"), ("blip-large", own / "blip-image-captioning-large", "blip-large"),
                                ("Salesforce/blip-image-captioning-large", own / "blip-image-captioning-large", "blip-image-captioning-large"),
                                ("blip2", cache / "models--Salesforce--blip2-opt-2.7b" / "snapshots" / "0123abcd", "blip2"),
                                ("some/model", cache / "models--some--model" / "snapshots" / "0123abcd", "some/model")]:
        found = files.find(spec, own)
        assert found.folder.resolve() == folder.resolve() and found.label == label, spec


@pytest.mark.parametrize("spec", ["blip-base", "Salesforce/blip-image-captioning-base"])
def test_not_on_this_machine(spec, tmp_path, cache):
    with pytest.raises(CaptionerError) as error:
        find(spec, folder=tmp_path / "captioners")
    text = str(error.value)
    assert f'the captioner "{spec}" is not on this machine' in text and "it is not there" in text
    assert PAGE in text and str(tmp_path / "captioners" / spec) in text and str(cache) in text and "allow downloads" in text
    assert name_of(spec) == "" == name_of(spec, downloads=True)
    with pytest.raises(NotHere):
        check(spec)
    check(spec, downloads=True)
    with pytest.raises(CaptionerError, match="there is no captioner"):
        check("nonsense", downloads=True)


@pytest.mark.parametrize("spec", ["nonsense", "a/b/c", "../..//", "", "\0", "x" * 5000, "/no/such/folder", "C:\\none", "https://huggingface.co/a/b", "~nobody"])
def test_no_captioner_at_all(spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CaptionerError):
        find(spec)


@pytest.mark.parametrize("lacking, said", [
    (["config.json"], "there is no config.json"),
    (["preprocessor_config.json"], "there is no preprocessor_config.json"),
    (["vocab.txt", "tokenizer.json"], "there is no tokenizer.json or vocab.txt"),
    (["model.safetensors"], "there is no model.safetensors"),
    (["config.json", "model.safetensors"], "there is no config.json, no model.safetensors"),
])
def test_incomplete(copy, cache, lacking, said):
    for name in lacking:
        (copy / name).unlink()
    with pytest.raises(CaptionerError, match="is not complete") as error:
        find(str(copy))
    assert said in str(error.value) and str(copy) in str(error.value)
    put_into_cache(cache, "Salesforce/blip-image-captioning-base", copy)
    with pytest.raises(CaptionerError) as error:
        find("blip-base")
    assert said in str(error.value) and PAGE in str(error.value)


def test_shards(tmp_path):
    folder = tiny_captioners.write(tmp_path / "shards", shard="20KB")
    found = files.find(str(folder))
    assert found.safetensors and len(found.weights) > 1
    found.weights[1].unlink()
    with pytest.raises(CaptionerError, match=f"there is no {found.weights[1].name}"):
        find(str(folder))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "../weights.safetensors", "/etc/weights.safetensors", ""])
def test_an_index_that_leads_elsewhere(copy, name):
    """transformers 4.30 would open a pickle that the index of the safetensors names."""
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name} if name else {}}))
    with pytest.raises(CaptionerError, match="names files that are no .safetensors files of this folder"):
        find(str(copy))
    (copy / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(CaptionerError, match="cannot be read"):
        find(str(copy))


def test_safetensors_before_pickles(copy):
    (copy / "pytorch_model.bin").write_bytes(b"never read")
    with opened(str(copy)):
        pass


class Attack:
    def __reduce__(self):
        return os.mkdir, (os.environ["ATTACKED"],)


@pytest.mark.parametrize("where", ["weights", "tokenizer"])
def test_no_pickle_is_run(copy, tmp_path, monkeypatch, where):
    monkeypatch.setenv("ATTACKED", str(tmp_path / "attacked"))
    if where == "weights":
        (copy / "model.safetensors").unlink()
        (copy / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Attack()}))
    else:
        (copy / "vocab.pkl").write_bytes(pickle.dumps(Attack()))
        (copy / "tokenizer_config.json").write_text('{"tokenizer_class": "TransfoXLTokenizer"}')
    with pytest.raises(CaptionerError, match="plain tensors|is a pickle"), opened(str(copy)):
        pass
    assert not (tmp_path / "attacked").exists()
    pickle.loads(pickle.dumps(Attack()))
    assert (tmp_path / "attacked").exists()


def test_no_code_of_the_model(copy, tmp_path):
    """A configuration that asks for code of its own is refused, or taken without it."""
    (copy / "code.py").write_text(f"open({str(tmp_path / 'attacked')!r}, 'w')\nraise SystemExit")
    config = json.loads((copy / "config.json").read_text())
    own = {"AutoConfig": "code.Config", "AutoModelForVision2Seq": "code.Model", "AutoTokenizer": ["code.Tokenizer", None], "AutoImageProcessor": "code.Images"}
    for kind, refused in (("blip", False), ("unheard-of", True)):
        (copy / "config.json").write_text(json.dumps({**config, "model_type": kind, "auto_map": own}))
        for name in ("tokenizer_config.json", "preprocessor_config.json"):
            (copy / name).write_text(json.dumps({**json.loads((copy / name).read_text()), "auto_map": own}))
        if refused:
            with pytest.raises(CaptionerError), opened(str(copy)):
                pass
        else:
            with opened(str(copy)) as captioner:
                assert captioner.caption([tiny_captioners.picture()])
    assert not (tmp_path / "attacked").exists()


def test_a_pointer_of_git_lfs(copy):
    (copy / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 99\n")
    with pytest.raises(CaptionerError, match="pointer of git LFS"):
        find(str(copy))


# -- names -------------------------------------------------------------------------------------------------


def test_the_name_follows_the_content(whole, copy, tmp_path):
    name = name_of(str(whole)).split("@")[1]
    assert name_of(str(copy)) == "copy@" + name
    with opened(str(copy)) as captioner:
        assert captioner.name == "copy@" + name
    other = tiny_captioners.write(tmp_path / "other", seed=1)
    shutil.copy(other / "model.safetensors", copy / "model.safetensors")
    assert (other / "model.safetensors").stat().st_size == (whole / "model.safetensors").stat().st_size
    assert name_of(str(copy)).split("@")[1] != name
    shutil.copy(whole / "model.safetensors", copy / "model.safetensors")
    assert name_of(str(copy)).split("@")[1] == name
    (copy / "vocab.txt").write_text((copy / "vocab.txt").read_text().replace("cat", "cow"))
    assert name_of(str(copy)).split("@")[1] != name


def test_the_name_of_large_weights(copy, monkeypatch):
    """Samples, size and time stand for a large file's content."""
    weights = copy / "model.safetensors"
    monkeypatch.setattr(files, "_WHOLE", weights.stat().st_size - 1)
    monkeypatch.setattr(files, "_digests", {})
    name = name_of(str(copy))
    assert name == name_of(str(copy))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert name_of(str(copy)) != name


def test_the_cache_of_the_hub_names_its_files_by_their_hash(whole, cache, monkeypatch):
    snapshot = put_into_cache(cache, "some/model", whole)
    blob = cache / "models--some--model" / "blobs" / ("ab" * 32)
    blob.parent.mkdir()
    (snapshot / "model.safetensors").rename(blob)
    (snapshot / "model.safetensors").symlink_to(blob)
    assert files.digest(snapshot / "model.safetensors") == "ab" * 32
