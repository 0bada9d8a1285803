"""Decoding steps recorded once as a CUDA graph and replayed: no launch from Python for each kernel.

A graph needs tensors that stay where they are: keys and values get room for some steps, the mask
says which of it counts, and each step writes the next one's inputs itself.

Only what the kernels do is recorded: a module whose forward decides on the host, by what it
counts there or by values that it reads from the device, is not followed.  What reads from the
device is found before anything is recorded, and steps of such a model run one by one.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from functools import cache
from itertools import chain
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from mt_lottery.decoding.rotary import CHOSEN_BY_LENGTH, rope_types

logger = logging.getLogger(__name__)

#: Steps that there is room for at a time.
ROOM = 64
#: Models whose forward takes a mask [B, 1, 1, T] as it is; others may, but no GPU has shown it.
KNOWN = frozenset({"gemma3_text", "llama", "mistral", "olmo2", "phi3", "qwen2", "qwen3", "smollm3"})

#: Models with which recording failed.
_refused: WeakSet[Any] = WeakSet()


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


def replayable(model: Any, cache: Any, steps: int) -> bool:
    """Whether this many steps of the model can be recorded from where its cache is.

    A class of transformers itself, attention by PyTorch, sliding windows that see all that is
    read in these steps (a window that moves is not recorded), all of the model on one device, no
    weights of fewer bits, one process, no autocast (whose copies of weights come and go), and no
    failure so far.
    """
    config = model.config
    length = cache.get_seq_length() + steps
    # Mistral and Phi 3 mask by this one, whatever their cache keeps
    window = getattr(config, "sliding_window", None)
    tensors = list(chain(model.parameters(), model.buffers()))
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return (
        config.model_type in KNOWN
        and getattr(config, "_attn_implementation", None) == "sdpa"
        and type(model).__module__.startswith("transformers.")
        and (window is None or length <= window)
        and all(_keeps_all(layer, length) for layer in cache.layers)
        and {t.device for t in tensors} == {layer.keys.device for layer in cache.layers}
        and len({t.device for t in tensors}) == 1
        and all(p.is_floating_point() for p in model.parameters())
        and not CHOSEN_BY_LENGTH & rope_types(model)
        and not torch.is_autocast_enabled(tensors[0].device.type)
        and torch.version.hip is None
        and not distributed
        and model not in _refused
    )


def _keeps_all(layer: Any, length: int) -> bool:
    """Whether a layer of a cache keeps, and its last token sees, so many positions."""
    if type(layer) is DynamicSlidingWindowLayer:
        return bool(length <= layer.sliding_window)
    return type(layer) in (DynamicLayer, RoomyLayer)


@cache
def _stream(device: torch.device) -> Any:
    """One to record on: cuBLAS keeps memory for each stream that it has seen."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


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
        for index, layer in enumerate(cache.layers):  # one by one: not two caches at a time
            cache.layers[index] = RoomyLayer(layer, self.length, self.left, self._at)
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
        if self._calls == 2 and self._run not in _refused:
            self._graph = self._recorded()
        if self._calls == 1:
            self._first_step()
        elif self._graph is None:
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

    def _first_step(self) -> None:
        """A step that loads what there is to be loaded, and shows whether the host waits in it.

        A wait would spoil a recording, after which PyTorch's state is not what it was.
        """
        looks = self._mask.is_cuda and self._run not in _refused
        if not looks or not self._step_without_waiting():
            self._step()  # anew, if it was left in its middle: it counts on at its end alone

    def _step_without_waiting(self) -> bool:
        """One step; False, and not all of it, where the host would have to wait in it."""
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "a prototype feature"
            try:
                torch.cuda.set_sync_debug_mode("error")
                self._step()
            except RuntimeError as error:
                if "synchronizing" not in str(error):
                    raise
                self._refuse(error)
                return False
            finally:
                torch.cuda.set_sync_debug_mode(before)
        return True

    def _recorded(self) -> Any:
        """A step recorded, not done; None if that fails."""
        try:
            return self._record()
        except Exception as error:  # whatever it is: the steps can be done without
            self._refuse(error)
            return None

    def _refuse(self, error: Exception) -> None:
        _refused.add(self._run)
        logger.warning("Decoding steps cannot be recorded and run one by one: %s", error)

    def _record(self) -> Any:
        device = self._mask.device
        if device.type != "cuda":
            raise RuntimeError(f"{device} records nothing.")
        free, whole = torch.cuda.mem_get_info(device)
        if free < whole // 8:
            torch.cuda.empty_cache()  # what earlier recordings had is not given back by itself
        graph, stream = torch.cuda.CUDAGraph(), _stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                self._step()
            finally:
                graph.capture_end()
        torch.cuda.current_stream(device).wait_stream(stream)
        return graph

    def state(self) -> tuple[Tensor, Tensor]:
        """Mask [B, T] of what the cache holds, and positions [B, 1] of the tokens chosen last."""
        return self._mask[:, 0, 0, : self.length].long(), self._positions
