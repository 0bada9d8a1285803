"""llama.cpp's server, started for a test; which Python has it (``LLAMACPP_PYTHON``)."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from serving_parts import servers

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


class Server(servers.Server):
    """A server that answers."""

    def greedy(self, prompt: str | list[int], limit: int = 10, **more: Any) -> Any:
        """What it says after a prompt (text or token ids); ``tokens`` of it are ids."""
        fixed = {"temperature": 0, "cache_prompt": False, "return_tokens": True}
        return self.post("/completion", {"prompt": prompt, "n_predict": limit, **fixed, **more})


@contextlib.contextmanager
def serving(model: Path, *adapters: Path, exact: bool = True) -> Iterator[Server]:
    """Start the server on a free port, with adapters at scale 0; stop it afterwards."""
    if (why := missing()) is not None:
        pytest.skip(why)
    port = servers.free_port()
    line = [PYTHON, str(servers.LLAMA), str(model), *map(str, adapters), "--port", str(port)]
    line += ["--threads", "1", *(["--exact"] if exact else [])]
    with servers.running([line], [port], os.environ) as (one,):
        yield Server(one.url, one.process, one.log)
