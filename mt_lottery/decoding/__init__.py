"""Decoding: prompts in, hypotheses out, in input order."""

from __future__ import annotations

from mt_lottery.decoding.translation import Hypothesis, first_line, translate

__all__ = ["Hypothesis", "first_line", "translate"]
