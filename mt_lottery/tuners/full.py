"""``full``: every parameter of the model (the paper's full tuning)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model
from torch import Tensor, nn

from mt_lottery.errors import RecordError
from mt_lottery.model.folder.library import ONE_AT_A_TIME
from mt_lottery.model.folder.saving import cast, save_folder
from mt_lottery.model.reach import text_parameters
from mt_lottery.registry import register_tuner
from mt_lottery.tuners.adapters.tensors import first_broken
from mt_lottery.tuners.base import Tuner, TuningContext

#: What transformers says of weights that it could not use, or had to make up.
WRONG = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")


def _read(kind: Any, folder: Path) -> dict[str, Tensor]:
    """The weights of a folder under the names that they have in the model.

    Raises:
        RuntimeError: some are missing, too many or of another shape.
    """
    with ONE_AT_A_TIME:
        made, found = kind.from_pretrained(
            folder, dtype="auto", local_files_only=True, use_safetensors=True,
            output_loading_info=True,
        )  # fmt: skip
    wrong = {key: found.get(key) for key in WRONG if found.get(key)}
    if wrong:
        raise RuntimeError("; ".join(f"{k}: {sorted(map(str, v))}" for k, v in wrong.items()))
    return dict(made.state_dict())


@register_tuner("full")
class FullTuner(Tuner):
    """All parameters, as a float32 master copy; computed in the model's own dtype."""

    over_quantised = False
    trains_weights = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._dtypes: dict[str, torch.dtype] = {}

    @property
    def search_space(self) -> dict[str, list[Any]]:
        return {"train.lr": [1e-5, 2e-5, 5e-5, 1e-4], "train.epochs": [2, 4]}

    def chosen_parameters(self, model: Any) -> list[nn.Parameter]:
        """What is trained: all that a text passes through."""
        return list(text_parameters(model).values())

    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        model = context.model.requires_grad_(False)
        trained = self.chosen_parameters(model)
        dtype = model.get_input_embeddings().weight.dtype
        ours = {id(p) for p in trained}
        self._dtypes = {n: p.dtype for n, p in model.named_parameters() if id(p) in ours}
        if dtype is not torch.float32:
            # an update of 2e-5 is lost in bfloat16's 8 bits
            self.autocast = dtype
            for parameter in trained:
                parameter.data = parameter.data.float()
        for parameter in trained:
            parameter.requires_grad_(True)
        return trained

    def finish(self, model: Any) -> None:
        # parameter by parameter: model.to() would round the buffers too (RoPE's frequencies)
        for name, parameter in model.named_parameters():
            if name in self._dtypes:
                parameter.data = parameter.data.to(self._dtypes[name])

    def save(self, context: TuningContext, run_dir: Path) -> Path:
        folder = run_dir / "model"
        save_folder(context.model, context.tokenizer, folder)
        return folder

    def restore(self, model: Any, run_dir: Path) -> Any:
        file = run_dir / "model" / "model.safetensors"
        try:
            with safe_open(file, "pt") as stored:
                names = set(stored.keys())
            if names <= model.state_dict().keys():
                load_model(model, file)
            else:  # transformers stores some models (GPT-NeoX, Mixtral) under other names
                model.load_state_dict(_read(type(model), file.parent))
        except (OSError, SafetensorError, RuntimeError, ValueError) as error:
            raise RecordError(f"{file}: the tuned model cannot be read: {error}") from error
        broken = first_broken(dict(model.named_parameters()))
        if broken is not None:
            raise RecordError(f"{file}: the tuned model cannot be used: {broken} is not finite.")
        return model

    def merge(self, model: Any, dtype: torch.dtype) -> Any:
        return cast(model, dtype)
