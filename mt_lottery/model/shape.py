"""A model without weights, from its configuration alone."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

from mt_lottery.errors import ModelError
from mt_lottery.model import checkpoint


def shape_of(name_or_path: str, *, trust_remote_code: bool = False) -> Any:
    """A causal LM on the meta device: every shape, no memory, in seconds for any size.

    Args:
        name_or_path: a folder with ``config.json``, that file, or a hub id.
        trust_remote_code: run Python code that comes with the model.

    Raises:
        ModelError: there is no readable configuration of a causal language model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    path = Path(name_or_path).expanduser()
    where = str(path.parent if path.name == "config.json" else path)
    local = Path(where).is_dir()
    if local and not (Path(where) / "config.json").is_file():
        raise ModelError(f"{where}: no config.json in it.")
    try:
        config = AutoConfig.from_pretrained(
            where if local else name_or_path, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError, KeyError) as error:
        first = " ".join(str(error).split())[:300]
        raise ModelError(f"{name_or_path}: its configuration cannot be had: {first}") from error
    checkpoint.check_causal(name_or_path, config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # the shape is the same
    logging.getLogger("transformers").setLevel(logging.ERROR)
    build: Any = AutoModelForCausalLM.from_config
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        return build(config, trust_remote_code=trust_remote_code).eval()
