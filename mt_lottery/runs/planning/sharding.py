"""What a run whose model is divided among processes (``train.sharding=fsdp``) cannot do."""

from __future__ import annotations

from collections.abc import Iterator

from mt_lottery.config import RunConfig
from mt_lottery.errors import ConfigError, assigned
from mt_lottery.model.folder.quantised import Quantisation
from mt_lottery.system import parallel
from mt_lottery.tuners.base import Tuner

#: Optimizers that take no divided weights, and what they would need.
WHOLE_ONLY = {
    "sparse_adam": "finds the rows of a whole gradient",
    "adamw_8bit": "keeps its state in blocks of whole weights",
}


def divided(config: RunConfig) -> bool:
    """Whether a run's model is divided among the processes."""
    return config.train.sharding != "none"


def check_dividable(config: RunConfig, stored: Quantisation | None) -> None:
    """Refuse to divide weights that are stored quantised.

    Args:
        config: of the run.
        stored: how the model's weights are quantised, if they are.

    Raises:
        ConfigError: they are.
    """
    if divided(config) and stored is not None:
        raise ConfigError(
            f"`train.sharding` is {config.train.sharding}, but the model's weights are quantised "
            f"({stored.shown}), and FSDP2 divides plain ones; allowed for this model: none."
        )


def _problems_with_map(config: RunConfig, tuner: Tuner) -> Iterator[str]:
    here = f"`model.device_map` is {config.model.device_map}"
    if parallel.started():
        yield (
            f"{here}, with which one process has all devices, and torchrun started "
            f"{parallel.processes()}: start one, or give train.sharding=fsdp in its place."
        )
    elif tuner.takes_gradients:
        yield (
            f"{here}, which is for translating, and recipe={config.recipe} trains; allowed for it: "
            "null. train.sharding=fsdp, under torchrun, trains a model that does not fit one GPU."
        )
    if config.device not in ("auto", "cpu", "cuda"):
        yield f"{here}, and `device` is {config.device}: allowed with it: auto, cuda, cpu."


def _of_fairseq2(config: RunConfig) -> str:
    """What divides a model among processes there, where that engine trains."""
    if config.engine != "fairseq2":
        return ""
    if config.data_parallelism == "fsdp":
        return ", as data_parallelism=fsdp divides the model"
    return f". With engine=fairseq2 {assigned({'data_parallelism': 'fsdp'})} divides the model"


def problems_with_sharding(config: RunConfig, tuner: Tuner) -> list[str]:
    """One sentence for each setting that does not go with it; none for a model that is whole.

    Args:
        config: of the run.
        tuner: the run's.
    """
    train, said = config.train, []
    if config.probe.sharding != "none":
        said.append(
            f"`probe.sharding` is {config.probe.sharding}, but a run has one model, for its probe "
            "too: give train.sharding; allowed for probe.sharding: none."
        )
    if config.model.device_map is not None:
        said += _problems_with_map(config, tuner)
    if not divided(config):
        return said
    here = f"`train.sharding` is {train.sharding}"
    if config.engine != "transformers":
        said.append(
            f"{here}, which engine=transformers alone has; allowed: none{_of_fairseq2(config)}."
        )
    elif not parallel.started():
        said.append(
            f"{here}, which divides the model among the processes of torchrun, and this is one "
            "process. Start it with torchrun --nproc-per-node N -m mt_lottery.cli.train; allowed "
            "without it: none."
        )
    if tuner.undivided is not None:
        said.append(f"{here}, but {tuner.undivided}; allowed for {config.tuner.name}: none.")
    if tuner.trains_weights and train.optimizer in WHOLE_ONLY:
        said.append(
            f"{here}, and `train.optimizer` is {train.optimizer}, which "
            f"{WHOLE_ONLY[train.optimizer]}; allowed for {config.tuner.name} with it: adamw, sgd."
        )
    for key, section in (("train", train), ("probe", config.probe)):
        if section.kernels != "torch":
            said.append(
                f"{here}, and `{key}.kernels` is {section.kernels}, which was not tested together; "
                "allowed with it: torch."
            )
    return said
