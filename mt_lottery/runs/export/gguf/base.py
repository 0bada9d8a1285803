"""``gguf-base``: the base's own GGUF with an output head of its own, under all ``gguf-lora``.

llama.cpp finds the tensors of an adapter by name.  Where the base has one table for both ends, the
head has the name of the input table, and an adapter of that table ends the process
(``GGML_ASSERT(ggml_can_mul_mat)``).  With the same bytes once more as ``output.weight`` it works.
"""

from __future__ import annotations

from pathlib import Path

from mt_lottery.runs.card import README
from mt_lottery.runs.export.card import base_name, front_matter
from mt_lottery.runs.export.formats import Exported, Options
from mt_lottery.runs.export.gguf.fits import check_head, check_table, notes_on, open_base
from mt_lottery.runs.export.gguf.table import HEAD, TABLE, Table
from mt_lottery.runs.export.gguf.whole import FILE, write_model
from mt_lottery.runs.export.gguf.writing import as_it_is
from mt_lottery.runs.finished import Run
from mt_lottery.system.atomic import write_text

ABOUT = """# {name} for llama.cpp, under adapters of token rows

`model.gguf` is the original model, untouched but for `output.weight`: its output head as a tensor
of its own. llama.cpp needs that where an adapter changes the embedding table:

```sh
llama-server -m model.gguf --lora-scaled ro.gguf:0,es.gguf:0 --cache-ram 0
```
"""


def write(run: Run, folder: Path, options: Options) -> Exported:
    """Write the base with two tables; nothing of the run is in it.

    Raises:
        ModelError: the base is damaged, not of the run's model, or of an architecture whose head
            llama.cpp always ties.
    """
    base = open_base(run, options.base)
    table = Table.of(base, TABLE)
    check_table(run, table)
    check_head(base)
    notes = tuple(notes_on(run, base))
    changed = {} if HEAD in base.tensors else {HEAD: as_it_is(base, table.place, HEAD)}

    def card(staging: Path) -> None:
        head = front_matter(run, "gguf")
        write_text(staging / README, head + ABOUT.format(name=base_name(run)))

    size = write_model(folder, base, changed, [], card)
    fits = f"llama.cpp loads {FILE} with the gguf-lora adapters of any run of this model."
    return Exported("gguf-base", folder, size, fits, notes=notes)
