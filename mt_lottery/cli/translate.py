"""``mt-translate``: translate standard input with a tuned model."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from mt_lottery import __version__
from mt_lottery.cli.completing.shells import completed
from mt_lottery.cli.options import Parser, add_options, positive
from mt_lottery.cli.shared import guarded

EXAMPLES = """\
examples:
  echo 'The bridge is closed.' | mt-translate --run runs/en-ro/ks_lottery/seed-0
  mt-translate --run runs/en-ro/ks_lottery/seed-0 < input.en > output.ro
  mt-translate --run runs/en-ro+en-es/ks_lottery/seed-0 --lang en-es --beam-size 4 < input.en
"""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = Parser(
        prog="mt-translate",
        description="Translate standard input, one sentence a line, with a finished run's model.\n"
        "One line comes out for each that goes in: the first line of what the model says.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.instead = dict.fromkeys(
        ("--input", "-i", "--input-file", "--file", "--output", "-o", "--output-file", "--text"),
        "It reads standard input and writes standard output: mt-translate --run DIR < FILE > FILE",
    )
    made.add_argument("--version", action="version", version=f"mt-lottery {__version__}")
    made.add_argument("--run", required=True, metavar="DIR", help="run directory of mt-train")
    made.add_argument(
        "--lang", metavar="SRC-TGT", help="direction, for a run that was tuned for several"
    )
    add_options(made, "--device")
    made.add_argument(
        "--device-map",
        choices=["auto"],
        help="auto: the layers on all GPUs, for a model that does not fit one",
    )
    made.add_argument("--batch-size", type=positive, help="sentences a batch [the run's]")
    made.add_argument("--beam-size", type=positive, help="1 is greedy search [the run's]")
    made.add_argument("--max-new-tokens", type=positive, help="limit in tokens [the run's]")
    add_options(made, "--user-dir", "--trust-remote-code")
    return made


def blocks(lines: BinaryIO, size: int) -> Iterator[list[str]]:
    """The lines of a UTF-8 stream, without line ends, at most ``size`` at a time.

    Only LF ends a line (a CR before it goes too), as in training text.

    Raises:
        DataError: a line is not UTF-8; the whole lines before it come first.
    """
    from mt_lottery.errors import DataError

    block: list[str] = []
    for number, line in enumerate(lines, 1):
        content = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        try:
            block.append(content.decode("utf-8").rstrip("\r\n"))
        except UnicodeDecodeError as error:
            if block:
                yield block
            byte = content[error.start]
            raise DataError(
                f"standard input, line {number}: not UTF-8 (byte 0x{byte:02x} at position "
                f"{error.start + 1})."
            ) from None
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block


def command(arguments: Sequence[str]) -> int:
    """Translate ``sys.stdin`` to ``sys.stdout``; raises what the user can fix."""
    if (code := completed(arguments)) is not None:
        return code
    given = parser().parse_args(arguments)
    from mt_lottery.config.stored import allowing
    from mt_lottery.decoding.room import TooLongError
    from mt_lottery.runs import Run

    # standard output is for translations: what a plugin prints goes beside them
    aside = contextlib.redirect_stdout(sys.stderr)
    with aside, allowing(given.user_dir, given.trust_remote_code):
        run = Run(given.run, given.device, device_map=given.device_map)
        lang = run.direction(given.lang)
        _ = run.tuned
    keys = ("batch_size", "beam_size", "max_new_tokens")
    asked = {key: getattr(given, key) for key in keys if getattr(given, key) is not None}
    interactive = sys.stdin.isatty()
    if interactive:
        print(f"One sentence a line ({lang}); Ctrl-D ends.", file=sys.stderr)
    size = 1 if interactive else 16 * asked.get("batch_size", run.config.translate.batch_size)
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    before = 0
    for block in blocks(sys.stdin.buffer, size):
        failed: TooLongError | None = None
        with aside:
            try:
                outputs = run.translate(block, lang=lang, **asked)
            except TooLongError as error:
                failed = error.called(f"standard input, line {before + error.place + 1}")
                outputs = run.translate(block[: error.place], lang=lang, **asked)
        if outputs:
            print("\n".join(outputs), flush=True)
        if failed:  # as after a line that is no UTF-8, the lines before it are not lost
            raise failed
        before += len(block)
    return 0


def main() -> int:
    """Entry point of ``mt-translate``."""
    return guarded(lambda: command(sys.argv[1:]), "Interrupted.")


if __name__ == "__main__":
    sys.exit(main())
