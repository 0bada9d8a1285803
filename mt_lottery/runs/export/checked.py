"""Some of a run's test sentences, translated again with what was written."""

from __future__ import annotations

from mt_lottery.errors import plural
from mt_lottery.model.loading import LoadedModel
from mt_lottery.runs.decode import decode_lines
from mt_lottery.runs.finished import Run

CHECKED = 8  # test sentences
FEW = (
    "Fewer than half are the same, which rounding alone seldom explains: compare the scores of "
    "what is exported with the run's before you use it."
)


def translated_again(run: Run, exported: LoadedModel) -> tuple[int, int]:
    """How many test sentences were translated, and how many came out as in the run."""
    lines = run.hypotheses
    several = len(run.directions) > 1  # one after the other: some of each
    said = lines[:: max(1, len(lines) // CHECKED) if several else 1][:CHECKED]
    run.echo(f"Translating {plural(len(said), 'test sentence')} with what is exported …")
    outputs = decode_lines(run.config, exported, said, tuner=run.tuner, quiet=True)
    same = sum(o.text == line["hypothesis"] for o, line in zip(outputs, said, strict=True))
    return len(said), same


def why_different(sentences: int, same: int, rounded: str) -> str:
    """A sentence on translations that did not come out as in the run; "" where all did.

    Args:
        sentences: that were translated again.
        same: those that came out as in the run.
        rounded: what to say where they are so few that rounding explains them.
    """
    if same == sentences:
        return ""
    return rounded if 2 * same >= sentences else FEW
