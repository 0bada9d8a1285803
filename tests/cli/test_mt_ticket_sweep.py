"""``mt-ticket sweep`` on a tiny model: its points are runs of ``mt-train``, done once."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Commands, Ended, Models, hypotheses, record

from mt_lottery.paper.sweep import figure, files
from mt_lottery.system.interrupts import Terminated

pytestmark = pytest.mark.slow

SMALL = (
    *("metrics=[chrf]", "translate.max_new_tokens=8", "model.dtype=float32"),
    *("data.train_pairs=16", "data.test_pairs=6", "data.dev_pairs=4"),
    *("train.epochs=1", "probe.epochs=1", "probe.lr=0.05", "train.lr=0.02"),
)
OUT = Path("out")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def arguments(models: Models, *more: object) -> list[object]:
    """``key=value`` before, among and behind the options, as people write them."""
    return ["sweep", "lang=en-es", "--model", models.untied, *SMALL, "--out", OUT, *more]


def sweep(commands: Commands, models: Models, *more: object) -> Ended:
    return commands.call("ticket", *arguments(models, *more))


def content() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((OUT / "sweep.json").read_text("utf-8"))
    return found


def curve(found: dict[str, Any], method: str, selector: str | None = None) -> dict[str, Any]:
    (one,) = [c for c in found["curves"] if (c["method"], c["selector"]) == (method, selector)]
    return dict(one)


def done_at() -> dict[Path, int]:
    """When each run's record was written; trials on dev are no runs."""
    found = OUT.glob("runs/**/seed-*/record.json")
    return {path: path.stat().st_mtime_ns for path in found}


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_every_point_is_a_run_of_mt_train_done_once(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = ("--recipes", "ks_lottery", "--selectors", "ks,cos")
    ended = sweep(commands, models, "--sizes", "5,18", *methods, "--seeds", "0,1", "--no-plot")
    assert ended.code == 0, ended.err
    assert "11 cells, 0 done, 11 to do" in ended.err  # 2 selectors · 2 sizes · 2 seeds, embed, none
    runs = {str(path.parent.relative_to(OUT / "runs")) for path in done_at()}
    grid = [f"ks_lottery/en-es/{x}-{size}" for x in ("ks", "cos") for size in (5, 18)]
    assert runs == {
        "none/en-es/seed-0",
        *(f"{cell}/seed-{seed}" for cell in [*grid, "embed/en-es"] for seed in (0, 1)),
    }
    # the whole table, and what the tickets come from, are one training a seed
    assert len(list(commands.cache.glob("probes/*/probe.json"))) == 2

    # what mt-train does without a sweep, and with nothing scored on dev
    folder = OUT / "runs/ks_lottery/en-es/cos-18/seed-1"
    plain = commands.train(
        "recipe=ks_lottery", "lang=en-es", "seed=1", "out_dir=alone", "tuner.tickets=18",
        "tuner.selector=cos", "model=hf", f"model.name_or_path={models.untied}", *SMALL,
        "baseline=false",
    )  # fmt: skip
    assert plain.code == 0, plain.err
    assert hypotheses(folder) == hypotheses(Path("alone"))
    assert record(folder)["tickets"]["selector"] == "cos"
    # trained once: the test set was translated with what the trial on dev had learnt
    trial = record(folder / "trials" / "0")
    for key in ("train_seconds", "train_steps"):
        assert record(folder)["cost"][key] == trial["cost"][key]
    assert record(folder)["data"]["test"] != trial["data"]["test"]

    found = content()
    assert found["sizes"] == [5, 18] and found["seeds"] == [0, 1]
    assert len(found["curves"]) == 2
    lines = list(csv.DictReader(io.StringIO((OUT / "sweep.csv").read_text("utf-8"))))
    assert len(lines) == 2 + 2 * 2
    for line in lines[2:]:
        name = f"{line['selector']}-{line['rows']}"
        own = [record(OUT / "runs" / line["method"] / "en-es" / name / f"seed-{seed}")
               for seed in (0, 1)]  # fmt: skip
        for which in ("raw", "first_line"):
            scores = [r["scores"]["chrf"][which]["score"] for r in own]
            assert float(line[which]) == pytest.approx(mean(scores))
            assert float(line[f"{which}_sd"]) == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)
        assert int(line["rows"]) == own[0]["tickets"]["count"]
        assert int(line["trainable_parameters"]) == own[0]["trainable_parameters"]
        assert float(line["stopped"]) == pytest.approx(
            mean([r["generation"]["stopped"] for r in own])
        )
        dev = [record(OUT / "runs" / line["method"] / "en-es" / name / f"seed-{s}/trials/0")
               ["scores"]["chrf"]["raw"]["score"] for s in (0, 1)]  # fmt: skip
        assert float(line["dev"]) == pytest.approx(mean(dev))
    for one in found["curves"]:
        dev_scores = {p["size"]: mean(p["dev"]) for p in one["points"]}
        assert one["best_on_dev"] == max((5, 18), key=lambda size: dev_scores[size])
        assert set(one["enough"]) == {"embed", "best"}
        # the best size is as good as itself
        assert one["enough"]["best"]["raw"] in (5, 18)
    embed = record(OUT / "runs/embed/en-es/seed-0")
    assert embed["trainable_parameters"] == 600 * 32
    assert found["baselines"]["en-es"]["embed"]["seeds"] == [0, 1]
    assert "KS-Lottery, partial tuning, by cos" in ended.out and "best on dev" in ended.out
    page = (OUT / "sweep.md").read_text("utf-8")
    assert "Embedding tuning" in page and "signature chrf" in page and "FAILED" not in page
    for text in (page, (OUT / "sweep.json").read_text("utf-8")):
        assert not any(line["hypothesis"] in text for line in hypotheses(folder) if
                       len(line["hypothesis"]) > 8)  # fmt: skip

    # again with another size: what is there stays, and only that is run
    before = done_at()
    again = sweep(
        commands, models, "--sizes", "1,5,18", "--recipes", "ks_lottery", "--selectors", "ks",
        "--seeds", "0,1",
    )  # fmt: skip
    assert again.code == 0, again.err
    assert "9 cells, 7 done, 2 to do" in again.err
    assert {path: when for path, when in done_at().items() if path in before} == before
    assert len(curve(content(), "ks_lottery", "ks")["points"]) == 3
    assert (OUT / "sweep.png").read_bytes().startswith(b"\x89PNG")
    drawn = (OUT / "sweep.svg").read_text("utf-8")
    for text in ("rows of the embedding table", "chrF", "KS-Lottery, partial tuning", "best on"):
        assert text in drawn
    for size in (1, 5, 18):
        assert f">{size}</text>" in drawn
    # a file that cannot be made does not stop the others
    (OUT / "sweep.csv").unlink()
    for broken in (files, "markdown"), (figure, "draw"):
        with monkeypatch.context() as patch:
            patch.setattr(*broken, lambda *_: 1 / 0)
            again = sweep(commands, models, "--sizes", "5", "--recipes", "ks_lottery")
        assert again.code == 1 and again.err.count("could not be made: ZeroDivisionError") == 1
        assert "best on dev" in again.out and (OUT / "sweep.csv").is_file()
    # other settings are refused, named, and nothing is lost
    said = sweep(commands, models, "--sizes", "5", "--recipes", "ks_lottery", "probe.lr=0.04")
    assert "probe.lr: 0.05, now 0.04" in said.mistake()
    assert {path: when for path, when in done_at().items() if path in before} == before


