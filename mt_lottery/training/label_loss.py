"""The loss at the label positions: no logits for the prompt, none kept for backward.

The model runs whole (so that prefixes, adapters and data-parallel wrappers do
their part), but its output head gets no positions; the hidden states before it
are kept.  The head is then applied at the label positions only, a chunk at a
time, and each chunk's gradient is taken at once, so that peak memory does not
grow with V × tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mt_lottery.data.prompts.batches import IGNORE
from mt_lottery.errors import ModelError

CHUNK_LOGITS = 2**25  # logits held at a time: 64 MiB in bfloat16, and as much for the gradient

SumLoss = Callable[[Tensor, Tensor], Tensor]


def adjust_logits(logits: Tensor, config: Any) -> Tensor:
    """What some architectures do to the logits after the head, in the logits' dtype.

    Cohere and Falcon-H1 multiply (``logit_scale``, ``lm_head_multiplier``), Granite
    divides (``logits_scaling``; HyperCLOVA X multiplies by it), Gemma caps
    (``final_logit_softcapping``, ``logits_soft_cap``).  :func:`check_logits` tells
    whether that is all that a model does.
    """
    if hasattr(config, "get_text_config"):
        config = config.get_text_config()
    for key in ("logit_scale", "lm_head_multiplier"):
        scale = getattr(config, key, None)
        if isinstance(scale, (int, float)):
            logits = logits * scale
    divisor = getattr(config, "logits_scaling", None)
    if isinstance(divisor, (int, float)):
        times = str(getattr(config, "model_type", "")).startswith("hyperclovax")
        logits = logits * divisor if times else logits / divisor
    for key in ("final_logit_softcapping", "logits_soft_cap"):
        cap = getattr(config, key, None)
        if cap is not None:
            logits = torch.tanh(logits / cap) * cap
    return logits


def check_logits(model: Any, input_ids: Tensor) -> None:
    """Make sure that head and :func:`adjust_logits` give this model's logits.

    Args:
        model: the causal LM.
        input_ids: any text, [1, T].

    Raises:
        ModelError: the model does something else between its head and its logits.
    """
    kept: list[Tensor] = []
    handle = output_head(model).register_forward_hook(lambda _, __, out: kept.append(out))
    try:
        with torch.no_grad():
            logits = model(input_ids=input_ids, use_cache=False).logits.float()
    finally:
        handle.remove()
    if bool(torch.isnan(logits).any()):
        raise ModelError(
            f"{type(model).__name__} gives NaN before any training: a weight is NaN or infinite "
            "(a method may have made it so), or too large for its dtype (model.dtype=float32)."
        )
    if len(kept) == 1:
        ours = adjust_logits(kept[0], model.config).float()
        room = 0.02 * float(logits.abs().max())
        if ours.shape == logits.shape and ours.allclose(logits, 0.0, room, equal_nan=True):
            return
    raise ModelError(
        f"{type(model).__name__} changes the logits after its output head in a way that "
        "mt-lottery does not know; the loss would be another than the model's."
    )


class _ChunkedLoss(torch.autograd.Function):
    """Sum of the loss over [N, d] hidden states; gradients are made in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        labels: Tensor,
        loss_of: SumLoss,
        chunk: int,
        *parameters: Tensor,
    ) -> Tensor:
        wanted = [p for p in parameters if p.requires_grad]
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hidden_grad = torch.empty_like(hidden)
        sums: list[Tensor | None] = [None] * len(wanted)
        with torch.enable_grad():
            for start in range(0, len(labels), chunk):
                piece = hidden[start : start + chunk].detach().requires_grad_(True)
                loss = loss_of(piece, labels[start : start + chunk])
                grads = torch.autograd.grad(loss, [piece, *wanted], allow_unused=True)
                hidden_grad[start : start + chunk] = grads[0]
                for i, grad in enumerate(grads[1:]):
                    if grad is not None:
                        sums[i] = grad if sums[i] is None else sums[i].add_(grad)  # type: ignore[union-attr]
                total = total.to(loss.dtype) + loss.detach()
        ctx.wanted = [p.requires_grad for p in parameters]
        ctx.present = [s is not None for s in sums]
        ctx.save_for_backward(hidden_grad, *[s for s in sums if s is not None])
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (scale,) = grad_outputs
        hidden_grad, *sums = ctx.saved_tensors
        found, present = iter(sums), iter(ctx.present)
        grads: list[Tensor | None] = []
        for wanted in ctx.wanted:
            grad = next(found) if wanted and next(present) else None
            grads.append(None if grad is None else grad * scale.to(grad.dtype))
        return (hidden_grad * scale.to(hidden_grad.dtype), None, None, None, *grads)


