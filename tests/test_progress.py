"""Bars: on a terminal and in a notebook they are drawn, elsewhere not."""

from __future__ import annotations

import sys
import types
import warnings
from typing import Any

import pytest

from mt_lottery.report import progress


def notebook(monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]) -> None:
    shell = types.SimpleNamespace(config=config)
    module: Any = types.ModuleType("IPython")
    module.get_ipython = lambda: shell
    monkeypatch.setitem(sys.modules, "IPython", module)


def test_nobody_watches_a_file(capfd: pytest.CaptureFixture[str]) -> None:
    with progress.progress_bar(3, "Rows") as bar:
        bar.update(3)
    assert not progress.is_live() and capfd.readouterr().err == ""


def test_a_terminals_shell_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook(monkeypatch, {"TerminalIPythonApp": {}})
    assert not progress.in_notebook() and not progress.is_live()


def test_a_notebook_has_a_bar_and_no_warning(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    notebook(monkeypatch, {"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # not installed
    for name in [name for name in sys.modules if name.startswith("tqdm.")]:
        if name in ("tqdm.auto", "tqdm.autonotebook", "tqdm.notebook"):
            monkeypatch.delitem(sys.modules, name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with progress.progress_bar(3, "Rows") as bar:
            bar.update(3)
    assert "Rows: 100%" in capfd.readouterr().err


def test_a_quiet_call_leaves_the_libraries_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    import logging

    import transformers.utils.logging as bars

    from mt_lottery.system.quiet import quietly

    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    bars.enable_progress_bar()
    filters, level = list(warnings.filters), logging.getLogger("bitsandbytes").level
    with pytest.raises(KeyError), quietly():
        assert not bars.is_progress_bar_enabled()
        raise KeyError
    assert bars.is_progress_bar_enabled() and list(warnings.filters) == filters
    assert logging.getLogger("bitsandbytes").level == level
    bars.disable_progress_bar()
    with quietly():
        pass
    assert not bars.is_progress_bar_enabled()
    bars.enable_progress_bar()
