"""``forced_prefix``: the original model, made to begin every translation with the same tokens.

After PreTTY (Zhan et al. 2024, arXiv 2404.16766): one or two *prior tokens* of the target
language, put where the answer begins, are said to do for a base model what fine-tuning does.  The
paper takes them sentence by sentence from a fine-tuned model, from a translation model, or from a
dictionary; here nothing but the text is at hand, so one prefix serves all sentences: the one, of
those with which training targets begin most often, that does best on dev.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mt_lottery.config import TunerConfig, setting
from mt_lottery.errors import RecordError, TuningError
from mt_lottery.reading import read_json
from mt_lottery.registry import register_tuner
from mt_lottery.system.atomic import write_data
from mt_lottery.tuners.base import Tuner, TuningContext

FILE = "forced_prefix.json"


@dataclass
class ForcedPrefixConfig(TunerConfig):
    """Which prefixes are tried."""

    tokens: int = setting(2, "most tokens of the prefix", ge=1, most=100)
    candidates: int = setting(
        4, "prefixes of each length that are tried on dev, most frequent first", ge=1, most=10**4
    )


@register_tuner("forced_prefix", dataclass=ForcedPrefixConfig)
class ForcedPrefixTuner(Tuner):
    """One prefix for every translation, chosen on dev; what follows it is the model's own."""

    trains = False
    reads_text = True
    reads_dev = True
    seeded = False

    @property
    def outside_model(self) -> str:
        return (
            f"It begins every translation with the tokens {list(self.forced)} (append them to the "
            "prompt's), a rule of decoding."
        )

    def prefixes(self, targets: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
        """For each length the prefixes most frequent in ``targets``, shortest first."""
        found: list[tuple[int, ...]] = []
        for length in range(1, self.config.tokens + 1):
            # the last token of a target is end-of-sequence, with which none may begin
            counts = Counter(tuple(t[:length]) for t in targets if len(t) > length)
            ranked = sorted(counts, key=lambda prefix: (-counts[prefix], prefix))
            found += ranked[: self.config.candidates]
        if not found:
            raise TuningError("No training target has a token: there is no prefix to force.")
        return found

    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        context.model.requires_grad_(False)
        return []

    def details(self, context: TuningContext) -> dict[str, Any]:
        return {"forced_prefix": self.choice}

    def save(self, context: TuningContext, run_dir: Path) -> Path:
        folder = run_dir / "control"
        write_data(folder / FILE, json.dumps({"token_ids": list(self.forced)}) + "\n")
        return folder

    def restore(self, model: Any, run_dir: Path) -> Any:
        file = run_dir / "control" / FILE
        ids = read_json(file, RecordError).get("token_ids")
        size = len(model.get_input_embeddings().weight)
        whole = isinstance(ids, list) and all(type(i) is int and 0 <= i < size for i in ids)
        if not whole or not ids:
            raise RecordError(
                f"{file}: damaged: `token_ids` must be a list of ids from 0 to {size - 1}."
            )
        self.forced = tuple(ids)
        return model
