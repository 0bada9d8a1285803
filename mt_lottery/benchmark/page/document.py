"""``leaderboard.html``: one file with the tables, the plot and every sentence; no network.

The tables and the plot are in the templates, so that they are there without JavaScript; the
scripts of ``assets/`` sort, hide columns, and draw the sentences from JSON inside the page.
Jinja2 escapes everything that comes from outside, and a content security policy lets no script
but the page's own run and nothing be fetched.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mt_lottery.benchmark.board.metric_table import headings, pvalue
from mt_lottery.benchmark.page import numbers, plot, rows
from mt_lottery.benchmark.page.numbers import NONE, Json, number
from mt_lottery.benchmark.page.rows import AVERAGE, done, label_of
from mt_lottery.errors import ConfigError, RecordError, plural
from mt_lottery.languages import parse_pair

SCHEMA = 1
SCRIPTS = ("theme.js", "table.js", "sentences.js")
#: What the templates call.
FUNCTIONS = (
    *(numbers.duration, numbers.interval, numbers.number, numbers.parameters, rows.all_failures),
    *(rows.cell_title, rows.columns_of, rows.done, rows.facts, rows.label_of, rows.missing),
    *(rows.size_title, plot.Drawing, plot.points, pvalue, plural),
)


def render_page(board: dict[str, Any], sentences: dict[str, Any]) -> str:
    """The leaderboard as one HTML page that needs nothing else.

    Args:
        board: the numbers (``leaderboard.json``, schema 1); any of them may be None, unknown
            keys are ignored.
        sentences: for each language pair a list of ``{"source", "reference", "outputs"}`` with
            ``outputs[block][recipe] = {"hypothesis", "first_line", "stopped"}``.

    Raises:
        RecordError: the board is of another schema.
    """
    if board.get("schema") != SCHEMA:
        raise RecordError(
            f"The leaderboard has schema {board.get('schema')!r}; this version draws {SCHEMA}."
        )
    script = "\n".join(_asset(name) for name in SCRIPTS)
    count = len(board["languages"])
    page = templates().get_template("page.html")
    text = page.render(
        board=board,
        digest=b64encode(sha256(script.encode()).digest()).decode(),
        style=Markup(_asset("page.css")),
        script=Markup(script),
        about=_about(board),
        average_name="Average (one language)"
        if count == 1
        else f"Average of {plural(count, 'language')}",
        languages=_languages(board),
        headings=headings(board),
        provenance=_provenance(board),
        **_sentence_view(board, sentences),
    )
    # half a surrogate pair cannot be written in UTF-8
    return text.encode("utf-8", "replace").decode("utf-8")


def templates() -> Environment:
    """The folder ``templates/``: what comes from outside is escaped, a missing name an error."""
    made = Environment(
        loader=PackageLoader("mt_lottery.benchmark.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    made.filters |= {"plain": numbers.plain, "px": "{:.1f}".format, "label_of": label_of}
    made.globals |= {function.__name__: function for function in FUNCTIONS}
    made.globals |= {name: getattr(numbers, name) for name in ("COLUMNS", "GROUPS", "PARTS")}
    made.globals["average"] = AVERAGE
    return made


def _asset(name: str) -> str:
    return (files("mt_lottery.benchmark.page") / "assets" / name).read_text("utf-8")


def _languages(board: Json) -> list[tuple[str, str]]:
    """Each pair with its name for a reader; pairs the table of languages lacks keep their code."""
    named = []
    for pair in map(str, board["languages"]):
        try:
            known = parse_pair(pair)
            named.append((pair, f"{pair}: {known.source.name} to {known.target.name}"))
        except ConfigError:
            named.append((pair, pair))
    return named


def _moment(text: str) -> str:
    """An ISO time without the letters of the format; anything else as it is."""
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M %Z").strip()
    except ValueError:
        return text


def _about(board: Json) -> list[tuple[str, str]]:
    metric = board["metric"]
    limit, beam = number(metric, "max_new_tokens"), number(metric, "beam_size")
    seeds = board.get("seeds") or []
    return [
        ("Score", metric["column"]),
        ("Languages", ", ".join(map(str, board["languages"]))),
        ("Seeds" if len(seeds) != 1 else "Seed", ", ".join(map(str, seeds)) or NONE),
        ("Beam", NONE if beam is None else f"{beam:.0f}" + (" (greedy)" if beam == 1 else "")),
        ("At most", NONE if limit is None else plural(round(limit), "new token")),
        ("Made", _moment(str(board.get("created") or NONE))),
    ]


def _provenance(board: Json) -> list[tuple[str, str]]:
    pairs = [(str(each["name"]), str(each["value"])) for each in board.get("provenance") or []]
    known = {name.lower() for name, _ in pairs}
    own = [("command", board.get("command")), ("signature", board["metric"].get("signature"))]
    return pairs + [(name, str(value)) for name, value in own if value and name not in known]


def _output(given: Any) -> list[Any] | None:
    """``[hypothesis, stopped]``, and the first line where it is not all of the hypothesis."""
    if not isinstance(given, Mapping) or given.get("hypothesis") is None:
        return None
    hypothesis, first = given["hypothesis"], given.get("first_line")
    stopped = given.get("stopped")
    return [hypothesis, stopped] if first in (None, hypothesis) else [hypothesis, stopped, first]


def _sentence_view(board: Json, sentences: Mapping[str, Sequence[Json]]) -> dict[str, Any]:
    """What the sentence view reads: the recipes, and an element a language.

    A language is only parsed when it is chosen.  Outputs are lists in the order of the recipes of
    all blocks (``column``), not keyed by name: a large bench holds a hundred thousand of them.
    """
    blocks: list[dict[str, Any]] = []
    columns: list[tuple[str, str]] = []
    for block in board["blocks"]:
        recipes = []
        for row in block["rows"]:
            score = number(done(row, AVERAGE), "raw", "score")
            recipes.append({"column": len(columns), "label": label_of(row), "score": score})
            columns.append((block["name"], row["method"]))
        blocks.append({"name": block["name"], "recipes": recipes})
    lines = {
        pair: [
            {
                "source": each.get("source") or "",
                "reference": each.get("reference") or "",
                "outputs": [
                    _output(((each.get("outputs") or {}).get(block) or {}).get(recipe))
                    for block, recipe in columns
                ],
            }
            for each in sentences.get(pair) or []
        ]
        for pair in board["languages"]
    }
    return {"recipes": blocks, "sentences": list(lines.items())}
