"""``--tune``: a cell with the recipe's own settings is the search's first trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Models, hypotheses, record

from mt_lottery.config.compose import compose
from mt_lottery.runs import load_tuned, run, search
from mt_lottery.runs.stages.steps import Steps

pytestmark = pytest.mark.slow

SETTINGS = (
    *(
        "lang=en-ro",
        "metrics=[chrf]",
        "translate.max_new_tokens=8",
        "train.epochs=1",
        "train.lr=0.05",
    ),
    *("data.train_pairs=16", "data.test_pairs=6", "data.dev_pairs=4", "probe.epochs=1"),
)
#: One of each way to keep what was learnt: nothing, a number, a model, an adapter, rows.
METHODS = ("few_shot", "eos_bias", "full", "lora", "ks_transfer", "ks_lottery")


def done(models: Models, method: str, out: str, *more: str, **options: Any) -> dict[str, Any]:
    model = ("model=hf", f"model.name_or_path={models.untied}", "baseline=false")
    run(compose([f"recipe={method}", *SETTINGS, *model, f"out_dir={out}", *more]), **options)
    return record(Path(out))


def numbers(found: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on how the first trial was had."""
    kept = ("scores", "generation", "data", "tickets", "trainable_parameters", "config_hash")
    tuning = {k: v for k, v in found["tuning"].items() if k != "seconds"}
    return {k: found[k] for k in kept} | {"tuning": tuning}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("commands")
def test_the_same_with_and_without(
    models: Models, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(models, method, "alone")
    fresh = done(models, method, "fresh", "tune=1")

    def refuse(*_: object) -> None:
        raise AssertionError("it was trained again")

    monkeypatch.setattr(Steps, "run", refuse)
    said: list[str] = []
    reused = done(models, method, "reused", "tune=1", unsearched=Path("alone"), echo=said.append)
    assert numbers(reused) == numbers(fresh)
    assert hypotheses(Path("reused")) == hypotheses(Path("fresh")) == hypotheses(Path("alone"))
    assert reused["cost"]["train_seconds"] == record(Path("alone"))["cost"]["train_seconds"]
    assert any("alone is this very training" in line for line in said)
    assert {p.name for p in Path("reused").iterdir()} >= {p.name for p in Path("alone").iterdir()}
    load_tuned("reused", "cpu")


@pytest.mark.usefixtures("commands")
def test_other_settings_may_still_win(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    done(models, "lora", "alone")
    real, trained = Steps._train, []

    def counted(steps: Steps, *rest: Any) -> Any:
        trained.append(steps.plan.config.train.lr)
        return real(steps, *rest)

    monkeypatch.setattr(Steps, "_train", counted)
    score = search.trial_of

    def worse(*arguments: Any) -> Any:
        found = score(*arguments)
        found.scores["chrf"]["raw"]["score"] = -1.0
        return found

    monkeypatch.setattr(search, "trial_of", worse)
    found = done(models, "lora", "reused", "tune=2", unsearched=Path("alone"))
    assert len(trained) == 1 and found["tuning"]["tried"][0]["score"] == -1.0
    assert found["tuning"]["chosen"] == found["tuning"]["tried"][1]["settings"]
    assert hypotheses(Path("reused")) != hypotheses(Path("alone"))


@pytest.mark.usefixtures("commands")
@pytest.mark.parametrize("why", ["missing", "unfinished", "other settings", "damaged"])
def test_only_the_very_run_serves(models: Models, why: str) -> None:
    if why != "missing":
        done(models, "eos_bias", "alone", *(["seed=1"] if why == "other settings" else []))
    path = Path("alone/record.json")
    if why == "unfinished":
        path.unlink()
    if why == "damaged":
        path.write_text(path.read_text()[:50])
    said: list[str] = []
    options = {"unsearched": Path("alone"), "echo": said.append}
    found = done(models, "eos_bias", "searched", "tune=1", **options)
    assert found["status"] == "done"
    assert not any("alone" in line for line in said)
