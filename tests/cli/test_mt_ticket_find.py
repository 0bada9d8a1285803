"""``mt-ticket find``: the same numbers as SciPy, in a file that a run can use."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from pairs import MOVED, changed, move_rows, numbers, tensors
from scipy.stats import ks_2samp
from tiny_runs import Commands, Models, record, small

import mt_lottery as mtl

pytestmark = pytest.mark.slow


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("shard", ["1GB", "30KB"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["untied", "tied"])
def test_every_row_equals_scipy(
    kind: str, dtype: torch.dtype, shard: str, commands: Commands, models: Models
) -> None:
    source: Path = getattr(models, kind)
    before = changed(source, Path("before"), lambda _: None, dtype=dtype, shard=shard)
    after = changed(source, Path("after"), move_rows, dtype=dtype, shard=shard)
    assert (len(list(after.glob("*.safetensors"))) > 1) is (shard == "30KB")
    ended = commands.call("ticket", "find", before, after, "--out", "found.csv")
    assert ended.code == 0, ended.err
    name = "model.embed_tokens.weight"
    one, other = tensors(before)[name], tensors(after)[name]
    assert one.dtype is dtype
    expected = {}
    for row in MOVED:
        result = ks_2samp(numbers(one[row]), numbers(other[row]))
        if result.statistic > 0:
            expected[row] = (result.statistic, result.pvalue)
    still = [i for i in range(600) if i not in MOVED]
    assert torch.equal(one[still], other[still])
    found = rows_of(Path("found.csv"))
    assert list(found[0]) == [
        "token_id", "token", "statistic", "pvalue", "selected", "train_frequency"
    ]  # fmt: skip
    assert len(expected) > 18 and {int(r["token_id"]) for r in found} == set(expected)
    for row in found:
        statistic, pvalue = expected[int(row["token_id"])]
        assert float(row["statistic"]) == pytest.approx(statistic, abs=1e-12)
        assert float(row["pvalue"]) == pytest.approx(pvalue, rel=1e-9)
        assert row["train_frequency"] == ""
    order = [(-float(r["statistic"]), int(r["token_id"])) for r in found]
    assert order == sorted(order)
    assert [r["selected"] for r in found] == ["true"] * 18 + ["false"] * (len(found) - 18)
    last = found[17]
    assert f"α = {float(last['pvalue']):.4g} (implied by their number), τ" in ended.out
    assert f"τ = {float(found[18]['statistic']):.4f} estimated" in " ".join(ended.out.split())


def test_tokens_and_ties(commands: Commands, models: Models) -> None:
    """Rows moved alike have one D: the smaller id is first; the tokens are the tokenizer's."""

    def move(model: object) -> None:
        table = model.get_input_embeddings().weight  # type: ignore[attr-defined]
        for row in (311, 20, 97):
            table[row] = -100.0

    after = changed(models.untied, Path("after"), move)
    ended = commands.call("ticket", "find", models.untied, after, "--top", 2)
    assert ended.code == 0, ended.err
    found = rows_of(Path("tickets.csv"))
    assert [(r["token_id"], float(r["statistic"]), r["selected"]) for r in found] == [
        ("20", 1.0, "true"),
        ("97", 1.0, "true"),
        ("311", 1.0, "false"),
    ]
    vocabulary = json.loads((models.untied / "tokenizer.json").read_text())["model"]["vocab"]
    assert [vocabulary[r["token"]] for r in found] == [20, 97, 311]


