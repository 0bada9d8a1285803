"""The gradients of vocabulary rows over a few training pairs, without any training.

One pair at a time goes forward and back through the original model.  The rows of the sample's
tokens are put beside the table (:mod:`mt_lottery.tuners.rows.module`), so that no gradient of the
[V, d] table is made, and of a tied table that of the input alone.  A row's gradient is then the sum
of those at the positions that hold its token.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from mt_lottery.config import TrainConfig
from mt_lottery.data.prompts.batches import Example
from mt_lottery.errors import TrainingError
from mt_lottery.model.attention import of_any_shape
from mt_lottery.model.sharding import is_sharded
from mt_lottery.report.progress import progress_bar
from mt_lottery.system import parallel
from mt_lottery.training.objective import Objective
from mt_lottery.tuners.declared import own_randomness
from mt_lottery.tuners.rows.module import attach, detach


def sample(examples: Sequence[Example], pairs: int, seed: int) -> list[Example]:
    """A sample of the training pairs, in their order; all of them where there are no more.

    Args:
        examples: the training pairs.
        pairs: how many.
        seed: of the draw.
    """
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))
    return [examples[i] for i in sorted(order[:pairs].tolist())]


def token_ids(examples: Sequence[Example]) -> Tensor:
    """Every token id of prompts and targets, ascending, [k]."""
    ids = {i for each in examples for i in (*each.prompt_ids, *each.target_ids)}
    return torch.tensor(sorted(ids), dtype=torch.int64)


def gradient_norms(
    model: Any,
    config: TrainConfig,
    examples: Sequence[Example],
    rows: Tensor,
    *,
    pad_id: int,
    seed: int,
    tied: bool,
) -> Tensor:
    """Sum over pairs of the L2 norm of each row's gradient.

    The loss of a pair is the mean over its labels, by the criterion of ``config``, without
    dropout: each pair counts the same, whatever its length, its batch and its place.

    Args:
        model: the original causal LM; afterwards it is as it was.
        config: the ``train`` section; its criterion is used.
        examples: the pairs; of several processes each does a share.
        rows: token ids, [k].
        pad_id: token id that fills up batches.
        seed: of whatever draws random numbers; the states are put back.
        tied: the output head's share of a tied table's gradient counts too.

    Returns:
        [k] float64, on the CPU; the same for any number of processes.

    Raises:
        TrainingError: no pair, or a gradient that is not finite.
        ModelError: a model whose logits are not understood.
    """
    with _rows_in(model, rows, tied, seed) as trained:
        objective = Objective(model, config, examples, pad_id=pad_id, seed=seed)

        def norms(example: Example) -> Tensor:
            batch = objective.to_device(objective.collate([example]))
            with of_any_shape():
                loss = objective.sum_loss(batch) / len(example.target_ids)
                (gradient,) = torch.autograd.grad(loss, [trained])
            found: Tensor = gradient.norm(dim=1).cpu()
            if not bool(found.isfinite().all()):
                raise TrainingError(
                    f"The gradient of training pair {example.index} (0-based, in the order of the "
                    f"corpus) is not finite in {model.dtype}: model.dtype=float32, or bfloat16 "
                    "where it is float16, usually helps."
                )
            return found

        def share(mine: Sequence[Example]) -> list[Tensor]:
            # of a divided model every process computes something, or the others wait for it
            return [norms(each) for each in mine or filler][: len(mine)]

        total = torch.zeros(len(rows), dtype=torch.float64)
        filler = examples[:1] if is_sharded(model) else []
        at_once = parallel.processes()  # [pairs, k] of all pairs may take more memory than a model
        bar = progress_bar(len(examples), "Gradients", unit="pair") if parallel.is_main() else None
        for start in range(0, len(examples), at_once):
            some = examples[start : start + at_once]
            for each in parallel.spread(some, share):
                total += each
            if bar is not None:
                bar.update(len(some))
        if bar is not None:
            bar.close()
        return total


@contextlib.contextmanager
def _rows_in(model: Any, rows: Tensor, tied: bool, seed: int) -> Iterator[Tensor]:
    """The rows as a parameter of the model; afterwards it and all random states are as before."""
    modes = [(module, module.training) for module in model.modules()]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with own_randomness(seed):
        try:
            yield attach(model, rows, tied=tied).rows
        finally:
            detach(model)
            for module, mode in modes:
                module.training = mode
            for parameter in trained:
                parameter.requires_grad_(True)
