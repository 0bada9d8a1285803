"""Log-probabilities of vLLM with a ticket as a LoRA, against the run's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from vllm_runs import Said, furthest, make_base, make_run, prompts_of, vllm_says

import mt_lottery as mtl

pytestmark = pytest.mark.slow

CLOSE = 1e-4  # float32, but other kernels; a row left out, or scaled twice, is off by more than 0.1


@dataclass(frozen=True)
class Kind:
    """A model class, and how vLLM is asked to run it."""

    name: str
    tied: bool = True
    settings: tuple[tuple[str, Any], ...] = ()
    scope: str = "input"


BACKEND = (("model_impl", "transformers"),)
KINDS = {
    "tied": Kind("Llama"),
    "untied": Kind("Llama", tied=False),
    "both tables": Kind("Llama", scope="tied"),
    "qwen3": Kind("Qwen3"),
    "scaled": Kind("Gemma3", settings=BACKEND),
    "by the backend": Kind("Mistral", tied=False, settings=BACKEND),
}


@dataclass(frozen=True)
class Tried:
    """A run, and what vLLM says with its base alone, with its ticket, and with its base again."""

    run: mtl.Run
    prompts: list[list[int]]
    bare: Said
    ticket: Said
    again: Said

    def control(self) -> float:
        """How far vLLM's bare base is from transformers' own."""
        return furthest(self.run.original.model, self.prompts, self.bare)


@pytest.fixture(scope="module", params=KINDS)
def tried(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tried:
    kind, folder = KINDS[request.param], tmp_path_factory.mktemp("tried")
    base = make_base(kind.name, folder / "base", tied=kind.tied)
    run = make_run(base, folder / "run", **{"tuner.scope": kind.scope})
    run.export(folder / "lora", format="lora", engine="vllm")
    prompts = prompts_of(run)
    asked = [(adapter, prompts) for adapter in (None, folder / "lora", None)]
    return Tried(run, prompts, *vllm_says(base, asked, folder, **dict(kind.settings)))


def test_control_the_bare_base_is_that_of_transformers(tried: Tried) -> None:
    """Where this fails, the engine's version differs, and nothing of ours was asked."""
    assert tried.control() < CLOSE


def test_with_a_ticket_it_says_what_the_run_says(tried: Tried) -> None:
    if tried.control() >= CLOSE:
        pytest.skip("this vLLM differs from transformers on the bare base: see the control")
    run = tried.run
    assert tried.ticket.refused is None
    assert furthest(run.tuned.model, tried.prompts, tried.ticket) < CLOSE
    said = run.tuned.tokenizer.batch_decode(tried.ticket.tokens, skip_special_tokens=True)
    assert [text.strip() for text in said] == [line["hypothesis"] for line in run.hypotheses]
    # and it is the ticket that says it: the base is far away, and as it was after it
    assert furthest(run.tuned.model, tried.prompts, tried.bare) > 0.1
    assert tried.again == tried.bare


@pytest.mark.parametrize("name", ["Qwen2", "Mistral"])
def test_classes_that_take_no_rows_are_known(name: str, tmp_path: Path) -> None:
    """Their own class refuses what its Transformers backend takes; the export says which."""
    base = make_base(name, tmp_path / "base")
    run = make_run(base, tmp_path / "run")
    exported = run.export(tmp_path / "lora", format="lora", engine="vllm")
    assert "--model-impl transformers" in "\n".join([exported.fits, *exported.notes])
    (said,) = vllm_says(base, [(tmp_path / "lora", prompts_of(run)[:1])], tmp_path)
    assert said.refused is not None and "embed_tokens" in said.refused
