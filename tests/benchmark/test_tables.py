"""The leaderboard's formats, on a board made by hand."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mt_lottery.benchmark.board.contamination import Overlap, overlap, sentences, shared, write
from mt_lottery.benchmark.board.tables import comma_separated, latex, markdown, size
from mt_lottery.benchmark.recipes import rounded
from mt_lottery.data.corpora import Split
from mt_lottery.data.text import Pair
from mt_lottery.report.numbers import number, signed, spread
from mt_lottery.report.plain import tex_text


def score(value: float, sd: float | None = 0.4) -> dict[str, Any]:
    return {"score": value, "sd": sd, "ci95": [value - 1, value + 1]}


def numbers(raw: float, first: float, gain: bool) -> dict[str, Any]:
    return {
        "raw": score(raw), "first_line": score(first), "stopped": 0.975, "length_ratio": 1.25,
        "empty": 0.0, "truncated": 0.025, "off_target": None, "probe_seconds": 100.0,
        "train_seconds": 1234.5, "decode_seconds": 10.0, "seconds": 1344.5,
        "peak_memory_bytes": 3_500_000_000, "adapter_bytes": 57_000,
        "gain": {"raw": 12.0, "stop": 8.5, "translate": 3.5} if gain else None,
    }  # fmt: skip


def row(method: str, mark: bool | None, **changes: Any) -> dict[str, Any]:
    done = {"state": "done", "reason": None, "seeds": [0, 1], **numbers(16.25, 16.0, True)}
    made = {
        "method": method, "label": f"{method} & 50% of_it", "what": "", "rows": 18,
        "trainable_parameters": 11_520, "cells": {"en-ro": done, "en-es": done},
        "average": numbers(16.25, 16.0, True), "mark": mark, "pvalue": 0.2, "difference": -0.5,
    }  # fmt: skip
    return made | changes


BOARD: dict[str, Any] = {
    "schema": 1, "title": "mt-lottery: gemma", "created": "2026-11-24T00:00:00+00:00",
    "command": "mt-bench all", "languages": ["en-ro", "en-es"], "seeds": [0, 1],
    "metric": {"key": "bleu_subword", "column": "BLEU[gemma3 subwords]", "signature": "x|y",
               "beam_size": 1, "max_new_tokens": 96},
    "blocks": [{
        "name": "recipe settings", "trials": None, "explanation": "As they are.",
        "rows": [
            row("ks_lottery", True),
            row("lora", False, average=None, cells={
                "en-ro": {"state": "failed", "reason": "out | of memory"},
                "en-es": {"state": "missing", "reason": None},
            }),
        ],
    }],
    "notes": ["Raw.", "Gain.", "Bold: α = 5% ± nothing."],
    "provenance": [{"name": "model", "value": "sha256 abc"}],
    "contamination": ["en-ro: none."],
}  # fmt: skip


def test_markdown() -> None:
    page = markdown(BOARD)
    lines = page.splitlines()
    first = next(x for x in lines if "ks_lottery" in x)
    assert first == (
        "| **ks_lottery & 50% of_it (`ks_lottery`)** | 11,520 | 16.2 ± 0.4 [15.2, 17.2] | "
        "16.2 ± 0.4 [15.2, 17.2] | **16.2 ± 0.4 [15.2, 17.2]** |"
    )
    assert next(x for x in lines if "`lora`" in x).endswith("| 11,520 | FAILED | — | — |")
    assert "- lora & 50% of_it, en-ro: out \\| of memory" in page
    assert "98% | 1.25 | +12.0 | +8.5 | +3.5 |" in page  # stopped, length, gain = stop + translate
    assert "| 100 | 1,234 | 10 | 1,344 | 3.5 GB | 57 kB | 0% | 2% | — |" in page
    tables = [x for x in lines if x.startswith("|")]
    widths = {}
    for line in tables:  # every row has as many cells as its head
        cells = line.replace("\\|", "").count("|")
        if set(line) <= set("|-: "):
            widths["now"] = cells
        elif "now" in widths and line.startswith(("| **ks", "| lora")):
            assert cells == widths["now"], line
    for part in ("## Notes", "## Contamination", "## Provenance", "sha256 abc"):
        assert part in page


def test_csv_holds_unrounded_numbers() -> None:
    lines = list(csv.DictReader(io.StringIO(comma_separated(BOARD))))
    assert [(x["method"], x["language"]) for x in lines] == [
        ("ks_lottery", "en-ro"), ("ks_lottery", "en-es"), ("ks_lottery", "average"),
        ("lora", "en-ro"), ("lora", "en-es"),
    ]  # fmt: skip
    cell, average, failed = lines[0], lines[2], lines[3]
    assert (cell["raw"], cell["raw_low"], cell["stopped"]) == ("16.25", "15.25", "0.975")
    assert (cell["seeds"], cell["gain_stop"], cell["off_target"]) == ("0 1", "8.5", "")
    assert (average["mark"], average["pvalue"]) == ("True", "0.2")
    assert (failed["state"], failed["reason"], failed["raw"]) == ("failed", "out | of memory", "")


def test_latex() -> None:
    text = latex(BOARD)
    assert r"\textbf{ks\_lottery \& 50\% of\_it} & 11.5K & 16.2 & 16.2 & \textbf{16.2}" in text
    assert r"lora \& 50\% of\_it & 11.5K & FAILED & --- & --- & --- & --- \\" in text
    assert r"Bold: $\alpha$ = 5\% $\pm$ nothing." in text
    for rule in ("toprule", "midrule", "bottomrule"):
        assert text.count(rule) == 1
    assert tex_text(r"a_b%c&d{e}\f") == r"a\_b\%c\&d\{e\}\textbackslash{}f"


def test_latex_says_what_letters_beyond_latin_need() -> None:
    assert "fontspec" not in latex(BOARD)
    board = json.loads(json.dumps(BOARD).replace("ks_lottery", "лотерея"))
    head, *_, last = latex(board).strip().split("\n")
    assert head.startswith("% Letters beyond Latin") and last == r"\end{table}"
    assert "лотерея" in latex(board) and "T2A" in latex(board)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path: Path) -> None:
    (tmp_path / "leaderboard.tex").write_text(latex(BOARD), "utf-8")
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}"
        "\\input{leaderboard.tex}\\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "paper.pdf").stat().st_size > 1000


def test_numbers_people_read() -> None:
    assert [rounded(n) for n in (0, 1, 18, 999, 11_520, 131_072_000, 6_738_415_616)] == [
        *("0", "1", "18", "999", "11.5K", "131.1M", "6.74B")
    ]
    assert [size(b) for b in (None, 12, 57_000, 3.5e9)] == ["—", "12 B", "57 kB", "3.5 GB"]


# -- contamination


def test_overlap_counts_sentences_and_long_ngrams(tmp_path: Path) -> None:
    eight = "one two three four five six seven eight"
    train = ["A  sentence here.", f"start {eight} end", "short"]
    test = [
        "a sentence HERE.",
        f"other {eight.upper()} tail",
        "nothing alike at all",
        "short words",
    ]
    assert shared(train, test) == (1, 1)
    assert shared(train, test, n=1) == (1, 3)
    assert shared([], test) == (0, 0)

    def split(name: str, texts: list[str]) -> Split:
        return Split(name, tuple(Pair(t, "same target") for t in texts), len(texts))

    found = overlap("en-ro", split("ntrex", train), split("flores101", test))
    assert found == Overlap("en-ro", "ntrex", "flores101", 4, 1, 4, 1, 0)
    write(tmp_path, [found])
    write(tmp_path, [Overlap("en-es", "ntrex", "flores101", 4, 0, 0, 0, 0)])
    said = sentences(tmp_path, "gemma3_270m", ["flores101", "flores101"])
    assert len(said) == 3 and "1 source and 4 targets stand in the training text" in said[0]
    assert "June 2021" in said[2] and "August 2025" in said[2]
    unknown = sentences(tmp_path, "/models/mine", ["flores101", "own"])
    assert "/models/mine was published is not known" in unknown[2]
    assert "When own was published is not known" in unknown[3]
    (tmp_path / "contamination.json").write_text("{")
    said = sentences(tmp_path, "gemma3_270m", ["mini"])
    assert len(said) == 2 and f"{tmp_path / 'contamination.json'}: damaged" in said[0]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (number(-0.04), "0.0"), (number(-0.0004, ".0%"), "0%"), (number(-12.5), "-12.5"),
        (number(1234.5, ",.0f"), "1,234"), (number(None), "—"), (number(0.00123, ".3g"), "0.00123"),
        (signed(-0.04), "0.0"), (signed(0.04), "0.0"), (signed(0.05), "+0.1"), (signed(-3), "-3.0"),
        (signed(None), "—"), (spread(-0.01, [-0.04, 0.02], -0.0), "0.0 ± 0.0 [0.0, 0.0]"),
    ],
)  # fmt: skip
def test_zero_has_no_sign(shown: str, expected: str) -> None:
    assert shown == expected
