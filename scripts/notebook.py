"""Run examples/notebook.ipynb and keep its output: python scripts/notebook.py (10 minutes).

Needs nbclient and ipykernel (extra ``test``), the default model (``demo``) and matplotlib.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parent.parent / "examples" / "notebook.ipynb"


@contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    """An empty cache, which shares nothing but converted models."""
    from mt_lottery.system.values import cache_folder

    models = cache_folder().resolve() / "models"
    models.mkdir(parents=True, exist_ok=True)
    (folder / "cache").mkdir()
    (folder / "cache" / "models").symlink_to(models, target_is_directory=True)
    before = os.environ.get("MT_LOTTERY_CACHE")
    os.environ["MT_LOTTERY_CACHE"] = str(folder / "cache")
    try:
        yield
    finally:
        del os.environ["MT_LOTTERY_CACHE"]
        if before is not None:
            os.environ["MT_LOTTERY_CACHE"] = before


def execute(folder: Path, path: Path = NOTEBOOK) -> Any:
    """Run every cell of a notebook.

    Args:
        folder: where it runs; empty.
        path: the notebook.

    Returns:
        it, with its new output.
    """
    import nbformat
    from nbclient import NotebookClient

    made = nbformat.read(path, as_version=4)
    # a bar that is drawn again and again is kept as it was in the end
    client = NotebookClient(
        made,
        timeout=3600,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        coalesce_streams=True,
        store_widget_state=False,
        record_timing=False,
    )
    with cache_in(folder):
        client.execute()
    return made


def main() -> None:
    """Run it in a folder of its own, and write it back."""
    import nbformat

    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        made = execute(Path(folder))
    for output in (each for cell in made.cells for each in cell.get("outputs", [])):
        if output.output_type == "stream":  # what a bar that was taken away leaves
            output.text = re.sub(r"^[ \r]+$", "", output.text, flags=re.MULTILINE)
    text = nbformat.writes(made)
    text = re.sub(rf"{re.escape(folder)}/", "", text)
    NOTEBOOK.write_text(text if text.endswith("\n") else f"{text}\n", "utf-8")


if __name__ == "__main__":
    main()
