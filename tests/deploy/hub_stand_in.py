"""A server that speaks the part of the hub's HTTP interface that uploads and downloads use.

Files are kept in memory: those of a commit, and the large ones sent before it (LFS).
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import huggingface_hub

TOKEN, COMMIT = "hf_of_a_test", "c" * 40


class Hub(ThreadingHTTPServer):
    """The repositories, and the answer with which it refuses, if it does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        """Repository -> name -> content."""
        self.private: dict[str, bool] = {}
        self.large: dict[str, bytes] = {}
        """Content by its sha256."""
        self.refuse: dict[str, int] = {}
        """End of a path -> the status with which it is refused."""
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        """The URL of the server."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def answer(self, value: Any, status: int = 200, **headers: str) -> None:
        """Send JSON, or bytes."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, header in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), header)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_request(self) -> None:
        """Answer a request, as the hub does."""
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length else self.read_chunks()
        path = self.path.partition("?")[0].strip("/")
        self.server.asked.append(f"{self.command} {path}")
        status = next((s for end, s in self.server.refuse.items() if path.endswith(end)), 0)
        if status:
            return self.answer({"error": "as the test wishes"}, status)
        if not path.startswith("large/") and self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.answer({"error": "Invalid username or password."}, 401)
        parts = path.split("/")
        if path == "api/repos/create":
            return self.create(json.loads(body))
        if path.startswith("large/"):
            assert hashlib.sha256(body).hexdigest() == parts[1]
            self.server.large[parts[1]] = body
            return self.answer({})
        if path.endswith(".git/info/lfs/objects/batch"):
            return self.answer({"objects": [self.action(o) for o in json.loads(body)["objects"]]})
        if path == "api/validate-yaml":
            fields = huggingface_hub.ModelCard(json.loads(body)["content"]).data.to_dict()
            return self.answer({"errors": [] if fields else [{"message": "it is empty"}]})
        repository = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        if repository not in self.server.files:
            return self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        files = self.server.files[repository]
        if parts[0] != "api":
            return self.download(files, "/".join(parts[4:]))
        if "preupload" in parts:
            asked = json.loads(body)["files"]
            return self.answer({"files": [self.mode(one) for one in asked]})
        if "commit" in parts:
            return self.commit(files, body, repository)
        if "tree" in parts:
            return self.answer(
                [{"type": "file", "path": n, "size": len(files[n]), "oid": "0" * 40} for n in files]
            )
        siblings = [{"rfilename": name} for name in files]
        facts = {"id": repository, "sha": COMMIT, "private": self.server.private[repository]}
        return self.answer({**facts, "siblings": siblings})

    do_GET = do_POST = do_PUT = do_HEAD = handle_request

    def read_chunks(self) -> bytes:
        """Read a body that is sent in chunks."""
        body = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return body

    def create(self, asked: dict[str, Any]) -> None:
        """Make a repository, unless it is there."""
        name = f"{asked.get('organization', 'ada')}/{asked['name']}"
        url = {"url": f"{self.server.address}/{name}", "name": name}
        if name in self.server.files:
            return self.answer({**url, "error": "You already created this model repo"}, 409)
        self.server.files[name] = {}
        self.server.private[name] = asked.get("visibility") == "private" or bool(
            asked.get("private")
        )
        return self.answer(url)

    def mode(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Tell how a file is to be sent: weights beforehand."""
        is_large = asked["path"].endswith((".safetensors", ".onnx"))
        mode = "lfs" if is_large else "regular"
        return {"path": asked["path"], "uploadMode": mode, "shouldIgnore": False}

    def action(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Tell where a large file is to be sent."""
        href = f"{self.server.address}/large/{asked['oid']}"
        return {**asked, "actions": {"upload": {"href": href}}}

    def commit(self, files: dict[str, bytes], body: bytes, repository: str) -> None:
        """Keep the files of a commit."""
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
        url = f"{self.server.address}/{repository}/commit/{COMMIT}"
        self.answer({"success": True, "commitOid": COMMIT, "commitUrl": url, "hookOutput": ""})

    def download(self, files: dict[str, bytes], name: str) -> None:
        """Send a file."""
        if name not in files:
            return self.answer({}, 404, X_Error_Code="EntryNotFound")
        etag = f'"{hashlib.sha256(files[name]).hexdigest()}"'
        return self.answer(files[name], ETag=etag, X_Repo_Commit=COMMIT)


@contextmanager
def hub_stand_in() -> Iterator[Hub]:
    """Serve in a thread."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
