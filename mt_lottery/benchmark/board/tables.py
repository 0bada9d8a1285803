"""The leaderboard as Markdown, CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from mt_lottery.benchmark.board.metric_table import headings, pvalue
from mt_lottery.benchmark.page.numbers import size
from mt_lottery.benchmark.recipes import rounded
from mt_lottery.report.plain import (
    csv_records,
    markdown_code,
    markdown_table,
    markdown_text,
    tex_text,
)

Row = dict[str, Any]

_GAP = "—"
_SHARES = ("stopped", "length_ratio", "empty", "truncated", "off_target")
_COSTS = (
    *("probe_seconds", "train_seconds", "decode_seconds", "seconds"),
    *("peak_memory_bytes", "adapter_bytes"),
)


def number(value: float | None, form: str = ".1f") -> str:
    """A number, or a dash where there is none."""
    return _GAP if value is None else format(value, form)


def percent(value: float | None) -> str:
    """A share in percent."""
    return number(value, ".0%")


def spread(found: dict[str, Any] | None) -> str:
    """A score with its interval, and its standard deviation over seeds."""
    if not found or found["score"] is None:
        return _GAP
    text = f"{found['score']:.1f}"
    if found.get("sd") is not None:
        text += f" ± {found['sd']:.1f}"
    if found.get("ci95"):
        low, high = found["ci95"]
        text += f" [{low:.1f}, {high:.1f}]"
    return text


def _cell(cell: Row, shown: Callable[[Row], str]) -> str:
    if cell["state"] == "failed":
        return "FAILED"
    return _GAP if cell["state"] == "missing" else shown(cell)


def _average(row: Row, shown: Callable[[Row], str]) -> str:
    return _GAP if row["average"] is None else shown(row["average"])


def _gain(numbers: Row, key: str) -> str:
    gain = numbers.get("gain")
    return _GAP if not gain else f"{gain[key]:+.1f}"


def _share(numbers: Row, key: str) -> str:
    return percent(numbers[key])


def _parameters(row: Row) -> str:
    count = row["trainable_parameters"]
    return _GAP if count is None else f"{count:,}"


def _name(row: Row) -> str:
    code = markdown_code(str(row["method"]), cell=True)
    name = f"{markdown_text(str(row['label']))} ({code})"
    return f"**{name}**" if row["mark"] else name


def markdown(board: dict[str, Any]) -> str:
    """The whole page: scores, the honest half, cost and outputs of each block, and the notes."""
    langs = board["languages"]
    heading = markdown_text(f"{board['metric']['column']}, {board['created']}.")
    parts = [f"# {markdown_text(board['title'])}", "", heading]
    headed = [markdown_text(lang) for lang in langs]
    for block in board["blocks"]:
        rows = block["rows"]
        name, explanation = map(markdown_text, (block["name"].capitalize(), block["explanation"]))
        parts += ["", f"## {name}", "", explanation, ""]
        scores = [
            [
                _name(row),
                _parameters(row),
                *[_cell(row["cells"][x], lambda c: spread(c["raw"])) for x in langs],
                f"**{_average(row, lambda a: spread(a['raw']))}**"
                if row["mark"]
                else _average(row, lambda a: spread(a["raw"])),
            ]
            for row in rows
        ]
        parts.append(markdown_table(["raw score", "trained", *headed, "average"], scores))
        parts += ["", "### Stopping or translating?", ""]
        honest = [
            [
                _name(row),
                _average(row, lambda a: spread(a["raw"])),
                _average(row, lambda a: spread(a["first_line"])),
                _average(row, lambda a: percent(a["stopped"])),
                _average(row, lambda a: number(a["length_ratio"], ".2f")),
                *[_average(row, partial(_gain, key=k)) for k in ("raw", "stop", "translate")],
            ]
            for row in rows
        ]
        heads = ["average", "raw", "first line", "stopped", "length ratio"]
        parts.append(markdown_table([*heads, "gain", "= stop", "+ translate"], honest))
        firsts = [
            [
                _name(row),
                *[_cell(row["cells"][x], lambda c: spread(c["first_line"])) for x in langs],
                *[_cell(row["cells"][x], lambda c: percent(c["stopped"])) for x in langs],
            ]
            for row in rows
        ]
        heads = [*(f"{x} first line" for x in headed), *(f"{x} stopped" for x in headed)]
        parts += ["", markdown_table(["each language", *heads], firsts)]
        parts += ["", "### Cost, and what else came out", ""]
        costs = [
            [
                _name(row),
                _average(row, lambda a: number(a["probe_seconds"], ",.0f")),
                _average(row, lambda a: number(a["train_seconds"], ",.0f")),
                _average(row, lambda a: number(a["decode_seconds"], ",.0f")),
                _average(row, lambda a: number(a["seconds"], ",.0f")),
                _average(row, lambda a: size(a["peak_memory_bytes"])),
                _average(row, lambda a: size(a["adapter_bytes"])),
                *[_average(row, partial(_share, key=k)) for k in _SHARES[2:]],
            ]
            for row in rows
        ]
        heads = ["average", "probe s", "train s", "decode s", "sum s", "peak memory", "adapter"]
        parts.append(markdown_table([*heads, "empty", "truncated", "off-target"], costs))
        if block.get("metrics"):
            parts += [
                "",
                "### Every metric, with its significance",
                "",
                _every_metric(board, block),
            ]
        failed = [
            f"- {markdown_text(row['label'] + ', ' + lang + ': ' + str(cell['reason']))}"
            for row in rows
            for lang, cell in row["cells"].items()
            if cell["state"] == "failed"
        ]
        if failed:
            parts += ["", "### FAILED", "", *failed]
    return "\n".join([*parts, *closing(board)]) + "\n"


def closing(found: dict[str, Any]) -> list[str]:
    """The last lines of a page in Markdown: notes, contamination and provenance."""
    parts = ["", "## Notes", "", *(f"- {markdown_text(note)}" for note in found["notes"])]
    if found["contamination"]:
        lines = [f"- {markdown_text(line)}" for line in found["contamination"]]
        parts += ["", "## Contamination", "", *lines]
    parts += ["", "## Provenance", ""]
    parts += [
        f"- {markdown_text(line['name'])}: {markdown_code(str(line['value']))}"
        for line in found["provenance"]
    ]
    return parts


def _every_metric(board: dict[str, Any], block: Row) -> str:
    names = headings(board)
    columns = [
        x for m in block["metrics"] for x in (markdown_text(names[m["key"]]), "first line", "p")
    ]
    lines = []
    for place, row in enumerate(block["rows"]):
        line = [_name(row)]
        for metric in block["metrics"]:
            own = metric["rows"][place]
            line += [_average(own, lambda a: spread(a["raw"]))]
            line += [_average(own, lambda a: spread(a["first_line"])), pvalue(own)]
        lines.append(line)
    return markdown_table(["average", *columns], lines)


def comma_separated(board: dict[str, Any]) -> str:
    """One line a block, recipe and language, and one with the average; every number unrounded."""
    more = [f"{m['key']}_{k}" for m in (board.get("metrics") or [])[1:] for k in _OTHERS]
    heads = [
        *("block", "method", "trainable_parameters", "rows", "language", "state", "reason"),
        *("seeds", "raw", "raw_sd", "raw_low", "raw_high"),
        *("first_line", "first_line_sd", "first_line_low", "first_line_high"),
        *_SHARES,
        *_COSTS,
        *("gain_raw", "gain_stop", "gain_translate", "mark", "pvalue", "difference"),
        *more,
    ]
    lines: list[Row] = []
    for block in board["blocks"]:
        for place, row in enumerate(block["rows"]):
            common = {
                "block": block["name"],
                **{k: row[k] for k in ("method", "trainable_parameters", "rows")},
            }
            for lang in board["languages"]:
                cell = row["cells"][lang]
                seeds = " ".join(map(str, cell.get("seeds", [])))
                lines.append(
                    {
                        **common,
                        "language": lang,
                        "state": cell["state"],
                        "reason": cell["reason"],
                        "seeds": seeds,
                        **_flat(cell),
                    }
                )
            if row["average"] is not None:
                verdict = {k: row[k] for k in ("mark", "pvalue", "difference")}
                lines.append(
                    {
                        **common,
                        "language": "average",
                        "state": "done",
                        **_flat(row["average"]),
                        **verdict,
                        **_others(block, place),
                    }
                )
    return csv_records(heads, lines)


_OTHERS = (
    *("raw", "raw_low", "raw_high", "first_line", "first_line_low", "first_line_high"),
    *("mark", "pvalue", "difference"),
)


def _others(block: Row, place: int) -> Row:
    """The averages of the metrics after the first one, which has its own columns."""
    flat: Row = {}
    for metric in (block.get("metrics") or [])[1:]:
        row, key = metric["rows"][place], metric["key"]
        if row["average"] is None:
            continue
        for which in ("raw", "first_line"):
            found = row["average"][which]
            low, high = found["ci95"] or (None, None)
            flat |= {f"{key}_{which}": found["score"]}
            flat |= {f"{key}_{which}_low": low, f"{key}_{which}_high": high}
        flat |= {f"{key}_{k}": row[k] for k in ("mark", "pvalue", "difference")}
    return flat


def _flat(numbers: Row) -> Row:
    if "raw" not in numbers:
        return {}
    flat = {key: numbers[key] for key in (*_SHARES, *_COSTS)}
    for which in ("raw", "first_line"):
        found = numbers[which]
        low, high = found["ci95"] or (None, None)
        flat |= {which: found["score"], f"{which}_sd": found["sd"]}
        flat |= {f"{which}_low": low, f"{which}_high": high}
    gain = numbers["gain"] or {}
    return flat | {f"gain_{key}": gain.get(key) for key in ("raw", "stop", "translate")}


def latex(board: dict[str, Any]) -> str:
    r"""A table a block, for ``\input`` in a paper that uses booktabs and graphicx."""
    langs = board["languages"]
    lines = ["% mt-bench; needs \\usepackage{booktabs,graphicx}"]
    column = tex_text(board["metric"]["column"])
    for block in board["blocks"]:
        heads = ["Recipe", "Trained", *map(tex_text, langs), "Avg.", "First line", "Stopped"]
        lines += [
            r"\begin{table}",
            r"\centering",
            r"\resizebox{\linewidth}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
            r"\toprule",
            " & ".join(heads) + r" \\",
            r"\midrule",
        ]
        for row in block["rows"]:
            count = row["trainable_parameters"]
            cells = [
                row["label"],
                _GAP if count is None else rounded(count),
                *[_cell(row["cells"][x], lambda c: number(c["raw"]["score"])) for x in langs],
                _average(row, lambda a: number(a["raw"]["score"])),
                _average(row, lambda a: number(a["first_line"]["score"])),
                _average(row, lambda a: percent(a["stopped"])),
            ]
            shown = [tex_text(cell) for cell in cells]
            if row["mark"]:
                for place in (0, 2 + len(langs)):
                    shown[place] = rf"\textbf{{{shown[place]}}}"
            lines.append(" & ".join(shown) + r" \\")
        caption = (
            f"{column}, {tex_text(block['name'])}. Raw scores of the whole output; first line: "
            "of the text before the first line break; stopped: share of sentences that the model "
            "ended itself (averages). "
        )
        caption += tex_text(" ".join(board["notes"][2:3]))
        lines += [
            r"\bottomrule",
            r"\end{tabular}}",
            rf"\caption{{{caption}}}",
            r"\end{table}",
        ]
    return "\n".join(lines) + "\n"
