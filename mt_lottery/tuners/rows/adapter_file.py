"""Vocabulary rows on disk, in PEFT's layout.

Where the head has a separate table, or the rows belong to both, the folder is
a plain ``TrainableTokens`` adapter.  For a tied model whose input table alone
changes, such a folder would change the output head too when plain PEFT loads
it.  There the rows are written as a LoRA adapter of rank 1 whose update is zero
and whose ``trainable_token_indices`` name the input rows, and row 0 of the head,
unchanged: unequal indices make PEFT keep the two tables apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from mt_lottery.errors import ModelError, RecordError, plural
from mt_lottery.model.tables import input_table, is_tied, output_table
from mt_lottery.reading import read_json
from mt_lottery.system.atomic import write_bytes, write_text
from mt_lottery.tuners.adapters.tensors import read_tensors

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
README_FILE = "README.md"
PREFIX = "base_model.model."
DELTA = ".trainable_tokens_delta"

README = """# Vocabulary rows of {base}

{count} of the {where}, trained (or copied) by mt-lottery.

    from peft import PeftModel
    model = PeftModel.from_pretrained(base_model, "{folder}")

{note}"""
NOTE_INPUT_ONLY = """The base model ties its input and output embeddings; these rows change the
input table only. That is why this folder is a LoRA adapter of rank 1 with a zero update on
`{target}` and `trainable_token_indices` for the input table (and row 0 of the head,
unchanged): plain PEFT would otherwise change the head as well. Load it with PEFT as
above; do **not** call `merge_and_unload()` on it (PEFT would tie the tables again, in
silence). `mt-ticket merge RUN OUT` writes a plain model.
"""


def module_name(model: nn.Module, wanted: nn.Module) -> str:
    """Dotted name of a sub-module.

    Raises:
        ModelError: ``wanted`` is no part of ``model``.
    """
    for name, module in model.named_modules():
        if module is wanted:
            return str(name)
    raise ModelError(f"{type(wanted).__name__} is no part of {type(model).__name__}.")


def _a_linear_layer(model: Any) -> tuple[str, int, int, bool]:
    """The body's first linear layer (a carrier for PEFT): name, in, out, stored transposed."""
    head = module_name(model, model.get_output_embeddings())
    for name, module in model.named_modules():
        inside_head = f"{name}.".startswith(f"{head}.")
        if inside_head:
            continue
        if isinstance(module, nn.Linear):
            return name, int(module.in_features), int(module.out_features), False
        if type(module).__name__ == "Conv1D":  # GPT-2 keeps its weights transposed
            weight = module.weight
            inputs, outputs = getattr(weight, "ds_shape", weight.shape)  # ZeRO-3 keeps parts of it
            return name, int(inputs), int(outputs), True
    raise ModelError(f"{type(model).__name__} has no linear layer that could carry the adapter.")


