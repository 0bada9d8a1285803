"""Whether weights and configuration belong together: what transformers would pass over in silence.

It fills what is missing with random numbers, leaves out what the configuration does not speak of,
and casts whatever numbers there are to the dtype that was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mt_lottery.errors import ModelError, plural
from mt_lottery.model.folder.checkpoint import Stored
from mt_lottery.model.folder.configuration import LAYERS
from mt_lottery.model.folder.quantised import is_quantised
from mt_lottery.model.folder.shape import build_shape

#: Stored numbers that are no weights unless a quantisation says how to read them.
_WHOLE = ("BOOL", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "C64", "C128")
#: Layers that predict further tokens, behind those of the model.
_FURTHER = ("num_nextn_predict_layers", "num_mtp_layers", "num_mtp_modules", "mtp_num_layers")
_OTHER_PART = re.compile("vision|visual|image|audio|tower")
_A_LAYER = re.compile(r"(.*?\b(?:layers|h|blocks|layer))\.(\d+)\.")


def check_against_weights(config: Any, stored: Mapping[str, Stored], where: str) -> None:
    """Refuse weights that cannot be those of a configuration, before the model is built.

    Args:
        config: of the model.
        stored: name → header of every tensor in the folder's files.
        where: for the message.

    Raises:
        ModelError: more layers than tensors, a larger embedding table than the longest, or weights
            in whole numbers that no quantisation explains.
    """
    text = config.get_text_config()
    layers = _layers(text)
    if layers > len(stored):
        raise ModelError(
            f"{where}: its config.json describes {plural(layers, 'layer')}, but its weights are "
            f"{plural(len(stored), 'tensor')}. They do not belong together."
        )
    rows = getattr(text, "vocab_size", None)
    longest = max((max(each.shape, default=0) for each in stored.values()), default=0)
    if isinstance(rows, int) and rows > max(longest, 1):
        raise ModelError(
            f"{where}: its config.json has vocab_size {rows:,}, but the longest of its tensors "
            f"{plural(longest, 'row')}. They do not belong together."
        )
    quantised = any(getattr(c, "quantization_config", None) is not None for c in (config, text))
    if not quantised:
        for name, each in stored.items():
            if name.endswith(".weight") and each.dtype in _WHOLE:
                raise ModelError(
                    f"{where}: {name} is stored as {each.dtype}, and its config.json has no "
                    "quantization_config that says how such numbers are read. Allowed without one: "
                    "floating-point numbers."
                )


def _layers(text: Any) -> int:
    return max((v for k in LAYERS if isinstance(v := getattr(text, k, None), int)), default=0)


def check_complete(model: Any, missing: Iterable[str], where: str) -> None:
    """Refuse a model of which transformers filled a part with random numbers.

    Raises:
        ModelError: with three of the names.
    """
    if names := sorted(missing):
        raise ModelError(
            f"{where}: the weights lack {plural(len(names), 'tensor')} that "
            f"{type(model).__name__} needs ({_some(names)}); transformers "
            "would fill them with random numbers."
        )


def check_all_used(model: Any, unused: Iterable[str], where: str) -> None:
    """Refuse a model without a part of its weights: layers, or the bias of a layer that it has.

    What belongs to another part (a tower for images, a second head) may be left out.

    Args:
        model: as it was built.
        unused: names of stored tensors that it has no place for.
        where: for the message.

    Raises:
        ModelError: with three of the names.
    """
    names = sorted(unused)
    if not names:
        return
    count: dict[str, int] = {}
    # a buffer may be called bias too: the causal mask of an attention that has no weight itself
    weighted = {n for n, m in model.named_modules() if getattr(m, "weight", None) is not None}
    for name, _ in model.named_modules():
        if (found := _A_LAYER.fullmatch(f"{name}.")) and not _OTHER_PART.search(found[1]):
            count[found[1]] = max(count.get(found[1], 0), int(found[2]) + 1)
    text = model.config.get_text_config()
    more = max(getattr(text, key, None) or 0 for key in _FURTHER)
    # GPTQ stores a bias of zeros for each layer
    leaves = ("weight",) if is_quantised(model) else ("weight", "bias")
    lost = []
    for name in names:
        found = _A_LAYER.match(name)
        has = None if found is None else count.get(found[1])
        if found is not None and has is not None and int(found[2]) >= has:
            lost += [name] if int(found[2]) >= has + more else []
        elif name.rpartition(".")[2] in leaves and name.rpartition(".")[0] in weighted:
            lost.append(name)
    if lost:
        raise ModelError(
            f"{where}: the weights have {plural(len(lost), 'tensor')} that a "
            f"{type(model).__name__} of its config.json has no place for ({_some(lost)}); "
            "transformers would leave them out. They do not belong together."
        )


def mismatch(config: Any, stored: Mapping[str, Stored]) -> str | None:
    """The first tensor whose shape is not the configuration's, in a clause; None if none is known.

    Packed weights have other shapes than the model's, and a model with code of its own is not built
    here.
    """
    if getattr(config, "quantization_config", None) is not None or hasattr(config, "auto_map"):
        return None
    wanted = {name: tuple(p.shape) for name, p in build_shape(config).named_parameters()}
    for name in sorted(wanted.keys() & stored.keys()):
        if stored[name].shape != wanted[name]:
            return (
                f"{name} is {_times(stored[name].shape)}, and its config.json describes "
                f"{_times(wanted[name])}"
            )
    return None


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
