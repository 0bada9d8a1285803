"""What PEFT has for several adapters, or for ones that can be added to weights: refused."""

from __future__ import annotations

from typing import Any, NoReturn

from mt_lottery.errors import ArgumentError, ModelError, nearest
from mt_lottery.ticket_model.layers import refuse_resizing


class OneTicket:
    """Methods of a ``PeftModel`` that a model with one ticket does not have."""

    peft_config: dict[str, Any]
    base_model: Any

    def set_adapter(self, adapter_name: str, inference_mode: bool = False) -> None:
        """Train the rows, or with ``inference_mode`` freeze them."""
        self._check_name(adapter_name)
        self.base_model.set_adapter(adapter_name, inference_mode)

    def _check_name(self, adapter_name: str) -> None:
        if adapter_name not in self.peft_config:
            names = list(self.peft_config)
            raise ArgumentError(
                f"adapter '{adapter_name}': this model has one, '{names[0]}'."
                f"{nearest(adapter_name, names)}"
            )

    def add_adapter(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: one ticket a model."""
        raise ModelError(
            "A TicketModel has one ticket. Tune the rows of both as one ticket, or make a second "
            "model; a LoRA adapter can be trained on what merge_and_unload() gives."
        )

    def delete_adapter(self, adapter_name: str) -> NoReturn:
        """Refused: :meth:`unload` gives the original model."""
        raise ModelError("A TicketModel without its ticket is the original model: model.unload().")

    def merge_adapter(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: :meth:`merge_and_unload` gives the plain model."""
        raise ModelError("Rows cannot be merged and taken out again; use merge_and_unload().")

    unmerge_adapter = merge_adapter

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: the table is frozen here."""
        refuse_resizing()
