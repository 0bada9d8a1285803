"""``peft``: any method of PEFT, by its name there."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mt_lottery.config import RunConfig, TunerConfig, setting
from mt_lottery.errors import TuningError, nearest
from mt_lottery.model.folder.saving import cast
from mt_lottery.model.reach import is_text_only, text_modules
from mt_lottery.registry import register_tuner
from mt_lottery.tuners.adapters import options as pefts
from mt_lottery.tuners.adapters.base import (
    PeftTuner,
    linear_layers,
    query_and_value_layers,
    quiet,
)
from mt_lottery.tuners.adapters.prefix import check_virtual_tokens
from mt_lottery.tuners.base import Tuner, TuningContext
from mt_lottery.tuners.kept import agree, logits_of

EVERY = "all-linear"  # PEFT's own word
POSITIONS = 10  # that are learned, as in recipe=prefix; PEFT has no default
LIKE_LORA = {"q_proj", "v_proj"}  # where PEFT puts LoRA into Llama
#: The options that set how much is trained: the first that a recipe gives is searched.
SIZES = ("oft_block_size", "n_frequency", "u", "num_virtual_tokens", "r")
#: Methods that learn matrices, at the learning rates of LoRA; the others learn few numbers.
MATRICES = (
    *("lora", "oft", "miss", "shira", "boft", "hra", "hira", "deft", "gralora", "lily", "osf"),
    *("psoft", "loha", "lokr", "delora", "glora", "peanut", "randlora"),
)

#: Methods that leave the weights they are put on alone until these compute.
DIVIDED = ("lora", "ia3")

#: What PEFT raises where a method does not fit a model: it differs from method to method.
FAULTS = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError),
    *(NotImplementedError, AssertionError, RuntimeError),
)


@dataclass
class PeftMethodConfig(TunerConfig):
    """Which method of PEFT, on which layers, with which of its options."""

    method: str = setting("lora", "method of the installed PEFT, by its name there: oft, ia3, …")
    target_modules: list[str] = setting(
        (),
        "names of the layers it is put on; all-linear for every linear layer but the output head "
        "[as for LoRA, or those that PEFT lists for the method]",
    )
    options: dict[str, Any] = setting(
        {}, "options of PEFT's own configuration class: tuner.options.r=8 [PEFT's defaults]"
    )

    def __post_init__(self) -> None:
        self.method = self.method.lower()


def _said(error: Exception) -> str:
    """What PEFT said, as a sentence."""
    return (" ".join(str(error).split()) or type(error).__name__).rstrip(".") + "."


@register_tuner("peft", dataclass=PeftMethodConfig)
class PeftMethodTuner(PeftTuner):
    """Any method of PEFT, by its name there, with PEFT's own options."""

    leaderboard = False
    by_others = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._dtypes: dict[str, torch.dtype] = {}

    @property
    def method(self) -> str:
        return str(self.config.method)

    @property
    def undivided(self) -> str | None:
        if self.method in DIVIDED and not self.config.options.get("use_dora"):
            return None
        return (
            f"PEFT's {self.method} was not tested on divided weights (tested: "
            f"{', '.join(DIVIDED)}, without use_dora)"
        )

    @property
    def _class(self) -> Any:
        """PEFT's configuration class; None where the installed PEFT has no such method."""
        return pefts.methods().get(self.method)

    def problems_with_settings(self) -> Iterator[str]:
        yield from pefts.problems_of(self.method, self.config.options)

    def problems_with(self, run: RunConfig) -> Iterator[str]:
        if run.train.gradient_checkpointing and self.method in ("prefix_tuning", "cartridge"):
            yield (
                "`train.gradient_checkpointing` is true: PEFT cannot train a prefix that way; "
                f"allowed for tuner.method={self.method}: false."
            )

    @property
    def virtual_tokens(self) -> int:
        if self._class is None or not pefts.is_prompt_learning(self._class):
            return 0
        return int(self.config.options.get("num_virtual_tokens", POSITIONS))

    @property
    def search_space(self) -> dict[str, list[Any]]:
        rates = [3e-4, 1e-3, 3e-3] if self.method in MATRICES else [3e-3, 1e-2, 3e-2]
        space: dict[str, list[Any]] = {"train.lr": rates, "train.epochs": [2, 4]}
        given = self.config.options
        size = next((name for name in SIZES if type(given.get(name)) is int), None)
        if size is not None and given[size] > 1:
            space[f"tuner.options.{size}"] = [given[size] // 2, given[size], given[size] * 2]
        return space

    def peft_config(self, model: Any) -> Any:
        fields = pefts.fields_of(self._class)
        given = {**self.config.options, **self._layers(model, fields)}
        if "fan_in_fan_out" in fields:  # GPT-2 keeps its weights transposed
            conv = any(type(m).__name__ == "Conv1D" for m in model.modules())
            given.setdefault("fan_in_fan_out", conv)
        if self.virtual_tokens:
            given["num_virtual_tokens"] = self.virtual_tokens
            if self.method not in ("prefix_tuning", "cartridge"):
                # PEFT takes the hidden size, which differs where a model projects embeddings
                given.setdefault("token_dim", model.get_input_embeddings().weight.shape[1])
        try:
            return pefts.made(self._class, given)
        except FAULTS as error:
            raise self._fault(model, error) from error

    def prepare(self, model: Any) -> None:
        if self.virtual_tokens:
            key = "tuner.options.num_virtual_tokens"
            check_virtual_tokens(model, self.virtual_tokens, key)

    def _fault(self, model: Any, error: Exception) -> TuningError:
        return TuningError(
            f"PEFT cannot put {self.method} on {type(model).__name__}: {_said(error)}"
        )

    # -- which layers

    def _layers(self, model: Any, fields: Any) -> dict[str, Any]:
        """The settings that say on which layers it is put; none where PEFT is to choose.

        Raises:
            TuningError: layers that the model lacks, or that nobody knows.
        """
        given = list(self.config.target_modules)
        if "target_modules" not in fields:
            if given:
                raise TuningError(
                    f"tuner.target_modules: {self.method} of PEFT is put on no layers of one's "
                    "choice; leave it out."
                )
            return {}
        mapping = pefts.listed_layers(self.method)
        if given == [EVERY]:
            given = sorted({name.rpartition(".")[2] for name in linear_layers(model)})
        elif not given and set(mapping.get("llama", ())) == LIKE_LORA:
            given = query_and_value_layers(model)
        elif not given:
            given = self._own_list(model, mapping)
        if not given or not isinstance(given, list):
            return {}
        found = {"target_modules": self._named(model, given)}
        if "feedforward_modules" in fields and not is_text_only(model):  # IA3's
            inner = self.config.options.get("feedforward_modules")
            listed = [inner] if isinstance(inner, str) else inner
            if listed is None:
                from peft.utils.constants import (
                    TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING as FEEDFORWARD,
                )

                known = FEEDFORWARD.get(model.config.get_text_config().model_type, ())
                listed = [name for name in known if name in given]
            found["feedforward_modules"] = self._named(model, listed)
        return found

    def _own_list(self, model: Any, mapping: Any) -> Any:
        """The layers that PEFT lists; empty where it is to look them up itself."""
        kinds = (model.config.get_text_config().model_type, model.config.model_type)
        own = next((mapping[kind] for kind in kinds if kind in mapping), None)
        if mapping and own is None:
            raise TuningError(
                f"PEFT lists no layers of {kinds[1]} models for {self.method}: give "
                f"tuner.target_modules. It has: {', '.join(self._last_names(model))}."
            )
        return [] if own is None or is_text_only(model) else own

    def _last_names(self, model: Any) -> list[str]:
        modules = text_modules(model).items()
        own = {name for name, module in modules if list(module.parameters(recurse=False))}
        return sorted({name.rpartition(".")[2] for name in own})

    def _named(self, model: Any, names: list[str]) -> list[str]:
        """Names of layers, checked; whole where the model has towers that text never enters.

        Raises:
            TuningError: one names none; the message lists what there is.
        """
        modules = [name for name, module in text_modules(model).items() if name]
        found = []
        for name in names:
            ends = [m for m in modules if m == name or m.endswith(f".{name}")]
            if not ends:
                known = self._last_names(model)
                raise TuningError(
                    f"tuner.target_modules: {type(model).__name__} has no layer named '{name}'."
                    f"{nearest(name, known)} It has: {', '.join(known)}; or {EVERY}."
                )
            found += [name] if is_text_only(model) else ends
        return list(dict.fromkeys(found))

    # -- training, saving, merging

    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        model = context.model
        try:
            trained = super().apply(context)
        except torch.OutOfMemoryError:
            raise
        except FAULTS as error:
            raise self._fault(model, error) from error
        if not trained:
            raise TuningError(
                f"PEFT's {self.method} trains nothing in {type(model).__name__} with these "
                "settings: see tuner.target_modules and tuner.options."
            )
        return trained

    def count(self, model: Any) -> int:
        weightless = model.get_input_embeddings().weight.is_meta
        spare = copy.deepcopy(model) if weightless else None
        try:
            return super().count(model)
        except TuningError:
            if spare is None:
                raise
        # SHiRA and FRoD look at the weights: any will do; zeros that nobody reads take no memory
        spare = spare.to_empty(device="cpu")
        for parameter in spare.parameters():
            parameter.data = torch.zeros_like(parameter)
        return super().count(spare)

    def initialise(self, context: TuningContext) -> None:
        model = context.model
        dtype = model.get_base_model().get_input_embeddings().weight.dtype
        if not self.virtual_tokens:  # PEFT computes with those in the model's dtype
            narrow = {
                name: parameter.dtype
                for name, parameter in model.named_parameters()
                if parameter.requires_grad and parameter.dtype is not torch.float32
            }
            # PEFT's layers take a float32 part of theirs in any model, but some methods train
            # layers of the model itself
            self._dtypes, self.autocast = narrow, dtype if narrow else None
        device = model.get_base_model().get_input_embeddings().weight.device
        if device.type == "meta" or context.tokenizer is None:  # only counted
            return
        was_training = model.training
        ids = torch.ones(1, 2, dtype=torch.long, device=device)
        with torch.no_grad():  # fails if the method needs more than text
            model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids))
        model.train(was_training)

    def finish(self, model: Any) -> None:
        for name, parameter in model.named_parameters():
            if name in self._dtypes:
                parameter.data = parameter.data.to(self._dtypes[name])

    def details(self, context: TuningContext) -> dict[str, Any]:
        import peft

        return {"peft": {"method": self.method, "version": peft.__version__}}

    def merge(self, model: Any, dtype: torch.dtype) -> Any:
        if not hasattr(model.base_model, "merge_and_unload"):  # prompt learning
            return Tuner.merge(self, model, dtype)
        wide = cast(model, torch.float32)
        before = logits_of(wide)
        try:
            with quiet():
                merged = wide.merge_and_unload()
        except FAULTS as error:
            raise TuningError(
                f"PEFT cannot merge {self.method} into this model: {_said(error)} Translate with "
                "mt-translate, or load it with mtl.load_tuned."
            ) from error
        if not agree(merged, before):
            raise TuningError(
                f"PEFT's merge of {self.method} gives a model that computes something else. "
                "Translate with mt-translate, or load it with mtl.load_tuned."
            )
        return cast(merged, dtype)