def output_head(model: Any) -> nn.Module:
    """The module from hidden states to logits.

    Raises:
        ModelError: the model does not say which it is.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Module):
        raise ModelError(f"{type(model).__name__} names no output head (get_output_embeddings).")
    return head


def hidden_before_head(
    model: Any, head: nn.Module, inputs: dict[str, Tensor], run: Callable[..., Any] | None = None
) -> Tensor:
    """Run the model without computing logits; hidden states [B, T, d] before the head.

    Args:
        model: the causal LM that owns ``head``.
        head: its output head.
        inputs: ``input_ids`` and ``attention_mask``, [B, T].
        run: what to call instead of ``model`` (a data-parallel wrapper of it).
    """
    kept: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        kept.append(args[0])
        return (args[0][:, :0], *args[1:])

    handle = head.register_forward_pre_hook(keep)
    try:
        (run or model)(**inputs, use_cache=False)
    finally:
        handle.remove()
    if len(kept) != 1:
        raise ModelError(
            f"{type(model).__name__} calls its output head {len(kept)} times, not once."
        )
    # prompt tuning lengthens the input on the left
    return kept[0][:, -inputs["input_ids"].shape[1] :]


def label_loss(
    model: Any,
    inputs: dict[str, Tensor],
    labels: Tensor,
    criterion: SumLoss,
    *,
    run: Callable[..., Any] | None = None,
    widen: bool = True,
    chunk_logits: int = CHUNK_LOGITS,
) -> Tensor:
    """Sum of the loss over all labelled positions.

    Args:
        model: a transformers causal LM (an adapter's wrapper included).
        inputs: ``input_ids`` and ``attention_mask``, int64 [B, T].
        labels: [B, T], -100 where there is no label; position t is predicted
            from the hidden state at t − 1.  On the CPU: elsewhere the host must wait
            for the device, to learn how many there are.
        criterion: logits [N, V], labels [N] → summed loss.
        run: what to call instead of ``model`` (a data-parallel wrapper of it).
        widen: hand the criterion float32 (or wider); False for one that widens by itself.
        chunk_logits: how many logits are held at a time.

    Returns:
        a scalar, differentiable where anything before or in the head is trained.
    """
    head = output_head(model)
    hidden = hidden_before_head(model, head, inputs, run)
    where = torch.zeros_like(labels, dtype=torch.bool)
    where[:, :-1] = labels[:, 1:] != IGNORE
    wanted = labels[:, 1:][where[:, :-1]].to(hidden.device, non_blocking=True)
    index = where.flatten().nonzero().squeeze(1).to(hidden.device, non_blocking=True)
    states = hidden.flatten(0, 1).index_select(0, index)
    config = model.config

    def loss_of(piece: Tensor, piece_labels: Tensor) -> Tensor:
        logits = adjust_logits(head(piece), config)
        if widen and logits.dtype is not torch.float64:
            logits = logits.float()
        return criterion(logits, piece_labels)

    weight = getattr(getattr(head, "base_layer", head), "weight", None)
    vocabulary = int(weight.shape[0]) if isinstance(weight, Tensor) else 2**15
    chunk = max(1, chunk_logits // max(vocabulary, 1))
    parameters = list(head.parameters())
    if torch.is_grad_enabled() and (
        states.requires_grad or any(p.requires_grad for p in parameters)
    ):
        loss: Tensor = _ChunkedLoss.apply(states, wanted, loss_of, chunk, *parameters)  # type: ignore[no-untyped-call]
        return loss
    total = torch.zeros((), dtype=torch.float32, device=states.device)
    for start in range(0, len(wanted), chunk):
        total = total + loss_of(states[start : start + chunk], wanted[start : start + chunk])
    return total
