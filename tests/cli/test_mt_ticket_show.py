"""``mt-ticket show``: distances, frequencies and ranks, each against a second way to them."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pairs import numbers, tensors
from scipy.stats import ks_2samp, rankdata
from tiny_runs import Commands, Models, small

import mt_lottery as mtl
from mt_lottery.runs.folder.preparing import FINDINGS

pytestmark = pytest.mark.slow

TRAIN = ("baseline=false", "probe.lr=0.02", "train.epochs=1", "probe.epochs=1", "data.test_pairs=2")


def shown(commands: Commands, *arguments: object) -> dict[str, Any]:
    ended = commands.call("ticket", "show", *arguments, "--json")
    assert ended.code == 0, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found


def formulas(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Table 3's measures as anyone would write them down, [k] each."""
    norm = np.linalg.norm
    p = np.exp(x - x.max(1, keepdims=True))
    q = np.exp(y - y.max(1, keepdims=True))
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    return {
        "cos": 1 - (x * y).sum(1) / (norm(x, axis=1) * norm(y, axis=1)),
        "kl": (p * np.log(p / q)).sum(1),
        "absolute_abs": abs(y - x).mean(1),
        "absolute_signed": (y - x).mean(1),
        "relative_abs": abs((y - x) / x).mean(1),
        "relative_signed": ((y - x) / x).mean(1),
        "ratio_abs": abs(y / x).mean(1),
        "ratio_signed": (y / x).mean(1),
    }


