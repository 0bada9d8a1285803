"""``mt-bench compare``: methods against a chosen one, by SciPy's and the leaderboard's test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from given_cells import bench, cell, scores
from scipy import stats

from mt_lottery.benchmark.board.collect import Results, collect
from mt_lottery.benchmark.board.compare import compare_with
from mt_lottery.benchmark.board.leaderboard import build
from mt_lottery.cli.bench import command
from mt_lottery.errors import ConfigError, RecordError

GIVEN = scores()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Romanian whole; Spanish without ``eos_bias``."""
    bench(tmp_path, "en-ro", "en-es")
    for method, own in GIVEN.items():
        cell(tmp_path, method, 0, own, own[::-1])
        if method != "eos_bias":
            cell(tmp_path, method, 0, own**2, own, lang="en-es")
    return tmp_path


@pytest.fixture
def results(out: Path) -> Results:
    return collect(out)


def test_it_is_a_paired_comparison_of_means(results: Results) -> None:
    found = compare_with(results, "eos_bias", metric="comet")
    assert found.columns == ["en-ro"]  # eos_bias has no Spanish cell
    assert list(found.gaps) == ["none", "lora"]
    gap = found.gaps["lora"]["en-ro"]
    less = 100 * (GIVEN["lora"] - GIVEN["eos_bias"])  # COMET is shown × 100
    assert gap.difference == pytest.approx(less.mean())
    error = 1.96 * less.std(ddof=1) / np.sqrt(len(less))
    assert gap.ci95 == pytest.approx((less.mean() - error, less.mean() + error), abs=0.3)
    theirs = float(stats.ttest_rel(GIVEN["lora"], GIVEN["eos_bias"]).pvalue)
    assert gap.pvalue == pytest.approx(theirs, abs=0.04)
    assert gap.corrected == gap.pvalue  # the larger of two p-values is left as it is
    clear = found.gaps["none"]["en-ro"]
    assert clear.difference < -10 and clear.least
    assert clear.corrected == pytest.approx(2 * clear.pvalue)


def test_the_other_way_round_and_first_lines(results: Results) -> None:
    one = compare_with(results, "eos_bias", metric="comet").gaps["lora"]["en-ro"]
    other = compare_with(results, "lora", metric="comet", recipes=["eos_bias"])
    back = other.gaps["eos_bias"]["en-ro"]
    assert (back.difference, back.pvalue) == (-one.difference, one.pvalue)
    assert back.ci95 == pytest.approx((-one.ci95[1], -one.ci95[0]))
    first = compare_with(results, "lora", metric="comet", which="first_line")
    less = 100 * (GIVEN["none"] - GIVEN["lora"])
    assert first.gaps["none"]["en-es"].difference == pytest.approx(less.mean())


def test_languages_are_averaged_and_a_missing_cell_is_left_out(results: Results) -> None:
    found = compare_with(results, "lora", metric="comet")
    assert found.columns == ["en-ro", "en-es", "average"]
    assert list(found.gaps["eos_bias"]) == ["en-ro"]
    none = found.gaps["none"]
    assert none["average"].difference == pytest.approx(
        (none["en-ro"].difference + none["en-es"].difference) / 2
    )


def test_against_the_best_it_says_what_the_leaderboard_says(tmp_path: Path) -> None:
    bench(tmp_path, "en-ro")
    for method, own in GIVEN.items():
        cell(tmp_path, method, 0, own, own)
    results = collect(tmp_path)
    (block,) = build(results)["blocks"]
    rows = {row["method"]: row for row in block["rows"]}
    best = next(m for m, row in rows.items() if row["difference"] == 0)
    for method, gaps in compare_with(results, best).gaps.items():
        gap = gaps["en-ro"]
        assert (gap.difference, gap.corrected) == (
            rows[method]["difference"], rows[method]["pvalue"],
        )  # fmt: skip


