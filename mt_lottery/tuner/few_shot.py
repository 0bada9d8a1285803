"""``few_shot``: the original model, with translated examples in its prompt."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mt_lottery.atomic import write_text
from mt_lottery.config import TunerConfig, setting
from mt_lottery.errors import RecordError, TuningError
from mt_lottery.registry import register_tuner
from mt_lottery.tuner.base import Tuner, TuningContext

FILE = "few_shot.txt"


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

    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        context.model.requires_grad_(False)
        shots = self.config.shots
        if context.tokenizer is None:
            return []
        if len(context.examples) < shots:
            raise TuningError(
                f"tuner.shots={shots}, but there are only {len(context.examples)} training pairs."
            )
        seed = context.seed if self.config.seed is None else self.config.seed
        chosen = random.Random(seed).sample(list(context.examples), shots)
        self.lead = "".join(f"{prompt}{target}\n\n" for prompt, target in chosen)
        return []

    def save(self, context: TuningContext, run_dir: Path) -> Path:
        folder = run_dir / "control"
        write_text(folder / FILE, self.lead)
        return folder

    def restore(self, model: Any, run_dir: Path) -> Any:
        file = run_dir / "control" / FILE
        try:
            self.lead = file.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecordError(f"{file}: missing or damaged: {error}") from error
        return model