def test_a_run(commands: Commands, models: Models) -> None:
    ended = commands.train(*small(models.untied, "ks_lottery", "out_dir=run", *TRAIN))
    assert ended.code == 0, ended.err
    ended = commands.train(*small(models.untied, "embed", "out_dir=probe", "train.lr=0.02", *TRAIN))
    assert ended.code == 0, ended.err
    found = shown(commands, "run", "--top", 1000, "--csv", "rows.csv", "--figure", "figs/x")
    assert Path("figs/x.png").read_bytes()[1:4] == b"PNG" and Path("figs/x.svg").is_file()
    lines = found["lines"]
    assert found["changed"] == len(lines) > 30 and found["selected"] == 18

    # the run's own file says the same
    with Path("run/tickets.csv").open(newline="") as file:
        own = [r for r in csv.DictReader(file) if float(r["statistic"]) > 0]
    for line, row in zip(lines, own, strict=True):
        assert (line["token_id"], line["statistic"]) == (
            int(row["token_id"]),
            float(row["statistic"]),
        )
        assert line["selected"] is (row["selected"] == "true")
        assert line["counts"]["corpus"] == int(row["train_frequency"])

    # the rows as they are on disk, and the formulas
    ids = [line["token_id"] for line in lines]
    model, tokenizer = mtl.load_tuned("probe")
    table = model.get_input_embeddings()
    after = numbers(table.rows.detach())[[table.token_ids.tolist().index(i) for i in ids]]
    before = numbers(tensors(models.untied)["model.embed_tokens.weight"])[ids]
    for place in (0, 7, len(ids) - 1):
        test = ks_2samp(before[place], after[place])
        assert lines[place]["statistic"] == pytest.approx(test.statistic, abs=1e-12)
        assert lines[place]["pvalue"] == pytest.approx(test.pvalue, rel=1e-9)
    for measure, scores in formulas(before, after).items():
        expected = (rankdata(scores) - 1) / (len(ids) - 1)
        assert [x["ranks"][measure] for x in lines] == pytest.approx(expected.tolist()), measure

    # among all 600 rows, of which most stayed: those have the mean rank of the tied
    everywhere = shown(commands, "run", "--top", 1000, "--ranks", "all", "--no-plot")["lines"]
    for measure, still in {"absolute_signed": 0.0, "ratio_abs": 1.0}.items():
        scores = np.full(600, still)
        scores[ids] = formulas(before, after)[measure]
        expected = ((rankdata(scores) - 1) / 599)[ids]
        assert [x["ranks"][measure] for x in everywhere] == pytest.approx(expected.tolist())

    # template, source and target together are the training inputs
    inputs: Counter[int] = Counter()
    targets: Counter[int] = Counter()
    data = Path(mtl.__file__).parent / "data" / "mini"
    config = (Path("run") / "config.yaml").read_text()
    assert "template: plain" in config and "train_pairs: 24" in config
    english, spanish = _training_text(data)
    for one, other in zip(english, spanish, strict=True):
        prompt = f"Translate English to Spanish.\nEnglish: {one}\nSpanish:"
        inputs.update(tokenizer(prompt + " " + other)["input_ids"] + [1])
        targets.update(tokenizer(" " + other, add_special_tokens=False)["input_ids"] + [1])
    for line in lines:
        counts, token = line["counts"], line["token_id"]
        assert counts["template"] + counts["source"] + counts["target"] == inputs[token]
        assert counts["target"] == targets[token]
    assert next(x for x in lines if x["token_id"] == 0)["counts"] == {
        "corpus": 0, "template": 24, "source": 0, "target": 0
    }  # fmt: skip

    # rank 1 is the most frequent, unless its row has not moved
    ranked = sorted((x for x in lines if x["frequency_rank"]), key=lambda x: x["frequency_rank"])
    assert [x["counts"]["corpus"] for x in ranked] == sorted(
        (x["counts"]["corpus"] for x in ranked), reverse=True
    )
    bins = found["histogram"]
    assert sum(bins["counts"]) == len(lines) and bins["unmoved"] == 600 - len(lines)
    for left, right, number in zip(bins["edges"], bins["edges"][1:], bins["counts"], strict=False):
        inside = [x for x in lines if left + 1e-9 < x["statistic"] <= right + 1e-9]
        assert len(inside) == number
    with Path("rows.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [int(r["token_id"]) for r in written] == ids
    assert float(written[3]["rank_kl"]) == lines[3]["ranks"]["kl"]
    assert int(written[3]["count_target"]) == lines[3]["counts"]["target"]

    # the tables for people
    ended = commands.call("ticket", "show", "run", "--top", 3, "--no-plot")
    assert ended.code == 0 and not Path("run/ticket.png").exists()
    for text in ("nominal p", "template", "Histogram of D", f"{lines[0]['statistic']:.4f}"):
        assert text in ended.out
    embed = shown(commands, "probe", "--top", 1000, "--no-plot")
    assert [x["statistic"] for x in embed["lines"]] == [x["statistic"] for x in lines]
    assert embed["selected"] == 0

    # another corpus
    Path("corpus.txt").write_text("el el el gato\n", "utf-8")
    other = shown(commands, "run", "--corpus", "corpus.txt", "--no-plot", "--top", 1000)
    expected_counts = Counter(tokenizer(" el el el gato", add_special_tokens=False)["input_ids"])
    for line in other["lines"]:
        assert line["counts"] == {"corpus": expected_counts[line["token_id"]]}
    absent = commands.call("ticket", "show", "run", "--corpus", "none.txt", "--no-plot").mistake()
    assert "none.txt: no such file" in absent

    # the file alone
    alone = shown(commands, "run/tickets.csv", "--top", 1000, "--no-plot")
    assert [x["statistic"] for x in alone["lines"]] == [x["statistic"] for x in lines]
    assert alone["histogram"]["edges"] == pytest.approx(bins["edges"])
    assert all(x["ranks"] == {} for x in alone["lines"])
    assert commands.call("ticket", "show", "run/tickets.csv").code == 0
    assert Path("run/ticket.png").is_file()
    assert {path.name for path in Path("run").glob("ticket.*")} <= {*FINDINGS}


def _training_text(folder: Path) -> tuple[list[str], list[str]]:
    from mt_lottery.config import DataConfig
    from mt_lottery.data.corpora import load_corpora
    from mt_lottery.languages import parse_pair

    assert folder.is_dir()
    settings = DataConfig(name="mini", train_pairs=24, test_pairs=2, dev_pairs=4)
    train = load_corpora(settings, parse_pair("en-es"), ("train",)).train
    assert train is not None
    return [p.source for p in train.pairs], [p.target for p in train.pairs]


def test_without_matplotlib(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figure is what a plain installation cannot draw: the tables come all the same."""
    Path("t.csv").write_text(
        "token_id,token,statistic,pvalue,selected,train_frequency\n5,a,0.25,0.2,true,\n"
    )
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *p: None if n == "matplotlib" else real(n, *p)
    )
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # importing it fails
    ended = commands.call("ticket", "show", "t.csv")
    assert ended.code == 0 and "0.2500" in ended.out
    assert "mt-lottery[plot]" in ended.err and not Path("ticket.png").exists()
    for asked in (("--plot",), ("--figure", "f")):
        assert "need matplotlib" in commands.call("ticket", "show", "t.csv", *asked).mistake()


def test_files_without_a_run(commands: Commands, models: Models) -> None:
    head = "token_id,token,statistic,pvalue,selected,train_frequency\n"
    Path("t.csv").write_text(head + '5,a,0.25,0.2,true,\n9,"b",0.125,0.9,false,\n', "utf-8")
    found = shown(commands, "t.csv")
    assert [x["token"] for x in found["lines"]] == ["a", "b"] and found["corpus"] is None
    assert found["histogram"] == {"edges": [0.0, 0.125, 0.25], "counts": [1, 1], "unmoved": 0}
    assert Path("ticket.svg").is_file()
    said = commands.call("ticket", "show", "t.csv", "--corpus", "t.csv", "--no-plot").mistake()
    assert "--tokenizer FOLDER" in said
    Path("c.txt").write_text("Hola Hola\n")
    Path("t.csv").write_text(head + "5,,0.25,0.2,true,\n", "utf-8")
    more = ("--corpus", "c.txt", "--tokenizer", models.untied, "--no-plot")
    assert shown(commands, "t.csv", *more)["lines"][0]["counts"] == {"corpus": 0}
    for content, expected in (
        ("a,b\n1,2\n", "bad.csv: line 1: no column token_id"),
        (head, "no row in it"),
        (head + "5,a,,,true,3\n", "no KS distances"),
        (head + "5,a,x,0.2,true,3\n", "bad.csv: line 2: damaged: `statistic`"),
    ):
        Path("bad.csv").write_text(content)
        assert expected in commands.call("ticket", "show", "bad.csv", "--no-plot").mistake()
    assert "no such file" in commands.call("ticket", "show", "nowhere").mistake()


def test_a_run_whose_model_has_changed(commands: Commands, models: Models) -> None:
    import shutil

    shutil.copytree(models.untied, "model")
    ended = commands.train(*small(Path("model"), "ks_lottery", "out_dir=run", *TRAIN))
    assert ended.code == 0, ended.err
    shutil.copy(models.tied / "tokenizer_config.json", "model")
    with Path("model/config.json").open("a") as file:
        file.write("\n")
    said = commands.call("ticket", "show", "run").mistake()
    assert "has changed since" in said and "mt-ticket show run/tickets.csv" in said
