"""What is below the leaderboard: how to read it, and where its numbers come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mt_lottery.benchmark.board import contamination
from mt_lottery.benchmark.board.collect import Results
from mt_lottery.benchmark.plan import depends_on_seed
from mt_lottery.benchmark.recipes import JOINT
from mt_lottery.errors import MTLotteryError, plural
from mt_lottery.runs.folder.record import Record

SECONDS = (
    "Seconds: probe (charged to every recipe that needs it) + training + decoding, one language "
    "and seed; tuning trials not included."
)


def reading(results: Results, first: Record, seeds: int) -> list[str]:
    """How to read the table, a sentence or two a point.

    Args:
        results: the benchmark.
        first: any of its records.
        seeds: how many there are.
    """
    generation, metric = first.generation, results.metric
    column = first.scores[metric].get("column", metric)
    several = seeds > 1
    search = "greedy" if generation.beam_size == 1 else f"beam {generation.beam_size}"
    said = [
        "Raw: the whole output, up to end-of-sequence or "
        f"{plural(generation.max_new_tokens, 'token')}, {search}; first line: the output up to its "
        "first line break. Brackets: 95% bootstrap interval over "
        f"sentences{' and seeds' if several else ''}.",
        "Gain over the original model, split: stop = raw gain less first-line gain (learning to "
        "stop), translate = first-line gain (translating better). This is accounting, not "
        "causation.",
    ]
    if several:
        said.append(
            "Bold: the best average, and every recipe not significantly worse (paired bootstrap "
            "over languages, seeds and sentences, 5%, Holm-corrected). ±: standard deviation over "
            f"{plural(seeds, 'seed')}."
        )
    else:
        said.append(
            "One seed: how much a recipe varies from seed to seed is not known, so nothing is bold."
        )
    if metric == "bleu_subword":
        said.append(
            f"{column} is BLEU over the model's own subwords, not spBLEU, and not comparable with "
            "that of a model with another tokenizer."
        )
    said.append(SECONDS)
    if any(cell.recipe.endswith(JOINT) for cell in results.records):
        said.append(
            "Joint: one run, trained on the pairs of all directions and scored in each; seconds "
            "are the share of one direction, parameters and bytes serve all."
        )
    if several:
        said.append("Sentences (on the page): the outputs of each cell's first seed.")
    if results.failures:
        said.append("FAILED: the cell did not finish; it has no score and no part in averages.")
    return said


def metric_of(results: Results) -> dict[str, Any]:
    """The metric that ranks, and how the outputs were decoded that it judges."""
    first = next(iter(results.records.values()))
    entry = first.scores[results.metric]
    return {
        "key": results.metric,
        "column": entry.get("column", results.metric),
        "signature": entry["signature"],
        "beam_size": first.generation.beam_size,
        "max_new_tokens": first.generation.max_new_tokens,
    }


def lacking_sentences(results: Results, metric: str) -> list[str]:
    """A note where the sentence scores of a cell are missing, without which nothing is compared.

    Args:
        results: the benchmark.
        metric: key of the one that ranks.
    """
    has = {cell: results.statistics(cell, metric, "raw") is not None for cell in results.records}
    lacking = [cell for cell, known in has.items() if not known]
    if not lacking or not any(has.values()):  # a metric that has none says so elsewhere
        return []
    more = f" and {plural(len(lacking) - 1, 'other cell')}" if lacking[1:] else ""
    return [
        f"{results.folders[lacking[0]]}{more}: no sentence scores of '{metric}' "
        "(sentence_scores.jsonl), so no recipe is compared with another: nothing is bold, and "
        "there are no p-values."
    ]


def _has_seeds(recipe: str) -> bool:
    try:
        return depends_on_seed(recipe)
    except MTLotteryError:  # a plugin's, and the plugin is not here
        return True


def fewer_seeds(results: Results, seeds: Sequence[int]) -> list[str]:
    """A note where recipes have fewer seeds than others, of those that depend on the seed."""
    found: dict[str, list[str]] = {}
    have: dict[tuple[str, str], set[int]] = {}
    for cell in results.records:
        if _has_seeds(cell.recipe.removesuffix(JOINT)):
            have.setdefault((cell.name, cell.lang), set()).add(cell.seed)
    for (name, lang), own in have.items():
        if lacking := sorted({*seeds} - own):
            found.setdefault(f"{lang} seed {', '.join(map(str, lacking))}", []).append(name)
    each = "; ".join(f"{where}: {', '.join(names)}" for where, names in found.items())
    return [f"Not finished, so from fewer seeds than the others: {each}."] if each else []


def several_texts(results: Results) -> list[str]:
    """A note where the runs of one direction were trained on different texts."""
    said = []
    for lang in dict.fromkeys(cell.lang for cell in results.records):
        texts: dict[str, list[str]] = {}
        for cell, record in results.records.items():
            train = record.data.train
            if cell.lang == lang and train is not None and not cell.recipe.endswith(JOINT):
                shown = f"{train.name}, {plural(train.pairs, 'pair')}, sha256 {train.sha256[:16]}…"
                texts.setdefault(shown, []).append(cell.name)
        if len(texts) > 1:
            each = "; ".join(
                f"{', '.join(dict.fromkeys(names))}: {text}" for text, names in texts.items()
            )
            said.append(f"{lang}: not all recipes were trained on the same text ({each}).")
    return said


def chosen_settings(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The settings that trials chose on dev, a sentence a recipe; none where none did.

    Args:
        rows: of a block of the leaderboard.
    """
    said = []
    for row in rows:
        found: dict[str, list[str]] = {}  # settings → the languages and seeds that have them
        for lang, cell in row["cells"].items():
            seeds = dict(zip(cell.get("seeds") or [], cell.get("chosen") or [], strict=False))
            written = {
                seed: ", ".join(f"{key}={value}" for key, value in settings.items())
                for seed, settings in seeds.items()
                if settings
            }
            for settings in dict.fromkeys(written.values()):
                own = [str(seed) for seed, one in written.items() if one == settings]
                which = "" if len(own) == len(seeds) else f" (seed {', '.join(own)})"
                found.setdefault(settings, []).append(lang + which)
        if found:
            each = "; ".join(f"{', '.join(langs)}: {text}" for text, langs in found.items())
            said.append(f"{row['label']}: {each}.")
    return said


