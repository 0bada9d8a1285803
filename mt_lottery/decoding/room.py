"""Whether a model has positions for a prompt and what is to follow it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mt_lottery.errors import ModelError, plural
from mt_lottery.model.positions import learned_positions, named_positions


class TooLongError(ModelError):
    """A sentence whose prompt and translation have more tokens than the model has positions.

    Args:
        place: of the first such sentence, counted from 0.
        tokens: of its prompt.
        limit: the model's positions.
        sentence: what the caller calls that sentence.
        setting: ``max_new_tokens`` and its value, as whoever called would write them.
    """

    def __init__(self, place: int, tokens: int, limit: int, sentence: str, setting: str) -> None:
        self.place, self.tokens, self.limit, self.setting = place, tokens, limit, setting
        super().__init__(
            f"{sentence}: its prompt has {plural(tokens, 'token')}; with {setting} that is more "
            f"than the model's {plural(limit, 'position')}. Shorten the sentence, or lower "
            "that limit."
        )

    def called(
        self, sentence: str, *, setting: str | None = None, place: int | None = None
    ) -> TooLongError:
        """The same, in the words of another caller.

        Args:
            sentence: what it calls the sentence.
            setting: what it calls the limit; as before if None.
            place: where the sentence is in what it was given; as before if None.
        """
        place = self.place if place is None else place
        return TooLongError(place, self.tokens, self.limit, sentence, setting or self.setting)


def check_positions(
    model: Any, lengths: Sequence[int], max_new_tokens: int, taken: int = 0
) -> None:
    """Refuse what a table of positions cannot hold; RoPE and the like have no such end.

    Args:
        model: a causal LM.
        lengths: tokens of each prompt.
        max_new_tokens: that may follow it.
        taken: positions that a method yet to be applied will take.

    Raises:
        TooLongError: it names the first prompt for which there are too few.
    """
    limit = learned_positions(model)
    if limit is None:
        return
    limit -= taken
    for place, length in enumerate(lengths):
        if length + max_new_tokens - 1 > limit:
            setting = f"max_new_tokens={max_new_tokens}"
            raise TooLongError(place, length, limit, f"Prompt {place} (counted from 0)", setting)


def beyond_training(model: Any, lengths: Sequence[int], max_new_tokens: int) -> str | None:
    """A warning where prompts end beyond the positions that a model with RoPE was trained for.

    Nothing fails there, and the text gets worse.

    Args:
        model: a causal LM.
        lengths: tokens of each prompt.
        max_new_tokens: that may follow it.

    Returns:
        the sentence, or None where all is within them or the model names none.
    """
    limit = named_positions(model)
    if limit is None or learned_positions(model) is not None:
        return None
    many = sum(length + max_new_tokens - 1 > limit for length in lengths)
    if not many:
        return None
    return (
        f"{plural(many, 'prompt')} (the longest has {plural(max(lengths), 'token')}) and up to "
        f"{plural(max_new_tokens, 'new token')} go beyond the {plural(limit, 'position')} that "
        "the model's configuration names: what it writes there is likely to be poor."
    )
