"""Loading a model by its registered name, and naming it by a hash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mt_lottery.model.folder.quantised import Quantisation, keep_differentiable
from mt_lottery.registry import MODELS


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


def load(config: Any, device: str) -> LoadedModel:
    """Load a model for a run.

    A registered model is a class without constructor arguments that has this function's
    ``load(config, device)`` and :func:`fingerprint`'s ``fingerprint(config)`` as methods.

    Args:
        config: a ``ModelConfig``: name, name_or_path, revision, dtype, trust_remote_code.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.

    Raises:
        RegistryError: unknown ``config.name``.
        ModelError: the model cannot be had or does not fit; the message says what to do.
    """
    loaded: object = MODELS.get(config.name)().load(config, device)
    if not isinstance(loaded, LoadedModel):
        raise MODELS.fault(
            config.name,
            f"load must return a {__name__}.LoadedModel(model, tokenizer, info), not "
            f"{type(loaded).__name__}",
        )
    keep_differentiable(loaded.model)
    return loaded


def quantisation_of(config: Any) -> Quantisation | None:
    """How the weights of a model are quantised, without loading it; None for plain weights.

    Also None where that cannot be had: a plugin's loader that has no method
    ``quantisation(config)``.

    Raises:
        RegistryError, ModelError: as :func:`load`.
    """
    loader = MODELS.get(config.name)()
    found: Quantisation | None = None
    if hasattr(loader, "quantisation"):
        found = loader.quantisation(config)
    return found


def tokenizer_of(config: Any) -> tuple[Any, int] | None:
    """The tokenizer as :func:`load` gives it, and V, without reading weights.

    Returns:
        None where that cannot be had: a model that must be downloaded first, a GGUF file, or a
        plugin's loader that has no method ``tokenizer(config)``.

    Raises:
        RegistryError, ModelError: as :func:`load`.
    """
    loader = MODELS.get(config.name)()
    found: tuple[Any, int] | None = None
    if hasattr(loader, "tokenizer"):
        found = loader.tokenizer(config)
        if found is not None and not (
            isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], int)
        ):
            raise MODELS.fault(
                config.name,
                "tokenizer must return (tokenizer, rows of the vocabulary) or None, not "
                f"{type(found).__name__}",
            )
    return found


def fingerprint(config: Any) -> str:
    """A name for exactly this model, without loading it.

    For a folder or file the SHA-256 over its weights, configuration and tokenizer
    (remembered per path, size and modification time), for a hub id the commit.

    Raises:
        RegistryError, ModelError: as :func:`load`.
    """
    found: object = MODELS.get(config.name)().fingerprint(config)
    if not isinstance(found, str) or not found:
        raise MODELS.fault(
            config.name,
            "fingerprint must return text that names exactly these weights (a sha256, a commit), "
            f"not {found!r:.80}",
        )
    return found