def test_the_limits_that_are_said_are_the_limits(commands: Commands, models: Models) -> None:
    methods = ("--recipes", "ks_transfer,ks_freeze,random_seen,frequency", "--selectors", "cos")
    said = sweep(commands, models, "--sizes", "5000", *methods).mistake()
    assert not OUT.exists()
    limits = {}
    for line in said.splitlines()[1:]:
        method = line.split("--sizes 5000: ")[1].split()[0]
        limits[method] = int(line.split("can have ")[1].split()[0].replace(",", ""))
    assert limits["ks_freeze"] == limits["ks_transfer"] - 1
    for method, limit in limits.items():
        selector = ["tuner.selector=cos"] if method.startswith("ks") else []
        for rows in (limit, limit + 1):
            ended = commands.train(
                f"recipe={method}", "lang=en-es", f"out_dir=alone/{method}-{rows}",
                f"tuner.tickets={rows}", *selector, "model=hf",
                f"model.name_or_path={models.untied}", *SMALL, "baseline=false",
            )  # fmt: skip
            assert ended.code == (0 if rows == limit else 2), (method, rows, ended.err)
    # default sizes that are too large are left out, and that is said
    ended = sweep(commands, models, *methods, "--dry-run")
    assert ended.code == 0 and "fewer rows: 400." in ended.err
    assert "random_seen: 1, 5, 18, 50, 100 rows" in ended.out
    assert "ks_freeze (cos): 1, 5, 18, 50, 100 rows" in ended.out
    # end-of-sequence occurs too, and nothing moves its row
    assert f"({limits['ks_transfer'] + 1:,} tokens occur" in ended.out
    assert "22 runs, 0 done" in ended.out and "1 embedding-tuned probe;" in ended.out
    assert not OUT.exists()


