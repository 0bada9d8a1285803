"""Base of the tuners that PEFT implements: wrap, train its parameters, save its folder."""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError
from torch import nn

from mt_lottery.errors import RecordError, TuningError, nearest
from mt_lottery.model.folder.saving import cast
from mt_lottery.model.reach import text_modules
from mt_lottery.reading import read_json
from mt_lottery.system.atomic import write_data, write_text
from mt_lottery.system.randomness import generators_kept
from mt_lottery.system.replacing import written_folder
from mt_lottery.tuners.adapters.options import quiet as quiet
from mt_lottery.tuners.adapters.tensors import check_tensors, read_tensors
from mt_lottery.tuners.base import Tuner, TuningContext
from mt_lottery.tuners.declared import own_randomness
from mt_lottery.tuners.rows.adapter_file import CONFIG, WEIGHTS

#: Settings that are provenance, or that the tensors' names tell (which layers).
NO_MATTER = {
    *("base_model_name_or_path", "revision", "inference_mode", "task_type", "peft_version"),
    *("auto_mapping", "init_lora_weights", "target_modules", "exclude_modules"),
    *("feedforward_modules", "runtime_config", "lora_dropout"),
}

README = """# {method} adapter of {base}

Trained by mt-lottery.

    from peft import PeftModel
    model = PeftModel.from_pretrained(base_model, "{folder}")
{note}"""


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear layer, GPT-2's transposed one included."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def linear_layers(model: Any) -> dict[str, nn.Module]:
    """Name → module of all linear layers that text passes through, but the output head."""
    head = model.get_output_embeddings()
    return {
        name: module
        for name, module in text_modules(model).items()
        if module is not head and is_linear(module)
    }


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def check_targets(model: Any, targets: list[str]) -> dict[str, nn.Module]:
    """Name → module of the :func:`linear_layers` that ``targets`` name by their last parts.

    Raises:
        TuningError: one names none; the message lists what there is.
    """
    layers = linear_layers(model)
    known = sorted({_last(name) for name in layers})
    for target in targets:
        if target not in known:
            raise TuningError(
                f"tuner.target_modules: {type(model).__name__} has no linear layers named "
                f"'{target}'.{nearest(target, known)} It has: {', '.join(known)}."
            )
    return {name: layer for name, layer in layers.items() if _last(name) in targets}


#: What the query and value layers are called where PEFT's own list has no entry for a model:
#: all in one, or by the names of older models.
QUERY_AND_VALUE = (
    ("q_proj", "v_proj"),
    *(("query_key_value",), ("qkv_proj",), ("c_attn",), ("Wqkv",), ("wqkv",)),
    *(("q_lin", "v_lin"), ("query", "value"), ("wq", "wv")),
)


def query_and_value_layers(model: Any) -> list[str]:
    """Names of the attention's query and value layers, whatever the architecture calls them.

    Where one layer computes queries, keys and values together, it is that one.

    Raises:
        TuningError: they are not known.
    """
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as PEFTS

    known = set(map(_last, linear_layers(model)))
    own = PEFTS.get(model.config.model_type, ())
    for names in (QUERY_AND_VALUE[0], () if isinstance(own, str) else own, *QUERY_AND_VALUE[1:]):
        if names and known.issuperset(names):
            return list(names)
    raise TuningError(
        f"Which layers of {type(model).__name__} make queries and values is not known: give "
        f"tuner.target_modules. It has: {', '.join(sorted(known)) or 'no linear layer'}."
    )


