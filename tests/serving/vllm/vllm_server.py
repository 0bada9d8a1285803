"""vLLM's own server, asked over HTTP."""

from __future__ import annotations

import contextlib
import json
import sys
import urllib.error
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vllm_there import SERVE, environment

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from serving_parts import servers


class Server(servers.Server):
    """A server that is ready."""

    def post(self, path: str, **body: Any) -> Any:  # type: ignore[override]
        """The JSON object that it answers; an error's object too."""
        try:
            return super().post(path, body)
        except urllib.error.HTTPError as error:
            return json.load(error)


@contextlib.contextmanager
def served(
    base: Path, adapters: Mapping[str, Path], settings: Sequence[str] = ()
) -> Iterator[Server]:
    """Serve a base and tickets over it, until the block ends."""
    port = servers.free_port()
    line = [
        *(*SERVE, "--model", str(base), "--served-model-name", "base"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--enable-lora", "--lora-modules", *(f"{n}={path}" for n, path in adapters.items())),
        *settings,
    ]
    with servers.running([line], [port], environment()) as (one,):
        yield Server(one.url, one.process, one.log)
