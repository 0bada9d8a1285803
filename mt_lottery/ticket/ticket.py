"""A ticket: the chosen rows, from the test to the record, to ``tickets.csv`` and back."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mt_lottery.errors import RecordError, plural
from mt_lottery.ticket.level import Level, RowScores

if TYPE_CHECKING:
    from mt_lottery.report.printing import Grid

COLUMNS = ("token_id", "token", "statistic", "pvalue", "selected", "train_frequency")
SHOWN = 20  # rows of a table for a reader
#: Said with α where a number of rows implied it, so that no correction applies.
IMPLIED = "implied by their number"
TITLE = "Most changed tokens (• in the ticket)"
TITLE_BY_SCORE = "Tokens of largest score (• in the ticket)"  # a score need not be of a change


@dataclass(frozen=True, eq=False, repr=False)
class Ticket:
    """The chosen rows, most changed (or most frequent) first, and how they were chosen.

        >>> from mt_lottery.ticket.level import RowScores
        >>> scores = RowScores(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([1.0, 0.2, 0.01]))
        >>> ticket = Ticket(torch.tensor([2]), "ks", alpha=0.05, correction="none", scores=scores)
        >>> len(ticket), list(ticket), ticket.statistic
        (1, [2], tensor([1.]))

    Two tickets are equal if they have the same rows, in one order, with the same numbers.

    Attributes:
        rows: token ids, [k] int64.
        selector: registered name of the measure; for rows that no measure chose, how they were.
        alpha: the α given, or implied by a number of rows; None without a test.
        correction: of p over the vocabulary; None where nothing was scored.
        tau: the estimated threshold τ(α) on the KS distance (§4.1); None without a test.
        scores: of every row of the table, [V]; None where nothing was scored.  Of a ticket that
            was read from a file they are as long as the file tells.
        names: token id → the vocabulary's own string; None where no tokenizer was known.
        counts: token id → occurrences in the training text; None where there was none.
        dimension: d, coordinates of a row, where it is known.
    """

    rows: Tensor
    selector: str
    alpha: float | None = None
    correction: str | None = None
    tau: float | None = None
    scores: RowScores | None = None
    names: Mapping[int, str] | None = None
    counts: Mapping[int, int] | None = None
    dimension: int | None = None

    def __post_init__(self) -> None:
        _ = self.level  # refuses what is none

    @property
    def level(self) -> Level | None:
        """α and correction; None without a test."""
        return None if self.alpha is None else Level(self.alpha, self.correction or "none")

    def _mine(self, column: Tensor | None) -> Tensor | None:
        return None if column is None else column[self.rows]

    @property
    def statistic(self) -> Tensor | None:
        """How much each row changed (KS distance D), [k] float64; None where nothing was scored."""
        return None if self.scores is None else self._mine(self.scores.statistic)

    @property
    def pvalue(self) -> Tensor | None:
        """The nominal p of each row, [k] float64; None without a test."""
        return None if self.scores is None else self._mine(self.scores.pvalue)

    @property
    def adjusted(self) -> Tensor | None:
        """:attr:`pvalue` after the correction over the vocabulary, [k] float64."""
        if self.scores is None or self.scores.pvalue is None or self.correction is None:
            return None
        return self._mine(self.scores.adjusted(self.correction))

    @property
    def tokens(self) -> list[str] | None:
        """The vocabulary's own string of each row, [k]; None where no tokenizer was known."""
        return None if self.names is None else [self.names.get(i, "") for i in self]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[int]:
        return iter(self.rows.tolist())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ticket):
            return NotImplemented
        return all(
            one is other if one is None or other is None else torch.equal(one, other)
            for one, other in (
                (self.rows, other.rows),
                (self.statistic, other.statistic),
                (self.pvalue, other.pvalue),
            )
        )

    def __hash__(self) -> int:
        return hash(tuple(self))

    def listed(self) -> list[int]:
        """The rows of ``tickets.csv``: those that changed, and the other chosen ones, most first.

        Rows that are not listed did not change: D = 0, p = 1.
        """
        if self.scores is None:
            return list(self)
        statistic = self.scores.statistic
        # a signed measure may be below 0; -inf: the row can never be chosen
        listed = (statistic != 0) & (statistic > -math.inf)
        listed[self.rows] = True
        order = torch.argsort(statistic, descending=True, stable=True)
        found: list[int] = order[listed[order]].tolist()
        return found

    def named(self, tokenizer: Any | None, counts: Mapping[int, int] | None = None) -> Ticket:
        """The same ticket with the tokens of its listed rows, and their counts.

        Args:
            tokenizer: any tokenizer of transformers; None leaves the rows without names.
            counts: token id → occurrences in the training text, if there is one.
        """
        from mt_lottery.report.tokens import token_strings

        if tokenizer is None:
            return dataclasses.replace(self, names=None, counts=counts)
        ids = self.listed()
        names = dict(zip(ids, token_strings(tokenizer, ids), strict=True))
        return dataclasses.replace(self, names=names, counts=counts)

    def lines(self) -> Iterator[dict[str, Any]]:
        """The lines of ``tickets.csv``, :data:`COLUMNS` each; None where there is no value."""
        mine = set(self)
        scores = self.scores or RowScores(torch.empty(0))
        for token_id in self.listed():
            yield {
                "token_id": token_id,
                "token": (self.names or {}).get(token_id, ""),
                "statistic": _finite(scores.statistic[token_id]) if self.scores else None,
                "pvalue": None if scores.pvalue is None else float(scores.pvalue[token_id]),
                "selected": token_id in mine,
                "train_frequency": None if self.counts is None else self.counts.get(token_id, 0),
            }

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write ``tickets.csv``: the :meth:`listed` rows, whole or not at all.

        Returns:
            the path.

        Raises:
            DiskError: it cannot be written.
        """
        from mt_lottery.report.plain import csv_text
        from mt_lottery.system.atomic import write_data
        from mt_lottery.system.diskfault import DiskError
        from mt_lottery.system.values import user_path

        lines = [
            [repr(v) if isinstance(v, float) else str(v).lower() if v is True or v is False else v
             for v in line.values()]
            for line in self.lines()
        ]  # fmt: skip
        # exact: the file is read back, and a token "=" or "+1" is that token
        file = user_path(path, DiskError)
        write_data(file, csv_text(COLUMNS, lines, exact=True))
        return file

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], vocab_size: int | None = None, **known: Any
    ) -> Ticket:
        """Read a ``tickets.csv``; its chosen rows in the order of the file.

        Args:
            path: the file.
            vocab_size: V, where it is known: what a token id must be below.
            known: what the file does not tell (``selector``, ``alpha``, ``correction``, ``tau``,
                ``dimension``).

        Raises:
            RecordError: missing or damaged: a column, an id, a number out of its range.
        """
        from mt_lottery.reading import read_csv_rows
        from mt_lottery.system.values import user_path

        path = user_path(path, RecordError)
        seen: dict[int, int] = {}
        lines = []
        for number, row in read_csv_rows(path, RecordError, COLUMNS):
            line = _checked(row, f"{path}: line {number}: damaged:", vocab_size)
            token_id = line["token_id"]
            if token_id in seen:
                raise RecordError(
                    f"{path}: line {number}: damaged: token id {token_id} is there "
                    f"twice (first in line {seen[token_id]})."
                )
            seen[token_id] = number
            lines.append(line)
        size = vocab_size or max(seen, default=-1) + 1
        statistic, pvalue = _column(lines, "statistic"), _column(lines, "pvalue")
        scores = None
        if statistic:
            numbers = [torch.tensor(list(statistic.values()), dtype=torch.float64)]
            if pvalue:
                listed = [pvalue.get(token_id, 1.0) for token_id in statistic]
                numbers.append(torch.tensor(listed, dtype=torch.float64))
            scores = RowScores(*numbers).among(torch.tensor(list(statistic)), size)
        names = {line["token_id"]: line["token"] for line in lines}
        counts = _column(lines, "train_frequency")
        rows = [line["token_id"] for line in lines if line["selected"]]
        return cls(
            torch.tensor(rows, dtype=torch.int64),
            known.pop("selector", "file"),
            scores=scores,
            names=names if any(names.values()) else None,
            counts=counts or None,
            **known,
        )

    def table(self, shown: int = SHOWN, title: str | None = None) -> Grid:
        """The first :meth:`listed` rows, for a reader."""
        from mt_lottery.report.numbers import number
        from mt_lottery.report.table import Column, Table
        from mt_lottery.report.tokens import shown_tokens

        lines = list(self.lines())
        among = [line["token"] for line in lines]
        names = dict(zip(self.listed(), shown_tokens(among[:shown], among), strict=False))
        columns = [
            Column("", lambda line: "•" if line["selected"] else ""),
            Column("token", lambda line: names[line["token_id"]]),
            Column("id", lambda line: str(line["token_id"])),
        ]
        untested = self.scores is not None and self.scores.pvalue is None
        if self.scores is not None:
            head = "score" if untested else "KS distance D"
            columns.append(Column(head, lambda line: number(line["statistic"], ".4f")))
            if self.scores.pvalue is not None:
                columns.append(Column("nominal p", lambda line: number(line["pvalue"], ".3g")))
        if self.counts is not None:
            columns.append(
                Column("count in training text", lambda line: str(line["train_frequency"]))
            )
        title = title or (TITLE_BY_SCORE if untested else TITLE)
        return Table(columns, lines[:shown], title, left=2).grid()

    def summary(self) -> str:
        """One line: how many rows, by which selector, α and τ."""
        text = f"Ticket: {plural(len(self), 'row')}, selector "
        text += self.selector
        if self.alpha is not None:
            text += f", α = {self.alpha:.4g} ({self.level_note()})"
        return text if self.tau is None else f"{text}, τ = {self.tau:.4f} estimated"

    def level_note(self) -> str:
        """What goes with α: the correction, or that a number of rows implied it, uncorrected."""
        adjusted = self.adjusted
        if adjusted is not None and self.alpha is not None and float(adjusted[-1]) > self.alpha:
            return IMPLIED
        return f"correction: {self.correction or 'none'}"

    def __repr__(self) -> str:
        return f"<{self.summary()}>"

    def __str__(self) -> str:
        from mt_lottery.report.printing import as_text

        return f"{as_text(self.table())}\n{self.summary()}."

    def _repr_html_(self) -> str:
        """A table of tokens, for a notebook."""
        return self.table(title=self.summary()).html()


def _finite(score: Tensor) -> float | None:
    """None for a row that can never be chosen by its score, and was by a file."""
    value = float(score)
    return None if value == -math.inf else value


def _checked(row: Mapping[str, str], where: str, vocab_size: int | None) -> dict[str, Any]:
    """A line of ``tickets.csv`` with values for text."""
    from mt_lottery.system import values

    def number(column: str, bounded: bool) -> float | None:
        if not row[column]:
            return None
        least, most = (0.0, 1.0) if bounded else (-math.inf, math.inf)
        try:
            return values.number(row[column], least, most)
        except ValueError:
            allowed = "a number from 0 to 1" if bounded else "a number"
            raise RecordError(
                f"{where} `{column}` must be {allowed}, not {row[column]!r:.60}."
            ) from None

    def whole(column: str, what: str) -> int:
        try:
            return values.whole(row[column])
        except ValueError:
            raise RecordError(f"{where} {what.format(f'{row[column]!r:.60}')}") from None

    token_id = whole("token_id", "{} is no token id.")
    if vocab_size is not None and token_id >= vocab_size:
        raise RecordError(
            f"{where} token id {token_id} is outside the vocabulary of {plural(vocab_size, 'row')}."
        )
    # without a p-value the measure is another selector's, which may have any range
    statistic = number("statistic", bounded=row["pvalue"] != "")
    pvalue = number("pvalue", bounded=True)
    try:
        chosen = values.truth(row["selected"])
    except ValueError as error:
        raise RecordError(f"{where} `selected` {error}.") from None
    counted = "`train_frequency` must be a whole number ≥ 0, not {}."
    return {
        "token_id": token_id,
        "token": row["token"],
        "statistic": statistic,
        "pvalue": pvalue,
        "selected": chosen,
        "train_frequency": whole("train_frequency", counted) if row["train_frequency"] else None,
    }


def _column(lines: Iterable[Mapping[str, Any]], name: str) -> dict[int, Any]:
    return {line["token_id"]: line[name] for line in lines if line[name] is not None}