class PeftTuner(Tuner):
    """A method of PEFT as a tuner; its parameters are float32, whatever the model's dtype."""

    @property
    def method(self) -> str:
        """What it is called in messages and in the adapter's README."""
        return str(self.config.name)

    #: Whether it reads the model in 4 bits, whatever it is stored in.
    quantises: ClassVar[bool] = False

    def note(self, model: Any, base: str) -> str:
        """What the adapter's README should say beside how PEFT loads it."""
        return ""

    @abstractmethod
    def peft_config(self, model: Any) -> Any:
        """The ``PeftConfig`` for a model.

        Raises:
            TuningError: the settings do not fit the model.
        """

    def check_model(self, model: Any) -> None:
        self.peft_config(model)

    def prepare(self, model: Any) -> None:
        """Change the original model before it is wrapped (quantisation)."""

    def initialise(self, context: TuningContext) -> None:
        """Set start values other than PEFT's, once the model is wrapped."""

    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        import peft

        self.prepare(context.model)
        settings = self.peft_config(context.model)
        with quiet(), own_randomness(context.seed):  # a stream of its own for start values
            try:
                context.model = peft.get_peft_model(context.model, settings)
            except (ValueError, KeyError, NotImplementedError) as error:
                raise TuningError(
                    f"PEFT cannot put {self.method} on {type(context.model).__name__}: {error}"
                ) from error
            self.initialise(context)
        trained = [p for p in context.model.parameters() if p.requires_grad]
        for parameter in trained:
            # an update of 1e-4 is lost in bfloat16's 8 bits
            parameter.data = parameter.data.float()
        return trained

    def save(self, context: TuningContext, run_dir: Path) -> Path:
        folder = run_dir / "adapter"
        with written_folder(folder) as staging, quiet():
            # no embedding layer was resized: PEFT would ask the hub whether one was
            context.model.save_pretrained(staging, save_embedding_layers=False)
            _sort_targets(staging / CONFIG)
            base = str(context.model.get_base_model().config._name_or_path or "the base model")
            write_text(
                staging / "README.md",
                README.format(
                    method=self.method,
                    base=base,
                    folder=folder.name,
                    note=self.note(context.model, base),
                ),
            )
        return folder

    def restore(self, model: Any, run_dir: Path) -> Any:
        import peft

        folder = run_dir / "adapter"
        for name in (CONFIG, WEIGHTS):
            if not (folder / name).is_file():
                raise RecordError(f"{folder / name}: missing; not a finished run.")
        config = read_json(folder / CONFIG, RecordError)
        file = folder / WEIGHTS
        saved = read_tensors(file, RecordError)
        self.prepare(model)
        self._check_config(model, config, folder / CONFIG)
        try:
            with quiet(), generators_kept():  # PEFT draws start values before it reads any
                tuned = peft.PeftModel.from_pretrained(model, str(folder))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            first = " ".join(str(error).split())[:300]
            raise RecordError(f"{folder}: the adapter cannot be read: {first}") from error
        # PEFT only warns of tensors that it misses or does not know, and goes on without them
        expected = peft.get_peft_model_state_dict(tuned, save_embedding_layers=False)
        try:
            check_tensors(saved, expected)
        except TuningError as error:
            raise RecordError(f"{file}: not the adapter of this run and model: {error}.") from error
        return tuned.requires_grad_(False)

    def _check_config(self, model: Any, config: dict[str, Any], file: Path) -> None:
        """Refuse an adapter whose settings are not the run's: its tensors may fit all the same.

        Raises:
            RecordError: a setting differs.
        """
        wanted = self.peft_config(model).to_dict()
        for key in sorted(config.keys() & wanted.keys() - NO_MATTER):
            one, other = config[key], wanted[key]
            if other is None:  # PEFT fills it in from the model
                continue
            if getattr(other, "value", other) != one:
                raise RecordError(
                    f"{file}: `{key}` is {one!r}, but the run's settings make it "
                    f"{getattr(other, 'value', other)!r}."
                )

    def merge(self, model: Any, dtype: torch.dtype) -> Any:
        if not hasattr(model.base_model, "merge_and_unload"):  # prompt learning
            return super().merge(model, dtype)
        # from float32 to the dtype wanted once, not after each of two roundings
        merged = cast(model, torch.float32).merge_and_unload()
        return cast(merged, dtype)


def _sort_targets(path: Path) -> None:
    """PEFT keeps the layers' names as a set: their order is another one in every process."""
    content = read_json(path, RecordError)
    if isinstance(content.get("target_modules"), list):
        content["target_modules"].sort()
        write_data(path, json.dumps(content, indent=2, sort_keys=True))
