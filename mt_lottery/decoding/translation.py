"""Translation of many prompts: sorted by length, batched, decoded, put back in order."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from mt_lottery.decoding.beam import generate_batch
from mt_lottery.decoding.caches import new_cache, smallest_window
from mt_lottery.decoding.continuation import Continuation
from mt_lottery.decoding.greedy import greedy_batch
from mt_lottery.decoding.lines import FirstLine
from mt_lottery.decoding.lines import first_line as first_line
from mt_lottery.decoding.prefix import SharedPrefix, learned_prefix, share_prefix
from mt_lottery.decoding.room import check_positions
from mt_lottery.decoding.rotary import forget_longer_texts, unchanged_positions
from mt_lottery.errors import ConfigError, DataError, ModelError, plural
from mt_lottery.model.attention import of_any_shape
from mt_lottery.model.sharding import is_sharded
from mt_lottery.report.tokens import decode_text

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: ``progress(sentences done, sentences in all, tokens so far)``, called about once a step.
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Hypothesis:
    """One translation.

    Attributes:
        text: the whole continuation up to the end-of-sequence token or the limit, special tokens
            left out, newlines kept.  One leading blank is removed: it belongs to the template
            ("Romanian: …"), and some tokenizers drop it by themselves.
        tokens: generated tokens, the end-of-sequence token not counted.
        stopped: whether the model ended the sequence itself.

    """

    text: str
    tokens: int
    stopped: bool

    @property
    def first_line(self) -> str:
        """What is left when a model that does not stop is cut at the first newline."""
        return first_line(self.text)


class _Counter:
    """Adds up what batches report; a batch that is tried again starts from where it began."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total = total
        self.progress = progress
        self.done = self.tokens = 0
        self._mark = (0, 0)

    def step(self, tokens: int, finished: int) -> None:
        self.tokens += tokens
        self.done += finished
        if self.progress is not None:
            self.progress(self.done, self.total, self.tokens)

    def begin(self) -> None:
        self._mark = (self.done, self.tokens)

    def back(self) -> None:
        self.done, self.tokens = self._mark


