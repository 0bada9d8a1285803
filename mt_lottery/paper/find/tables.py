"""Parameters of a model folder, read in parts from safetensors; no model is loaded."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mt_lottery.errors import ModelError, nearest_file
from mt_lottery.model.folder import checkpoint
from mt_lottery.model.folder.shape import shape_of
from mt_lottery.model.gemma3.gemma3_270m import folder_named

DEFAULT_MODEL = "gemma3_270m"
PART = 16 << 20  # bytes of one tensor that are read at a time

#: What a tensor may be stored in, by safetensors' names.
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


#: The last names of input embedding tables among the tensors of a model.
_EMBEDDING = re.compile(
    r"(?:^|\.)(?:embed_tokens|wte|word_embeddings|embed_in|tok_embeddings|embeddings)"
    r"(?:\.base_layer|\.base)?\.weight$"
)
_HEAD = re.compile(r"(?:^|\.)(?:lm_head|embed_out)\.weight$")


def embedding_name(shapes: Mapping[str, tuple[int, ...]], shown: str) -> str:
    """Which tensor of a state dict is the input embedding table, by its name.

    Args:
        shapes: tensor → its shape.
        shown: what messages call the state dict.

    Raises:
        ModelError: none, or more than one that could be.
    """
    matrices = [name for name, shape in shapes.items() if len(shape) == 2]
    found = [name for name in matrices if _EMBEDDING.search(name)]
    found = found or [name for name in matrices if _HEAD.search(name)]  # a tied model's
    if len(found) != 1:
        listed = ", ".join(found or matrices[:3]) or "none"
        raise ModelError(
            f"{shown}: which of its tensors is the input embedding table cannot be told from their "
            f"names ({listed}). Give that tensor itself, or a model folder with its config.json."
        )
    return found[0]


class Table(Protocol):
    """An embedding table [V, d] that is read in parts."""

    @property
    def shape(self) -> tuple[int, int]:
        """V and d."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Of what is read."""
        ...

    def read(self, start: int, stop: int) -> Tensor:
        """Rows ``start`` to ``stop``, [stop − start, d]; good until the next call."""
        ...


