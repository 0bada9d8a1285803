"""An embedding table, however a user has it: a tensor, a state dict, a model, files, a hub id."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor, nn

from mt_lottery.errors import ArgumentError, ModelError
from mt_lottery.model.folder import hub
from mt_lottery.model.tables import input_table
from mt_lottery.paper.find.tables import (
    DTYPES,
    MemoryTable,
    ModelFolder,
    PatchedTable,
    Table,
    embedding_name,
    open_model,
    open_weights,
)
from mt_lottery.tuners.rows.module import TokenRows

#: What :func:`mt_lottery.find_ticket` compares: a table [V, d]; a state dict, or a model with
#: ``get_input_embeddings``; a folder, safetensors file, hub id or run directory.
TableLike: TypeAlias = Tensor | Mapping[str, Tensor] | nn.Module | str | os.PathLike[str]

#: What is downloaded of a model of the hub.
_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.tiktoken"]


def open_given(where: str) -> ModelFolder:
    """A model by its path or hub id: headers only.

    Args:
        where: a model folder, ``gemma3_270m``, a .safetensors file, or a hub id; of a model of
            the hub the files are downloaded, or taken from its cache.

    Raises:
        ModelError: no such model, or one that cannot be read in parts.
    """
    path = Path(where).expanduser()
    if path.is_file() and path.suffix == ".safetensors":
        return open_weights(path)
    if not path.exists() and (folder := _from_hub(where, path)) is not None:
        return open_model(folder, shown=where)
    return open_model(where)


def _from_hub(where: str, path: Path) -> Path | None:
    """The folder of a hub id; None for a path, or for one word that is not in the cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        folder = hub.cached(where, None)
    except HFValidationError:
        return None
    if folder is not None:
        return folder
    if where.count("/") != 1 or path.parent.is_dir():
        return None
    found = hub.find(where, None)
    if found.folder is not None:
        return found.folder
    try:
        return Path(snapshot_download(where, revision=found.commit, allow_patterns=_FILES))
    except Exception as error:  # whose classes differ between huggingface_hub's versions
        raise ModelError(f"{where} cannot be downloaded from the hub: {error}") from error


def table_of(given: Any, name: str) -> Table:
    """The input embedding table of something in memory; nothing is copied.

    Args:
        given: a table [V, d], a state dict or a model, on any device.
        name: what messages call it.

    Raises:
        ArgumentError: nothing of these.
        ModelError: its table cannot be found, or its values cannot be compared.
    """
    if isinstance(given, Tensor):
        return _in_memory(given, name)
    if isinstance(given, Mapping):
        tensors = {str(k): v for k, v in given.items() if isinstance(v, Tensor)}
        shapes = {k: tuple(v.shape) for k, v in tensors.items()}
        return _in_memory(tensors[embedding_name(shapes, name)], name)
    model = given
    while not hasattr(model, "get_input_embeddings") and hasattr(model, "module"):
        model = model.module  # DataParallel, deepspeed
    if not hasattr(model, "get_input_embeddings"):
        raise ArgumentError(
            f"{name}: {type(given).__name__}; allowed: a model with get_input_embeddings(), a "
            "state dict, a tensor [V, d], a model folder or .safetensors file, a hub id, or a run "
            "directory."
        )
    embedding = model.get_input_embeddings()
    if isinstance(embedding, TokenRows):
        base = _in_memory(embedding.base.weight, name)
        return PatchedTable(base, embedding.token_ids, embedding.rows.detach())
    return _in_memory(input_table(model), name)


def _in_memory(table: Any, name: str) -> MemoryTable:
    if hasattr(table, "ds_id") or hasattr(table, "full_tensor"):
        raise ModelError(f"{name}: its embedding table is split over processes; give it whole.")
    if table.ndim != 2 or table.dtype not in DTYPES.values() or table.is_meta:
        kind = "without values (device 'meta')" if table.is_meta else f"of {table.dtype}"
        raise ModelError(
            f"{name}: its embedding table is {[*table.shape]}, {kind}; allowed: [V, d] of float32, "
            "float16, bfloat16 or float64."
        )
    return MemoryTable(table)
