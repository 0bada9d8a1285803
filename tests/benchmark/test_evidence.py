"""``benchmarks/evidence.py``: a rehearsal with a tiny model, and its tables from given rows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import MINI, Models

from mt_lottery.languages import parse_pair
from mt_lottery.scoring.metric import MetricContext, make_metric
from mt_lottery.scoring.significance import Bootstrap

pytestmark = pytest.mark.slow
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
METRIC: Any = make_metric("chrf", MetricContext(None, "any", "es"))


@pytest.fixture
def evidence(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import evidence

    return evidence


def text(folder: Path) -> Path:
    """The package's own sentences, in the layouts of NTREX-128 and Flores-101."""
    lines = {
        (role, code): (MINI / f"{role}.{code}.txt").read_text("utf-8").splitlines(keepends=True)
        for role in ("train", "test")
        for code in ("en", "es")
    }
    for name, part in (
        ("NTREX-128/newstest2019-src.eng.txt", lines["train", "en"][:30]),
        ("NTREX-128/newstest2019-ref.spa.txt", lines["train", "es"][:30]),
        ("flores101_dataset/devtest/eng.devtest", lines["test", "en"][:6]),
        ("flores101_dataset/devtest/spa.devtest", lines["test", "es"][:6]),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(part), "utf-8")
    return folder


