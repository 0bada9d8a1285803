"""``torchrun -m mt_lottery.cli.train``: what one process does, shared out; one voice; no hang."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from launch import kill, run, start
from safetensors.torch import load_file
from tiny_runs import Commands, Models, contents, hypotheses, record, small

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
# the other methods differ from these in the choice of rows alone
RECIPES = (
    *("none", "few_shot", "eos_bias", "random", "embed", "ks_lottery", "ks_transfer", "ks_freeze"),
    *("grad_lottery", "forced_prefix", "few_shot_bm25"),
    *("lora", "qlora", "prefix", "prompt", "layer", "full"),
)
MODULE = ("-m", "mt_lottery.cli.train")

FAULTS = """
import os, time
from mt_lottery.errors import TrainingError
from mt_lottery.registry import register_criterion
from mt_lottery.training.cross_entropy import summed_cross_entropy

calls = 0

@register_criterion("faulty")
def faulty(logits, labels, config):
    global calls
    calls += 1
    loss = summed_cross_entropy(logits, labels)
    if os.environ["RANK"] == "0" or calls < 4:
        return loss
    kind = os.environ["FAULT"]
    if kind == "mistake":
        raise TrainingError("rank 1 alone refuses")
    if kind == "asleep":
        print("asleep", flush=True)
        time.sleep(600)
    return loss * float("nan")
"""


def said(text: str) -> str:
    """Standard error without what torchrun itself has to say."""
    text = text.rpartition("Traceback (most recent call last)")[0]
    lines = (line for line in text.split("\n") if "torch/distributed/elastic" not in line)
    return "\n".join(lines).strip()


def assert_same_run(ours: Path, theirs: Path) -> None:
    """The same files, text and training, and trained values within float32's rounding."""
    assert contents(ours) == contents(theirs)
    assert hypotheses(ours) == hypotheses(theirs)
    for file in ours.rglob("*.safetensors"):
        found, wanted = load_file(file), load_file(theirs / file.relative_to(ours))
        assert found.keys() == wanted.keys()
        for name, values in wanted.items():
            torch.testing.assert_close(found[name], values, rtol=1e-5, atol=1e-5, msg=str(file))
    logs = [(d / "train_log.jsonl").read_text().splitlines() for d in (ours, theirs)]
    for one, other in zip(*logs, strict=True):
        both: list[dict[str, Any]] = [json.loads(one), json.loads(other)]
        kept = [{k: x[k] for k in ("step", "loss", "lr", "dev_loss") if k in x} for x in both]
        assert kept[0] == pytest.approx(kept[1], rel=1e-5)
    one, other = record(ours), record(theirs)
    for key in ("config_hash", "scores", "generation", "trainable_parameters", "data", "model"):
        assert one[key] == other[key], key
    assert one["cost"]["train_steps"] == other["cost"]["train_steps"]
    assert one["tickets"] == other["tickets"]


def test_every_kind_of_method_on_two_processes(commands: Commands, models: Models) -> None:
    uneven = ("train.batch_size=7", "probe.batch_size=7")  # 24 pairs: 7, 7, 7 and 3
    cases: dict[str, list[Any]] = {
        recipe: small(models.untied, recipe, *([] if recipe == "none" else uneven))
        for recipe in RECIPES
    }
    cases["accumulated"] = small(
        models.untied, "lora", "train.accumulate=3", "train.max_tokens=200", "train.batch_size=9"
    )
    cases["searched"] = small(models.untied, "random", "tune=2")
    joint = [a for a in small(models.untied, "random") if not str(a).startswith("lang=")]
    cases["joint"] = [*joint, "lang=en-ro,en-es", "test_lang=en-ca"]
    cases["beams"] = small(models.untied, "none", "translate.beam_size=3")
    cases = {name: [*map(str, case), "data.test_pairs=5"] for name, case in cases.items()}
    Path("plugins").mkdir()
    Path("plugins/faults.py").write_text(FAULTS)
    more = [
        small(models.tied, "full", "out_dir=two/half"),  # bfloat16: equal but for its rounding
        small(models.untied, "full", "out_dir=two/random"),
        small(models.untied, "lora", "tuner.target_modules=[q]", "out_dir=new"),
        small(models.untied, "random", "user_dir=plugins", "train.criterion=faulty", "out_dir=nan"),
    ]
    listed = [[*case, f"out_dir=two/{name}"] for name, case in cases.items()]
    listed += [[*map(str, case)] for case in more]
    Path("cases").write_text(json.dumps(listed))
    done = run(HERE / "ddp_commands.py", "cases", MT_LOTTERY_CACHE=str(commands.cache), FAULT="nan")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("This run: ") == len(cases) + 1
    answers = json.loads(Path("cases.out").read_text())
    assert answers[:-3] == [[None, None]] * (len(cases) + 1)
    assert all(one == other for one, other in answers)
    assert answers[-3][0].startswith("RecordError: two/random holds a finished run of another")
    assert "has no linear layers named 'q'" in answers[-2][0]
    (told,) = re.findall(r"The loss is nan at step \d;.*corpus\): ([0-9, ]+)\.", answers[-1][0])
    assert len(set(told.split(", "))) == 8

    shutil.move("cache", "their-cache")
    for name, case in cases.items():
        ended = commands.train(*case, f"out_dir=one/{name}")
        assert ended.code == 0, ended.err
        assert_same_run(Path("two", name), Path("one", name))
        assert record(Path("two", name))["environment"]["processes"] == "2"
        assert record(Path("one", name))["environment"]["processes"] == "1"
    # each pair's gradients are the same wherever they are measured
    scores = [Path(d, "grad_lottery/tickets.csv").read_bytes() for d in ("one", "two")]
    assert scores[0] == scores[1]
    assert record(Path("two/searched"))["tuning"]["trials"] == 2
    assert record(Path("two/half"))["status"] == "done"
    probes = [sorted(p.name for p in Path(c, "probes").iterdir()) for c in ("cache", "their-cache")]
    assert probes[0] == probes[1] and len(probes[0]) > 0
    assert not torch.distributed.is_initialized()  # by the runs on one process


