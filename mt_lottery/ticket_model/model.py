"""``TicketModel``: a PeftModel whose adapter is a ticket."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Unpack

import torch
from peft import (
    MODEL_TYPE_TO_PEFT_MODEL_MAPPING,
    PEFT_TYPE_TO_TUNER_MAPPING,
    PeftModelForCausalLM,
)
from torch import Tensor

from mt_lottery.errors import (
    ArgumentError,
    ModelError,
    check_keywords,
    checked_keywords,
)
from mt_lottery.model.folder.quantised import quantisation, refuse_merging
from mt_lottery.system.quiet import quietly
from mt_lottery.ticket_model.config import TICKET, TicketConfig
from mt_lottery.ticket_model.hub import HubArguments, adapter_folder
from mt_lottery.ticket_model.layers import TicketLayers, check_base
from mt_lottery.ticket_model.one_ticket import OneTicket
from mt_lottery.ticket_model.saving import save_ticket
from mt_lottery.tuners.rows.adapter_file import (
    CONFIG,
    load_rows,
    scope_of,
)
from mt_lottery.tuners.rows.module import TokenRows, detach, fold

#: What Trainer and transformers hand to ``save_pretrained`` beside PEFT's own arguments.
_ALSO = ("state_dict", "max_shard_size")
_HUB = tuple(HubArguments.__annotations__)


class TicketModel(OneTicket, PeftModelForCausalLM):  # type: ignore[misc]
    """A causal LM of transformers of which nothing but a ticket's rows is trained.

    It is a ``PeftModel``: Trainer, TRL, accelerate and ``generate`` take it as one. The rows are
    kept in float32 whatever the model's dtype, beside the frozen table. Made by
    :func:`get_ticket_model` or :meth:`from_pretrained`.

    Args:
        model: the original model; it is changed in place.
        peft_config: which rows.
        adapter_name: PEFT's name for what is trained.

    Raises:
        ModelError: a model that cannot take rows (a separate encoder, quantised or split
            embeddings, an adapter in it already).
        ArgumentError: a ValueError: the rows or the scope do not fit the model.

    >>> import mt_lottery as mtl
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> small = dict(vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
    ...              num_attention_heads=2, tie_word_embeddings=True)
    >>> base = LlamaForCausalLM(LlamaConfig(**small))
    >>> model = mtl.get_ticket_model(base, mtl.TicketConfig(rows=[17, 4, 9]))
    >>> model.rows, tuple(model.values.shape)
    (tensor([17,  4,  9]), (3, 16))
    >>> model.print_trainable_parameters()
    trainable params: 48 || all params: 3,296 || trainable%: 1.4563
    >>> plain = model.merge_and_unload()
    >>> type(plain).__name__, plain.config.tie_word_embeddings
    ('LlamaForCausalLM', False)
    """

    def __init__(
        self,
        model: Any,
        peft_config: TicketConfig,
        adapter_name: str = "default",
        **kwargs: Any,
    ) -> None:
        _check_config(peft_config)
        with quietly():
            super().__init__(model, peft_config, adapter_name, **kwargs)

    _adapters_disabled: bool  # PEFT's

    @property
    def _embedding(self) -> TokenRows:
        embedding: TokenRows = self.base_model.embedding
        return embedding

    @property
    def rows(self) -> Tensor:
        """Token ids of the rows, int64 [k], on the CPU, in the order of the configuration."""
        return self._embedding.token_ids.detach().cpu()

    @property
    def values(self) -> Tensor:
        """The rows as they are now, [k, d], a detached view of what is trained."""
        return self._embedding.rows.detach()

    @property
    def dtype(self) -> torch.dtype:
        """Of the original model's weights; the rows beside them may be wider."""
        return self._embedding.weight.dtype

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        safe_serialization: bool = True,
        selected_adapters: Sequence[str] | None = None,
        save_embedding_layers: str | bool = "auto",
        is_main_process: bool = True,
        path_initial_model_for_weight_conversion: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the rows as an adapter that plain PEFT loads (``PeftModel.from_pretrained``).

        Args:
            save_directory: the folder; made if need be. A README.md that is there stays.
            safe_serialization: always true: ``adapter_model.safetensors``.
            selected_adapters: PEFT's; there is one.
            save_embedding_layers: PEFT's; the rows are all that is written.
            is_main_process: of several processes, write here.
            path_initial_model_for_weight_conversion: PEFT's; LoRA alone has it.
            **kwargs: ``state_dict`` (of the whole model, gathered) and ``max_shard_size``, which
                Trainer and ``push_to_hub`` give.

        Raises:
            ArgumentError: a pickle or another adapter is asked for.
            KeywordError: another argument.
            ModelError: this process has only a part of the rows, and no ``state_dict`` (FSDP 1).
            RecordError: ``save_directory`` is a file.
            DiskError: it cannot be written.
        """
        known = [*_ALSO, "safe_serialization", "selected_adapters", "is_main_process"]
        check_keywords("TicketModel.save_pretrained", kwargs, known)
        if not safe_serialization:
            raise ArgumentError("safe_serialization=False: rows are written as safetensors alone.")
        if path_initial_model_for_weight_conversion is not None:
            raise ArgumentError("path_initial_model_for_weight_conversion: only LoRA has that.")
        for adapter in selected_adapters or ():
            self._check_name(adapter)
        save_ticket(self, save_directory, kwargs.get("state_dict") or {}, write=is_main_process)

    @classmethod
    def from_pretrained(
        cls,
        model: Any,
        model_id: str | os.PathLike[str],
        adapter_name: str = "default",
        is_trainable: bool = False,
        **hub: Unpack[HubArguments],
    ) -> TicketModel:
        """The original model with rows that :meth:`save_pretrained` (or a run) wrote.

        Args:
            model: the original model; it is changed in place.
            model_id: a folder (``adapter/`` of a run too), or the id of an adapter on the hub.
            adapter_name: PEFT's name for it.
            is_trainable: the rows are to be trained further; else they are frozen.
            **hub: ``subfolder``, ``revision``, ``cache_dir``, ``force_download``, ``token`` and
                ``local_files_only``, as ``PeftModel.from_pretrained`` has them.

        Raises:
            RecordError: no adapter of rows there, damaged, or of another model.
            ModelError: not to be had from the hub; or as :class:`TicketModel`.
            KeywordError: another argument.
        """
        known = ["model", "model_id", "adapter_name", "is_trainable", *_HUB]
        check_keywords("TicketModel.from_pretrained", hub, known)
        folder = adapter_folder(model_id, hub)
        check_base(model, "input")
        ids, values = load_rows(folder, model)
        config = TicketConfig(ids, _scope(folder, model), inference_mode=not is_trainable)
        made = _wrapped(cls, model, config, adapter_name)
        made._put(values)
        return made if is_trainable else made.eval()

    def _put(self, values: Tensor) -> None:
        with torch.no_grad():
            self._embedding.rows.copy_(values)

    def load_adapter(
        self,
        model_id: str | os.PathLike[str],
        adapter_name: str = "default",
        is_trainable: bool = False,
        **hub: Unpack[HubArguments],
    ) -> None:
        """Put saved values into the rows of this model (Trainer does, to go on from a checkpoint).

        Args:
            model_id: a folder, or the id of an adapter on the hub, of the same rows.
            adapter_name: the name of this model's adapter.
            is_trainable: the rows are to be trained further; else the model is put into eval mode.
            **hub: as :meth:`from_pretrained`.

        Raises:
            RecordError: as :meth:`from_pretrained`.
            ArgumentError: another adapter, or other rows than this model's.
        """
        known = ["model_id", "adapter_name", "is_trainable", *_HUB]
        check_keywords("TicketModel.load_adapter", hub, known)
        self._check_name(adapter_name)
        folder = adapter_folder(model_id, hub)
        base = self.get_base_model()
        ids, values = load_rows(folder, base)
        scope: str = self.active_peft_config.scope
        if not torch.equal(ids, self.rows) or _scope(folder, base) != scope:
            raise ArgumentError(
                f"{folder / CONFIG}: other rows, or another scope, than this model's ticket. "
                "TicketModel.from_pretrained(base, …) loads it into the original model."
            )
        self._put(values)
        if is_trainable:
            self.base_model.set_requires_grad(adapter_name)
        else:
            self.eval()

    def merge_and_unload(
        self,
        progressbar: bool = False,
        safe_merge: bool = False,
        adapter_names: Sequence[str] | None = None,
    ) -> Any:
        """The plain transformers model, the rows written into its own table.

        Of a tied model whose head keeps its rows (``scope="input"``) it makes one with two
        tables, and its configuration says so; PEFT's own merge would tie them again, in silence.
        In bfloat16 or float16 updates smaller than a step of the dtype are lost.

        Args:
            progressbar: PEFT's; there is nothing to wait for.
            safe_merge: refuse values that are not finite.
            adapter_names: PEFT's; there is one.

        Returns:
            the model that was given to :func:`get_ticket_model`, changed. This wrapper is used up.

        Raises:
            ModelError: its weights are quantised, or with ``safe_merge`` a value is not finite.
        """
        for adapter in adapter_names or ():
            self._check_name(adapter)
        base = self.get_base_model()
        where = getattr(base.config, "_name_or_path", "") or type(base).__name__
        refuse_merging(where, quantisation(base.config))
        if safe_merge and not bool(torch.isfinite(self.values).all()):
            raise ModelError("The tuned rows hold NaN or infinity; nothing was merged.")
        self.base_model.enable_adapter_layers()
        return fold(self.base_model.release())

    def tie_weights(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: tables that belong together are so, and rows of one table belong to it.

        accelerate asks a model for it before FSDP 2 divides it.
        """

    def unload(self) -> Any:
        """The original model as it was; the rows are left out of it. This wrapper is used up."""
        base = self.base_model.release()
        detach(base)
        return base

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """The original model inside of a ``with``, as PEFT's (TRL's reference model is that)."""
        was_disabled = bool(self._adapters_disabled)
        self.base_model.disable_adapter_layers()
        self._adapters_disabled = True
        try:
            yield
        finally:
            if not was_disabled:
                self.base_model.enable_adapter_layers()
            self._adapters_disabled = was_disabled


