"""``lora``: what a run learnt as an adapter that an engine loads over the original model."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save

from mt_lottery.errors import RecordError, TuningError, argument
from mt_lottery.model.loading import LoadedModel
from mt_lottery.reading import read_json
from mt_lottery.runs.card import describe_folder
from mt_lottery.runs.export.checked import translated_again
from mt_lottery.runs.export.formats import Exported, Options
from mt_lottery.runs.export.rows import as_lora, take_rows
from mt_lottery.runs.finished import Run
from mt_lottery.system.atomic import write_bytes, write_text
from mt_lottery.system.replacing import written_folder
from mt_lottery.tuners.adapters.base import PeftTuner, quiet
from mt_lottery.tuners.base import Tuner
from mt_lottery.tuners.rows.adapter_file import CONFIG, WEIGHTS
from mt_lottery.tuners.rows.base import RowTuner


def write(run: Run, folder: Path, options: Options) -> Exported:
    """Write the adapter.

    Raises:
        TuningError: no adapter, or none of this engine's, can hold what the tuner learnt.
        RecordError, ModelError: the run, or the original model, has changed since.
    """
    if not isinstance(run.tuner, RowTuner | PeftTuner):
        raise TuningError(_no_adapter(run))
    tuned = run.give_tuned()[0]
    pass_on = isinstance(run.tuner, PeftTuner)
    return (_pass_on if pass_on else _write_rows)(run, tuned, folder, options)


def _no_adapter(run: Run) -> str:
    what = f"{argument('format', 'lora')}: no adapter holds what a run of {run.tuner.config.name}"
    if type(run.tuner).merge is Tuner.merge:
        return f"{what} learnt; translate with mt-translate, or load it with mtl.load_tuned."
    return f"{what} learnt; {argument('format', 'merged')} does."


def base_name(run: Run) -> str:
    """The hub's name of the original model, or its folder's; never a path."""
    return run.record.model.name


def _write_rows(run: Run, tuned: LoadedModel, folder: Path, options: Options) -> Exported:
    moved = take_rows(tuned.model)
    rank, factor = moved.rank, 1.0
    modules = [moved.embedding, *([moved.output] if moved.head else [])]
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name(run),
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "target_modules": [name.rpartition(".")[2] for name in modules],
    }
    with written_folder(folder, marked=True) as staging:
        tensors = as_lora(moved, rank, factor)
        write_bytes(staging / WEIGHTS, save(tensors, metadata={"format": "pt"}))
        write_text(staging / CONFIG, json.dumps(config, indent=2) + "\n")
        original = with_peft(tuned, staging)
        sentences, same = translated_again(run, original)
        describe_folder(staging, run.config, run.text, original, run.tuner.lead)
    weights = (folder / WEIGHTS).stat().st_size
    what = f"a LoRA of rank {rank} on {' and '.join(modules)}"
    fits = f"{what}, for {options.engine} over {base_name(run)}."
    return Exported("lora", folder, weights, fits, options.engine, sentences, same)


def _pass_on(run: Run, tuned: LoadedModel, folder: Path, options: Options) -> Exported:
    adapter = run.folder / "adapter"
    config = read_json(adapter / CONFIG, RecordError)
    config["base_model_name_or_path"] = base_name(run)
    with written_folder(folder, marked=True) as staging:
        shutil.copyfile(adapter / WEIGHTS, staging / WEIGHTS)
        write_text(staging / CONFIG, json.dumps(config, indent=2) + "\n")
        describe_folder(staging, run.config, run.text, tuned, run.tuner.lead)
    weights = (folder / WEIGHTS).stat().st_size
    fits = f"the run's adapter, for {options.engine} over {base_name(run)}."
    return Exported("lora", folder, weights, fits, options.engine)


def with_peft(original: LoadedModel, folder: Path) -> LoadedModel:
    """The original model (used up) with an adapter in it, as plain PEFT loads it."""
    import peft

    with quiet():
        model = peft.PeftModel.from_pretrained(original.model, str(folder))
    return dataclasses.replace(original, model=model.eval())
