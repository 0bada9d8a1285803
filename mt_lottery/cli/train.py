"""``mt-train``: one run from the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mt_lottery import __version__
from mt_lottery.cli.completing.shells import completed
from mt_lottery.cli.shared import echo, guarded
from mt_lottery.cli.streams import present
from mt_lottery.system import parallel

HELP = ("-h", "--help", "help")


def command(arguments: Sequence[str]) -> int:
    """Run with ``key=value`` arguments; raises what the user can fix."""
    if (code := completed(arguments)) is not None:
        return code
    parallel.start()  # first: a mistake in the arguments must be reported once
    if not arguments:
        if parallel.is_main():
            from mt_lottery.cli.help.overview import EXAMPLES, USAGE

            print(f"{USAGE}\n{EXAMPLES}\nmt-train --help lists recipes and settings.")
        return 2
    asked = [a for a in arguments if a.partition("=")[0] in HELP]
    if asked:
        if parallel.is_main():
            from mt_lottery.cli.help.keys import usage

            every = "all" in arguments or any(a.endswith("=all") for a in asked)
            given = [a for a in arguments if a not in asked and a != "all"]
            print(usage(given, every), end="")
        return 0
    if "--version" in arguments:
        if parallel.is_main():
            print(f"mt-lottery {__version__}")
        return 0
    from mt_lottery.config.compose import compose
    from mt_lottery.config.overrides import twice

    config = compose(arguments)
    from mt_lottery.runs import run
    from mt_lottery.runs.planning.effects import without_effect

    if parallel.is_main():
        keys = [argument.partition("=")[0] for argument in arguments]
        for line in (*twice(arguments), *without_effect(config, keys)):
            echo(f"Warning: {line}")

    outcome = run(config, echo=echo)
    if parallel.is_main():
        from mt_lottery.api.training import as_python
        from mt_lottery.cli.summary import show

        def shown() -> None:
            show(outcome)
            print("\nThe same in Python:\n  import mt_lottery as mtl")
            print(f"  {as_python(arguments, config)}")

        present(shown, f"The run is finished, in {outcome.run_dir}.")
    return 0


def main() -> int:
    """Entry point of ``mt-train``."""
    return guarded(lambda: command(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
