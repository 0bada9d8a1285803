"""What a certificate is worth: of the certified predictions, how many change after all?

The theorem compares the embed-tuned model with a model in which only the
ticket's rows were tuned, and says that certified predictions are the same in
both.  Three such models are tried:

- *transfer*: the ticket's rows copied from the embed-tuned model to the original;
- *partial*: the ticket's rows trained from the original model (a given run);
- *permuted*: the ticket's rows as in the embed-tuned model, the coordinates of every other
  row of it in random order.  Each row has the KS distance 0 from the embed-tuned
  model's, less than the theorem asks for, so the certificate is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mt_lottery.scoring.significance import RESAMPLES, SEED, draw_counts, percentile_interval
from mt_lottery.ticket.ks import ks_test
from mt_lottery.tuners.base import Probe

MODELS = ("transfer", "partial", "permuted")
TICKET_SIZES = (18, 100, 400)  # for α to check where none are given
_CHUNK = 4096  # rows permuted at a time


@dataclass(frozen=True)
class Check:
    """A model in which only the ticket's rows are tuned, against the embed-tuned one.

    Attributes:
        alpha: of the ticket and of the certificate.
        model: ``transfer``, ``partial`` or ``permuted``.
        rows: ticket rows: copied, trained, or left as they are.
        run: the run, for ``partial``.
        largest_distance: KS distance from the embed-tuned rows, the largest of those rows
            outside the ticket that occur at the positions; None where it was not measured.
        accuracy: share of positions at which this model predicts the reference.
        certified: certified positions.
        certified_sentences: sentences that have one.
        changed: certified positions at which this model predicts another token.
        rate: ``changed`` / ``certified``; None without certified positions.
        ci95: interval of the rate, sentences drawn with replacement; None where all or none
            change, of which resampling says nothing.
        others: positions that are not certified.
        others_changed: those at which the prediction differs from the embed-tuned model's.
    """

    alpha: float
    model: str
    rows: int
    run: str | None
    largest_distance: float | None
    accuracy: float
    certified: int
    certified_sentences: int
    changed: int
    rate: float | None
    ci95: tuple[float, float] | None
    others: int
    others_changed: int

    @property
    def others_rate(self) -> float | None:
        """Share of the positions without a certificate whose prediction changes."""
        return self.others_changed / self.others if self.others else None


def compare(
    alpha: float,
    model: str,
    certified: Tensor,
    reference: Tensor,
    predicted: Tensor,
    targets: Tensor,
    sentence: Tensor,
    *,
    rows: int,
    run: str | None = None,
    largest_distance: float | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Check:
    """Count the predictions that differ from the embed-tuned model's.

    Args:
        alpha: of the certificate.
        model: one of :data:`MODELS`.
        certified: [N] bool.
        reference: [N] predictions of the embed-tuned model.
        predicted: [N] predictions of the model that is checked.
        targets: [N] reference tokens.
        sentence: [N] sentence of each position.
        rows: ticket rows.
        run: the run, for ``partial``.
        largest_distance: see :class:`Check`.
        resamples: of the sentences.
        seed: of the resamples.
    """
    different = reference != predicted
    changed = certified & different
    rate, ci95 = violation_rate(certified, changed, sentence, resamples=resamples, seed=seed)
    return Check(
        alpha=alpha,
        model=model,
        rows=rows,
        run=run,
        largest_distance=largest_distance,
        accuracy=float((predicted == targets).to(torch.float64).mean()),
        certified=int(certified.sum()),
        certified_sentences=len(torch.unique(sentence[certified])),
        changed=int(changed.sum()),
        rate=rate,
        ci95=ci95,
        others=int((~certified).sum()),
        others_changed=int((~certified & different).sum()),
    )


def violation_rate(
    certified: Tensor,
    changed: Tensor,
    sentence: Tensor,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[float | None, tuple[float, float] | None]:
    """Share of certified positions that changed, and its 95% interval clustered by sentence.

    The positions of a sentence stand or fall together, so sentences are drawn with
    replacement, each with all its positions.

    Args:
        certified: [N] bool.
        changed: [N] bool, of the certified ones.
        sentence: [N] numbers from 0.
        resamples: how many.
        seed: of the draws.

    Returns:
        rate (None without certified positions) and interval (None without them, and where every
        resample says the same: none or all of them changed, or they are of a single sentence).
    """
    total, hits = int(certified.sum()), int(changed.sum())
    if total == 0:
        return None, None
    if hits in (0, total):
        return hits / total, None
    sentences = int(sentence.max()) + 1
    sums = np.stack(
        [
            np.bincount(sentence[mask].numpy(), minlength=sentences)
            for mask in (changed.cpu(), certified.cpu())
        ],
        axis=1,
    )
    drawn = draw_counts(sentences, resamples, seed) @ sums.astype(np.float64)
    drawn = drawn[drawn[:, 1] > 0]  # a resample without a certified position has no rate
    rates = drawn[:, 0] / drawn[:, 1]
    return hits / total, None if np.ptp(rates) == 0 else percentile_interval(rates)


def alphas_to_check(
    statistic: Tensor, pvalue: Tensor, always: Sequence[float], sizes: Sequence[int] = TICKET_SIZES
) -> list[float]:
    """α of a handful of different tickets: the given runs', the paper's 0.05, some numbers of rows.

    A forward pass is needed for each, so that not every α is tried.

    Args:
        statistic: [V] KS distances.
        pvalue: [V] (corrected) p-values.
        always: α to try in any case.
        sizes: numbers of rows; those of rows that have changed.

    Returns:
        ascending; of α with the same ticket only one, but for ``always``.
    """
    changed = int((statistic > 0).sum())
    ranked = torch.argsort(statistic, descending=True, stable=True)
    by_size = [float(pvalue[ranked[k - 1]]) for k in sizes if k <= changed]
    found: dict[int, float] = {}
    for alpha in [*always, 0.05, *by_size]:
        found.setdefault(int((pvalue <= alpha).sum()), float(alpha))
    return sorted({*found.values(), *always})


def transferred(ticket: Tensor, probe: Probe) -> tuple[Tensor, Tensor]:
    """Rows of partial transfer: token ids [k] and probe values [k, d] of the ticket.

    Ticket rows that the probe never trained are in it as they are in the original, and left out.
    """
    mine = torch.isin(probe.token_ids, ticket)
    return probe.token_ids[mine], probe.values[mine]


def permuted(
    table: Tensor, probe: Probe, ticket: Tensor, token_ids: Tensor, seed: int = 0
) -> tuple[Tensor, float]:
    """Embed-tuned rows, the coordinates of those outside the ticket in random order.

    Args:
        table: the original embedding table, [V, d].
        probe: the embed-tuned rows.
        ticket: token ids of the rows that stay as they are.
        token_ids: the rows wanted, ascending, [k]; a row's order does not depend on the ticket.
        seed: of the orders, one a row.

    Returns:
        float32 values [k, d], and the largest KS distance between a row and its permutation.
    """
    generator = torch.Generator().manual_seed(seed)
    stays = torch.isin(token_ids, ticket)
    values = torch.empty(len(token_ids), table.shape[1], dtype=torch.float32)
    largest = 0.0
    for first in range(0, len(token_ids), _CHUNK):
        part = slice(first, first + _CHUNK)
        rows = probe.over(table, token_ids[part])
        order = torch.rand(rows.shape, generator=generator).argsort(dim=1)
        mixed = torch.where(stays[part][:, None], rows, rows.gather(1, order))
        values[part] = mixed
        largest = max(largest, float(ks_test(rows, mixed).statistic.max()))
    return values, largest
