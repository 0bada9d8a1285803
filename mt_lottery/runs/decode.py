"""Sources in, hypotheses out, with a run's template and decoding settings."""

from __future__ import annotations

import itertools
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mt_lottery.config import RunConfig
from mt_lottery.data.joint import in_direction
from mt_lottery.data.prompts.chat import BoundChat
from mt_lottery.data.prompts.prepared import PreparedText
from mt_lottery.decoding.room import TooLongError, beyond_training, check_positions
from mt_lottery.decoding.translation import Hypothesis, translate
from mt_lottery.errors import assigned, plural
from mt_lottery.model.attention import allow_repeating
from mt_lottery.model.loading import HOST, LoadedModel, load
from mt_lottery.model.positions import named_positions
from mt_lottery.model.sharding import in_step
from mt_lottery.model.special_tokens import check_ids
from mt_lottery.model.tables import eos_ids, input_table
from mt_lottery.report.progress import is_live, progress_bar
from mt_lottery.runs.planning.plan import Echo, Plan
from mt_lottery.runs.planning.sharding import divided
from mt_lottery.system import parallel
from mt_lottery.tuners.base import Tuner

logger = logging.getLogger(__name__)


def pad_id(tokenizer: Any) -> int:
    """Token id that fills up batches."""
    pad = tokenizer.pad_token_id
    return int(tokenizer.eos_token_id if pad is None else pad)


def load_for(config: RunConfig, device: str, text: PreparedText) -> LoadedModel:
    """The original model, and its prompt made fit for its tokenizer.

    With ``train.sharding`` it stays in the host's memory, until it is divided.

    With a chat template, the model stops at the token that ends a turn, as at all that its
    generation settings name, and says so wherever it is saved.

    Args:
        config: of the run.
        device: where to.
        text: of the run; its template is bound.

    Raises:
        ModelError: the model cannot be had, or has no chat template where one is asked for.
    """
    model = config.model
    if config.deterministic:
        allow_repeating()
    loaded = load(replace(model, device_map=HOST) if divided(config) else model, device)
    text.bind(loaded.tokenizer)
    settings = getattr(loaded.model, "generation_config", None)
    if isinstance(text.template, BoundChat) and settings is not None:
        settings.eos_token_id = eos_ids(loaded.model, loaded.tokenizer)
    return loaded


