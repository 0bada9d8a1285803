"""Calls into transformers: whatever one raises over a folder is what is wrong with the folder."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from mt_lottery.errors import ModelError, MTLotteryError, assigned

#: While transformers loads a model it changes its own classes (``PreTrainedModel.tie_weights`` does
#: nothing), and afterwards puts back what it found.  Of two that load at once the second finds the
#: change, and puts that back: from then on no tied head is made in this process.
ONE_AT_A_TIME = threading.RLock()


def call(load: Callable[..., Any], shown: str, *given: Any, **settings: Any) -> Any:
    """Call one of transformers' loaders, when no other thread does.

    A damaged file makes it raise nearly anything (TypeError from a configuration, IndexError
    from a GGUF reader, a panic of the tokenizers' Rust code), none of which is a bug of ours.

    Args:
        load: what to call.
        shown: folder, file or hub id, for the message.
        given, settings: its arguments.

    Raises:
        ModelError: it failed; with the reason and, where it is known, what to do.
        MemoryError: as it is.
    """
    try:
        with ONE_AT_A_TIME:
            return load(*given, **settings)
    except (MemoryError, MTLotteryError):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise  # KeyboardInterrupt, SystemExit
        text = " ".join(str(error).split())
        first = text[:400] + ("…" if len(text) > 400 else "")
        hint = _hint(text, error)
        raise ModelError(
            f"{shown} cannot be loaded.{hint} ({type(error).__name__}: {first})"
        ) from error


def _hint(text: str, error: BaseException) -> str:
    if "trust_remote_code" in text:
        return (
            " It comes with its own Python code. Read that code; if you trust it: "
            f"{assigned({'trust_remote_code': True})}"
        )
    if "does not recognize this architecture" in text or "Unrecognized model" in text:
        return " This transformers does not know the model: pip install -U transformers"
    if "safetensors" in text and "does not appear to have" in text:
        return (
            " It has no safetensors weights, and pickled ones are refused, since reading a "
            "pickle can run any code."
        )
    if "gguf" in text.lower() and isinstance(error, ImportError):
        return " pip install 'mt-lottery[demo]' brings what reads GGUF files."
    return ""
