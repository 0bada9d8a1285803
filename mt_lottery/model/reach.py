"""What text passes through in a model that sees pictures or hears as well.

Some families (Gemma 3, LLaVA, Qwen2-VL, Phi-4-multimodal) are loaded whole, with towers for
pictures and sound.  A translation never reaches those: nothing in them is tuned, quantised or
counted.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def is_text_only(model: Any) -> bool:
    """Whether the configuration describes a model of nothing but text."""
    config = model.config
    text = config.get_text_config()
    parts = [v for k, v in vars(config).items() if k.endswith("_config") and hasattr(v, "to_dict")]
    return all(part is text or hasattr(part, "quant_method") for part in parts)


def text_parameters(model: Any) -> dict[str, nn.Parameter]:
    """Name → parameter of all that can change what the model makes of a text.

    For a model of text alone that is everything. Else three token ids are passed through it:
    what they meet counts, and with it every module of the kind in the same list (an expert
    that they were not sent to).

    Args:
        model: a causal LM, weights or none (meta device); not yet wrapped.
    """
    named = dict(model.named_parameters())
    if is_text_only(model):
        return named
    met = _met(model)
    return {name: parameter for name, parameter in named.items() if id(parameter) in met}


def text_modules(model: Any) -> dict[str, nn.Module]:
    """Name → module, without the modules whose parameters are all out of a text's reach."""
    named = dict(model.named_modules())
    if is_text_only(model):
        return named
    met = {id(p) for p in text_parameters(model).values()}
    return {
        name: module
        for name, module in named.items()
        if not (own := list(module.parameters())) or any(id(p) in met for p in own)
    }


def _met(model: Any) -> set[int]:
    """Identities of the parameters that a text meets."""
    passed: set[nn.Module] = set()
    hooks = [
        module.register_forward_hook(lambda module, *_: passed.add(module))
        for module in model.modules()
    ]
    frozen = [p for p in model.parameters() if p.is_floating_point() and not p.requires_grad]
    device = model.get_input_embeddings().weight.device
    was_training = model.training
    try:
        model.eval()
        for parameter in frozen:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            ids = torch.ones(1, 3, dtype=torch.int64, device=device)
            mask = torch.ones_like(ids)
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        met = _in_graph(logits)
    except Exception:  # whatever a model's own code raises on the meta device
        return _by_structure(model)
    finally:
        for hook in hooks:
            hook.remove()
        for parameter in frozen:
            parameter.requires_grad_(False)
        model.train(was_training)
    for module in passed:
        met |= {id(p) for p in module.parameters(recurse=False)}
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            kinds = {type(child) for child in module if child in passed}
            met |= {id(p) for c in module if type(c) in kinds for p in c.parameters()}
    return met


def _in_graph(output: Tensor) -> set[int]:
    """The leaves of a tensor's autograd graph: a weight may be used without its module."""
    found: set[int] = set()
    seen, left = set(), [output.grad_fn]
    while left:
        node: Any = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        left += [following for following, _ in node.next_functions]
    return found


def _by_structure(model: Any) -> set[int]:
    """The decoder and the output head, as transformers names them."""
    decoder = getattr(model, "get_decoder", lambda: None)()
    parts = [part for part in (decoder, model.get_output_embeddings()) if part is not None]
    if decoder is None:
        parts = [model]
    return {id(p) for part in parts for p in part.parameters()}