def save_rows(
    folder: Path,
    model: Any,
    token_ids: Tensor,
    values: Tensor,
    *,
    base_name: str,
    input_only: bool,
    head_row: Tensor | None = None,
    readme: bool = True,
) -> None:
    """Write rows as a PEFT adapter, atomically.

    Args:
        folder: where to; made if need be.
        model: the model whose input embedding holds them (for the module names).
        token_ids: [k].
        values: [k, d]; written as float32.
        base_name: folder or hub id of the original model.
        input_only: the model is tied and only its input table changes.
        head_row: row 0 of the output head, [1, d], where ``model`` has only parts of it (ZeRO-3,
            FSDP).
        readme: write a README.md too.
    """
    name = module_name(model, model.get_input_embeddings())
    short = name.rpartition(".")[2]
    ids = [int(i) for i in token_ids]
    rows = values.detach().to("cpu", torch.float32).contiguous()
    head = module_name(model, model.get_output_embeddings())
    common = {"base_model_name_or_path": base_name, "inference_mode": True, "task_type": None}
    note = ""
    if input_only:
        target, inputs, outputs, transposed = _a_linear_layer(model)
        row = model.get_output_embeddings().weight[:1] if head_row is None else head_row
        first = row.detach().to("cpu", torch.float32)
        tensors = {
            f"{PREFIX}{name}.token_adapter{DELTA}": rows,
            f"{PREFIX}{head}.token_adapter{DELTA}": first.contiguous(),
            f"{PREFIX}{target}.lora_A.weight": torch.zeros(1, inputs),
            f"{PREFIX}{target}.lora_B.weight": torch.zeros(outputs, 1),
        }
        config: dict[str, Any] = common | {
            "peft_type": "LORA",
            "r": 1,
            "lora_alpha": 1,
            "lora_dropout": 0.0,
            "bias": "none",
            "fan_in_fan_out": transposed,
            "target_modules": target.replace(".", r"\."),
            "trainable_token_indices": {short: ids, head.rpartition(".")[2]: [0]},
        }
        note = NOTE_INPUT_ONLY.format(target=target)
    else:
        tensors = {f"{PREFIX}{name}{DELTA}": rows}
        if output_table(model) is input_table(model):
            tensors[f"{PREFIX}{head}{DELTA}"] = rows.clone()
        config = common | {
            "peft_type": "TRAINABLE_TOKENS",
            "target_modules": [short],
            "token_indices": ids,
        }
    where = "input embedding table" if input_only else "embedding table"
    write_bytes(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    count = plural(len(ids), "row")
    about = {"base": base_name, "count": count, "where": where, "folder": folder.name}
    if readme:
        write_text(folder / README_FILE, README.format(note=note, **about))
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")


def _tensor_names(config: dict[str, Any], found: Iterable[str]) -> tuple[list[str], list[int]]:
    """Names of all tensors that a configuration asks for, the input rows first; the token ids.

    The configuration has last parts of names; ``found`` tells what precedes them.
    """

    def whole(ending: str) -> str:
        (name,) = (n for n in found if n.startswith(PREFIX) and n.endswith(ending))
        return name

    if config["peft_type"] == "TRAINABLE_TOKENS":
        (module,), indices = config["target_modules"], config["token_indices"]
        first = whole(f".{module}{DELTA}")
        # rows of a tied model that belong to both tables are there twice
        heads = [n for n in found if n != first and n.endswith(DELTA)]
        if len(heads) > 1:
            raise ValueError("more than two tables")
        return [first, *heads], indices
    if config["peft_type"] != "LORA" or config["r"] != 1:
        raise ValueError("not of this kind")
    (module, indices), (head, (zero,)) = config["trainable_token_indices"].items()
    target = str(config["target_modules"]).replace(r"\.", ".")
    if zero != 0 or isinstance(zero, bool):
        raise ValueError("another row of the head than the first")
    rows = [whole(f".{one}.token_adapter{DELTA}") for one in (module, head)]
    zeros = [f"{PREFIX}{target}.lora_{one}.weight" for one in "AB"]
    return [*rows, *zeros], indices


def _check_rows(config: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[list[str], Tensor]:
    """As :func:`_tensor_names`, for tensors that are what it takes; the ids as a vector [k].

    Raises:
        ValueError (and its like): they are not; the message says what is wrong.
    """
    names, indices = _tensor_names(config, list(tensors))
    if extra := sorted(tensors.keys() - set(names)):
        raise ValueError(f"{extra[0]} belongs to no part of it")
    if missing := sorted(set(names) - tensors.keys()):
        raise ValueError(f"{missing[0]} is missing")
    if not isinstance(indices, list) or any(type(i) is not int for i in indices):
        raise ValueError("the token ids must be whole numbers")
    if len(set(indices)) != len(indices) or any(not 0 <= i < 2**31 for i in indices):
        raise ValueError("the token ids must be distinct and not negative")
    values = tensors[names[0]]
    if values.dim() != 2 or len(values) != len(indices) or 0 in values.shape:
        raise ValueError(f"{[*values.shape]} values for {plural(len(indices), 'token id')}")
    for name, tensor in tensors.items():
        if tensor.dtype is not torch.float32:
            raise ValueError(f"{name} is of {tensor.dtype}, not float32")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} holds NaN or infinity")
    if len(names) == 2 and not torch.equal(tensors[names[1]], values):
        raise ValueError("the two tables of a tied model have other rows")
    if len(names) == 4:
        if tensors[names[1]].shape != (1, values.shape[1]):
            raise ValueError("the head's unchanged row is of another width")
        if any(bool(tensors[name].any()) for name in names[2:]):
            raise ValueError("the LoRA update that only carries the rows is not zero")
    return names, torch.tensor(indices, dtype=torch.int64)


def _check_model(names: list[str], ids: Tensor, tensors: dict[str, Tensor], model: Any) -> None:
    """Make sure that checked rows are those of a model.

    Raises:
        ValueError: they are not.
    """
    table = model.get_input_embeddings().weight
    head = model.get_output_embeddings()
    parts = (module_name(model, model.get_input_embeddings()), module_name(model, head))
    for name, part in zip(names, parts, strict=False):
        ending = f"{'.token_adapter' if len(names) == 4 else ''}{DELTA}"
        if name != f"{PREFIX}{part}{ending}":
            raise ValueError(f"{name} is not {part} of {type(model).__name__}")
    if tensors[names[0]].shape[1] != table.shape[1]:
        raise ValueError(f"rows of width {tensors[names[0]].shape[1]}, not {table.shape[1]}")
    if int(ids.max()) >= len(table):
        raise ValueError(f"token id {int(ids.max())}; ids go from 0 to {len(table) - 1}")
    if len(names) < 3 and (len(names) == 2) != is_tied(model):
        of, has = ("one table", "two") if len(names) == 2 else ("two tables", "one")
        raise ValueError(
            f"they are of a model with {of} for input and output, and {type(model).__name__} has "
            f"{has}"
        )
    if len(names) == 4:
        # the model may have been in another dtype then: 2⁻⁸ is a step of bfloat16
        own = head.weight[:1].detach().to("cpu", torch.float32)
        if not torch.allclose(tensors[names[1]], own, rtol=2**-8, atol=1e-7):
            raise ValueError("row 0 of the output head is not the model's")


def load_rows(folder: Path, model: Any = None) -> tuple[Tensor, Tensor]:
    """Token ids [k] and values [k, d] (float32) of an adapter that :func:`save_rows` wrote.

    Args:
        folder: of the adapter.
        model: the original model, if the rows are to be put into it.

    Raises:
        RecordError: files are missing or damaged, not of this kind, hold a tensor too many or a
            value that is not finite, or are not of ``model``.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).exists():
            raise RecordError(f"{folder / name}: missing; not a finished run.")
    config = read_json(folder / CONFIG, RecordError)
    tensors = read_tensors(folder / WEIGHTS, RecordError)
    try:
        names, token_ids = _check_rows(config, tensors)
        if model is not None:
            _check_model(names, token_ids, tensors, model)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        why = f": {error}" if isinstance(error, ValueError) and "unpack" not in str(error) else ""
        raise RecordError(
            f"{folder}: not an adapter of vocabulary rows written by mt-lottery"
            f"{' for this model' if model is not None else ''}{why}."
        ) from error
    return token_ids, tensors[names[0]]


def scope_of(folder: Path, model: Any) -> str:
    """``input`` or ``tied``: what the rows of a folder change in a model.

    Args:
        folder: an adapter that :func:`load_rows` takes.
        model: the original model, or one with its rows.

    Raises:
        RecordError: as :func:`load_rows`.
    """
    kind = read_json(folder / CONFIG, RecordError).get("peft_type")
    return "tied" if kind == "TRAINABLE_TOKENS" and is_tied(model) else "input"
