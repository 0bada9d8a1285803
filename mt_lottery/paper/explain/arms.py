"""What a ticket does: its rows read at some positions only, and random changes in their place."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mt_lottery.config import digest
from mt_lottery.data.prompts.templates import bound, get_template
from mt_lottery.decoding.translation import Hypothesis, translate
from mt_lottery.errors import ConfigError, RecordError, TuningError, plural
from mt_lottery.model.tables import eos_ids
from mt_lottery.paper.explain.positions import (
    BOS,
    INSTRUCTION,
    PROMPT_KINDS,
    SOURCE,
    PositionRows,
    Prompt,
    split_prompts,
)
from mt_lottery.reading import read_bytes
from mt_lottery.runs.decode import Progress, pad_id
from mt_lottery.runs.finished import Run
from mt_lottery.runs.folder.files import read_hypotheses, write_hypotheses
from mt_lottery.runs.folder.preparing import locked
from mt_lottery.runs.planning.plan import Echo
from mt_lottery.ticket.analysis import norm_matched
from mt_lottery.tuners.recipes import recipes_that
from mt_lottery.tuners.rows.adapter_file import WEIGHTS
from mt_lottery.tuners.rows.module import TiedHead, TokenRows

VERSION = 1  # raise it when the arms' decoding changes


@dataclass(frozen=True)
class Arm:
    """Where the rows are read, and whether they are the tuned ones.

    Attributes:
        name: ``original``, ``tuned``, ``bos``, ``instruction``, ``source``, ``target``,
            ``random-SEED``.
        read: kinds of prompt positions that read them.
        generated: whether generated positions do.
        random: seed of norm-matched random changes in place of the tuned ones.
    """

    name: str
    read: tuple[str, ...] = ()
    generated: bool = False
    random: int | None = None


#: Arms that can be left out; ``original`` and ``tuned`` are what they are measured against.
CHOICES = ("bos", "instruction", "source", "target", "random")


def arms_of(
    rows: Sequence[int],
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    wanted: Collection[str] = CHOICES,
) -> list[Arm]:
    """The arms of the experiment.

    ``<bos>`` counts as instruction, and has a separate arm where its row is in the ticket.

    Args:
        rows: the ticket.
        prompts: of the test set.
        seeds: of the random controls, which are read everywhere.
        wanted: of :data:`CHOICES`.
    """
    everywhere = PROMPT_KINDS
    first = any(prompt.count(set(rows))[BOS] for prompt in prompts)
    arms = [
        *([Arm("bos", (BOS,))] if first else []),
        Arm("instruction", (BOS, INSTRUCTION)),
        Arm("source", (SOURCE,)),
        Arm("target", generated=True),
        *(Arm(f"random-{seed}", everywhere, generated=True, random=seed) for seed in seeds),
    ]
    chosen = [arm for arm in arms if arm.name.partition("-")[0] in wanted]
    return [Arm("original"), Arm("tuned", everywhere, generated=True), *chosen]


@dataclass
class Explained:
    """All arms, decoded.

    Attributes:
        run: the run, its model with the arms' embedding in it.
        template: the wording of the prompt.
        sources, references: the test sentences.
        arms: in the order of the tables.
        outputs: arm → one hypothesis a sentence.
        reads: kind of prompt position → positions a sentence that hold a row of the ticket.
        as_in_run: ``tuned`` translations that are word for word the run's own; None where
            prompt or number of sentences differ.
        seconds: decoding seconds of the arms that were decoded now.
    """

    run: Run
    template: str
    sources: list[str]
    references: list[str]
    arms: list[Arm]
    outputs: dict[str, list[Hypothesis]]
    reads: dict[str, float]
    as_in_run: int | None
    seconds: dict[str, float] = field(default_factory=dict)


def _rows_of(run: Run) -> TokenRows:
    embedding = run.tuned.model.get_input_embeddings()
    if not isinstance(embedding, TokenRows):
        raise TuningError(
            f"{run.folder}: a run of {run.record.method} has no tuned vocabulary rows; allowed: "
            f"runs that tune or copy rows ({recipes_that(lambda tuner: tuner.scope)})."
        )
    if isinstance(run.tuned.model.get_output_embeddings(), TiedHead):
        raise TuningError(
            f"{run.folder}: with tuner.scope=tied the output head uses the rows too, at every "
            "position: what is read where cannot be told apart. Allowed: scope=input."
        )
    return embedding


def _test_set(run: Run, sentences: int | None) -> list[dict[str, Any]]:
    lines = run.hypotheses
    if sentences is not None and sentences > len(lines):
        raise ConfigError(
            f"--sentences {sentences}: the run's test set has {plural(len(lines), 'sentence')}."
        )
    return lines[:sentences]


def _key(run: Run, prompts: Sequence[Prompt], stops: Collection[int]) -> str:
    """Hash of what every arm's output depends on beside the arm itself."""
    settings = run.config.translate
    weights = read_bytes(run.folder / "adapter" / WEIGHTS, RecordError)
    adapter = hashlib.sha256(weights).hexdigest()
    model = run.record.model
    return digest(
        {
            "version": VERSION,
            "adapter": adapter,
            "model": [model.sha256, model.revision, str(run.tuned.model.dtype)],
            "device": str(run.tuned.model.device.type),
            "lang": run.config.lang,
            # not the template's name: the author of a plugin may change what it writes
            "prompts": [[prompt.ids, prompt.kinds] for prompt in prompts],
            "stops": sorted(stops),
            "decoding": [settings.max_new_tokens, settings.batch_size, settings.max_tokens],
        }
    )


