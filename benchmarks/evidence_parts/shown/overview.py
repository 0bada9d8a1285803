"""The main recipes in one table over all languages, and in one by language."""

from __future__ import annotations

from typing import Any

from evidence_parts.cells import MARGIN
from evidence_parts.shown.scores import Scores, interval
from evidence_parts.shown.tables import Lines, span, table
from mt_lottery.errors import RecordError

#: Arm → its recipe's name, and what is tuned.
MAIN = {
    "none": ("none", "nothing"),
    "first_line_stop": ("first_line_stop", "nothing; decoding stops at the line break"),
    "few_shot": ("few_shot", "nothing; examples in the prompt"),
    "one_row": ("one_row", "one row: the line break's"),
    "prompt_rows": ("prompt_rows", "the rows of the prompt's own tokens"),
    "frequency": ("frequency", "18 rows: the most frequent tokens"),
    "ks_lottery": ("ks_lottery", "18 rows: chosen by the KS test"),
    "gradient": ("grad_lottery", "18 rows: chosen by gradients of 64 pairs"),
    "embed": ("embed", "the whole embedding table"),
    "full": ("full", "every parameter"),
    "lora": ("lora", "LoRA, rank 8, on queries and values"),
}
NEEDED = ("none", "ks_lottery", "embed", "lora")  # a language without these is left out
COMPARED = ("ks_lottery", "embed")
NOTHING = f"No language has all of {', '.join(NEEDED)} yet."


def done(scores: Scores) -> tuple[list[str], list[str]]:
    """The languages that have the arms which are needed, and the arms that all of these have."""
    langs = [x for x in scores.setting.langs if all(scores.rows(arm, x) for arm in NEEDED)]
    return langs, scores.in_all(MAIN, langs)


def board(scores: Scores) -> dict[str, Any]:
    """The means as the plot of a leaderboard takes them (:mod:`mt_lottery.benchmark.page.figure`).

    Raises:
        RecordError: nothing is done.
    """
    langs, arms = done(scores)
    metric = scores.metric()
    if metric is None or not langs:
        raise RecordError(NOTHING)
    rows = []
    for arm in arms:
        average = {}
        for which in ("raw", "first_line"):
            own = scores.of(arm, langs, metric, which)
            assert own is not None
            average[which] = {"score": own.score, "ci95": list(own.ci95)}
        count = round(scores.mean(arm, langs, "trainable_parameters"))
        rows.append({"method": MAIN[arm][0], "trainable_parameters": count,
                     "average": average})  # fmt: skip
    column = scores.column(metric)
    return {"blocks": [{"rows": rows}], "languages": langs, "metric": {"column": column}}


def overview(scores: Scores) -> str:
    """Markdown: means over the languages, then each language; and what is in neither."""
    said = sections(scores)
    return "\n".join(line for lines in said.values() for line in lines).rstrip() or NOTHING


def sections(scores: Scores) -> dict[str, Lines]:
    """``means``, ``by-language``, ``note`` and ``left``, each with an empty line at its end.

    Nothing where no language has what is needed.
    """
    langs, arms = done(scores)
    metric = scores.metric()
    if metric is None or not langs:
        return {}
    gaps = {one: scores.against(arms, one, langs, metric) for one in COMPARED}
    means, each = [], []
    for arm in arms:
        recipe, tuned = MAIN[arm]
        raw, first, chrf = (
            scores.of(arm, langs, key, which)
            for key, which in ((metric, "raw"), (metric, "first_line"), ("chrf", "raw"))
        )
        assert raw is not None
        assert first is not None
        assert chrf is not None
        rows = [row for lang in langs for row in scores.rows(arm, lang)]
        parameters = span(row["trainable_parameters"] for row in rows)
        less = []
        for one in COMPARED:
            gap, alike = gaps[one].get(arm, (None, None))
            less.append("" if gap is None or alike is None
                        else f"{interval(gap.difference, gap.ci95)}, {alike.verdict}")  # fmt: skip
        stopped = f"{scores.mean(arm, langs, 'generation', 'stopped'):.0%}"
        means.append([f"`{recipe}`", tuned, parameters, interval(raw.score, raw.ci95),
                      interval(first.score, first.ci95), stopped])  # fmt: skip
        own = [score for x in langs if (score := scores.of(arm, [x], metric)) is not None]
        each.append([f"`{recipe}`", *(interval(score.score, score.ci95) for score in own),
                     interval(chrf.score, chrf.ci95), scores.seeds(arm, langs), *less])  # fmt: skip
    headings = ["recipe", "what is tuned", "parameters", "raw", "first line", "stopped"]
    by_language = ["recipe", *langs, "chrF++, mean", "seeds",
                   *(f"less `{one}`, mean" for one in COMPARED)]  # fmt: skip
    sentences = {row["text"]["test_pairs"] for arm in arms for row in scores.rows(arm, langs[0])}
    note = (
        f"{scores.column(metric)}, means over English to {', '.join(langs)}, "
        f"{' or '.join(f'{n:,}' for n in sorted(sentences))} sentences a language. Brackets: 95%, "
        "sentences and the seeds there are resampled together. Verdicts: two one-sided tests at 5% "
        f"with a margin of {MARGIN:g}; else worse or better (p ≤ 0.05 after Holm), else undecided."
    )
    left = [MAIN[arm][0] for arm in MAIN if arm not in arms]
    return {
        "means": table(headings, means, 2),
        "by-language": table(by_language, each),
        "note": [note, ""],
        "left": [f"Not done in all of them: {', '.join(left)}."] if left else [],
    }
