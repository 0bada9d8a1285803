"""The leaderboard as tables: on a terminal, as Markdown, CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mt_lottery.benchmark.board.metric_table import headings, pvalue
from mt_lottery.benchmark.recipes import rounded
from mt_lottery.report.numbers import GAP, number, percent, signed, size, spread
from mt_lottery.report.plain import markdown_code, markdown_text, tex_text
from mt_lottery.report.table import Column, Table
from mt_lottery.runs.summary import in_table
from mt_lottery.scoring.metric import WHICH

Row = dict[str, Any]
Write = Callable[[Any], str]

AVERAGE = "average"
_SHARES = ("stopped", "length_ratio", "empty", "truncated", "off_target")
_SECONDS = ("probe_seconds", "train_seconds", "decode_seconds", "seconds")
_VERDICT = ("mark", "pvalue", "difference")


def _at(numbers: Any, *path: str | int) -> Any:
    """What is at a path of keys; None where there is nothing on the way."""
    for key in path:
        if not numbers:
            return None
        numbers = numbers[key]
    return numbers


def _score(found: Row) -> str:
    """A score with its interval, and its standard deviation over seeds."""
    return spread(found["score"], found.get("ci95"), found.get("sd"))


def _seconds(value: float | None) -> str:
    return number(value, ",.0f")


def _average(head: str, write: Write, *path: str, strong: bool = False) -> Column:
    """A column of the averages, ``write`` being given what is at ``path``."""

    def cell(row: Row) -> str:
        return GAP if row[AVERAGE] is None else write(_at(row[AVERAGE], *path))

    return Column(head, cell, strong=strong)


def _languages(board: Row, write: Write, *path: str, head: str = "{}") -> list[Column]:
    """The same of each language."""

    def column(lang: str) -> Column:
        def cell(row: Row) -> str:
            own = row["cells"][lang]
            if own["state"] == "failed":
                return "FAILED"
            return GAP if own["state"] == "missing" else write(_at(own, *path))

        return Column(head.format(lang), cell)

    return [column(lang) for lang in board["languages"]]


def _name(head: str) -> Column:
    def markdown(row: Row) -> str:
        code = markdown_code(str(row["method"]), cell=True)
        return f"{markdown_text(str(row['label']))} ({code})"

    return Column(head, lambda row: str(row["label"]), markdown=markdown, strong=True)


def _typed(head: str) -> Column:
    """Names as commands take them: a terminal has no room for the labels too."""
    return Column(head, lambda row: in_table(str(row["method"])))


def _trained(head: str = "trained", write: Write = "{:,}".format) -> Column:
    def cell(row: Row) -> str:
        count = row["trainable_parameters"]
        return GAP if count is None else write(count)

    return Column(head, cell)


def _table(block: Row, columns: Sequence[Column], title: str = "") -> Table:
    return Table(columns, block["rows"], title, marked=lambda row: bool(row["mark"]))


def summary(board: Row, block: Row) -> Table:
    """A block as a terminal has room for it."""

    def split(gain: Row | None) -> str:
        return f"{signed(gain['stop'])} {signed(gain['translate'])}" if gain else GAP

    columns = [
        *(_typed("recipe"), _trained(), *_languages(board, number, "raw", "score")),
        _average("average", _score, "raw"),
        _average("first line", number, "first_line", "score"),
        _average("stopped", percent, "stopped"),
        _average("= stop + translate", split, "gain"),
    ]
    return _table(block, columns, f"{board['metric']['column']}, {block['name']}")


def _pages(board: Row, block: Row) -> list[tuple[str, Table]]:
    """The tables of a block on a page, each with what is above it."""
    scores = [
        *(_name("raw score"), _trained(), *_languages(board, _score, "raw")),
        _average("average", _score, "raw", strong=True),
    ]
    stopping = [
        _name("average"),
        _average("raw", _score, "raw"),
        _average("first line", _score, "first_line"),
        _average("stopped", percent, "stopped"),
        _average("length ratio", lambda value: number(value, ".2f"), "length_ratio"),
        _average("gain", signed, "gain", "raw"),
        _average("= stop", signed, "gain", "stop"),
        _average("+ translate", signed, "gain", "translate"),
    ]
    languages = [
        _name("each language"),
        *_languages(board, _score, "first_line", head="{} first line"),
        *_languages(board, percent, "stopped", head="{} stopped"),
    ]
    names = ("probe s", "train s", "decode s", "sum s")
    costs = [
        _name("average"),
        *(_average(h, _seconds, key) for h, key in zip(names, _SECONDS, strict=True)),
        _average("peak memory", size, "peak_memory_bytes"),
        _average("adapter", size, "adapter_bytes"),
        *(_average(key.replace("_", "-"), percent, key) for key in _SHARES[2:]),
    ]
    pages = [
        ("", _table(block, scores)),
        ("### Stopping or translating?", _table(block, stopping)),
        ("", _table(block, languages)),
        ("### Cost, and what else came out", _table(block, costs)),
    ]
    if block.get("metrics"):
        pages.append(("### Every metric, with its significance", metrics(board, block)))
    return pages


def metrics(board: Row, block: Row, head: str = "average", *, whole: bool = True) -> Table:
    """The averages of every metric, with its p-value against the best.

    Args:
        board: the leaderboard.
        block: of it.
        head: of the column of recipes.
        whole: the first line with its interval, the best in bold, and labels beside names.
    """
    names, columns = headings(board), [_name(head) if whole else _typed(head)]

    def of(place: int, column: Column) -> Column:
        """A column of a metric's rows."""
        return Column(column.head, lambda rows: column.show(rows["metrics"][place]))

    first_line = ("first_line",) if whole else ("first_line", "score")
    for place, metric in enumerate(block["metrics"]):
        raw = _average(names[metric["key"]], _score, "raw")
        line = _average("first line", _score if whole else number, *first_line)
        columns += [of(place, column) for column in (raw, line, Column("p", pvalue))]
    rows = [
        row | {"metrics": [metric["rows"][place] for metric in block["metrics"]]}
        for place, row in enumerate(block["rows"])
    ]
    title = "every metric, averages; p: against the best (paired bootstrap, Holm)"
    return Table(columns, rows, title, marked=lambda row: whole and bool(row["mark"]))


