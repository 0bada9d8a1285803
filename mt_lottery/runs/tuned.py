"""A finished run's model, ready to translate."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mt_lottery.config import RunConfig
from mt_lottery.config.compose import compose_saved
from mt_lottery.config.stored import allowing
from mt_lottery.errors import ModelError, RecordError
from mt_lottery.model.handed_out import refuse_saving, weight_names
from mt_lottery.model.loading import LoadedModel, fingerprint, load
from mt_lottery.registry import TUNERS
from mt_lottery.runs.folder.integrity import check_run
from mt_lottery.runs.folder.preparing import CONFIG
from mt_lottery.runs.folder.record import Record, read_record
from mt_lottery.runs.planning.plan import check_packages, pick_device
from mt_lottery.runs.search import as_chosen
from mt_lottery.system.values import user_path
from mt_lottery.tuners.base import Tuner
from mt_lottery.tuners.kept import check_restored


def load_tuned(
    run_dir: str | Path,
    device: str | torch.device = "auto",
    *,
    user_dir: str | Path | None = None,
    trust_remote_code: bool = False,
) -> tuple[Any, Any]:
    """The tuned model and its tokenizer of a finished run.

    A run is data: what its configuration would import is named in the error, and imported only
    if you say so here.

    Args:
        run_dir: a run directory.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or a ``torch.device``.
        user_dir: a folder of plugins to import, for a run that needs one.
        trust_remote_code: run Python code that comes with the original model.

    Returns:
        a transformers causal LM in eval mode (``generate`` works), and the tokenizer. Its
        ``save_pretrained`` writes what PEFT or transformers load as the same model, or raises a
        ModelError where they could not: ``mt-ticket merge`` writes a plain model of it.

    Raises:
        RecordError: no finished run there, or damaged.
        ModelError: the original model has changed since, or cannot be had.
        ConfigError: the run asks for code that is not allowed here.
    """
    with allowing(user_dir, trust_remote_code):
        run = open_run(run_dir, str(device))
    if not run.plain:
        refuse_saving(run.loaded.model, _how_to_save(run, run_dir))
    return run.loaded.model, run.loaded.tokenizer


def _how_to_save(run: TunedRun, run_dir: str | Path) -> str:
    if type(run.tuner).merge is Tuner.merge:
        return (
            f"No plain model can hold what {run.config.tuner.name} learnt: copy the run directory "
            f"{run_dir}, and load it with mtl.load_tuned."
        )
    return f"A plain model of the same translations is written by: mt-ticket merge {run_dir} FOLDER"


@dataclass(frozen=True)
class TunedRun:
    """A finished run, ready to translate.

    Attributes:
        loaded: the tuned model and its tokenizer.
        config: the run's configuration.
        tuner: the one whose ``lead`` goes before every prompt.
        record: the run's record.
        dtype: of the original model's weights; trained rows beside them may be wider.
        plain: the tuned model's weights have the names that they had before, or it is PEFT's
            and saves its adapter: what it writes loads as the same model.
    """

    loaded: LoadedModel
    config: RunConfig
    tuner: Tuner
    record: Record
    dtype: torch.dtype
    plain: bool


def open_run(run_dir: str | Path, device: str = "auto") -> TunedRun:
    """As :func:`load_tuned`, with what the run's record and configuration say."""
    folder = user_path(run_dir, RecordError)
    device = pick_device(device)  # before anything is read
    record = read_record(folder)
    config = compose_saved(folder / CONFIG)
    check_packages(("tuner", TUNERS, config.tuner.name))
    check_run(folder, record, config)
    model_id = fingerprint(config.model)
    if model_id not in (record.model.sha256, record.model.revision):
        raise ModelError(
            f"{config.model.name_or_path or config.model.name} is not the model that {folder} was "
            f"tuned from: its hash is {model_id[:12]}…, the record's "
            f"{(record.model.sha256 or record.model.revision or '?')[:12]}…."
        )
    config = as_chosen(config, record)
    loaded = load(config.model, device)
    dtype = loaded.model.dtype
    tuner: Tuner = TUNERS.get(config.tuner.name)(config.tuner)
    tuner.tokenizer = loaded.tokenizer
    names = weight_names(loaded.model)
    model = tuner.restore(loaded.model, folder)
    if model is not None:  # a plugin may change the model in place and return nothing
        loaded = dataclasses.replace(loaded, model=model)
    loaded.model.eval()
    check_restored(tuner, loaded.model, folder)
    # told by its tuner, without importing PEFT for runs that have none of it
    plain = hasattr(loaded.model, "peft_config") or weight_names(loaded.model) == names
    return TunedRun(loaded, config, tuner, record, dtype, plain)
