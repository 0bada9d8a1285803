"""The parts of ``record.json``: its objects, each a dataclass that says what its fields mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mt_lottery.errors import RecordError, plural

if TYPE_CHECKING:
    from mt_lottery.ticket.ticket import Ticket


@dataclass
class ModelRecord:
    """The original model.

    Attributes:
        name: the hub id, or the name of the folder or file; ``gemma3_270m`` for that package's.
        sha256: of the weights, of a local model.
        revision: the commit, of a model of the hub.
        parameters: of the whole model.
        vocab_size: rows of the embedding table, V.
        embedding_dim: numbers of a row, d.
        tied_embeddings: whether the output head is the embedding table.
    """

    name: str
    sha256: str | None
    revision: str | None
    parameters: int
    vocab_size: int
    embedding_dim: int
    tied_embeddings: bool


@dataclass
class TicketRecord:
    """The rows that were tuned or copied.

    Attributes:
        count: how many, k.
        alpha: the level that was given, or the nominal p of the last of ``count`` rows; None where
            no test chose them.
        correction: of p over the vocabulary: ``none``, ``bonferroni`` or ``bh``; None as ``alpha``.
        tau: the estimated τ(α), the KS distance from which a row is chosen; None as ``alpha``.
        selector: the measure by which rows were ranked.
        scope: ``input``, where the rows are looked up, or ``tied``, in the output head too.
    """

    count: int
    alpha: float | None
    correction: str | None
    tau: float | None
    selector: str
    scope: str

    @classmethod
    def of(cls, ticket: Ticket, scope: str) -> TicketRecord:
        """What a record says of a ticket."""
        how = (ticket.alpha, ticket.correction, ticket.tau, ticket.selector)
        return cls(len(ticket), *how, scope)

    def ticket(self, path: Path, vocab_size: int | None = None) -> Ticket:
        """The ticket again, with the rows of its ``tickets.csv``.

        Args:
            path: the file.
            vocab_size: V.

        Raises:
            RecordError: missing or damaged, of another number of rows, or rows that changed less
                than others where D chose them.
        """
        from mt_lottery.ticket.ticket import Ticket

        known = {k: getattr(self, k) for k in ("alpha", "correction", "tau", "selector")}
        found = Ticket.load(path, vocab_size, **known)
        if len(found) != self.count:
            raise RecordError(
                f"{path}: damaged: {plural(len(found), 'selected row')}, but the run's record says "
                f"{self.count}."
            )
        if self.selector == "ks" and (last := _changed_more(found)) is not None:
            raise RecordError(
                f"{path}: damaged: token id {last} is not selected, but has a larger D than a row "
                "that is; the ticket is the rows of largest D."
            )
        return found


def _changed_more(ticket: Ticket) -> int | None:
    """The most changed row outside a ticket, if it changed more than one in it."""
    if ticket.scores is None or not len(ticket):
        return None
    outside = ticket.scores.statistic.clone()
    least = float(outside[ticket.rows].min())
    outside[ticket.rows] = -1.0
    return int(outside.argmax()) if float(outside.max()) > least else None


@dataclass
class SplitRecord:
    """Text that was used.

    Attributes:
        name: of the corpus.
        pairs: sentence pairs.
        sha256: of all of them, in their order.
        dropped: training pairs left out because they are longer than ``data.max_length``.
        records: in the corpus's files, where it is filtered or holds several directions; else None.
        available: those of the wanted direction; None as ``records``.
        filters: reason → pairs left out of ``available``; None as ``records``.
    """

    name: str
    pairs: int
    sha256: str
    dropped: int = 0
    records: int | None = None
    available: int | None = None
    filters: dict[str, int] | None = None


@dataclass
class DataRecord:
    """The text and the prompt.

    Attributes:
        train: None where no training text was read.
        test: what the scores are of.
        template: of the prompt.
        overlap: test sources that are in the training text too.
    """

    train: SplitRecord | None
    test: SplitRecord
    template: str
    overlap: int = 0


@dataclass
class GenerationRecord:
    """How the outputs ended; shares are in [0, 1].

    Attributes:
        stopped: share of outputs that the model ended itself.
        empty: share of outputs with nothing on the first line.
        truncated: share of outputs that ``max_new_tokens`` cut off.
        off_target: share of first lines that are not in the target language; None where the
            language cannot be told.
        length_ratio: characters of all outputs over those of all references; None where all
            of those are empty.
        beam_size: 1 for greedy search.
        max_new_tokens: the limit on an output, in tokens.
    """

    stopped: float
    empty: float
    truncated: float
    off_target: float | None
    length_ratio: float | None
    beam_size: int
    max_new_tokens: int


@dataclass
class CostRecord:
    """What the run took; seconds are of the clock.

    Attributes:
        probe_seconds: choosing the rows, before any was tuned: the embedding-tuned probe, or the
            gradients of ``selector=gradient``.
        train_seconds: training, with its checkpoints and dev losses, and without the translations
            that are shown meanwhile.
        train_steps: optimizer steps.
        train_tokens_per_second: of all processes, padding not counted.
        decode_seconds: translating the test set.
        peak_memory_bytes: of the GPU, or of the process where there is none.
        adapter_bytes: of the files that were learnt.
    """

    probe_seconds: float = 0.0
    train_seconds: float = 0.0
    train_steps: int = 0
    train_tokens_per_second: float = 0.0
    decode_seconds: float = 0.0
    peak_memory_bytes: int = 0
    adapter_bytes: int = 0
