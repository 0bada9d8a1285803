"""Progress bars: on a terminal, or in a notebook."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process."""
    if "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})


def is_live() -> bool:
    """Whether somebody watches: a bar may be drawn again and again."""
    return sys.stderr.isatty() or in_notebook()


def beside_bars(echo: Callable[[str], None], text: str) -> None:
    """Print a line while a bar is drawn, which comes again below it."""
    if in_notebook() or not is_live():
        echo(text)
        return
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stderr):
        echo(text)


def duration(seconds: float | None) -> str:
    """``1 h 20 min``, ``3 min``, ``40 s``; ``?`` where it is not known."""
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def progress_bar(total: int, title: str | None = None, **how: Any) -> Any:
    """A bar of ``tqdm``, Jupyter's own in a notebook; nothing where nobody watches.

    Args:
        total: what is to be done.
        title: before the bar.
        how: as tqdm has it (``unit``, ``unit_scale``, ``leave``, ``initial``).
    """
    if in_notebook():
        with warnings.catch_warnings():  # without ipywidgets it is a line of text, which will do
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm
    else:
        from tqdm import tqdm
    return tqdm(total=total, desc=title, disable=not is_live(), **how)
