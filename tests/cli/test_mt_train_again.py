"""``mt-train`` a second time: what is reused, refused, replaced, resumed, and what is the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_runs import Commands, Models, contents, record, small

pytestmark = pytest.mark.slow

WEIGHTS = "adapter/adapter_model.safetensors"


def stamps(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Modification time and content of every file."""
    names = sorted(contents(folder))
    return {n: ((folder / n).stat().st_mtime_ns, (folder / n).read_bytes()) for n in names}


def test_the_same_command_again_changes_nothing(commands: Commands, models: Models) -> None:
    arguments = small(models.untied, "ks_lottery")
    first = commands.train(*arguments)
    assert first.code == 0, first.err
    before = stamps(Path("runs"))
    again = commands.train(*arguments)
    assert again.code == 0 and "left alone" in again.err
    assert stamps(Path("runs")) == before
    assert again.out == first.out
    # neither the tracker, the place of the cache nor the spelling of the pair makes it another run
    other = [str(a).replace("lang=en-es", "lang=eng-spa") for a in arguments]
    assert "left alone" in commands.train(*other, "train.save_steps=7").err
    assert stamps(Path("runs")) == before


def test_a_found_run_outlives_its_baseline(commands: Commands, models: Models) -> None:
    arguments = small(models.untied, "random", "out_dir=run")
    assert commands.train(*arguments).code == 0
    shutil.rmtree(commands.cache)
    again = commands.train(*arguments)
    assert again.code == 0, again.err
    assert "left alone" in again.err and "none (original" not in again.out


def test_another_run_in_the_same_folder(commands: Commands, models: Models) -> None:
    assert commands.train(*small(models.untied, "random", "out_dir=run")).code == 0
    before = stamps(Path("run"))
    changes = {
        "seed=1": "seed: 0, now 1",
        "train.lr=0.5": "train.lr: 0.01, now 0.5",
        "tuner.tickets=3": "tuner.tickets: 18, now 3",
        "translate.beam_size=2": "translate.beam_size: 1, now 2",
    }
    for change, apart in changes.items():  # what does not count is not named
        arguments = small(models.untied, "random", "out_dir=run", change, "train.save_steps=9")
        message = commands.train(*arguments).mistake()
        assert f"run holds a finished run of another configuration ({apart})." in message
        assert "overwrite=true" in message and "out_dir" in message
    another = commands.train(*small(models.tied, "full", "out_dir=run")).mistake()
    said = f"recipe: random, now full; model.name_or_path: {models.untied}, now {models.tied}; "
    assert f"another configuration ({said}" in another and " more)." in another
    folder = Path("as-named")
    shutil.copytree(models.untied, folder)
    assert commands.train(*small(folder, "random", "out_dir=moved")).code == 0
    shutil.rmtree(folder)
    shutil.copytree(models.tied, folder)
    message = commands.train(*small(folder, "random", "out_dir=moved")).mistake()
    assert "the settings are the same: what they name (model, file, notebook's plugin)" in message
    assert stamps(Path("run")) == before
    Path("run/certificate").mkdir()  # as mt-ticket certify writes it, whatever is in it
    Path("run/certificate/mine.txt").write_text("precious")
    ended = commands.train(*small(models.untied, "full", "out_dir=run", "overwrite=true"))
    assert ended.code == 0, ended.err
    said = "the old one is gone, but for what mt-ticket wrote of it: certificate."
    assert said in ended.err and Path("run/certificate/mine.txt").read_text() == "precious"
    assert record(Path("run"))["method"] == "full"
    assert not Path("run/adapter").exists() and not Path("run/tickets.csv").exists()
    Path("run/record.json").write_text("{")
    damaged = commands.train(*small(models.untied, "full", "out_dir=run")).mistake()
    assert "record.json" in damaged and "damaged" in damaged
    arguments = small(models.untied, "full", "out_dir=run", "overwrite=true")
    assert commands.train(*arguments).code == 0


def test_a_folder_of_the_user_is_not_emptied(commands: Commands, models: Models) -> None:
    Path("mine/model").mkdir(parents=True)
    Path("mine/model/weights").write_text("precious")
    message = commands.train(*small(models.untied, "full", "out_dir=mine")).mistake()
    assert "mine" in message and "model" in message
    assert Path("mine/model/weights").read_text() == "precious"
    assert contents(Path("mine")) == {"model/weights"}
    Path("file").write_text("")
    assert "file" in commands.train(*small(models.untied, "none", "out_dir=file")).mistake()


