"""The real ``comet-score``, where its environment is: tests without it are skipped."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from mt_lottery.errors import ScoreError
from mt_lottery.scoring.comet import program as comet_program

VARIABLE = "MT_LOTTERY_COMET_SCORE"
SCRIPT = Path(__file__).parent / "scoring" / "tiny_comet.py"


@dataclass(frozen=True)
class RealComet:
    """The program, the Python beside it, and a tiny checkpoint in COMET's layout."""

    program: Path
    model: Path

    def python(self, *arguments: object) -> None:
        python = self.program.resolve().parent / "python"
        command = [str(python), str(SCRIPT), *map(str, arguments)]
        done = subprocess.run(
            command, env=comet_program.own_environment(), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def find(folder: Path) -> RealComet:
    """Skips the test where the program is neither named, on PATH, nor set up."""
    try:
        program = comet_program.find_program(os.environ.get(VARIABLE))
    except ScoreError as error:
        pytest.skip(f"{VARIABLE} names no comet-score of unbabel-comet, and: {error}")
    found = RealComet(program, folder / "tiny-comet")
    found.python("build", found.model)
    return found