def test_a_size_that_fails_leaves_the_others_alone(commands: Commands, models: Models) -> None:
    # a probe that hardly moves: in bfloat16 many rows that occur are as before
    still = ("--model", models.tied, "model.dtype=bfloat16", "probe.optimizer=sgd", "probe.lr=1e-9")
    ended = sweep(
        commands, models, *still, "--recipes", "ks_transfer,random_seen", "--sizes", "1,200",
        "--no-dev",
    )  # fmt: skip
    assert ended.code == 1
    found = content()
    states = {p["size"]: p["state"] for p in curve(found, "ks_transfer", "ks")["points"]}
    assert states[200] == "failed"
    assert "FAILED ks_transfer ks-200 en-es seed 0" in ended.err
    assert {p["state"] for p in curve(found, "random_seen")["points"]} == {"done"}
    assert found["baselines"]["en-es"]["embed"]["state"] == "done"
    reason = next(p["reason"] for p in curve(found, "ks_transfer", "ks")["points"] if p["reason"])
    assert "rows changed" in reason
    page = (OUT / "sweep.md").read_text("utf-8")
    assert "FAILED" in page and "FAILED" in ended.out and reason in page
    assert (OUT / "sweep.svg").is_file()
    # nothing was scored on dev, so nothing is chosen
    assert found["dev"] is None and {c["best_on_dev"] for c in found["curves"]} == {None}
    assert not list(OUT.glob("runs/**/trials"))


def test_mistakes_are_told_before_anything_runs(commands: Commands, models: Models) -> None:
    said = sweep(commands, models, "--recipes", "lora", "--sizes", "0", "--selectors", "kss",
                 "tuner.tickets=4", "ks_lottery:tuner.alpha=0.5").mistake()  # fmt: skip
    for text in (
        "--recipes lora: it has no number of rows", "allowed: frequency, ", "Did you mean 'ks'?",
        "--sizes: each must be a whole number ≥ 1, not '0'",
        "the sweep sets tuner.tickets itself", "the sweep sets tuner.alpha itself",
    ):  # fmt: skip
        assert text in said
    said = commands.call("ticket", "sweep", "--sizes", "5").mistake()
    assert "lang=en-es" in said
    assert "mt-ticket sweep sets it itself" in sweep(commands, models, "seed=3").mistake()
    assert not OUT.exists() and not Path("sweep").exists()


def test_a_sweep_that_was_killed_goes_on(commands: Commands, models: Models) -> None:
    whole = arguments(
        models, "--recipes", "ks_transfer", "--sizes", "1,5,18", "--no-plot", "--jobs", "2"
    )
    command = [sys.executable, "-m", "mt_lottery.cli.ticket", *map(str, whole)]
    process = subprocess.Popen(
        command, cwd=commands.folder, env=commands.environment(), stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 120
        while len(done_at()) < 3:
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.01)
        before = done_at()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    finally:
        process.kill()
        process.wait()
    left = done_at()
    assert before.keys() <= left.keys()
    assert not (OUT / "sweep.json").exists()
    planned = commands.call("ticket", *whole, "--dry-run")
    assert f"5 runs, {len(left)} done" in planned.out and "embed•" in planned.out
    ended = commands.call("ticket", *whole)
    assert ended.code == 0, ended.err
    assert f"5 cells, {len(left)} done, {5 - len(left)} to do" in ended.err
    assert {path: when for path, when in done_at().items() if path in left} == left
    assert {p["state"] for p in curve(content(), "ks_transfer", "ks")["points"]} == {"done"}


def test_sigterm_keeps_its_exit_status(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    def signalled(*_: object) -> None:
        raise Terminated

    monkeypatch.setattr("mt_lottery.paper.sweep.sweep.execute", signalled)
    ended = sweep(commands, models, "--sizes", "4")
    assert ended.code == 143 and "The same command goes on where it stopped." in ended.err
