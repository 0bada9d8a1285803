"""``mt-ticket certify``: Algorithm 1 at every α, and the test of what it promises."""

from __future__ import annotations

import argparse
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mt_lottery.cli.options import Commands, add_options, any_number, subcommand, whole
from mt_lottery.cli.outputs import check_results
from mt_lottery.cli.shared import echo
from mt_lottery.errors import ConfigError, TuningError, plural
from mt_lottery.system.values import number
from mt_lottery.ticket.level import Level

if TYPE_CHECKING:
    from mt_lottery.paper.certify.certificate import Certificate

EXAMPLES = """\
  mt-ticket certify runs/en-ro/ks_lottery/seed-0
  mt-ticket certify runs/en-ro/embed/seed-0 runs/a05 runs/a50 --alphas 0,0.05,…,1 --suggest 0.9
  mt-ticket certify runs/en-ro/ks_lottery/seed-0 --margin original --sentences 50 --no-plot
"""

MOST_ALPHAS = 1001


def parse_alphas(text: str, option: str = "--alphas") -> list[float]:
    """``0,0.05,…,1`` or ``0.05,0.5`` as numbers, ascending, none twice.

    Args:
        text: numbers in [0, 1] with commas between them; ``…`` (or ``...``) fills in the step
            of the two numbers before it, up to the one behind it.
        option: named in messages.

    Raises:
        ConfigError: no number, one outside [0, 1], or a gap that the step does not divide.
    """
    words = [word.strip() for word in text.split(",")]
    found: list[Decimal] = []
    for index, word in enumerate(words):
        if word in ("…", "..."):
            found += _filled(found, words[index + 1 : index + 2], text, option)
            continue
        try:
            number(word)
        except ValueError:
            raise ConfigError(
                f"{option} {text:.200}: '{word:.40}' is no number; for example 0.05,0.5 or "
                "0,0.05,…,1."
            ) from None
        found.append(Decimal(word))
    try:
        return sorted({Level(float(value)).alpha for value in found})
    except TuningError as error:
        raise ConfigError(f"{option} {text}: {error}") from error


def _filled(before: list[Decimal], after: list[str], text: str, option: str) -> list[Decimal]:
    """What the dots stand for: the numbers between the last one and the next."""
    shape = f"{option} {text}: dots need two numbers before them and one after, as in 0,0.05,…,1"
    try:
        last = Decimal(after[0]) if after else None
    except InvalidOperation:
        last = None
    if len(before) < 2 or last is None or not last.is_finite():
        raise ConfigError(f"{shape}.")
    step = before[-1] - before[-2]
    if step <= 0 or last <= before[-1] or (last - before[-1]) % step:
        raise ConfigError(f"{shape}; a step of {step} does not lead from {before[-1]} to {last}.")
    count = int((last - before[-1]) / step)
    if count > MOST_ALPHAS:
        raise ConfigError(f"{option} {text}: {plural(count, 'number')}; {MOST_ALPHAS} at most.")
    return [before[-1] + step * i for i in range(1, count)]


def certify(given: argparse.Namespace) -> int:
    """``mt-ticket certify``."""
    checked = given.check_alphas
    alphas = parse_alphas(given.alphas)
    check_alphas: list[float] | None = None if checked is None else []
    if checked not in (None, "none"):
        check_alphas = parse_alphas(checked, "--check-alphas")
    folder = Path(given.out).expanduser() if given.out else Path(given.runs[0]) / "certificate"

    from mt_lottery.paper.certify.certificate import certify_runs
    from mt_lottery.paper.certify.figure import draw
    from mt_lottery.paper.certify.files import check_folder, write_report
    from mt_lottery.paper.certify.settings import Settings
    from mt_lottery.report.figures import check_matplotlib
    from mt_lottery.report.printing import printer

    settings = Settings(
        alphas=alphas,
        margin=given.margin,
        tau=given.tau,
        positions=given.positions,
        sentences=given.sentences,
        check_alphas=check_alphas,
        suggest=given.suggest,
    )
    settings.check()
    check_folder(folder)
    own = None if given.out else "certificate.json"
    kinds = ("json", "csv", "png", "svg") if given.plot else ("json", "csv")
    asked = settings.asked(given.runs)
    check_results(given, folder, ["certificate"], kinds, own, asked, reads=given.runs)
    if given.plot:
        check_matplotlib()
    certificate = certify_runs(given.runs, settings, device=given.device, echo=echo)
    written = write_report(certificate, folder)
    if given.plot:
        written += draw(certificate, folder)
    console = printer(120)
    _show(certificate, console)
    console.print(f"Written: {', '.join(str(path) for path in written)}", soft_wrap=True)
    return 0


