"""Tiny models, made once, and the commands in an empty folder."""

from __future__ import annotations

from conftest_cli import commands, models

__all__ = ["commands", "models"]