def test_the_command(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["compare", str(out), "--against", "lora", "--metric", "comet"]) == 0
    shown = capsys.readouterr().out
    assert "COMET[m] ×100 of the whole output, less that of lora" in shown
    # each row is called what --against takes
    named = {line.split()[1] for line in shown.splitlines() if line.startswith("│ ")} - {"│"}
    assert named == {"none", "eos_bias"}
    none = compare_with(collect(out), "lora", metric="comet").gaps["none"]["en-ro"]
    low, high = none.ci95
    assert f"{none.difference:+.1f} [{low:.1f}, {high:.1f}]" in shown
    assert "p ≤ 0.002" in shown and "—" in shown
    asked = ["compare", str(out), "--against", "lora", "--metric", "comet", "--json"]
    assert command([*asked, "--score", "first_line", "--recipes", "none"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["which"], list(found["gaps"])) == ("first_line", ["none"])


def test_few_sentences_are_not_called_significant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench(tmp_path, "en-ro")
    own = np.array([0.5, 0.6, 0.7, 0.8])
    for method, less in (("lora", 0.0), ("eos_bias", 0.0), ("none", 0.00012)):
        cell(tmp_path, method, 0, own - less, own)
    assert command(["compare", str(tmp_path), "--against", "lora", "--metric", "comet"]) == 0
    shown = capsys.readouterr().out
    assert "-0.012 [-0.012, -0.012]" in shown and "p = 0.250" in shown  # Holm: twice 1/8
    assert "+0.0 [0.0, 0.0]" in shown and "p = 1.000" in shown and "≤ 0.0" not in shown
    assert "4 sentences: too few to show a p below 0.125" in shown


def test_as_good_up_to_a_margin(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["compare", str(out), "--against", "lora", "--metric", "comet"]
    assert command([*asked, "--json"]) == 0
    assert "equivalence" not in json.loads(capsys.readouterr().out)
    for margin, said in ((30, "equivalent within 30"), (0.001, "undecided")):
        assert command([*asked, "--margin", str(margin)]) == 0
        shown = capsys.readouterr().out
        assert said in shown and "worse" in shown and f"within ±{margin:g}" in shown
    assert command([*asked, "--margin", "30", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    one, gap = (found[key]["eos_bias"]["en-ro"] for key in ("equivalence", "gaps"))
    assert one["verdict"] == "equivalent" and one["margin"] == 30
    assert gap["ci95"][0] < one["ci90"][0] < one["ci90"][1] < gap["ci95"][1]
    for wrong in ("0", "nan", "-1", "one"):
        with pytest.raises(SystemExit):
            command([*asked, "--margin", wrong])
        assert "must be a number from 0.001 to 100" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--against", "lore"], r"Unknown recipe 'lore'\. Did you mean 'lora'\?.* eos_bias, lora"),
        (["--against", "Original model"], r"Did you mean 'none'\? Known: eos_bias, lora, none"),
        (["--against", "none (original)"], "Did you mean 'none'"),
        (["--against", "lora", "--recipes", "EOS"], "Did you mean 'eos_bias'"),
        (["--against", "lora", "--recipes", "full"], "Unknown recipe 'full'"),
        (["--against", "lora", "--recipes", "lora"], "no recipe to compare with 'lora'"),
        (["--against", "lora", "--metric", "bleu"], r"Unknown metric 'bleu'.*chrf, comet"),
        (["--against", "lora", "--block", "tuned"], "no recipe has settings tuned on dev"),
    ],
)  # fmt: skip
def test_mistakes(out: Path, arguments: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        command(["compare", str(out), *arguments])


def test_nothing_to_compare(out: Path) -> None:
    with pytest.raises(RecordError, match="no cell is finished"):
        command(["compare", str(bench(out / "new", "en-ro")), "--against", "lora"])
    for file in out.glob("runs/none/*/*/sentence_scores.jsonl"):
        file.unlink()
    with pytest.raises(RecordError, match=r"none en-ro has no sentence scores"):
        command(["compare", str(out), "--against", "lora"])
