"""Figures 4 and 7: certified accuracy, accuracies and verified share against α; and the checks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from mt_lottery.errors import plural
from mt_lottery.paper.certify.certificate import Certificate
from mt_lottery.paper.certify.files import STEM
from mt_lottery.report.figures import LEGEND, new_figure, save_figure, style, whiskers

CHECKS = "certificate_checks"
NAMES = {
    "transfer": "partial transfer",
    "partial": "partial tuning",
    "permuted": "control: other rows permuted",
}

APART = 0.3  # two models at one level


def draw(certificate: Certificate, folder: Path) -> list[Path]:
    """Write both figures as PNG and SVG; returns their paths.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    written = save_figure(levels_figure(certificate), folder / STEM)
    if any(check.rate is not None for check in certificate.checks):
        written += save_figure(checks_figure(certificate), folder / CHECKS)
    return written


def levels_figure(certificate: Certificate) -> Any:
    """All that moves with α."""
    figure, (top, middle, bottom) = new_figure(3, 1, width=6.4, height=7.6)
    record, settings = certificate.run.record, certificate.settings
    levels = certificate.levels
    alphas = [level.alpha for level in levels]
    said = [level.certification for level in levels]
    plain = {"marker": None}
    steps = {"drawstyle": "steps-post"}  # between two levels the lower one's ticket holds
    top.plot(
        alphas, [100 * s.verified_share for s in said], label="verified share", **style(1) | steps
    )
    top.plot(
        alphas,
        [100 * s.certified_accuracy for s in said],
        label="certified accuracy",
        **style(0) | steps,
    )
    for index, (name, model) in enumerate(
        (("embed-tuned", certificate.embed), ("original", certificate.original)), 2
    ):
        share = 100 * certificate.accuracy(model)
        top.plot([0, 1], [share, share], label=f"accuracy, {name}", **style(index) | plain)
    points = {"linestyle": "none", "markerfacecolor": "white", "markersize": 6}
    if certificate.partial:
        tuned = sorted(certificate.partial.items())
        top.plot(
            [alpha for alpha, _ in tuned],
            [100 * certificate.accuracy(each.predictions) for _, each in tuned],
            label="accuracy, partial tuning",
            **style(0) | points | {"marker": "D"},
        )
    moved = [check for check in certificate.checks if check.model == "transfer"]
    if moved:
        top.plot(
            [check.alpha for check in moved],
            [100 * check.accuracy for check in moved],
            label="accuracy, partial transfer",
            **style(2) | points | {"marker": "^"},
        )
    top.set_ylabel("positions (%)")
    top.set_ylim(-4, 104)
    top.set_title(
        f"{record.model.name}, {record.lang}: "
        f"{plural(len(certificate.positions.references), 'position')} of "
        f"{plural(len(certificate.positions.examples), 'sentence')}\n"
        f"τ {settings.tau}, margin of the {settings.margin} model",
        fontsize=10,
    )
    # below the axes: there is no corner that the curves always leave free
    top.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.12), **LEGEND)

    forms = {
        "estimated": [level.tau_estimated for level in levels],
        "analytic": [level.tau_analytic for level in levels],
    }
    for index, (form, values) in enumerate(forms.items()):
        used = ", used here" if form == settings.tau else ""
        shown = [math.nan if math.isinf(value) else value for value in values]
        middle.plot(
            alphas, shown, label=f"{form}{used}", **style(index) | (steps if index == 0 else {})
        )
    middle.set_ylabel("τ(α), KS distance")
    middle.set_ylim(bottom=0)
    middle.legend(**LEGEND)

    bottom.plot(alphas, [level.rows_kept for level in levels], **style(0) | steps)
    bottom.set_yscale("symlog", linthresh=1)
    bottom.set_ylim(bottom=0)
    bottom.set_ylabel("rows kept (p ≤ α)")
    bottom.set_xlabel("α (nominal level of the KS test; not comparable across dimensions)")
    for axes in (top, middle, bottom):
        axes.set_xlim(-0.02, 1.02)
        for line in axes.lines:
            line.set_clip_on(False)  # a mark at the end of an axis is seen whole
    return figure


def checks_figure(certificate: Certificate) -> Any:
    """How many certified predictions changed."""
    record = certificate.run.record
    alphas = sorted({check.alpha for check in certificate.checks})
    figure, axes = new_figure(width=max(6.4, 0.9 + 1.5 * len(alphas)), height=4.2)
    kept = {level.alpha: level.rows_kept for level in certificate.levels}
    for index, (model, name) in enumerate(NAMES.items()):
        found = [c for c in certificate.checks if c.model == model and c.rate is not None]
        if not found:
            continue
        rates = [100 * (c.rate or 0.0) for c in found]
        bounds = [c.ci95 or (c.rate or 0.0, c.rate or 0.0) for c in found]
        axes.errorbar(
            [alphas.index(c.alpha) + APART * (index - 1) for c in found],
            rates,
            yerr=whiskers(rates, [(100 * low, 100 * high) for low, high in bounds]),
            capsize=3,
            label=name,
            **style(index) | {"linestyle": "none", "markersize": 6},
        )
        for c, rate in zip(found, rates, strict=True):
            axes.annotate(
                f"{rate:.1f}",
                (alphas.index(c.alpha) + APART * (index - 1), rate),
                xytext=(6, 0),  # beside it: above and below are the whiskers
                textcoords="offset points",
                fontsize=8,
                va="center",
            )
    axes.set_xticks(
        range(len(alphas)), [f"{plural(kept[a], 'row')}\nα = {a:.4g}" for a in alphas], fontsize=8
    )
    axes.set_xlim(-0.5, len(alphas) - 0.4)
    axes.set_ylim(-3, 103)
    axes.set_xlabel("ticket (rows with p ≤ α)")
    axes.set_ylabel("certified predictions that change (%)")
    axes.set_title(
        f"{record.model.name}, {record.lang}: the certificate checked "
        "(95% intervals over sentences)",
        fontsize=10,
    )
    figure.legend(loc="outside lower center", ncols=3, **LEGEND)
    return figure
