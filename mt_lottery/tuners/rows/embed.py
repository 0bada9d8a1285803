"""``embed``: the whole embedding table (the paper's embedding tuning, and its probe)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mt_lottery.errors import TuningError
from mt_lottery.registry import register_tuner
from mt_lottery.tuners.base import TuningContext
from mt_lottery.tuners.rows.base import RowsConfig, RowTuner


def probe_rows(context: TuningContext, scope: str) -> Tensor:
    """Rows whose training is the training of the whole table.

    Without weight decay a row whose token never occurs gets no gradient, and
    Adam leaves it alone; so the rows that occur are all there is to train, at a
    fraction of the memory.  With ``scope=tied`` the softmax moves every row.

    Returns:
        token ids, ascending, [k].
    """
    return torch.arange(context.table.shape[0]) if scope == "tied" else context.seen


@register_tuner("embed", dataclass=RowsConfig)
class EmbedTuner(RowTuner):
    """The embedding-tuned probe itself, trained with the ``train`` section's settings."""

    trains = False
    chooses_rows = False
    probe_section = "train"

    @property
    def probe(self) -> str | None:
        return "embed"

    @property
    def search_space(self) -> dict[str, list[Any]]:
        return {"train.lr": [1e-3, 3e-3, 1e-2], "train.epochs": [2, 4]}

    def rows(self, context: TuningContext) -> Tensor:
        if context.probe is None:
            raise TuningError("embed needs an embedding-tuned probe.")
        return context.probe.token_ids

    def values(self, context: TuningContext, rows: Tensor) -> Tensor:
        assert context.probe is not None
        return context.probe.values

    def trainable_parameters(self, context: TuningContext) -> int:
        return int(context.table.numel())

    def count(self, model: Any) -> int:
        return int(model.get_input_embeddings().weight.numel())
