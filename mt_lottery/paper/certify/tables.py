"""A certificate as tables: what holds at every α, and whether it does."""

from __future__ import annotations

from mt_lottery.paper.certify.certificate import Certificate
from mt_lottery.paper.certify.check import Check
from mt_lottery.paper.certify.files import level_numbers
from mt_lottery.report.numbers import shown_alpha, spread
from mt_lottery.report.table import Column, Table, field

LEADS = {
    "transfer": "partial transfer",
    "partial": "partial tuning",
    "permuted": "permuted (control)",
}


def levels_table(certificate: Certificate) -> Table:
    """A line an α: rows, τ, verified share, certified accuracy, accuracies."""
    columns = [
        field("alpha", "α", shown_alpha),
        field("rows_kept", "rows kept\n(p ≤ α)", ","),
        field("rows_not_rejected", "not\nrejected", ","),
        field("tau_estimated", "τ\nestimated", ".4f"),
        field("tau_analytic", "τ\nanalytic", ".4f"),
        field("verified_share", "verified\nshare", ".1%"),
        field("certified_accuracy", "certified\naccuracy", ".1%"),
        field("accuracy_original", "accuracy\noriginal", ".1%"),
        field("accuracy_embed", "accuracy\nembed", ".1%"),
        field("accuracy_partial", "accuracy\npartial", ".1%"),
    ]
    title = (
        f"Certificates, {certificate.run.record.lang}: τ {certificate.settings.tau}, margin of the "
        f"{certificate.settings.margin} model"
    )
    return Table(columns, [level_numbers(certificate, x) for x in certificate.levels], title)


def checks_table(certificate: Certificate) -> Table:
    """A line a test: how many certified predictions change after all."""
    columns = [
        field("alpha", "α", shown_alpha),
        field("rows", "ticket rows", ","),
        Column("model", lambda check: LEADS[check.model]),
        field("accuracy", "accuracy", ".1%"),
        field("certified", "certified\npositions", ","),
        field("changed", "of them\nchanged", ","),
        Column("violation rate\n[95% interval]", _rate),
        field("others_rate", "changed without\ncertificate", ".1%"),
    ]
    title = "The certificate checked: predictions that differ from the embed-tuned model's"
    return Table(columns, certificate.checks, title, left=3)


def _rate(check: Check) -> str:
    return spread(check.rate, check.ci95, form=".1%")
