"""The arms: what serves a number of languages, in which files, and what it answers."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mt_lottery as mtl
from mt_lottery.runs.export.engines import fit
from mt_lottery.runs.export.rows import take_rows
from serving_parts.servers import PARALLEL, Server, environment, llamacpp, memory, running, vllm


@dataclass(frozen=True)
class Work:
    """What is served.

    Attributes:
        run: whose ticket and merged model it is, in each language.
        folder: for what is written.
        sources, wanted: test sentences, and what the run said of each.
        prompts: the sources as the run words them.
        pythons: of each engine, None where there is none.
        base: a GGUF of the original model, for llama.cpp.
        longest: tokens of a prompt and its translation.
        threads: that all servers of an arm share.
    """

    run: mtl.Run
    folder: Path
    sources: list[str]
    wanted: list[str]
    prompts: list[str]
    pythons: dict[str, str | None]
    base: Path | None
    longest: int
    threads: int

    @property
    def new(self) -> int:
        """Most tokens of a translation."""
        return self.run.config.translate.max_new_tokens

    @property
    def dtype(self) -> str:
        """Of the original model's weights, as vLLM calls it."""
        return str(self.run.original.model.dtype).removeprefix("torch.")

    def exported(self, name: str, **options: Any) -> Path:
        """The folder of an export, written when it is first needed."""
        folder = self.folder / name
        if not folder.exists():
            self.run.export(folder, **options)
        return folder

    def original(self) -> Path:
        """The folder of the original model."""
        return Path(self.run.original.model.config._name_or_path)


@dataclass(frozen=True)
class Arm:
    """Something that answers.

    Attributes:
        ask: text of the prompt with this number, in the language with this number.
        bytes: on disk: weights, tickets and all that is loaded.
        pids: of its processes.
    """

    ask: Callable[[int, int], str]
    bytes: int
    pids: list[int]


def size(*paths: Path) -> int:
    """Bytes of files and of what is in folders."""
    files = [f for path in paths for f in ([path] if path.is_file() else path.rglob("*"))]
    return sum(f.stat().st_size for f in files if f.is_file())


def _completion(work: Work, servers: list[Server], model: Callable[[int], str]) -> Any:
    def ask(number: int, language: int) -> str:
        answer = servers[language % len(servers)].post(
            "/v1/completions",
            {"model": model(language), "prompt": work.prompts[number], "max_tokens": work.new,
             "temperature": 0},
        )  # fmt: skip
        return str(answer["choices"][0]["text"])

    return ask


@contextlib.contextmanager
def vllm_tickets(work: Work, python: str, languages: int) -> Iterator[Arm]:
    """One base, an adapter a language."""
    adapter, base = work.exported("vllm", format="lora", engine="vllm"), work.original()
    model = work.run.give_tuned()[0].model
    wanted = fit("vllm", take_rows(model), type(model).__name__)
    line, port = vllm(
        python, base, work.dtype, work.longest, "--enable-lora", *wanted.options.split(),
        *("--max-loras", str(min(languages, PARALLEL)), "--max-cpu-loras", str(languages)),
        *("--lora-modules", *(f"language{n}={adapter}" for n in range(languages))),
    )  # fmt: skip
    with running([line], [port], environment(work.threads)) as servers:
        ask = _completion(work, servers, lambda n: f"language{n}")
        yield Arm(ask, size(base) + languages * size(adapter), [s.process.pid for s in servers])


@contextlib.contextmanager
def vllm_merged(work: Work, python: str, languages: int) -> Iterator[Arm]:
    """A merged model and a server a language."""
    merged = work.exported("merged", format="merged")
    found = [vllm(python, merged, work.dtype, work.longest) for _ in range(languages)]
    lines, ports = zip(*found, strict=True)
    with running(lines, ports, environment(max(1, work.threads // languages))) as servers:
        ask = _completion(work, servers, lambda _: "base")
        yield Arm(ask, languages * size(merged), [s.process.pid for s in servers])


def _llama(work: Work, servers: list[Server], tickets: bool) -> Any:
    def ask(number: int, language: int) -> str:
        chosen = {"lora": [{"id": language, "scale": 1}]} if tickets else {}
        body = {"prompt": work.prompts[number], "n_predict": work.new, "temperature": 0}
        server = servers[language % len(servers)]
        answer = server.post("/completion", {**body, "cache_prompt": False, **chosen})
        return str(answer["content"])

    return ask


@contextlib.contextmanager
def llamacpp_tickets(work: Work, python: str, languages: int) -> Iterator[Arm]:
    """One base GGUF, an adapter a language."""
    base = work.exported("gguf-base", format="gguf-base", base=work.base)
    adapter = work.exported("gguf-lora", format="gguf-lora", base=work.base)
    (model,), (ticket,) = base.glob("*.gguf"), adapter.glob("*.gguf")
    line, port = llamacpp(python, model, work.longest, work.threads, *([str(ticket)] * languages))
    with running([line], [port], environment(work.threads)) as servers:
        bytes_ = size(model) + languages * size(ticket)
        yield Arm(_llama(work, servers, True), bytes_, [s.process.pid for s in servers])


@contextlib.contextmanager
def llamacpp_merged(work: Work, python: str, languages: int) -> Iterator[Arm]:
    """A GGUF with the rows in it, and a server, a language."""
    (model,) = work.exported("gguf", format="gguf", base=work.base).glob("*.gguf")
    copies, each = [], max(1, work.threads // languages)
    for number in range(languages):  # one file mapped by all would be in memory once
        copies.append(work.folder / f"copy-{number}.gguf")
        if not copies[-1].exists():
            copies[-1].write_bytes(model.read_bytes())
    found = [llamacpp(python, copy, work.longest, each) for copy in copies]
    lines, ports = zip(*found, strict=True)
    with running(lines, ports, environment(max(1, work.threads // languages))) as servers:
        yield Arm(_llama(work, servers, False), size(*copies), [s.process.pid for s in servers])


#: Engine, module that it needs, and how each serves tickets and merged models.
ENGINES = {
    "vllm": ("vllm", {"tickets": vllm_tickets, "merged": vllm_merged}),
    "llamacpp": ("xllamacpp", {"tickets": llamacpp_tickets, "merged": llamacpp_merged}),
}


def answer_all(arm: Arm, languages: int, sentences: int) -> tuple[float, list[str]]:
    """Seconds and texts of the first sentences, the languages in turn."""
    start = time.perf_counter()
    with ThreadPoolExecutor(max(PARALLEL, languages)) as pool:
        numbers = range(sentences)
        texts = list(pool.map(lambda n: arm.ask(n, n % languages), numbers))
    return time.perf_counter() - start, texts


def mt_translate(work: Work, languages: int) -> tuple[float, list[str], int | None]:
    """The same sentences by ``mt-translate``, a language after the other, loading included."""
    start, found, most = time.perf_counter(), {}, 0
    line = [sys.executable, "-m", "mt_lottery.cli.translate", "--run", str(work.run.folder)]
    variables = {**os.environ, "OMP_NUM_THREADS": str(work.threads)}
    for language in range(languages):
        mine = range(language, len(work.sources), languages)
        process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables
        )
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("".join(f"{work.sources[n]}\n" for n in mine).encode())
        process.stdin.close()
        lines = []
        for text in process.stdout:
            lines.append(text.decode().rstrip("\n"))
            most = max(most, memory([process.pid]) or 0)
        if process.wait() != 0:
            raise RuntimeError(f"mt-translate ended with {process.returncode}")
        found |= dict(zip(mine, lines, strict=True))
    return time.perf_counter() - start, [found[n] for n in sorted(found)], most or None
