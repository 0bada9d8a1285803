"""``mt-bench compare``: the recipes of a benchmark against one of them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import textwrap
from pathlib import Path

from mt_lottery.cli.options import Parser, add_options, names, typed
from mt_lottery.errors import plural
from mt_lottery.system.values import number

EXAMPLES = """\
examples:
  mt-bench compare bench/small --against embed --margin 1.0
  mt-bench compare bench/small --against lora --block tuned --score first_line
  mt-bench compare bench/one bench/two --against none --metric chrf --json
"""


def parser() -> argparse.ArgumentParser:
    """What the command line understands."""
    made = Parser(
        "mt-bench compare",
        description=textwrap.fill(
            "By how much each recipe of a benchmark differs from a chosen one, in each language "
            "and on average, from the records alone: paired bootstrap over sentences and seeds.",
            79,
        ),
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folder of a benchmark")
    made.add_argument("--against", required=True, metavar="RECIPE", help="compare with this one")
    made.add_argument(
        *("--recipes", "--methods"),
        type=names,
        default=[],
        metavar="R,…",
        help="only these [all others]",
    )
    made.add_argument(
        "--block",
        choices=("recipe", "tuned"),
        default="recipe",
        help="recipe (or paper) settings, or the equal tuning budget [recipe]",
    )
    made.add_argument(
        "--score",
        choices=("raw", "first_line"),
        default="raw",
        help="of the whole output, or of its first line [raw]",
    )
    made.add_argument(
        "--margin",
        type=typed(number, 0.001, 100.0),
        metavar="POINTS",
        help="say of which recipes it is shown that they are as good, but for so much",
    )
    made.add_argument("--metric", metavar="KEY", help="spbleu, chrf, … [the one that ranks]")
    add_options(made, "--user-dir", help="folder of plugins, where one has the metric")
    add_options(made, "--json")
    made.set_defaults(run_command=compare)
    return made


def compare(given: argparse.Namespace) -> int:
    """Do it, and print a table."""
    from rich.text import Text

    from mt_lottery.benchmark.board.compare import compare_with
    from mt_lottery.benchmark.board.presenting import tell_failures
    from mt_lottery.benchmark.board.report import load
    from mt_lottery.registry import load_user_dir
    from mt_lottery.report.printing import Grid, printer
    from mt_lottery.runs.summary import in_table
    from mt_lottery.scoring.significance import RESAMPLES, Corrected, least_pvalue
    from mt_lottery.scoring.verdicts import Equivalence

    if given.user_dir is not None:
        load_user_dir(given.user_dir)
    block = {"recipe": "runs", "tuned": "tuned"}[given.block]
    results = load(given.folders)
    differences = compare_with(
        results,
        given.against,
        recipes=given.recipes,
        block=block,
        which=given.score,
        metric=given.metric,
        margin=given.margin,
    )
    tell_failures(results, block)
    if given.json:
        content = dataclasses.asdict(differences)
        if given.margin is None:
            del content["equivalence"]
        print(json.dumps(content, indent=1, ensure_ascii=False))
        return 0

    def shown(gap: Corrected | None, alike: Equivalence | None) -> Text:
        if gap is None:
            return Text("—")
        # only equal scores are shown as "+0.0 [0.0, 0.0]"
        places = 1 if gap.difference == 0 or abs(gap.difference) >= 0.05 else 3
        # 0.0 is added because a rounded −0.04 is a minus zero
        difference, low, high = (round(x, places) + 0.0 for x in (gap.difference, *gap.ci95))
        sign = "≤" if gap.least else "="
        text = f"{difference:+.{places}f} [{low:.{places}f}, {high:.{places}f}]"
        text += f"\np {sign} {gap.corrected:.3f}"
        text += "" if alike is None else f"\n{alike.shown}"
        return Text(text, style="bold" if gap.corrected <= 0.05 else "")

    of = {"raw": "the whole output", "first_line": "the first line"}[differences.which]
    console = printer(130)
    title = f"{differences.column} of {of}, less that of {in_table(differences.against)}"
    table = Grid(title, ["recipe", *differences.columns], lines=True)
    for recipe, gaps in differences.gaps.items():
        judged = differences.equivalence.get(recipe, {})
        table.add(
            in_table(recipe), *[shown(gaps.get(c), judged.get(c)) for c in differences.columns]
        )
    console.print(table)
    several = len(differences.gaps)
    holm = (
        f", Holm-corrected over the {plural(several, 'recipe')} of a column" if several > 1 else ""
    )
    console.print(
        f"Brackets: 95% interval; p: two-sided (paired bootstrap, {RESAMPLES:,} resamples){holm}; "
        "bold: p ≤ 0.05. ≤: the least that so many resamples can show."
    )
    fewest = min((n for n in differences.sentences.values() if n is not None), default=None)
    if fewest is not None and (least := least_pvalue(fewest)) > 1 / (RESAMPLES + 1):
        console.print(
            f"{plural(fewest, 'sentence')}: too few to show a p below {least:.3g}, however large "
            "the difference (2^(1 − n))."
        )
    if given.margin is not None:
        console.print(
            f"equivalent within {given.margin:g}: the 90% interval lies within ±{given.margin:g} "
            "(two one-sided tests at 5%); else worse or better: p ≤ 0.05; else undecided."
        )
    return 0
