"""Loading a model by its registered name, and naming it by a hash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from mt_lottery.errors import ModelError, plural
from mt_lottery.model.folder.quantised import Quantisation, keep_differentiable
from mt_lottery.registry import MODELS
from mt_lottery.system.quiet import quietly

#: ``config.device_map`` for weights that stay in the host's memory: they are for the device.
HOST = "host"


@dataclass(frozen=True)
class ModelInfo:
    """What a record says of a model.

    Attributes:
        name: ``gemma3_270m``, a hub id, or the name of a folder or file.
        path: where it was read; ``None`` for a hub id.
        sha256: of everything in the folder that decides what the model says, see
            :func:`fingerprint`; ``None`` for a hub id.
        revision: the commit, for a hub id.
        parameters: how many; tied tables count once.
        vocab_size, embedding_dim: V and d of the input table itself.
        tied_embeddings: the output head is the input table.
    """

    name: str
    path: str | None
    sha256: str | None
    revision: str | None
    parameters: int
    vocab_size: int
    embedding_dim: int
    tied_embeddings: bool


@dataclass
class LoadedModel:
    """A causal LM in eval mode, nothing trainable, and its tokenizer (EOS and padding set)."""

    model: Any
    tokenizer: Any
    info: ModelInfo


class Loader(Protocol):
    """What a registered model offers: its class is called without arguments."""

    def load(self, config: Any, device: str) -> LoadedModel:
        """See :func:`load`."""
        ...

    def fingerprint(self, config: Any) -> str:
        """See :func:`fingerprint`."""
        ...


class LoaderExtras:
    """What a loader may have beside it, so that less has to be loaded before a run."""

    def tokenizer(self, config: Any) -> tuple[Any, int] | None:
        """See :func:`tokenizer_of`."""

    def quantisation(self, config: Any) -> Quantisation | None:
        """See :func:`quantisation_of`."""


def load(config: Any, device: str) -> LoadedModel:
    """Load a model for a run.

    Args:
        config: a ``ModelConfig``: name, name_or_path, revision, dtype, trust_remote_code.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.

    Raises:
        RegistryError: unknown ``config.name``.
        ModelError: the model cannot be had or does not fit; the message says what to do.
    """
    import transformers.utils.logging  # noqa: F401  # it has the bars that are kept off

    with quietly():
        made = MODELS.get(config.name)().load(config, device)
    loaded: LoadedModel = MODELS.expect(config.name, made, "load must return", LoadedModel)
    keep_differentiable(loaded.model)
    return loaded


def check_inside(model: Any, recipe: str) -> None:
    """Make sure that what a recipe learnt can be put on a model's weights.

    Args:
        model: spread over devices, perhaps.
        recipe: for the message.

    Raises:
        ModelError: some of the weights are fetched from the host's memory, or from disk.
    """
    outside = [name for name, parameter in model.named_parameters() if parameter.is_meta]
    if outside:
        raise ModelError(
            f"device_map=auto: {plural(len(outside), 'weight')} ({outside[0]}, …) found no room on "
            f"the GPUs, and what recipe={recipe} learnt is put on weights that did. More, or "
            "larger, GPUs."
        )


def quantisation_of(config: Any) -> Quantisation | None:
    """How the weights of a model are quantised, without loading it; None for plain weights.

    Also None where that cannot be had: a plugin's loader that has no method
    ``quantisation(config)``.

    Raises:
        RegistryError, ModelError: as :func:`load`.
    """
    ask = getattr(MODELS.get(config.name)(), "quantisation", lambda _: None)
    found: Quantisation | None = ask(config)
    return found


def tokenizer_of(config: Any) -> tuple[Any, int] | None:
    """The tokenizer as :func:`load` gives it, and V, without reading weights.

    Returns:
        None where that cannot be had: a model that must be downloaded first, a GGUF file, or a
        plugin's loader that has no method ``tokenizer(config)``.

    Raises:
        RegistryError, ModelError: as :func:`load`.
    """
    found = getattr(MODELS.get(config.name)(), "tokenizer", lambda _: None)(config)
    good = isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], int)
    wanted = "(tokenizer, rows of the vocabulary) or None"
    made: tuple[Any, int] | None = MODELS.expect(
        config.name, found, "tokenizer must return", wanted, good or found is None
    )
    return made


def fingerprint(config: Any) -> str:
    """A name for exactly this model, without loading it.

    For a folder or file the SHA-256 over its weights, configuration and tokenizer
    (remembered per path, size and modification time), for a hub id the commit.

    Raises:
        RegistryError, ModelError: as :func:`load`.
    """
    found = MODELS.get(config.name)().fingerprint(config)
    wanted = "text that names exactly these weights (a sha256, a commit)"
    good = isinstance(found, str) and found
    name: str = MODELS.expect(config.name, found, "fingerprint must return", wanted, good)
    return name
