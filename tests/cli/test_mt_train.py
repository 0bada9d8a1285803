"""``mt-train``: every recipe runs, and what it leaves behind is what the contract says."""

from __future__ import annotations

import csv
import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import DIMENSION, VOCABULARY, Commands, Models, contents, hypotheses, record, small

pytestmark = pytest.mark.slow

# those of tuner=peft run in test_mt_train_peft.py
FOLDER = Path(__file__).parents[2] / "recipes" / "recipe"
RECIPES = sorted(p.stem for p in FOLDER.glob("*.yaml") if "name: peft" not in p.read_text("utf-8"))
PROMPT = 19  # different tokens of the prompt, bos among them
ALWAYS = {
    *("config.yaml", "record.json", "hypotheses.jsonl", "sentence_scores.jsonl"),
    "train_log.jsonl",
}
ADAPTER = {f"adapter/{n}" for n in ("adapter_config.json", "adapter_model.safetensors")}
TRAINED = {
    "none": 0,
    "embed": VOCABULARY * DIMENSION,
    "ks_transfer": 0,
    "ks_lottery": 18 * DIMENSION,
    "random": 18 * DIMENSION,
    "random_seen": 18 * DIMENSION,
    "frequency": 18 * DIMENSION,
    "frequency_matched": 18 * DIMENSION,
    "grad_lottery": 18 * DIMENSION,
    "ks_freeze": (VOCABULARY - 18) * DIMENSION,
    "lora": 2 * 8 * (DIMENSION + 32 + DIMENSION + 16),  # two layers; q to 32, v to 16
    "qlora": 2 * 32 * (DIMENSION + 32 + DIMENSION + 16),
    "prefix": 10 * 2 * 2 * 16,  # positions, layers, key and value, one head of 16
    "prompt": 10 * DIMENSION,
    "eos_bias": 1,
    "few_shot": 0,
    "few_shot_bm25": 0,
    "first_line_stop": 0,
    "forced_prefix": 0,
    "one_row": DIMENSION,
    "prompt_rows": PROMPT * DIMENSION,
}
WITH_ROWS = {
    *("embed", "ks_lottery", "ks_transfer", "ks_freeze"),
    *("random", "random_seen", "frequency", "frequency_matched", "grad_lottery", "one_row"),
    "prompt_rows",
}
WITH_TICKETS = WITH_ROWS - {"embed"}
WITH_MODEL = {"full", "layer"}
WITH_CONTROL = {
    "eos_bias": {"control/eos_bias.json"},
    "few_shot": {"control/few_shot.txt", "control/few_shot.json"},
    "few_shot_bm25": {"control/few_shot_pool.json"},
    "forced_prefix": {"control/forced_prefix.json"},
}
WITH_NOTHING = {"none", "first_line_stop"}
# whose rows are chosen by what is measured first
WITH_PROBE = {"ks_lottery", "ks_transfer", "ks_freeze", "frequency_matched", "grad_lottery"}
KEYS = """
seed out_dir resume user_dir device model.name_or_path model.dtype data.path data.train_pairs
data.dev_pairs data.test_pairs data.dev data.dev_path data.test data.test_path data.template
data.train_source data.train_target data.dev_source data.dev_target data.test_source
data.test_target train.epochs train.lr train.batch_size train.max_tokens train.optimizer
train.criterion tuner.alpha tuner.tickets tuner.rows_file tuner.selector tuner.correction
tuner.scope translate.beam_size translate.max_new_tokens metrics tracker
"""
RECORD_KEYS = {
    "schema", "status", "method", "lang", "seed", "model", "trainable_parameters", "tickets",
    "data", "scores", "generation", "tuning", "cost", "environment", "config_hash",
}  # fmt: skip


def rows(run_dir: Path) -> list[dict[str, str]]:
    text = (run_dir / "tickets.csv").read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.parametrize("kind", ["untied", "tied"])
def test_every_recipe_runs(kind: str, commands: Commands, models: Models) -> None:
    folder: Path = getattr(models, kind)
    assert set(TRAINED) | WITH_MODEL == set(RECIPES)
    for recipe in RECIPES:
        ended = commands.train(*small(folder, recipe))
        assert ended.code == 0, (recipe, ended.err)
        assert "no translations can be shown" not in ended.err, (recipe, ended.err)
        run_dir = Path("runs/en-es") / recipe / "seed-0"
        found = record(run_dir)
        _check_files(run_dir, recipe)
        _check_record(found, recipe, kind)
        _check_lines(run_dir)
        _check_cost(found, recipe)
        assert str(run_dir) in ended.out.replace("\n", "")
        assert ("Original model" in ended.out) == (recipe != "none")
    assert not list(Path("runs").rglob("checkpoint*"))


