"""A finished run's model handed out: in memory, or as a folder without mt-lottery and PEFT."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mt_lottery.model.folder.quantised import refuse_merging
from mt_lottery.model.folder.saving import save_folder
from mt_lottery.model.handed_out import refuse_saving
from mt_lottery.model.loading import quantisation_of
from mt_lottery.runs.card import describe_folder
from mt_lottery.runs.decode import decode
from mt_lottery.runs.finished import Run
from mt_lottery.runs.folder.targets import check_model_folder, inputs_of
from mt_lottery.system.quiet import quietly
from mt_lottery.tuners.base import Tuner

CHECKED = 8  # test sentences that the merged model translates again


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
    folder = check_model_folder(out, overwrite=overwrite, inputs=inputs_of(run.folder))
    said = run.hypotheses[:CHECKED]
    settings = run.stored.model
    refuse_merging(settings.name_or_path or settings.name, quantisation_of(settings))
    tuned, own = run.give_tuned()
    wide = own if dtype is None else getattr(torch, dtype)
    model = run.tuner.merge(tuned.model, wide).eval()
    run.echo(f"Translating {len(said)} test sentences with the merged model …")
    merged = dataclasses.replace(tuned, model=model)
    outputs = decode(run.config, merged, [line["source"] for line in said], quiet=True)
    same = sum(o.text == line["hypothesis"] for o, line in zip(outputs, said, strict=True))

    def more(staging: Path) -> None:
        describe_folder(staging, run.config, run.text, merged, run.lead)

    with quietly():
        save_folder(model, tuned.tokenizer, folder, marked=True, more=more)
    return Merged(folder, len(said), same)
