"""What the files of a finished run say: each is read and checked when it is first asked for."""

from __future__ import annotations

import contextlib
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mt_lottery.config.stored import allowing, permission
from mt_lottery.errors import RecordError
from mt_lottery.runs import summary
from mt_lottery.runs.folder.directions import directions_in
from mt_lottery.runs.folder.files import damaged, read_hypotheses, read_sentence_scores
from mt_lottery.runs.folder.integrity import check_ticket
from mt_lottery.runs.folder.preparing import HYPOTHESES, SENTENCES, TICKETS
from mt_lottery.runs.folder.record import NAME, Record, read_record
from mt_lottery.runs.planning.plan import Echo
from mt_lottery.scoring.metric import Floats
from mt_lottery.system.values import user_path
from mt_lottery.ticket.ticket import Ticket
from mt_lottery.tuners.recipes import recipes_that

if TYPE_CHECKING:
    import torch


def _state_of(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


class RunFiles:
    """A run directory without its models; :class:`~mt_lottery.runs.finished.Run` adds those."""

    def __init__(
        self,
        run_dir: str | Path,
        device: str | torch.device = "auto",
        *,
        user_dir: str | Path | None = None,
        trust_remote_code: bool = False,
        device_map: str | None = None,
        echo: Echo = print,
    ) -> None:
        self.folder = user_path(run_dir, RecordError)
        self.device = str(device)
        self.device_map = device_map
        self.echo = echo
        self._read_at: tuple[int, ...] | None = None  # None: its record was given
        self._permission = permission()
        if user_dir is not None or trust_remote_code:
            with allowing(user_dir, trust_remote_code):
                self._permission = permission()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r})"

    def __str__(self) -> str:
        return summary.as_lines(self)

    def _repr_html_(self) -> str:
        return summary.as_html(self)

    @cached_property
    def record(self) -> Record:
        """``record.json``: what it was, cost and scored."""
        found = read_record(self.folder)
        self._read_at = _state_of(self.folder / NAME)
        return found

    def _refuse_another(self) -> None:
        """Make sure that the folder's files are still of the run whose record was read.

        Raises:
            RecordError: another run has taken its place.
        """
        if self.record and self._read_at not in (None, _state_of(self.folder / NAME)):
            raise RecordError(
                f"{self.folder}: another run has taken this one's place since it was opened; open "
                "the folder again."
            )

    @classmethod
    def of_record(cls, run_dir: str | Path, record: Record) -> Self:
        """A run whose record is known, as it was just written."""
        run = cls(run_dir)
        run.record = record
        run._read_at = _state_of(run.folder / NAME)
        return run

    @property
    def scores(self) -> dict[str, Any]:
        """Metric → its raw and first-line scores, as in the record."""
        return self.record.scores

    @cached_property
    def hypotheses(self) -> list[dict[str, Any]]:
        """``hypotheses.jsonl``: source, reference and translation of every test sentence."""
        self._refuse_another()
        path, known = self.folder / HYPOTHESES, directions_in(self.record)
        lines = read_hypotheses(path, self.record.data.test.pairs)
        wanted = [lang for lang, one in known.items() for _ in range(one.test.pairs)]
        if known and [line.get("lang") for line in lines] != wanted:
            raise damaged(
                path, f"`lang` of its lines must be {', '.join(known)}, one after another"
            )
        return lines

    @cached_property
    def ticket(self) -> Ticket:
        """The rows that its tuner chose, with the evidence of ``tickets.csv``.

        Raises:
            RecordError: a tuner that chooses none, or the file is missing, damaged or changed.
        """
        self._refuse_another()
        path = self.folder / TICKETS
        if self.record.tickets is None or not os.path.lexists(path):
            raise RecordError(
                f"{self.folder}: a run of {self.record.method} has no {TICKETS}; allowed: runs "
                f"that choose rows ({recipes_that(lambda tuner: tuner.chooses_rows)})."
            )
        check_ticket(self.folder, self.record)
        return self.record.tickets.ticket(path, self.record.model.vocab_size)

    @cached_property
    def sentence_scores(self) -> dict[str, dict[str, Floats]]:
        """Metric → ``raw`` or ``first_line`` → what each test sentence adds to the score, [N, S].

        Empty for a run of an early version, which has no ``sentence_scores.jsonl``.
        """
        self._refuse_another()
        path = self.folder / SENTENCES
        return read_sentence_scores(path, self.record) if path.exists() else {}

    @cached_property
    def baseline(self) -> Self | None:
        """The original model's run; None where there was none, or it is gone.

        The record has its path from where ``mt-train`` was called: from elsewhere it is found
        from the folders above this run.
        """
        where = self.record.baseline
        if where is None:
            return None
        places = (Path(), *self.folder.resolve().parents)
        there = next((p / where for p in places if (p / where / NAME).is_file()), where)
        found = type(self)(there, self.device, echo=self.echo)
        with contextlib.suppress(RecordError):
            return found if found.record else None
        return None
