"""From the command line to one checked configuration, or to every mistake in it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from mt_lottery.config import RunConfig
from mt_lottery.config.compose import compose, compose_saved, to_yaml
from mt_lottery.config.overrides import Number, as_text, parse_override
from mt_lottery.errors import ConfigError
from mt_lottery.registry import TUNERS

NONE = ("recipe=none", "lang=en-ro")
KS = ("recipe=ks_lottery", "lang=en-ro")


def refused(*arguments: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compose(arguments)
    for problem in caught.value.problems:
        assert problem in str(caught.value)
    return caught.value.problems


def one(*arguments: str) -> str:
    problems = refused(*arguments)
    assert len(problems) == 1, problems
    return problems[0]


def test_defaults() -> None:
    config = compose(KS)
    assert (config.recipe, config.lang, config.seed, config.preset) == (
        *("ks_lottery", "en-ro", 0),
        None,
    )
    assert (config.model.name, config.data.name, config.tuner.name) == (
        *("gemma3_270m", "mini"),
        "ks_lottery",
    )
    tuner: Any = config.tuner
    assert (tuner.tickets, tuner.alpha, tuner.rows_file, tuner.selector) == (18, None, None, "ks")
    assert (tuner.scope, tuner.correction) == ("input", "none")
    assert config.train.lr == 1e-2  # the recipe's
    assert config.probe.lr == 3e-3  # the dataclass's
    assert config.metrics == ["spbleu", "chrf"]
    assert config.tracker == "none"


def test_the_keys_that_scripts_rely_on(tmp_path: Path) -> None:
    """DESIGN §2.1."""
    config = compose(
        [
            *("recipe=ks_transfer", "lang=en-no", "seed=7", f"out_dir={tmp_path}/out"),
            *("resume=true", "device=cpu", "model=hf", "model.name_or_path=org/name"),
            *("model.dtype=float32", "data=files", "data.path=/d", "data.train_pairs=5"),
            *("data.dev_pairs=6", "data.test_pairs=7", "data.dev=ntrex", "data.dev_path=/e"),
            *("data.test=flores101", "data.test_path=/f", "data.template=alpaca"),
            *("data.train_source=a", "data.train_target=b", "data.dev_source=c"),
            *("data.dev_target=d", "data.test_source=e", "data.test_target=f"),
            *("train.epochs=3", "train.lr=1e-4", "train.batch_size=2", "train.max_tokens=100"),
            *("train.optimizer=sgd", "train.criterion=label_smoothed_cross_entropy"),
            *("tuner.alpha=0.05", "tuner.selector=ks", "tuner.correction=bh"),
            *("tuner.scope=tied", "translate.beam_size=4", "translate.max_new_tokens=9"),
            *("metrics=[chrf,bleu]", "tracker=none"),
        ]
    )
    assert (config.seed, config.resume, config.device) == (7, True, "cpu")
    assert config.out_dir == f"{tmp_path}/out"
    assert (config.model.name_or_path, config.model.dtype) == ("org/name", "float32")
    assert (config.data.train_pairs, config.data.dev_pairs, config.data.test_pairs) == (5, 6, 7)
    assert (config.data.path, config.data.dev_path, config.data.test_path) == ("/d", "/e", "/f")
    assert (config.data.name, config.data.dev, config.data.test) == ("files", "ntrex", "flores101")
    roles = [getattr(config.data, f"{r}_{s}") for r in ("train", "dev", "test")
             for s in ("source", "target")]  # fmt: skip
    assert roles == list("abcdef")
    assert (config.train.epochs, config.train.lr) == (3, 1e-4)
    assert (config.train.batch_size, config.train.max_tokens) == (2, 100)
    assert config.train.optimizer == "sgd"
    tuner: Any = config.tuner
    assert (tuner.alpha, tuner.tickets, tuner.correction, tuner.scope) == (0.05, None, "bh", "tied")
    assert (config.translate.beam_size, config.translate.max_new_tokens) == (4, 9)
    assert config.metrics == ["chrf", "bleu"]


# --- unknown ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "start", "hint"),
    [
        ("train.lrr=1", "Unknown key 'train.lrr'", "train.lr"),
        ("tran.lr=1", "Unknown key 'tran.lr'", "train.lr"),
        ("sed=1", "Unknown key 'sed'", "seed"),
        ("train={lrr: 1}", "Unknown key 'train.lrr'", "train.lr"),
        ("recipe=ks_lotery", "Unknown recipe 'ks_lotery'", "ks_lottery"),
        ("model=gema3", "Unknown model 'gema3'", "gemma3_270m"),
        ("data=mni", "Unknown data 'mni'", "mini"),
        ("preset=papr", "Unknown preset of recipe=ks_lottery 'papr'", "paper"),
        ("model.name=gemma", "`model.name`: Unknown model 'gemma'", "gemma3_270m"),
        ("data.name=ntrx", "`data.name`: Unknown corpus 'ntrx'", "ntrex"),
        ("tuner.name=ks_lot", "`tuner.name`: Unknown tuner 'ks_lot'", "ks_lottery"),
        ("data.template=plan", "`data.template`: Unknown template 'plan'", "plain"),
        ("data.dev=ntrx", "`data.dev`: Unknown corpus 'ntrx'", "ntrex"),
        ("data.test=opus-100", "`data.test`: Unknown corpus 'opus-100'", "opus100"),
        ("train.optimizer=adam", "`train.optimizer`: Unknown optimizer 'adam'", "adamw"),
        ("probe.criterion=entropy", "`probe.criterion`: Unknown criterion", "cross_entropy"),
        ("tuner.selector=kss", "`tuner.selector`: Unknown selector 'kss'", "ks"),
        ("metrics=chff", "`metrics`: Unknown metric 'chff'", "chrf"),
        ("metrics=[chrf,blue]", "`metrics`: Unknown metric 'blue'", "bleu"),
        ("tracker=nonee", "`tracker`: Unknown tracker 'nonee'", "none"),
        ("model.dtype=float", "`model.dtype` must be one of auto, float32", "float32"),
        ("tuner.scope=tie", "`tuner.scope` must be one of input, tied", "tied"),
        ("seed", "'seed' is not of the form key=value", None),
        ("--sed", "'--sed' is not of the form key=value", "seed"),
    ],
)
def test_unknown_gives_the_nearest(argument: str, start: str, hint: str | None) -> None:
    problem = one(*KS, argument)
    assert problem.startswith(start)
    assert ("Did you mean" in problem) == (hint is not None)
    assert hint is None or f"Did you mean '{hint}'?" in problem


def test_a_key_of_another_method_is_unknown() -> None:
    assert one(*NONE, "tuner.alpha=0.5").startswith("Unknown key 'tuner.alpha'.")
    assert one("recipe=random", "lang=en-ro", "tuner.alpha=0.5").endswith(
        "tuner.name, tuner.scope, tuner.tickets, tuner.seed."
    )


def test_an_unknown_recipe_does_not_make_its_keys_unknown() -> None:
    problems = refused("recipe=ks_lotery", "lang=en-ro", "tuner.alpha=0.05", "train.epochs=0")
    assert [p.split(".")[0] for p in problems] == ["Unknown recipe 'ks_lotery'", "`train"]


def test_a_recipe_without_presets_says_so() -> None:
    assert one(*NONE, "preset=paper") == "`preset` is 'paper', but recipe=none has no presets."


def test_missing_recipe_and_lang() -> None:
    problems = refused()
    assert len(problems) == 2
    assert problems[0].startswith("`recipe` is missing: give one, for example recipe=ks_lottery")
    for name in (*TUNERS.names(), "dora", "few_shot_bm25"):
        assert f" {name}," in problems[0] or f"({name}," in problems[0], name
    assert problems[1] == "`lang` is missing: give source and target, for example lang=en-ro."
    assert one("recipe=none").startswith("`lang` is missing")
    assert one("lang=en-ro", "tuner.alpha=0.5").startswith("`recipe` is missing")


@pytest.mark.parametrize(
    ("lang", "message"),
    [
        ("en", "SOURCE-TARGET"),
        ("en-xx", "Unknown language 'xx'"),
        ("en-en", "the same language"),
        ("no", "SOURCE-TARGET"),
    ],
)
def test_lang(lang: str, message: str) -> None:
    problem = one("recipe=none", f"lang={lang}")
    assert problem.startswith("`lang`: ")
    assert message in problem


@pytest.mark.parametrize(
    "text",
    [
        "/a/b",
        "a folder = 1",
        "[x] ü",
        "$a",
        "a,b",
        'say "x"',
        "it's",
        "a\\b",
        "a\\b, c",
        'a\\"b\\\\c\\',
        "12",
        "true",
        "~x",
        "#",
    ],
)
def test_any_text_can_be_written(text: str) -> None:
    found = parse_override(f"model.name_or_path={as_text(text)}", [], [])
    assert found == ("model.name_or_path", text)


# --- types and ranges ----------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("train.epochs=0.5", "`train.epochs` must be a whole number, not 0.5"),
        ("train.epochs=2.0", "`train.epochs` must be a whole number, not 2.0"),
        ("seed=1.5", "`seed` must be a whole number, not 1.5"),
        ("seed=1e3", "`seed` must be a whole number, not 1000.0"),
        ("seed=abc", "`seed` must be a whole number, not 'abc'"),
        ("seed=", "`seed` has no value: for none write seed=null"),
        ("seed=null", "`seed` must be a whole number, not null"),
        ("seed=[1]", "`seed` must be a whole number, not [1]"),
        ("seed=true", "`seed` is true, a truth value; expected a whole number."),
        ("train.lr=true", "`train.lr` is true, a truth value; expected a number."),
        ("train={lr: true}", "`train.lr` is true, a truth value; expected a number."),
        ("train.lr=fast", "`train.lr` must be a number, not 'fast'"),
        ("data.train_pairs=1e2", "`data.train_pairs` must be a whole number or null, not 100.0"),
        ("lang=false", "`lang` is false, a truth value; expected a text. Quote it"),
        ("data.path=true", "`data.path` is true, a truth value; expected a text or null. Quote it"),
        ("resume=5", "`resume` must be true or false, not 5"),
        ("resume=maybe", "`resume` must be true or false, not 'maybe'"),
        ("train=1", "'train' is a section, not a value. Known: train.epochs, "),
        ("seed.x=1", "Unknown key 'seed.x'"),
        ("metrics=null", "`metrics` must be a list, not null"),
        ("metrics=[]", "`metrics` must name at least one of bleu, "),
        ("metrics={a: 1}", "Unknown key 'metrics.a'"),
        ("preset=[a]", "Unknown preset of recipe=ks_lottery '['a']'"),
        ("seed=${nothing}", "`seed`: Interpolation key 'nothing' not found. (${…} stands for"),
        ("device=gpu", "`device` must be auto, cpu, cuda, cuda:N or mps, not 'gpu'"),
        ("device=cuda:x", "`device` must be auto, cpu, cuda, cuda:N or mps, not 'cuda:x'"),
    ],
)
def test_wrong_types(argument: str, message: str) -> None:
    assert any(p.startswith(message) for p in refused(*KS, argument)), refused(*KS, argument)


@pytest.mark.parametrize(
    ("argument", "allowed"),
    [
        ("tuner.alpha=1.5", "≥ 0 and ≤ 1, not 1.5"),
        ("tuner.alpha=-0.1", "≥ 0 and ≤ 1, not -0.1"),
        ("tuner.alpha=nan", "a finite number ≥ 0 and ≤ 1, not nan"),
        ("tuner.tickets=0", "≥ 1, not 0"),
        ("train.epochs=0", "≥ 1, not 0"),
        ("train.epochs=-1", "≥ 1, not -1"),
        ("train.lr=-1", "> 0, not -1.0"),
        ("train.lr=0", "> 0, not 0.0"),
        ("train.lr=nan", "a finite number > 0, not nan"),
        ("train.lr=inf", "a finite number > 0, not inf"),
        ("train.lr=-inf", "a finite number > 0, not -inf"),
        ("train.batch_size=0", "≥ 1, not 0"),
        ("train.max_tokens=0", "≥ 1, not 0"),
        ("train.label_smoothing=1", "≥ 0 and < 1, not 1.0"),
        ("probe.lr=0", "> 0, not 0.0"),
        ("data.train_pairs=0", "≥ 1, not 0"),
        ("translate.beam_size=0", "≥ 1, not 0"),
        ("translate.length_penalty=nan", "a finite number ≥ -100 and ≤ 100, not nan"),
        ("seed=-1", "≥ 0 and < 4,294,967,296, not -1"),
        ("seed=4294967296", "≥ 0 and < 4,294,967,296, not 4294967296"),
    ],
)
def test_out_of_range(argument: str, allowed: str) -> None:
    key = argument.partition("=")[0]
    assert one(*KS, argument) == f"`{key}` must be {allowed}."


@pytest.mark.parametrize("alpha", ["0", "1", "0.05", "1e-3"])
def test_the_ends_of_a_range_are_in_it(alpha: str) -> None:
    tuner: Any = compose([*KS, f"tuner.alpha={alpha}"]).tuner
    assert tuner.alpha == float(alpha)


def test_all_mistakes_are_reported_together() -> None:
    with pytest.raises(ConfigError) as caught:
        compose(
            [
                *("recipe=ks_lottery", "model=gema3", "data.path=a=b", "seed=1.5", "sed=1"),
                *("train.epochs=0", "train.lr=-1", "train.batch_size=0", "tuner.alpha=1.5"),
                *("metrics=chff", "+x=1", "device=gpu"),
            ]
        )
    text = str(caught.value)
    assert text.startswith("12 settings are not valid:\n  1. ")
    for part in (
        *("Unknown model 'gema3'", "'data.path' cannot be read", "`seed`", "Unknown key 'sed'"),
        *("`train.epochs`", "`train.lr`", "`train.batch_size`", "`tuner.alpha`", "'chff'"),
        *("'+x=1'", "`lang` is missing", "`device`"),
    ):
        assert text.count(part) == 1, part


@pytest.mark.parametrize(
    "pair",
    [("alpha=0.05", "tickets=5"), ("alpha=0.05", "rows_file=x"), ("tickets=1", "rows_file=x")],
)
def test_rows_are_chosen_one_way(pair: tuple[str, str]) -> None:
    first, second = pair
    problem = one(*KS, f"tuner.{first}", f"tuner.{second}")
    assert problem.endswith("each choose the rows: give one of them.")
    for key in (first, second):
        assert f"`tuner.{key.partition('=')[0]}`" in problem


# --- the grammar of the command line -------------------------------------------


@pytest.mark.parametrize(
    ("argument", "quoted"),
    [
        ("data.path=a=b", "'data.path=\"a=b\"'"),
        ("data.path=a#b", "'data.path=\"a#b\"'"),
        ("data.path=/a/(b)", "'data.path=\"/a/(b)\"'"),
        ("data.path=~root/x", "'data.path=\"~root/x\"'"),
        ("data.path=/a/{b", "'data.path=\"/a/{b\"'"),
    ],
)
def test_a_value_with_signs_of_the_grammar_explains_quoting(argument: str, quoted: str) -> None:
    problem = one(*NONE, argument)
    assert problem.startswith(f"The value of 'data.path' cannot be read: {argument[10:]}.")
    assert problem.endswith(f"needs quotes inside quotes: {quoted}.")
    # and what it advises works
    assert compose([*NONE, quoted.strip("'")]).data.path == argument[10:]


@pytest.mark.parametrize("text", ["seed=0,1,2", "data.path=/a,b", "train.lr=range(1,3)"])
def test_sweeps_are_refused(text: str) -> None:
    problem = one(*NONE, text)
    assert "gives several values for one key" in problem
    assert "mt-bench" in problem


@pytest.mark.parametrize("text", ["+x=1", "++seed=1", "~seed", "~recipe", "recipe@x=none"])
def test_hydras_other_signs_are_refused(text: str) -> None:
    assert any("have no use here" in p for p in refused(*NONE, text))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("a b", "a b"),
        ("'a=b'", "a=b"),
        ('"a, b"', "a, b"),
        ("rüns/ă ș-ț/ñ", "rüns/ă ș-ț/ñ"),
        ("文/件", "文/件"),
        ("12e4567", "12e4567"),
        ("007", "007"),
        ("1_000", "1_000"),
        ("nan", "nan"),
        ("12", "12"),
        ("'no'", "no"),
        ("null", None),
    ],
)
def test_text_stays_as_written(written: str, value: str | None) -> None:
    assert compose([*NONE, f"out_dir={written}"]).out_dir == value
    assert compose([*NONE, f"model.revision={written}"]).model.revision == value


def test_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/Ană")
    assert compose([*NONE, "data.path=~/x y"]).data.path == "/home/Ană/x y"
    assert compose([*NONE, "data.path=~"]).data.path == "/home/Ană"


def test_a_single_metric_and_a_list_of_trackers() -> None:
    assert compose([*NONE, "metrics=chrf"]).metrics == ["chrf"]
    assert compose([*NONE, "tracker=[none,none]"]).tracker == ["none", "none"]


def test_a_section_at_once() -> None:
    config = compose([*NONE, "train={lr: 0.5, epochs: 7}"])
    assert (config.train.lr, config.train.epochs, config.train.batch_size) == (0.5, 7, 8)


def test_the_last_of_two_wins() -> None:
    assert compose([*NONE, "seed=1", "seed=2"]).seed == 2


def test_one_override() -> None:
    problems: list[str] = []
    assert parse_override("seed=3", [], problems) == ("seed", Number(3, "3"))
    assert parse_override("a.b='x y'", [], problems) == ("a.b", "x y")
    assert parse_override("resume=true", [], problems) == ("resume", True)
    assert problems == []


def test_compose_twice_and_inside_another_hydra_program() -> None:
    from hydra import compose as other
    from hydra import initialize_config_dir

    from mt_lottery.config.recipe_files import recipes_folder

    with initialize_config_dir(config_dir=str(recipes_folder()), version_base="1.3"):
        assert compose(NONE) == compose(NONE)
        assert other("config").recipe.tuner.name == "none"  # the caller's Hydra is as it was


# --- a saved configuration -----------------------------------------------------


def saved(tmp_path: Path, config: RunConfig) -> Path:
    file = tmp_path / "run 1" / "config.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(to_yaml(config), encoding="utf-8")
    return file


@pytest.mark.parametrize("recipe", TUNERS.names())
def test_round_trip_of_every_method(tmp_path: Path, recipe: str) -> None:
    config = compose([f"recipe={recipe}", "lang=en-no", "seed=3", "train.lr=3e-5"])
    file = saved(tmp_path, config)
    assert compose([f"config='{file}'"]) == config
    assert compose([f"config='{file.parent}'"]) == config  # the run directory will do
    assert compose_saved(file) == config


@pytest.mark.parametrize(
    "path",
    ["a b/c", "it's", 'say "x"', "a=b, c", "ă ș ț/ñ", "no", "null", "true", "1e5", "012", "~", "#x",
     "- a", "a: b", "{x}", "[y]", " edge ", "line\nbreak", "back\\slash", "%x", "@y", "!tag", "&z"],
)  # fmt: skip
def test_round_trip_of_awkward_paths(tmp_path: Path, path: str) -> None:
    config = compose(NONE)
    config.out_dir = config.data.path = config.model.name_or_path = path
    assert compose_saved(saved(tmp_path, config)) == config


def test_round_trip_with_changes(tmp_path: Path) -> None:
    config = compose([*KS, "preset=paper", "tracker=[none]", "metrics=[bleu]"])
    file = saved(tmp_path, config)
    again = compose([f"config='{file}'", "seed=9", "out_dir=x", "lang=en-ca"])
    assert (again.seed, again.out_dir, again.lang) == (9, "x", "en-ca")
    assert (again.train, again.probe, again.preset) == (config.train, config.probe, "paper")
    for argument in ("recipe=none", "model=hf", "data=mini", "preset=paper"):
        key = argument.partition("=")[0]
        problem = one(f"config='{file}'", argument)
        assert problem == f"config=FILE fixes {key}; leave out the one or the other."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: [1\n", "not a readable YAML file"),
        ("- a\n", "it must hold an object"),
        ("sed: 1\nlang: en-ro\n", "Unknown key 'sed' in "),
        ("lang: no\n", "`lang` is false in "),
        ("lang: en-ro\ntuner: ks_lottery\n", "'tuner' is a section"),
        ("lang: en-ro\ntuner: {name: ks_lotery}\n", "Did you mean 'ks_lottery'?"),
        ("lang: en-ro\ntrain: {epochs: 0}\n", "`train.epochs` must be ≥ 1"),
    ],
)
def test_a_damaged_configuration(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    for load in (lambda: compose([f"config={file}"]), lambda: compose_saved(file)):
        with pytest.raises(ConfigError) as caught:
            load()
        assert message in str(caught.value)


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    assert "no such file" in one(f"config={tmp_path}/none.yaml")
    assert "no such file" in one(f"config={tmp_path}")


def test_what_the_files_gave_before_is_nobodys_to_change() -> None:
    """The built-in YAML is composed once; each configuration is its own."""
    arguments = ["recipe=ks_lottery", "lang=en-ro"]
    first = compose(arguments)
    wanted = dataclasses.asdict(first)
    first.train.lr, first.metrics = 9.0, []
    first.data.name = "nothing"
    second = compose(arguments)
    assert dataclasses.asdict(second) == wanted and second.train is not first.train
    assert compose(["recipe=lora", "lang=en-ro"]).tuner.name == "lora"
