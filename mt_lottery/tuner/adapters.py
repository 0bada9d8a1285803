"""Vocabulary rows on disk, in PEFT's layout.

Where the head has a table of its own, or the rows belong to both, the folder is
a plain ``TrainableTokens`` adapter.  For a tied model whose input table alone
changes, such a folder would change the output head too when plain PEFT loads
it.  There the rows are written as a LoRA adapter of rank 1 whose update is zero
and whose ``trainable_token_indices`` name the input rows, and row 0 of the head,
unchanged: unequal indices make PEFT keep the two tables apart.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mt_lottery.atomic import write_bytes, write_text
from mt_lottery.errors import ModelError, RecordError

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
PREFIX = "base_model.model."
DELTA = ".trainable_tokens_delta"

README = """# Vocabulary rows of {base}

{count} rows of the {where}, trained (or copied) by mt-lottery.

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
    head = model.get_output_embeddings()
    for name, module in model.named_modules():
        inside_head = module is head or name.startswith(f"{module_name(model, head)}.")
        weight = getattr(module, "weight", None)
        if inside_head or not isinstance(weight, Tensor) or weight.dim() != 2:
            continue
        if isinstance(module, nn.Linear):
            return name, int(module.in_features), int(module.out_features), False
        if type(module).__name__ == "Conv1D":  # GPT-2 keeps its weights transposed
            return name, int(weight.shape[0]), int(weight.shape[1]), True
    raise ModelError(f"{type(model).__name__} has no linear layer that could carry the adapter.")


def save_rows(
    folder: Path,
    model: Any,
    token_ids: Tensor,
    values: Tensor,
    *,
    base_name: str,
    input_only: bool,
) -> None:
    """Write rows as a PEFT adapter, atomically.

    Args:
        folder: where to; made if need be.
        model: the model whose input embedding holds them (for the module names).
        token_ids: [k].
        values: [k, d]; written as float32.
        base_name: folder or hub id of the original model.
        input_only: the model is tied and only its input table changes.
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
        first = model.get_output_embeddings().weight[:1].detach().to("cpu", torch.float32)
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
        if model.get_output_embeddings().weight is model.get_input_embeddings().weight:
            tensors[f"{PREFIX}{head}{DELTA}"] = rows.clone()
        config = common | {
            "peft_type": "TRAINABLE_TOKENS",
            "target_modules": [short],
            "token_indices": ids,
        }
    where = "input embedding table" if input_only else "embedding table"
    write_bytes(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    write_text(
        folder / "README.md",
        README.format(base=base_name, count=len(ids), where=where, folder=folder.name, note=note),
    )
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")


def load_rows(folder: Path) -> tuple[Tensor, Tensor]:
    """Token ids [k] and values [k, d] (float32) of an adapter that :func:`save_rows` wrote.

    Raises:
        RecordError: files are missing, damaged, or not of this kind.
    """
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        missing = error.filename or folder / WEIGHTS
        raise RecordError(f"{missing}: missing; not a finished run.") from error
    except (ValueError, SafetensorError, OSError) as error:
        raise RecordError(f"{folder}: the adapter is damaged: {error}") from error
    try:
        if config["peft_type"] == "TRAINABLE_TOKENS":
            (module,), indices = config["target_modules"], config["token_indices"]
        else:  # the input table comes first, the head's unchanged row second
            module, indices = next(iter(config["trainable_token_indices"].items()))
        names = (f".{module}{DELTA}", f".{module}.token_adapter{DELTA}")
        (values,) = (v for k, v in tensors.items() if k.endswith(names))
        token_ids = torch.tensor(indices, dtype=torch.int64)
        if values.dim() != 2 or len(values) != len(token_ids) or len(values) == 0:
            raise ValueError("as many rows as token ids are needed")
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration, RuntimeError) as error:
        raise RecordError(
            f"{folder}: not an adapter of vocabulary rows written by mt-lottery."
        ) from error
    return token_ids, values.to(torch.float32)