def wait_for(step: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not any(
        int(p.name.removeprefix("checkpoint-")) >= step
        for p in Path("run/checkpoints").glob("checkpoint-*")
    ):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_on_two_processes(commands: Commands, models: Models) -> None:
    arguments = small(models.untied, "random", "baseline=false", "train.epochs=20")
    cache = {"MT_LOTTERY_CACHE": str(commands.cache)}
    process = start(*MODULE, *arguments, "out_dir=run", "train.save_steps=1", **cache)
    try:
        wait_for(3, process)
    finally:
        kill(process)
    assert not Path("run/record.json").exists()
    shutil.copytree("run", "copy")
    assert "resume=true" in commands.train(*arguments, "out_dir=run").mistake()
    done = run(*MODULE, *arguments, "out_dir=run", "resume=true", **cache)
    assert done.returncode == 0, done.stderr
    assert commands.train(*arguments, "out_dir=copy", "resume=true").code == 0
    assert commands.train(*arguments, "out_dir=whole").code == 0
    assert_same_run(Path("run"), Path("whole"))
    assert_same_run(Path("copy"), Path("whole"))


def test_a_mistake_is_told_once(commands: Commands, models: Models) -> None:
    done = run(*MODULE, *small(models.untied, "random", "out_dir=run", "trian.lr=1"))
    assert "exitcode  : 2" in done.stderr and done.stdout == ""
    message = said(done.stderr)
    assert message.startswith("error: ") and message.count("error: ") == 1
    assert "trian.lr" in message and "Traceback" not in message
    assert not Path("run").exists()


def test_a_mistake_of_one_process(commands: Commands, models: Models) -> None:
    Path("plugins").mkdir()
    Path("plugins/faults.py").write_text(FAULTS)
    arguments = small(models.untied, "random", "baseline=false", "out_dir=run")
    faulty = ("user_dir=plugins", "train.criterion=faulty")
    cache = {"MT_LOTTERY_CACHE": str(commands.cache)}
    done = run(*MODULE, *arguments, *faulty, FAULT="mistake", **cache)
    assert done.returncode == 1  # torchrun's own; it names the processes'
    assert "exitcode  : 2" in done.stderr
    message = said(done.stderr)
    assert message.count("error: rank 1 alone refuses") == message.count("error: ") == 1
    assert "Traceback" not in message
    assert not Path("run/record.json").exists()
    ended = commands.train(*arguments)
    assert ended.code == 0, ended.err  # nothing holds the folder


def test_ctrl_c_ends_all(commands: Commands, models: Models) -> None:
    Path("plugins").mkdir()
    Path("plugins/faults.py").write_text(FAULTS)
    process = start(
        *MODULE, *small(models.untied, "random", "user_dir=plugins", "baseline=false"),
        "train.criterion=faulty", FAULT="asleep", MT_LOTTERY_CACHE=str(commands.cache),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "asleep\n"
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            kill(process)
    message = said(text)
    assert message.count("resume=true continues it") == 1 and "Traceback" not in message
