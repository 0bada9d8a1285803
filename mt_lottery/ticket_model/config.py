"""``TicketConfig``: which rows are tuned, as a configuration of PEFT."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftConfig

from mt_lottery.errors import ArgumentError, checked_keywords, nearest
from mt_lottery.ticket_model.given_rows import RowsLike, token_ids

#: PEFT's name for the method, and for the class of the models.
TICKET = "TICKET"
SCOPES = ("input", "both")


@dataclass(init=False)
class TicketConfig(PeftConfig):  # type: ignore[misc]
    """Which vocabulary rows of a model are tuned.

    Args:
        rows: token ids, [k]: a ticket (``mtl.find_ticket``, ``mtl.Ticket``), a tensor, an array,
            a list, or the path of a ``tickets.csv``. Kept as a list, in the order given.
        scope: of a model whose input table is its output head too ("tied"): ``"input"`` tunes the
            rows where tokens are looked up, ``"both"`` in the head as well (``tuner.scope=tied``
            of a recipe). A model whose head has a separate table takes ``"input"`` alone.
        base_model_name_or_path: of the original model; filled in by :func:`get_ticket_model`.
        revision: of the original model on the hub, as PEFT keeps it.
        inference_mode: the rows are frozen.
        task_type, peft_type, auto_mapping, peft_version: PEFT's, as a file of ``save_pretrained``
            has them; none need be given.

    Raises:
        ArgumentError: a ValueError: no row, an id twice or that is none, another scope or type.
        KeywordError: a TypeError: an argument that there is not, with the nearest that there is.

    >>> import mt_lottery as mtl
    >>> mtl.TicketConfig(rows=[17, 4, 9]).rows
    [17, 4, 9]
    >>> mtl.TicketConfig(rows=[17, 4, 9], scpoe="both")
    Traceback (most recent call last):
        ...
    mt_lottery.errors.KeywordError: TicketConfig: Unknown argument 'scpoe'. Did you mean 'scope'?...
    """

    rows: list[int] = field(default_factory=list, metadata={"help": "token ids of the rows"})
    scope: Literal["input", "both"] = field(
        default="input",
        metadata={"help": "of a tied model, tune the input table only, or the head too"},
    )

    @checked_keywords
    def __init__(
        self,
        rows: RowsLike,
        scope: Literal["input", "both"] = "input",
        *,
        base_model_name_or_path: str | None = None,
        revision: str | None = None,
        inference_mode: bool = False,
        task_type: str | None = None,
        peft_type: str | None = None,
        auto_mapping: dict[str, Any] | None = None,
        peft_version: str | None = None,
    ) -> None:
        _check_type("peft_type", peft_type, TICKET)
        _check_type("task_type", task_type, TICKET, "CAUSAL_LM")
        if scope not in SCOPES:
            hint = " 'tied' of a recipe is 'both' here." if scope == "tied" else ""  # type: ignore[comparison-overlap]
            raise ArgumentError(
                f"scope={scope!r}; allowed: 'input', 'both'.{hint or nearest(scope, SCOPES)}"
            )
        super().__init__(
            peft_type=TICKET,
            auto_mapping=auto_mapping,
            base_model_name_or_path=base_model_name_or_path,
            revision=revision,
            inference_mode=inference_mode,
        )
        # one of PEFT's tasks would make PEFT's own class of model
        self.task_type = TICKET
        if peft_version is not None:
            self.peft_version = peft_version
        self.rows = token_ids(rows)
        self.scope = scope


def _check_type(name: str, given: object, *allowed: str) -> None:
    """A type of PEFT's own that a configuration was given; None is the right one.

    Raises:
        ArgumentError: another.
    """
    if given is not None and given not in allowed:
        known = ", ".join(map(repr, allowed))
        raise ArgumentError(f"{name}={given!r}; allowed of a ticket: {known}, or none.")


# so that PEFT reads what save_pretrained wrote
PEFT_TYPE_TO_CONFIG_MAPPING[TICKET] = TicketConfig