def _check_files(run_dir: Path, recipe: str) -> None:
    left = contents(run_dir)
    expected = set(ALWAYS)
    if recipe in WITH_MODEL:
        assert "model/model.safetensors" in left and "model/config.json" in left
        assert "model/tokenizer.json" in left
        left = {name for name in left if not name.startswith("model/")}
    elif recipe in WITH_CONTROL:
        expected |= WITH_CONTROL[recipe]
    elif recipe not in WITH_NOTHING:
        expected |= ADAPTER | {"adapter/README.md"}
    if recipe in WITH_TICKETS:
        expected |= {"tickets.csv"}
    assert left == expected, recipe


def _check_record(found: dict[str, Any], recipe: str, kind: str) -> None:
    assert set(found) >= RECORD_KEYS
    assert (found["schema"], found["status"], found["method"]) == (1, "done", recipe)
    assert (found["lang"], found["seed"], found["tuning"]) == ("en-es", 0, None)
    model = found["model"]
    assert model["name"] == ("tiny-llama" if kind == "untied" else "tiny-gemma")
    assert len(model["sha256"]) == 64 and model["revision"] is None
    assert (model["vocab_size"], model["embedding_dim"]) == (VOCABULARY, DIMENSION)
    assert model["tied_embeddings"] == (kind == "tied")
    if recipe == "layer":  # layers.0: a share of the whole
        assert 0 < found["trainable_parameters"] < model["parameters"]
        assert found["layer"]["module"] == "model.layers.0"
    else:
        assert found["trainable_parameters"] == TRAINED.get(recipe, model["parameters"])
    assert len(found["config_hash"]) == 64
    data = found["data"]
    assert (data["test"]["name"], data["test"]["pairs"], data["template"]) == ("mini", 6, "plain")
    if recipe in WITH_NOTHING:
        assert data["train"] is None
    else:
        assert (data["train"]["name"], data["train"]["pairs"]) == ("mini", 24)
        assert data["train"]["sha256"] != data["test"]["sha256"]
        assert len(data["train"]["sha256"]) == len(data["test"]["sha256"]) == 64
    chrf = found["scores"]["chrf"]
    for which in ("raw", "first_line"):
        low, high = chrf[which]["ci95"]
        assert 0 <= low <= high <= 100 and 0 <= chrf[which]["score"] <= 100
    assert "nrefs:1" in chrf["signature"]
    generation = found["generation"]
    for share in ("stopped", "empty", "truncated"):
        assert 0 <= generation[share] <= 1
    assert (generation["beam_size"], generation["max_new_tokens"]) == (1, 8)
    environment = found["environment"]
    for package in ("mt_lottery", "torch", "transformers", "peft", "sacrebleu"):
        assert environment[package] == version(package.replace("_", "-"))
    assert environment["device"] == "cpu" and environment["python"].startswith("3.")
    assert (found["tickets"] is not None) == (recipe in WITH_TICKETS)
    if found["tickets"] is not None:
        assert found["tickets"]["count"] == {"one_row": 1, "prompt_rows": PROMPT}.get(recipe, 18)
        assert found["tickets"]["scope"] == "input"
        tested, scored = recipe.startswith("ks_"), recipe == "grad_lottery"
        assert found["tickets"]["selector"] == (
            "ks" if tested else "gradient" if scored else recipe
        )
        assert found["tickets"]["correction"] == ("none" if tested or scored else None)
        assert (found["tickets"]["alpha"] is not None) == tested


def _check_lines(run_dir: Path) -> None:
    lines = hypotheses(run_dir)
    assert len(lines) == 6
    mini = Path(__file__).parents[2] / "mt_lottery/data/mini"
    assert [x["source"] for x in lines] == (mini / "test.en.txt").read_text().split("\n")[:6]
    assert [x["reference"] for x in lines] == (mini / "test.es.txt").read_text().split("\n")[:6]
    for line in lines:
        assert list(line) == [
            "source", "reference", "hypothesis", "first_line", "stopped", "tokens",
        ]  # fmt: skip
        assert line["first_line"] == re.split("[\r\n]", line["hypothesis"].lstrip())[0].rstrip()
        assert 0 <= line["tokens"] <= 8 and isinstance(line["stopped"], bool)
    found = record(run_dir)["generation"]["stopped"]
    assert found == pytest.approx(sum(x["stopped"] for x in lines) / 6)


