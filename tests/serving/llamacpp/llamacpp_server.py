"""llama.cpp's server, started for a test; which Python has it (``LLAMACPP_PYTHON``)."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[3] / "examples" / "llama_server.py"
PYTHON = os.environ.get("LLAMACPP_PYTHON", sys.executable)


def missing() -> str | None:
    """Why llama.cpp cannot be started here; None if it can."""
    asked = [PYTHON, "-c", "import xllamacpp"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=120)
    except OSError as error:
        return f"LLAMACPP_PYTHON={PYTHON}: {error}"
    return None if done.returncode == 0 else f"{PYTHON} has no xllamacpp (make test-serving)"


def request_of(folder: Path) -> Any:
    """The request that the card of an export shows."""
    (line,) = (t for t in (folder / "README.md").read_text("utf-8").splitlines() if "curl " in t)
    words = shlex.split(line)
    return json.loads(words[words.index("-d") + 1])


class Server:
    """A server that answers; ``process`` is it."""

    def __init__(self, address: str, process: subprocess.Popen[str]) -> None:
        self.address, self.process = address, process

    def ask(self, path: str, body: dict[str, Any]) -> Any:
        """What it answers to a request with a body of JSON."""
        request = urllib.request.Request(
            f"{self.address}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.load(answer)

    def greedy(self, prompt: str | list[int], limit: int = 10, **more: Any) -> Any:
        """What it says after a prompt (text or token ids); ``tokens`` of it are ids."""
        fixed = {"temperature": 0, "cache_prompt": False, "return_tokens": True}
        return self.ask("/completion", {"prompt": prompt, "n_predict": limit, **fixed, **more})


@contextlib.contextmanager
def serving(model: Path, *adapters: Path, exact: bool = True) -> Iterator[Server]:
    """Start the server on a free port, with adapters at scale 0; stop it afterwards."""
    if (why := missing()) is not None:
        pytest.skip(why)
    line = [PYTHON, str(PROGRAM), str(model), *map(str, adapters), "--threads", "1"]
    process = subprocess.Popen(
        [*line, *(["--exact"] if exact else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://"), f"no server: {address!r} ({process.poll()})"
        yield Server(address, process)
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()
            process.stdout.close()
