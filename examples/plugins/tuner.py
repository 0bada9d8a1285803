"""Train the normalisation weights of the last layers."""

from dataclasses import dataclass

from torch import nn

from mt_lottery.plugin import Tuner, TunerConfig, TuningContext, register_tuner, setting


@dataclass
class NormsConfig(TunerConfig):
    last_layers: int = setting(4, "layers whose norms are trained, from the top", ge=1)


@register_tuner("norms", dataclass=NormsConfig)
class NormsTuner(Tuner):
    """Train the normalisation weights of the last layers."""

    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        layers = context.model.model.layers[-self.config.last_layers :]
        return [p for n, p in layers.named_parameters() if "norm" in n]
