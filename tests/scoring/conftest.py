"""No test of this folder reaches the network or the user's own sacrebleu cache."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import pytest

from mt_lottery.scoring import spm


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty sacrebleu folder, and a network that refuses; gives the path of spBLEU's model."""
    from sacrebleu.tokenizers import tokenizer_spm

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError("network is unreachable")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(tokenizer_spm, "SACREBLEU_DIR", str(tmp_path / "sacrebleu"))
    monkeypatch.setattr(spm, "_found", {})
    return tmp_path / "sacrebleu" / "models" / "sacrebleu_tokenizer_spm.model"