def test_the_baseline_is_decoded_once(commands: Commands, models: Models) -> None:
    def baseline(*arguments: object) -> tuple[str, str]:
        ended = commands.train(*arguments)
        assert ended.code == 0, ended.err
        return ended.err, ended.out

    default = Path("runs/en-es/none/seed-0")
    said, _ = baseline(*small(models.untied, "random"))
    assert "translating the test set" in said and record(default)["method"] == "none"
    before = stamps(default)
    said, _ = baseline(*small(models.untied, "random", "seed=1"))
    assert "scored before" in said and str(default) in said and "translating" not in said
    said, _ = baseline(*small(models.untied, "none"))
    assert "left alone" in said
    assert stamps(default) == before
    assert record(Path("runs/en-es/random/seed-1"))["baseline"] == str(default)
    # with an out_dir it is kept in the cache, and other settings are another baseline
    said, _ = baseline(*small(models.untied, "random", "out_dir=a"))
    assert "translating" in said
    said, _ = baseline(*small(models.untied, "frequency", "out_dir=b"))
    assert "scored before" in said
    said, _ = baseline(*small(models.untied, "random", "out_dir=c", "translate.max_new_tokens=4"))
    assert "translating" in said
    said, _ = baseline(*small(models.tied, "random", "seed=5"))  # the default place is taken
    assert "translating" in said and stamps(default) == before
    said, out = baseline(*small(models.untied, "random", "out_dir=d", "baseline=false"))
    assert "riginal model" not in said + out and not record(Path("d"))["baseline"]
    # a damaged one is scored again
    kept = Path(record(Path("a"))["baseline"])
    (kept / "record.json").write_text("{}")
    said, _ = baseline(*small(models.untied, "random", "out_dir=e"))
    assert "translating" in said and record(kept)["method"] == "none"


def test_another_alpha_costs_no_second_probe(commands: Commands, models: Models) -> None:
    def run(recipe: str, *more: object) -> tuple[str, float]:
        out = f"run-{len(list(Path().glob('run-*')))}"
        ended = commands.train(*small(models.untied, recipe, f"out_dir={out}", *more))
        assert ended.code == 0, ended.err
        return ended.err, record(Path(out))["cost"]["probe_seconds"]

    said, seconds = run("ks_lottery")
    assert "probe: found" not in said and seconds > 0
    for recipe, more in (
        ("ks_lottery", "tuner.tickets=3"),
        ("ks_transfer", "tuner.alpha=1"),
        ("ks_transfer", "tuner.correction=bh"),
    ):
        said, charged = run(recipe, more)
        assert "probe: found" in said and charged == seconds, (recipe, more)
    for more in ("seed=1", "probe.lr=0.002", "data.train_pairs=23", "data.template=alpaca"):
        assert "probe: found" not in run("ks_transfer", more)[0], more
    # embed tuning with the probe's settings is that probe
    said, _ = run("embed")
    assert "probe: found" in said
    # a damaged probe is trained again
    for file in (commands.cache / "probes").glob("*/probe.safetensors"):
        file.write_bytes(file.read_bytes()[:-4])
    said, _ = run("ks_lottery", "tuner.tickets=4")
    assert "damaged" in said and "probe: found" not in said


@pytest.mark.parametrize("recipe", ["ks_lottery", "full"])
def test_same_seed_same_result(recipe: str, commands: Commands, models: Models) -> None:
    weights = "model/model.safetensors" if recipe == "full" else WEIGHTS
    made = {}
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        shutil.rmtree(commands.cache, ignore_errors=True)
        arguments = small(models.tied, recipe, f"out_dir={name}", f"seed={seed}")
        assert commands.train(*arguments).code == 0
        made[name] = [Path(name, f).read_bytes() for f in (weights, "hypotheses.jsonl")]
        if recipe == "ks_lottery":
            made[name].append(Path(name, "tickets.csv").read_bytes())
    assert made["one"] == made["two"]
    assert made["one"][0] != made["other"][0]


