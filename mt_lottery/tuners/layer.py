"""``layer``: one part of the model tuned in isolation (the paper's Figure 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from mt_lottery.config import TunerConfig, setting
from mt_lottery.errors import TuningError, nearest, plural
from mt_lottery.model.reach import text_parameters
from mt_lottery.model.tables import is_tied
from mt_lottery.registry import register_tuner
from mt_lottery.tuners.base import TuningContext
from mt_lottery.tuners.full import FullTuner


@dataclass
class LayerConfig(TunerConfig):
    """Which part is tuned."""

    module: str = setting(
        "layers.0",
        "end of the name of a module or of a weight: layers.3, layers.3.mlp, embed_tokens, norm",
    )


def find_module(model: nn.Module, wanted: str) -> tuple[str, list[nn.Parameter]]:
    """The one module (or parameter) whose dotted name is, or ends in, ``.wanted``.

    Raises:
        TuningError: none or several have that name; the message lists some.
    """
    parts = [*model.named_modules(), *model.named_parameters()]
    names = [name for name, _ in parts if name]  # the model itself is recipe=full's
    found = [n for n in names if n == wanted or n.endswith(f".{wanted}")]
    if len(found) != 1:
        shown = found or [n for n in names if n.count(".") <= 2][:12]
        problem = plural(len(found), "part") if found else "no part"
        hint = "" if found else nearest(wanted, {n.partition(".")[2] for n in names})
        raise TuningError(
            f"tuner.module={wanted}: {type(model).__name__} has {problem} of that name.{hint} "
            f"For example: {', '.join(shown[:12])}."
        )
    name = found[0]
    inside = [p for n, p in model.named_parameters() if n == name or n.startswith(f"{name}.")]
    if not inside:  # the tied head: its weight is listed under the input table's name
        inside = list(model.get_submodule(name).parameters())
    if not inside:
        raise TuningError(f"tuner.module={wanted}: {name} has no weights to tune.")
    return name, inside


@register_tuner("layer", dataclass=LayerConfig)
class LayerTuner(FullTuner):
    """Train the weights of one module; all others stay."""

    leaderboard = False

    def chosen_parameters(self, model: Any) -> list[nn.Parameter]:
        name, inside = find_module(model, self.config.module)
        reached = {id(p) for p in text_parameters(model).values()}
        chosen = [p for p in inside if id(p) in reached]
        if not chosen:
            raise TuningError(
                f"tuner.module={self.config.module}: no text passes through {name} of "
                f"{type(model).__name__}, so it cannot be trained on translations."
            )
        return chosen

    def check_model(self, model: Any) -> None:
        self.chosen_parameters(model)

    def details(self, context: TuningContext) -> dict[str, Any]:
        name, trained = find_module(context.model, self.config.module)
        table = context.model.get_input_embeddings().weight
        both = is_tied(context.model) and any(p is table for p in trained)
        return {"layer": {"module": name, "tied_tables_both": both}}
