"""``python -m mt_lottery.fairseq2 OUT --config lang=en-ro tuner.name=ks_lottery …``."""

from __future__ import annotations

import sys

from mt_lottery.registry import ENGINES
from mt_lottery.system.quiet import quieten


def main() -> None:
    """Run the recipe with fairseq2's command line."""
    quieten()
    if missing := ENGINES.missing("fairseq2"):
        print(f"error: {missing}", file=sys.stderr)
        sys.exit(2)
    from mt_lottery.config import RunConfig

    for problem in ENGINES.get("fairseq2")(RunConfig()).problems():
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    from fairseq2.recipe.cli import _parse_args
    from fairseq2.recipe.cli import main as run_recipe

    from mt_lottery.fairseq2.configuration import explained
    from mt_lottery.fairseq2.isolation import only_harmless_variables
    from mt_lottery.fairseq2.recipe import LotteryRecipe, keys_of

    given = keys_of(_parse_args().config_overrides)
    with only_harmless_variables() as reveal, explained():
        run_recipe(LotteryRecipe(reveal, given))


if __name__ == "__main__":
    main()
