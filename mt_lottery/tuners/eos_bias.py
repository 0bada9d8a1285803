"""``eos_bias``: one trained number, added to the logit of end-of-sequence.

The control for *learning to stop*: it can end a translation and change no word of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mt_lottery.errors import RecordError
from mt_lottery.reading import read_json
from mt_lottery.registry import register_tuner
from mt_lottery.system.atomic import write_data
from mt_lottery.tuners.base import Tuner, TuningContext

FILE = "eos_bias.json"


class BiasedHead(nn.Module):
    """An output head with one more number, float32, on the logit of one token.

    Args:
        base: the model's own head; it is frozen.
        token_id: the token.
        start: the number to begin with.
    """

    def __init__(self, base: nn.Module, token_id: int, start: float = 0.0) -> None:
        super().__init__()
        self.base = base
        base.requires_grad_(False)
        self.token_id = token_id
        self.eos_bias = nn.Parameter(torch.full((1,), start, device=self.weight.device))

    @property
    def weight(self) -> Tensor:
        """The frozen table, [V, d]."""
        weight = self.base.weight
        assert isinstance(weight, Tensor)
        return weight

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of hidden states [..., d]."""
        logits: Tensor = self.base(hidden)
        # in float32: at a logit of 20, bfloat16 knows only steps of an eighth
        moved = logits[..., self.token_id].float() + self.eos_bias
        return logits.index_copy(
            -1,
            torch.tensor([self.token_id], device=logits.device),
            moved.to(logits.dtype).unsqueeze(-1),
        )


@register_tuner("eos_bias")
class EosBiasTuner(Tuner):
    """Train the bias of the tokenizer's EOS, the token that ends every training target."""

    @property
    def search_space(self) -> dict[str, list[Any]]:
        return {"train.lr": [5e-2, 1e-1, 2e-1, 5e-1]}

    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        model = context.model.requires_grad_(False)
        token_id = 0 if context.tokenizer is None else int(context.tokenizer.eos_token_id)
        head = BiasedHead(model.get_output_embeddings(), token_id)
        model.set_output_embeddings(head)
        return [head.eos_bias]

    def details(self, context: TuningContext) -> dict[str, Any]:
        head = context.model.get_output_embeddings()
        return {"eos_bias": {"token_id": head.token_id, "bias": float(head.eos_bias.detach())}}

    def save(self, context: TuningContext, run_dir: Path) -> Path:
        folder = run_dir / "control"
        content = self.details(context)["eos_bias"]
        write_data(folder / FILE, json.dumps(content, indent=2) + "\n")
        return folder

    def restore(self, model: Any, run_dir: Path) -> Any:
        file = run_dir / "control" / FILE
        content = read_json(file, RecordError)
        token_id, bias = content.get("token_id"), content.get("bias")
        size = len(model.get_output_embeddings().weight)
        if type(token_id) is not int or not 0 <= token_id < size:
            raise RecordError(
                f"{file}: damaged: `token_id` is {token_id!r}; ids of this model go from 0 to "
                f"{size - 1}."
            )
        if type(bias) not in (int, float):
            raise RecordError(f"{file}: damaged: `bias` is {bias!r}, not a number.")
        if content.keys() - {"token_id", "bias"}:
            raise RecordError(f"{file}: damaged: only `token_id` and `bias` are expected.")
        model.set_output_embeddings(
            BiasedHead(model.get_output_embeddings(), token_id, float(bias))
        )
        return model.requires_grad_(False)
