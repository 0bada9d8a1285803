"""What a run learnt, as far as a GGUF file can hold it, and what the metadata say of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mt_lottery import __version__
from mt_lottery.errors import ModelError, TuningError, argument
from mt_lottery.reading import sha256_of
from mt_lottery.reading.gguf_files import GGUFFile
from mt_lottery.runs.card import PLACE
from mt_lottery.runs.export.card import base_name
from mt_lottery.runs.export.gguf.table import Rows
from mt_lottery.runs.export.gguf.writing import entry
from mt_lottery.runs.finished import Run
from mt_lottery.tuners.adapters.base import PeftTuner
from mt_lottery.tuners.adapters.lora import LoraTuner
from mt_lottery.tuners.base import Tuner
from mt_lottery.tuners.few_shot import FewShotTuner
from mt_lottery.tuners.none import NoTuner
from mt_lottery.tuners.rows.module import TiedHead, TokenRows

OURS = "mt_lottery."
TICKET = f"{OURS}ticket"


@dataclass(frozen=True)
class Learnt:
    """The rows that a run changed.

    Attributes:
        rows: as the run translates with them; none for a run that changed nothing.
        head: they belong to the output head too (a tied model, ``tuner.scope=tied``).
    """

    rows: Rows
    head: bool


def learnt(run: Run, form: str) -> Learnt:
    """What a run learnt.

    Args:
        run: a finished run.
        form: the format that it is exported in, for messages.

    Raises:
        TuningError: something else than rows of the embedding table.
    """
    model = run.tuned.model
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if isinstance(embedding, TokenRows):
        order = embedding.token_ids.argsort()
        rows = embedding.rows.detach()[order].to(embedding.weight.dtype).float()
        ids = embedding.token_ids[order]
        found = Rows(ids.cpu().numpy(), rows.cpu().numpy())
        return Learnt(found, isinstance(head, TiedHead))
    one_prompt = isinstance(run.tuner, FewShotTuner) and not run.tuner.retrieves
    if one_prompt or isinstance(run.tuner, NoTuner):
        width = embedding.weight.shape[1]
        return Learnt(Rows(np.zeros(0, np.int64), np.zeros((0, width), np.float32)), False)
    name = run.config.recipe
    merged = f"{argument('format', 'merged')} and llama.cpp's convert_hf_to_gguf.py"
    if type(run.tuner).merge is Tuner.merge:
        how = "No GGUF file can hold what it learnt: translate with mt-translate."
    elif isinstance(run.tuner, PeftTuner) and not hasattr(model.base_model, "merge_and_unload"):
        how = f"No GGUF file can hold what it learnt: {argument('format', 'lora')} is for PEFT."
    elif isinstance(run.tuner, LoraTuner):
        how = (
            f"{argument('format', 'lora')} and llama.cpp's convert_lora_to_gguf.py make an adapter "
            f"of it, {merged} a model."
        )
    else:
        how = f"{merged} make a GGUF of it."
    raise TuningError(
        f"{argument('format', form)} holds rows of the embedding table; a run of {name} changed "
        f"something else. {how}"
    )


def described(run: Run, base: GGUFFile, ids: list[int]) -> list[bytes]:
    """Entries of metadata: prompt, languages, ticket, and what it was made from.

    Raises:
        ModelError: the base cannot be read to its end.
    """
    record = run.record
    values = {
        "version": __version__,
        "recipe": run.config.recipe,
        "direction": record.lang.replace(",", ", "),
        "prompt": run.prompt(PLACE, lang=run.directions[0]),
        "model": base_name(run),
        "model.sha256": record.model.sha256 or record.model.revision or "",
        "base.sha256": sha256_of(base.path, ModelError),
    }
    if len(run.directions) > 1:
        values |= {f"prompt.{lang}": run.prompt(PLACE, lang=lang) for lang in run.directions}
    made = [entry(f"{OURS}{key}", value) for key, value in values.items()]
    return [*made, entry(TICKET, ids)] if ids else made
