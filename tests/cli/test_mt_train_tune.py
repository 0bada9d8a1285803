"""``tune=N``: the same budget of trials on the dev set for every method, and what is recorded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny_runs import Commands, Models, contents, hypotheses, record, small

import mt_lottery as mtl
from mt_lottery.config.compose import compose
from mt_lottery.errors import ConfigError
from mt_lottery.registry import TUNERS
from mt_lottery.runs.planning.chosen import with_settings
from mt_lottery.runs.search import candidates

pytestmark = pytest.mark.slow

SPACE = {"train.lr": [0.1, 0.2], "tuner.tickets": [18, 100], "train.epochs": [2, 4]}


def test_candidates() -> None:
    config = compose(["recipe=ks_lottery", "lang=en-ro", "tuner.tickets=7"])
    made = candidates(config, SPACE, 5)
    assert made[0] == {"train.lr": 0.01, "tuner.tickets": 7, "train.epochs": 2}  # as it stands
    assert len(made) == 5 and len({json.dumps(m, sort_keys=True) for m in made}) == 5
    assert all(m[k] in SPACE[k] for m in made[1:] for k in SPACE)
    assert made == candidates(config, SPACE, 5) and made[:3] == candidates(config, SPACE, 3)
    assert len(candidates(config, SPACE, 99)) == 9
    twice = {**SPACE, "train.lr": [0.1, 0.2, 0.1]}
    assert len(candidates(config, twice, 99)) == 9
    other = compose(["recipe=ks_lottery", "lang=en-ro", "tuner.tickets=7", "seed=1"])
    assert candidates(other, SPACE, 5) != made


def test_settings_are_checked() -> None:
    config = compose(["recipe=lora", "lang=en-ro"])
    changed = with_settings(config, {"tuner.r": 4, "train.lr": 0.5})
    assert (changed.tuner.r, changed.train.lr) == (4, 0.5)
    assert (config.tuner.r, config.train.lr) == (8, 1e-3)
    with pytest.raises(ConfigError, match=r"recipe=lora has no key 'tuner.rank'"):
        with_settings(config, {"tuner.rank": 4})
    with pytest.raises(ConfigError, match=r"`train.lr` must be > 0"):
        with_settings(config, {"train.lr": -1.0})


@pytest.mark.parametrize("recipe", sorted(TUNERS._builtins))
def test_every_search_space_is_valid(recipe: str) -> None:
    config = compose([f"recipe={recipe}", "lang=en-ro"])
    space = TUNERS.get(recipe)(config.tuner).search_space
    assert bool(space) == (recipe not in ("none", "first_line_stop", "forced_prefix"))
    for key, values in space.items():
        assert len(set(values)) == len(values) > 1
        for value in values:
            with_settings(config, {key: value})
    given = [k for k in space if k == "tuner.tickets"]
    if given and recipe.startswith("ks_"):
        alpha = compose([f"recipe={recipe}", "lang=en-ro", "tuner.alpha=0.5"])
        assert "tuner.tickets" not in TUNERS.get(recipe)(alpha.tuner).search_space


def test_trials_are_scored_on_dev_and_the_best_is_run(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mt_lottery.runs.stages.steps import Steps

    real, trained = Steps._train, []

    def counted(steps: Steps, *rest: object) -> object:
        trained.append(steps)
        return real(steps, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Steps, "_train", counted)
    run = small(models.untied, "lora", "out_dir=run", "tune=3", "baseline=false")
    ended = commands.train(*run)
    assert ended.code == 0, ended.err
    assert len(trained) == 3  # the best trial's parameters serve again
    found = record(Path("run"))
    tuning = found["tuning"]
    assert tuning["trials"] == 3 and tuning["metric"] == "chrf raw, dev"
    own = {"train.lr": 1e-3, "train.epochs": 2, "tuner.r": 8}
    assert tuning["tried"][0]["settings"] == own
    best = max(tuning["tried"], key=lambda t: t["score"])
    assert tuning["chosen"] == best["settings"]
    won = ", ".join(f"{key}={value}" for key, value in best["settings"].items())
    assert f"Best: chrf {best['score']:.4g} on dev, with {won}." in ended.err
    assert (
        tuning["dev"]["pairs"] == 4 and tuning["dev"]["sha256"] != found["data"]["test"]["sha256"]
    )
    mini = Path(__file__).parents[2] / "mt_lottery/data/mini"
    for number in range(3):
        trial = Path("run/trials") / str(number)
        assert contents(trial) == {
            "config.yaml", "record.json", "hypotheses.jsonl", "sentence_scores.jsonl",
            "train_log.jsonl",
        }  # fmt: skip
        assert not (trial / ".run.json").exists()  # it is finished
        dev = (mini / "dev.en.txt").read_text().split("\n")[:4]
        assert [x["source"] for x in hypotheses(trial)] == dev
        assert record(trial)["scores"]["chrf"]["raw"]["score"] == tuning["tried"][number]["score"]
    assert len(hypotheses(Path("run"))) == 6
    assert "Trial 2 of 3 (trials/1): train.lr=" in ended.err
    for words in (("translate", "--run"), ("ticket", "show"), ("ticket", "find")):
        told = commands.call(*words, "run/trials/0").mistake()
        assert told.startswith("run/trials/0 is a trial of the run "), told

    # a run whose record was lost
    shutil.copytree("run", "lost")
    Path("lost/record.json").unlink()
    for more in ([], ["overwrite=true"]):
        lost = small(models.untied, "lora", "out_dir=lost", "tune=3", "baseline=false", *more)
        told = commands.train(*lost).mistake()
        assert "out_dir=lost has no record.json and holds config.yaml, " in told, told
        assert "(config=lost/config.yaml with another out_dir= does it again)" in told
    made = commands.train("config=lost/config.yaml", "out_dir=anew")
    assert made.code == 0 and hypotheses(Path("anew")) == hypotheses(Path("run"))

    # the same as a run with the chosen settings
    chosen = [f"{key}={value}" for key, value in tuning["chosen"].items()]
    again = commands.train(
        *small(models.untied, "lora", "out_dir=alone", "baseline=false", *chosen)
    )
    assert again.code == 0, again.err
    assert hypotheses(Path("alone")) == hypotheses(Path("run"))
    rank = json.loads(Path("run/adapter/adapter_config.json").read_text())["r"]
    assert rank == tuning["chosen"]["tuner.r"]
    assert found["trainable_parameters"] == record(Path("alone"))["trainable_parameters"]

    # done is done; and it translates with the chosen settings
    assert "finished" in commands.train(*run).err
    sources = "".join(x["source"] + "\n" for x in hypotheses(Path("run"))).encode()
    said = commands.process("mt-translate", "--run", "run", stdin=sources)
    assert said.code == 0, said.err
    assert said.out.split("\n")[:-1] == [x["first_line"] for x in hypotheses(Path("run"))]


def test_finished_trials_are_kept(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mt_lottery.runs import execution

    run = small(models.untied, "eos_bias", "out_dir=run", "tune=2", "baseline=false")
    real, calls = execution._execute, []

    def dies(plan: object, loaded: object, folder: Path, *rest: object, **more: object) -> object:
        calls.append(folder.name)
        if folder.name == "1" and len(calls) == 2:
            raise KeyboardInterrupt
        return real(plan, loaded, folder, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(execution, "_execute", dies)
    assert commands.train(*run).code == 130
    assert commands.train(*run, "resume=true").code == 0
    assert calls == ["0", "1", "1", "run"]
    assert record(Path("run"))["tuning"]["trials"] == 2


def test_a_trial_that_fails_has_lost(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mt_lottery.tuners.adapters.lora import LoraTuner

    monkeypatch.setattr(LoraTuner, "search_space", {"tuner.target_modules": [["nothing"]]})
    ended = commands.train(*small(models.untied, "lora", "out_dir=run", "tune=2", "baseline=false"))
    assert ended.code == 0, ended.err
    first, second = record(Path("run"))["tuning"]["tried"]
    assert first["score"] >= 0 and "no linear layers named 'nothing'" in second["failed"]

    ended = commands.train(
        *small(models.untied, "lora", "out_dir=all", "tune=2", "baseline=false"),
        "train.lr=1e38",
    )
    said = ended.mistake()
    assert "Every trial failed" in said and "lower train.lr" in said and "'nothing'" in said, said
    assert not Path("all/record.json").exists()


def test_a_setting_that_is_a_list_is_chosen_recorded_and_opened(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mt_lottery.tuners.adapters.lora import LoraTuner

    monkeypatch.setattr(LoraTuner, "search_space", {"tuner.target_modules": [["q_proj"]]})
    ended = commands.train(
        *small(models.untied, "lora", "out_dir=run", "tune=2", "baseline=false"),
        "tuner.target_modules=[k_proj,v_proj]",
    )
    assert ended.code == 0, ended.err
    run = mtl.Run("run")
    assert run.record.tuning is not None
    chosen = run.record.tuning["chosen"]["tuner.target_modules"]
    assert chosen in (["q_proj"], ["k_proj", "v_proj"])
    config = json.loads(Path("run/adapter/adapter_config.json").read_text())
    assert sorted(config["target_modules"]) == chosen
    source = run.hypotheses[0]["source"]
    assert run.translate([source]) == [run.hypotheses[0]["first_line"]]


def test_none_has_nothing_to_tune(commands: Commands, models: Models) -> None:
    assert commands.train(*small(models.untied, "none", "out_dir=run", "tune=2")).code == 0
    assert record(Path("run"))["tuning"] is None