def _check_cost(found: dict[str, Any], recipe: str) -> None:
    cost = found["cost"]
    assert set(cost) == {
        "probe_seconds", "train_seconds", "train_steps", "train_tokens_per_second",
        "decode_seconds", "peak_memory_bytes", "adapter_bytes",
    }  # fmt: skip
    assert (cost["probe_seconds"] > 0) == (recipe in WITH_PROBE)
    trains = recipe == "embed" or TRAINED.get(recipe, 1) > 0
    assert (cost["train_seconds"] > 0) == trains
    assert cost["train_steps"] == (6 if trains else 0)  # 24 pairs, batches of 8, 2 epochs
    assert (cost["adapter_bytes"] > 0) == (recipe not in WITH_NOTHING)
    assert cost["decode_seconds"] > 0 and cost["peak_memory_bytes"] > 1e6


def test_tickets_are_sorted_and_agree_with_the_record(commands: Commands, models: Models) -> None:
    ended = commands.train(*small(models.untied, "ks_lottery", "out_dir=run", "baseline=false"))
    assert ended.code == 0, ended.err
    table, ticket = rows(Path("run")), record(Path("run"))["tickets"]
    assert list(table[0]) == [
        "token_id", "token", "statistic", "pvalue", "selected", "train_frequency",
    ]  # fmt: skip
    ranked = [(-float(r["statistic"]), int(r["token_id"])) for r in table]
    assert ranked == sorted(ranked)
    assert [r["selected"] for r in table] == ["true"] * 18 + ["false"] * (len(table) - 18)
    assert ticket["alpha"] == float(table[17]["pvalue"])
    rest = [float(r["statistic"]) for r in table if float(r["pvalue"]) > ticket["alpha"]]
    assert ticket["tau"] == max([*rest, 0.0])
    config = json.loads(Path("run/adapter/adapter_config.json").read_text())
    assert sorted(config["token_indices"]) == sorted(int(r["token_id"]) for r in table[:18])
    assert sum(int(r["train_frequency"]) for r in table) > 100
    assert "Most changed tokens" in ended.out and table[0]["token_id"] in ended.out


def test_plain_peft_loads_the_adapter(commands: Commands, models: Models) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    import mt_lottery as mtl

    for name, folder in (("untied", models.untied), ("tied", models.tied)):
        arguments = small(folder, "ks_lottery", f"out_dir={name}", "model.dtype=float32")
        assert commands.train(*arguments, "train.lr=0.1").code == 0
        plain: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        ids = torch.tensor([[0, 41, *(int(r["token_id"]) for r in rows(Path(name))[:9]), 5, 7]])
        original = plain(ids).logits.detach().clone()
        peft = PeftModel.from_pretrained(plain, f"{name}/adapter").eval()
        model, _ = mtl.load_tuned(name)
        expected = model(ids).logits
        assert not torch.allclose(expected, original)
        assert torch.allclose(peft(ids).logits, expected, atol=1e-5)


def test_scope_tied(commands: Commands, models: Models) -> None:
    ended = commands.train(*small(models.tied, "ks_lottery", "tuner.scope=tied", "out_dir=run"))
    assert ended.code == 0, ended.err
    found = record(Path("run"))
    assert found["tickets"]["scope"] == "tied"
    assert found["trainable_parameters"] == 18 * DIMENSION
    refused = commands.train(*small(models.untied, "embed", "tuner.scope=tied", "out_dir=other"))
    assert "tuner.scope" in refused.mistake() and "input" in refused.mistake()
    assert not Path("other/record.json").exists()