def _kept(path: Path, sentences: int, echo: Echo) -> list[Hypothesis] | None:
    if not path.is_file():
        return None
    try:
        lines = read_hypotheses(path, sentences)
    except RecordError as error:
        echo(f"{error} Decoded again.")
        return None
    return [Hypothesis(x["hypothesis"], x["tokens"], x["stopped"]) for x in lines]


def explain(
    run: Run,
    out: Path,
    *,
    template: str | None = None,
    sentences: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    wanted: Collection[str] = CHOICES,
) -> Explained:
    """Decode every arm, greedily, with the run's model, template and limits.

    Each arm's hypotheses are kept under ``out``; those already there are not decoded again.

    Args:
        run: one that tuned or copied rows of the input table.
        out: folder for the hypotheses.
        template: another registered wording of the prompt; the run's own if None.
        sentences: the first so many of the run's test set; all if None.
        seeds: of the random controls.
        wanted: arms beside ``original`` and ``tuned``, of :data:`CHOICES`.

    Raises:
        RecordError: no finished run there.
        TuningError: it has no rows of the input table alone.
        ConfigError, RegistryError: ``template`` or ``sentences`` cannot be had.
    """
    import time

    pair, lines = run.pair, _test_set(run, sentences)
    loaded, echo = run.tuned, run.echo
    name = template or str(run.config.data.template)
    own_wording = name == run.config.data.template
    wording = run.text.template if own_wording else bound(get_template(name), loaded.tokenizer)
    rows = _rows_of(run)
    model, tokenizer = loaded.model, loaded.tokenizer
    sources = [str(x["source"]) for x in lines]
    references = [str(x["reference"]) for x in lines]
    prompts = split_prompts(sources, wording, pair, tokenizer, name)
    ids = [int(i) for i in rows.token_ids]
    arms = arms_of(ids, prompts, seeds, wanted)
    counts = [prompt.count(set(ids)) for prompt in prompts]
    reads = {kind: sum(c[kind] for c in counts) / len(counts) for kind in PROMPT_KINDS}

    before = rows.weight.detach()[rows.token_ids].float().cpu()
    tuned = rows.rows.detach().float().cpu()
    embedding = PositionRows(rows)
    stops = eos_ids(model, tokenizer)
    model.set_input_embeddings(embedding)
    own = own_wording and len(lines) == run.record.data.test.pairs
    kept = out / f"arms-{_key(run, prompts, stops)[:16]}"
    settings = run.config.translate
    found = Explained(run, name, sources, references, arms, {}, reads, None)
    with locked(kept):
        for arm in arms:
            path = kept / f"{arm.name}.jsonl"
            earlier = _kept(path, len(lines), echo)
            if earlier is not None:
                echo(f"{arm.name}: decoded before, in {path}.")
                found.outputs[arm.name] = earlier
                continue
            values = tuned
            if arm.random is not None:
                values = before + norm_matched(tuned - before, arm.random)
            with torch.no_grad():
                rows.rows.copy_(values)
            embedding.generated = arm.generated
            echo(f"{arm.name}: translating {plural(len(lines), 'sentence')}.")
            began = time.monotonic()
            progress = Progress(len(lines))
            try:
                outputs = translate(
                    model,
                    tokenizer,
                    [prompt.marked(embedding.num_embeddings, arm.read) for prompt in prompts],
                    max_new_tokens=settings.max_new_tokens,
                    batch_size=settings.batch_size,
                    max_tokens=settings.max_tokens,
                    eos_ids=stops,
                    pad_id=pad_id(tokenizer),
                    progress=progress,
                )
            finally:
                progress.close()
            found.seconds[arm.name] = time.monotonic() - began
            write_hypotheses(path, sources, references, outputs)
            found.outputs[arm.name] = outputs
    if own and settings.beam_size == 1:
        pairs = zip(found.outputs["tuned"], lines, strict=True)
        found.as_in_run = sum(now.text == line["hypothesis"] for now, line in pairs)
    return found