def test_alpha_and_corrections(commands: Commands, models: Models) -> None:
    def move(model: object) -> None:
        move_rows(model)
        model.get_input_embeddings().weight[77] += 9  # type: ignore[attr-defined]

    after = changed(models.untied, Path("after"), move)
    call = ("ticket", "find", models.untied, after, "--overwrite")
    assert commands.call(*call, "--alpha", "0.05").code == 0
    found = rows_of(Path("tickets.csv"))
    rejected = {r["token_id"] for r in found if float(r["pvalue"]) <= 0.05}
    chosen = {r["token_id"] for r in found if r["selected"] == "true"}
    assert chosen == rejected and 1 < len(chosen) < len(found)
    assert commands.call(*call, "--alpha", "0.05", "--correction", "bonferroni").code == 0
    fewer = {r["token_id"] for r in rows_of(Path("tickets.csv")) if r["selected"] == "true"}
    assert fewer == {r["token_id"] for r in found if float(r["pvalue"]) * 600 <= 0.05}
    assert 0 < len(fewer) < len(chosen)
    assert commands.call(*call, "--alpha", "1").code == 0  # every row, the unmoved ones too
    everything = rows_of(Path("tickets.csv"))
    assert len(everything) == 600 and all(r["selected"] == "true" for r in everything)
    assert [float(r["pvalue"]) for r in everything[len(found) :]] == [1.0] * (600 - len(found))
    kept = Path("tickets.csv").read_bytes()
    said = commands.call(*call, "--alpha", "1e-30").mistake()
    best = found[0]
    assert "No row of the vocabulary rejects at --alpha 1e-30" in said
    assert f"(id {best['token_id']}): D = {float(best['statistic']):.4f}" in said
    assert "--top 18" in said and Path("tickets.csv").read_bytes() == kept


@pytest.mark.parametrize("selector", ["cos", "absolute", "relative", "ratio", "kl"])
def test_other_selectors(selector: str, commands: Commands, models: Models) -> None:
    after = changed(models.tied, Path("after"), move_rows)
    ended = commands.call("ticket", "find", models.tied, after, "--selector", selector, "--top", 5)
    assert ended.code == 0, ended.err
    found = rows_of(Path("tickets.csv"))
    name = "model.embed_tokens.weight"
    tables = tensors(models.tied)[name], tensors(after)[name]
    chosen = [int(r["token_id"]) for r in found if r["selected"] == "true"]
    moved = torch.tensor(MOVED)
    expected = moved[mtl.select(selector, tables[0][moved], tables[1][moved], rows=5)]
    assert chosen == expected.tolist()
    assert all(r["pvalue"] == "" for r in found) and len(found) == len(MOVED)
    assert "nominal" not in ended.out


def test_a_signed_score_never_chooses_a_row_that_stayed(commands: Commands, models: Models) -> None:
    """All moves are downwards: 0, the score of the others, would be the largest."""

    def lower(model: object) -> None:
        model.get_input_embeddings().weight[[5, 6, 7]] -= 0.5  # type: ignore[attr-defined]

    after = changed(models.untied, Path("after"), lower)
    more = ("--selector", "absolute", "--reduction", "signed")
    ended = commands.call("ticket", "find", models.untied, after, *more, "--top", 3)
    assert ended.code == 0, ended.err
    assert {r["token_id"] for r in rows_of(Path("tickets.csv"))} == {"5", "6", "7"}
    said = commands.call("ticket", "find", models.untied, after, *more, "--overwrite").mistake()
    assert "only 3 of 600 rows differ" in said and "--top 1 to 3" in said


