"""``leaderboard.html``: one file with the tables, the plot and every sentence; no network.

The tables and the plot are written here, so that they are there without JavaScript; the scripts
of ``page_assets/`` sort, hide columns, and draw the sentences from JSON inside the page.
Everything that comes from outside is escaped, and a content security policy lets no script but
the page's own run and nothing be fetched.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from mt_lottery.benchmark.page.detail import detail, every_metric
from mt_lottery.benchmark.page.numbers import NONE, Json, number
from mt_lottery.benchmark.page.plot import plot
from mt_lottery.benchmark.page.table import AVERAGE, done, glossary, label_of, table
from mt_lottery.errors import ConfigError, RecordError
from mt_lottery.languages import parse_pair

SCHEMA = 1
SCRIPTS = ("theme.js", "table.js", "sentences.js")


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
    digest = b64encode(sha256(script.encode()).digest()).decode()
    page = Template(_asset("page.html")).substitute(
        title=escape(str(board["title"])),
        policy=f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'",
        style=_asset("page.css"),
        script=script,
        about=_about(board),
        scopes=_options([(AVERAGE, _average_name(board)), *_languages(board)]),
        blocks="\n".join(_block(board, block) for block in range(len(board["blocks"]))),
        glossary=glossary(),
        notes=_list(board.get("notes") or []),
        plots="\n".join(_plot(board, block) for block in range(len(board["blocks"]))),
        contamination=_list(board.get("contamination") or ["Nothing was looked for."]),
        provenance=_provenance(board),
        languages=_options(_languages(board)),
        block_names=_options((str(i), str(b["name"])) for i, b in enumerate(board["blocks"])),
        data=_data(board, sentences),
    )
    # half a surrogate pair cannot be written in UTF-8
    return page.encode("utf-8", "replace").decode("utf-8")


def _asset(name: str) -> str:
    return (files("mt_lottery.benchmark.page") / "assets" / name).read_text("utf-8")


def _average_name(board: Json) -> str:
    count = len(board["languages"])
    return f"Average of {count} languages" if count != 1 else "Average (one language)"


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


def _options(choices: Iterable[tuple[str, str]]) -> str:
    return "".join(f'<option value="{escape(v)}">{escape(text)}</option>' for v, text in choices)


def _list(sentences: Iterable[Any]) -> str:
    return f"<ul>{''.join(f'<li>{escape(str(each))}</li>' for each in sentences)}</ul>"


def _moment(text: str) -> str:
    """An ISO time without the letters of the format; anything else as it is."""
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M %Z").strip()
    except ValueError:
        return text


def _about(board: Json) -> str:
    metric = board["metric"]
    limit, beam = number(metric, "max_new_tokens"), number(metric, "beam_size")
    seeds = board.get("seeds") or []
    facts = [
        ("Score", f"{metric['column']}"),
        ("Languages", ", ".join(map(str, board["languages"]))),
        ("Seeds" if len(seeds) != 1 else "Seed", ", ".join(map(str, seeds)) or NONE),
        ("Beam", NONE if beam is None else f"{beam:.0f}" + (" (greedy)" if beam == 1 else "")),
        ("At most", NONE if limit is None else f"{limit:.0f} new tokens"),
        ("Made", _moment(str(board.get("created") or NONE))),
    ]
    return "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)


def _block(board: Json, block: int) -> str:
    this = board["blocks"][block]
    trials = number(this, "trials")
    said = escape(str(this.get("explanation") or ""))
    if trials is not None:
        said += f" <strong>{trials:.0f} trials a recipe.</strong>"
    details = "\n".join(detail(board, block, place) for place in range(len(this["rows"])))
    name = escape(str(this["name"]))
    return (
        f'<section class="block" aria-labelledby="block-{block}"><h3 id="block-{block}">'
        f'{name}</h3><p class="text">{said}</p>{table(board, block)}'
        f"{every_metric(board, block)}"
        f'<details class="recipes"><summary>Recipe by recipe: {name}</summary>'
        f"{details}</details></section>"
    )


def _plot(board: Json, block: int) -> str:
    name = escape(str(board["blocks"][block]["name"]))
    return f"<section><h3>{name}</h3>{plot(board, block)}</section>"


def _provenance(board: Json) -> str:
    metric = board["metric"]
    pairs = [(str(each["name"]), str(each["value"])) for each in board.get("provenance") or []]
    known = {name.lower() for name, _ in pairs}
    own = [("command", board.get("command")), ("signature", metric.get("signature"))]
    pairs += [(name, str(value)) for name, value in own if value and name not in known]
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd><code>{escape(value)}</code></dd></div>"
        for name, value in pairs
    )


def _json(kind: str, value: object) -> str:
    """JSON inside the page: no text in it can end the element, ``<`` being written ``\\u003c``."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" {kind}>{text}</script>'


def _output(given: Any) -> list[Any] | None:
    """``[hypothesis, stopped]``, and the first line where it is not all of the hypothesis."""
    if not isinstance(given, Mapping) or given.get("hypothesis") is None:
        return None
    hypothesis, first = given["hypothesis"], given.get("first_line")
    stopped = given.get("stopped")
    return [hypothesis, stopped] if first in (None, hypothesis) else [hypothesis, stopped, first]


def _data(board: Json, sentences: Mapping[str, Any]) -> str:
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
    elements = [_json('id="blocks"', blocks)]
    for pair in board["languages"]:
        lines = [
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
        elements.append(_json(f'data-sentences="{escape(str(pair))}"', lines))
    return "\n".join(elements)
