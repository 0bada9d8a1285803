"""What ``mt-ticket explain`` reports: scores and recovery of each arm; JSON, CSV, a figure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt_lottery.errors import ScoreError, plural
from mt_lottery.languages import parse_pair
from mt_lottery.paper.explain.arms import Explained
from mt_lottery.paper.explain.recovery import Measured, gain_of, recovery
from mt_lottery.report.figures import LEGEND, new_figure, save_figure, whiskers
from mt_lottery.report.plain import csv_text
from mt_lottery.runs.outcome import tokenizer_name
from mt_lottery.scoring.metric import WHICH, MetricContext, can_be_resampled, make_metric, one_line
from mt_lottery.scoring.report import texts_of
from mt_lottery.scoring.significance import Bootstrap, ResampledScore
from mt_lottery.system.atomic import write_text


@dataclass(frozen=True)
class ArmScores:
    """One line of the report.

    Attributes:
        name: of the arm; ``random`` is the mean over the control's seeds.
        stopped: share of sentences that the model ended itself.
        length: characters written over those of the references.
        scores: metric key → raw or first line → score with interval.
        recovery: likewise, R; None where the gain is not clear of 0.
    """

    name: str
    stopped: float
    length: float
    scores: dict[str, dict[str, Measured]]
    recovery: dict[str, dict[str, Measured | None]]


@dataclass(frozen=True)
class Report:
    """All arms, and what they are measured against.

    Attributes:
        arms: in order: original, tuned, …, random, and each random seed where there are several.
        gain: metric key → raw or first line → tuned less original, with interval.
        columns: metric key → its heading.
    """

    arms: list[ArmScores]
    gain: dict[str, dict[str, Measured]]
    columns: dict[str, str]


def report(found: Explained, resamples: int = 1000) -> Report:
    """Score every arm with the run's metrics; intervals over sentences, drawn alike for all.

    Args:
        found: the decoded arms.
        resamples: of the bootstrap.

    Raises:
        ScoreError: none of the metrics can be computed from sentences.
    """
    loaded = found.run.tuned
    target = parse_pair(found.run.config.lang).target.code
    context = MetricContext(loaded.tokenizer, tokenizer_name(loaded), target)
    groups = {arm.name: [found.outputs[arm.name]] for arm in found.arms if arm.random is None}
    random = {arm.name: [found.outputs[arm.name]] for arm in found.arms if arm.random is not None}
    if random:
        groups["random"] = [outputs for (outputs,) in random.values()]
        groups |= random if len(random) > 1 else {}  # a mean of one is that one
    columns: dict[str, str] = {}
    scores: dict[str, dict[str, dict[str, ResampledScore]]] = {group: {} for group in groups}
    for name in found.run.config.metrics:
        metric = make_metric(name, context)
        column = metric.column
        if not can_be_resampled(metric):
            continue
        columns[metric.key] = column
        bootstrap = Bootstrap(metric.corpus_score, resamples)
        for group, many in groups.items():
            texts = [texts_of(outputs) for outputs in many]
            for way in WHICH:
                # of several seeds of a control the mean, on every resample
                each = [metric.statistics(own[way], found.references) for own in texts]
                scores[group].setdefault(metric.key, {})[way] = bootstrap.scores(each)
    if not columns:
        raise ScoreError(
            f"metrics={found.run.config.metrics}: none of them is a function of its sentences' "
            "statistics, so that there is no interval; allowed: spbleu, bleu, chrf."
        )

    original, tuned = scores["original"], scores["tuned"]
    expected = sum(len(one_line(text)) for text in found.references)
    arms = []
    for group, many in groups.items():
        own, flat = scores[group], [output for outputs in many for output in outputs]
        stopped = sum(output.stopped for output in flat) / len(flat)
        length = sum(len(one_line(output.text)) for output in flat) / len(many) / expected
        measured = {k: {w: Measured(own[k][w].score, own[k][w].ci95) for w in WHICH} for k in own}
        shares = {
            k: {w: recovery(own[k][w], original[k][w], tuned[k][w]) for w in WHICH} for k in own
        }
        arms.append(ArmScores(group, stopped, length, measured, shares))
    gain = {k: {w: gain_of(tuned[k][w], original[k][w]) for w in WHICH} for k in columns}
    return Report(arms, gain, columns)


def _measured(value: Measured | None) -> dict[str, Any] | None:
    return None if value is None else {"value": value.value, "ci95": list(value.ci95)}


def to_json(
    found: Explained, made: Report, cost: dict[str, float], asked: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything but text, ready for JSON; ``asked`` says which question it answers."""
    record, settings = found.run.record, found.run.config.translate
    return {
        "run": {
            "method": record.method,
            "lang": record.lang,
            "seed": record.seed,
            "model": record.model.name,
            "rows": int(found.run.tuned.model.get_input_embeddings().rows.token_ids.numel()),
            "trained_template": found.run.config.data.template,
            "config_hash": record.config_hash,
        },
        "template": found.template,
        "test": {
            "name": record.data.test.name,
            "sentences": len(found.sources),
            "max_new_tokens": settings.max_new_tokens,
        },
        "reads_a_sentence": found.reads,
        "as_in_run": found.as_in_run,
        "columns": made.columns,
        "gain": {
            key: {way: _measured(value) for way, value in ways.items()}
            for key, ways in made.gain.items()
        },
        "arms": [
            {
                "arm": arm.name,
                "stopped": arm.stopped,
                "length_ratio": arm.length,
                "scores": {
                    key: {
                        way: {
                            "score": value.value,
                            "ci95": list(value.ci95),
                            "recovery": _measured(arm.recovery[key][way]),
                        }
                        for way, value in ways.items()
                    }
                    for key, ways in arm.scores.items()
                },
            }
            for arm in made.arms
        ],
        "seconds": found.seconds,
        "cost": cost,
        "asked": dict(asked),
    }


