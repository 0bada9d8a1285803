"""Errors that a user can cause and mend.

Every class here stands for a mistake in what was given to the toolkit (a
setting, a file, a model folder), never for a bug in it.  The command line
prints the message alone and exits with 2; anything else is a crash (exit 1).
A message says what was wrong, where (path and line or key), the value, and
what is allowed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class MTLotteryError(Exception):
    """Base of every error that the user can mend."""


class ConfigError(MTLotteryError):
    """One or several settings are not valid; all of them are listed.

    Args:
        problems: one sentence each, in the order in which they were found.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        if len(self.problems) == 1:
            text = self.problems[0]
        else:
            lines = "\n".join(f"  {i}. {p}" for i, p in enumerate(self.problems, 1))
            text = f"{len(self.problems)} settings are not valid:\n{lines}"
        super().__init__(text)


class LackingError(ConfigError):
    """Settings that have no default were not given.

    Args:
        keys: of those settings.
        problems: whatever else is wrong, before them.
    """

    def __init__(self, keys: Sequence[str], problems: Sequence[str] = ()) -> None:
        self.keys = list(keys)
        lacking = [f"`{key}` must be given: it has no default." for key in keys]
        super().__init__([*problems, *lacking])


class RegistryError(MTLotteryError):
    """A name is unknown, or taken twice, in one of the registries."""


class PluginError(MTLotteryError):
    """A plugin (entry point or ``user_dir``) could not be imported."""


class DataError(MTLotteryError):
    """A corpus is missing, malformed or too small."""


class ModelError(MTLotteryError):
    """A model or tokenizer cannot be loaded or does not fit the request."""


class TuningError(MTLotteryError):
    """A tuning method cannot be applied (an empty ticket, rows out of range)."""


class TrainingError(MTLotteryError):
    """Training cannot go on (a loss that is not finite, a broken checkpoint)."""


class ScoreError(MTLotteryError):
    """A metric cannot be computed on what it was given."""


class RecordError(MTLotteryError):
    """A run directory or its ``record.json`` is damaged, foreign or in the way."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known.

    Returns:
        ``" Did you mean 'x'?"`` (leading blank included) or the empty string.
    """
    match = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f" Did you mean '{match[0]}'?" if match else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence for an unknown name: the value, what is allowed, the nearest match."""
    names = sorted(str(k) for k in known)
    listed = ", ".join(names) if names else "none"
    return f"Unknown {kind} '{name}'.{nearest(name, names)} Known: {listed}."