def markdown(board: dict[str, Any]) -> str:
    """The whole page: scores, stopping, cost and outputs of each block, and the notes."""
    heading = markdown_text(f"{board['metric']['column']}, {board['created']}.")
    parts = [f"# {markdown_text(board['title'])}", "", heading]
    for block in board["blocks"]:
        parts += ["", f"## {markdown_text(block['name'].capitalize())}"]
        parts += ["", markdown_text(block["explanation"])]
        for title, table in _pages(board, block):
            parts += [*(["", title] if title else []), "", table.markdown()]
        failed = [
            f"{row['label']}, {lang}: {cell['reason']}"
            for row in block["rows"]
            for lang, cell in row["cells"].items()
            if cell["state"] == "failed"
        ]
        if block.get("chosen"):
            parts += ["", "### Settings chosen on the dev set", "", *bullets(block["chosen"])]
        if failed:
            parts += ["", "### FAILED", "", *bullets(failed)]
    return "\n".join([*parts, *closing(board)]) + "\n"


def bullets(lines: Sequence[str]) -> list[str]:
    """A list in Markdown."""
    return [f"- {markdown_text(line)}" for line in lines]


def closing(found: dict[str, Any]) -> list[str]:
    """The last lines of a page in Markdown: notes, contamination and provenance."""
    parts = ["", "## Notes", "", *bullets(found["notes"])]
    if found["contamination"]:
        parts += ["", "## Contamination", "", *bullets(found["contamination"])]
    parts += ["", "## Provenance", ""]
    parts += [
        f"- {markdown_text(line['name'])}: {markdown_code(str(line['value']))}"
        for line in found["provenance"]
    ]
    return parts


