"""A model without weights, from its configuration alone."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from mt_lottery.errors import ModelError
from mt_lottery.model.folder import checkpoint
from mt_lottery.model.folder.configuration import read_config
from mt_lottery.model.folder.library import call
from mt_lottery.system.quiet import no_warnings, transformers_errors


def shape_of(name_or_path: str, *, trust_remote_code: bool = False) -> Any:
    """A causal LM on the meta device: every shape, no memory, in seconds for any size.

    Args:
        name_or_path: a folder with ``config.json``, that file, or a hub id.
        trust_remote_code: run Python code that comes with the model.

    Raises:
        ModelError: there is no readable configuration of a causal language model.
    """
    path = Path(name_or_path).expanduser()
    where = str(path.parent if path.name == "config.json" else path)
    local = Path(where).is_dir()
    if local and not (Path(where) / "config.json").is_file():
        raise ModelError(f"{where}: no config.json in it.")
    config = read_config(
        where if local else name_or_path, name_or_path, trust_remote_code=trust_remote_code
    )
    checkpoint.check_causal(name_or_path, config)
    return build_shape(config, trust_remote_code=trust_remote_code)


def build_shape(config: Any, *, trust_remote_code: bool = False) -> Any:
    """As :func:`shape_of`, from a transformers configuration (left as it is).

    Raises:
        ModelError: no model can be built from it.
    """
    import torch

    config = copy.deepcopy(config)
    for part in {id(c): c for c in (config, config.get_text_config())}.values():
        if hasattr(part, "quantization_config"):
            del part.quantization_config  # the shape is the same
    build: Any = checkpoint.auto_class(config).from_config
    where = str(getattr(config, "_name_or_path", "") or type(config).__name__)
    with no_warnings(), transformers_errors(), torch.device("meta"):
        return call(build, where, config, trust_remote_code=trust_remote_code).eval()
