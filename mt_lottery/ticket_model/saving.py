"""The rows of a model, gathered from all processes, as an adapter that plain PEFT loads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mt_lottery.errors import ModelError, RecordError
from mt_lottery.system.values import user_path
from mt_lottery.tuners.rows.adapter_file import PREFIX, README_FILE, module_name, save_rows


def whole(rows: Any) -> Tensor:
    """A parameter that several processes may share out, as one tensor; every process must ask."""
    found: Tensor
    if hasattr(rows, "ds_id"):  # ZeRO-3
        import deepspeed

        with deepspeed.zero.GatheredParameters([rows]):
            found = rows.detach().clone()
    else:
        found = (rows.full_tensor() if hasattr(rows, "full_tensor") else rows).detach()  # FSDP 2
    return found


def save_ticket(
    model: Any, where: str | os.PathLike[str], state: Mapping[str, Tensor], *, write: bool
) -> None:
    """Write what ``TicketModel.save_pretrained`` is to write.

    Args:
        model: a ``TicketModel``; every process must ask.
        where: the folder.
        state: of the whole model, gathered; or empty.
        write: this process writes.

    Raises:
        ModelError: this process has only a part of the rows, and ``state`` has none.
        RecordError: ``where`` is a file.
    """
    base, layers, config = model.get_base_model(), model.base_model, model.active_peft_config
    name = f"{PREFIX}{module_name(base, base.get_input_embeddings())}.rows"
    values = whole(state.get(name, layers.embedding.rows))
    if not write:
        return
    if values.shape != (len(config.rows), layers.head_row.shape[1]):
        raise ModelError(
            f"The rows are split over processes ({[*values.shape]} values here): give "
            "state_dict=…, the gathered one of the whole model (accelerator.get_state_dict)."
        )
    folder = user_path(where, RecordError)
    if folder.is_file():
        raise RecordError(f"{folder}: a file; a folder is needed for an adapter.")
    save_rows(
        folder,
        base,
        model.rows,
        values,
        base_name=str(config.base_model_name_or_path or ""),
        input_only=config.scope == "input" and layers.tied,
        head_row=layers.head_row,
        readme=not (folder / README_FILE).exists(),
    )
