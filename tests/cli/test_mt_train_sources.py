"""``mt-train`` with text, methods and models from elsewhere: files, published corpora, plugins."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tiny_runs import DIMENSION, MINI, Commands, Models, few_positions, hypotheses, model, record

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("MT_LOTTERY_TEST_DATA", ROOT.parent / "shared" / "data"))
FEW = ("translate.max_new_tokens=8", "metrics=[chrf]", "out_dir=run")


def lines(name: str) -> list[str]:
    return (MINI / name).read_text("utf-8").rstrip("\n").split("\n")


def test_train_dev_and_test_from_different_corpora(commands: Commands, models: Models) -> None:
    pairs = list(zip(lines("train.en.txt"), lines("train.ca.txt"), strict=True))
    Path("train.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in pairs[:30]), "utf-8")
    dev = [json.dumps({"en": s, "ca": t}) + "\n" for s, t in pairs[40:50]]
    Path("dev.jsonl").write_text("".join(dev), "utf-8")
    ended = commands.train(
        "recipe=ks_lottery", "lang=en-ca", *model(models.untied), *FEW,
        "data=files", "data.train_source=train.tsv", "data.train_pairs=20",
        "data.dev_source=dev.jsonl", "data.test=mini", "data.test_pairs=6",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    found = record(Path("run"))["data"]
    assert (found["train"]["name"], found["train"]["pairs"]) == ("files", 20)
    assert (found["test"]["name"], found["test"]["pairs"]) == ("mini", 6)
    assert [x["reference"] for x in hypotheses(Path("run"))] == lines("test.ca.txt")[:6]
    assert "dev_loss" in Path("run/train_log.jsonl").read_text()
    assert "one text" not in ended.err
    # text counts, not where it lies: the same pairs of the mini corpus are the same run
    same = commands.train(
        "recipe=ks_lottery", "lang=en-ca", *model(models.untied), *FEW,
        "data.train_pairs=20", "data.test_pairs=6",
    )  # fmt: skip
    assert same.code == 0 and "left alone" in same.err
    other = commands.train(
        "recipe=ks_lottery", "lang=en-ca", *model(models.untied), *FEW,
        "data.train_pairs=21", "data.test_pairs=6",
    )  # fmt: skip
    assert "another configuration" in other.mistake()


def test_two_text_files_and_sentences_in_both(commands: Commands, models: Models) -> None:
    Path("text").mkdir()
    for code in ("en", "no"):
        text = "\n".join(lines(f"train.{code}.txt")[:12]) + "\n"
        Path("text", f"a.{code}").write_text(text, "utf-8")
    ended = commands.train(
        "recipe=random_seen", "lang=no-en", *model(models.untied), *FEW,
        "data=files", "data.path=text", "data.train_source=a.no", "data.train_target=a.en",
        "data.test_source=a.no", "data.test_target=a.en", "data.test_pairs=3",
        "data.dev_pairs=2",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    # one pool for all: blocks that never overlap
    divided = "one text, cut into 7 training, 2 dev and 3 test pairs (data.dev_pairs, data.test_"
    assert divided in ended.err
    assert record(Path("run"))["data"]["overlap"] == 0
    text = "\n".join(lines("train.no.txt")[:12]) + "\n"
    Path("text/b.no").write_text(text, "utf-8")
    ended = commands.train(
        "recipe=random_seen", "lang=no-en", *model(models.untied), *FEW, "overwrite=true",
        "data=files", "data.path=text", "data.train_source=a.no", "data.train_target=a.en",
        "data.test_source=b.no", "data.test_target=a.en", "data.test_pairs=4",
        "data.dev_pairs=2",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert record(Path("run"))["data"]["overlap"] == 4
    assert "4 of 4 test sources are in the training text too" in ended.err


def test_pairs_that_are_too_long_are_counted(commands: Commands, models: Models) -> None:
    ended = commands.train(
        "recipe=random_seen", "lang=en-es", *model(models.untied), *FEW,
        "data.train_pairs=24", "data.test_pairs=4", "data.max_length=110",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    dropped = record(Path("run"))["data"]["train"]["dropped"]
    assert 0 < dropped < 24
    assert f"{dropped} training pairs are longer than data.max_length" in ended.err


def test_sides_that_are_swapped_are_reported(commands: Commands, models: Models) -> None:
    for lang in ("en", "es"):
        Path(f"my.{lang}").write_text("\n".join(lines(f"train.{lang}.txt")[:40]))
    asked = ["recipe=none", *model(models.untied), *FEW, "data=files", "data.test_pairs=30",
             "baseline=false", "overwrite=true"]  # fmt: skip
    for lang in ("en-es", "es-en"):
        for source, target in (("en", "es"), ("es", "en")):
            files = (f"data.train_source=my.{source}", f"data.train_target=my.{target}")
            ended = commands.train(*asked, f"lang={lang}", *files)
            assert ended.code == 0, ended.err
            told = f"but lang={lang} is asked for: are the two sides swapped?" in ended.err
            assert told == (lang != f"{source}-{target}"), (lang, source, ended.err)
    same = ("lang=en-es", "data.train_source=my.en", "data.train_target=my.en")
    ended = commands.train(*asked, *same)
    assert "Warning: each test source of en-es is the same text as its ref" in ended.err
    assert "swapped" not in ended.err


@pytest.mark.parametrize("method", ["random_seen", "prefix", "prompt"])
def test_pairs_that_the_model_has_no_positions_for(
    method: str, commands: Commands, models: Models
) -> None:
    asked = [f"recipe={method}", "lang=en-es", *FEW, "data.train_pairs=24", "data.test_pairs=4",
             "data.dev_pairs=2"]  # fmt: skip
    ended = commands.train(*model(few_positions(models.untied, 110)), *asked)
    assert ended.code == 0, ended.err
    left = 110 if method == "random_seen" else 100  # ten learned positions go before each
    dropped = record(Path("run"))["data"]["train"]["dropped"]
    assert f"{dropped} training pairs are longer than the {left} positions" in ended.err
    asked += ["overwrite=true", "baseline=false"]
    told = commands.train(*model(few_positions(models.untied, 60)), *asked).mistake()
    assert f"All 24 pairs are longer than the {left - 50} positions that the model has" in told


def test_the_hubs_corpora_from_folders(commands: Commands, models: Models) -> None:
    pairs = list(zip(lines("train.en.txt"), lines("train.ca.txt"), strict=True))[:40]
    Path("lego").mkdir()
    both = [("en", "ca", s, t) for s, t in [*pairs[:20], *pairs[:3]]]
    both += [("ca", "en", t, s) for s, t in pairs[20:30]]
    keys = ("from", "to", "text", "translation")
    records = [json.dumps(dict(zip(keys, record, strict=True))) + "\n" for record in both]
    Path("lego/ca.jsonl").write_text("".join(records), "utf-8")
    Path("opus/ca-en").mkdir(parents=True)
    rows = [json.dumps({"translation": {"ca": t, "en": s}}) + "\n" for s, t in pairs[30:]]
    Path("opus/ca-en/test.jsonl").write_text("".join(rows), "utf-8")
    given = (
        "recipe=random_seen", "lang=en-ca", *model(models.untied), *FEW,
        "data=lego_mt", "data.path=lego", "data.dev_pairs=4",
        "data.test=opus100", "data.test_path=opus", "data.test_pairs=5",
    )  # fmt: skip
    named = (
        "data.source_field=text", "data.target_field=translation",
        "data.source_lang_field=from", "data.target_lang_field=to",
    )  # fmt: skip
    mistake = commands.train(*given).mistake()
    assert "Its fields are: from, to, text, translation." in mistake
    ended = commands.train(*given, *named)
    assert ended.code == 0, ended.err
    told = "ca.jsonl: 23 of 33 records are en-ca; left out: 3 duplicate; 20 pairs left."
    assert ended.err.count(told) == 1
    assert ended.err.count("test.jsonl: 10 pairs of en-ca; 10 pairs left.") == 1
    found = record(Path("run"))["data"]
    assert (found["train"]["name"], found["train"]["pairs"]) == ("lego_mt", 16)
    assert (found["train"]["records"], found["train"]["available"]) == (33, 23)
    assert found["train"]["filters"] == {
        **{"empty": 0, "identical": 0, "too_long": 0, "ratio": 0, "duplicate": 3}
    }
    assert (found["test"]["name"], found["test"]["pairs"]) == ("opus100", 5)
    assert (found["test"]["available"], found["test"]["filters"]) == (10, {"empty": 0})
    again = commands.train("config=run/config.yaml", "out_dir=run")
    assert again.code == 0 and "left alone" in again.err


def test_a_data_set_of_the_hub_tested_on_wmt24pp(commands: Commands, models: Models) -> None:
    import pyarrow
    import pyarrow.parquet

    pairs = list(zip(lines("train.en.txt"), lines("train.ca.txt"), strict=True))[:30]
    rows = [{"text": {"en": s, "ca": t}} for s, t in [*pairs[:20], *pairs[:3]]]
    Path("mine").mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), "mine/train.parquet")
    Path("wmt").mkdir()
    segments = [
        json.dumps({"source": s, "target": t, "is_bad_source": i < 4}) + "\n"
        for i, (s, t) in enumerate(pairs[20:])
    ]
    Path("wmt/en-ca_ES.jsonl").write_text("".join(segments), "utf-8")
    given = (
        "recipe=random_seen", "lang=en-ca", *model(models.untied), *FEW, "data=hub",
        "data.path=mine", "data.dev_pairs=4", "data.test=wmt24pp", "data.test_path=wmt",
        "data.source_field=text.en", "baseline=false",
    )  # fmt: skip
    mistake = commands.train(*given, "data.target_field=text.es").mistake()
    assert "no field 'text.es' (data.target_field)" in mistake and "text.en, text.ca" in mistake
    ended = commands.train(*given, "data.target_field=text.ca")
    assert ended.code == 0, ended.err
    found = record(Path("run"))["data"]
    assert (found["train"]["name"], found["train"]["pairs"]) == ("hub", 16)
    assert (found["train"]["records"], found["train"]["filters"]["duplicate"]) == (23, 3)
    assert (found["test"]["name"], found["test"]["pairs"]) == ("wmt24pp", 6)
    assert found["test"]["filters"] == {"bad_source": 4, "empty": 0}
    assert len(found["train"]["sha256"]) == len(found["test"]["sha256"]) == 64
    again = commands.train("config=run/config.yaml", "out_dir=run")
    assert again.code == 0 and "left alone" in again.err
    ended = commands.train(
        *given, "data.target_field=text.ca", "data.bad_sources=true", "out_dir=kept"
    )
    assert ended.code == 0, ended.err
    assert record(Path("kept"))["data"]["test"]["filters"] == {"empty": 0}


def test_a_corpus_whose_library_is_missing(
    commands: Commands, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mt_lottery.registry import CORPORA

    for name in ("lego_mt", "opus100"):
        assert CORPORA.missing(name) is None
        monkeypatch.setitem(CORPORA._needs, name, ("no-such-library>=2",))
    ended = commands.train(
        "recipe=none", "lang=en-ca", *model(models.untied), *FEW, "data=lego_mt",
        "data.test=opus100",
    )  # fmt: skip
    mistake = ended.mistake()
    assert "`data.name`: The corpus 'lego_mt' needs no-such-library>=2" in mistake
    assert "`data.test`: The corpus 'opus100' needs" in mistake
    assert "pip install 'no-such-library>=2'" in mistake and "Loading" not in ended.err


PLUGIN = '''
from dataclasses import dataclass

import torch

from mt_lottery.config import setting
from mt_lottery.registry import register_tuner
from mt_lottery.tuners.rows.base import RowsConfig, RowTuner


@dataclass
class FirstRowsConfig(RowsConfig):
    number: int = setting(3, "how many rows", ge=1)


@register_tuner("first_rows", dataclass=FirstRowsConfig)
class FirstRows(RowTuner):
    """The first rows of the table."""

    def rows(self, context):
        return torch.arange(self.config.number)
'''


def test_a_plugin_adds_a_tuner(commands: Commands, models: Models) -> None:
    Path("plugins").mkdir()
    Path("plugins/first_rows.py").write_text(PLUGIN)
    Path("plugins/my_tuner.yaml").write_text(
        "tuner: {name: first_rows, number: 4}\ntrain: {lr: 0.01}\n"
    )
    given = (
        "lang=en-es", *model(models.untied), "data.train_pairs=16", "data.test_pairs=4",
        "translate.max_new_tokens=8", "metrics=[chrf]", "user_dir=plugins", "baseline=false",
    )  # fmt: skip
    ended = commands.process("mt-train", "recipe=my_tuner", *given)
    assert ended.code == 0, ended.err
    found = record(Path("runs/en-es/my_tuner/seed-0"))
    assert found["method"] == "my_tuner" and found["trainable_parameters"] == 4 * DIMENSION
    # its run is one that mt-translate opens, from any folder
    Path("elsewhere").mkdir()
    said = commands.process(
        "mt-translate", "--run", "../runs/en-es/my_tuner/seed-0", "--user-dir", "../plugins",
        stdin=b"Hello.\n", cwd=commands.folder / "elsewhere",
    )  # fmt: skip
    assert said.code == 0 and said.out.count("\n") == 1, said.err
    wrong = commands.process(
        "mt-train", "recipe=my_tuner", "tuner.number=0", "tuner.numer=1", *given
    )
    assert "tuner.number" in wrong.mistake() and "tuner.numer" in wrong.mistake()
    Path("plugins/first_rows.py").write_text("import nothing_of_the_kind\n")
    broken = commands.process("mt-train", "recipe=my_tuner", *given).mistake()
    assert "first_rows.py" in broken and "nothing_of_the_kind" in broken


@pytest.mark.skipif(
    not ((SHARED / "NTREX-128").is_dir() and (SHARED / "flores101_dataset").is_dir()),
    reason=f"NTREX-128 and flores101_dataset are not in {SHARED} (MT_LOTTERY_TEST_DATA)",
)
def test_published_corpora(commands: Commands, models: Models) -> None:
    ended = commands.train(
        "recipe=ks_lottery", "lang=en-ro", *model(models.tied), *FEW,
        "data=ntrex", f"data.path={SHARED}", "data.train_pairs=16", "data.dev_pairs=4",
        "data.test=flores101", f"data.test_path={SHARED}", "data.test_pairs=5",
        "data.max_length=400",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    found = record(Path("run"))["data"]
    assert (found["train"]["name"], found["train"]["pairs"]) == ("ntrex", 16)
    assert (found["test"]["name"], found["test"]["pairs"]) == ("flores101", 5)
    sources = (SHARED / "flores101_dataset/devtest/eng.devtest").read_text("utf-8").split("\n")
    assert [x["source"] for x in hypotheses(Path("run"))] == [s.rstrip() for s in sources[:5]]
    missing = commands.train(
        "recipe=none", "lang=en-tlh", *model(models.tied), "data=ntrex", f"data.path={SHARED}"
    ).mistake()
    assert "tlh" in missing