def provenance(
    results: Results, langs: Sequence[str], seeds: Sequence[int], command: str
) -> list[dict[str, str]]:
    """Model, data with hashes, signatures, versions and the command, as name and value."""
    records = results.records
    first = next(iter(records.values()))
    model = first.model
    identity = f"sha256 {model.sha256}" if model.sha256 else f"revision {model.revision}"
    lines = [
        ("command", command),
        ("model", f"{model.name}, {plural(model.parameters, 'parameter')}, {identity}"),
        ("template", first.data.template),
        ("seeds", ", ".join(map(str, seeds))),
    ]
    for lang in langs:
        own = [r for c, r in records.items() if c.lang == lang]
        if not own:
            continue
        test = own[0].data.test
        train = next((r.data.train for r in own if r.data.train is not None), None)
        text = f"test {test.name}, {plural(test.pairs, 'pair')}, sha256 {test.sha256[:16]}…"
        if train is not None:
            text += (
                f"; train {train.name}, {plural(train.pairs, 'pair')}, sha256 {train.sha256[:16]}…"
            )
        lines.append((f"data {lang}", text))
    lines += [(f"signature {key}", entry["signature"]) for key, entry in first.scores.items()]
    lines.append(("versions", ", ".join(f"{k} {v}" for k, v in first.environment.items())))
    if len({tuple(sorted(r.environment.items())) for r in records.values()}) > 1:
        lines.append(("caution", "the runs were made with different versions or devices"))
    return [{"name": name, "value": value} for name, value in lines]


def overlaps(results: Results) -> list[str]:
    """What is known of test text in the training text, and in the model's."""
    records = list(results.records.values())
    tests = [record.data.test.name for record in records]
    return contamination.sentences(results.out, records[0].model.name, tests)