def comma_separated(board: dict[str, Any]) -> str:
    """One line a block, recipe and language, and one with the average; every number unrounded."""
    lines: list[Row] = []
    for block in board["blocks"]:
        for place, row in enumerate(block["rows"]):
            about = {key: row[key] for key in ("method", "trainable_parameters", "rows")}
            about["block"] = block["name"]
            for lang in board["languages"]:
                lines.append({**about, **row["cells"][lang], "language": lang})
            if row[AVERAGE] is None:
                continue
            every = {metric["key"]: metric["rows"][place] for metric in block.get("metrics") or []}
            more = {key: row[key] for key in _VERDICT} | {
                "by_metric": {key: own if own[AVERAGE] else None for key, own in every.items()},
                **{"language": AVERAGE, "state": "done", "seeds": None},
            }
            lines.append({**about, **row[AVERAGE], **more})
    common = ("block", "method", "trainable_parameters", "rows", "language", "state", "reason")
    gains = [_csv(f"gain_{key}", "gain", key) for key in ("raw", "stop", "translate")]
    columns = [
        *map(_csv, common),
        Column(None, key="seeds", value=lambda line: " ".join(map(str, line.get("seeds") or []))),
        *(column for which in WHICH for column in _spread(which, which)),
        *map(_csv, (*_SHARES, *_SECONDS, "peak_memory_bytes", "adapter_bytes")),
        *(*gains, *map(_csv, _VERDICT)),
    ]
    for metric in (board.get("metrics") or [])[1:]:  # the first one has the columns above
        key, own = metric["key"], ("by_metric", metric["key"])
        for which in WHICH:
            score, _, *bounds = _spread(f"{key}_{which}", *own, AVERAGE, which)
            columns += [score, *bounds]
        columns += [_csv(f"{key}_{name}", *own, name) for name in _VERDICT]
    return Table(columns, lines).csv()


def _csv(name: str, *path: str | int) -> Column:
    """A column of the CSV: what is at ``path`` of a line, ``name`` itself if none is given."""
    first, *rest = path or (name,)
    return Column(None, key=name, value=lambda line: _at(line.get(first), *rest))


def _spread(name: str, *path: str | int) -> list[Column]:
    """The columns of a score: the number, its standard deviation, its interval."""
    parts = {"": ("score",), "_sd": ("sd",), "_low": ("ci95", 0), "_high": ("ci95", 1)}
    return [_csv(f"{name}{end}", *path, *part) for end, part in parts.items()]


_LETTERS = (
    "% Letters beyond Latin: xelatex or lualatex with fontspec and a font that has them;\n"
    "% pdflatex, Cyrillic alone: \\usepackage[T2A]{fontenc}."
)


def latex(board: dict[str, Any]) -> str:
    r"""A table a block, for ``\input`` in a paper that uses booktabs and graphicx."""
    lines = ["% mt-bench; needs \\usepackage{booktabs,graphicx}"]
    column = tex_text(board["metric"]["column"])
    for block in board["blocks"]:
        columns = [
            *(_name("Recipe"), _trained("Trained", rounded)),
            *_languages(board, number, "raw", "score"),
            _average("Avg.", number, "raw", "score", strong=True),
            _average("First line", number, "first_line", "score"),
            _average("Stopped", percent, "stopped"),
        ]
        *tabular, end = _table(block, columns).latex()
        caption = (
            f"{column}, {tex_text(block['name'])}. Raw scores of the whole output; first line: "
            "of the text before the first line break; stopped: share of sentences that the model "
            "ended itself (averages). "
        )
        caption += tex_text(" ".join(board["notes"][2:3]))
        lines += [
            r"\begin{table}",
            r"\centering",
            r"\resizebox{\linewidth}{!}{%",
            *tabular,
            end + "}",
            rf"\caption{{{caption}}}",
            r"\end{table}",
        ]
    text = "\n".join(lines) + "\n"
    if any(letter.isalpha() and ord(letter) > 0x24F for letter in text):  # a name, beyond Latin
        text = f"{_LETTERS}\n{text}"
    return text
