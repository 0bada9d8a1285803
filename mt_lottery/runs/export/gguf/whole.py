"""``gguf``: the base's own GGUF with the run's rows in its table.

Every other tensor and all metadata are copied byte for byte.  llama.cpp scales what it looks up
(Gemma's √d, Granite's multiplier), so rows are written as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

from mt_lottery.errors import plural
from mt_lottery.reading.gguf_files import GGUFFile
from mt_lottery.runs.export.card import write_card
from mt_lottery.runs.export.formats import Exported, Options
from mt_lottery.runs.export.gguf.fits import check_head, check_table, notes_on, open_base
from mt_lottery.runs.export.gguf.learnt import OURS, Learnt, described, learnt
from mt_lottery.runs.export.gguf.snippet import lines_of
from mt_lottery.runs.export.gguf.table import HEAD, TABLE, Table
from mt_lottery.runs.export.gguf.writing import NewTensor, as_it_is, write_gguf
from mt_lottery.runs.finished import Run
from mt_lottery.system.replacing import written_folder

FILE = "model.gguf"


def write(run: Run, folder: Path, options: Options) -> Exported:
    """Write the base with the run's rows.

    Raises:
        TuningError: the run learnt something else than rows.
        ModelError: the base is damaged, or not of the run's model.
    """
    found = learnt(run, "gguf")
    base = open_base(run, options.base)
    check_table(run, Table.of(base, TABLE))
    changed, notes = _with_rows(base, found) if len(found.rows.ids) else ({}, [])
    notes += notes_on(run, base)
    ours = described(run, base, found.rows.ids.tolist())
    spoken, engines = lines_of(run, base, adapter=False)
    rows = len(found.rows.ids)
    about = f"`{FILE}` is the original model as a GGUF file, " + (
        f"with {plural(rows, 'row')} of its embedding table in place of its own; all else in it "
        "is as it was."
        if rows
        else "unchanged but for the prompt in its metadata."
    )

    def card(staging: Path) -> None:
        write_card(staging, run, spoken, library="gguf", about=about, engines=engines)

    size = write_model(folder, base, changed, ours, card)
    fits = f"llama.cpp and what is built on it (Ollama, LM Studio) load {FILE}."
    return Exported("gguf", folder, size, fits, notes=tuple(notes))


def _with_rows(base: GGUFFile, found: Learnt) -> tuple[dict[str, NewTensor], list[str]]:
    """The tensors that differ from the base's, by name, and what a user must know of them."""
    changed, notes = {}, []
    for name in (TABLE, HEAD) if found.head and HEAD in base.tensors else (TABLE,):
        table = Table.of(base, name)
        changed[name], lost = table.with_rows(found.rows)
        kind = table.written_as()
        if not math.isfinite(lost):
            base.refuse(f"the run's rows are too large for the {kind.name} of '{name}'")
        notes.append(f"The rows in {name} are rounded to {kind.name}, by {lost:.2g} (RMS).")
        if kind != table.kind:
            notes.append(
                f"All of {name} is {kind.name} now: gguf cannot write its {table.kind.name}."
            )
    if not found.head and HEAD not in base.tensors:
        check_head(base)
        changed[HEAD] = as_it_is(base, base.tensors[TABLE], HEAD)
        notes.append(
            f"{HEAD} was added, with the original {TABLE}: the base used one table for both, "
            "and the run changed the input table only."
        )
    return changed, notes


def write_model(
    folder: Path,
    base: GGUFFile,
    changed: dict[str, NewTensor],
    ours: list[bytes],
    card: Callable[[Path], None],
) -> int:
    """Write a folder with the base in it, some tensors changed.

    Args:
        folder: checked; replaced when all is written.
        base: its metadata are kept, but for what we wrote.
        changed: tensors in place of its own, by name, or a head that it had not.
        ours: entries of metadata.
        card: writes a README into a folder.

    Returns:
        bytes of the file.
    """

    def tensors() -> Iterator[NewTensor]:
        for name, place in base.tensors.items():
            yield changed.get(name) or as_it_is(base, place)
        if HEAD in changed and HEAD not in base.tensors:
            yield changed[HEAD]

    kept = [base.bytes[e.start : e.end] for k, e in base.entries.items() if not k.startswith(OURS)]
    with written_folder(folder, marked=True) as staging:
        write_gguf(staging / FILE, [*kept, *ours], list(tensors()), alignment=base.alignment)
        card(staging)
    return (folder / FILE).stat().st_size