def _show(certificate: Certificate, console: Any) -> None:
    from mt_lottery.paper.certify.tables import checks_table, levels_table
    from mt_lottery.report.numbers import shown_alpha

    print_ = console.print
    print_()
    print_(levels_table(certificate).grid())
    print_(
        "Rows kept: rejected rows (p ≤ α), the ticket. Certified: the embed-tuned model predicts "
        "the reference and (p_A − p_B)/2 > τ(α), the paper's condition. Verified: the second half "
        "of that. p is nominal: it ranks rows, it controls no error rate."
    )
    for alpha, tuned in sorted(certificate.partial.items()):
        level = next(each for each in certificate.levels if each.alpha == alpha)
        if tuned.rows != level.rows_kept:
            print_(
                f"{tuned.run.folder}: a ticket of {plural(tuned.rows, 'row')} by count; its α = "
                f"{shown_alpha(alpha)} (p of the last one) rejects {level.rows_kept}, for some "
                "have the same distance. τ is that of α.",
                soft_wrap=True,
            )
    if certificate.checks:
        print_()
        print_(checks_table(certificate).grid())
        print_(
            "Partial transfer: the ticket's rows copied to the original model. Control: the "
            "ticket's rows as in the embed-tuned model, every other row of it with its coordinates "
            "in random order; its KS distances are all 0, so it is certified as much. Intervals: "
            "sentences drawn with replacement; none where nothing or everything changed. "
            "Each α needs separate forward passes: --check-alphas chooses them."
        )
    if certificate.suggestion is not None:
        print_()
        _show_suggestion(certificate, console)
    print_(
        f"{certificate.seconds:.0f} s beyond loading; peak memory "
        f"{certificate.peak_memory / 1e9:.1f} GB."
    )


def _show_suggestion(certificate: Certificate, console: Any) -> None:
    quantiles = "  ".join(f"{q:.0%}: {value:.4f}" for q, value in certificate.quantiles)
    console.print(f"(p_A − p_B)/2, quantiles over the positions: {quantiles}")
    found = certificate.suggestion
    assert found is not None
    if found.alpha is None:
        console.print(
            f"No α in [0, 1] verifies {found.share:.1%} of the positions: τ(1) is too large."
        )
        return
    console.print(
        f"Smallest α that verifies {found.share:.1%} of the positions: {found.alpha:.12g} "
        f"({plural(found.rows_kept or 0, 'row')} kept, τ = {found.tau:.4f}, verified share "
        f"{found.verified_share:.1%})."
    )


def add(commands: Commands) -> None:
    """Teach ``mt-ticket`` this command."""
    part = subcommand(
        commands,
        certify,
        EXAMPLES,
        help="the paper's certificate at every α, and how often it is broken",
        description=(
            "Algorithm 1 of the paper on a run's test set: at every α the ticket's size, τ, the "
            "verified share, certified accuracy and the models' accuracies (Tables 5 and 7, "
            "Figures 4 and 7), teacher-forced on the first reference tokens of each sentence. "
            "Then the certificate is checked: how many certified predictions change when only the "
            "ticket's rows are copied, or tuned. 'Certified' means that a prediction meets the "
            "paper's condition, no more. Writes certificate.json, .csv, .png and .svg."
        ),
    )
    part.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a finished run whose recipe has an embedding-tuned probe (embed, ks_lottery, …); "
        "then runs of partial tuning (ks_lottery) at other α, for its accuracy there",
    )
    part.add_argument(
        "--alphas", default="0,0.05,…,1", metavar="LIST", help="levels, in [0, 1] [0,0.05,…,1]"
    )
    part.add_argument(
        "--check-alphas",
        metavar="LIST",
        help="where transfer and the permutation control are tried, two forward passes each; "
        "'none' for nowhere [α of the given runs, of 18, 100 and 400 rows, and 0.05]",
    )
    part.add_argument(
        "--margin",
        choices=("embed", "original"),
        default="embed",
        help="model of p_A − p_B: the theorem's, or that of §4.1 and Algorithm 1 [embed]",
    )
    part.add_argument(
        "--tau",
        choices=("estimated", "analytic"),
        default="estimated",
        help="largest D among rows with p > α, or c(α)·√(2/d) [estimated]",
    )
    part.add_argument(
        "--positions", type=whole, default=20, metavar="N", help="first reference tokens [20]"
    )
    part.add_argument("--sentences", type=whole, metavar="N", help="first test sentences [all]")
    part.add_argument(
        "--suggest",
        type=any_number,
        metavar="SHARE",
        help="print the smallest α that verifies this share of the positions (§4.2)",
    )
    part.add_argument("--out", metavar="DIR", help="folder to write to [RUN/certificate]")
    add_options(part, "--no-plot", "--overwrite", "--device")