def row_parts(rows: int, row_bytes: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows that hold about :data:`PART` bytes each."""
    size = max(1, PART // max(row_bytes, 1))
    for start in range(0, rows, size):
        yield start, min(rows, start + size)


@dataclass
class ModelFolder:
    """The tensors of a transformers folder, or of one safetensors file.

    Attributes:
        path: the folder or file.
        shown: what messages call it.
        files: tensor → the file that holds it.
        shapes: tensor → its shape.
        stored: tensor → safetensors' name of its dtype.
    """

    path: Path
    shown: str
    files: dict[str, Path] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)

    @cached_property
    def model(self) -> Any:
        """The model without weights: its architecture says which tensor is which."""
        return shape_of(str(self.path))

    def dtype(self, name: str) -> torch.dtype:
        """What a tensor is stored in.

        Raises:
            ModelError: integers, float8 or packed weights, whose values cannot be compared.
        """
        kind = self.stored[name]
        if kind not in DTYPES:
            raise ModelError(
                f"{self.shown}: the tensor {name} is stored as {kind}; allowed: "
                "float32, float16, bfloat16 and float64."
            )
        return DTYPES[kind]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """A tensor, or its entries ``start`` to ``stop`` along the first dimension.

        The file is opened anew each time: pages of a mapped file count as memory until it
        is closed.

        Raises:
            ModelError: its dtype cannot be compared, or the file is damaged.
        """
        from safetensors import SafetensorError, safe_open

        self.dtype(name)
        try:
            with safe_open(str(self.files[name]), framework="pt") as file:
                if not self.shapes[name]:
                    return file.get_tensor(name)  # type: ignore[no-any-return]
                end = self.shapes[name][0] if stop is None else stop
                return file.get_slice(name)[start:end]  # type: ignore[no-any-return]
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{self.files[name]}: {name} cannot be read: {error}.") from error

    @cached_property
    def tied(self) -> bool:
        """Whether the output head is the input table: the files hold no separate head."""
        if self.path.is_file():
            return not any(_HEAD.search(name) for name in self.shapes)
        return bool(getattr(self.model.config.get_text_config(), "tie_word_embeddings", False))

    @cached_property
    def embedding(self) -> str:
        """Name of the input embedding table among the files' tensors.

        Raises:
            ModelError: it is not there.
        """
        if self.path.is_file():
            return embedding_name(self.shapes, self.shown)
        found = self._find(self.model.get_input_embeddings())
        if found is None and self.tied:  # some tied models are saved under the head's name
            found = self.head
        if found is None:
            listed = [n for n, shape in self.shapes.items() if len(shape) == 2 and "embed" in n]
            raise ModelError(
                f"{self.shown}: its files hold no input embedding table of "
                f"{type(self.model).__name__} (embedding tensors: {', '.join(listed) or 'none'})."
            )
        return found

    @cached_property
    def head(self) -> str | None:
        """Name of the output head among the files' tensors; None where it has no separate one."""
        return self._find(self.model.get_output_embeddings())

    def _find(self, module: nn.Module | None) -> str | None:
        """The files' name of a module's weight.

        Files may lack the prefix of the body ("wte.weight" of GPT-2), or have one more (a
        model for text taken out of one for images too).
        """
        if module is None:
            return None
        named = self.model.named_modules(remove_duplicate=False)
        name = next(f"{n}.weight" for n, m in named if m is module)
        prefix = f"{self.model.base_model_prefix}."
        for candidate in (name, name.removeprefix(prefix), prefix + name):
            if candidate in self.shapes:
                return candidate
        weight: Any = module.weight
        ending = ".".join(name.split(".")[-2:])
        like = [
            n for n, shape in self.shapes.items()
            if f".{n}".endswith(f".{ending}") and shape == tuple(weight.shape)
        ]  # fmt: skip
        return like[0] if len(like) == 1 else None

    def table(self, dtype: torch.dtype | None = None) -> StoredTable:
        """The input embedding table.

        Args:
            dtype: what its values are rounded to, as a loaded model's are; None: as stored.

        Raises:
            ModelError: there is none that can be compared.
        """
        return StoredTable(self, self.embedding, dtype)


class StoredTable:
    """A matrix of a model folder, [V, d]."""

    def __init__(self, folder: ModelFolder, name: str, dtype: torch.dtype | None = None) -> None:
        shape = folder.shapes[name]
        if len(shape) != 2:
            raise ModelError(f"{folder.shown}: {name} has the shape {[*shape]}, not [V, d].")
        self.folder, self.name = folder, name
        self.shape = (shape[0], shape[1])
        self.dtype = dtype or folder.dtype(name)

    def read(self, start: int, stop: int) -> Tensor:
        """See :class:`Table`."""
        return self.folder.read(self.name, start, stop).to(self.dtype)


class MemoryTable:
    """A table of a loaded model, [V, d]."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight.detach()
        self.shape = (int(weight.shape[0]), int(weight.shape[1]))
        self.dtype = weight.dtype

    def read(self, start: int, stop: int) -> Tensor:
        """See :class:`Table`."""
        return self.weight[start:stop].cpu()


class PatchedTable:
    """A table some of whose rows are others: what a run of few rows tuned.

    Args:
        base: the original table, [V, d].
        token_ids: rows that differ, [k].
        values: of these rows, [k, d] float32.
    """

    def __init__(self, base: Table, token_ids: Tensor, values: Tensor) -> None:
        if values.shape[1] != base.shape[1] or int(token_ids.max()) >= base.shape[0]:
            raise ModelError(
                f"Rows of {values.shape[1]} coordinates, ids up to {int(token_ids.max())}, for a "
                f"table of {base.shape[0]} rows of {base.shape[1]}: of another model."
            )
        order = torch.argsort(token_ids)
        self.base, self.shape = base, base.shape
        self.token_ids, self.values = token_ids[order].cpu(), values[order].cpu().float()
        # float64 only where the base is: float32 holds what float16 and bfloat16 hold
        self.dtype = torch.promote_types(base.dtype, torch.float32)

    def read(self, start: int, stop: int) -> Tensor:
        """See :class:`Table`."""
        rows = self.base.read(start, stop).to(self.dtype, copy=True)
        first, last = torch.searchsorted(self.token_ids, torch.tensor([start, stop])).tolist()
        rows[self.token_ids[first:last] - start] = self.values[first:last].to(self.dtype)
        return rows


def read_rows(table: Table, token_ids: Tensor) -> Tensor:
    """Single rows of a table, [k, d], in the order of ``token_ids`` [k]."""
    rows = torch.empty(len(token_ids), table.shape[1], dtype=table.dtype)
    for place, token_id in enumerate(token_ids.tolist()):
        rows[place] = table.read(token_id, token_id + 1)[0]
    return rows


def all_finite(values: Tensor) -> bool:
    """Whether there is no NaN and no infinity; without a copy where there is none."""
    # one of them makes the sum one; large values may, too
    return bool(values.sum().isfinite()) or bool(values.isfinite().all())


def not_finite(values: Tensor) -> str:
    """What a message says of values that are not all finite."""
    return "a NaN" if bool(values.isnan().any()) else "an infinity"


def open_model(where: str | Path, shown: str | None = None) -> ModelFolder:
    """Open a model folder: headers only.

    Args:
        where: a folder with ``config.json`` and safetensors, or ``gemma3_270m`` (the default
            model, which is in the cache).
        shown: what messages call it; ``where`` if None.

    Raises:
        ModelError: no such folder, GGUF, pickled weights, damaged files.
    """
    path = folder_named(where)
    if not path.exists():
        there = path.parent if path.parent.is_dir() else Path()
        hint = nearest_file(path.name, [p.name for p in there.iterdir() if p.is_dir()])
        raise ModelError(
            f"{where}: no such folder.{hint} Allowed: a model folder (config.json, *.safetensors) "
            f"on this machine, or {DEFAULT_MODEL}."
        )
    gguf = path if path.is_file() else checkpoint.find_gguf(path)
    if gguf is not None:
        if gguf.suffix != ".gguf":
            raise ModelError(f"{where} is a file; allowed: a model folder, or {DEFAULT_MODEL}.")
        raise ModelError(
            f"{gguf}: GGUF weights are packed in blocks, so rows cannot be read one by one; "
            "allowed: a folder with config.json and *.safetensors, such as the one that the GGUF "
            f"file was made from (or {DEFAULT_MODEL}, which is converted once)."
        )
    return _opened(ModelFolder(path, shown or str(where)), checkpoint.weight_files(path))


def open_weights(file: Path) -> ModelFolder:
    """Open one safetensors file, whose tensors' names alone say what they are.

    Raises:
        ModelError: damaged.
    """
    return _opened(ModelFolder(file, str(file)), [file])


def _opened(made: ModelFolder, files: list[Path]) -> ModelFolder:
    checkpoint.check_weights(files)
    from safetensors import safe_open

    for file in files:
        with safe_open(str(file), framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 (no mapping)
                part = opened.get_slice(name)
                made.files[name] = file
                made.shapes[name] = tuple(int(n) for n in part.get_shape())
                made.stored[name] = str(part.get_dtype())
    return made


def row_bytes(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    """Bytes of one entry along the first dimension."""
    return math.prod(shape[1:]) * dtype.itemsize
