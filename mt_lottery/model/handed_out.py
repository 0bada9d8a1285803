"""Models that are handed out must not be saved as something else in silence.

transformers writes weights under the names of the modules as they are. A model with one of
our modules in it (token rows in the embedding, a bias on the head) reads back with a random
table in its place, and only a warning says so.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NoReturn

from mt_lottery.errors import ModelError

#: Methods of a transformers model that write it somewhere.
_WRITE = ("save_pretrained", "push_to_hub")


def weight_names(model: Any) -> frozenset[str]:
    """The names under which a model's weights would be saved."""
    return frozenset(model.state_dict())


def _refuse(method: str, how: str, *given: object, **settings: object) -> NoReturn:
    raise ModelError(
        f"{method}: this model has parts that transformers could not load again (it would fill "
        f"an embedding table or a head with random numbers). {how}"
    )


def refuse_saving(model: Any, how: str) -> None:
    """Make the model's own ways of writing it raise, instead of writing something else.

    Copies and pickles of the model do the same; its ``state_dict`` is as it was.

    Args:
        model: a transformers model with modules of ours in it.
        how: what to do instead, a sentence.
    """
    for method in _WRITE:
        if hasattr(model, method):
            setattr(model, method, partial(_refuse, method, how))
