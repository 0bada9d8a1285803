"""``first_line_stop``: the original model, cut at the first line break.

What a practitioner does without any tuning (``generate(…, stop_strings="\\n")``): raw output and
first line are then the same, so that what tuning gains beyond stopping can be seen.
"""

from __future__ import annotations

from typing import Any

from mt_lottery.registry import register_tuner
from mt_lottery.tuners.none import NoTuner


@register_tuner("first_line_stop")
class FirstLineStop(NoTuner):
    """Changes nothing in the model: decoding ends at the first line break after text."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.one_line = True

    @property
    def outside_model(self) -> str:
        return (
            "It ends a translation at its first line break, a rule of decoding (in transformers: "
            'generate(…, tokenizer=tokenizer, stop_strings="\\n")).'
        )
