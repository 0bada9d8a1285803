"""How many of the prompt's tokens are among the chosen rows, and what the rows gain."""

from __future__ import annotations

from typing import Any

import numpy as np

from evidence_parts.shown.overview import done
from evidence_parts.shown.scores import Scores, share
from evidence_parts.shown.tables import Lines, span, table

#: Arm → what chooses its rows, in the order of the table.
CHOICES = {
    "random_seen": "a draw among the tokens of the training text",
    "matched-outside": "as frequent as the KS test's, but outside the prompt",
    "frequency": "the most frequent tokens",
    "frequency_matched": "as frequent as the KS test's, but not those",
    "ks_lottery": "the KS test, after a probe",
    "cos": "cosine distance, after a probe",
    "gradient": "one backward pass",
    "prompt_rows": "all of the prompt's, no others",
    "one_row": "the line break alone",
}


def held_by_run(scores: Scores, arm: str, langs: list[str]) -> dict[tuple[str, int], int]:
    """(Language, seed) → how many of the rows are tokens of the prompt, all of ``prompt_rows``."""
    prompts = {x: {*scores.rows("prompt_rows", x)[0]["ticket"]} for x in langs}
    return {
        (row["lang"], row["seed"]): len(prompts[x] & {*row["ticket"]})
        for x in langs
        for row in scores.rows(arm, x)
    }


def choices(scores: Scores) -> Lines:
    """An arm a line: rows, how many of them are the prompt's, and the gain beside the table's."""
    langs, _ = done(scores)
    metric = scores.metric()
    known = scores.in_all(CHOICES, langs)
    if metric is None or "prompt_rows" not in known:
        return []
    none, whole = (scores.of(arm, langs, metric) for arm in ("none", "embed"))
    lines = []
    for arm in known:
        own = scores.of(arm, langs, metric)
        assert own is not None and none is not None and whole is not None
        gain = share(own.score - none.score, own.resamples - none.resamples,
                     whole.score - none.score, whole.resamples - none.resamples)  # fmt: skip
        rows = span(len(row["ticket"]) for x in langs for row in scores.rows(arm, x))
        held = held_by_run(scores, arm, langs)
        by_lang = [np.mean([n for (lang, _), n in held.items() if lang == x]) for x in langs]
        least, most = min(held.values()), max(held.values())
        between = "" if least == most else f" ({least} to {most})"
        lines.append([CHOICES[arm], f"`{arm}`", rows, scores.seeds(arm, langs),
                      f"{np.mean(by_lang):.1f}{between}", gain])  # fmt: skip
    headings = ["rows chosen by", "arm", "rows", "seeds", "of them the prompt's",
                "gain, of the whole table's"]  # fmt: skip
    return table(headings, lines, 2)


def choices_figure(scores: Scores) -> Any:
    """A dot a run: rows of the prompt among its 18, and its gain; None where nothing is done."""
    from mt_lottery.report.figures import LEGEND, MARKERS, new_figure, style

    langs, _ = done(scores)
    metric = scores.metric()
    done_here = scores.in_all(CHOICES, langs)
    known = [arm for arm in done_here if arm not in ("one_row", "prompt_rows")]
    if metric is None or not known or "prompt_rows" not in done_here:
        return None
    ends: dict[str, tuple[float, float]] = {}
    for lang in langs:
        none, whole = (scores.of(arm, [lang], metric) for arm in ("none", "embed"))
        assert none is not None and whole is not None
        if whole.score > none.score:
            ends[lang] = none.score, whole.score
    if not ends:
        return None
    figure, axes = new_figure(1, 1, width=6.4, height=3.8)
    for number, arm in enumerate(known):
        held = held_by_run(scores, arm, langs)
        rows = [row for x in ends for row in scores.rows(arm, x)]
        gains = []
        for row in rows:
            low, high = ends[row["lang"]]
            gains.append(100 * (row["scores"][metric]["raw"]["score"] - low) / (high - low))
        # dots of one count stand side by side
        across = 0.06 * (number - (len(known) - 1) / 2)
        places = [held[row["lang"], row["seed"]] + across for row in rows]
        look = {**style(number), "linestyle": "none", "marker": MARKERS[number]}
        axes.plot(places, gains, label=CHOICES[arm], **look)
    axes.axhline(100, color="#8a8a8a", linewidth=0.8, linestyle="--")
    axes.set_ylim(-5, None)
    axes.set_xlabel("rows of the prompt among the 18")
    axes.set_ylabel("gain, % of the whole table's")
    axes.legend(loc="lower right", **LEGEND)
    return figure
