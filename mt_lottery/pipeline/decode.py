"""Sources in, hypotheses out, with a run's template and decoding settings."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from mt_lottery.config import RunConfig
from mt_lottery.data.batches import encode_prompts
from mt_lottery.data.templates import get_template
from mt_lottery.languages import parse_pair
from mt_lottery.model.loading import LoadedModel
from mt_lottery.model.tables import eos_ids
from mt_lottery.translate.decoding import Hypothesis, translate


def pad_id(tokenizer: Any) -> int:
    """Token id that fills up batches."""
    pad = tokenizer.pad_token_id
    return int(tokenizer.eos_token_id if pad is None else pad)


def decode(config: RunConfig, loaded: LoadedModel, sources: Sequence[str]) -> list[Hypothesis]:
    """Translate sources, in order; shows progress on a terminal.

    Args:
        config: template, language pair and decoding settings.
        loaded: model and tokenizer.
        sources: one sentence each.
    """
    settings = config.translate
    template = get_template(config.data.template)
    prompts = encode_prompts(sources, template, parse_pair(config.lang), loaded.tokenizer)
    live = sys.stderr.isatty()
    bar: Any = tqdm(total=len(prompts), desc="Translating", unit="sentence", disable=not live)

    def progress(done: int, total: int, tokens: int) -> None:
        bar.n = done
        bar.set_postfix_str(f"{tokens} tokens")

    try:
        return translate(
            loaded.model,
            loaded.tokenizer,
            prompts,
            beam_size=settings.beam_size,
            max_new_tokens=settings.max_new_tokens,
            batch_size=settings.batch_size,
            length_penalty=settings.length_penalty,
            eos_ids=eos_ids(loaded.model, loaded.tokenizer),
            pad_id=pad_id(loaded.tokenizer),
            progress=progress,
        )
    finally:
        bar.close()
