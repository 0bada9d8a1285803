"""``mtl.bench``: recipes over language pairs from Python, by the way that ``mt-bench`` takes."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mt_lottery.api.training import plain_value, refuse_misspelt, settings_from
from mt_lottery.benchmark.board.presenting import notes, tables
from mt_lottery.benchmark.board.report import read_board
from mt_lottery.config.overrides import quoted
from mt_lottery.errors import ConfigError, RecordError, shorten
from mt_lottery.reading.given_texts import check_texts
from mt_lottery.report.printing import as_text
from mt_lottery.system.quiet import quietly
from mt_lottery.system.values import plain_number, user_path


class Leaderboard:
    """A benchmark's leaderboard, as its folder has it.

        >>> import mt_lottery as mtl
        >>> board = mtl.Leaderboard("bench")
        >>> board.failed, board.page.name
        ([], 'leaderboard.html')

    Args:
        folder: of a benchmark, or of a published one (``benchmarks/results/…``).

    Raises:
        RecordError: no leaderboard there, or a damaged one.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = user_path(folder, RecordError)
        self.board: dict[str, Any] = read_board(self.folder / "leaderboard.json")

    @property
    def failed(self) -> list[str]:
        """The cells without a score, each with the reason."""
        return [
            f"{row['method']} {lang}: {cell.get('reason') or ''}"
            for row in self._rows()
            for lang, cell in row["cells"].items()
            if cell["state"] == "failed"
        ]

    def _rows(self) -> Iterator[dict[str, Any]]:
        for block in self.board["blocks"]:
            yield from block["rows"]

    @cached_property
    def page(self) -> Path:
        """The page with plot, tables, sentences and figures: open it in a browser."""
        return self.folder / "leaderboard.html"

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` of ``leaderboard.csv``: a row a recipe and language."""
        import pandas

        return pandas.read_csv(self.folder / "leaderboard.csv")

    def __repr__(self) -> str:
        return f"Leaderboard({str(self.folder)!r})"

    def __str__(self) -> str:
        said = [as_text(table, 140) for table in tables(self.board)]
        return "\n".join([*said, *notes(self.board)])

    def _repr_html_(self) -> str:
        below = "".join(f"<p><small>{html.escape(note)}</small></p>" for note in notes(self.board))
        return "".join(table.html() for table in tables(self.board)) + below


@quietly()
def bench(
    recipes: str | Sequence[str],
    langs: str | Sequence[str],
    *,
    source: str = "en",
    seeds: int | Sequence[int] = 0,
    preset: str | None = None,
    model: str | Path | None = None,
    data: str | None = None,
    tune: int = 0,
    out: str | Path | None = None,
    executor: str = "local",
    jobs: int = 1,
    slurm: Mapping[str, Any] | None = None,
    user_dir: str | Path | None = None,
    joint: bool = False,
    force: bool = False,
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> Leaderboard:
    """Run recipes over language pairs and seeds, and compare them.

    It is ``mt-bench``: the same checks, cells and files; cells that are finished are not run
    again, and a call that was interrupted goes on where it stopped.

        >>> import mt_lottery as mtl
        >>> board = mtl.bench(["random", "frequency"], ["ro"], model=base, preset="smoke",
        ...                   metrics=["chrf"], out="bench")
        written: bench/leaderboard.md, ...
        >>> sorted(set(board.to_pandas()["method"]))
        ['frequency', 'none', 'random']

    Args:
        recipes: names, or ``"all"``: the leaderboard's. The original model is always in.
        langs: target languages, or pairs (``de-en``).
        source: source language of those that are no pairs.
        seeds: one run of each recipe and pair a seed.
        preset: ``smoke`` (minutes), ``small`` or ``paper``.
        model: a file of ``recipes/model``, a model folder or a hub id.
        data: a corpus.
        tune: trials on dev for each recipe, in a second block.
        out: the folder; ``bench/PRESET`` if None.
        executor: ``local``, or ``slurm`` with what each job asks for in ``slurm``.
        jobs: cells at a time.
        slurm: ``dict(partition="gpu", gpus=1)``.
        user_dir: a folder of plugins to import first.
        joint: run each recipe that learns once more, with all languages in one run.
        force: go on in ``out`` with other settings.
        settings: of every cell, dotted keys as on the command line; ``"lora:tuner.r"`` is one
            recipe's.
        more: sections as mappings: ``train=dict(epochs=1)``; a key must be one of every recipe,
            the original model's included.

    Returns:
        the leaderboard.

    Raises:
        ConfigError: with every mistake; a name that is none with the nearest match.
        DataError: a language that the corpus does not have.
        RecordError: no cell could be finished; the reasons are printed and in ``out``.
    """
    from mt_lottery.benchmark.asking import Asked, ask
    from mt_lottery.benchmark.run import carry_out

    if not isinstance(settings or {}, Mapping):
        raise ConfigError(f"settings={settings!r}; a mapping, as {{'train.epochs': 1}}.")
    given = settings_from(more) | {str(k): plain_value(v) for k, v in (settings or {}).items()}
    refuse_misspelt(bench, more, ("recipe", "lang", "seed", "out_dir"))
    every = [f"{key}={_written(value)}" for key, value in given.items()]
    asked = Asked(
        recipes=[*_names("recipes", recipes), *every],
        langs=",".join(_names("langs", langs)),
        source=source,
        seeds=_seeds(seeds),
        preset=preset,
        model=None if model is None else str(model),
        data=data,
        tune=plain_number(tune),
        out=None if out is None else user_path(out, RecordError),
        executor=executor,
        jobs=plain_number(jobs),
        slurm=[f"{key}={value}" for key, value in (slurm or {}).items()],
        user_dir=None if user_dir is None else str(user_path(user_dir, RecordError)),
        joint=joint,
        force=force,
        command_line=f"mtl.bench({recipes!r}, {langs!r}, …)",
    )
    planned = ask(asked)
    _, failed = carry_out(planned, asked, shown=False)
    if len(failed) == len(planned.cells()):
        reasons = "".join(f"\n  {each.cell}: {each.reason}" for each in failed)
        raise RecordError(f"{planned.out}: no cell could be finished.{reasons}")
    return Leaderboard(planned.out)


def _seeds(given: Any) -> str:
    """Seeds as the command takes them.

    Raises:
        ConfigError: none, or something else than a number, a list of them or ``"0,1"``.
    """
    given = plain_number(given)
    if isinstance(given, str):
        return given
    if isinstance(given, int):
        return str(given)
    if not isinstance(given, Iterable) or not (listed := list(given)):
        raise ConfigError(f"seeds={shorten(given)}; a whole number or a list of some, as [0, 1].")
    return ",".join(str(plain_number(each)) for each in listed)


def _names(argument: str, given: str | Iterable[str]) -> list[str]:
    if isinstance(given, str):
        return given.split(",")
    return check_texts(argument, given, ConfigError)


def _written(value: Any) -> str:
    """A value in the grammar of the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, str | Path):
        return quoted(str(value))
    return repr(value)
