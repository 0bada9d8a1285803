"""``mt-bench`` on tiny models: what it plans, what survives, what it refuses."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Commands, Ended, Models, hypotheses, record

from mt_lottery.benchmark.executors.runner import held
from mt_lottery.benchmark.plan import Cell

pytestmark = pytest.mark.slow

SMALL = (
    *("--preset", "smoke", "metrics=[chrf]", "translate.max_new_tokens=8"),
    *("data.train_pairs=16", "data.test_pairs=6", "data.dev_pairs=4"),
)


def bench(commands: Commands, models: Models, *arguments: object) -> Ended:
    """``mt-bench`` on the untied model; the run's output is the test's."""
    return commands.call("bench", *SMALL, *arguments, "--model", models.untied)


def board(out: Path = Path("out")) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "leaderboard.json").read_text())
    return found


def states(content: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {
        (row["method"], lang): cell["state"]
        for block in content["blocks"]
        for row in block["rows"]
        for lang, cell in row["cells"].items()
    }


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def finished(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two finished benchmarks, ``eos_bias`` and ``few_shot`` on en-ro, to be copied."""
    folder = tmp_path_factory.mktemp("finished")
    commands = Commands(folder, lambda: ("", ""))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MT_LOTTERY_CACHE", str(folder / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        for recipe in ("eos_bias", "few_shot"):
            given = (recipe, "--langs", "ro", "--out", folder / recipe)
            assert bench(commands, models, *given).code == 0
        yield folder


