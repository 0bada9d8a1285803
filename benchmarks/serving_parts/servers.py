"""Servers of vLLM and llama.cpp: started, asked, their memory measured, stopped.

The tests of both engines (``tests/serving``) start theirs here too.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common

STARTS = 900  # seconds that a server may take, on a busy machine
PARALLEL = 8  # requests that a server answers at a time
LLAMA = common.ROOT / "examples" / "llama_server.py"


def environment(threads: int) -> dict[str, str]:
    """Of a server that has so many threads."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
    }


def has(python: str | None, module: str) -> bool:
    """Whether a Python has a module."""
    if python is None:
        return False
    found = f"import importlib.util, sys; sys.exit(not importlib.util.find_spec({module!r}))"
    return subprocess.run([python, "-c", found], check=False).returncode == 0


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Attributes:
        url: without a slash at its end.
        process: the server.
        log: what it prints, and what those print that were started with it.
    """

    url: str
    process: subprocess.Popen[Any]
    log: Path

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON object that it answers."""
        request = urllib.request.Request(
            f"{self.url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):
        return True
    return False


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextlib.contextmanager
def running(
    lines: Sequence[list[str]], ports: Sequence[int], variables: Mapping[str, str]
) -> Iterator[list[Server]]:
    """Start servers side by side, wait until all answer, and stop them after the block.

    Args:
        lines: that start them.
        ports: that they listen at.
        variables: of their environment.

    Raises:
        RuntimeError: one ended, or does not answer; the end of the log is in the message.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        log = Path(folder, "log.txt")
        output = stack.enter_context(log.open("w"))
        servers = []
        for line, port in zip(lines, ports, strict=True):
            process = subprocess.Popen(line, env=variables, stdout=output, stderr=output)
            stack.callback(_stop, process)
            servers.append(Server(f"http://127.0.0.1:{port}", process, log))
        until = time.monotonic() + STARTS
        for server in servers:
            while not _answers(server.url):
                if server.process.poll() is not None or time.monotonic() > until:
                    said = log.read_text("utf-8", "replace")[-3000:]
                    raise RuntimeError(f"the server did not start: {said}")
                time.sleep(0.2)
        yield servers


def _stop(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def vllm(python: str, folder: Path, dtype: str, longest: int, *more: str) -> tuple[list[str], int]:
    """The line that starts vLLM's server on a free port, and the port."""
    port = free_port()
    line = [
        *(python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)),
        *("--served-model-name", "base", "--host", "127.0.0.1", "--port", str(port)),
        *("--dtype", dtype, "--enforce-eager", "--max-model-len", str(longest)),
        # what was said before must not answer what is measured
        *("--max-num-seqs", str(PARALLEL), "--max-num-batched-tokens", "1024"),
        # keys and values of so many requests, and no more memory
        *("--block-size", "32", "--num-gpu-blocks-override", str(PARALLEL * longest // 32 + 8)),
        *("--no-enable-prefix-caching", *more),
    ]
    return line, port


def llamacpp(
    python: str, model: Path, longest: int, threads: int, *adapters: str
) -> tuple[list[str], int]:
    """The same of llama.cpp's."""
    port = free_port()
    line = [
        *(python, str(LLAMA), str(model), *adapters, "--port", str(port)),
        *("--parallel", str(PARALLEL), "--context", str(longest)),
        *("--threads", str(threads)),
    ]
    return line, port


def _family(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _family(int(child))
    return found


def memory(pids: Sequence[int]) -> int | None:
    """Bytes of processes and their children; pages that they share count once (Linux only)."""
    total = 0
    for one in {member for pid in pids for member in _family(pid)}:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            total += sum(int(s.split()[1]) for s in lines if s.startswith("Pss:")) * 1024
    return total or None
