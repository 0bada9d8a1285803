"""A finished run's model handed out: in memory, or as a folder without mt-lottery and PEFT."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mt_lottery.model.handed_out import refuse_saving
from mt_lottery.runs.export import export
from mt_lottery.runs.finished import Run
from mt_lottery.tuners.base import Tuner


def load_tuned(
    run_dir: str | Path,
    device: str | torch.device = "auto",
    *,
    user_dir: str | Path | None = None,
    trust_remote_code: bool = False,
) -> tuple[Any, Any]:
    """The tuned model and its tokenizer of a finished run.

        >>> import mt_lottery as mtl
        >>> model, tokenizer = mtl.load_tuned("run")
        >>> model.training, len(tokenizer)
        (False, 600)

    Args:
        run_dir, device, user_dir, trust_remote_code: as for :class:`Run`.

    Returns:
        a transformers causal LM in eval mode (``generate`` works), and the tokenizer. Its
        ``save_pretrained`` writes what PEFT or transformers load as the same model, or raises a
        ModelError where they could not: ``mt-ticket merge`` writes a plain model of it.

    Raises:
        RecordError: no finished run there, or damaged.
        ModelError: the original model has changed since, or cannot be had.
        ConfigError: the run asks for code that is not allowed here.
    """
    run = Run(run_dir, device, user_dir=user_dir, trust_remote_code=trust_remote_code)
    loaded = run.tuned
    if not run.is_plain:
        how = (
            "A plain model of the same translations is written by: mt-ticket merge "
            f"{run_dir} FOLDER"
        )
        if type(run.tuner).merge is Tuner.merge:
            how = (
                f"No plain model can hold what {run.config.tuner.name} learnt: copy the run "
                f"directory {run_dir}, and load it with mtl.load_tuned."
            )
        refuse_saving(loaded.model, how)
    if run.tuner.outside_model:
        warnings.warn(
            f"{run.tuner.outside_model} The model alone does not do that; "
            f"mtl.Run({str(run_dir)!r}).translate does.",
            stacklevel=2,
        )
    return loaded.model, loaded.tokenizer


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


def merge(run: Run, out: str | Path, dtype: str | None, overwrite: bool) -> Merged:
    """As :meth:`mt_lottery.runs.finished.Run.merge`."""
    done = export(run, out, "merged", dtype=dtype, overwrite=overwrite)
    return Merged(done.folder, done.sentences, done.same)
