"""Boards of any numbers are drawn in every format, and no format stops another."""

from __future__ import annotations

import csv
import io
import json
import random
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from given_cells import SENTENCES, bench, cell

from mt_lottery.benchmark.board import presenting, report
from mt_lottery.benchmark.board.collect import collect
from mt_lottery.benchmark.board.report import FORMATS, write_reports
from mt_lottery.benchmark.board.tables import comma_separated, latex, markdown
from mt_lottery.benchmark.page.document import render_page
from mt_lottery.tracking.content import board_report

NUMBERS = [0.0, -0.0, 1e-320, 1e-9, 0.04, 1.0, 16.25, 100.0, -3.5, 1e17, 1e300, -1e300]
COUNTS = [0, 1, 18, 11_520, 10**12, 10**30]
NAMES = [
    "lora", "", "=1+1", "</script><img src=x onerror=alert(1)>", "a|b", "[red]", "\x1b[2J",
    "x" * 400, "`", "日本", "-0.5 below", "half \ud83d",
]  # fmt: skip


def board_of(draw: random.Random) -> dict[str, Any]:
    """A board as ``leaderboard.build`` makes it, of extreme numbers and names."""
    one_number = draw.choice([None, None, 0.0])

    def number() -> float:
        return draw.choice(NUMBERS) if one_number is None else one_number

    def score() -> dict[str, Any]:
        ends = sorted([number(), number()])
        return {
            "score": number(), "sd": draw.choice([None, number()]),
            "ci95": draw.choice([None, ends]),
        }  # fmt: skip

    def numbers() -> dict[str, Any]:
        shares = ("stopped", "length_ratio", "empty", "truncated")
        costs = ("probe_seconds", "train_seconds", "decode_seconds", "seconds")
        sizes = ("peak_memory_bytes", "adapter_bytes")
        found: dict[str, Any] = {key: number() for key in (*shares, *costs)}
        found |= {key: draw.choice([None, *COUNTS]) for key in sizes}
        found |= {"off_target": draw.choice([None, 0.5]), "raw": score(), "first_line": score()}
        gain = {key: number() for key in ("raw", "stop", "translate")}
        return found | {"gain": draw.choice([None, gain])}

    langs = [f"en-{x}" for x in ("ro", "es", "zh")[: draw.randint(1, 3)]]
    lost = draw.random() < 0.2
    metrics = [{"key": k, "column": c, "signature": "s"} for k, c in (("a", "A[x]"), ("=b", "B"))]

    def row(name: str) -> dict[str, Any]:
        cells: dict[str, Any] = {}
        for lang in langs:
            state = "failed" if lost else draw.choice(["done", "done", "done", "failed", "missing"])
            reason = draw.choice(NAMES) if state == "failed" else None
            cells[lang] = {"state": state, "reason": reason}
            if state == "done":
                cells[lang] |= {"seeds": [0], **numbers()}
        whole = all(each["state"] == "done" for each in cells.values())
        return {
            "method": name, "label": draw.choice([name, draw.choice(NAMES)]), "what": name,
            "trainable_parameters": draw.choice([None, *COUNTS]),
            "rows": draw.choice([None, *COUNTS]), "cells": cells,
            "average": numbers() if whole else None,
            "mark": draw.choice([None, True, False]) if whole else None,
            "pvalue": draw.choice([None, 0.0, 1.0]), "pvalue_is_least": draw.random() < 0.5,
            "difference": draw.choice([None, 0.0, -1.0]),
        }  # fmt: skip

    blocks = []
    for name in ("recipe settings", "equal tuning budget")[: draw.randint(1, 2)]:
        names = list(dict.fromkeys(draw.choices(NAMES, k=draw.randint(1, 6))))
        rows = [row(each) for each in names]
        shown = draw.choice([[], metrics])
        kept = ("method", "label", "difference", "mark", "pvalue", "pvalue_is_least")
        blocks.append({
            "name": name, "trials": draw.choice([None, 4]), "explanation": draw.choice(NAMES),
            "rows": rows,
            "metrics": [
                {"key": m["key"], "rows": [
                    {**{k: r[k] for k in kept},
                     "average": r["average"]
                     and {k: r["average"][k] for k in ("raw", "first_line")}}
                    for r in rows
                ]}
                for m in shown
            ],
        })  # fmt: skip
    return {
        "schema": 1, "title": draw.choice(NAMES), "created": "2026-11-24T00:00:00+00:00",
        "command": draw.choice(NAMES), "languages": langs, "seeds": [0],
        "metric": {"key": "a", "column": "A[x]", "signature": "s", "beam_size": 1,
                   "max_new_tokens": 96},
        "metrics": metrics, "blocks": blocks, "notes": draw.choice([[], [draw.choice(NAMES)] * 4]),
        "provenance": [{"name": n, "value": n} for n in draw.choices(NAMES, k=2)],
        "contamination": draw.choice([[], [draw.choice(NAMES)]]),
    }  # fmt: skip


