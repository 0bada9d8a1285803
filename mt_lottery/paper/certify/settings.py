"""How a certificate is made: the options of ``mt-ticket certify``, and their ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mt_lottery.errors import ConfigError, TuningError, unknown
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

    def check(self) -> None:
        """Refuse what cannot be, all of it at once.

        Raises:
            ConfigError: a setting out of its range.
        """
        found = []
        for option, given in (("--alphas", self.alphas), ("--check-alphas", self.check_alphas)):
            try:
                _ = [Level(alpha) for alpha in given or ()]
            except TuningError as error:
                found.append(f"{option}: {error}")
        if not self.alphas:
            found.append("--alphas is empty; at least one α.")
        for option, value, allowed in (
            ("margin", self.margin, MARGINS),
            ("tau", self.tau, TAU_FORMS),
        ):
            if value not in allowed:
                found.append(f"--{option}: {unknown(option, value, allowed)}")
        if self.positions < 1:
            found.append(f"--positions is {self.positions}; at least 1 reference token a sentence.")
        if self.sentences is not None and self.sentences < 1:
            found.append(f"--sentences is {self.sentences}; at least 1.")
        if self.suggest is not None and not 0 < self.suggest <= 1:
            found.append(f"--suggest is {self.suggest:g}; a share in (0, 1].")
        if found:
            raise ConfigError(found)
