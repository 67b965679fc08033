"""Fetching a captioner, from a small hub of our own on this machine: only where it is allowed, only what is needed, and on from where it was."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lib_negguide.captioners import hub
from tests import tiny_captioners

PROJECT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"

SCRIPT = """
import json, sys
from lib_negguide import captioners
from huggingface_hub import constants
from tests import tiny_captioners
constants.DOWNLOAD_CHUNK_SIZE = 4096  # 10 MB else, which the tiny model never fills
spec, downloads = sys.argv[1], sys.argv[2] == "yes"
try:
    captioners.check(spec, downloads=downloads)
    name = captioners.name_of(spec, downloads=downloads)
    with captioners.opened(spec, downloads=downloads) as captioner:
        said = captioner.caption([tiny_captioners.picture()], captioners.How(1, 3, 5))
    print(json.dumps({"before": name, "name": captioner.name, "after": captioners.name_of(spec), "said": said}))
except captioners.CaptionerError as error:
    print(json.dumps({"error": str(error)}))
"""


class Hub(ThreadingHTTPServer):
    """Serves one model's files as the hub does; can break a transfer off."""

    def __init__(self, name, folder):
        super().__init__(("127.0.0.1", 0), Answers)
        self.name, self.folder, self.asked, self.cut = name, folder, [], None
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Answers(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        server, path = self.server, self.path.split("?")[0]
        server.asked.append((self.command, path.rsplit("/", 1)[-1], self.headers.get("Range")))
        if path.startswith(f"/api/models/{server.name}"):
            files = [(file.relative_to(server.folder).as_posix(), file.stat().st_size) for file in server.folder.rglob("*") if file.is_file()]
            tree = [{"type": "file", "path": name, "size": size, "oid": "0"} for name, size in files]
            info = {"id": server.name, "modelId": server.name, "sha": COMMIT, "siblings": [{"rfilename": name} for name, _ in files]}
            return self.answer(200, json.dumps(tree if "/tree/" in path else info).encode())
        prefix = f"/{server.name}/resolve/"
        file = server.folder / path[len(prefix):].split("/", 1)[1] if path.startswith(prefix) else None
        if file is None or not file.is_file():
            return self.answer(404, b"", {"X-Error-Code": "RepoNotFound" if file is None else "EntryNotFound"})
        content, start = file.read_bytes(), 0
        head = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if self.headers.get("Range"):
            start = int(self.headers["Range"][len("bytes="):].split("-")[0])
            head["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self.answer(206 if start else 200, content[start:], head, server.cut if file.name == "model.safetensors" and not start else None)

    def answer(self, status, body, head=None, cut=None):
        self.send_response(status)
        for key, value in {"Content-Type": "application/octet-stream", "Content-Length": str(len(body)), **(head or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:cut])
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def model(tmp_path):
    """A model with much beside it that no captioner needs."""
    folder = tiny_captioners.write(tmp_path / "served")
    for name in ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "README.md", "model.fp16.safetensors", "onnx/model.onnx", "onnx/config.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"not wanted")
    return folder


@pytest.fixture
def server(model):
    served = Hub("Salesforce/blip-image-captioning-base", model)
    yield served
    served.shutdown()
    served.server_close()


def ask(server, cache, spec="blip-base", downloads="yes"):
    env = {**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_CACHE": str(cache), "HF_HOME": str(cache),
           "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1", "no_proxy": "127.0.0.1"}
    done = subprocess.run([sys.executable, "-c", SCRIPT, spec, downloads], env=env, cwd=PROJECT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_fetched_once_and_no_more_than_needed(server, model, tmp_path):
    answer, bars = ask(server, tmp_path / "cache")
    assert answer.get("before") == "", answer
    assert answer["name"] == answer["after"] and answer["name"].startswith("blip-base@") and answer["said"][0]
    assert "Fetching 7 files: 100%" in bars  # the console shows how far it is
    fetched = {name for command, name, _ in server.asked if command == "GET"}
    wanted = {"config.json", "model.safetensors", "vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "preprocessor_config.json"}
    assert wanted <= fetched and not fetched & {"pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "README.md", "model.fp16.safetensors", "model.onnx"}
    server.asked.clear()
    again, _ = ask(server, tmp_path / "cache")
    assert again == {**answer, "before": answer["name"]} and server.asked == []
    server.asked.clear()
    assert ask(server, tmp_path / "cache", downloads="no")[0] == again and server.asked == []


def test_on_from_where_it_was(server, model, tmp_path):
    """A transfer that breaks off leaves no captioner; the next one fetches the rest."""
    size = (model / "model.safetensors").stat().st_size
    server.cut = size // 2
    answer, _ = ask(server, tmp_path / "cache")
    whole = [place for command, name, place in server.asked if command == "GET" and name == "model.safetensors"]
    if "error" in answer:  # this version of the client leaves going on to the next call
        assert "could not be fetched" in answer["error"]
        answer, _ = ask(server, tmp_path / "cache")
        whole = [place for command, name, place in server.asked if command == "GET" and name == "model.safetensors"]
    assert "said" in answer, (answer, server.asked)
    assert answer["said"][0] and whole[-1] is not None and int(whole[-1][len("bytes="):].split("-")[0]) > 0


@pytest.mark.parametrize("spec, downloads", [("blip-base", "no"), ("blip-large", "yes"), ("Salesforce/blip-image-captioning-base", "no")])
def test_refused(server, tmp_path, spec, downloads):
    """Not allowed: nothing is even asked. Not on the hub: said with its page."""
    answer, _ = ask(server, tmp_path / "cache", spec, downloads)
    assert "https://huggingface.co/Salesforce/blip-image-captioning" in answer["error"]
    assert (server.asked == []) == (downloads == "no")


def test_what_is_fetched():
    both = ["config.json", "pytorch_model.bin", "model.safetensors", "tf_model.h5", "model.fp16.safetensors", "flax_model.msgpack"]
    assert hub.weights_among(both) == ["model.safetensors"]
    assert hub.weights_among(["pytorch_model.bin", "tf_model.h5", "rust_model.ot"]) == ["pytorch_model.bin"]
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert hub.weights_among(["model.safetensors.index.json", *shards, "pytorch_model-00001-of-00002.bin"]) == shards
    assert hub.weights_among(["tf_model.h5"]) == []
