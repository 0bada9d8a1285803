"""How a certificate is made: the options of ``mt-ticket certify``, and their ranges."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt_lottery.errors import ConfigError, TuningError, argument, unknown
from mt_lottery.ticket.certify_levels import TAU_FORMS
from mt_lottery.ticket.level import Level

MARGINS = ("embed", "original")
POSITIONS = 20
ALPHAS = tuple(i / 20 for i in range(21))


@dataclass(frozen=True)
class Settings:
    """How certificates are made.

    Attributes:
        alphas: each in [0, 1]; those of given runs and of checks are added.
        margin: the model whose p_A − p_B counts: ``embed`` (the theorem) or ``original`` (§4.1).
        tau: ``estimated`` (as the paper did) or ``analytic``.
        positions: first reference tokens of each sentence.
        sentences: first sentences of the test set; None for all.
        check_alphas: where the certificate is checked; None for a handful of tickets.
        suggest: the verified share for which the smallest α is wanted.
        seed: of the permutations.
    """

    alphas: Sequence[float] = ALPHAS
    margin: str = "embed"
    tau: str = "estimated"
    positions: int = POSITIONS
    sentences: int | None = None
    check_alphas: Sequence[float] | None = None
    suggest: float | None = None
    seed: int = 0

    def asked(self, runs: Sequence[Any]) -> dict[str, Any]:
        """The question that a certificate of some runs answers, ready for JSON."""
        places = [str(Path(run).expanduser().resolve()) for run in runs]
        return {"runs": places, **dataclasses.asdict(self)}

    def check(self) -> None:
        """Refuse what cannot be, all of it at once.

        Raises:
            ConfigError: a setting out of its range.
        """
        found = []
        for name in ("alphas", "check_alphas"):
            given, own = getattr(self, name), argument(name)
            if given is None and name == "check_alphas":
                continue
            if not isinstance(given, Sequence) or isinstance(given, str):
                found.append(f"{own} is {given!r}; a list of α is needed: [0.05, 0.5, 1.0].")
                continue
            try:
                _ = [Level(alpha) for alpha in given]
            except TuningError as error:
                found.append(f"{own}: {error}")
            if name == "alphas" and not given:
                found.append(f"{own} is empty; at least one α.")
        for name, value, allowed in (
            ("margin", self.margin, MARGINS),
            ("tau", self.tau, TAU_FORMS),
        ):
            if value not in allowed:
                found.append(f"{argument(name)}: {unknown(name, value, allowed)}")
        if not _whole(self.positions, 1):
            found.append(
                f"{argument('positions')} is {self.positions!r}; at least 1 reference token a "
                "sentence."
            )
        if self.sentences is not None and not _whole(self.sentences, 1):
            found.append(f"{argument('sentences')} is {self.sentences!r}; at least 1.")
        if not _whole(self.seed, 0):
            found.append(f"{argument('seed')} is {self.seed!r}; a whole number ≥ 0.")
        share = self.suggest
        if share is not None and not (isinstance(share, int | float) and 0 < share <= 1):
            shown = f"{share:g}" if isinstance(share, int | float) else repr(share)
            found.append(f"{argument('suggest')} is {shown}; a share in (0, 1].")
        if found:
            raise ConfigError(found)


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and value >= least