def test_settings_reach_the_run(commands: Commands, models: Models) -> None:
    ended = commands.train(
        *small(models.untied, "ks_lottery", "out_dir=run", "tuner.tickets=5", "seed=3"),
        "train.epochs=3", "train.optimizer=sgd", "train.accumulate=2", "train.max_tokens=400",
        "train.criterion=label_smoothed_cross_entropy", "translate.beam_size=2",
        "data.template=alpaca", "train.gradient_checkpointing=true", "train.schedule=cosine",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    found = record(Path("run"))
    assert found["trainable_parameters"] == 5 * DIMENSION and found["tickets"]["count"] == 5
    assert found["seed"] == 3 and found["data"]["template"] == "alpaca"
    assert found["generation"]["beam_size"] == 2
    again = commands.train("config=run/config.yaml", "out_dir=again")
    assert again.code == 0, again.err
    assert record(Path("again"))["config_hash"] == found["config_hash"]
    weights = "adapter/adapter_model.safetensors"
    assert Path("run", weights).read_bytes() == Path("again", weights).read_bytes()


def test_alpha_chooses_the_rows(commands: Commands, models: Models) -> None:
    found = {}
    for alpha in (0.99, 1.0):
        out = f"a-{alpha}"
        arguments = small(models.untied, "ks_transfer", f"tuner.alpha={alpha}", f"out_dir={out}")
        ended = commands.train(*arguments, "probe.lr=0.05")
        assert ended.code == 0, ended.err
        found[alpha] = record(Path(out))["tickets"]
        assert found[alpha]["alpha"] == alpha
        selected = [r for r in rows(Path(out)) if r["selected"] == "true"]
        assert len(selected) == found[alpha]["count"]
        assert all(float(r["pvalue"]) <= alpha for r in selected)
    assert found[1.0]["count"] == VOCABULARY and found[1.0]["tau"] == 0
    assert 0 < found[0.99]["count"] < VOCABULARY


def test_rows_file_of_ids_and_of_another_run(commands: Commands, models: Models) -> None:
    Path("ids.txt").write_text("# two rows\n300\n\n41  # a comment\n")
    ended = commands.train(
        *small(models.untied, "ks_lottery", "tuner.rows_file=ids.txt", "out_dir=ids")
    )
    assert ended.code == 0, ended.err
    found = record(Path("ids"))
    assert found["tickets"]["count"] == 2 and found["tickets"]["alpha"] is None
    assert found["cost"]["probe_seconds"] == 0 and not (commands.cache / "probes").exists()
    assert commands.train(*small(models.untied, "ks_transfer", "out_dir=ticket")).code == 0
    arguments = small(models.untied, "ks_lottery", "tuner.rows_file=ticket/tickets.csv")
    assert commands.train(*arguments, "out_dir=from-csv").code == 0
    chosen = {r["token_id"] for r in rows(Path("ticket")) if r["selected"] == "true"}
    assert {r["token_id"] for r in rows(Path("from-csv"))} == chosen
    # another content under the same name is another run
    Path("ids.txt").write_text("300\n")
    refused = commands.train(
        *small(models.untied, "ks_lottery", "tuner.rows_file=ids.txt", "out_dir=ids")
    )
    assert "another configuration" in refused.mistake()


def test_as_a_program(commands: Commands, models: Models) -> None:
    arguments = [a for a in small(models.tied, "ks_lottery") if not str(a).startswith("metrics")]
    ended = commands.process("mt-train", *arguments)
    assert ended.code == 0, ended.err
    for shown in ("ks_lottery", "none (original", "576", "stopped", "first line", "KS distance",
                  "nominal p", "source", "reference", "runs/en-es/none/seed-0"):  # fmt: skip
        assert shown in ended.out, shown
    assert "▏" not in ended.err and "%|" not in ended.err  # no progress bar in a log file
    assert "Warning" not in ended.err and "Traceback" not in ended.err
    scores = record(commands.folder / "runs/en-es/ks_lottery/seed-0")["scores"]
    assert "chrf" in scores and ("spbleu" in scores or "bleu_subword" in scores)
    if "bleu_subword" in scores:
        assert "spBLEU" not in ended.out and "BLEU[gemma3 subwords]" in ended.out
    log = (commands.folder / "runs/en-es/ks_lottery/seed-0/train_log.jsonl").read_text()
    steps = [json.loads(line) for line in log.splitlines()]
    assert [s["step"] for s in steps if "loss" in s] == [1, 2, 3, 4, 5, 6]
    assert all({"lr", "tokens_per_second"} <= set(s) for s in steps if "loss" in s)
    assert [s["step"] for s in steps if "dev_loss" in s] == [3, 6]


def test_help_and_version(commands: Commands) -> None:
    for option in ("--help", "-h"):
        ended = commands.train(option, "all")
        assert ended.code == 0 and ended.err == ""
    for key in KEYS.split():
        assert f"\n  {key} [" in ended.out, key
    for shown in (*RECIPES, "examples:", "mt-train recipe=ks_lottery lang=en-ro", "exit status"):
        assert shown in ended.out
    assert commands.train("--version").out == f"mt-lottery {version('mt-lottery')}\n"
    nothing = commands.train()
    assert nothing.code == 2 and "usage: mt-train" in nothing.out + nothing.err
