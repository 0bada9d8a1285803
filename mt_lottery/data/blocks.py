"""Which pairs of a pool each role gets.

A role that has a pool to itself takes its first N pairs.  Roles that share
one (NTREX has a single file per language) get blocks that never overlap:
training pairs from the front, the test block at the very back, the dev block
just before it.  The blocks depend on the pool and on ``dev_pairs`` and
``test_pairs`` only, so a longer training run is tested on the same sentences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mt_lottery.errors import DataError, plural

DEFAULT_SIZE = {"dev": 100, "test": 200}


@dataclass(frozen=True)
class Block:
    """Pairs ``start`` to ``stop`` (exclusive) of a pool.

    Attributes:
        available: how many pairs the role could have asked for.
    """

    start: int
    stop: int
    available: int


def said_of(blocks: Mapping[str, Block]) -> str:
    """How a pool was divided, for its user; keys that change it in brackets."""
    sizes = [
        f"{block.stop - block.start:,} {'training' if role == 'train' else role}"
        for role, block in blocks.items()
    ]
    keys = ", ".join(f"data.{role}_pairs" for role in blocks if role != "train")
    return f"one text, cut into {', '.join(sizes[:-1])} and {sizes[-1]} pairs ({keys})."


def _held_out(size: int, asked: Mapping[str, int | None]) -> dict[str, int]:
    """Sizes of the dev and test blocks of a shared pool of ``size`` pairs."""
    held = {role: n for role, n in asked.items() if role != "train" and n is not None}
    open_roles = [role for role in DEFAULT_SIZE if role in asked and role not in held]
    # Defaults must leave training at least half of a small pool.
    kept = (size + 1) // 2 if "train" in asked else 0
    room = max(0, size - kept - sum(held.values()))
    wanted = sum(DEFAULT_SIZE[role] for role in open_roles)
    for role in open_roles:
        share = DEFAULT_SIZE[role]
        held[role] = share if wanted <= room else max(1, share * room // wanted)
    return held


def plan_blocks(size: int, asked: Mapping[str, int | None], where: str) -> dict[str, Block]:
    """Divide a pool among the roles that read it.

    Args:
        size: pairs in the pool.
        asked: role → number of pairs asked for, None for the default: all of
            the pool for a role alone, else 100 dev and 200 test pairs (fewer in
            a pool so small that training would keep less than half) and
            everything before them for training.
        where: corpus, files and pair, for messages.

    Raises:
        DataError: fewer pairs than asked.
    """
    if len(asked) == 1:
        ((role, number),) = asked.items()
        if (number or 1) > size:
            raise DataError(
                f"data.{role}_pairs={number or 'all'}, but {where} has {plural(size, 'pair')}."
            )
        return {role: Block(0, size if number is None else number, size)}
    held = _held_out(size, asked)
    dev, test = held.get("dev", 0), held.get("test", 0)
    front = size - dev - test
    taken = ", ".join(f"{number} for {role}" for role, number in held.items())
    need = (asked["train"] or 1) if "train" in asked else 0
    if front < need:
        shown = [f"data.{role}_pairs={n}" for role, n in asked.items() if n is not None]
        raise DataError(
            f"{', '.join(shown) or 'data'}: {where} has {plural(size, 'pair')}, and "
            f"{', '.join(asked)} share them ({taken}"
            + (f", which leaves {max(front, 0)} for train" if "train" in asked else "")
            + "). Ask for fewer, or read dev or test from another corpus (data.dev, data.test)."
        )
    blocks = {"train": Block(0, asked["train"] or front, front)} if "train" in asked else {}
    if "dev" in held:
        blocks["dev"] = Block(front, front + dev, dev)
    if "test" in held:
        blocks["test"] = Block(size - test, size, test)
    return blocks
