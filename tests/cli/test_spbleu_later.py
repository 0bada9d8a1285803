"""spBLEU's model arrives between two runs: the original model is scored by the same metric anew."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tiny_runs import Commands, Models, latin_text, record, small

from mt_lottery.scoring import spm

pytestmark = pytest.mark.slow


def test_the_original_model_is_scored_as_the_tuned_one(
    commands: Commands, models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sacrebleu.tokenizers import tokenizer_spm

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError("network is unreachable")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(tokenizer_spm, "SACREBLEU_DIR", str(tmp_path / "sacrebleu"))

    def run(out: str) -> str:
        monkeypatch.setattr(spm, "_found", {})  # as in a process of its own
        given = small(models.untied, "random_seen", f"out_dir={out}", "tuner.tickets=4")
        ended = commands.train(*given, "metrics=[spbleu]")
        assert ended.code == 0, ended.err
        return ended.err

    def baseline(out: str) -> dict[str, Any]:
        scores: dict[str, Any] = record(Path(record(Path(out))["baseline"]))["scores"]
        return scores

    assert "Original model: translating" in run("before")
    assert [*record(Path("before"))["scores"]] == [*baseline("before")] == ["bleu_subword"]
    assert "Original model: scored before" in run("again")

    folder = tmp_path / "sacrebleu" / "models"
    folder.mkdir(parents=True)
    with (folder / "sacrebleu_tokenizer_spm.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(line for path in latin_text() for line in path.open("rb")),
            model_writer=file, vocab_size=400, minloglevel=2,
        )  # fmt: skip
    assert "Original model: translating" in run("after")
    assert [*record(Path("after"))["scores"]] == [*baseline("after")] == ["spbleu"]
    assert "Original model: scored before" in run("later")
