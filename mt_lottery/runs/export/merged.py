"""``merged``: what a run learnt put into the weights, as a plain transformers folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from mt_lottery.errors import argument
from mt_lottery.model.folder.quantised import refuse_merging
from mt_lottery.model.folder.saving import not_decoded_with, save_folder
from mt_lottery.model.loading import quantisation_of
from mt_lottery.runs.card import Spoken
from mt_lottery.runs.export.card import write_card
from mt_lottery.runs.export.checked import translated_again, why_different
from mt_lottery.runs.export.formats import Exported, Options
from mt_lottery.runs.export.license import copy_terms, license_fields
from mt_lottery.runs.finished import Run
from mt_lottery.system.quiet import quietly

LEFT_OUT = "Left out of its generation_config.json, as the run decodes without: {}."


def write(run: Run, folder: Path, options: Options) -> Exported:
    """Write the tuned model without mt-lottery and PEFT.

    Raises:
        TuningError: the tuner has nothing that a plain model could hold.
        ModelError: the original model has changed since, cannot be had, or is quantised.
    """
    settings = run.stored.model
    refuse_merging(settings.name_or_path or settings.name, quantisation_of(settings))
    tuned, own = run.give_tuned()
    wide = own if options.dtype is None else getattr(torch, options.dtype)
    merged = dataclasses.replace(tuned, model=run.tuner.merge(tuned.model, wide).eval())
    sentences, same = translated_again(run, merged)
    names = not_decoded_with(merged.model)
    left_out = [LEFT_OUT.format(", ".join(names))] if names else []

    def more(staging: Path) -> None:
        spoken = Spoken.of(run.config, run.text, merged, run.tuner.lead)
        about = "A plain transformers model: neither mt-lottery nor PEFT is needed."
        about = " ".join([about, *left_out]) + copy_terms(tuned.info, staging)
        write_card(
            staging,
            run,
            spoken,
            library="transformers",
            about=about,
            engines=[("transformers", spoken.python(None))],
            terms=license_fields(tuned.info),
        )

    with quietly():
        save_folder(merged.model, merged.tokenizer, folder, marked=True, more=more)
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    rounded = "The others differ by rounding: the updates were added to weights of this dtype."
    why = why_different(sentences, same, rounded)
    if why and wide is not torch.float32:
        why += f" {argument('dtype', 'float32')} keeps more of the updates."
    notes = (why,) if why else ()
    fits = "a plain transformers model."
    return Exported("merged", folder, weights, fits, None, sentences, same, (*notes, *left_out))
