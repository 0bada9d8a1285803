"""The libraries' own chatter, kept off the terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator


def quieten() -> None:
    """Keep the libraries' own chatter off the terminal; their errors still come."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*pin_memory.*")
    logging.getLogger("mt_lottery").setLevel(logging.INFO)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # faster kernels that it lacks
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep such chatter out of a notebook while a call works; then all is as it was before."""
    slow = logging.getLogger("bitsandbytes")
    level = slow.level
    bars = sys.modules.get("transformers.utils.logging")
    if "HF_HUB_DISABLE_PROGRESS_BARS" in os.environ or not (
        bars is not None and bars.is_progress_bar_enabled()
    ):
        bars = None  # its user has said what is to be shown
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*pin_memory.*")
        warnings.filterwarnings("ignore", message="IProgress not found")  # a bar of text will do
        slow.setLevel(logging.ERROR)
        if bars is not None:
            bars.disable_progress_bar()
        try:
            yield
        finally:
            slow.setLevel(level)
            if bars is not None:
                bars.enable_progress_bar()
