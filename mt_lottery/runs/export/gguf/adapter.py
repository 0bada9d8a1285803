"""``gguf-lora``: the rows as an adapter of llama.cpp, chosen by request over one base.

What llama.cpp does with it (``llm_graph_context::build_inp_embd``): the row of A that belongs to
the token, times B, times alpha / r, is added to the row of ``token_embd.weight``, before any
scaling.  A [V, r] is one-hot, B [d, r] holds the differences from the base's own rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mt_lottery.errors import TuningError, argument, plural
from mt_lottery.reading.gguf_files import ALIGNMENT
from mt_lottery.runs.export.card import write_card
from mt_lottery.runs.export.formats import Exported, Options
from mt_lottery.runs.export.gguf.fits import check_head, check_table, notes_on, open_base
from mt_lottery.runs.export.gguf.learnt import described, learnt
from mt_lottery.runs.export.gguf.snippet import lines_of
from mt_lottery.runs.export.gguf.table import HEAD, TABLE, Rows, Table, encoded
from mt_lottery.runs.export.gguf.writing import NewTensor, entry, write_gguf
from mt_lottery.runs.finished import Run
from mt_lottery.system.replacing import written_folder

FILE = "adapter.gguf"
_BLOCK = 32  # of Q4_0, which holds 0 and 1 exactly in half a byte


def write(run: Run, folder: Path, options: Options) -> Exported:
    """Write the adapter.

    Raises:
        TuningError: the run learnt something else than a few rows.
        ModelError: the base is damaged, not of the run's model, or takes no adapter.
    """
    found = learnt(run, "gguf-lora")
    base = open_base(run, options.base)
    table = Table.of(base, TABLE)
    check_table(run, table)
    check_head(base)
    count, width = len(found.rows.ids), table.place.shape[1]
    if not 0 < count <= width:
        raise TuningError(
            f"{argument('format', 'gguf-lora')} holds 1 to {plural(width, 'row')} of this model, "
            f"and the run changed {count}; {argument('format', 'gguf')} holds any number."
        )
    tensors = [*_input_pair(table, found.rows)]
    if found.head:
        own = Table.of(base, HEAD if HEAD in base.tensors else TABLE)
        tensors += _head_pair(own, found.rows)
    architecture = str(base.get("general.architecture"))
    entries = [
        entry("general.type", "adapter"),
        entry("general.architecture", architecture),
        entry("adapter.type", "lora"),
        entry("adapter.lora.alpha", float(tensors[0].shape[1])),  # alpha / r is 1
        *described(run, base, found.rows.ids.tolist()),
    ]
    notes = [*notes_on(run, base)]
    spoken, engines = lines_of(run, base, adapter=True)
    what = f"{plural(count, 'row')} of the embedding table"
    about = f"`{FILE}` is an adapter of llama.cpp that changes {what}."
    with written_folder(folder, marked=True) as staging:
        write_gguf(staging / FILE, entries, tensors, alignment=ALIGNMENT)
        write_card(staging, run, spoken, library="gguf", about=about, engines=engines)
    fits = (
        f"llama.cpp loads {FILE} over any GGUF of this model whose output head is a tensor of its "
        f"own ({HEAD})."
    )
    if HEAD not in base.tensors:
        notes.append(
            f"{options.base} has none, and llama.cpp aborts with it and an adapter: "
            f"{argument('format', 'gguf-base')} writes it with one, once for all languages."
        )
    written = (folder / FILE).stat().st_size
    return Exported("gguf-lora", folder, written, fits, notes=tuple(notes))


def _input_pair(table: Table, rows: Rows) -> Iterator[NewTensor]:
    """A [V, r], one-hot, and B [d, r], the differences: of a table that is looked up."""
    from gguf import GGMLQuantizationType as Kind

    count = len(rows.ids)
    rank = count + -count % _BLOCK
    places = np.repeat(
        encoded(np.zeros((1, rank), np.float32), Kind.Q4_0), table.place.shape[0], axis=0
    )
    places[rows.ids] = encoded(np.eye(count, rank, dtype=np.float32), Kind.Q4_0)
    yield _tensor(f"{TABLE}.lora_a", places, Kind.Q4_0, rank)
    wide = np.zeros((table.place.shape[1], rank), np.float32)
    wide[:, :count] = (rows.values - table.read(rows.ids)).T
    yield _tensor(f"{TABLE}.lora_b", wide, Kind.F32, rank)


def _head_pair(table: Table, rows: Rows) -> Iterator[NewTensor]:
    """A [r, d], the differences, and B [V, r], one-hot: of a table that is multiplied with."""
    from gguf import GGMLQuantizationType as Kind

    (vocabulary, width), count = table.place.shape, len(rows.ids)
    yield _tensor(f"{HEAD}.lora_a", rows.values - table.read(rows.ids), Kind.F32, width)
    places = np.zeros((vocabulary, count), np.float16)  # Q4_0 would round what is multiplied
    places[rows.ids] = np.eye(count)
    yield _tensor(f"{HEAD}.lora_b", places, Kind.F16, count)


def _tensor(name: str, rows: NDArray[Any], kind: Any, width: int) -> NewTensor:
    content = np.ascontiguousarray(rows)
    return NewTensor(name, (len(content), width), int(kind), content.nbytes, lambda: [content])