def translate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    beam_size: int = 1,
    max_new_tokens: int,
    batch_size: int = 128,
    max_tokens: int | None = None,
    length_penalty: float = 1.0,
    eos_ids: int | Collection[int],
    pad_id: int,
    forced: Sequence[int] = (),
    one_line: bool = False,
    progress: Progress | None = None,
) -> list[Hypothesis]:
    """Continue each prompt until the model stops or ``max_new_tokens`` are written.

    Greedy (``beam_size=1``) equals transformers' ``generate(do_sample=False)`` token for token in
    float32; beam search is ``generate``'s.  Sentences that may reach a length at which the model
    changes its rotary frequencies (``dynamic``, ``longrope``) go through ``generate`` one by one.
    The model is decoded in evaluation mode and put back into the mode it was in.  A batch that
    does not fit into memory is halved, and so are the ones after it.

    Args:
        prompts: token ids of each prompt, special tokens included.
        batch_size: sentences decoded together, at most.
        max_tokens: tokens of a batch, at most: its sentences times the longest prompt and
            ``max_new_tokens``; None for no such limit.  One sentence is always let through.
        length_penalty: beam search only; above 0 favours longer translations.
        eos_ids: tokens that end a translation; may be empty.
        pad_id: fills the left of shorter prompts; masked, so any valid id will do.
        forced: tokens with which each translation begins; they are part of it, and of
            ``max_new_tokens``.
        one_line: a translation ends at the first line break after text, and is that line.
        progress: see :data:`Progress`.

    Returns:
        one hypothesis a prompt, in input order.

    Raises:
        ConfigError: a size below 1.
        DataError: an empty prompt.
        TooLongError: a prompt for which the model has not the positions.
        ModelError: a single sentence that does not fit into memory.

    """
    sizes = {"beam_size": beam_size, "max_new_tokens": max_new_tokens, "batch_size": batch_size,
             "max_tokens": max_tokens}  # fmt: skip
    _check(sizes, prompts, forced)
    if not prompts:
        return []
    check_positions(model, [*map(len, prompts)], max_new_tokens)
    line = FirstLine(tokenizer) if one_line else None
    ends = None if line is None else lambda tokens: line([*forced, *tokens])
    prompts = [[*prompt, *forced] for prompt in prompts] if forced else prompts
    max_new_tokens -= len(forced)
    eos = frozenset([eos_ids] if isinstance(eos_ids, int) else eos_ids)
    counter = _Counter(len(prompts), progress)
    plain = new_cache(model) is not None
    prefix: SharedPrefix | None = None
    limit = unchanged_positions(model)

    def is_alone(prompt: Sequence[int]) -> bool:
        return limit is not None and len(prompt) + max_new_tokens - 1 > limit

    def decode(batch: Sequence[Sequence[int]]) -> list[Continuation]:
        nonlocal plain
        if limit is not None:
            forget_longer_texts(model)
        if beam_size == 1 and plain and not is_alone(batch[0]):
            results = greedy_batch(
                model,
                batch,
                max_new_tokens=max_new_tokens,
                eos_ids=eos,
                pad_id=pad_id,
                on_step=counter.step,
                prefix=prefix,
                ends=ends,
            )
            if results is not None:
                return results
            plain = False
        return generate_batch(
            model,
            batch,
            beam_size=beam_size,
            max_new_tokens=max_new_tokens,
            length_penalty=length_penalty,
            eos_ids=eos,
            pad_id=pad_id,
            padded=plain and not learned,
            on_step=counter.step,
            ends=ends,
        )

    # Longest first: if memory is short, the first batch says so.
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    together = [prompts[index] for index in order if not is_alone(prompts[index])]
    hypotheses: dict[int, Hypothesis] = {}
    start, size = 0, batch_size
    budget = None if max_tokens is None else max_tokens // beam_size
    learned, divided = learned_prefix(model) is not None, is_sharded(model)
    # `no_grad`, not `inference_mode`: some models keep buffers made in a forward pass (dynamic
    # RoPE), and an inference tensor among them would break the training that goes on after.
    with _evaluating(model), _contiguous_head_input(model), of_any_shape(), torch.no_grad():
        if beam_size == 1 and plain and together:
            prefix = _unless_out_of_memory(
                lambda _: share_prefix(model, together), together[:1], divided
            )
        spread = _most_spread(model, prefix, max(map(len, prompts)) + max_new_tokens)
        while start < len(order):
            chosen = order[start : start + (1 if is_alone(prompts[order[start]]) else size)]
            longest = len(prompts[chosen[0]])
            if budget is not None:
                chosen = chosen[: max(1, budget // (longest + max_new_tokens))]
            if spread is not None:
                chosen = [i for i in chosen if len(prompts[i]) >= longest - spread]
            counter.begin()
            results = _unless_out_of_memory(decode, [prompts[i] for i in chosen], divided)
            if results is None:
                counter.back()
                size = len(chosen) // 2
                logger.warning(
                    "Out of memory: going on in batches of %s.", plural(size, "sentence")
                )
                continue
            for index, result in zip(chosen, results, strict=True):
                hypotheses[index] = _to_text(tokenizer, result, forced, one_line=one_line)
            start += len(chosen)
        if limit is not None:
            forget_longer_texts(model)  # a training goes on as if nothing had been translated
    return [hypotheses[index] for index in range(len(prompts))]


def _check(
    sizes: dict[str, int | None], prompts: Sequence[Sequence[int]], forced: Sequence[int]
) -> None:
    problems = [
        f"translate.{k}={v}: must be at least 1."
        for k, v in sizes.items()
        if v is not None and v < 1
    ]
    limit = sizes["max_new_tokens"] or 0
    if 0 < limit <= len(forced):
        problems.append(
            f"translate.max_new_tokens={limit}: must be more than the "
            f"{plural(len(forced), 'token')} with which each translation begins."
        )
    if problems:
        raise ConfigError(problems)
    empty = [index for index, prompt in enumerate(prompts) if len(prompt) == 0]
    if empty:
        raise DataError(f"Sentence {empty[0]} (counted from 0) has an empty prompt.")


def _most_spread(model: Any, prefix: SharedPrefix | None, length: int) -> int | None:
    """By how many tokens the prompts of one batch may differ in length; None for any number.

    Padding that comes between a learned prefix and a prompt counts in the distance that a
    sliding window measures: where a window ends before the text does, there must be none.
    """
    window = smallest_window(model)
    if prefix is None or not prefix.virtual or window is None:
        return None
    return prefix.tokens if prefix.virtual + length > window else None


def _to_text(
    tokenizer: Any, result: Continuation, forced: Sequence[int], *, one_line: bool
) -> Hypothesis:
    tokens = [*forced, *result.tokens]
    text = decode_text(tokenizer, tokens).removeprefix(" ")
    return Hypothesis(first_line(text) if one_line else text, len(tokens), result.stopped)


def _unless_out_of_memory(
    decode: Callable[[Sequence[Sequence[int]]], T],
    batch: Sequence[Sequence[int]],
    divided: bool = False,
) -> T | None:
    """What ``decode`` gives for the batch, or None if the batch must be halved."""
    try:
        return decode(batch)
    except (RuntimeError, MemoryError) as error:
        # another batch would need what the processes of a divided model do together
        if not _is_out_of_memory(error) or divided:
            raise
        if len(batch) == 1:
            raise ModelError(
                "Out of memory with a single sentence (prompt of "
                f"{plural(len(batch[0]), 'token')}). Lower the limit of new tokens or the beam "
                "size, or take a smaller model."
            ) from error
    # Only now are the frames gone that held the batch's tensors.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return (
        isinstance(error, (torch.OutOfMemoryError, MemoryError))
        or "out of memory" in text
        or "can't allocate memory" in text
    )


@contextmanager
def _contiguous_head_input(model: Any) -> Iterator[None]:
    """Hand the output head contiguous hidden states.

    The last position of a prompt is a strided view; given one, PyTorch's linear layer on the CPU
    copies the head's [V, d] weight once a sentence (16 GB for 48 sentences of Gemma 3 270M).  That
    of a single prompt counts as contiguous, and the layer looks at its strides all the same.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Module):
        yield
        return

    def contiguous(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0].reshape(-1).view(args[0].shape), *args[1:]) if args else args

    handle = head.register_forward_pre_hook(contiguous)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Evaluation mode, each module put back afterwards (not all were in the same mode)."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