def test_a_rehearsal_goes_on_where_it_stopped_and_says_that_it_is_one(
    evidence: Any,
    models: Models,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MT_LOTTERY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out = tmp_path / "out"
    asked = [
        "p6", "--langs", "es", "--seeds", "0", "--test-pairs", "6", "--train-pairs", "16",
        "--out", str(out), "model=hf", f"model.name_or_path={models.tied}",
        "translate.max_new_tokens=8", "train.epochs=1", "probe.epochs=1",
    ]  # fmt: skip

    def run(*more: str) -> str:
        monkeypatch.setattr(sys, "argv", ["evidence.py", *asked, *more])
        assert evidence.main() == 0
        return str(capsys.readouterr().out)

    arms = ["--arms", "token-1,ks_lottery-asked-say"]
    data = ["--data", str(text(tmp_path / "text"))]
    assert "no time for" in run(*arms, *data, "--minutes", "1e-9")
    said = run(*arms, *data, "--jobs", "2")  # and the run of ks_lottery, which both need
    assert "p6 token-1 en-es seed 0" in said and "asked-say en-es seed 0" in said
    assert "2 cells, 2 done, 0 to do" in run(*arms, *data)
    whole = "".join(file.read_text("utf-8") for file in (out / "results").glob("*.json"))
    assert '"rehearsal": true' in whole and not (out / "data/NTREX-128").is_symlink()
    for line in (MINI / "test.es.txt").read_text("utf-8").splitlines()[:6]:
        assert line not in whole
    whole_p1 = (out / "results/p1.json").read_text("utf-8")
    first = json.loads(whole_p1)["cells"][0]
    assert (first["arm"], first["rows"], len(first["ticket"])) == ("ks_lottery", 18, 18)
    token = json.loads((out / "results/p6.json").read_text("utf-8"))["cells"][1]
    assert token["arm"] == "token-1" and len(token["ticket"]) == 1
    assert token["ticket"] == [int((out / "rows/token-1-en-es-0.txt").read_text())]
    assert token["cost"]["probe_seconds"] == 0  # given rows need none

    (out / "results/p1.json").unlink()  # as if the process had ended before it could write it
    note = out / "made/ks_lottery-en-es-0.txt"
    assert json.loads(note.read_text()) == {key: first[key] for key in ("commit", "machine")}
    note.write_text(json.dumps({"commit": "of another clone", "machine": {"cores": 3}}))
    ks = ["p1", *asked[1:], "--arms", "ks_lottery", *data]
    for commit, machine in (("of another clone", {"cores": 3}), (None, None)):
        monkeypatch.setattr(sys, "argv", ["evidence.py", *ks])
        assert evidence.main() == 0
        (found,) = json.loads((out / "results/p1.json").read_text("utf-8"))["cells"]
        assert (found["commit"], found["machine"]) == (commit, machine)
        assert found["scores"] == first["scores"]
        (out / "results/p1.json").unlink()
        note.unlink(missing_ok=True)
    (out / "results/p1.json").write_text(whole_p1, "utf-8")
    capsys.readouterr()

    listed = run("--list")
    assert "Is it the prompt's ticket" in listed and "the rest: " in listed
    assert "token-1                      es 0" in listed and "es ·" in listed
    report = run("--report", "--figures", str(tmp_path / "figures"))
    assert report.startswith("**A rehearsal") and "| 1 | 1 |" in report
    assert f"| token-1 (`{token['words'][0]}`) |" in report
    assert "| ks_lottery-asked-say | en→es, seed 0 | say | instruction |" in report
    assert "- four-ks: es 0" in report and "- token-1:" not in report
    assert (tmp_path / "figures/evidence-p6.png").is_file()


def row(
    evidence: Any, results: Any, cell: Any, statistics: np.ndarray, chosen: bool = True
) -> None:
    """A finished cell of given sentence statistics, of 18 chosen rows or of the whole table."""
    from evidence_parts.results import packed

    found = Bootstrap(METRIC.corpus_score).scores([statistics])
    entry = {"score": found.score, "ci95": list(found.ci95), "resamples": packed(found.resamples)}
    made = {
        "scores": {"chrf": {"raw": entry, "first_line": entry, "column": "chrF++"}},
        "recipe": cell.arm.recipe, "rows": 18, "ticket": [*range(18)], "alpha": 0.5,
        "generation": {"stopped": 1.0}, "text": {"test_pairs": len(statistics)},
        "cost": {"probe_seconds": 12.0},
    }  # fmt: skip
    made |= {} if chosen else {"rows": None, "ticket": None, "alpha": None}
    results.add(cell, made, 60.0, {"commit": None, "machine": None})


def test_tables_come_from_the_file_alone(evidence: Any, tmp_path: Path) -> None:
    from evidence_parts.cells import Setting
    from evidence_parts.questions import plan
    from evidence_parts.results import Results
    from evidence_parts.shown.report import report
    from evidence_parts.shown.scores import Scores, interval

    references = [f"propoziția numărul {i} este aici acum" for i in range(60)]
    setting = Setting(tmp_path)
    results = Results(tmp_path / "results", setting)
    given: dict[str, list[np.ndarray]] = {"ks_lottery": [], "embed": []}
    for cell in plan(["p1"], setting):
        if cell.arm.name in given and cell.lang == "es":
            rng = np.random.default_rng([cell.seed, len(cell.arm.name)])
            texts = [r if rng.random() < 0.7 else r[::-1] for r in references]
            given[cell.arm.name].append(METRIC.statistics(texts, references))
            row(evidence, results, cell, given[cell.arm.name][-1])
    again = Results(tmp_path / "results", setting)
    bootstrap = Bootstrap(METRIC.corpus_score)
    scores = Scores(again, setting)
    for arm, seeds in given.items():
        own, known = scores.of(arm, ["es"], "chrf"), bootstrap.scores(seeds, arm)
        assert own is not None and own.score == pytest.approx(known.score)
        assert own.ci95 == pytest.approx(known.ci95, abs=0.01)
    gap, alike = scores.against(["ks_lottery"], "embed", ["es"], "chrf")["ks_lottery"]
    known = bootstrap.scores(given["ks_lottery"], "ks_lottery").minus(
        bootstrap.scores(given["embed"], "embed")
    )
    assert gap.ci95 == pytest.approx(known.ci95, abs=0.01)
    assert alike.verdict in ("undecided", "worse", "better")
    said = report(["p1", "p5"], again, setting)
    assert interval(gap.difference, gap.ci95) in said and "English to es:" in said
    assert "A rehearsal" not in said and "Mean over" not in said and "English to ro:" not in said
    assert "- lora: es 0, 1, 2; ro 0, 1, 2" in said and "- embed: ro 0, 1, 2" in said
    assert "No cell that answers it is finished." in said


def test_what_is_compared_was_scored_on_all_sentences(evidence: Any, tmp_path: Path) -> None:
    from evidence_parts.cells import Setting
    from evidence_parts.questions import questions

    for question in questions(Setting(tmp_path)).values():
        assert not [a.name for a in question.compared if a.settings.get("data.test_pairs") == "8"]


def test_probes_and_the_whole_tables_that_they_are(evidence: Any, tmp_path: Path) -> None:
    from evidence_parts.cells import Setting
    from evidence_parts.questions import plan
    from evidence_parts.results import Results
    from evidence_parts.shown.report import report

    setting, statistics = Setting(tmp_path), METRIC.statistics(["a b c"] * 3, ["a b d"] * 3)
    results = Results(tmp_path / "results", setting)
    for cell in plan(["p4"], setting):
        if cell.arm.name in ("probe-1e-3-2", "whole-1e-3-2") and cell.lang == "es":
            row(evidence, results, cell, statistics, chosen=cell.arm.recipe == "ks_transfer")
    said = report(["p4"], results, setting)
    assert said.count("| whole-1e-3-2 |") == 1  # among the scores only
    assert "Brackets: 95%, 3 sentences" in said  # not those of the other parts
    assert "| probe-1e-3-2 | es | 0.5 | 18.0 | 12 |" in said


def test_results_of_other_machines_are_taken_over(evidence: Any, tmp_path: Path) -> None:
    from evidence_parts.cells import Setting
    from evidence_parts.questions import plan
    from evidence_parts.results import Results

    setting, statistics = Setting(tmp_path), METRIC.statistics(["a b c"] * 3, ["a b d"] * 3)
    here, there = (Results(tmp_path / name, setting) for name in ("here", "there"))
    cells = [cell for cell in plan(["p1"], setting) if cell.lang == "es" and cell.seed == 0]
    both, theirs, other = cells[:3]
    row(evidence, here, both, statistics)
    for cell in (both, theirs, other):
        row(evidence, there, cell, statistics)
    file = tmp_path / "there/p1.json"
    content = json.loads(file.read_text("utf-8"))
    changed = next(c for c in content["cells"] if c["arm"] == other.arm.name)
    changed["settings"]["own"] = "train 5 × 1"  # of a version with other defaults
    file.write_text(json.dumps(content), "utf-8")
    assert here.merge(tmp_path / "there", cells) == [theirs]
    again = Results(tmp_path / "here", setting)
    assert {key for key in again.rows} == {both.key, theirs.key}
    assert here.merge(tmp_path / "there", cells) == []


def test_scores_on_resamples_are_kept_to_a_hundredth(evidence: Any) -> None:
    from evidence_parts.results import packed, unpacked

    values = np.random.default_rng(0).normal(30, 2, 1000)
    assert np.abs(unpacked(packed(values)) - values).max() <= 0.005 + 1e-9
    assert len(packed(values)) < 2500


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["p8"], "p8: allowed: p1, p2"),
        ([], "which part?"),
        (["p1"], "--data is needed"),
        (["p1", "--data", "/nowhere"], "there is no NTREX-128 and no flores101_dataset in it"),
        (["p1", "--arms", "lore"], "--arms: unknown: lore"),
        (["p1", "--seeds", "a"], "--seeds a: whole numbers"),
        (["p1", "--jobs", "0"], "--jobs 0: at least 1"),
        (["p1", "--jobs", "2", "--lock", "x"], "a lock lets one cell run at a time"),
    ],
)
def test_mistakes(
    evidence: Any,
    arguments: list[str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["evidence.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        evidence.main()
    assert ended.value.code == 2 and told in capsys.readouterr().err


def test_the_four_wordings(evidence: Any, registered: None) -> None:
    """As the package words them, with their sentences known, so that special tokens stay text."""
    from mt_lottery import registry
    from mt_lottery.data.prompts.templates import get_template
    from mt_lottery.data.prompts.wording import prompts_of

    registry.load_user_dir(str(BENCHMARKS / "evidence_parts/plugins"))
    pair, four = parse_pair("en-es"), get_template("four")
    sources = ["Two dogs", "Two <eos>", "A dog.", "It rains again."]
    assert [len(source) % 4 for source in sources] == [0, 1, 2, 3]
    for source, prompt in zip(sources, prompts_of(four, sources, pair), strict=True):
        name = ("plain", "alpaca", "labels", "ask")[len(source) % 4]
        assert prompt == get_template(name).prompt(source, pair)
        assert prompt.sentences is not None
        ((start, end),) = prompt.sentences
        assert prompt[start:end] == source
    assert get_template("say").prompt("x", pair) not in {
        get_template(name).prompt("x", pair) for name in ("plain", "alpaca", "labels", "ask")
    }
