"""The SentencePiece model of spBLEU: found in sacrebleu's cache, or fetched once, never waited for.

sacrebleu fetches it by itself, but without a time limit: on a machine whose network swallows
packets it hangs, and a cut connection leaves half a file that it takes for the whole one.
"""

from __future__ import annotations

import importlib
import logging
import os
import threading
import urllib.request
from pathlib import Path

logger = logging.getLogger(__name__)

#: Seconds until the server must have answered, and until the 5 MB must have come.
CONNECT_SECONDS = 5.0
DOWNLOAD_SECONDS = 60.0

_found: dict[Path, Path | None] = {}


def find_spm() -> Path | None:
    """The file that sacrebleu's tokenizer ``flores101`` will load, or None if it cannot be had.

    Looked for in ``$SACREBLEU/models`` (default ``~/.sacrebleu/models``), then downloaded there.
    Tried once a process; a failure is logged once.
    """
    tokenizer_spm = importlib.import_module("sacrebleu.tokenizers.tokenizer_spm")
    url = tokenizer_spm.SPM_MODELS["flores101"]["url"]
    path = Path(tokenizer_spm.SACREBLEU_DIR) / "models" / url.rpartition("/")[2]
    if path not in _found:
        problem = _problem(path) if path.exists() else _download(url, path)
        if problem:
            logger.warning(
                "No spBLEU: its model cannot be had (%s). BLEU over the model's own subwords "
                "takes its place. For spBLEU put %s at %s.",
                problem,
                url,
                path,
            )
        _found[path] = None if problem else path
    return _found[path]


def _problem(path: Path) -> str:
    """Why the file is no SentencePiece model; empty if it is one."""
    import sentencepiece

    try:
        loaded = sentencepiece.SentencePieceProcessor().Load(str(path))
    except (OSError, RuntimeError, TypeError) as error:
        return f"{path} is damaged: {error}"
    return "" if loaded else f"{path} is damaged"


def _download(url: str, path: Path) -> str:
    """Fetch ``url`` to ``path`` in one move; why that failed, or the empty string.

    In a thread, because a time limit on the socket does not bound the look-up of the host's name.
    """
    outcome: list[str] = []
    answered, done, given_up = threading.Event(), threading.Event(), threading.Event()
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")

    def fetch() -> None:
        try:
            with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as response:
                answered.set()
                path.parent.mkdir(parents=True, exist_ok=True)
                partial.write_bytes(response.read())
            problem = _problem(partial)
            if not problem and not given_up.is_set():
                os.replace(partial, path)
            outcome.append(problem)
        except Exception as error:  # whatever it was, spBLEU is not to be had
            outcome.append(f"download failed: {getattr(error, 'reason', error)}")
        finally:
            partial.unlink(missing_ok=True)
            answered.set()
            done.set()

    threading.Thread(target=fetch, name="spbleu-download", daemon=True).start()
    if answered.wait(CONNECT_SECONDS) and done.wait(DOWNLOAD_SECONDS):
        return outcome[0]
    given_up.set()
    return "download failed: no answer in time"
