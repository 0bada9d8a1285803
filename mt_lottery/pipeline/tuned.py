"""A finished run's model, ready to translate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mt_lottery.compose import compose_saved
from mt_lottery.config import RunConfig
from mt_lottery.errors import ModelError
from mt_lottery.model.loading import LoadedModel, fingerprint, load
from mt_lottery.pipeline.plan import pick_device
from mt_lottery.pipeline.rundir import CONFIG
from mt_lottery.record import read_record
from mt_lottery.registry import TUNERS
from mt_lottery.tuner.base import Tuner


def load_tuned(run_dir: str | Path, device: str = "auto") -> tuple[Any, Any]:
    """The tuned model and its tokenizer of a finished run.

    Args:
        run_dir: a run directory.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Returns:
        a transformers causal LM in eval mode (``generate`` works), and the tokenizer.

    Raises:
        RecordError: no finished run there, or damaged.
        ModelError: the original model has changed since, or cannot be had.
    """
    loaded, _ = open_run(run_dir, device)
    return loaded.model, loaded.tokenizer


def open_run(run_dir: str | Path, device: str = "auto") -> tuple[LoadedModel, RunConfig]:
    """As :func:`load_tuned`, with the run's configuration."""
    folder = Path(run_dir).expanduser()
    record = read_record(folder)
    config = compose_saved(folder / CONFIG)
    model_id = fingerprint(config.model)
    if model_id not in (record.model.sha256, record.model.revision):
        raise ModelError(
            f"{config.model.name_or_path or config.model.name} is not the model that {folder} was "
            f"tuned from: its hash is {model_id[:12]}…, the record's "
            f"{(record.model.sha256 or record.model.revision or '?')[:12]}…."
        )
    loaded = load(config.model, pick_device(device))
    tuner: Tuner = TUNERS.get(config.tuner.name)(config.tuner)
    tuner.restore(loaded.model, folder)
    loaded.model.eval()
    return loaded, config