def test_every_cell_is_the_run_of_mt_train(commands: Commands, models: Models) -> None:
    ended = bench(
        commands, models, "lora", "ks_lottery", "--langs", "ro,es", "--seeds", "0,1",
        "--out", "out", "lora:tuner.r=2", "--jobs", "2",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    runs = {str(p.relative_to("out/runs")) for p in Path("out/runs").glob("*/*/*")}
    assert runs == {
        *(
            f"{method}/en-{lang}/seed-{seed}"
            for method in ("lora", "ks_lottery")
            for lang in ("ro", "es")
            for seed in (0, 1)
        ),
        *("none/en-ro/seed-0", "none/en-es/seed-0"),
    }  # fmt: skip
    alone = commands.train(
        "recipe=lora", "lang=en-es", "seed=1", "out_dir=alone", "tuner.r=2", "model=hf",
        f"model.name_or_path={models.untied}", "data.train_pairs=16", "data.test_pairs=6",
        "data.dev_pairs=4", "train.epochs=1", "probe.epochs=1", "metrics=[chrf]",
        "translate.max_new_tokens=8", "baseline=false",
    )  # fmt: skip
    assert alone.code == 0, alone.err
    cell = Path("out/runs/lora/en-es/seed-1")
    assert hypotheses(cell) == hypotheses(Path("alone"))
    assert record(cell)["config_hash"] == record(Path("alone"))["config_hash"]
    # one probe a pair and seed, each trained once
    assert len(list(commands.cache.glob("probes/*/probe.json"))) == 4
    content = board()
    assert content["languages"] == ["en-ro", "en-es"] and content["seeds"] == [0, 1]
    assert set(states(content).values()) == {"done"}
    (block,) = content["blocks"]
    assert [row["method"] for row in block["rows"]] == ["none", "lora", "ks_lottery"]
    for row in block["rows"]:
        for lang in content["languages"]:
            seeds = [0] if row["method"] == "none" else [0, 1]
            own = [record(Path(f"out/runs/{row['method']}/{lang}/seed-{s}")) for s in seeds]
            scores = [r["scores"]["chrf"]["raw"]["score"] for r in own]
            numbers = row["cells"][lang]
            assert numbers["raw"]["score"] == pytest.approx(sum(scores) / len(scores))
            assert (numbers["raw"]["sd"] is None) == (row["method"] == "none")
            assert numbers["seconds"] > 0
        if row["method"] == "none":
            assert row["average"]["gain"] is None
            continue
        gain = row["average"]["gain"]
        none = block["rows"][0]["average"]
        raw = row["average"]["raw"]["score"] - none["raw"]["score"]
        first = row["average"]["first_line"]["score"] - none["first_line"]["score"]
        assert gain == pytest.approx({"raw": raw, "stop": raw - first, "translate": first})
    assert all(row["mark"] in (True, False) for row in block["rows"])
    for kind in ("md", "csv", "tex", "html"):
        assert (Path("out") / f"leaderboard.{kind}").stat().st_size > 0
    lines = list(csv.DictReader(io.StringIO(Path("out/leaderboard.csv").read_text())))
    assert len(lines) == 3 * 3 and {x["language"] for x in lines} == {"en-ro", "en-es", "average"}

    # again: nothing is run, whatever is added is
    before = {p: p.stat().st_mtime_ns for p in Path("out").rglob("record.json")}
    again = bench(
        commands, models, "lora", "ks_lottery", "eos_bias", "--langs", "ro,es", "--seeds", "0,1",
        "--out", "out", "lora:tuner.r=2",
    )  # fmt: skip
    assert again.code == 0, again.err
    assert "14 cells, 10 done, 4 to do" in again.err
    assert all(p.stat().st_mtime_ns == time_ for p, time_ in before.items())


def test_dry_run_runs_nothing(commands: Commands, models: Models, finished: Path) -> None:
    ended = bench(commands, models, "all", "--langs", "ro", "--out", "out", "--dry-run")
    assert ended.code == 0, ended.err
    assert "19 cells, 0 done" in ended.out
    assert "1 embedding-tuned probe (used by embed, ks_lottery, ks_transfer)" in ended.out
    assert not Path("out").exists()
    shutil.copytree(finished / "few_shot", "out")
    ended = bench(
        commands, models, "few_shot", "lora", "--langs", "ro,es", "--out", "out", "--dry-run"
    )
    assert "en-ro done: none, few_shot" in ended.out and "en-ro to do: lora" in ended.out
    assert "en-es to do: none, few_shot, lora" in ended.out
    assert "and 2 cells whose recipe is not measured yet" in ended.out
    assert "other settings" not in ended.out
    ended = bench(
        commands, models, "lora", "--langs", "ro", "--out", "out", "--dry-run", "train.epochs=3"
    )
    assert "other settings than the folder's, refused without --force:" in ended.out
    assert "    train.epochs: 1, now 3" in ended.out


def test_a_cell_that_fails_leaves_the_others_alone(commands: Commands, models: Models) -> None:
    wrong = "lora:tuner.target_modules=[nothing]"
    ended = bench(commands, models, "lora", "eos_bias", "--langs", "ro,es", "--out", "out", wrong)
    assert ended.code == 1
    assert (
        "FAILED lora en-ro seed 0" in ended.err and "no linear layers named 'nothing'" in ended.err
    )
    found = states(board())
    assert found["lora", "en-ro"] == found["lora", "en-es"] == "failed"
    assert {v for (m, _), v in found.items() if m != "lora"} == {"done"}
    folder = Path("out/runs/lora/en-ro/seed-0")
    assert "no linear layers named 'nothing'" in (folder / "log.txt").read_text()
    assert not (folder / "record.json").exists()
    page = Path("out/leaderboard.md").read_text()
    assert "| FAILED | FAILED | — |" in page and "no linear layers named" in page
    assert "FAILED" in ended.out and "FAILED" in Path("out/leaderboard.tex").read_text()

    # the mistake is mended; with other settings the folder is refused unless forced
    arguments = ("lora", "eos_bias", "--langs", "ro,es", "--out", "out")
    refused = bench(commands, models, *arguments).mistake()
    assert "lora:tuner.target_modules: [nothing], now not given" in refused
    kept = Path("out/runs/eos_bias/en-ro/seed-0/record.json").stat().st_mtime_ns
    assert bench(commands, models, *arguments, "--force").code == 0
    assert set(states(board()).values()) == {"done"}
    assert Path("out/runs/eos_bias/en-ro/seed-0/record.json").stat().st_mtime_ns == kept


def test_a_cell_of_earlier_settings_is_in_no_leaderboard(
    commands: Commands, models: Models
) -> None:
    arguments = ("lora", "eos_bias", "--langs", "ro", "--out", "out")
    assert bench(commands, models, *arguments).code == 0
    first = board()
    wrong = ("train.epochs=2", "lora:tuner.target_modules=[nothing]", "--force")
    ended = bench(commands, models, *arguments, *wrong)
    assert ended.code == 1 and Path("out/runs/lora/en-ro/seed-0/record.json").is_file()
    for reported in (False, True):
        if reported:
            assert commands.call("bench", "report", "out").code == 0
        assert states(board())["lora", "en-ro"] == "failed"
        assert states(board())["eos_bias", "en-ro"] == "done"
        page = Path("out/leaderboard.md").read_text()
        assert "no linear layers named 'nothing'" in page
    left = json.loads(Path("out/bench.json").read_text())["anew"]
    assert left == ["runs/lora/en-ro/seed-0"]

    # killed before it came to a cell: that one has a good record, of the settings before
    content = json.loads(Path("out/bench.json").read_text())
    content["anew"] = ["runs/eos_bias/en-ro/seed-0"]
    Path("out/bench.json").write_text(json.dumps(content))
    assert commands.call("bench", "report", "out").code == 0
    page = Path("out/leaderboard.md").read_text()
    assert "runs/eos_bias/en-ro/seed-0: a run with earlier settings, not repeated yet." in page
    content["anew"] = left
    Path("out/bench.json").write_text(json.dumps(content))

    assert bench(commands, models, *arguments, "train.epochs=2", "--force").code == 0
    assert set(states(board()).values()) == {"done"} and board() != first
    assert "anew" not in json.loads(Path("out/bench.json").read_text())


def start(commands: Commands, models: Models, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mt_lottery.cli.bench", *map(str, arguments)]
    return subprocess.Popen(
        [*command, "--model", str(models.untied), *SMALL],
        cwd=commands.folder,
        env=commands.environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def wait_for(path: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.02)


def workers(of: subprocess.Popen[str]) -> set[int]:
    """Processes that a benchmark has started and that still run."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if int(parent) == of.pid and state != "Z":
                found.add(int(entry.name))
    return found


def running(number: int) -> bool:
    try:
        state = (Path("/proc") / str(number) / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs Linux: it looks at /proc")
def test_killed_in_the_middle_and_started_again(commands: Commands, models: Models) -> None:
    arguments = (
        *("none", "lora", "prompt", "--langs", "ro", "--out", "out"),
        *("lora:train.epochs=300", "train.save_steps=20"),
    )
    first = start(commands, models, *arguments)
    wait_for(Path("out/bench.json"))
    # a second one is told, and stops
    second = start(commands, models, *arguments)
    assert second.wait(timeout=60) == 2
    assert second.stderr is not None
    assert "another mt-bench is working in this folder" in second.stderr.read()
    wait_for(Path("out/runs/none/en-ro/seed-0/record.json"))
    wait_for(Path("out/runs/lora/en-ro/seed-0/checkpoints"))
    own = workers(first)
    assert own
    first.kill()
    first.wait()
    end = time.monotonic() + 10
    while any(map(running, own)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(running, own))  # a killed benchmark leaves nobody at work
    assert not Path("out/runs/prompt/en-ro/seed-0/record.json").exists()
    kept = Path("out/runs/none/en-ro/seed-0/record.json").stat().st_mtime_ns
    again = start(commands, models, *arguments)
    _, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert "3 cells, 1 done, 2 to do" in said
    assert Path("out/runs/none/en-ro/seed-0/record.json").stat().st_mtime_ns == kept
    assert set(states(board(commands.folder / "out")).values()) == {"done"}
    log = Path("out/runs/lora/en-ro/seed-0/train_log.jsonl").read_text().splitlines()
    steps = [line["step"] for line in map(json.loads, log) if "loss" in line]
    assert steps == list(range(1, 601))  # 16 pairs in batches of 8, 300 epochs: none twice


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs Linux: it looks at /proc")
def test_a_worker_that_is_killed_is_a_failed_cell(commands: Commands, models: Models) -> None:
    run = start(commands, models, "lora", "eos_bias", "--langs", "ro", "--out", "out",
                "lora:train.epochs=400")  # fmt: skip
    wait_for(Path("out/runs/lora/en-ro/seed-0/checkpoints"))
    for number in workers(run):
        os.kill(number, signal.SIGKILL)
    _, said = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "FAILED lora en-ro seed 0: its process was killed by signal 9" in said
    found = states(board(commands.folder / "out"))
    assert found["lora", "en-ro"] == "failed" and found["eos_bias", "en-ro"] == "done"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a file system cannot be mounted here: {error}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_full_disk_is_named(small_disk: Path, commands: Commands, models: Models) -> None:
    out = small_disk / "out"
    assert bench(commands, models, "none", "--langs", "ro", "--out", out).code == 0
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    ended = bench(commands, models, "none", "embed", "--langs", "ro", "--out", out)
    assert ended.code in (1, 2) and "Traceback" not in ended.err
    assert "disk is full" in ended.err or "No space left" in ended.err
    filler.unlink()
    ended = bench(commands, models, "none", "embed", "--langs", "ro", "--out", out)
    assert ended.code == 0 and "2 cells, 1 done, 1 to do" in ended.err


def test_two_at_once_in_one_process_too(commands: Commands, models: Models) -> None:
    with held(Path("out")):
        said = bench(commands, models, "none", "--langs", "ro", "--out", "out").mistake()
    assert said == "out: another mt-bench is working in this folder."


def test_a_damaged_record_is_named(commands: Commands, models: Models, finished: Path) -> None:
    arguments = ("eos_bias", "--langs", "ro", "--out", "out")
    shutil.copytree(finished / "eos_bias", "out")
    path = Path("out/runs/eos_bias/en-ro/seed-0/record.json")
    path.write_text(path.read_text()[:100])
    ended = bench(commands, models, *arguments)
    assert ended.code == 1 and f"{path}: damaged" in ended.err
    assert states(board())["eos_bias", "en-ro"] == "failed"
    assert bench(commands, models, *arguments, "--force").code == 0


def test_equal_tuning_budget_is_a_second_block(commands: Commands, models: Models) -> None:
    ended = bench(commands, models, "eos_bias", "few_shot", "--langs", "ro", "--tune", "2",
                  "--out", "out")  # fmt: skip
    assert ended.code == 0, ended.err
    recipe, tuned = board()["blocks"]
    assert (recipe["name"], tuned["name"]) == ("recipe settings", "equal tuning budget")
    assert tuned["trials"] == 2 and recipe["trials"] is None
    assert [r["method"] for r in tuned["rows"]] == ["none", "few_shot", "eos_bias"]
    assert tuned["rows"][0]["cells"] == recipe["rows"][0]["cells"]
    chosen = record(Path("out/tuned/eos_bias/en-ro/seed-0"))["tuning"]
    assert chosen["trials"] == len(chosen["tried"]) == 2
    assert json.loads(Path("out/bench.json").read_text())["settings"]["tune"] == 2
    # the run with the recipe's settings is the first trial, and a worker is told so
    log = Path("out/tuned/eos_bias/en-ro/seed-0/log.txt").read_text()
    assert "out/runs/eos_bias/en-ro/seed-0 is this very training, done" in log
    assert Cell("runs", "eos_bias", "en-ro", 0).unsearched is None
    assert tuned["rows"][2]["cells"]["en-ro"]["chosen"] == [chosen["chosen"]]
    assert not recipe["chosen"] and len(tuned["chosen"]) == 2
    ((key, value),) = chosen["chosen"].items()
    told = f"{tuned['rows'][2]['label']}: en-ro: {key}={value}."
    assert tuned["chosen"][1] == told and told in Path("out/leaderboard.html").read_text()
    assert "### Settings chosen on the dev set" in Path("out/leaderboard.md").read_text()
    assert f"Trial 2 of 2 (trials/1): {key}=" in log


def test_report_again_and_of_two(commands: Commands, models: Models, finished: Path) -> None:
    shutil.copytree(finished / "eos_bias", "one")
    shutil.copytree(finished / "few_shot", "two")
    before = board(Path("one"))
    for kind in ("md", "csv", "tex", "json", "html"):
        (Path("one") / f"leaderboard.{kind}").unlink()
    shown = commands.call("bench", "report", "one")
    assert shown.code == 0 and "eos_bias" in shown.out
    after = board(Path("one"))
    before.pop("created"), after.pop("created")
    assert after == before
    assert "say where to" in commands.call("bench", "report", "one", "two").mistake()
    assert commands.call("bench", "report", "one", "two", "--out", "both").code == 0
    (block,) = board(Path("both"))["blocks"]
    assert [r["method"] for r in block["rows"]] == ["none", "few_shot", "eos_bias"]
    one, two = (board(Path(name))["command"] for name in ("one", "two"))
    assert board(Path("both"))["command"] == f"{one}; {two}"

    other = ("few_shot", "--langs", "ro", "--out", "three", "data.test_pairs=5")
    assert bench(commands, models, *other).code == 0
    said = commands.call("bench", "report", "one", "three", "--out", "neither").mistake()
    assert "cannot stand in one table: test data (sha256) differ" in said
    assert "no benchmark of mt-bench" in commands.call("bench", "report", "nowhere").mistake()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lorra", "--langs", "ro"), "Unknown recipe 'lorra'. Did you mean 'lora'?"),
        (("lora", "--langs", "xx"), "--langs xx:"),
        (("lora", "--langs", "ro", "--jobs", "0"), "--jobs must be at least 1, not 0."),
        (("lora", "--langs", "ro", "--seeds", "a"), "--seeds: each must be a whole number"),
        (("lora", "--langs", "de"), "has no"),
        (("lora", "--langs", "ro", "train.lrr=1"), "Unknown key 'train.lrr'"),
        (("lora", "--langs", "ro", "train.lr=-1"), "`train.lr` must be > 0"),
        (("lora", "--langs", "ro", "seed=3"), "seed=3: mt-bench sets it itself"),
        (("lora", "--langs", "ro", "embed:train.lr=1"), "embed is not among those asked for"),
        (("lora", "--langs", "ro", "data.train_pairs=9999"), "data.train_pairs=9999"),
        (("train.lr=1", "--langs", "ro"), "No recipe is given"),
    ],
)
def test_mistakes_are_found_before_anything_runs(
    arguments: tuple[str, ...], message: str, commands: Commands, models: Models
) -> None:
    ended = commands.call("bench", *arguments, "--model", models.untied, "--out", "out")
    assert message in ended.mistake()
    assert not Path("out").exists()


def test_all_mistakes_are_listed_together(commands: Commands, models: Models) -> None:
    said = commands.call("bench", "lorra", "embd", "--langs", "xx", "--seeds", "x").mistake()
    assert "4 settings are not valid" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("lora:translate.beam_size=2", "lora: `translate.beam_size` is 2, and of none it is 1: "),
        ("lora:data.test_pairs=2", "lora: `data.test_pairs` is 2, and of none it is 3: "),
    ],
)
def test_what_could_not_stand_in_one_table_is_refused_before_any_work(
    commands: Commands, models: Models, given: str, said: str
) -> None:
    refused = bench(commands, models, "none", "lora", given, "data.test_pairs=3", "--langs", "ro",
                    "--out", "out").mistake()  # fmt: skip
    assert f"{said}their scores could not stand in one table." in refused
    assert not Path("out", "runs").exists()
