"""A certificate in files: JSON (all of it) and CSV (a line an α); numbers, no text."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

from mt_lottery.paper.certify.certificate import Certificate
from mt_lottery.paper.certify.check import MODELS, Check
from mt_lottery.report.plain import csv_records
from mt_lottery.system.atomic import DiskError, write_text
from mt_lottery.ticket.certify_levels import LevelCertificate

STEM = "certificate"
NOTE = (
    "certified: the embed-tuned model predicts the reference and (p_A - p_B)/2 > tau(alpha), the "
    "paper's condition (Theorem 2). It is no guarantee: see checks. rows_kept: rejected rows "
    "(p <= alpha), the ticket. p is nominal."
)


def check_folder(folder: Path) -> None:
    """Make sure, before the long work, that a report can be written there; makes nothing.

    Raises:
        DiskError: a file is in the way, or the folder is not ours to write to.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise DiskError(f"--out {folder}: cannot be written: {there} is no folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise DiskError(f"--out {folder}: cannot be written: no permission for {there}.")


def level_numbers(certificate: Certificate, level: LevelCertificate) -> dict[str, Any]:
    """The numbers of one α, for the CSV; None where there is none."""
    said = level.certification
    partial = certificate.partial.get(level.alpha)
    return {
        "alpha": level.alpha,
        "rows_kept": level.rows_kept,
        "rows_not_rejected": level.rows_not_rejected,
        "tau_estimated": level.tau_estimated,
        "tau_analytic": level.tau_analytic,
        "verified_share": said.verified_share,
        "certified_accuracy": said.certified_accuracy,
        "accuracy_original": certificate.accuracy(certificate.original),
        "accuracy_embed": certificate.accuracy(certificate.embed),
        "accuracy_partial": None if partial is None else certificate.accuracy(partial.predictions),
        "rows_partial": None if partial is None else partial.rows,
    }


def check_numbers(check: Check) -> dict[str, Any]:
    """One test of the certificate."""
    return {**dataclasses.asdict(check), "others_rate": check.others_rate}


def to_dict(certificate: Certificate) -> dict[str, Any]:
    """Everything but the predictions; an infinite τ is None."""
    record, settings = certificate.run.record, certificate.settings
    levels = [level_numbers(certificate, level) for level in certificate.levels]
    for level in levels:
        if math.isinf(level["tau_analytic"]):
            level["tau_analytic"] = None
    return {
        "note": NOTE,
        "runs": [str(folder) for folder in certificate.runs],
        "config_hash": record.config_hash,
        "lang": record.lang,
        "seed": record.seed,
        "model": dataclasses.asdict(record.model),
        "test": dataclasses.asdict(record.data.test),
        "template": record.data.template,
        "scope": certificate.run.plan.tuner.scope,
        "probe_rows": certificate.probe_rows,
        "vocabulary": certificate.vocabulary,
        "dimension": certificate.dimension,
        "correction": certificate.correction,
        "margin": settings.margin,
        "tau": settings.tau,
        "positions_per_sentence": settings.positions,
        "sentences": len(certificate.positions.examples),
        "positions": len(certificate.positions.references),
        "accuracy_original": certificate.accuracy(certificate.original),
        "accuracy_embed": certificate.accuracy(certificate.embed),
        # two tokens equally probable, as happens with logits in bfloat16: never certified
        "exact_ties_original": int((certificate.original.margins == 0).sum()),
        "exact_ties_embed": int((certificate.embed.margins == 0).sum()),
        "half_margin_quantiles": [{"below": q, "value": v} for q, v in certificate.quantiles],
        "suggestion": None
        if certificate.suggestion is None
        else dataclasses.asdict(certificate.suggestion),
        "levels": levels,
        "checks": [check_numbers(check) for check in certificate.checks],
        "seconds": round(certificate.seconds, 1),
        "peak_memory_bytes": certificate.peak_memory,
        "environment": record.environment | {"device": certificate.run.plan.device},
        "asked": settings.asked(certificate.runs),
    }


def to_csv(certificate: Certificate) -> str:
    """A line an α, the tests of the certificate behind it; empty where there is no number."""
    lines = []
    for level in certificate.levels:
        line = level_numbers(certificate, level)
        for model in MODELS:
            check = certificate.check_of(level.alpha, model)
            low, high = (None, None) if check is None or check.ci95 is None else check.ci95
            line |= {
                f"{model}_accuracy": None if check is None else check.accuracy,
                f"{model}_certified": None if check is None else check.certified,
                f"{model}_changed": None if check is None else check.changed,
                f"{model}_rate": None if check is None else check.rate,
                f"{model}_rate_low": low,
                f"{model}_rate_high": high,
            }
        lines.append(line)
    return csv_records(list(lines[0]), lines)


def write_report(certificate: Certificate, folder: Path) -> list[Path]:
    """Write ``certificate.json`` and ``certificate.csv``; returns their paths.

    Raises:
        DiskError: the folder cannot be written.
    """
    content = json.dumps(to_dict(certificate), indent=2, ensure_ascii=False, allow_nan=False)
    paths = [folder / f"{STEM}.json", folder / f"{STEM}.csv"]
    for path, text in zip(paths, (content + "\n", to_csv(certificate)), strict=True):
        write_text(path, text)
    return paths
