"""Tiny models, made once, and the commands in an empty folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_runs import Commands, Models, make_models


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Commands]:
    """The commands, in an empty folder."""
    import torch

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MT_LOTTERY_CACHE", str(tmp_path / "cache"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a tiny model on several threads waits more than it works
    made = Commands(tmp_path, capsys.readouterr)
    yield made
    torch.set_num_threads(threads)
    for process in made.started:  # a failed test leaves none running
        if process.poll() is None:
            process.kill()
            process.communicate()
