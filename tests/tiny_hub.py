"""A small model hub on this machine: one repository's files, served as the real one does, with its troubles on request."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".bin")
"""Kept elsewhere: asking for one leads to another address, and its hash is the sha256; the others have git's."""


class Hub(ThreadingHTTPServer):
    """``asked``: (method, file name, range). ``cut``: bytes after which transfers from the beginning break off; ``lie``: what comes in
    place of a file's bytes; ``gate``: an event without which nothing large is sent beyond ``cut``, or beyond its beginning; ``strangers``:
    whether it answers (404) to questions about other repositories, or hangs up, so that clients take what they have."""

    daemon_threads = True

    def __init__(self, name, folder):
        super().__init__(("127.0.0.1", 0), Answers)
        self.name, self.folder, self.asked, self.cut, self.lie, self.gate, self.ranges, self.strangers = name, folder, [], None, None, None, True, True
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def got(self, file):
        """Ranges asked for of a file."""
        return [place for command, name, place in self.asked if command == "GET" and name == file and place != "moved"]

    def close(self):
        if self.gate:
            self.gate.set()
        self.shutdown()
        self.server_close()


class Answers(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        server, path = self.server, self.path.split("?")[0]
        if path.startswith(f"/api/models/{server.name}"):
            files = [(file.relative_to(server.folder).as_posix(), file.stat().st_size) for file in server.folder.rglob("*") if file.is_file()]
            tree = [{"type": "file", "path": name, "size": size, "oid": "0"} for name, size in files]
            info = {"id": server.name, "modelId": server.name, "sha": COMMIT, "siblings": [{"rfilename": name} for name, _ in files]}
            server.asked.append((self.command, path, None))
            return self.answer(200, json.dumps(tree if "/tree/" in path else info).encode())
        prefix, elsewhere = f"/{server.name}/resolve/", "/elsewhere/"
        name = path[len(prefix):].split("/", 1)[1] if path.startswith(prefix) else path[len(elsewhere):] if path.startswith(elsewhere) else None
        file = None if name is None else server.folder / name
        if name is None and not server.strangers:
            self.close_connection = True
            return None
        large, moved = path.endswith(LARGE), path.endswith(LARGE) and path.startswith(prefix)
        server.asked.append((self.command, path.rsplit("/", 1)[-1], "moved" if moved else self.headers.get("Range")))
        if file is None or not file.is_file():
            return self.answer(404, b"", {"X-Error-Code": "RepoNotFound" if file is None else "EntryNotFound"})
        content, start = file.read_bytes(), 0
        head = {"ETag": '"of another server"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if moved:
            head.update({"Location": f"{server.url}{elsewhere}{name}", "X-Linked-Size": str(len(content)),
                         "X-Linked-ETag": f'"{hashlib.sha256(content).hexdigest()}"'})
            return self.answer(302, b"", head)
        if not large:
            head["ETag"] = f'"{hashlib.sha1(b"blob %d" % len(content) + bytes(1) + content).hexdigest()}"'
        if self.headers.get("Range") and server.ranges:
            start = int(self.headers["Range"][len("bytes="):].split("-")[0])
            head["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = server.lie if server.lie is not None and large else content
        self.answer(206 if start else 200, body[start:], head, server.cut if large and not start else None, server.gate if large else None)

    def answer(self, status, body, head=None, cut=None, gate=None):
        self.send_response(status)
        for key, value in {"Content-Type": "application/octet-stream", "Content-Length": str(len(body)), **(head or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.close_connection = True
        if self.command == "GET":
            try:
                if gate:
                    half = cut or len(body) // 2
                    self.wfile.write(body[:half])
                    gate.wait(60)
                    body, cut = body[half:], None
                self.wfile.write(body[:cut])
            except OSError:  # the other side has had enough
                pass

    def log_message(self, *_):
        pass


def use(monkeypatch, server, cache):
    """Let this process's client of the hub ask that server, and keep what it gets in ``cache``."""
    from huggingface_hub import constants, file_download
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)  # 10 MB else, which tiny models never fill
    renew()


def renew():
    """The client looks again whether it is offline."""
    from huggingface_hub.utils import _http

    _http.reset_sessions()
