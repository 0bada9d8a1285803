"""``config.json``: read, and its sizes held against sense and against the weights.

A size is what memory is asked for: a wrong one is found here, in milliseconds, and not when
the machine has none left.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mt_lottery.errors import ModelError, shorten
from mt_lottery.model.folder.library import call
from mt_lottery.reading import read_json

LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers", "decoder_layers")
#: The most that a size may be: beyond every model there is, and still built without weights
#: in seconds. Names as in the configurations of transformers' families.
LARGEST = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), 100_000_000),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "word_embed_proj_dim"), 1_000_000),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "d_inner"), 10_000_000),
    **dict.fromkeys(LAYERS, 10_000),
    **dict.fromkeys(("num_attention_heads", "n_head", "num_heads", "n_heads"), 100_000),
    **dict.fromkeys(("num_key_value_heads", "head_dim"), 100_000),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts"), 100_000),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx"), 1_000_000_000),
}
#: Without these there is no model; others may be 0 (no heads in Mamba, no experts).
_NEEDED = ("vocab_size", "hidden_size", "n_embd", "d_model", *LAYERS)
#: Keys whose wrong values not every transformers refuses.
_KINDS = (
    ("rope_parameters", dict, "settings by name"),
    ("tie_word_embeddings", bool, "true, false"),
)


def read_config(where: str, shown: str | None = None, **settings: Any) -> Any:
    """A transformers configuration.

    Args:
        where: a folder with ``config.json`` (or the GGUF file that ``settings`` name), or a hub
            id.
        shown: what messages call it.
        settings: of ``AutoConfig.from_pretrained``.

    Raises:
        ModelError: it is missing, damaged, of a model that transformers does not know, or has
            a size that no model has.
    """
    from transformers import AutoConfig

    file = Path(where) / "config.json"
    if Path(where).is_dir() and "gguf_file" not in settings:
        stored = read_json(file, ModelError, finite=False)
        names = stored.get("architectures") or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ModelError(
                f"{file}: architectures is {shorten(names)}; allowed: a list of names of classes."
            )
        check_sizes(stored, str(file))
        for key, kind, allowed in _KINDS:
            if not isinstance(stored.get(key), (kind, type(None))):
                raise ModelError(f"{file}: {key} is {shorten(stored[key])}; allowed: {allowed}.")
    config = call(AutoConfig.from_pretrained, shown or where, where, **settings)
    if not hasattr(config, "get_text_config"):
        raise ModelError(f"{shown or where}: its configuration is {type(config).__name__}.")
    check_sizes(config.to_dict(), shown or where)
    _check_rope(config, shown or where)
    return config


def with_rope(config: dict[str, Any]) -> dict[str, Any]:
    """``rope_parameters`` (5.x) in the keys of 4.57 too, which ignores it silently."""
    rope = config.get("rope_parameters")
    if not isinstance(rope, dict):
        return config
    local = rope.get("sliding_attention")
    whole = rope.get("full_attention", rope)
    if isinstance(local, dict) and "rope_theta" in local:
        config.setdefault("rope_local_base_freq", local["rope_theta"])
    if isinstance(whole, dict) and "rope_theta" in whole:
        config.setdefault("rope_theta", whole["rope_theta"])
        if whole.get("rope_type", "default") != "default":
            scaling = {k: v for k, v in whole.items() if k != "rope_theta"}
            config.setdefault("rope_scaling", scaling)
    return config


def _check_rope(config: Any, where: str) -> None:
    """What 5.x stored in ``rope_parameters`` must be what this transformers computes with.

    Raises:
        ModelError: it is not.
    """
    import transformers

    if int(transformers.__version__.partition(".")[0]) >= 5:
        return
    text = config.get_text_config()
    stored = getattr(text, "rope_parameters", None)
    if not stored:
        return
    wanted = with_rope({"rope_parameters": stored})
    del wanted["rope_parameters"]
    for key, value in wanted.items():
        used = getattr(text, key, None)
        same = used == value
        if isinstance(value, dict) and isinstance(used, dict):
            same = value.items() <= used.items()
        if not same:
            raise ModelError(
                f"{where}: its config.json is of transformers 5: {key} is {shorten(value)} in its "
                f"rope_parameters, which transformers {transformers.__version__} ignores: it would "
                f"compute with {shorten(used)}. Take transformers 5, or write {key} beside "
                "rope_parameters too."
            )


def check_sizes(stored: dict[str, Any], where: str) -> None:
    """Refuse a size that is no positive whole number, or beyond all models.

    Raises:
        ModelError: it names the key, the value and what is allowed.
    """
    for key, value in _sizes(stored, ""):
        name = key.rpartition(".")[2]
        least = 1 if name in _NEEDED else 0
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not least <= value <= LARGEST[name]:
            raise ModelError(
                f"{where}: {key} is {shorten(value)}; allowed: a whole number from {least} to "
                f"{LARGEST[name]:,}."
            )


def _sizes(stored: dict[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    """Key and value of every size, those of the parts (``text_config.hidden_size``) included."""
    for key, value in stored.items():
        if key in LARGEST and value is not None and not _by_layer(value):
            yield f"{before}{key}", value
        elif key.endswith("_config") and isinstance(value, dict):
            yield from _sizes(value, f"{before}{key}.")


def _by_layer(value: Any) -> bool:
    """Whether a size is given layer by layer (OpenELM, Gemma 3n)."""
    return isinstance(value, list) and all(type(v) is int and v >= 0 for v in value)
