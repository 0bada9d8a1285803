"""A finished run as a plain transformers model: no adapter, no mt-lottery, no PEFT."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch

from mt_lottery.config.compose import compose_saved
from mt_lottery.errors import RecordError
from mt_lottery.model.folder.quantised import refuse_merging
from mt_lottery.model.folder.saving import save_folder
from mt_lottery.model.loading import LoadedModel, quantisation_of
from mt_lottery.runs.decode import decode
from mt_lottery.runs.folder.files import read_hypotheses
from mt_lottery.runs.folder.preparing import CONFIG, HYPOTHESES
from mt_lottery.runs.folder.record import read_record
from mt_lottery.runs.folder.targets import check_model_folder, inputs_of
from mt_lottery.runs.planning.plan import Echo
from mt_lottery.runs.tuned import open_run
from mt_lottery.system.values import user_path

CHECKED = 8  # test sentences that the merged model translates again


@dataclass(frozen=True)
class Merged:
    """What was written, and how far it says what the run said.

    Attributes:
        folder: the model folder.
        sentences: how many of the run's test sentences were translated again.
        same: how many of them came out as in the run, token for token.
    """

    folder: Path
    sentences: int
    same: int


def merge_run(
    run_dir: str | Path,
    out: str | Path,
    *,
    dtype: str | None = None,
    overwrite: bool = False,
    device: str = "auto",
    echo: Echo = print,
) -> Merged:
    """Write the tuned model of a run as a plain transformers folder.

    Args:
        run_dir: a finished run whose tuner can be merged.
        out: the folder to write.
        dtype: of the weights (``float32``, ``bfloat16``, ``float16``); the model's own if None.
            Updates smaller than a step of bfloat16 are lost in it.
        overwrite: replace ``out`` if it is there, and ours (:mod:`mt_lottery.system.replacing`).
        device: where the model is loaded.
        echo: prints a line for the user.

    Raises:
        RecordError: no finished run there; or ``out`` exists, or may not be replaced.
        TuningError: the tuner has nothing that a plain model could hold.
        ModelError: the original model has changed since, or cannot be had.
    """
    run_dir = user_path(run_dir, RecordError)
    folder = check_model_folder(out, overwrite=overwrite, inputs=inputs_of(run_dir))
    read_record(run_dir)  # says what is there, if it is no finished run
    said = read_hypotheses(run_dir / HYPOTHESES)[:CHECKED]
    settings = compose_saved(run_dir / CONFIG).model
    where = settings.name_or_path or settings.name
    refuse_merging(where, quantisation_of(settings))
    run = open_run(run_dir, device)
    wide = run.dtype if dtype is None else getattr(torch, dtype)
    model = run.tuner.merge(run.loaded.model, wide).eval()
    loaded: LoadedModel = dataclasses.replace(run.loaded, model=model)
    echo(f"Translating {len(said)} test sentences with the merged model …")
    outputs = decode(run.config, loaded, [line["source"] for line in said], quiet=True)
    same = sum(o.text == line["hypothesis"] for o, line in zip(outputs, said, strict=True))
    save_folder(model, loaded.tokenizer, folder, marked=True)
    return Merged(folder, len(said), same)