class Tags(HTMLParser):
    """The tags of a page that no text of a board may bring."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("img", "iframe") or any(name.startswith("on") for name, _ in attrs):
            self.found.append(tag)


@pytest.mark.parametrize("seed", range(40))
def test_any_board_is_drawn(seed: int, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    board = board_of(random.Random(seed))
    whole = {x: [{"source": n, "reference": n, "outputs": {}} for n in NAMES]
             for x in board["languages"]}  # fmt: skip
    page = Tags()
    page.feed(render_page(board, whole))
    assert page.found == []
    for line in csv.reader(io.StringIO(comma_separated(board), newline="")):
        for text in line:
            assert text[:1] not in ("=", "@") and (text[:1] != "-" or float(text) <= 0)
    text = markdown(board)
    assert "<img" not in text and "</script" not in text and "\x1b" not in text
    widths: list[int] = []
    for line in text.splitlines():  # a table has equally many cells in every row
        bars = line.replace("\\|", "").count("|")
        if line.startswith("|"):
            widths.append(bars)
        else:
            assert len(set(widths)) <= 1
            widths = []
    assert latex(board).count(r"\begin{table}") == len(board["blocks"])
    json.dumps(board, allow_nan=False)
    presenting.show(board)
    assert "\x1b" not in capsys.readouterr().out
    board_report(board, tmp_path)


def nothing_learnt(tmp_path: Path) -> Path:
    """A benchmark of which every score is 0."""
    out = bench(tmp_path / "zero", "en-ro")
    for method in ("none", "lora"):
        cell(out, method, 0, np.zeros(SENTENCES), np.zeros(SENTENCES))
        path = out / "runs" / method / "en-ro" / "seed-0" / "record.json"
        record = json.loads(path.read_text())
        record["scores"] = {"comet": record["scores"]["comet"]}
        for which in ("raw", "first_line"):
            record["scores"]["comet"][which] = {"score": 0.0, "ci95": [0.0, 0.0]}
        path.write_text(json.dumps(record))
    return out


def test_a_model_that_learnt_nothing(tmp_path: Path) -> None:
    out = nothing_learnt(tmp_path)
    written = write_reports(collect(out), out)
    assert (written.problems, written.status) == ({}, 0)
    assert [p.name for p in written.files] == [f"leaderboard.{kind}" for kind in FORMATS]
    assert "viewBox" in (out / "leaderboard.html").read_text()


@pytest.mark.parametrize("broken", ["markdown", "comma_separated", "latex", "_page"])
def test_no_format_stops_another(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> str:
        raise ZeroDivisionError("of the test")

    monkeypatch.setattr(report, broken, fail)
    out = nothing_learnt(tmp_path)
    written = write_reports(collect(out), out)
    assert len(written.files) == 4 and all(path.is_file() for path in written.files)
    [(name, reason)] = written.problems.items()
    assert not Path(name).exists() and "ZeroDivisionError: of the test" in reason
    assert presenting.present(written) == 1
    said = capsys.readouterr()
    assert f"error: {name} could not be made: ZeroDivisionError" in said.err
    assert "lora" in said.out.lower() and written.files[0].name in said.out
