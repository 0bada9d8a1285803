"""``mt-ticket explain``: arms that equal real runs, kept, scored as the leaderboard scores."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Commands, Models, contents, hypotheses, record, small

from mt_lottery.runs.folder.preparing import FINDINGS

pytestmark = pytest.mark.slow

SETTINGS = (
    "model.dtype=float32", "train.lr=0.1", "probe.lr=0.1", "train.epochs=3", "tuner.tickets=40",
    "translate.max_new_tokens=12",
)  # fmt: skip


def arm_file(folder: Path, name: str) -> Path:
    (found,) = folder.glob(f"arms-*/{name}.jsonl")
    return found


def said(folder: Path, name: str) -> list[str]:
    text = arm_file(folder, name).read_text("utf-8")
    return [json.loads(line)["hypothesis"] for line in text.rstrip("\n").split("\n")]


def result(folder: Path, stem: str = "explain") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{stem}.json").read_text("utf-8"))
    return found


@pytest.mark.parametrize("kind", ["untied", "tied"])
def test_arms_equal_the_runs_and_are_kept(kind: str, commands: Commands, models: Models) -> None:
    folder = getattr(models, kind)
    ended = commands.train(*small(folder, "ks_lottery", "out_dir=run", *SETTINGS))
    assert ended.code == 0, ended.err
    ended = commands.call("ticket", "explain", "run", "--controls", "2")
    assert ended.code == 0, ended.err
    out = Path("run/explain")
    assert out.name in FINDINGS
    # everywhere is the run, nowhere the original model's run
    assert said(out, "tuned") == [x["hypothesis"] for x in hypotheses(Path("run"))]
    original = Path(record(Path("run"))["baseline"])
    assert said(out, "original") == [x["hypothesis"] for x in hypotheses(original)]
    assert "6 of 6 translations are word for word the run's own" in ended.out
    assert said(out, "random-0") != said(out, "random-1") != said(out, "tuned")
    found = result(out)
    with open("run/tickets.csv", newline="", encoding="utf-8") as file:
        ticket = {x["token"] for x in csv.DictReader(file) if x["selected"] == "true"}
    # the first token has an arm of its own where its row was tuned
    first = ["bos"] if "<s>" in ticket else []
    assert (found["reads_a_sentence"]["bos"] == 1.0) == bool(first)
    names = ["original", "tuned", *first, "instruction", "source", "target", "random", "random-0",
             "random-1"]  # fmt: skip
    assert [arm["arm"] for arm in found["arms"]] == names
    # scored as the runs' records are
    for arm, run in (("tuned", Path("run")), ("original", original)):
        (mine,) = (x for x in found["arms"] if x["arm"] == arm)
        theirs = record(run)
        assert mine["stopped"] == theirs["generation"]["stopped"]
        assert mine["length_ratio"] == pytest.approx(theirs["generation"]["length_ratio"])
        for way in ("raw", "first_line"):
            score = theirs["scores"]["chrf"][way]
            assert mine["scores"]["chrf"][way]["score"] == pytest.approx(score["score"])
            assert mine["scores"]["chrf"][way]["ci95"] == pytest.approx(score["ci95"])
    scores = {x["arm"]: x["scores"]["chrf"]["raw"]["score"] for x in found["arms"]}
    assert scores["random"] == pytest.approx((scores["random-0"] + scores["random-1"]) / 2)
    for arm in found["arms"]:
        share = arm["scores"]["chrf"]["raw"]["recovery"]
        if share is not None:
            gain = scores["tuned"] - scores["original"]
            wanted = (scores[arm["arm"]] - scores["original"]) / gain
            assert share["value"] == pytest.approx(wanted)
    with (out / "explain.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [(x["arm"], x["scored"]) for x in table] == [
        (n, w) for n in names for w in ("raw", "first_line")
    ]
    assert {p.name for p in out.iterdir()} >= {"explain.png", "explain.svg"}

    # continued: what stands is not decoded again, what is missing or damaged is
    standing = {n: arm_file(out, n).stat().st_mtime_ns for n in names if n != "random"}
    before = {n: arm_file(out, n).read_bytes() for n in standing}
    arm_file(out, "source").unlink()
    arm_file(out, "target").write_text('{"hypothesis": "x"')
    again = commands.call("ticket", "explain", "run", "--controls", "2")
    assert again.code == 0, again.err
    assert "damaged" in again.err
    for name in standing:
        path = arm_file(out, name)
        same = path.stat().st_mtime_ns == standing[name]
        assert same == (name not in ("source", "target")), name
        assert path.read_bytes() == before[name]
    assert result(out)["arms"] == found["arms"]
    fewer = commands.call("ticket", "explain", "run", "--sentences", "3").mistake()
    assert "explain.json is the result of another question (sentences: not given, now 3)" in fewer
    assert "--overwrite" in fewer and result(out)["arms"] == found["arms"]


def test_another_template_and_fewer_sentences(commands: Commands, models: Models) -> None:
    run = small(models.untied, "ks_lottery", "out_dir=run", *SETTINGS, "baseline=false")
    assert commands.train(*run).code == 0
    Path("plugins").mkdir()
    Path("plugins/bare.py").write_text(
        "from mt_lottery.registry import register_template\n\n\n"
        '@register_template("bare")\n'
        "class Bare:\n"
        "    def prompt(self, source, pair):\n"
        '        return f"{source} ="\n\n'
        "    def target(self, target):\n"
        '        return " " + target\n'
    )
    arguments = ["run", "--sentences", "3", "--controls", "1", "--out", "found", "--no-plot"]
    options = ["--user-dir", "plugins", "--arms", "source"]
    for name, more in (("alpaca", []), ("bare", options), ("plain", ["--arms", ""])):
        ended = commands.call("ticket", "explain", *arguments, "--template", name, *more)
        assert ended.code == 0, ended.err
    assert {p.name for p in Path("found").glob("*.json")} == {
        "explain-alpaca.json", "explain-bare.json", "explain.json",
    }  # fmt: skip
    assert len(list(Path("found").glob("arms-*"))) == 3
    alpaca = result(Path("found"), "explain-alpaca")
    assert alpaca["template"] == "alpaca" and alpaca["run"]["trained_template"] == "plain"
    assert alpaca["test"]["sentences"] == 3 and alpaca["as_in_run"] is None
    assert [arm["arm"] for arm in alpaca["arms"]][-2:] == ["target", "random"]  # one control
    # a longer instruction holds more tokens of the ticket, the sentences as many
    plain = result(Path("found"))
    bare = result(Path("found"), "explain-bare")
    assert [arm["arm"] for arm in plain["arms"]] == ["original", "tuned"]
    assert [arm["arm"] for arm in bare["arms"]] == ["original", "tuned", "source"]
    reads = [x["reads_a_sentence"]["instruction"] for x in (alpaca, plain, bare)]
    assert reads[0] > reads[1] > reads[2]


def test_what_cannot_be_explained(commands: Commands, models: Models) -> None:
    def mistake(*arguments: str) -> str:
        return commands.call("ticket", "explain", *arguments).mistake()

    assert "nowhere" in mistake("nowhere")
    tied = ["tuner.scope=tied", "out_dir=tied", "baseline=false"]
    assert commands.train(*small(models.tied, "frequency", *tied)).code == 0
    assert "with tuner.scope=tied the output head uses the rows too" in mistake("tied")
    lora = small(models.untied, "lora", "out_dir=lora", "baseline=false")
    assert commands.train(*lora).code == 0
    assert "a run of lora has no tuned vocabulary rows" in mistake("lora")
    run = small(models.untied, "frequency", "out_dir=run", "baseline=false")
    assert commands.train(*run).code == 0
    before = contents(Path("run"))
    assert "--sentences 7: the run's test set has 6" in mistake("run", "--sentences", "7")
    assert "alpaca" in mistake("run", "--template", "alpacca")
    assert contents(Path("run")) == before
    for wrong in (["--sentences", "0"], ["--seed", "x"], ["--controls", "-1"], ["--arms", "sauce"]):
        with pytest.raises(SystemExit) as ended:
            commands.call("ticket", "explain", "run", *wrong)
        assert ended.value.code == 2
