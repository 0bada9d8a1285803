"""The rows in their place in a model, with the methods that PEFT asks of a "tuner"."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from peft import PeftModel
from torch import Tensor, nn

from mt_lottery.errors import ArgumentError, ModelError
from mt_lottery.model.folder.quantised import is_quantised, keep_differentiable
from mt_lottery.model.tables import input_table, is_tied, output_table
from mt_lottery.ticket_model.config import TicketConfig
from mt_lottery.tuners.rows.module import TokenRows, attach, detach


def check_base(model: Any, scope: str) -> None:
    """Refuse what cannot take token rows, before it is changed.

    Raises:
        ModelError: no causal language model of transformers that has its weights.
        ArgumentError: the scope does not fit the model.
    """
    kind = type(model).__name__
    if isinstance(model, str):
        raise ModelError(
            f"'{model}' is a name, not a model. Load it first: "
            f"AutoModelForCausalLM.from_pretrained('{model}')."
        )
    if isinstance(model, PeftModel):
        raise ModelError(
            f"{kind}: this model has an adapter of PEFT. Take it off first: "
            "model = model.merge_and_unload() (or model.unload(), which forgets the adapter)."
        )
    for inner in ("_orig_mod", "module"):  # torch.compile; DataParallel, deepspeed
        if isinstance(getattr(model, inner, None), nn.Module):
            raise ModelError(f"{kind}: wrap the model after get_ticket_model, not before.")
    if not hasattr(model, "get_input_embeddings") or not hasattr(model, "config"):
        raise ModelError(f"{kind}: not a model of transformers (AutoModelForCausalLM).")
    if getattr(model.config, "is_encoder_decoder", False):
        raise ModelError(f"{kind}: has a separate encoder; tickets are for decoder-only models.")
    if isinstance(model.get_input_embeddings(), TokenRows):
        raise ModelError(f"{kind}: this model has token rows already; one ticket a model.")
    table = input_table(model)
    if any(
        hasattr(t, kept) for t in (table, output_table(model)) for kept in ("ds_id", "full_tensor")
    ):
        raise ModelError(
            f"{kind}: its embedding table is split over processes (ZeRO-3, FSDP or tensor "
            "parallelism), and rows of it cannot be taken. Load the model whole; with DeepSpeed "
            "use ZeRO stage 0, 1 or 2. A ticket's optimizer state is small at any stage."
        )
    if table.is_meta:
        raise ModelError(f"{kind}: its embedding table has no values yet (device 'meta').")
    if scope == "both" and not is_tied(model):
        raise ArgumentError(
            f"scope='both', but the output head of this {kind} has a separate table; allowed "
            "for it: 'input'."
        )


def refuse_resizing(*_: Any, **__: Any) -> NoReturn:
    """In place of ``resize_token_embeddings``, of a model whose table is frozen under a ticket.

    Raises:
        ModelError: always.
    """
    raise ModelError(
        "The vocabulary cannot change under a ticket: resize the original model first "
        "(base.resize_token_embeddings), then get_ticket_model(base, …)."
    )


class TicketLayers(nn.Module):
    """A model with its ticket in it: what a ``PeftModel`` calls its ``base_model``.

    Args:
        model: a causal LM of transformers, changed in place: everything in it is frozen.
        peft_config: one adapter's name and its configuration.
        adapter_name: that name.

    Attributes:
        model: the model that was given.
        embedding: what replaces its input table; ``rows`` is what is trained.
        tied: its input table is its output head too.
        head_row: row 0 of the head, [1, d], float32 (for the file; later, ZeRO-3 or FSDP may hold
            parts of the table).
    """

    def __init__(
        self, model: Any, peft_config: dict[str, TicketConfig], adapter_name: str, **_: Any
    ) -> None:
        super().__init__()
        config = peft_config[adapter_name]
        check_base(model, config.scope)
        self.model = model
        self.peft_config = peft_config
        self.active_adapter = adapter_name
        if is_quantised(model):
            keep_differentiable(model)
        self.tied = is_tied(model)
        self.head_row = output_table(model)[:1].detach().to("cpu", torch.float32, copy=True)
        ids = torch.tensor(config.rows)
        embedding = attach(model, ids, tied=config.scope == "both")
        embedding.rows.requires_grad_(not config.inference_mode)
        model.resize_token_embeddings = refuse_resizing
        # both are parts of the model already, but while the adapter is disabled
        self._layers = (embedding, model.get_output_embeddings())

    @property
    def embedding(self) -> TokenRows:
        """The layer with the rows, in the model or (disabled) beside it."""
        return self._layers[0]

    @property
    def active_adapters(self) -> list[str]:
        """The one adapter's name."""
        return [self.active_adapter]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model makes of it."""
        return self.model(*args, **kwargs)

    def release(self) -> Any:
        """The model, which is a plain one again once its rows are out of it."""
        vars(self.model).pop("resize_token_embeddings", None)
        return self.model

    def disable_adapter_layers(self) -> None:
        """Put the original tables back."""
        detach(self.model)

    def enable_adapter_layers(self) -> None:
        """Put the rows in their place again."""
        embedding, head = self._layers
        self.model.set_input_embeddings(embedding)
        self.model.set_output_embeddings(head)

    def set_adapter(self, adapter_name: str, inference_mode: bool = False) -> None:
        """Train the rows, or freeze them."""
        self.set_requires_grad(adapter_name, not inference_mode)

    def set_requires_grad(self, adapter_names: Any, requires_grad: bool = True) -> None:
        """Train the rows, or freeze them."""
        self.embedding.rows.requires_grad_(requires_grad)

    def _cast_adapter_dtype(self, adapter_name: str, autocast_adapter_dtype: bool = True) -> None:
        if not autocast_adapter_dtype:  # PEFT's wish; the rows are float32 otherwise
            rows: Tensor = self.embedding.rows
            rows.data = rows.data.to(self.embedding.weight.dtype)

    def __getattr__(self, name: str) -> Any:
        """What is not here is the model's."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "model":
                raise
            return getattr(self.model, name)
