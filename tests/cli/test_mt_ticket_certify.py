"""``mt-ticket certify``: files, numbers and mistakes, on runs of tiny models."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Commands, Ended, Models, contents, record, small

from mt_lottery.cli.tickets.certify import parse_alphas
from mt_lottery.errors import ConfigError
from mt_lottery.runs.folder.preparing import FINDINGS

pytestmark = pytest.mark.slow

# a probe trained hard enough for rows to be rejected at levels far from 1
HARD = ("model.dtype=float32", "probe.lr=0.05", "probe.epochs=4", "train.lr=0.05", "baseline=false")
FILES = {
    f"{stem}.{kind}" for stem in ("certificate", "certificate_checks") for kind in ("png", "svg")
}


def trained(commands: Commands, *arguments: object) -> None:
    ended = commands.train(*arguments)
    assert ended.code == 0, ended.err


def certified(commands: Commands, *arguments: object, plot: bool = False) -> Ended:
    ended = commands.call("ticket", "certify", *arguments, *([] if plot else ["--no-plot"]))
    assert ended.code == 0, ended.err
    return ended


def report(folder: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    found: dict[str, Any] = json.loads((folder / "certificate.json").read_text("utf-8"))
    with (folder / "certificate.csv").open(encoding="utf-8", newline="") as file:
        return found, list(csv.DictReader(file))


def test_certificates_of_two_runs(commands: Commands, models: Models) -> None:
    """Everything at once: two partially tuned runs, levels, checks, suggestion, files."""
    run = small(models.untied, "ks_lottery", *HARD)
    trained(commands, *run, "tuner.tickets=18", "out_dir=r18")
    trained(commands, *run, "tuner.alpha=0.2", "out_dir=a020")
    implied = record(Path("r18"))["tickets"]["alpha"]
    checked = f"0.2,{implied!r},1"  # at 1 τ is 0, and something is certified of a random model
    ended = certified(
        commands, "r18", "a020", "--suggest", "0.5", "--check-alphas", checked, plot=True
    )
    assert "certificate" in FINDINGS
    assert contents(Path("r18/certificate")) == FILES | {"certificate.json", "certificate.csv"}
    found, lines = report(Path("r18/certificate"))
    levels = {level["alpha"]: level for level in found["levels"]}
    assert {i / 20 for i in range(21)} < set(levels)
    assert found["sentences"] == 6 and found["positions"] == 6 * 20
    tuned = {a: level for a, level in levels.items() if level["accuracy_partial"] is not None}
    assert set(tuned) == {implied, 0.2}
    assert tuned[implied]["rows_partial"] == 18 <= tuned[implied]["rows_kept"]
    assert tuned[0.2]["rows_partial"] == tuned[0.2]["rows_kept"]
    assert tuned[0.2]["tau_estimated"] == record(Path("a020"))["tickets"]["tau"]
    for level in levels.values():
        assert level["rows_kept"] + level["rows_not_rejected"] == found["vocabulary"]
        assert level["certified_accuracy"] <= level["accuracy_embed"] == found["accuracy_embed"]
    shares = [level["certified_accuracy"] for level in found["levels"]]
    assert shares == sorted(shares)
    assert levels[1.0]["tau_estimated"] == 0 and levels[0.0]["tau_analytic"] is None
    assert found["exact_ties_embed"] == 0  # float32
    assert levels[1.0]["certified_accuracy"] == found["accuracy_embed"]
    # the same numbers in the CSV
    assert [float(line["alpha"]) for line in lines] == list(levels)
    assert [float(line["certified_accuracy"]) for line in lines] == shares
    assert lines[0]["tau_analytic"] == "inf" and lines[0]["accuracy_partial"] == ""
    checks = {(check["alpha"], check["model"]): check for check in found["checks"]}
    for alpha in (implied, 0.2):
        assert {(alpha, name) for name in ("transfer", "partial", "permuted")} <= set(checks)
        control = checks[alpha, "permuted"]
        assert control["largest_distance"] == 0.0
        assert control["certified"] == checks[alpha, "transfer"]["certified"]
        assert checks[alpha, "partial"]["accuracy"] == levels[alpha]["accuracy_partial"]
    for check in checks.values():
        assert check["certified"] + check["others"] == found["positions"]
        assert check["changed"] <= check["certified"]
        assert check["certified"] == round(levels[check["alpha"]]["certified_accuracy"] * 120)
    assert checks[1.0, "transfer"]["certified"] > 0 == checks[1.0, "transfer"]["changed"]
    assert found["suggestion"]["verified_share"] >= 0.5
    assert "Smallest α that verifies 50.0%" in ended.out and "rows kept" in ended.out
    assert "guarantee" not in ended.out
    line = next(line for line in lines if float(line["alpha"]) == 0.2)
    assert int(line["transfer_changed"]) == checks[0.2, "transfer"]["changed"]


def test_the_whole_table_transferred_is_the_embed_tuned_model(
    commands: Commands, models: Models
) -> None:
    """α = 1, on a tied model in bfloat16; the run is of the probe itself."""
    trained(commands, *small(models.tied, "embed", "train.lr=0.05", "baseline=false", "out_dir=e"))
    certified(
        commands, "e", "--alphas", "0,1", "--check-alphas", "0,1", "--positions", 3,
        "--sentences", 4, "--out", "there",
    )  # fmt: skip
    assert contents(Path("there")) == {"certificate.json", "certificate.csv"}
    found, _ = report(Path("there"))
    assert [level["alpha"] for level in found["levels"]] == [0.0, 1.0]
    assert found["positions"] == 12
    checks = {(check["alpha"], check["model"]): check for check in found["checks"]}
    assert checks[1.0, "transfer"]["others_changed"] == checks[1.0, "transfer"]["changed"] == 0
    assert checks[1.0, "permuted"]["changed"] == 0  # no row lies outside the ticket
    assert checks[0.0, "transfer"]["accuracy"] == found["accuracy_original"]


def test_rows_of_both_tables(commands: Commands, models: Models) -> None:
    """scope=tied: the output head takes part in transfer and permutation."""
    more = ("tuner.scope=tied", "model.dtype=float32", "train.lr=0.05", "baseline=false")
    trained(commands, *small(models.tied, "embed", *more, "out_dir=e"))
    certified(commands, "e", "--alphas", "0.5", "--check-alphas", "1", "--margin", "original")
    found, _ = report(Path("e/certificate"))
    assert found["scope"] == "tied" and found["probe_rows"] == found["vocabulary"]
    assert {(c["model"], c["changed"], c["others_changed"]) for c in found["checks"]} == {
        ("transfer", 0, 0),
        ("permuted", 0, 0),
    }


def test_no_checks_and_the_analytic_tau(commands: Commands, models: Models) -> None:
    trained(commands, *small(models.untied, "ks_transfer", *HARD, "out_dir=t"))
    ended = certified(
        commands, "t", "--alphas", "0,0.5,1", "--check-alphas", "none", "--tau", "analytic"
    )
    found, _ = report(Path("t/certificate"))
    assert found["checks"] == [] and found["tau"] == "analytic"
    assert found["levels"][0]["verified_share"] == 0
    assert "checked" not in ended.out
    # the same question is answered again, another one is not written over it
    same = ("--alphas", "0,0.5,1", "--check-alphas", "none", "--tau", "analytic")
    for run in ("t", "./t/", Path("t").resolve()):
        certified(commands, run, *same)
    refused = commands.call("ticket", "certify", "t", "--alphas", "0.9", "--no-plot").mistake()
    assert "certificate.json is the result of another question (alphas: [0.0, 0.5," in refused
    assert report(Path("t/certificate"))[0]["tau"] == "analytic"
    certified(commands, "t", "--alphas", "0.9", "--check-alphas", "none", "--overwrite")


def test_runs_that_do_not_belong_together(commands: Commands, models: Models) -> None:
    run = small(models.untied, "ks_lottery", *HARD)
    trained(commands, *run, "out_dir=a")
    trained(commands, *run, "out_dir=b", "probe.lr=0.2", "seed=1", "data.test_pairs=5")
    trained(commands, *small(models.untied, "ks_transfer", *HARD, "out_dir=t"))
    trained(commands, *run, "out_dir=c", "tuner.selector=cos", "tuner.tickets=5")
    trained(commands, *small(models.untied, "none", "model.dtype=float32", "out_dir=n"))
    said = commands.call("ticket", "certify", "a", "b", "t", "c", "--no-plot").mistake()
    for part in ("probe.lr is 0.2, there 0.05", "seed is 1, there 0", "test set", "--check-alphas"):
        assert part in said, said
    assert "c: its ticket was not chosen by the KS test" in said
    asked = ("data.prompt='{source} ->'", "data.prompt='In {target_language}: {source} =>'")
    for out, prompt in zip("pq", asked, strict=True):
        trained(commands, *run, "data.template=prompt", prompt, f"out_dir={out}")
    said = commands.call("ticket", "certify", "p", "q", "--no-plot").mistake()
    assert "data.prompt is In {target_language}: {source} =>, there {source} ->" in said, said
    said = commands.call("ticket", "certify", "a", "a").mistake()
    assert "give one run at each α" in said
    assert "no embedding-tuned probe" in commands.call("ticket", "certify", "n").mistake()
    assert "has 6" in commands.call("ticket", "certify", "a", "--sentences", 7).mistake()
    assert not Path("a/certificate").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--alphas", "0.5,1.5"], "alpha must be a number in [0, 1], got 1.5"),
        (["--alphas", "0.5,x"], "'x' is no number"),
        (["--check-alphas", "-1"], "--check-alphas"),
        (["--positions", "0"], "--positions is 0"),
        (["--sentences", "0"], "--sentences is 0"),
        (["--suggest", "1.5"], "--suggest is 1.5"),
        (["--out", "file/there"], "file is no folder"),
        ([], "no such file"),
    ],
)
def test_mistakes(arguments: list[str], said: str, commands: Commands) -> None:
    Path("file").write_text("")
    assert said in commands.call("ticket", "certify", "nowhere", *arguments).mistake()


def test_lists_of_alphas() -> None:
    grid = [i / 20 for i in range(21)]
    assert parse_alphas("0,0.05,…,1") == parse_alphas("0, 0.05, ..., 1") == grid
    assert parse_alphas("0.5,0.05,0.50") == [0.05, 0.5]
    assert parse_alphas("0.9,0.95,…,1") == [0.9, 0.95, 1.0]
    assert parse_alphas("0,1e-3,0.9999") == [0.0, 0.001, 0.9999]
    for wrong in ("0,0.3,…,1", "0,…,1", "0,0.05,…", "…,1", "0,0.00001,…,1", "nan", "", "0,,1"):
        with pytest.raises(ConfigError, match="--alphas"):
            parse_alphas(wrong)
