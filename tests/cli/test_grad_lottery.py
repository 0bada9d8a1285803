"""``recipe=grad_lottery`` and ``--selector gradient``: rows by gradient, without a probe."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import Commands, Models, model, record, small
from torch import Tensor

import mt_lottery as mtl
from mt_lottery.config import TrainConfig
from mt_lottery.registry import CRITERIA
from mt_lottery.runs.context import make_context
from mt_lottery.training.cross_entropy import summed_cross_entropy

pytestmark = pytest.mark.slow

FEW = ("tuner.selector_pairs=6", "baseline=false")


def rows_of(path: str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def chosen(path: str) -> list[int]:
    return [int(row["token_id"]) for row in rows_of(path) if row["selected"] == "true"]


def test_the_ticket_is_the_rows_of_largest_gradient(commands: Commands, models: Models) -> None:
    ended = commands.train(*small(models.untied, "grad_lottery", *FEW, "out_dir=run"))
    assert ended.code == 0, ended.err
    assert "Measuring the gradients of 6 training pairs" in ended.err
    assert "Tokens of largest score" in ended.out and "Most changed" not in ended.out
    assert "Gradients " in ended.out and "Probe" not in ended.out
    assert "Embedding-tuned probe" not in ended.err and not (commands.cache / "probes").exists()
    run = mtl.Run("run")
    table = run.original.model.get_input_embeddings().weight
    examples = make_context(run.plan, run.original, lambda _: None)[1].examples  # type: ignore[union-attr]
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))[:6].tolist()
    expected = torch.zeros(len(table), dtype=torch.float64)
    for example in (examples[i] for i in order):
        table.requires_grad_(True)
        ids = torch.tensor([example.prompt_ids + example.target_ids])
        labels = torch.where(torch.arange(ids.shape[1]) < len(example.prompt_ids), -100, ids)
        loss = run.original.model(input_ids=ids, labels=labels).loss
        expected += torch.autograd.grad(loss, [table])[0].double().norm(dim=1)
    lines = rows_of("run/tickets.csv")
    found = torch.tensor([float(line["statistic"]) for line in lines], dtype=torch.float64)
    ids = torch.tensor([int(line["token_id"]) for line in lines])
    assert torch.allclose(found, expected[ids], rtol=1e-4)
    assert set(ids.tolist()) == set((expected > 0).nonzero().squeeze(1).tolist())
    assert bool((found[:-1] >= found[1:]).all()) and {line["pvalue"] for line in lines} == {""}
    assert [line["selected"] for line in lines] == ["true"] * 18 + ["false"] * (len(lines) - 18)
    assert not run.tuner.has_probe and run.tuner.tunes_chosen and run.tuner.chooses_rows
    wrote = record(Path("run"))
    assert wrote["gradient"].keys() == {"pairs", "rows", "seconds"}
    assert (wrote["gradient"]["pairs"], wrote["gradient"]["rows"]) == (6, len(lines))
    assert wrote["cost"]["probe_seconds"] == wrote["gradient"]["seconds"] > 0
    assert wrote["tickets"] == {
        "count": 18, "alpha": None, "correction": "none", "tau": None,
        "selector": "gradient", "scope": "input",
    }  # fmt: skip


def test_it_is_found_again_and_a_damaged_one_measured_again(
    commands: Commands, models: Models
) -> None:
    arguments = small(models.tied, "grad_lottery", *FEW)
    assert commands.train(*arguments, "out_dir=first").code == 0
    ended = commands.train(*arguments, "out_dir=five", "tuner.tickets=5")
    assert "Gradients of 6 training pairs: found" in ended.err
    assert chosen("five/tickets.csv") == chosen("first/tickets.csv")[:5]
    seconds = [record(Path(d))["cost"]["probe_seconds"] for d in ("first", "five")]
    assert seconds[0] == seconds[1]  # it is charged to each
    (file,) = (commands.cache / "gradients").glob("*/gradients.json")
    whole = file.read_text()
    for damaged in (whole[:-9], "[]", json.dumps({**json.loads(whole), "norms": [-1.0]})):
        file.write_text(damaged)
        shutil.rmtree("again", ignore_errors=True)
        ended = commands.train(*arguments, "out_dir=again")
        assert ended.code == 0 and "damaged" in ended.err, ended.err
        assert Path("again/tickets.csv").read_bytes() == Path("first/tickets.csv").read_bytes()
    norms = [json.loads(text)["norms"] for text in (whole, file.read_text())]
    assert norms[0] == norms[1]
    for more in ("seed=1", "tuner.selector_pairs=7", "tuner.scope=tied"):
        assert commands.train(*arguments, "out_dir=other", "overwrite=true", more).code == 0
        assert rows_of("other/tickets.csv") != rows_of("first/tickets.csv"), more
    assert len(rows_of("other/tickets.csv")) == 600  # the softmax pulls at every row


def test_a_resumed_run_is_the_same(commands: Commands, models: Models) -> None:
    left = [10**9]

    def breaks_once(logits: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
        left[0] -= 1
        if left[0] == 0:
            raise RuntimeError("the power went")
        return summed_cross_entropy(logits, labels)

    CRITERIA.register("breaks_once")(breaks_once)
    arguments = small(models.untied, "grad_lottery", *FEW, "train.criterion=breaks_once")
    try:
        assert commands.train(*arguments, "out_dir=whole").code == 0
        shutil.rmtree(commands.cache / "gradients")
        left[0] = 6 + 4  # pairs, then steps
        assert commands.train(*arguments, "out_dir=run", "train.save_steps=1").code == 2
        assert list(Path("run/checkpoints").iterdir())
        ended = commands.train(*arguments, "out_dir=run", "resume=true")
        assert ended.code == 0 and "found" in ended.err, ended.err
    finally:
        CRITERIA._forget("breaks_once")
    for name in ("adapter/adapter_model.safetensors", "tickets.csv", "hypotheses.jsonl"):
        assert Path("run", name).read_bytes() == Path("whole", name).read_bytes(), name


def test_find_gives_the_same_ticket_for_any_run(commands: Commands, models: Models) -> None:
    for recipe in ("grad_lottery", "frequency", "lora", "forced_prefix", "none"):
        settings = FEW if recipe == "grad_lottery" else FEW[1:]
        assert commands.train(*small(models.tied, recipe, *settings, f"out_dir={recipe}")).code == 0
    tickets = {}
    for run in ("grad_lottery", "frequency", "lora", "forced_prefix"):
        more = [] if run == "grad_lottery" else ["--pairs", 6]
        ended = commands.call(
            *("ticket", "find", run, "--selector", "gradient", *more, "--out", f"{run}.csv")
        )
        assert ended.code == 0, ended.err
        assert "selector gradient." in ended.out and "α" not in ended.out
        tickets[run] = Path(f"{run}.csv").read_bytes()
    assert len(set(tickets.values())) == 1
    assert tickets["grad_lottery"] == Path("grad_lottery/tickets.csv").read_bytes()
    found = mtl.find_ticket("frequency", rows=18, selector="gradient", pairs=6)
    assert list(found) == chosen("grad_lottery/tickets.csv")
    assert found.selector == "gradient" and found.pvalue is None
    by_text = commands.call("ticket", "find", "lora", "--selector", "frequency", "--out", "f.csv")
    assert by_text.code == 0 and len(chosen("f.csv")) == 18, by_text.err

    def refused(*arguments: Any) -> str:
        return commands.call("ticket", "find", *arguments).mistake()

    no_rows, no_text = refused("lora"), refused("none", "--selector", "gradient")
    assert "leaves the embedding table as it is" in no_rows and "no training pairs" in no_text

    two = refused(models.tied, models.untied, "--selector", "gradient")
    assert "--selector gradient reads pairs of a training text" in two and "run directory" in two
    assert "--pairs 3" in refused("frequency", "--pairs", 3) and "gradient" in refused(
        "frequency", "--pairs", 3
    )
    many = refused("frequency", "--selector", "gradient", "--pairs", 1, "--top", 599)
    assert "--top 599" in many and "can be chosen by selector 'gradient'" in many
    assert "has no p-values" in refused("frequency", "--selector", "gradient", "--alpha", 0.1)


def test_what_cannot_be_is_said(commands: Commands, models: Models) -> None:
    def refused(*more: str, recipe: str = "grad_lottery") -> str:
        return commands.train(*small(models.untied, recipe, *FEW[1:], *more)).mistake()

    few = refused("tuner.selector_pairs=1", "tuner.tickets=300")
    assert "`tuner.tickets` is 300" in few and "tuner.selector_pairs=1 reach only" in few
    assert "no p-values" in refused("tuner.alpha=0.1")
    assert "tuner.selector_pairs" in refused("tuner.selector_pairs=0")
    ended = commands.train(*small(models.untied, "ks_lottery", *FEW, "tuner.tickets=2"))
    assert ended.code == 0
    assert "tuner.selector_pairs has no effect: tuner.selector=ks needs no gradients" in ended.err


def test_other_tuners_and_analyses_take_it(commands: Commands, models: Models) -> None:
    by_gradient = ("tuner.selector=gradient", *FEW)
    for recipe in ("ks_lottery", "ks_transfer", "ks_freeze"):
        arguments = small(models.untied, recipe, *by_gradient, f"out_dir={recipe}")
        assert commands.train(*arguments).code == 0, recipe
    assert commands.train(*small(models.untied, "grad_lottery", *FEW, "out_dir=own")).code == 0
    tickets = {d: chosen(f"{d}/tickets.csv") for d in ("ks_lottery", "ks_transfer", "own")}
    assert tickets["ks_lottery"] == tickets["ks_transfer"] == tickets["own"]
    weights = "adapter/adapter_model.safetensors"
    assert Path("own", weights).read_bytes() == Path("ks_lottery", weights).read_bytes()
    ended = commands.call("ticket", "compare", "own", "ks_lottery", "--out", "compared")
    assert ended.code == 0, ended.err
    no_probe = commands.call("ticket", "show", "own").mistake()
    assert "no embedding-tuned probe" in no_probe
    ended = commands.call(
        *("ticket", "sweep", "lang=en-es", *model(models.untied), "data=mini"),
        *("--recipes", "grad_lottery,ks_lottery", "--selectors", "ks,gradient"),
        *("--sizes", "5", "--dry-run", "--out", "swept"),
    )
    assert ended.code == 0, ended.err
    said = " ".join(ended.out.split())
    for series in ("grad_lottery (gradient)", "ks_lottery (ks)", "ks_lottery (gradient)"):
        assert f"{series}: 5 rows" in said, said
    assert "grad_lottery (ks)" not in said
