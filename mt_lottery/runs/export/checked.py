"""Some of a run's test sentences, translated again with what was written."""

from __future__ import annotations

from mt_lottery.errors import plural
from mt_lottery.model.loading import LoadedModel
from mt_lottery.runs.decode import decode_lines
from mt_lottery.runs.finished import Run

CHECKED = 8  # test sentences


def translated_again(run: Run, exported: LoadedModel) -> tuple[int, int]:
    """How many test sentences were translated, and how many came out as in the run."""
    lines = run.hypotheses
    several = len(run.directions) > 1  # one after the other: some of each
    said = lines[:: max(1, len(lines) // CHECKED) if several else 1][:CHECKED]
    run.echo(f"Translating {plural(len(said), 'test sentence')} with what is exported …")
    outputs = decode_lines(run.config, exported, said, tuner=run.tuner, quiet=True)
    same = sum(o.text == line["hypothesis"] for o, line in zip(outputs, said, strict=True))
    return len(said), same