def test_runs(commands: Commands, models: Models) -> None:
    """A run alone: against its original model, with the file that the run itself wrote."""
    more = ("baseline=false", "train.lr=0.02", "probe.lr=0.02", "train.epochs=1", "probe.epochs=1",
            "data.test_pairs=2")  # fmt: skip
    for recipe in ("ks_lottery", "embed", "full", "frequency", "lora"):
        ended = commands.train(*small(models.tied, recipe, f"out_dir={recipe}", *more))
        assert ended.code == 0, ended.err
    own = Path("ks_lottery/tickets.csv").read_bytes()
    for recipe in ("ks_lottery", "embed"):
        ended = commands.call("ticket", "find", recipe, "--out", f"{recipe}.csv")
        assert ended.code == 0, ended.err
        assert Path(f"{recipe}.csv").read_bytes() == own
    assert sum(int(r["train_frequency"]) for r in rows_of(Path("embed.csv"))) > 100
    # the same as two sides: the folder, and the run
    assert commands.call("ticket", "find", models.tied, "embed", "--out", "two.csv").code == 0
    assert Path("two.csv").read_bytes() == own
    # full: its model/ against the original
    assert commands.call("ticket", "find", "full", "--out", "full.csv").code == 0
    assert commands.call("ticket", "find", models.tied, "full/model", "--out", "f2.csv").code == 0
    one, two = rows_of(Path("full.csv")), rows_of(Path("f2.csv"))
    assert [r["statistic"] for r in one] == [r["statistic"] for r in two] and len(one) > 18
    assert all(r["train_frequency"] == "" for r in two)
    # frequency: its tuned rows, no other
    assert commands.call("ticket", "find", "frequency", "--top", 1, "--out", "q.csv").code == 0
    tuned = {int(r["token_id"]) for r in rows_of(Path("frequency/tickets.csv"))}
    assert {int(r["token_id"]) for r in rows_of(Path("q.csv"))} <= tuned
    said = commands.call("ticket", "find", "lora", "--out", "l.csv").mistake()
    assert "recipe=lora leaves the embedding table as it is" in said
    most = ("--selector", "frequency", "--top", 4)
    assert commands.call("ticket", "find", "embed", *most, "--out", "most.csv").code == 0
    counts = [float(r["statistic"]) for r in rows_of(Path("most.csv"))]
    frequencies = sorted((int(r["train_frequency"]) for r in one), reverse=True)
    assert counts[:4] == frequencies[:4]


def test_the_file_chooses_the_rows_of_a_run(commands: Commands, models: Models) -> None:
    after = changed(models.untied, Path("after"), move_rows)
    assert commands.call("ticket", "find", models.untied, after, "--top", 7).code == 0
    more = ("tuner.rows_file=tickets.csv", "baseline=false", "train.epochs=1")
    ended = commands.train(*small(models.untied, "ks_lottery", "out_dir=run", *more))
    assert ended.code == 0, ended.err
    assert record(Path("run"))["tickets"]["count"] == 7
    chosen = [r["token_id"] for r in rows_of(Path("tickets.csv"))[:7]]
    ours = [r["token_id"] for r in rows_of(Path("run/tickets.csv")) if r["selected"] == "true"]
    assert sorted(chosen) == sorted(ours)


def test_vocabularies_of_different_size(commands: Commands, models: Models) -> None:
    def grow(model: object) -> None:
        move_rows(model)
        model.resize_token_embeddings(608, mean_resizing=False)  # type: ignore[attr-defined]

    after = changed(models.untied, Path("after"), grow)
    said = commands.call("ticket", "find", models.untied, after).mistake()
    assert "600 rows of vocabulary" in said and "608" in said and "--shared-rows" in said
    assert commands.call("ticket", "find", models.untied, after, "--shared-rows").code == 0
    same = changed(models.untied, Path("same"), move_rows)
    shared = Path("tickets.csv").read_bytes()
    assert commands.call("ticket", "find", models.untied, same, "--overwrite").code == 0
    assert Path("tickets.csv").read_bytes() == shared