def _check_config(config: object) -> None:
    if not isinstance(config, TicketConfig):
        raise ArgumentError(
            f"A {type(config).__name__} makes no TicketModel: give mtl.TicketConfig(rows=…)."
        )


def _scope(folder: Path, model: Any) -> Literal["input", "both"]:
    return "both" if scope_of(folder, model) == "tied" else "input"


def _wrapped(
    cls: type[TicketModel], model: Any, config: TicketConfig, name: str, **more: Any
) -> TicketModel:
    _check_config(config)
    config = copy.copy(config)
    where = getattr(getattr(model, "config", None), "_name_or_path", None)
    config.base_model_name_or_path = config.base_model_name_or_path or where or None
    return cls(model, config, name, **more)


@checked_keywords
def get_ticket_model(
    model: Any,
    peft_config: TicketConfig,
    adapter_name: str = "default",
    autocast_adapter_dtype: bool = True,
) -> TicketModel:
    """Make a model of which only a ticket's rows are trained, as PEFT's ``get_peft_model``.

    Args:
        model: a causal LM of transformers (``AutoModelForCausalLM.from_pretrained``), any
            float dtype; it is changed in place, and everything in it is frozen.
        peft_config: which rows.
        adapter_name: PEFT's name for what is trained.
        autocast_adapter_dtype: keep the rows in float32; if False, in the table's dtype (FSDP 1
            takes one dtype only; FSDP 2 takes both).

    Returns:
        the model to hand to Trainer, TRL's ``SFTTrainer``, accelerate or a loop of one's own;
        ``[p for p in model.parameters() if p.requires_grad]`` is one tensor [k, d] in float32.

    Raises:
        ModelError: a model that cannot take rows; see :class:`TicketModel`.
        ArgumentError: a ValueError: the rows or the scope do not fit the model.
        KeywordError: a TypeError: an argument that there is not.

    >>> import torch, mt_lottery as mtl
    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> small = dict(vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
    ...              num_attention_heads=2)
    >>> base = LlamaForCausalLM(LlamaConfig(**small))
    >>> model = mtl.get_ticket_model(base, mtl.TicketConfig(rows=torch.tensor([17, 4, 9])))
    >>> [(name, tuple(p.shape)) for name, p in model.named_parameters() if p.requires_grad]
    [('base_model.model.model.embed_tokens.rows', (3, 16))]
    """
    cast = {"autocast_adapter_dtype": autocast_adapter_dtype}
    return _wrapped(TicketModel, model, peft_config, adapter_name, **cast)


# so that peft.get_peft_model and SFTTrainer(peft_config=…) make the same model
PEFT_TYPE_TO_TUNER_MAPPING[TICKET] = TicketLayers
MODEL_TYPE_TO_PEFT_MODEL_MAPPING[TICKET] = TicketModel
