"""Decoding steps recorded once as a CUDA graph and replayed: no launch from Python for each kernel.

A graph needs tensors that stay where they are: keys and values get room for some steps, the mask
says which of it counts, and each step writes the next one's inputs itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

#: Steps that there is room for at a time.
ROOM = 64
#: Models whose forward takes a mask [B, 1, 1, T] as it is, and puts each key where the mask says.
KNOWN = frozenset({"llama", "qwen2", "qwen3"})


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values with room for more; new ones are written at ``at``, [1]."""

    def __init__(self, layer: Any, length: int, room: int, at: Tensor) -> None:
        super().__init__()
        self.at = at
        self.dtype, self.device, self.is_initialized = layer.dtype, layer.device, True
        self.keys = self._with_room(layer.keys, length, room)
        self.values = self._with_room(layer.values, length, room)

    @staticmethod
    def _with_room(states: Tensor, length: int, room: int) -> Tensor:
        batch, heads, _, width = states.shape
        # zeros: what is masked is multiplied by 0, and must not be NaN
        roomy = states.new_zeros(batch, heads, length + room, width)
        roomy[:, :, :length] = states[:, :, :length]
        return roomy

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> Any:
        """All keys and values, the room that is left included."""
        self.keys.index_copy_(2, self.at, key_states)
        self.values.index_copy_(2, self.at, value_states)
        return self.keys, self.values


def replayable(model: Any, cache: Any) -> bool:
    """Whether steps of the model can be recorded: full attention by PyTorch, on one GPU."""
    config = model.config
    return (
        config.model_type in KNOWN
        and getattr(config, "_attn_implementation", None) == "sdpa"
        and all(type(layer) in (DynamicLayer, RoomyLayer) for layer in cache.layers)
        and {layer.keys.device for layer in cache.layers} == {model.device}
    )


class Replayed:
    """Steps of one batch, from where its cache is.

    Args:
        run: the model.
        cache: a cache that :func:`replayable` takes; its layers are replaced.
        choose: logits [B, 1, V] → tokens and what is to be read with them, [B + 1].
        tokens: [B], not yet read.
        mask: of what the cache holds, [B, T].
        positions: of the tokens, [B, 1].
        steps: how many there may be.
    """

    def __init__(
        self,
        run: Any,
        cache: Any,
        choose: Callable[[Tensor], Tensor],
        tokens: Tensor,
        mask: Tensor,
        positions: Tensor,
        steps: int,
    ) -> None:
        self._run, self._cache, self._choose = run, cache, choose
        batch, self.length = mask.shape
        self.left = min(steps, ROOM)
        self._at = torch.full((1,), self.length, device=mask.device)
        cache.layers[:] = [
            RoomyLayer(layer, self.length, self.left, self._at) for layer in cache.layers
        ]
        self._mask = mask.new_zeros(batch, 1, 1, self.length + self.left, dtype=torch.bool)
        self._mask[:, 0, 0, : self.length] = mask.bool()
        self._ids = tokens[:, None].clone()
        self._positions = positions.clone()
        self._calls = 0
        self._graph: Any = None

    def __call__(self) -> Tensor:
        """One step; what ``choose`` gives, to be read before the next one."""
        self.left -= 1
        self.length += 1
        self._calls += 1
        # the first step loads what there is to be loaded, which a recording must not
        if self._calls == 2 and self._mask.is_cuda:
            self._graph = self._record()
        if self._graph is None:
            self._step()
        else:
            self._graph.replay()
        return self._found

    def _step(self) -> None:
        self._mask.index_fill_(3, self._at, True)
        output = self._run(
            input_ids=self._ids,
            attention_mask=self._mask,
            position_ids=self._positions,
            past_key_values=self._cache,
            use_cache=True,
            return_dict=True,
        )
        self._found = self._choose(output.logits)
        self._ids.copy_(self._found[:-1, None])
        self._positions += 1
        self._at += 1

    def _record(self) -> Any:
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                self._step()
            finally:
                graph.capture_end()
        torch.cuda.current_stream().wait_stream(stream)
        return graph

    def state(self) -> tuple[Tensor, Tensor]:
        """Mask [B, T] of what the cache holds, and positions [B, 1] of the tokens chosen last."""
        return self._mask[:, 0, 0, : self.length].long(), self._positions
