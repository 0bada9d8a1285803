"""A hub on this machine: the requests over HTTP that push_to_hub and a download take."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "1" * 40


class Hub(BaseHTTPRequestHandler):
    """Keeps what is committed in ``server.files``."""

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""

    def _answer(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        tag = f'"{hashlib.sha1(content).hexdigest()}"'
        fixed = {"Content-Length": str(len(content)), "X-Repo-Commit": COMMIT, "ETag": tag}
        for name, value in {**fixed, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _address(self) -> str:
        return f"http://{self.headers['Host']}"

    def _json(self, content: Any) -> None:
        self._answer(json.dumps(content).encode(), **{"Content-Type": "application/json"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        files: dict[str, bytes] = self.server.files  # type: ignore[attr-defined]
        if self.path.endswith("/repos/create"):
            name = json.loads(body)["name"]
            self._json(
                {"url": f"{self._address()}/me/{name}", "name": f"me/{name}", "id": f"me/{name}"}
            )
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            kinds = [{"path": f["path"], "uploadMode": "regular"} for f in asked]
            self._json({"files": [{**k, "shouldIgnore": False} for k in kinds]})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    files[value["path"]] = base64.b64decode(value["content"])
            url = f"{self._address()}/me/ticket/commit/{COMMIT}"
            self._json({"commitUrl": url, "commitOid": COMMIT, "success": True})
        else:
            self._json({})

    def do_GET(self) -> None:
        name = self.path.partition("/resolve/")[2].partition("/")[2]
        files: dict[str, bytes] = self.server.files  # type: ignore[attr-defined]
        if "/resolve/" not in self.path:
            self._json({"id": "me/ticket", "sha": COMMIT, "siblings": []})
        elif name in files:
            self._answer(files[name])
        else:
            self._answer(b"", 404, **{"X-Error-Code": "EntryNotFound"})

    do_HEAD = do_GET


@contextmanager
def hub() -> Iterator[tuple[str, dict[str, bytes]]]:
    """Its address, and name → content of what was uploaded."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files = {}  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.files  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
