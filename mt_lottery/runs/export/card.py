"""The card of an export: what the hub shows, the scores, and how each engine translates with it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mt_lottery.errors import plural
from mt_lottery.languages import parse_pairs
from mt_lottery.report.numbers import percent
from mt_lottery.report.plain import markdown_table, markdown_text
from mt_lottery.runs.card import README, Spoken
from mt_lottery.runs.finished import Run
from mt_lottery.runs.folder.record import Record
from mt_lottery.runs.summary import scored_sentences, shown_metric, shown_score
from mt_lottery.system.atomic import write_text

#: The hub's names of models that are not read from the hub.
HUB_NAMES = {"gemma3_270m": "google/gemma-3-270m"}
#: What is to be said of such a model.
OTHER_WEIGHTS = (
    " It was read as mt-lottery's `{name}` (4 bits, widened): over the hub's own weights "
    "translations may differ."
)
#: The hub's names of metrics; others keep ours.
METRICS = {"spbleu": "sacrebleu", "bleu": "sacrebleu", "bleu_subword": "bleu"}


def hub_name(run: Run) -> str | None:
    """The original model's name on the hub; None where it has none."""
    model = run.record.model
    return model.name if model.revision else HUB_NAMES.get(model.name)


def base_name(run: Run) -> str:
    """The hub's name of the original model, or that of its folder: never a path."""
    return hub_name(run) or run.record.model.name


def directions_of(run: Run) -> str:
    """What was trained: ``English to Romanian``, or several."""
    pairs = parse_pairs(run.config.lang)
    return ", ".join(f"{pair.source.name} to {pair.target.name}" for pair in pairs)


def front_matter(run: Run, library: str, **more: Any) -> str:
    """The YAML that the hub reads, between its lines of dashes.

    Args:
        run: what was exported.
        library: the hub's name of what loads it: ``peft``, ``transformers``, ….
        more: other fields of ``ModelCardData``.
    """
    from huggingface_hub import ModelCardData

    card = ModelCardData(
        base_model=hub_name(run), library_name=library, tags=["mt-lottery"], **more
    )
    return f"---\n{card.to_yaml()}\n---\n"


def header(run: Run, library: str, **more: str) -> str:
    """As :func:`front_matter`, with languages, corpus and scores."""
    record, pairs = run.record, parse_pairs(run.config.lang)
    corpus = run.config.data
    data = getattr(corpus, "repo", None) if getattr(corpus, "path", None) is None else None
    return front_matter(
        run,
        library,
        language=[*dict.fromkeys(side.code for p in pairs for side in (p.source, p.target))],
        pipeline_tag="translation",
        datasets=[data] if data else None,
        metrics=sorted({METRICS.get(key, key) for key in record.scores}) or None,
        model_name=f"{directions_of(run)}, {record.method}",
        eval_results=[result for key in record.scores for result in _results(run, key)] or None,
        **more,
    )


def _results(run: Run, key: str) -> list[Any]:
    from huggingface_hub import EvalResult

    record = run.record
    found, made = record.scores[key], []
    times = found.get("shown_times", 1)
    sentences = plural(scored_sentences(record), "sentence")
    for which in ("raw", "first_line"):
        score = found[which]
        low, high = (round(times * bound, 4) for bound in score["ci95"])
        made.append(
            EvalResult(
                task_type="translation",
                task_name=directions_of(run),
                dataset_type=record.data.test.name,
                dataset_name=f"{record.data.test.name}, {sentences}",
                dataset_split="test",
                metric_type=METRICS.get(key, key),
                metric_name=f"{shown_metric(record, key)}, {which.replace('_', ' ')}",
                metric_value=round(times * score["score"], 4),
                metric_args={"ci95": [low, high], "signature": str(found.get("signature", ""))},
            )
        )
    return made


def scores(run: Run) -> str:
    """The scores with their intervals, beside those of the original model, as Markdown."""
    record = run.record
    control = None if run.baseline is None else run.baseline.record
    heads = ["", "tuned", "original model"]
    rows = []
    for key in record.scores:
        for which in ("raw", "first_line"):
            name = f"{markdown_text(shown_metric(record, key))}, {which.replace('_', ' ')}"
            both = (record, control)
            rows.append([name, *(_shown(one, key, which) for one in both)])
    ends = (None if one is None else one.generation.stopped for one in (record, control))
    rows.append(["ended by itself", *map(percent, ends)])
    table = markdown_table(heads, rows)
    test = f"{record.data.test.name}, {plural(scored_sentences(record), 'sentence')}"
    if "," in record.lang:
        test += f", averages over {record.lang.replace(',', ', ')}"
    return (
        f"## Scores\n\nOn {test}, with 95% intervals; *first line* is the output up to its first "
        f"line break.\n\n{table}\n"
    )


def _shown(record: Record | None, key: str, which: str) -> str:
    return "—" if record is None else shown_score(record, key, which)


def model_card(
    run: Run,
    spoken: Spoken,
    *,
    library: str,
    about: str,
    engines: Sequence[tuple[str, str]],
    terms: Mapping[str, str] | None = None,
) -> str:
    """The whole card.

    Args:
        run: what was exported.
        spoken: how its tuned model is spoken to.
        library: as for :func:`header`.
        about: what the folder holds and what loads it, Markdown.
        engines: name and lines (Markdown; empty ones are left out) of each engine.
        terms: the license fields of the header.
    """
    title = f"# {directions_of(run)}, tuned by mt-lottery"
    model = run.record.model
    source = f"{base_name(run)} (sha256 {model.sha256[:12]}…)" if model.sha256 else base_name(run)
    weights = OTHER_WEIGHTS.format(name=model.name) if model.name in HUB_NAMES else ""
    how = "".join(f"\n### {name}\n{lines}" for name, lines in engines if lines)
    top = header(run, library, **(terms or {}))
    return (
        f"{top}{title}\n\n{about}\n\nThe original model is {source}; the recipe "
        f"was `{run.record.method}`.{weights}\n\n{scores(run)}{spoken.prompt()}{how}"
    )


def write_card(folder: Path, run: Run, spoken: Spoken, **parts: Any) -> None:
    """Write :func:`model_card` as the README of a folder.

    Raises:
        DiskError: it cannot be written.
    """
    write_text(folder / README, model_card(run, spoken, **parts))


def request(spoken: Spoken, *, without: str = "", **fields: object) -> str:
    """A request with a sentence, as JSON in quotes for a shell.

    Args:
        spoken: whose prompt it has.
        without: begin of the prompt that the server puts there itself.
        fields: what the engine's server is given; ``{prompt}`` in a text is the prompt.
    """
    prompt = spoken.template.removeprefix(without).replace(spoken.place, "The cat sleeps.")
    filled = {k: prompt if v == "{prompt}" else v for k, v in fields.items()}
    return shlex.quote(json.dumps(filled, ensure_ascii=False))
