"""Figures 4 and 7: certified accuracy, accuracies and verified share against α; τ below."""

from __future__ import annotations

import math
from pathlib import Path

from mt_lottery.evidence.certify import Certificate
from mt_lottery.evidence.certify_report import STEM
from mt_lottery.evidence.figures import new_figure, save_figure, style


def draw(certificate: Certificate, folder: Path) -> list[Path]:
    """Write ``certificate.png`` and ``certificate.svg``; returns their paths.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    figure, (top, middle, bottom) = new_figure(3, 1, width=6.4, height=7.6)
    record, settings = certificate.record, certificate.settings
    levels = certificate.levels
    alphas = [level.alpha for level in levels]
    said = [level.certification for level in levels]
    plain = {"marker": None}
    top.plot(alphas, [100 * s.verified_share for s in said], label="verified share", **style(1))
    top.plot(
        alphas, [100 * s.certified_accuracy for s in said], label="certified accuracy", **style(0)
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
    top.set_ylim(0, 100)
    top.set_title(
        f"{record.model.name}, {record.lang}: {len(certificate.positions.references):,} positions "
        f"of {len(certificate.positions.examples)} sentences\n"
        f"τ {settings.tau}, margin of the {settings.margin} model",
        fontsize=10,
    )
    top.legend(fontsize=8, ncols=2, loc="best")

    forms = {
        "estimated": [level.tau_estimated for level in levels],
        "analytic": [level.tau_analytic for level in levels],
    }
    for index, (form, values) in enumerate(forms.items()):
        used = ", used here" if form == settings.tau else ""
        shown = [math.nan if math.isinf(value) else value for value in values]
        middle.plot(alphas, shown, label=f"{form}{used}", **style(index))
    middle.set_ylabel("τ(α), KS distance")
    middle.set_ylim(bottom=0)
    middle.legend(fontsize=8)

    bottom.plot(alphas, [level.rows_kept for level in levels], **style(0))
    bottom.set_yscale("symlog", linthresh=1)
    bottom.set_ylim(bottom=0)
    bottom.set_ylabel("rows kept (p ≤ α)")
    bottom.set_xlabel("α (nominal level of the KS test; not comparable across dimensions)")
    for axes in (top, middle, bottom):
        axes.set_xlim(-0.02, 1.02)
    return save_figure(figure, folder / STEM)
