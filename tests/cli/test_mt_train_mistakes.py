"""Every mistake of a user: exit status 2, one message that helps, no traceback, no record."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_runs import VOCABULARY, Commands, Models, small

from mt_lottery.config.compose import compose
from mt_lottery.config.overrides import twice
from mt_lottery.runs.planning.effects import without_effect

Refused = Callable[..., str]


@pytest.fixture
def refused(commands: Commands, models: Models) -> Refused:
    """Run with these arguments; the message, in which each of ``parts`` must stand."""

    def check(
        *arguments: object,
        parts: tuple[str, ...],
        recipe: str = "ks_lottery",
        weights: bool = True,
    ) -> str:
        model = models.untied
        if not weights:  # damaged ones, which only loading finds
            model = Path("unloadable").absolute()
            shutil.copytree(models.untied, model, dirs_exist_ok=True)
            (model / "model.safetensors").write_bytes(b"damaged")
        ended = commands.train(*small(model, recipe, "out_dir=run", *arguments))
        message = ended.mistake()
        for part in parts:
            assert part in message, (part, message)
        assert ended.out == "" and not Path("run/record.json").exists()
        return message

    return check


CONFIGURATION = [
    (["tuner.tickts=3"], ["tuner.tickts", "Did you mean 'tuner.tickets'", "tuner.alpha"]),
    (["trian.lr=1"], ["trian.lr", "train.lr"]),
    (["train.epochs=0.5"], ["train.epochs", "0.5", "a whole number"]),
    (["train.epochs=0"], ["train.epochs", "≥ 1", "0"]),
    (["train.lr=-1"], ["train.lr", "> 0", "-1"]),
    (["train.lr=nan"], ["train.lr", "finite", "nan"]),
    (["train.batch_size=0"], ["train.batch_size", "≥ 1"]),
    (["tuner.alpha=1.5"], ["tuner.alpha", "≥ 0 and ≤ 1", "1.5"]),
    (["tuner.alpha=0.1", "tuner.tickets=3"], ["tuner.tickets", "tuner.alpha", "one of them"]),
    (
        ["tuner.alpha=0.1", "tuner.selector=cos"],
        ["tuner.selector=cos gives no p-values", "tickets=18"],
    ),
    (["seed=-1"], ["seed", "≥ 0"]),
    (["model.dtype=float8"], ["model.dtype", "float8", "bfloat16"]),
    (["train.optimizer=adamv"], ["train.optimizer", "Did you mean 'adamw'"]),
    (["train.criterion=x"], ["train.criterion", "cross_entropy"]),
    (["data.template=plan"], ["data.template", "Did you mean 'plain'", "alpaca"]),
    (["metrics=[chrff]"], ["metrics", "Did you mean 'chrf'", "spbleu"]),
    (["metrics=[]"], ["metrics", "at least one"]),
    (["tracker=comett"], ["tracker", "none"]),
    (["tuner.selector=k"], ["tuner.selector", "ks"]),
    (["tuner.correction=bonferoni"], ["Did you mean 'bonferroni'", "bh"]),
    (["device=gpu"], ["device", "cuda", "gpu"]),
    (["lang=en-xx"], ["lang", "xx"]),
    (["lang=en"], ["lang", "en-ro"]),
    (["lang=es-es"], ["same"]),
    (["model=gemma"], ["model", "Did you mean 'gemma3_270m'"]),
    (["data=minni"], ["data", "Did you mean 'mini'"]),
    (["preset=papr"], ["preset", "Did you mean 'paper'"]),
    (["stray"], ["stray", "key=value"]),
    (["lr=1"], ["Unknown key 'lr'", "Did you mean 'train.lr' or 'probe.lr'?"]),
    (["tickets=18"], ["Did you mean 'tuner.tickets'?"]),
    (["alpha=0.1"], ["Did you mean 'tuner.alpha'?"]),
    (["batch_size=8"], ["'train.batch_size'", "'translate.batch_size'"]),
    (["batchsize=8"], ["'train.batch_size'", "'translate.batch_size'"]),
    (["epoch=3"], ["'train.epochs' or 'probe.epochs'"]),
    (["tuner.lr=1"], ["'train.lr' or 'probe.lr'"]),
    (["data.train=x"], ["'data.train_pairs'", "'data.train_source'"]),
    (["tuner.r=8"], ["`tuner.r` is a setting of recipe=lora, qlora."]),
    (["r=8"], ["`tuner.r` is a setting of recipe=lora, qlora."]),
    (
        ["data.min_chars=8"],
        ["`data.min_chars` is a setting of data=hub, lego_mt, opus100, tatoeba."],
    ),
    (["--lr=1"], ["'--lr=1' is not of the form", "train.lr=1 or probe.lr=1"]),
    (["--out-dir", "x"], ["'--out-dir x'", "write out_dir=x."]),
    (["--recipe", "lora"], ["'--recipe lora'", "write recipe=lora."]),
    (["recipe", "lora"], ["'recipe lora'", "write recipe=lora."]),
    (["recipe", "=", "lora"], ["write recipe=lora."]),
    (["--lang", "en-ro", "seed=1"], ["'--lang en-ro'", "write lang=en-ro."]),
    (["-seed=1"], ["write seed=1."]),
    (["lora"], ["write recipe=lora."]),
    (["en-ro"], ["write lang=en-ro."]),
    (["recipe=kslottery"], ["Did you mean 'ks_lottery'?"]),
    (["recipe=ks"], ["'ks_freeze', 'ks_lottery' or 'ks_transfer'"]),
    (["model=./my-llama"], ["model=hf model.name_or_path=./my-llama"]),
    (["model.name=./my-llama"], ["model=hf model.name_or_path=./my-llama"]),
    (["data=./text.tsv"], ["data=files data.path=./text.tsv"]),
    (["data=wmt/wmt16"], ["for a hub id data=hub data.path=wmt/wmt16."]),
    (["seed=١"], ["`seed` must be a whole number, not '١'"]),
    (["train.lr=１e-3"], ["`train.lr` must be a number"]),
    (["data.train_pairs=५"], ["`data.train_pairs` must be a whole number"]),
    (["lang="], ["`lang` has no value"]),
    (["user_dir="], ["`user_dir` has no value", "user_dir=null"]),
    (["data.path="], ["`data.path` has no value"]),
    (["model.name_or_path= "], ["`model.name_or_path` has no value"]),
    (["data.path=''"], ["`data.path` is empty"]),
    (["+train.lr=1"], ["key=value"]),
    (["train.lr=1,2"], ["train.lr", "mt-bench"]),
    (["user_dir=nowhere"], ["user_dir", "nowhere", "no such folder"]),
    (["data=ntrex"], ["ntrex", "data.path"]),
    (["data.train_source=x.txt"], ["data.train_source", "files"]),
    (["model.trust_remote_code=perhaps"], ["model.trust_remote_code", "perhaps"]),
]


@pytest.mark.parametrize(("arguments", "parts"), CONFIGURATION, ids=lambda x: str(x)[:40])
def test_settings(arguments: list[str], parts: list[str], commands: Commands) -> None:
    given = {"recipe": "recipe=ks_lottery", "lang": "lang=en-es"}
    own = {a.partition("=")[0]: a for a in arguments if "=" in a and a.partition("=")[0] in given}
    more = [a for a in arguments if a not in own.values()]
    given |= own
    message = commands.train(*given.values(), *more, "out_dir=run").mistake()
    for part in parts:
        assert part in message, (part, message)
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("arguments", "warned"),
    [
        (("recipe=none", "train.lr=1", "tune=2"), ("train.lr", "tune")),
        (("recipe=none", "probe.lr=1", "seed=3", "data.train_pairs=9"),
         ("probe.lr", "seed", "data.train_pairs")),
        (("recipe=ks_transfer", "train.lr=1", "probe.lr=1"), ("train.lr",)),
        (("recipe=embed", "train.lr=1", "probe.lr=1"), ("probe.lr",)),
        (("recipe=lora", "probe.epochs=1", "train.label_smoothing=0.2"),
         ("probe.epochs", "train.label_smoothing")),
        (("recipe=ks_lottery", "tuner.correction=bh", "tuner.tickets=3"), ("tuner.correction",)),
        (("recipe=ks_lottery", "tuner.correction=bh", "tuner.alpha=0.3"), ()),
        (("recipe=full", "translate.length_penalty=2", "translate.beam_size=2"), ()),
        (("recipe=full", "translate.length_penalty=2"), ("translate.length_penalty",)),
        (("recipe=few_shot", "seed=1", "data.train_pairs=9"), ()),
    ],
)  # fmt: skip
def test_settings_without_effect(arguments: tuple[str, ...], warned: tuple[str, ...]) -> None:
    config = compose([*arguments, "lang=en-es"])
    found = list(without_effect(config, [a.partition("=")[0] for a in arguments]))
    assert [line.partition(" has no effect: ")[0] for line in found] == list(warned), found


def test_a_key_given_twice() -> None:
    said = twice(["seed=1", "lang=en-es", "lang=en-es", "seed=2"])
    assert said == ["`seed` is given more than once (seed=1, seed=2); seed=2, the last, counts."]


def test_all_mistakes_are_told_together(commands: Commands) -> None:
    message = commands.train(
        "recipe=kslottery", "lang=en-zz", "train.epochs=0", "train.lr=-1", "train.x=1", "model=q"
    ).mistake()
    assert "6 settings are not valid" in message
    for part in ("kslottery", "ks_lottery", "zz", "train.epochs", "train.lr", "train.x", "'q'"):
        assert part in message
    for key in ("recipe", "lang"):
        rest = [a for a in ("recipe=none", "lang=en-es") if not a.startswith(key)]
        assert f"`{key}` is missing" in commands.train(*rest).mistake()


def test_data(refused: Refused, commands: Commands) -> None:
    refused("lang=en-de", parts=("mini", "German", "de", "ca, en, es, no, ro, uk"))
    refused("data.train_pairs=9999", parts=("data.train_pairs=9999", "344"))
    refused("data.test_pairs=83", parts=("data.test_pairs=83", "82"))
    # before the model is loaded: its weights are not there
    told = ("data.max_length=8", "All", "tokens")
    refused("data.max_length=8", parts=told, weights=False)
    told = ("tuner.shots=1000", "only", "training pairs")
    refused("tuner.shots=1000", parts=told, weights=False, recipe="few_shot")
    if importlib.util.find_spec("MeCab") is None:
        Path("ja.tsv").write_text("".join(f"one {i}\tいち {i}\n" for i in range(40)))
        japanese = ("lang=en-ja", "data=files", "data.path=ja.tsv", "metrics=[chrf,bleu]")
        refused(*japanese, parts=("sacrebleu[ja]",), weights=False, recipe="lora")
    files = ("data=files", "data.train_source=a.en", "data.train_target=a.es", "data.path=null")
    refused(*files, parts=("a.en", "no such file"))
    Path("a.en").write_text("one\ntwo\nthree\n")
    Path("a.es").write_text("uno\ndos\n")
    refused(*files, parts=("a.en:3", "3 lines", "2"))
    Path("a.es").write_text("uno\n\ntres\n")
    refused(*files, parts=("a.es:2", "empty"))
    Path("a.es").write_bytes(b"uno\ndos\ntr\xe9s\n")
    refused(*files, parts=("a.es:3", "UTF-8"))
    Path("a.tsv").write_text("one\tuno\nonly one side\n")
    refused("data=files", "data.path=a.tsv", parts=("a.tsv:2", "tab"))
    Path("a.jsonl").write_text('{"en": "one", "es": "uno"}\n{"en": "two"\n')
    refused("data=files", "data.path=a.jsonl", parts=("a.jsonl:2", "JSON"))
    refused("data=flores101", "data.path=nowhere", parts=("nowhere", "no such folder", "devtest"))
    refused("data.test=ntrex", parts=("ntrex", "test_path"))


def test_models(refused: Refused, commands: Commands, models: Models) -> None:
    refused("model.name_or_path=./nowhere", parts=("./nowhere", "no such folder"))
    refused("model.name_or_path=null", parts=("model.name_or_path",))
    Path("empty").mkdir()
    refused("model.name_or_path=./empty", parts=("empty", "config.json"))
    shutil.copytree(models.untied, "m")
    Path("m/model.safetensors").rename("m/pytorch_model.bin")
    refused("model.name_or_path=./m", parts=("pytorch_model.bin", "pickle", "refused"))
    Path("m/pytorch_model.bin").rename("m/model.safetensors")
    whole = Path("m/model.safetensors").read_bytes()
    Path("m/model.safetensors").write_bytes(whole[:1000])
    refused("model.name_or_path=./m", parts=("model.safetensors", "damaged"))
    Path("m/model.safetensors").write_bytes(whole)
    config = json.loads(Path("m/config.json").read_text())
    Path("m/config.json").write_text(json.dumps(config | {"architectures": ["BertForMaskedLM"]}))
    refused("model.name_or_path=./m", parts=("BertForMaskedLM", "causal"))
    Path("m/config.json").write_text(json.dumps(config))
    Path("m/tokenizer.json").unlink()
    refused("model.name_or_path=./m", parts=("tokenizer",))


@pytest.mark.slow
def test_tickets(refused: Refused, commands: Commands) -> None:
    message = refused("tuner.alpha=0.05", parts=("0.05", "five smallest nominal p", "tuner.alpha"))
    smallest = [float(x.rpartition("p = ")[2]) for x in message.split("\n") if " p = " in x]
    assert len(smallest) == 5 and smallest == sorted(smallest) and smallest[0] > 0.05
    refused("tuner.alpha=0", "tuner.correction=bonferroni", parts=("bonferroni",))
    refused(f"tuner.tickets={VOCABULARY}", parts=(str(VOCABULARY), "changed"))
    refused("tuner.tickets=601", parts=("601", "600"), recipe="random")
    refused("tuner.tickets=600", parts=("600", "training text"), recipe="random_seen")
    refused("tuner.tickets=600", parts=("600", "training text"), recipe="frequency")
    key = "tuner.rows_file=rows.txt"
    refused(key, parts=("rows.txt", "no such file"))
    Path("rows.txt").write_text("5\nfive\n")
    refused(key, parts=("rows.txt", "line 2", "five"))


@pytest.mark.slow
def test_training_that_diverges(refused: Refused) -> None:
    refused("train.lr=1e38", "train.max_grad_norm=0", "train.optimizer=sgd",
            parts=("step", "batch", "train.lr"), recipe="full")  # fmt: skip
    refused("train.weight_decay=0.1", parts=("weight_decay",), recipe="embed")


def test_saved_config(commands: Commands) -> None:
    assert "nowhere" in commands.train("config=nowhere").mistake()
    Path("config.yaml").write_text("recipe: [")
    assert "config.yaml" in commands.train("config=config.yaml").mistake()
    Path("config.yaml").write_text("recipe: none\nlang: en-es\ntrian: {lr: 1}\n")
    assert "trian" in commands.train("config=config.yaml").mistake()


@pytest.mark.slow
def test_as_a_program(commands: Commands) -> None:
    ended = commands.process("mt-train", "recipe=ks_lotery", "lang=en-es")
    assert "Did you mean 'ks_lottery'" in ended.mistake() and ended.err.count("\n") == 1


@pytest.mark.parametrize("spelling", ["{}", "{}/", "{}/../{name}", "link"])
def test_the_models_own_folder_is_no_run_directory(
    spelling: str, commands: Commands, models: Models
) -> None:
    """A run there would stand for the model wherever that is named."""
    model = Path("model").absolute()
    shutil.copytree(models.untied, model)
    Path("link").symlink_to(model)
    before = {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}
    out = spelling.format(model, name=model.name)
    said = commands.train(*small(model, "random", f"out_dir={out}")).mistake()
    assert "the folder of the model in `model.name_or_path`" in said and "another out_dir" in said
    assert {path: path.read_bytes() for path in model.rglob("*") if path.is_file()} == before
    ended = commands.train(*small(model, "random", "out_dir=model/run", "baseline=false"))
    assert ended.code == 0, ended.err  # below it, where nothing is mistaken for anything


def test_settings_of_a_text_that_the_test_set_is_cut_from(tmp_path: Path) -> None:
    text = tmp_path / "pairs.tsv"
    text.write_text("".join(f"a {i}\tb {i}\n" for i in range(300)))
    (tmp_path / "test.tsv").write_text("a\tb\n")
    keys = ["data.train_pairs", "data.dev_pairs", "data.max_length"]
    given = ["recipe=none", "lang=en-es", "data=files", "data.dev_pairs=4"]
    for more, warned in (
        ([f"data.path={text}"], keys[2:]),  # they decide which sentences are tested
        ([f"data.train_source={text}", f"data.test_source={tmp_path / 'test.tsv'}"], keys),
    ):
        found = without_effect(compose([*given, *more]), keys)
        assert [line.partition(" has no effect: ")[0] for line in found] == warned
