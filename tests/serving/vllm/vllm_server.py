"""vLLM's own server, asked over HTTP."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm_there import SERVE, environment

STARTS = 400  # seconds, on a busy machine


@dataclass(frozen=True)
class Server:
    """A server that is ready.

    Attributes:
        url: without a slash at its end.
        log: what it prints.
    """

    url: str
    log: Path

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """The JSON object that it answers; an error's object too."""
        request = urllib.request.Request(
            f"{self.url}{path}",
            json.dumps(body).encode("utf-8"),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            found = json.load(error)
        return found


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _is_ready(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):
        return True
    return False


@contextlib.contextmanager
def served(
    base: Path, adapters: Mapping[str, Path], folder: Path, settings: Sequence[str] = ()
) -> Iterator[Server]:
    """Serve a base and tickets over it, until the block ends."""
    port = _free_port()
    url, log = f"http://127.0.0.1:{port}", folder / "server.log"
    line = [
        *(*SERVE, "--model", str(base), "--served-model-name", "base"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--enable-lora", "--lora-modules", *(f"{n}={path}" for n, path in adapters.items())),
        *settings,
    ]
    with log.open("w") as output:
        process = subprocess.Popen(line, env=environment(), stdout=output, stderr=output)
        try:
            until = time.monotonic() + STARTS
            while not _is_ready(url):
                assert process.poll() is None and time.monotonic() < until, log.read_text()[-3000:]
                time.sleep(0.3)
            yield Server(url, log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
