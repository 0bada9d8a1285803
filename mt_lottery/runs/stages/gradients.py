"""The rows' gradients that a selector asks for: measured once, then found again.

As with the probe, another number of rows, a trial or a resumed run costs no second pass, and goes
on with the very numbers that the rows were chosen by.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

from mt_lottery.config import digest
from mt_lottery.data.prompts.batches import Encoded
from mt_lottery.errors import TuningError, plural
from mt_lottery.model.attention import repeatable
from mt_lottery.reading import read_json
from mt_lottery.runs.decode import pad_id
from mt_lottery.runs.folder.preparing import locked
from mt_lottery.runs.planning.plan import Echo, Plan
from mt_lottery.runs.stages.probe import identity_of
from mt_lottery.system import parallel
from mt_lottery.system.atomic import write_text
from mt_lottery.system.removing import remove
from mt_lottery.system.values import cache_folder
from mt_lottery.training.row_gradients import gradient_norms, sample, token_ids
from mt_lottery.tuners.base import RowGradients, TuningContext
from mt_lottery.tuners.rows.module import check_scope

VERSION = 1  # raise it when what is measured changes
FILE = "gradients.json"


def _read(file: Path, echo: Callable[[str], None]) -> RowGradients | None:
    """What is kept there, if it is there and whole."""
    if not file.exists():
        return None
    try:
        content = read_json(file, TuningError)
        rows = torch.tensor(content["token_ids"], dtype=torch.int64)
        norms = torch.tensor(content["norms"], dtype=torch.float64)
        if not len(rows) == len(norms) > 0 or not bool((norms >= 0).all()):
            raise ValueError("a norm is missing, or below 0")
        return RowGradients(rows, norms, int(content["pairs"]), float(content["seconds"]))
    except (TuningError, ValueError, KeyError, TypeError) as error:
        echo(f"The gradients in {file} are damaged ({error}); they are measured again.")
        remove(file)
        return None


def gradients_of(
    plan: Plan, context: TuningContext, encoded: Encoded, pairs: int, echo: Echo
) -> RowGradients:
    """How strongly a sample of the training pairs pulls at each row: kept, or measured now.

    Args:
        plan: the run.
        context: the original model, which is left as it is.
        encoded: the training pairs.
        pairs: how many of them, drawn by the run's seed.
        echo: prints a line for the user.

    Raises:
        TuningError: ``scope=tied`` for a model that is not.
        TrainingError: as :func:`mt_lottery.training.row_gradients.gradient_norms`.
    """
    config, scope = plan.config, plan.tuner.scope or "input"
    check_scope(context.model, scope)
    loss = {"criterion": config.train.criterion, "label_smoothing": config.train.label_smoothing}
    drawn = {"pairs": pairs, "seed": config.seed}
    same = identity_of(plan, config.train)
    key = digest({"version": VERSION, **same, "loss": loss, **drawn, "scope": scope})
    folder = cache_folder() / "gradients" / key
    with locked(folder, wait=echo):
        found = parallel.on_main(lambda: _read(folder / FILE, echo))
        if found is not None:
            echo(f"Gradients of {plural(found.pairs, 'training pair')}: found.")
            return found
        examples = sample(encoded.examples, pairs, config.seed)
        echo(f"Measuring the gradients of {plural(len(examples), 'training pair')} …")
        # with a tied table the softmax pulls at every row
        everything = torch.arange(context.table.shape[0])
        rows = everything if scope == "tied" else token_ids(examples)
        began = time.monotonic()
        with repeatable(config.deterministic):
            norms = gradient_norms(
                context.model,
                config.train,
                examples,
                rows,
                pad_id=pad_id(context.tokenizer),
                seed=config.seed,
                tied=scope == "tied",
            )
        made = RowGradients(rows, norms, len(examples), time.monotonic() - began)

        def keep() -> RowGradients:
            columns = {"token_ids": rows.tolist(), "norms": norms.tolist()}
            content = {"pairs": made.pairs, "seconds": made.seconds, **columns}
            write_text(folder / FILE, json.dumps(content) + "\n")
            return made

        return parallel.on_main(keep)
