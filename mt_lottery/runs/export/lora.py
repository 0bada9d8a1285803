"""``lora``: what a run learnt as an adapter that an engine loads over the original model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from mt_lottery.errors import RecordError, TuningError, argument, plural
from mt_lottery.model.loading import LoadedModel
from mt_lottery.reading import read_json
from mt_lottery.runs.card import Spoken
from mt_lottery.runs.export.card import base_name, write_card
from mt_lottery.runs.export.checked import translated_again, why_different
from mt_lottery.runs.export.engines import Fit, check_passed_on, fit
from mt_lottery.runs.export.formats import ENGINES, Exported, Options
from mt_lottery.runs.export.rows import take_rows, write_rows
from mt_lottery.runs.export.snippets import lines_of
from mt_lottery.runs.finished import Run
from mt_lottery.system.atomic import write_bytes, write_text
from mt_lottery.system.replacing import written_folder
from mt_lottery.tuners.adapters.base import PeftTuner, quiet
from mt_lottery.tuners.base import Tuner
from mt_lottery.tuners.none import NoTuner
from mt_lottery.tuners.rows.adapter_file import CONFIG, WEIGHTS
from mt_lottery.tuners.rows.base import RowTuner

NO_MERGING = (
    "PEFT's `merge_and_unload()` would tie the tables of the model again, in silence, and give "
    "another model: `mt-ticket export RUN OUT --format merged` writes the right one."
)
#: Said of an adapter that was trained over a model of 4 bits.
FOUR_BITS = (
    "It was trained over that model read in 4 bits: over the weights as they are it translates "
    "otherwise. The card has the lines that load it as the run did."
)
#: Said of a model of 16 bits.
ROUNDED = (
    "The others differ by rounding: to what the model looks up in 16 bits the rows' differences "
    "are added."
)


def write(run: Run, folder: Path, options: Options) -> Exported:
    """Write the adapter.

    Raises:
        TuningError: no adapter, or none of this engine's, can hold what the tuner learnt.
        RecordError, ModelError: the run, or the original model, has changed since.
    """
    engine = options.engine or "peft"
    if isinstance(run.tuner, RowTuner):
        return _write_rows(run, folder, engine)
    if isinstance(run.tuner, PeftTuner):
        return _pass_on(run, run.tuner, folder, engine)
    name = run.config.recipe
    _ = run.tuned  # what the tuner says of itself may be read with it
    what = f"{argument('format', 'lora')}: no adapter holds what a run of {name} learnt"
    if run.tuner.outside_model:
        raise TuningError(f"{what}. {run.tuner.outside_model} Translate with mt-translate.")
    if isinstance(run.tuner, NoTuner):
        raise TuningError(
            f"{argument('format', 'lora')}: a run of {name} changes nothing that an adapter could "
            f"hold: serve the original model, {base_name(run)}."
        )
    if type(run.tuner).merge is Tuner.merge:
        raise TuningError(f"{what}; translate with mt-translate, or load it with mtl.load_tuned.")
    raise TuningError(f"{what}; {argument('format', 'merged')} writes a plain model.")


def _write_rows(run: Run, folder: Path, engine: str) -> Exported:
    tuned = run.give_tuned()[0]
    spoken = Spoken.of(run.config, run.text, tuned, run.tuner.lead)
    moved = take_rows(tuned.model)
    wanted = fit(engine, moved, type(tuned.model).__name__)
    what = f"a LoRA of rank {moved.rank} on {' and '.join(moved.modules)}"
    about = (
        f"A{what[1:]}: the {plural(len(moved.ids), 'row')} of the vocabulary that were changed. "
        f"{_for(engine, wanted)}"
    )
    if moved.tied and wanted.peft:
        about += f" {NO_MERGING}"
    with written_folder(folder, marked=True) as staging:
        write_rows(staging, moved, base_name(run), wanted.factor, wanted.one_hot)
        checked = (0, 0)
        if wanted.peft:
            checked = translated_again(run, with_peft(tuned, staging))
        engines = lines_of(run, spoken, engine, wanted)
        write_card(staging, run, spoken, library="peft", about=about, engines=engines)
    return _exported(run, folder, what, engine, wanted, tuned, checked)


def _for(engine: str, wanted: Fit) -> str:
    if wanted.peft:
        both = f"{ENGINES[engine]} and plain PEFT load it."
        return "Plain PEFT loads it." if engine == "peft" else both
    return (
        f"It is for {ENGINES[engine]} alone: its values are multiplied by {wanted.factor:g}, the "
        "scale of the model's embedding, which PEFT multiplies by itself."
    )


def with_peft(original: LoadedModel, folder: Path) -> LoadedModel:
    """The original model (used up) with an adapter in it, as plain PEFT loads it."""
    import peft

    with quiet():
        model = peft.PeftModel.from_pretrained(original.model, str(folder))
    return dataclasses.replace(original, model=model.eval())


def _pass_on(run: Run, tuner: PeftTuner, folder: Path, engine: str) -> Exported:
    """An adapter that PEFT trained, as it is but for the name of its base."""
    adapter = run.folder / "adapter"
    tuned = run.tuned  # it is what was scored, and loads
    config = read_json(adapter / CONFIG, RecordError)
    wanted = check_passed_on(engine, config)
    spoken = Spoken.of(run.config, run.text, tuned, tuner.lead)
    config["base_model_name_or_path"] = base_name(run)
    about = f"An adapter of PEFT ({config['peft_type']}), as the run trained it."
    about += tuner.note(tuned.model, base_name(run))
    with written_folder(folder, marked=True) as staging:
        write_bytes(staging / WEIGHTS, (adapter / WEIGHTS).read_bytes())
        write_text(staging / CONFIG, json.dumps(config, indent=2) + "\n")
        engines = lines_of(run, spoken, engine, wanted)
        write_card(staging, run, spoken, library="peft", about=about, engines=engines)
    return _exported(run, folder, "the run's adapter", engine, wanted, tuned)


def _exported(
    run: Run,
    folder: Path,
    what: str,
    engine: str,
    wanted: Fit,
    tuned: LoadedModel,
    checked: tuple[int, int] = (0, 0),
) -> Exported:
    weights = (folder / WEIGHTS).stat().st_size
    fits = f"{what}, for {ENGINES[engine]} over {base_name(run)}."
    notes = []
    if tuned.model.dtype.itemsize < 4 and (why := why_different(*checked, ROUNDED)):
        notes.append(why)
    if wanted.arguments:
        notes.append(f"Start {ENGINES[engine]} with: --enable-lora {wanted.options}")
    if tuned.info.path is not None:
        notes.append(f"The original model, the base, is in {tuned.info.path}.")
    if isinstance(run.tuner, PeftTuner) and run.tuner.quantises:
        notes.append(FOUR_BITS)
    return Exported("lora", folder, weights, fits, engine, *checked, tuple(notes))
