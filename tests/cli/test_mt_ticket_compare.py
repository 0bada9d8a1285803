"""``mt-ticket compare``: every number again from the run directories, by SciPy and plain sets."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tiny_runs import Commands, Models, contents, record, small

pytestmark = pytest.mark.slow

TUNED = ("train.lr=0.05", "probe.lr=0.05", "baseline=false", "data.test_pairs=2")


def trained(commands: Commands, folder: Path, recipe: str, out: str, *more: str) -> None:
    settings = [a for a in small(folder, recipe, *TUNED) if not str(a).startswith("lang=")]
    lang = [] if any(a.startswith("lang=") for a in more) else ["lang=en-es"]
    ended = commands.train(*settings, f"out_dir={out}", *lang, *more)
    assert ended.code == 0, ended.err


def tickets(run: str) -> list[dict[str, str]]:
    with open(f"{run}/tickets.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def chosen(run: str) -> set[int]:
    return {int(x["token_id"]) for x in tickets(run) if x["selected"] == "true"}


def column(run: str, name: str, size: int, start: float) -> np.ndarray[Any, Any]:
    found = np.full(size, start)
    for line in tickets(run):
        found[int(line["token_id"])] = float(line[name])
    return found


def rows(run: str) -> dict[int, np.ndarray[Any, Any]]:
    """Tuned or copied rows, straight from the adapter's file."""
    from safetensors.numpy import load_file

    config = json.loads(Path(run, "adapter", "adapter_config.json").read_text())
    tensors = load_file(Path(run, "adapter", "adapter_model.safetensors"))
    (values,) = (v for k, v in tensors.items() if "embed_tokens" in k and "token" in k)
    ids = config.get("token_indices") or config["trainable_token_indices"]["embed_tokens"]
    return dict(zip(ids, values, strict=True))


def result(out: str = "compare") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(out, "compare.json").read_text("utf-8"))
    return found