def wait_for(found: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait until something is there; the process must not end before."""
    deadline = time.monotonic() + 120
    while not found():
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def past(folder: str, step: int) -> Callable[[], bool]:
    """Whether a checkpoint at or after a step stands under a folder."""

    def found() -> bool:
        names = (p.name.removeprefix("checkpoint-") for p in Path().glob(f"{folder}/checkpoint-*"))
        return any(int(n) >= step for n in names)

    return found


def test_killed_and_interrupted_runs_resume(commands: Commands, models: Models) -> None:
    arguments = small(models.tied, "random", "baseline=false", "train.epochs=70")
    often = "train.save_steps=1"  # no part of the result
    assert commands.train(*arguments, "out_dir=whole").code == 0

    process = commands.start("mt-train", *arguments, "out_dir=run", often)
    wait_for(past("run/checkpoints", 5), process)
    process.send_signal(signal.SIGSTOP)  # it must not end while the next command starts
    busy = commands.train(*arguments, "out_dir=run").mistake()
    assert "another run" in busy and "run" in busy
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in said and b"resume=true" in said.strip().split(b"\n")[-1]
    assert not Path("run/record.json").exists()

    process = commands.start("mt-train", *arguments, "out_dir=run", often, "resume=true")
    wait_for(past("run/checkpoints", 40), process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert not Path("run/record.json").exists()
    assert "checkpoint" in commands.train(*arguments, "out_dir=run").mistake()
    other = commands.train(*arguments, "out_dir=run", "resume=true", "train.lr=0.5").mistake()
    assert "another configuration" in other

    ended = commands.train(*arguments, "out_dir=run", "resume=true")
    assert ended.code == 0, ended.err
    for name in (WEIGHTS, "hypotheses.jsonl"):
        assert Path("run", name).read_bytes() == Path("whole", name).read_bytes()
    assert contents(Path("run")) == contents(Path("whole"))
    logs = [
        [json.loads(x) for x in Path(d, "train_log.jsonl").read_text().splitlines()]
        for d in ("run", "whole")
    ]
    kept = [[(x["step"], x.get("loss"), x.get("dev_loss")) for x in log] for log in logs]
    assert kept[0] == kept[1]
    assert record(Path("run"))["cost"]["train_steps"] == 210
    # all of the training is charged, not what came after the last resume
    spent = [x["seconds"] for x in logs[0] if "seconds" in x]
    assert spent == sorted(spent)
    assert record(Path("run"))["cost"]["train_seconds"] >= spent[-1] > spent[40] > 0


def test_a_killed_probe_goes_on(commands: Commands, models: Models) -> None:
    arguments = small(models.untied, "ks_lottery", "baseline=false", "probe.epochs=30")
    process = commands.start("mt-train", *arguments, "out_dir=run", "probe.save_steps=1")
    wait_for(past("cache/probes/*/checkpoints", 5), process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert not Path("run/record.json").exists()
    ended = commands.train(*arguments, "out_dir=run")
    assert ended.code == 0, ended.err
    shutil.rmtree(commands.cache)
    assert commands.train(*arguments, "out_dir=whole").code == 0
    for name in (WEIGHTS, "tickets.csv", "hypotheses.jsonl"):
        assert Path("run", name).read_bytes() == Path("whole", name).read_bytes()
    assert contents(Path("run")) == contents(Path("whole"))
    assert not list(commands.cache.rglob("checkpoint-*"))


def test_a_saved_config_runs_from_another_folder(commands: Commands, models: Models) -> None:
    shutil.copytree(models.untied, "my-model")
    assert commands.train(*small(Path("my-model"), "ks_lottery", "out_dir=run")).code == 0
    elsewhere = commands.folder / "elsewhere"
    elsewhere.mkdir()
    os.chdir(elsewhere)
    ended = commands.train("config=../run/config.yaml", "out_dir=again")
    assert ended.code == 0, ended.err
    assert Path("again", WEIGHTS).read_bytes() == Path("../run", WEIGHTS).read_bytes()


def everything(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in contents(folder)}


MISTAKES = (
    ("lora", "tuner.target_modules=[q_prj]"),
    ("random", "tuner.tickets=1000000"),
    ("random", "data.max_length=8"),
    ("layer", "tuner.module=nowhere"),
    ("random", "tuner.scope=tied"),
    ("few_shot", "tuner.shots=1000"),
    ("full", "train.epochs=0"),
    ("full", "train.lr=1e30"),
)


def test_a_mistake_leaves_the_run_that_was_to_be_replaced(
    commands: Commands, models: Models
) -> None:
    assert commands.train(*small(models.untied, "random", "out_dir=run")).code == 0
    Path("run/notes.txt").write_text("mine")
    Path("run/adapter/thesis.tex").write_text("mine")
    before = everything(Path("run"))
    for recipe, change in MISTAKES:
        call = small(models.untied, recipe, "out_dir=run", "overwrite=true", change)
        assert commands.train(*call).mistake(), change
        assert everything(Path("run")) == before, change
    # every input that lies in what would be replaced
    shutil.copytree("run/adapter", "run/model")
    Path("run/model/train.es").write_text("a\n")
    (commands.folder / "link").symlink_to("run")
    for change in (
        "tuner.rows_file=run/tickets.csv", "tuner.rows_file=link/tickets.csv",
        "model.name_or_path=run/model", "data.path=run/model", "user_dir=run/model",
    ):  # fmt: skip
        call = small(models.untied, "ks_lottery", "out_dir=run", "overwrite=true", change)
        said = commands.train(*call).mistake()
        assert everything(Path("run")).items() >= before.items(), said
    call = small(models.untied, "ks_lottery", "out_dir=run", "tuner.rows_file=run/tickets.csv")
    said = commands.train(*call, "overwrite=true").mistake()
    assert "`tuner.rows_file` is run/tickets.csv, which belongs to the run in out_dir=run" in said
    shutil.rmtree("run/model")
    # its own config.yaml is read before it is replaced
    again = commands.train("config=run/config.yaml", "out_dir=run", "overwrite=true", "seed=3")
    assert again.code == 0, again.err
    assert record(Path("run"))["seed"] == 3
    assert Path("run/notes.txt").read_text() == "mine"
    assert Path("run/adapter/thesis.tex").read_text() == "mine"
    expected = contents(Path("run"))
    assert commands.train(*small(models.untied, "full", "out_dir=run", "overwrite=true")).code == 0
    kept = {"notes.txt", "adapter/thesis.tex"}
    assert {x for x in contents(Path("run")) if x.startswith("adapter")} == {"adapter/thesis.tex"}
    assert kept <= contents(Path("run")) and expected != contents(Path("run"))
    assert not any("mt_lottery" in x for x in os.listdir("run"))


#: A plugin: the process that imports it kills itself once there is a third checkpoint. It is the
#: training process that looks, so that however slow the machine is, the training is not over.
KILLED = """
import os, pathlib, signal, threading, time

def work():
    while not any(int(p.name[11:]) > 2 for p in pathlib.Path(PLACE).glob("checkpoint-*[0-9]")):
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=work, daemon=True).start()
"""


@pytest.mark.parametrize("again", ["overwrite=true", "resume=true"])
def test_an_overwriting_run_that_was_killed_goes_on(
    again: str, commands: Commands, models: Models
) -> None:
    assert commands.train(*small(models.untied, "random", "out_dir=run")).code == 0
    before = everything(Path("run"))
    arguments = small(models.untied, "full", "train.epochs=10", "baseline=false", "tracker=none")
    Path("killed").mkdir()
    place = "run/.mt_lottery.new/checkpoints"
    Path("killed/kills_itself.py").write_text(KILLED.replace("PLACE", repr(place)))
    process = commands.start(
        *("mt-train", *arguments, "out_dir=run", "overwrite=true", "train.save_steps=1"),
        "user_dir=killed",
    )
    process.communicate(timeout=600)
    assert process.returncode == -signal.SIGKILL and past(place, 3)()
    after = everything(Path("run"))
    assert {k: v for k, v in after.items() if ".mt_lottery.new" not in k} == before
    refused = commands.train(*arguments, "out_dir=run").mistake()
    assert "run holds a finished run of another configuration" in refused
    assert "left alone" in commands.train(*small(models.untied, "random", "out_dir=run")).err
    ended = commands.train(*arguments, "out_dir=run", again)
    assert ended.code == 0 and "it goes on" in ended.err, ended.err
    assert commands.train(*arguments, "out_dir=whole").code == 0
    for name in ("model/model.safetensors", "hypotheses.jsonl"):
        assert Path("run", name).read_bytes() == Path("whole", name).read_bytes()
    assert contents(Path("run")) == contents(Path("whole"))
    assert "left alone" in commands.train(*arguments, "out_dir=run").err


@pytest.mark.parametrize(
    ("recipe", "wrong", "part"),
    [
        ("ks_lottery", "tuner.tickets=1000000", "1,000,000"),
        ("ks_lottery", "tuner.scope=tied", "tied"),
        ("random", "tuner.tickets=601", "601"),
        ("lora", "tuner.target_modules=[q_prj]", "q_proj"),
        ("lora", "tuner.r=5000", "5000"),
        ("layer", "tuner.module=layers.9", "layers.9"),
    ],
)
def test_a_model_that_the_settings_do_not_fit_costs_nothing(
    recipe: str, wrong: str, part: str, commands: Commands, models: Models
) -> None:
    """Said before the original model is scored and before a probe is trained."""
    ended = commands.train(*small(models.untied, recipe, wrong))
    assert part in ended.mistake()
    assert "Original model" not in ended.err and "probe" not in ended.err.lower()
    assert not Path("runs/en-es/none").exists() and not (commands.cache / "probes").exists()
