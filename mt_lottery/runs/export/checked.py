"""Some of a run's test sentences, translated again with what was written."""

from __future__ import annotations

from mt_lottery.model.loading import LoadedModel
from mt_lottery.runs.decode import decode
from mt_lottery.runs.finished import Run

CHECKED = 8  # test sentences


def translated_again(run: Run, exported: LoadedModel) -> tuple[int, int]:
    """How many test sentences were translated, and how many came out as in the run."""
    said = run.hypotheses[:CHECKED]
    run.echo(f"Translating {len(said)} test sentences with what is exported …")
    sources = [line["source"] for line in said]
    outputs = decode(run.config, exported, sources, lead=run.tuner.lead, quiet=True)
    same = sum(o.text == line["hypothesis"] for o, line in zip(outputs, said, strict=True))
    return len(said), same