def lines(out: str, name: str) -> list[dict[str, str]]:
    with open(f"{out}/{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_overlap_and_stability_across_languages(commands: Commands, models: Models) -> None:
    runs = {"es": "en-es", "ro": "en-ro", "no": "en-no"}
    for out, lang in runs.items():
        trained(commands, models.tied, "ks_transfer", out, f"lang={lang}", "tuner.tickets=12")
    # one language that mt-ticket must not need a model for
    ended = commands.call("ticket", "compare", *runs, "--out", "found", "--at", "3,12,9999")
    assert ended.code == 0, ended.err
    found = result("found")
    held = {out: chosen(out) for out in runs}
    for token in found["overlap"]["tokens"]:
        wanted = [lang for out, lang in runs.items() if token["token_id"] in held[out]]
        assert token["runs"] == wanted and token["count"] == len(wanted)
        assert token["group"] == {3: "all", 2: "most", 1: "one"}[len(wanted)]
    assert {t["token_id"] for t in found["overlap"]["tokens"]} == set().union(*held.values())
    assert found["overlap"]["groups"]["all"] == len(set.intersection(*held.values()))
    sizes = found["overlap"]["groups"]
    title = f"{sizes['all']} in all, {sizes['most']} in most, {sizes['one']} in one"
    assert f"Tokens of 3 tickets: {title}" in ended.out

    d = {out: column(out, "statistic", 600, 0.0) for out in runs}
    names = {lang: out for out, lang in runs.items()}
    assert len(found["pairs"]) == 3
    for pair in found["pairs"]:
        one, other = names[pair["first"]], names[pair["second"]]
        common = len(held[one] & held[other])
        assert pair["differ"] == ["language"] and pair["common"] == common
        assert pair["jaccard"] == common / len(held[one] | held[other])
        assert pair["overlap"] == common / 12
        either = (d[one] > 0) | (d[other] > 0)
        both = (d[one] > 0) & (d[other] > 0)
        for meant, rho, number in (
            (either, "spearman", "rows"), (both, "spearman_both", "rows_both"),
        ):  # fmt: skip
            assert pair[number] == meant.sum()
            wanted = stats.spearmanr(d[one][meant], d[other][meant]).statistic
            assert pair[rho] == pytest.approx(wanted, abs=1e-12)
        top = [np.lexsort((np.arange(600), -x))[:3] for x in (d[one], d[other])]
        assert pair["at"] == {
            "3": len(set(top[0]) & set(top[1])) / 3, "12": common / 12, "9999": None,
        }  # fmt: skip
    table = lines("found", "tokens")
    assert [x["en-ro"] == "True" for x in table] == [
        int(x["token_id"]) in held["ro"] for x in table
    ]
    assert contents(Path("found")) == {
        "compare.json", "tokens.csv", "pairs.csv", "overlap.png", "overlap.svg", "stability.png",
        "stability.svg",
    }  # fmt: skip

    # a larger ticket from the same files
    again = commands.call("ticket", "compare", *runs, "--out", "top", "--top", "40", "--no-plot")
    assert again.code == 0, again.err
    assert [run["rows"] for run in result("top")["runs"]] == [40, 40, 40]
    assert not list(Path("top").glob("*.png"))
    for top, code in (("40", 0), ("40", 0), ("41", 2)):  # in its own folder: again, but not others
        ended = commands.call("ticket", "compare", *runs, "--top", top, "--no-plot")
        assert ended.code == code, ended.err
    assert "compare.json is the result of another question (top: 40, now 41)" in ended.mistake()
    said = commands.call("ticket", "compare", *runs, "--top", "601", "--overwrite").mistake()
    assert said.startswith("--top 601: es: 601 rows were asked for, but")

    # no model, no text: only record.json and tickets.csv are read
    for out in runs:
        Path("bare", out).mkdir(parents=True)
        for name in ("record.json", "tickets.csv"):
            shutil.copy(Path(out, name), Path("bare", out, name))
    bare = [f"bare/{out}" for out in runs]
    assert commands.call("ticket", "compare", *bare, "--out", "b", "--at", "3,12,9999").code == 0
    assert result("b")["pairs"] == found["pairs"]


def test_unchanged_rows_from_both_adapters_and_from_the_probe(
    commands: Commands, models: Models
) -> None:
    trained(commands, models.untied, "ks_lottery", "tuned", "tuner.tickets=20")
    trained(commands, models.untied, "ks_transfer", "copied", "tuner.tickets=20")
    ended = commands.call("ticket", "compare", "tuned", "copied", "--alphas", "0.2,0.9,0.999,1")
    assert ended.code == 0, ended.err
    (found,) = result()["unchanged"]
    tuned, copied = rows("tuned"), rows("copied")
    p = column("tuned", "pvalue", 600, 1.0)
    assert found["own_alpha"] == record(Path("tuned"))["tickets"]["alpha"]
    compared = []
    for level, alpha in zip(found["levels"], (0.2, 0.9, 0.999, 1.0), strict=True):
        inside = [i for i in tuned if p[i] <= alpha]
        tests = [stats.ks_2samp(tuned[i], copied[i]) for i in inside]
        assert (level["alpha"], level["compared"]) == (alpha, len(inside))
        assert level["ticket"] == (p <= alpha).sum()
        assert level["unchanged"] == sum(t.pvalue > alpha for t in tests)
        compared.append(len(inside))
    assert compared[-1] == 20 and compared[0] < compared[-1]
    assert found["levels"][-1]["share"] == 0.0
    assert [float(x["alpha"]) for x in lines("compare", "unchanged")] == [0.2, 0.9, 0.999, 1.0]
    assert Path("compare/unchanged.png").is_file()

    # the run alone, against its probe
    alone = commands.call(
        "ticket", "compare", "tuned", "--alphas", "0.2,0.9,0.999,1", "--out", "alone"
    )
    assert alone.code == 0, alone.err
    (probe,) = result("alone")["unchanged"]
    assert probe["levels"] == found["levels"] and probe["transfer"] == "its probe"
    assert "Embedding-tuned probe: found" in alone.err

    # without --alphas: only where the transfer run is there
    trained(commands, models.untied, "ks_transfer", "other", "tuner.tickets=20", "seed=3")
    assert commands.call("ticket", "compare", "tuned", "other", "--out", "n", "--no-plot").code == 0
    assert result("n")["unchanged"] == []  # another probe's rows are no partner
    ended = commands.call("ticket", "compare", "copied", "other", "--alphas", "0.5", "--out", "o")
    said = ended.mistake()
    assert "give a run whose rows were chosen by KS distance and tuned" in said
    assert "ks_lottery" in said and "ks_freeze" not in said


@pytest.mark.parametrize("kind", ["seeds", "shuffled"])
def test_a_measured_null(kind: str, commands: Commands, models: Models) -> None:
    trained(commands, models.tied, "ks_transfer", "run", "tuner.tickets=8")
    other = "seed=1" if kind == "seeds" else "data.shuffle_targets=0"
    ended = commands.call("ticket", "compare", "run", "--null", kind, "--at", "8,30")
    assert ended.code == 0, ended.err
    assert "Training" in ended.err or "step" in ended.err
    (null,) = result()["nulls"]
    (pair,) = result()["pairs"]

    # the same by hand: the probes are what recipe=embed trains with the probe's settings
    embed = ("train.lr=0.05", "train.optimizer=sparse_adam")
    trained(commands, models.tied, "embed", "one", *embed)
    trained(commands, models.tied, "embed", "two", *embed, other)
    trained(commands, models.tied, "ks_transfer", "second", other, "tuner.tickets=8")
    first, second = rows("one"), rows("two")
    if kind == "seeds":
        table = lines("compare", "null")
        ids = [int(x["token_id"]) for x in table]
        assert sorted(ids) == sorted(first)
        wanted = {i: stats.ks_2samp(first[i], second[i]).statistic for i in ids}
    else:
        moved = column("second", "statistic", 600, 0.0)
        table = lines("compare", "null")
        wanted = {int(x["token_id"]): moved[int(x["token_id"])] for x in table}
    own = column("run", "statistic", 600, 0.0)
    pooled = np.array([wanted[int(x["token_id"])] for x in table])
    for line in table:
        i = int(line["token_id"])
        assert float(line["statistic"]) == own[i]
        assert float(line["null_statistic"]) == pytest.approx(wanted[i], abs=1e-12)
        p = (1 + (pooled >= own[i]).sum()) / (1 + len(pooled))
        assert float(line["empirical_p"]) == pytest.approx(p)
    bound = np.quantile(pooled, 0.95, method="inverted_cdf")
    ticket = sorted(chosen("run"))
    assert null["null_quantiles"]["0.95"] == pytest.approx(bound)
    assert null["ticket"]["rows"] == 8
    assert null["ticket"]["beyond"] == sum(own[i] > bound for i in ticket)
    assert null["ticket"]["above_own"] == sum(own[i] > wanted[i] for i in ticket)
    # beside the run: the other probe's own D
    theirs = column("second", "statistic", 600, 0.0)
    either = (own > 0) | (theirs > 0)
    rho = stats.spearmanr(own[either], theirs[either]).statistic
    assert pair["spearman"] == pytest.approx(rho, abs=1e-12)
    assert pair["common"] is None and pair["second"].startswith("probe of s")
    assert Path("compare/null.png").is_file()

    if kind == "seeds":
        said = commands.call("ticket", "compare", "run", "--null", kind, "--null-seed", "0",
                             "--overwrite")  # fmt: skip
        assert "is the seed of run itself" in said.mistake()
    else:
        assert record(Path("second"))["data"]["train"]["name"] == "mini, targets shuffled"
        said = commands.call("ticket", "compare", "second", "--null", kind, "--overwrite")
        assert "its own targets are shuffled" in said.mistake()


def test_what_cannot_be_compared(commands: Commands, models: Models) -> None:
    trained(commands, models.untied, "ks_transfer", "run", "tuner.tickets=3")
    trained(commands, models.untied, "frequency", "often", "tuner.tickets=3")
    trained(commands, models.untied, "none", "none")

    def mistake(*arguments: str) -> str:
        return commands.call("ticket", "compare", *arguments).mistake()

    assert mistake("run").startswith("run alone: give a second run")
    assert mistake("run", "./run") == "run is given more than once."
    assert "a run of none has no tickets.csv" in mistake("run", "none")
    assert "nowhere" in mistake("run", "nowhere")
    assert "no D to compare" in mistake("often", "--null", "seeds")
    assert "no D to compare" in mistake("run", "often", "--top", "2")
    # another vocabulary: by number, and by its tokens
    shutil.copytree("run", "larger")
    path = Path("larger/record.json")
    content = json.loads(path.read_text())
    content["model"]["vocab_size"] = 601
    path.write_text(json.dumps(content))
    assert "has a vocabulary of 600 rows, larger" in mistake("run", "larger")
    shutil.copytree("run", "foreign")
    path = Path("foreign/record.json")
    content = json.loads(path.read_text())
    del content["integrity"]["tables"]  # as of an earlier version
    path.write_text(json.dumps(content))
    path = Path("foreign/tickets.csv")
    table = tickets("run")
    text = path.read_text("utf-8").split("\n")
    text[1] = text[1].replace(table[0]["token"], "¿foreign?", 1)
    path.write_text("\n".join(text), "utf-8")
    assert "these are two vocabularies" in mistake("run", "foreign")
    path.write_text("token_id,token\nx,y\n")
    assert mistake("run", "foreign").startswith("foreign/tickets.csv: line 1: no column")
    # overlap needs no D
    ended = commands.call("ticket", "compare", "run", "often", "--no-plot")
    assert ended.code == 0, ended.err
    (pair,) = result()["pairs"]
    assert pair["spearman"] is None and pair["common"] is not None
    for wrong in (["--alphas", "2"], ["--top", "0"], ["--null-seed", "-1"], ["--at", "x"]):
        with pytest.raises(SystemExit) as ended_with:
            commands.call("ticket", "compare", "run", *wrong)
        assert ended_with.value.code == 2
