"""The libraries' own chatter, kept off the terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator

from mt_lottery.system.overlapping import Overlapping


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


def _ignore(
    before: contextlib.ExitStack, message: str = "", category: type[Warning] = Warning
) -> None:
    """Ignore some warnings, by a filter of our own: it alone is taken out again.

    ``catch_warnings`` puts back all filters as they were, those that others have added or taken
    out meanwhile too.
    """
    pattern = f"(?#mt-lottery){message}"  # a comment, so that no other filter is equal to it
    warnings.filterwarnings("ignore", message=pattern, category=category)

    def take_out() -> None:
        mine = [f for f in warnings.filters if getattr(f[1], "pattern", "") == pattern]
        for one in mine:
            if one[2] is category:
                warnings.filters.remove(one)  # type: ignore[attr-defined]

    before.callback(take_out)


def _keep_off(before: contextlib.ExitStack) -> None:
    slow = logging.getLogger("bitsandbytes")
    _ignore(before, category=FutureWarning)
    _ignore(before, ".*pin_memory.*")
    _ignore(before, "IProgress not found")  # a bar of text will do
    before.callback(slow.setLevel, slow.level)
    slow.setLevel(logging.ERROR)
    bars = sys.modules.get("transformers.utils.logging")
    # else its user has said what is to be shown
    shown = bars is not None and bars.is_progress_bar_enabled()
    if shown and "HF_HUB_DISABLE_PROGRESS_BARS" not in os.environ:
        assert bars is not None
        before.callback(bars.enable_progress_bar)
        bars.disable_progress_bar()


def _no_warnings(before: contextlib.ExitStack) -> None:
    _ignore(before)


def _transformers_errors(before: contextlib.ExitStack) -> None:
    log = logging.getLogger("transformers")
    before.callback(log.setLevel, log.level)
    log.setLevel(logging.ERROR)


_quiet = Overlapping(_keep_off)
#: No warnings at all.
no_warnings = Overlapping(_no_warnings)
#: Of what transformers logs its errors alone.
transformers_errors = Overlapping(_transformers_errors)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep such chatter out of a notebook while a call works; then all is as it was before."""
    with _quiet():
        yield