def test_what_cannot_be_read(commands: Commands, models: Models) -> None:
    def mistake(*arguments: object) -> str:
        said = commands.call("ticket", "find", *arguments).mistake()
        assert not Path("tickets.csv").exists()
        return said

    assert "no such folder" in mistake(models.untied, "nowhere")
    assert "is a model folder; allowed: two of them" in mistake(models.untied)
    Path("x.gguf").write_bytes(b"GGUF")
    assert "GGUF weights are packed" in mistake("x.gguf", models.untied)
    Path("pickled").mkdir()
    shutil.copy(models.untied / "config.json", "pickled")
    Path("pickled/pytorch_model.bin").write_bytes(b"x")
    assert "pickled weights are refused" in mistake(models.untied, "pickled")
    shutil.copytree(models.untied, "cut")
    content = Path("cut/model.safetensors").read_bytes()
    Path("cut/model.safetensors").write_bytes(content[:-100])
    assert "damaged" in mistake(models.untied, "cut")
    assert "Unknown selector 'kos'. Did you mean" in mistake("a", "b", "--selector", "kos")
    assert "--reduction signed: selector 'ks' has none" in mistake(
        models.untied, models.untied, "--reduction", "signed"
    )
    assert "counts tokens in a training text" in mistake(
        models.untied, models.untied, "--selector", "frequency"
    )
    assert "only 0 of 600 rows differ" in mistake(models.untied, models.untied)
    assert "is a folder" in mistake(models.untied, models.untied, "--out", ".")

    def spoil(model: object) -> None:
        model.get_input_embeddings().weight[123, 4] = math.nan  # type: ignore[attr-defined]

    after = changed(models.untied, Path("nan"), spoil)
    assert "nan: row 123 of the embedding table holds a NaN" in mistake(models.untied, after)
    Path("mine.csv").write_text("precious")
    told = mistake(models.untied, models.untied, "--out", "mine.csv")
    assert "mine.csv exists: give another file (--out FILE), or --overwrite." in told
    assert Path("mine.csv").read_text() == "precious"


def test_rounding_is_told(commands: Commands, models: Models) -> None:
    rounded = changed(models.untied, Path("rounded"), lambda _: None, dtype=torch.bfloat16)
    ended = commands.call("ticket", "find", models.untied, rounded)
    said = f"{models.untied} is in float32, {rounded} in bfloat16: rounding alone"
    assert said in " ".join(ended.err.split())
    back = commands.call("ticket", "find", rounded, models.untied, "--overwrite")
    assert back.code == ended.code == 0 and "rounding" not in back.err


def test_two_models_that_are_not_one_are_reported(commands: Commands, models: Models) -> None:
    note = "look like two models, not like one before and after tuning: of 64 rows looked at"
    for name, other, says in (
        ("tuned", lambda m: m.get_input_embeddings().weight.add_(0.05), False),
        ("another", lambda m: m.get_input_embeddings().weight.normal_(), True),
    ):
        after = changed(models.untied, Path(name), other)
        ended = commands.call("ticket", "find", models.untied, after, "--overwrite")
        assert ended.code == 0, ended.err
        assert (note in " ".join(ended.err.split())) is says


def test_a_run_of_another_model_is_reported(commands: Commands, models: Models) -> None:
    run = small(models.untied, "ks_lottery", "baseline=false", "out_dir=run")
    assert commands.train(*run).code == 0
    other = changed(models.untied, Path("other"), lambda m: m.get_input_embeddings().weight.mul_(2))
    note = "is not the model that run was tuned from: of 64 rows looked at, 64 differ"
    ended = commands.call("ticket", "find", other, "run", "--top", 5, "--out", "a.csv")
    assert ended.code == 0 and f"{other} {note}" in " ".join(ended.err.split()), ended.err
    ended = commands.call("ticket", "find", "run", other, "--top", 5, "--out", "b.csv")
    assert ended.code == 0 and f"{other} {note}" in " ".join(ended.err.split())
    assert commands.train(*run[:-1], "out_dir=mine", f"model.name_or_path={other}").code == 0
    ended = commands.call("ticket", "find", "mine", "run", "--top", 5, "--out", "c.csv")
    says = f"Note: the original model of mine {note}"
    assert ended.code == 0 and says in " ".join(ended.err.split()), ended.err
    # the run's own model, a rounded copy of it, and an earlier state of its training are no others
    rounded = changed(models.untied, Path("rounded"), lambda _: None, dtype=torch.bfloat16)
    few = changed(models.untied, Path("few"), lambda m: m.get_input_embeddings().weight[:9].mul_(2))
    for place, own in enumerate((models.untied, rounded, few)):
        ended = commands.call("ticket", "find", own, "run", "--top", 5, "--out", f"{place}.csv")
        assert ended.code == 0 and "is not the model" not in ended.err, ended.err
