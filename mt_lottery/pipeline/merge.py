"""A finished run as a plain transformers model: no adapter, no mt-lottery, no PEFT."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from mt_lottery.atomic import DiskError
from mt_lottery.errors import RecordError
from mt_lottery.model.loading import LoadedModel
from mt_lottery.model.saving import save_folder
from mt_lottery.pipeline.decode import decode
from mt_lottery.pipeline.plan import Say
from mt_lottery.pipeline.rundir import HYPOTHESES, read_hypotheses
from mt_lottery.pipeline.tuned import open_run

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
    say: Say = print,
) -> Merged:
    """Write the tuned model of a run as a plain transformers folder.

    Args:
        run_dir: a finished run whose method can be merged.
        out: the folder to write.
        dtype: of the weights (``float32``, ``bfloat16``, ``float16``); the model's own if None.
            Updates smaller than a step of bfloat16 are lost in it.
        overwrite: replace ``out`` if it is there.
        device: where the model is loaded.
        say: prints a line for the user.

    Raises:
        RecordError: no finished run there, or ``out`` exists.
        TuningError: the method has nothing that a plain model could hold.
        ModelError: the original model has changed since, or cannot be had.
    """
    folder = Path(out).expanduser()
    if folder.exists() and not overwrite:
        raise RecordError(f"{folder} exists; give another folder, or --overwrite.")
    said = read_hypotheses(Path(run_dir).expanduser() / HYPOTHESES)[:CHECKED]
    run = open_run(run_dir, device)
    wide = run.dtype if dtype is None else getattr(torch, dtype)
    model = run.tuner.merge(run.loaded.model, wide).eval()
    loaded: LoadedModel = dataclasses.replace(run.loaded, model=model)
    say(f"Translating {len(said)} test sentences with the merged model …")
    outputs = decode(run.config, loaded, [line["source"] for line in said], quiet=True)
    same = sum(o.text == line["hypothesis"] for o, line in zip(outputs, said, strict=True))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        save_folder(model, loaded.tokenizer, folder)
    except OSError as error:
        shutil.rmtree(folder.with_name(f".{folder.name}.partial"), ignore_errors=True)
        raise DiskError(f"{folder}: cannot be written: {error.strerror or error}.") from error
    return Merged(folder, len(said), same)
