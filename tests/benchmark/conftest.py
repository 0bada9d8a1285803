"""The tiny models and the commands of the tests of the command line."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))

from conftest_cli import commands, models

__all__ = ["commands", "models"]
