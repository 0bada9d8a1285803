"""``gguf``: the base's own GGUF with the run's rows in its table; ``gguf-base``: with two tables.

Every other tensor and all metadata are copied byte for byte.  llama.cpp scales what it looks up
(Gemma's √d, Granite's multiplier), so rows are written as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mt_lottery.reading.gguf_files import GGUFFile
from mt_lottery.runs.export.formats import Exported, Options
from mt_lottery.runs.export.gguf.fits import check_head, check_table, notes_on, open_base
from mt_lottery.runs.export.gguf.learnt import OURS, Learnt, described, learnt
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
    ours = described(run, base, found.rows.ids.tolist())
    size = _write(folder, base, changed, ours)
    fits = f"llama.cpp and what is built on it (Ollama, LM Studio) load {FILE}."
    return Exported("gguf", folder, size, fits, notes=(*notes, *notes_on(run, base)))


def write_base(run: Run, folder: Path, options: Options) -> Exported:
    """Write the base with an output head of its own, over which adapters (``gguf-lora``) load.

    Raises:
        ModelError: as :func:`write`.
    """
    base = open_base(run, options.base)
    table = Table.of(base, TABLE)
    check_table(run, table)
    check_head(base)
    changed = {} if HEAD in base.tensors else {HEAD: as_it_is(base, table.place, HEAD)}
    size = _write(folder, base, changed, [])
    fits = f"llama.cpp loads the gguf-lora adapters of this model over {FILE}."
    return Exported("gguf-base", folder, size, fits, notes=tuple(notes_on(run, base)))


def _with_rows(base: GGUFFile, found: Learnt) -> tuple[dict[str, NewTensor], list[str]]:
    """The tensors that differ from the base's, by name, and what a user must know of them."""
    changed, notes = {}, []
    for name in (TABLE, HEAD) if found.head and HEAD in base.tensors else (TABLE,):
        table = Table.of(base, name)
        changed[name], lost = table.with_rows(found.rows)
        kind = table.written_as()
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


def _write(folder: Path, base: GGUFFile, changed: dict[str, NewTensor], ours: list[bytes]) -> int:
    """Write the base with other tensors; the size of the file in bytes."""

    def tensors() -> Iterator[NewTensor]:
        for name, place in base.tensors.items():
            yield changed.get(name) or as_it_is(base, place)
        if HEAD in changed and HEAD not in base.tensors:
            yield changed[HEAD]

    kept = [base.bytes[e.start : e.end] for k, e in base.entries.items() if not k.startswith(OURS)]
    with written_folder(folder, marked=True) as staging:
        write_gguf(staging / FILE, [*kept, *ours], list(tensors()), alignment=base.alignment)
    return (folder / FILE).stat().st_size