def to_csv(made: Report) -> str:
    """One line an arm, metric and way of scoring."""
    columns = [
        *("arm", "metric", "scored", "score", "low", "high", "stopped", "length_ratio"),
        *("recovery", "recovery_low", "recovery_high"),
    ]
    rows: list[list[Any]] = []
    for arm in made.arms:
        for key in made.columns:
            for way in WHICH:
                score, share = arm.scores[key][way], arm.recovery[key][way]
                recovered = [None] * 3 if share is None else [share.value, *share.ci95]
                rows.append(
                    [arm.name, key, way, score.value, *score.ci95, arm.stopped, arm.length,
                     *recovered]
                )  # fmt: skip
    return csv_text(columns, rows)


def write(
    found: Explained,
    made: Report,
    out: Path,
    cost: dict[str, float],
    plots: bool,
    asked: Mapping[str, Any],
) -> list[Path]:
    """Write ``explain.json``, ``explain.csv`` and the figure; returns their paths.

    With another template than the run's the names are ``explain-TEMPLATE``.
    """
    stem = "explain"
    if found.template != found.run.config.data.template:
        stem += f"-{found.template}"
    content = json.dumps(to_json(found, made, cost, asked), indent=2, ensure_ascii=False)
    written = [out / f"{stem}.json", out / f"{stem}.csv"]
    write_text(written[0], content + "\n")
    write_text(written[1], to_csv(made))
    return written + (save_figure(draw(found, made), out / stem) if plots else [])


def shown_name(arm: ArmScores, found: Explained) -> str:
    """How an arm is called in table and figure."""
    number = sum(one.random is not None for one in found.arms)
    return {
        "tuned": "tuned, everywhere",
        "bos": "only at the first token",
        "instruction": "only in the instruction",
        "source": "only in the source",
        "target": "only in the target",
        "random": "random changes" if number == 1 else f"random changes (mean of {number})",
    }.get(arm.name, arm.name)


def draw(found: Explained, made: Report) -> Any:
    """Scores (left) and recovery (right) of each arm, with 95% intervals."""
    key, column = next(iter(made.columns.items()))
    arms = [arm for arm in made.arms if not arm.name.startswith("random-")]
    figure, (left, right) = new_figure(1, 2, width=9.0, height=0.8 + 0.52 * len(arms))
    looks = {
        "raw": {"color": "black", "marker": "o", "label": "raw output"},
        "first_line": {
            "color": "#0072B2", "marker": "s", "markerfacecolor": "white", "label": "first line",
        },
    }  # fmt: skip
    shifts = {"raw": -0.14, "first_line": 0.14}
    for way, shift in shifts.items():
        kept = {"linestyle": "none", "capsize": 2, "markersize": 5, **looks[way]}
        _points(left, [arm.scores[key][way] for arm in arms], shift, kept)
        _points(right, [arm.recovery[key][way] for arm in arms], shift, kept)
    names = [f"{shown_name(arm, found)}\n(stops: {arm.stopped:.0%})" for arm in arms]
    left.set_yticks(range(len(arms)), names, fontsize=8)
    right.set_yticks(range(len(arms)), [])
    for axes in (left, right):
        axes.set_ylim(len(arms) - 0.5, -0.5)
    _, high = left.get_xlim()
    scores = [arm.scores[key][way] for arm in arms for way in WHICH]
    low = min(0.0, *(end for score in scores for end in (score.value, *score.ci95)))
    left.set_xlim(low - 0.03 * (high - low), high)
    left.axvline(0, color="#555555", linewidth=0.9, linestyle="--" if low < 0 else "-")
    left.set_xlabel(f"{column}\n95% interval over {plural(len(found.sources), 'sentence')}")
    right.set_xlabel("recovery R of the gain\n(0: original, 1: tuned)")
    for bound in (0, 1):
        right.axvline(bound, color="#555555", linewidth=0.9, linestyle="--")
    values = [x for arm in arms for way in WHICH if (x := arm.recovery[key][way]) is not None]
    # far out an interval is cut, with an arrow; a point never is
    low = min([-0.2, *(min(v.value, max(-2.0, v.ci95[0])) for v in values)]) - 0.1
    high = max([1.2, *(max(v.value, min(3.0, v.ci95[1])) for v in values)]) + 0.1
    right.set_xlim(low, high)
    for way, shift in shifts.items():
        look = {"color": looks[way]["color"], "clip_on": False, "gid": "cut"}
        for index, arm in enumerate(arms):
            found_there = arm.recovery[key][way]
            if found_there is not None and found_there.ci95[0] < low:
                right.plot([low], [index + shift], "<", **look)
            if found_there is not None and found_there.ci95[1] > high:
                right.plot([high], [index + shift], ">", **look)
    undefined = [way.replace("_", " ") for way in WHICH if without_gain(made, key, way)]
    if undefined:
        right.set_title(f"{' and '.join(undefined)}: the gain is not clear of 0", fontsize=8)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper right", ncols=2, **LEGEND)
    return figure


def without_gain(made: Report, key: str, way: str) -> bool:
    """Whether there is no gain to recover a share of."""
    return all(arm.recovery[key][way] is None for arm in made.arms)


def _points(axes: Any, values: list[Measured | None], shift: float, looks: dict[str, Any]) -> None:
    at = [(index, value) for index, value in enumerate(values) if value is not None]
    if not at:
        return
    middle = [value.value for _, value in at]
    ends = whiskers(middle, [value.ci95 for _, value in at])
    axes.errorbar(middle, [index + shift for index, _ in at], xerr=ends, **looks)