class Progress:
    """A bar on a terminal, else a line every 15 seconds."""

    def __init__(self, total: int) -> None:
        self._live = is_live()
        shares = parallel.processes()
        self._title = "Translating" if shares == 1 else f"Translating (1 of {shares} shares)"
        self._bar: Any = progress_bar(total, self._title, unit="sentence")
        self._began = self._spoke = time.monotonic()

    def __call__(self, done: int, total: int, tokens: int) -> None:
        """Show how far it is (what ``translate`` calls after each step)."""
        now = time.monotonic()
        self._bar.set_postfix_str(plural(tokens, "token"), refresh=False)
        self._bar.update(done - self._bar.n)
        if not self._live and now - self._spoke > 15:
            self._spoke = now
            speed = tokens / max(now - self._began, 1e-9)
            print(
                f"{self._title}: {done} of {plural(total, 'sentence')}, {plural(tokens, 'token')}, "
                f"{speed:.0f} tokens/s",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """Leave the line."""
        self._bar.close()


def check_room(plan: Plan, loaded: LoadedModel, echo: Echo) -> None:
    """Make sure, before anything is trained, that the model has positions for what is translated.

    Args:
        plan: its test sets, the dev set where its tuner translates that, and the positions that
            its tuner will take.
        loaded: model and tokenizer.
        echo: prints a line for the user, where the model was not trained for so many.

    Raises:
        TooLongError: it has not.
    """
    if named_positions(loaded.model) is None:
        return
    new, lengths = plan.config.translate.max_new_tokens, []
    texts = [("Test", part, part.test) for part in plan.parts]
    if plan.tuner.reads_dev and plan.corpora.dev is not None:
        texts.append(("Dev", plan, plan.corpora.dev))
    for kind, part, split in texts:
        own = [*map(len, part.text.prompts(split.sources, loaded.tokenizer))]
        try:
            check_positions(loaded.model, own, new, plan.tuner.virtual_tokens)
        except TooLongError as error:
            raise error.called(
                f"{kind} sentence {error.place + 1} ({part.config.lang})",
                setting=assigned({"translate.max_new_tokens": new}),
            ) from None
        lengths += own
    if warning := beyond_training(loaded.model, lengths, new):
        echo(warning)


def decode_test(plan: Plan, loaded: LoadedModel, tuner: Tuner) -> list[Hypothesis]:
    """Translate the test set of a plan, each direction with its own prompt."""
    return [
        output
        for part in plan.parts
        for output in decode(part.config, loaded, part.test.sources, tuner, text=part.text)
    ]


def decode_lines(
    config: RunConfig, loaded: LoadedModel, lines: Sequence[dict[str, Any]], **how: Any
) -> list[Hypothesis]:
    """Translate the sources of a run's ``hypotheses.jsonl`` again, each in its direction.

    Args:
        config: of the run.
        loaded: model and tokenizer.
        lines: of the file.
        how: as for :func:`decode`.
    """
    places: dict[str, list[int]] = {}
    for place, line in enumerate(lines):
        places.setdefault(line.get("lang", config.lang), []).append(place)
    made: dict[int, Hypothesis] = {}
    for lang, own in places.items():
        sources = [lines[place]["source"] for place in own]
        outputs = decode(in_direction(config, lang), loaded, sources, **how)
        made.update(zip(own, outputs, strict=True))
    return [made[place] for place in range(len(lines))]


def prompts_and_leads(
    config: RunConfig,
    loaded: LoadedModel,
    sources: Sequence[str],
    tuner: Tuner,
    text: PreparedText,
) -> tuple[list[list[int]], list[str]]:
    """Prompts, and what the tuner puts before each; fewer examples where a prompt is too long."""
    leads = tuner.leads(sources)
    prompts = list(text.prompts(sources, loaded.tokenizer, leads))
    positions = named_positions(loaded.model)
    if positions is None:
        return prompts, leads
    most = positions - config.translate.max_new_tokens
    for fewer in itertools.count(1):
        long = [i for i, prompt in enumerate(prompts) if len(prompt) > most]
        shorter = tuner.leads([sources[i] for i in long], fewer)
        changed = {i: lead for i, lead in zip(long, shorter, strict=True) if lead != leads[i]}
        if not changed:
            return prompts, leads
        of_changed = [sources[i] for i in changed]
        anew = text.prompts(of_changed, loaded.tokenizer, list(changed.values()))
        for (i, lead), prompt in zip(changed.items(), anew, strict=True):
            leads[i], prompts[i] = lead, prompt
    raise AssertionError  # a count has no end


def decode(
    config: RunConfig,
    loaded: LoadedModel,
    sources: Sequence[str],
    tuner: Tuner | None = None,
    *,
    one_line: bool = False,
    quiet: bool = False,
    warn: bool = False,
    text: PreparedText | None = None,
) -> list[Hypothesis]:
    """Translate sources, in order; several processes do a share each, and get all of it.

    Args:
        config: template, language pair and decoding settings.
        loaded: model and tokenizer.
        sources: one sentence each.
        tuner: the run's, with its examples, first tokens and stop rule; None for none of these.
        one_line: end each translation at its first line break, whatever the tuner does.
        quiet: show no progress.
        warn: of sentences that the model was not trained for (a run looks at its own before).
        text: the run's; new if None.

    Raises:
        TooLongError: a sentence for which the model has not the positions.
    """
    settings = config.translate
    text = text or PreparedText.of(config)
    if tuner is None:
        prompts = text.prompts(sources, loaded.tokenizer)
    else:
        prompts, _ = prompts_and_leads(config, loaded, sources, tuner, text)
    check_ids(prompts, loaded.tokenizer, input_table(loaded.model).shape[0])
    # before they are shared out: a place in a share says nothing
    lengths = [*map(len, prompts)]
    check_positions(loaded.model, lengths, settings.max_new_tokens)
    beyond = beyond_training(loaded.model, lengths, settings.max_new_tokens) if warn else None
    if beyond:
        logger.warning("%s", beyond)

    def share(mine: Sequence[list[int]]) -> list[Hypothesis]:
        progress = None if quiet or not parallel.is_main() else Progress(len(mine))
        try:
            return translate(
                loaded.model,
                loaded.tokenizer,
                mine,
                beam_size=settings.beam_size,
                max_new_tokens=settings.max_new_tokens,
                batch_size=settings.batch_size,
                max_tokens=settings.max_tokens,
                length_penalty=settings.length_penalty,
                eos_ids=eos_ids(loaded.model, loaded.tokenizer),
                pad_id=pad_id(loaded.tokenizer),
                forced=() if tuner is None else tuner.forced,
                one_line=one_line or (tuner is not None and tuner.one_line),
                progress=progress,
            )
        finally:
            if progress is not None:
                progress.close()

    return parallel.spread(prompts, lambda mine: in_step(loaded.model, lambda: share(mine)))
