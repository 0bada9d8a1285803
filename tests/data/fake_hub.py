"""A hub on this machine: as much of its API as is asked for."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "c0ffee" * 6 + "c0de"


class Handler(BaseHTTPRequestHandler):
    """Serves the data sets ``owner/name`` that lie under ``root``."""

    root: Path

    def log_message(self, *_: Any) -> None:
        """Nothing on the terminal."""

    def answer(self, content: Any, status: int = 200, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"X_Repo_Commit": COMMIT, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def entry(self, folder: Path, name: str) -> dict[str, Any]:
        if (folder / name).is_dir():
            return {"type": "directory", "path": name, "size": 0, "oid": "0" * 40}
        data = (folder / name).read_bytes()
        oid = hashlib.sha1(data).hexdigest()
        return {"type": "file", "path": name, "size": len(data), "oid": oid}

    def api(self, folder: Path, what: str, rest: list[str], body: bytes) -> None:
        def names(found: Iterator[Path], keep: bool = False) -> list[str]:
            return sorted(p.relative_to(folder).as_posix() for p in found if keep or p.is_file())

        if what in ("", "revision"):
            if rest and rest[0] not in ("main", COMMIT):
                return self.answer({}, 404, X_Error_Code="RevisionNotFound")
            files = [{"rfilename": name} for name in names(folder.rglob("*"))]
            info: dict[str, Any] = {"id": "/".join(folder.parts[-2:]), "sha": COMMIT, "tags": []}
            return self.answer({**info, "private": False, "gated": False, "siblings": files})
        if what == "tree":
            below = folder.joinpath(*rest[1:])
            recursive = "recursive=true" in self.path.lower()
            found = below.rglob("*") if recursive else below.glob("*")
            return self.answer([self.entry(folder, name) for name in names(found, True)])
        paths = parse_qs(body.decode()).get("paths") or json.loads(body)["paths"]
        return self.answer([self.entry(folder, p) for p in paths if (folder / p).exists()])

    def do_GET(self) -> None:
        """Answer one request of any kind."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "datasets"] and len(parts) > 3:
            folder = self.root.joinpath(*parts[2:4])
            if not folder.is_dir():
                return self.answer({}, 404, X_Error_Code="RepoNotFound")
            return self.api(folder, "".join(parts[4:5]), parts[5:], body)
        if parts[0] == "datasets" and "resolve" in parts:
            if self.root.joinpath(*parts[1:3], ".gated").is_file():  # listed, and not handed out
                return self.answer({}, 403, X_Error_Code="GatedRepo")
            file = self.root.joinpath(*parts[1:3], *parts[5:])
            if file.is_file():
                data = file.read_bytes()
                return self.answer(data, ETag=f'"{hashlib.sha1(data).hexdigest()}"')
            return self.answer({}, 404, X_Error_Code="EntryNotFound")
        return self.answer({}, 404)

    do_HEAD = do_POST = do_GET


@contextmanager
def serving(root: Path) -> Iterator[str]:
    """The address of a hub that has the data sets under ``root``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Hub", (Handler,), {"root": root}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


SCRIPT = """
import json, sys, time
from mt_lottery.data.hub import corpus as hub
from mt_lottery.data.corpora import load_corpora
from mt_lottery.errors import DataError
from mt_lottery.languages import parse_pair
from mt_lottery.registry import CORPORA
timeout, *wanted = json.loads(sys.stdin.read())
hub.TIMEOUT = timeout
answers = []
for name, pair, settings in wanted:
    began = time.monotonic()
    try:
        made = load_corpora(CORPORA.dataclass_of(name)(name=name, **settings), parse_pair(pair))
        splits = (made.train, made.dev, made.test)
        answer = [[[p.source, p.target] for p in s.pairs] for s in splits], str(made.train.report)
    except DataError as error:
        answer = None, str(error)
    answers.append([*answer, time.monotonic() - began])
print(json.dumps(answers))
"""


def asked(
    endpoint: str, home: Path, *wanted: tuple[str, str, dict[str, Any]], timeout: float = 5.0
) -> list[tuple[Any, str, float]]:
    """What a fresh process reads from a hub (its address is fixed when it is imported).

    Args:
        endpoint: the hub's address.
        home: folder of the libraries' caches.
        wanted: corpus, pair and settings of each.
        timeout: seconds for the question whether the hub is there.

    Returns:
        of each the pairs of train, dev and test, and the report; or None and the message;
        and the seconds.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE"))}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps([timeout, *wanted]),
        capture_output=True,
        text=True,
        env=environment,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    answers: list[tuple[Any, str, float]] = json.loads(done.stdout)
    return answers
