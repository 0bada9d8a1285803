"""``few_shot``: the original model, with translated examples in its prompt."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mt_lottery.config import TunerConfig, setting
from mt_lottery.data.prompts.wording import Wording, sentences_of
from mt_lottery.errors import RecordError, TuningError
from mt_lottery.reading import read_json, read_text
from mt_lottery.registry import register_tuner
from mt_lottery.system.atomic import write_bytes, write_text
from mt_lottery.tuners.base import Tuner, TuningContext

FILE = "few_shot.txt"
PLACES = "few_shot.json"  # where the sentences are in it; runs before it existed have none


@dataclass
class FewShotConfig(TunerConfig):
    """How many examples, and which."""

    shots: int = setting(5, "training pairs in the prompt", ge=1)
    seed: int | None = setting(None, "of the choice of pairs; the run's seed if null", ge=0)


@register_tuner("few_shot", dataclass=FewShotConfig)
class FewShotTuner(Tuner):
    """Training pairs in the template's own form, an empty line behind each.

    No parameter is trained: what the text alone can teach.
    """

    trains = False
    reads_text = True

    @property
    def search_space(self) -> dict[str, list[Any]]:
        return {"tuner.shots": [1, 3, 5, 8]}

    def problems_with_pairs(self, pairs: int) -> list[str]:
        if pairs >= self.config.shots:
            return []
        return [f"tuner.shots={self.config.shots}, but there are only {pairs} training pairs."]

    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        context.model.requires_grad_(False)
        if context.tokenizer is None:
            return []
        if problems := self.problems_with_pairs(len(context.examples)):
            raise TuningError(problems[0])
        seed = context.seed if self.config.seed is None else self.config.seed
        chosen = random.Random(seed).sample(list(context.examples), self.config.shots)
        lead = Wording("")
        for prompt, target in chosen:
            lead = lead + prompt + target + Wording("\n\n")
        self.lead = lead
        return []

    def save(self, context: TuningContext, run_dir: Path) -> Path:
        folder = run_dir / "control"
        write_bytes(folder / FILE, self.lead.encode())
        write_text(folder / PLACES, json.dumps({"sentences": sentences_of(self.lead)}) + "\n")
        return folder

    def restore(self, model: Any, run_dir: Path) -> Any:
        file, places = run_dir / "control" / FILE, run_dir / "control" / PLACES
        text = read_text(file, RecordError, bom=False)
        if not text.endswith("\n\n"):
            raise RecordError(f"{file}: damaged: its last example is cut short.")
        spans: Any = [[0, len(text)]]
        if places.exists():
            spans = read_json(places, RecordError).get("sentences")
        if not _are_spans(spans, len(text)):
            raise RecordError(f"{places}: damaged: 'sentences' must be spans of {FILE}.")
        self.lead = Wording(text, None if spans is None else [(a, b) for a, b in spans])
        return model


def _are_spans(value: Any, size: int) -> bool:
    """Whether this is a list of [start, end) in order within a text of that size, or None."""
    if value is None:
        return True
    if not isinstance(value, list):
        return False
    at = 0
    for span in value:
        if not (isinstance(span, list) and len(span) == 2 and all(type(x) is int for x in span)):
            return False
        if not at <= span[0] <= span[1] <= size:
            return False
        at = span[1]
    return True
