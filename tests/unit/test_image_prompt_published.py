"""Published IP-Adapters: named with where to get them, fetched whole or not at all, from a small hub of our own."""

import json
import threading

import pytest
import torch
from safetensors.torch import save_file

from lib_negguide import background, hub
from lib_negguide.background import Background
from lib_negguide.errors import ModelError, SettingsError
from lib_negguide.image_prompt import checkpoints, fetching, files, published, vision
from lib_negguide.image_prompt.published import REPOSITORY, TABLE
from tests import adapters, tiny_hub
from tests.unit.test_image_prompt_files import unet

NAME = "ip-adapter_sd15.safetensors"


@pytest.fixture(scope="module")
def files_of_the_hub(tmp_path_factory):
    """The two files that SD1.5 needs first, of the right widths and no more, and one of another kind."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "models" / "image_encoder").mkdir(parents=True)
    adapters.write(adapters.checkpoint(inner=(8, 16), width=768, feature=1024, tokens=1), folder / "models" / NAME)
    save_file({vision.PATCHES: torch.zeros(1280, 3, 14, 14, dtype=torch.half)}, str(folder / "models/image_encoder/model.safetensors"))
    (folder / "models/image_encoder/config.json").write_text(json.dumps(
        {"model_type": "clip_vision_model", "hidden_size": 1280, "projection_dim": 1024}))
    return folder


@pytest.fixture
def server(files_of_the_hub, monkeypatch, tmp_path):
    served = tiny_hub.Hub(REPOSITORY, files_of_the_hub)
    tiny_hub.use(monkeypatch, served, tmp_path / "cache")
    yield served
    served.close()


@pytest.fixture
def whole(files_of_the_hub):
    return (files_of_the_hub / "models" / NAME).read_bytes()


def fetch(folder, progress=None, name=NAME):
    return published.download(published.find(name), folder, progress)


def parts(folder):
    return [path for path in folder.rglob("*") if path.name.endswith(hub.PART)]


def test_the_table_says_what_each_needs():
    assert len(TABLE) == 12 and [one for one in TABLE if one.startswith("CLIP")] == ["CLIP-ViT-H-14", "CLIP-ViT-bigG-14"]
    known = {name for name, *_ in vision.KNOWN.values()}
    for name, one in TABLE.items():
        assert one.encoder in known and published.encoder_called(one.encoder).kind == published.ENCODER and one.page.endswith(one.path)
        if one.model:
            assert one.model in checkpoints.MODELS.values() and published.called(name.rsplit(".", 1)[0]) is one
    assert published.adapter_for("SD1.5").name == NAME and published.adapter_for("SDXL").name == "ip-adapter_sdxl_vit-h.safetensors"
    assert published.adapter_for("SD2") is published.adapter_for(None) is None
    for nonsense in ("../evil", "", None, 3, "models/ip-adapter_sd15.safetensors"):
        with pytest.raises(SettingsError, match="name = .* is not allowed; one of ip-adapter_sd15.safetensors, "):
            published.find(nonsense)


def test_fetched_whole_with_progress(server, whole, tmp_path):
    seen = []
    path = fetch(tmp_path / "new" / "folder", lambda *where: seen.append(where))
    assert path == tmp_path / "new" / "folder" / NAME and path.read_bytes() == whole and not parts(tmp_path)
    done, totals = zip(*seen)
    assert list(done) == sorted(done) and done[0] < done[-1] == len(whole) and set(totals) == {len(whole)}
    server.asked.clear()
    assert fetch(tmp_path / "new" / "folder") == path and server.got(NAME) == []  # checked, not fetched again


def test_an_encoder_is_a_folder(server, tmp_path):
    seen = []
    path = fetch(tmp_path, lambda *where: seen.append(where), "CLIP-ViT-H-14")
    assert path == tmp_path / "CLIP-ViT-H-14" and vision.look(path).shape.words == "CLIP ViT-H/14"
    sizes = sum(file.stat().st_size for file in path.iterdir())
    assert len(list(path.iterdir())) == 2 and seen[-1] == (sizes, sizes)


def test_goes_on_where_a_connection_broke(server, whole, tmp_path):
    server.cut = len(whole) // 2
    assert fetch(tmp_path).read_bytes() == whole
    first, second = server.got(NAME)
    assert first is None and 0 < int(second[len("bytes="):-1]) <= len(whole) // 2


@pytest.mark.parametrize("ranges", [True, False], ids=["goes on", "server begins anew"])
def test_goes_on_where_the_user_stopped(server, whole, tmp_path, ranges):
    class Enough(Exception):
        pass

    def stop(done, total):
        if done >= total // 3:
            raise Enough

    with pytest.raises(Enough):
        fetch(tmp_path, stop)
    here = parts(tmp_path)[0].stat().st_size
    assert 0 < here < len(whole) and not (tmp_path / NAME).exists() and files.candidates([tmp_path]) == []
    server.ranges = ranges
    assert fetch(tmp_path).read_bytes() == whole and server.got(NAME)[-1] == f"bytes={here}-" and not parts(tmp_path)


def test_another_version_begins_anew(server, whole, tmp_path):
    (tmp_path / f"{NAME}.01234567{hub.PART}").write_bytes(b"older")
    assert fetch(tmp_path).read_bytes() == whole and server.got(NAME) == [None]


@pytest.mark.parametrize("lie", ["same size", "longer", "shorter"])
def test_wrong_bytes_are_deleted(server, whole, tmp_path, lie):
    server.lie = {"same size": whole[:-1] + b"?", "longer": whole + b"?", "shorter": whole[:-9]}[lie]
    with pytest.raises(ModelError, match="checksum" if lie != "shorter" else "could not be fetched.*is kept"):
        fetch(tmp_path)
    assert not (tmp_path / NAME).exists() and len(parts(tmp_path)) == (lie == "shorter")
    server.lie = None
    assert fetch(tmp_path).read_bytes() == whole


def test_a_small_file_is_checked_too(server, files_of_the_hub, tmp_path):
    path = fetch(tmp_path, name="CLIP-ViT-H-14")
    text = (path / "config.json").read_text()
    (path / "config.json").write_text(text.replace("1280", "1281"))
    with pytest.raises(ModelError, match="config.json is not the file models/image_encoder/config.json of the hub; move or delete it"):
        fetch(tmp_path, name="CLIP-ViT-H-14")
    assert (path / "config.json").read_text() != text  # what is the user's is left alone


def test_no_way_to_the_hub(server, monkeypatch, tmp_path):
    """Offline, refused or not there: said with the page and the place; nothing is left behind."""
    with pytest.raises(ModelError, match="ip-adapter-plus_sd15.safetensors of https://huggingface.co/h94/IP-Adapter could not be fetched.*By hand: get .*put it into "):
        fetch(tmp_path / "x", name="ip-adapter-plus_sd15")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    tiny_hub.renew()
    with pytest.raises(ModelError, match="could not be fetched: OfflineModeIsEnabled.*By hand: get models/ip-adapter_sd15"):
        fetch(tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_no_room(server, monkeypatch, tmp_path):
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 10}))
    with pytest.raises(ModelError, match="has no room for models/ip-adapter_sd15.safetensors"):
        fetch(tmp_path)
    assert server.got(NAME) == []


def test_what_is_missing_is_fetched_where_allowed(server, tmp_path):
    model = unet(8, 16, width=768)
    assert fetching.missing("auto", "auto", model, [tmp_path]).name == NAME
    assert fetching.missing("ip-adapter-plus_sd15", "auto", model, [tmp_path]).name == "ip-adapter-plus_sd15.safetensors"
    assert fetching.missing("mine", "auto", model, [tmp_path]) is None
    assert server.asked == []
    path, encoder = fetching.obtained("auto", "auto", model, [tmp_path / "a", tmp_path / "b"])
    assert (path, encoder) == (tmp_path / "a" / NAME, str(tmp_path / "a" / "CLIP-ViT-H-14"))
    assert fetching.missing("auto", "auto", model, [tmp_path / "a"]) is None
    assert fetching.missing("auto", "CLIP-ViT-bigG-14", model, [tmp_path / "a"]).path == "sdxl_models/image_encoder"
    server.asked.clear()
    assert fetching.obtained("auto", "auto", model, [tmp_path / "a"]) == (path, encoder) and server.asked == []
    with pytest.raises(published.Missing, match="there is no IP-Adapter mine"):
        fetching.obtained("mine", "auto", model, [tmp_path / "a"])


def test_one_job_at_a_time_and_cancelled(server, whole, tmp_path):
    job, halfway = Background("a test"), threading.Event()
    server.gate = threading.Event()

    def work(progress):
        def told(done, total):
            progress(done, total)
            halfway.set()
        fetch(tmp_path, told)

    assert job.told() == {"name": "", "done": 0, "total": 0, "state": "idle", "error": ""}
    job.cancel()  # of nothing
    job.start(NAME, work)
    assert halfway.wait(60)
    told = job.told()
    assert told["state"] == "running" and told["name"] == NAME and 0 < told["done"] < told["total"] == len(whole)
    with pytest.raises(background.Busy, match=NAME):
        job.start("another", work)
    job.cancel()
    server.gate.set()
    job.wait(60)
    assert job.told()["state"] == "cancelled" and parts(tmp_path)
    job.start(NAME, work)
    job.wait(60)
    assert job.told() == {"name": NAME, "done": len(whole), "total": len(whole), "state": "done", "error": ""}


@pytest.mark.parametrize("error, words", [(ModelError("NegGuide: why"), "NegGuide: why"), (KeyError("x"), "NegGuide: KeyError: 'x'")])
def test_a_job_that_fails_says_why(error, words):
    def work(progress):
        raise error

    job = Background("a test")
    job.start("thing", work)
    job.wait(60)
    assert job.told() == {"name": "thing", "done": 0, "total": 0, "state": "failed", "error": words}
