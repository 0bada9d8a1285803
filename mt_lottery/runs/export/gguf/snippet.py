"""llama.cpp's lines in a card: the text that the tests run."""

from __future__ import annotations

from typing import Any

from mt_lottery.reading.gguf_files import GGUFFile
from mt_lottery.runs.card import Spoken
from mt_lottery.runs.export.card import request
from mt_lottery.runs.export.gguf.fits import bos_to_leave_out
from mt_lottery.runs.finished import Run

LLAMA_CPP = """
```sh
llama-server -m {files}
curl localhost:8080/completion -H 'Content-Type: application/json' -d {request}
```

The translation is `content`, up to its first line break. The scores above are the run's own:
llama.cpp computes with the weights of its file, and where these have few bits some words differ.
{more}"""

_LORA = """
`BASE.gguf` is what `mt-ticket export --format gguf-base` writes, once for all languages. Of several
adapters (`--lora-scaled ro.gguf:0,es.gguf:0`), `id` is the number of the one meant, from 0. Name it
in every request: one without `lora` may go on from a prompt that was kept of another language.
"""


def lines_of(run: Run, base: GGUFFile, adapter: bool) -> tuple[Spoken, list[tuple[str, str]]]:
    """How the run is spoken to, and the lines of each engine.

    Args:
        run: what is exported.
        base: for which GGUF.
        adapter: it is an adapter, not a whole model.
    """
    spoken = Spoken.of(run.config, run.text, run.tuned, run.tuner.lead)
    asked: dict[str, Any] = {"prompt": "{prompt}", "n_predict": spoken.new, "temperature": 0}
    asked["repeat_penalty"] = 1  # a GGUF may have another default, which the run decodes without
    if adapter:
        asked["lora"] = [{"id": 0, "scale": 1}]
    words = {
        "files": "BASE.gguf --lora-scaled adapter.gguf:0 --cache-ram 0"
        if adapter
        else "model.gguf",
        "request": request(spoken, without=bos_to_leave_out(run, base), **asked),
        "more": _LORA if adapter else "",
    }
    return spoken, [("llama.cpp", LLAMA_CPP.format(**words))]
