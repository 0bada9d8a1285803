"""IA³ (Liu et al. 2022): learned factors on keys, values and inner activations."""

from dataclasses import dataclass

from mt_lottery.plugin import PeftTuner, TunerConfig, check_targets, register_tuner, setting


@dataclass
class IA3Config(TunerConfig):
    """Which layers are scaled."""

    attention: list[str] = setting(("k_proj", "v_proj"), "layers whose outputs are scaled")
    feedforward: list[str] = setting(("down_proj",), "layers whose inputs are scaled")


@register_tuner("ia3_kv", dataclass=IA3Config)
class IA3Tuner(PeftTuner):
    """One factor a feature of keys, values and the feed-forward layers' inner activations."""

    search_space = {"train.lr": [3e-3, 1e-2, 3e-2], "train.epochs": [2, 4]}

    def peft_config(self, model):
        """PEFT's configuration for a model."""
        import peft

        targets = [*self.config.attention, *self.config.feedforward]
        check_targets(model, targets)
        return peft.IA3Config(
            task_type="CAUSAL_LM",
            target_modules=targets,
            feedforward_modules=list(self.config.feedforward),
        )
