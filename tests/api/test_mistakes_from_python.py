"""What a newcomer gets wrong in Python: one clear message each, before anything is loaded."""

from __future__ import annotations

import ast
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch

import mt_lottery as mtl

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))

PAIRS = [("The cat.", "Pisica."), ("The dog.", "Câinele.")]
HALF, IDS = torch.tensor([0.5, 0.1]), torch.tensor([3, 5])
FRAME = pandas.DataFrame(PAIRS, columns=["en", "ro"])
REFERENCES = ["the cat sat on the mat", "a dog"]


def train(**given: Any) -> Callable[[], object]:
    given = {"recipe": "ks_lottery", "lang": "en-ro", "train": PAIRS, "name_or_path": "x"} | given
    return lambda: mtl.train(**given)


def bench(**given: Any) -> Callable[[], object]:
    return lambda: mtl.bench(**{"recipes": "lora", "langs": "ro"} | given)


def score(*given: Any, **more: Any) -> Callable[[], object]:
    return lambda: mtl.score(*(given or (REFERENCES, REFERENCES)), **{"metrics": ["chrf"]} | more)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MT_LOTTERY_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (train(outdir="x"), "Unknown key 'outdir'. Did you mean 'out_dir'"),
        (train(colums=("a", "b")), "Did you mean 'columns'"),
        (train(tuner={"ticket": 3}), "Did you mean 'tuner.tickets'"),
        (train(columns="left"), "columns='left'; two names are needed"),
        (train(settings="train.lr=1"), "settings='train.lr=1'; a mapping"),
        (train(name_or_path=None, model=object()), "model: object; .*name_or_path=FOLDER"),
        (train(model="./x"), "model='./x' and name_or_path='x': give the one or the other"),
        (train(name_or_path=None, model="gemma3_270"), "Did you mean 'gemma3_270m'"),
        (
            train(name_or_path=None, model=Path("there")),
            "name_or_path=there: there is no such local folder",
        ),
        (train(train={"source": ["a"], "target": ["b"]}), r"train: .*columns \(source, target\)"),
        (train(test={"test": PAIRS}), r"test: several splits or columns \(test\)"),
        (bench(preset="smok"), "preset: Unknown preset 'smok'. Did you mean 'smoke'"),
        (bench(executor="slrm"), "executor: .*Did you mean 'slurm'"),
        (bench(jobs="two"), "^jobs must be a whole number, not 'two'"),
        (bench(jobs=0), "^jobs must be at least 1"),
        (bench(langs=[]), "^langs is empty.* langs=ro"),
        (bench(langs=None), "^langs must be a list of texts, not NoneType"),
        (bench(recipes=[3]), r"^recipes\[0\] must be a text, not int"),
        (bench(seeds="a"), "^seeds: each must be a whole number"),
        (bench(seeds=[]), r"^seeds=\[\]; a whole number or a list of some"),
        (bench(seeds=None), "^seeds=None; a whole number or a list"),
        (bench(seeds="0,b"), "^seeds: each must be a whole number .* not 'b'"),
        (bench(slurm={"gpus": 1}), "^slurm gpus=1: it goes with executor=slurm"),
        (bench(recipe="lora"), "bench: .*Did you mean 'recipes'"),
        (bench(settings=3), "settings=3; a mapping"),
        (score(None, REFERENCES), "^hypotheses must be a list of texts, not NoneType"),
        (score([None, "a"], REFERENCES), r"^hypotheses\[0\] must be a text, not NoneType"),
        (score("a", "b"), "^hypotheses is one text"),
        (score(REFERENCES, [REFERENCES]), "references: a list of lists"),
        (
            score(dict(zip("ab", REFERENCES, strict=True)), REFERENCES),
            "^hypotheses is a dict, .* values",
        ),
        (score(REFERENCES, dict(zip("ab", REFERENCES, strict=True))), "^references is a dict"),
        (score(set(REFERENCES), REFERENCES), "^hypotheses is a set, which has no order"),
        (score(REFERENCES, frozenset(REFERENCES)), "^references is a frozenset"),
        (score(FRAME, FRAME["en"]), r"^hypotheses is a DataFrame; .* \('en', 'ro'\)"),
        (score(FRAME["en"], FRAME), "^references is a DataFrame"),
        (score(REFERENCES, REFERENCES, set(REFERENCES)), "^sources is a set"),
        (score(metrics={"chrf": 1}), "^metrics must be a list of names"),
        (score(["a\ud800", "b"], REFERENCES), r"^hypotheses\[0\] holds half a surrogate pair"),
        (train(train=set(PAIRS)), "^train is a set, which has no order"),
        (train(test=frozenset(PAIRS)), "^test is a frozenset, which has no order"),
        (bench(langs={"ro": 1}), "^langs is a dict"),
        (score(metrics=[]), "metrics must be a list of names"),
        (score(metrics=None), "metrics must be a list of names"),
        (score(metrics=[3]), "metrics: 3 is neither"),
        (score(metric=["chrf"]), "score: .*Did you mean 'metrics'"),
        (score(bootstrap=1.5), "^bootstrap must be a whole number ≥ 1"),
        (score(seed=-1), "^seed must be a whole number ≥ 0"),
        (score(["hello", "x"], ["", "x"]), r"^references\[0\] is empty"),
        (score(tokenizer="gpt2"), "^tokenizer must be a tokenizer"),
        (train(metrics=[""], out_dir=""), "`out_dir` is empty; for none write out_dir=None"),
        (
            train(train=None, data="./x.tsv"),
            "write data='files', settings={'data.path': './x.tsv'}",
        ),
        (lambda: mtl.Run(3), "^3: a path must be a text, not int"),
        (lambda: mtl.Run(""), "^'': an empty text is no path"),
        (lambda: mtl.find_ticket("", "", rows=3), "^the first model is ''; a folder"),
        (lambda: mtl.find_ticket(HALF.reshape(1, 2), "", rows=1), "^the second model is ''"),
        (lambda: mtl.load_tuned(3), "^3: a path must be a text, not int"),
        (lambda: mtl.Leaderboard(b"x"), "^b'x': a path must be a text, not bytes"),
        (lambda: mtl.read_record(3), "^3: a path must be a text, not int"),
        (lambda: mtl.Ticket.load(3), "^3: a path must be a text, not int"),
        (lambda: mtl.certify("x", alphas=[]), "^alphas is empty"),
        (lambda: mtl.certify("x", alphas=0.5), "^alphas is 0.5; a list"),
        (lambda: mtl.certify("x", alphas=np.array([2.0])), "^alphas: alpha must be a number"),
        (lambda: mtl.certify("x", alpha=[1]), "certify: .*Did you mean 'alphas'"),
        (lambda: mtl.certify("x", positions="3"), "^positions is '3'"),
        (lambda: mtl.TicketConfig(), "^TicketConfig: missing a required argument: 'rows'"),
        (lambda: mtl.find_ticket(), "^find_ticket: missing a required argument: 'base'"),
        (lambda: mtl.certify(HALF, IDS, IDS), "^certify: missing a required argument: 'tau'"),
        (lambda: mtl.certify(18 * HALF, IDS, IDS, 0.1), "^A margin is 9: .* at most 1"),
        (lambda: mtl.certify(HALF, IDS.float(), IDS, 0.1), "^predictions .* whole numbers"),
        (train(train=[("a", "b", "c")]), r"^train\[0\]: .* found tuple of 3 items"),
        (lambda: mtl.certify(["x"]), "^run: list; a run or its folder"),
    ],
)
def test_one_message_that_names_the_argument(call: Callable[[], object], message: str) -> None:
    with pytest.raises(mtl.MTLotteryError, match=message) as told:
        call()
    assert "--" not in str(told.value) and "=true" not in str(told.value)


def test_settings_in_messages_are_written_for_who_called() -> None:
    """``assigned`` writes them; what is listed is an argument of a command that we make."""
    top, found = Path(mtl.__file__).parent, set()
    for file in sorted(top.rglob("*.py")):
        if file.is_relative_to(top / "cli"):
            continue
        tree = ast.parse(file.read_text("utf-8"))
        texts = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and type(n.value) is str]
        said = [node for node in ast.walk(tree) if isinstance(node, ast.Expr)]  # docstrings
        docs = {id(node.value) for node in said}
        for node in texts:
            if id(node) not in docs and re.search(r"\w=(true|false|null)\b", node.value):
                found.add((str(file.relative_to(top)), node.value))
    assert found == {
        ("benchmark/executors/worker.py", "resume=true"),
        ("benchmark/plan.py", "baseline=false"),
        ("config/stored.py", "model.trust_remote_code=true"),
        (
            "tracking/clients.py",
            "tracker=mlflow: MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri ",
        ),
    }


@pytest.mark.parametrize(
    "form",
    [
        *(list, iter, np.array, pandas.Series),
        lambda texts: dict(enumerate(texts)).values(),
        lambda texts: dict.fromkeys(texts).keys(),
    ],
)
def test_texts_of_every_form_score_the_same(form: Any) -> None:
    plain = mtl.score(REFERENCES, REFERENCES, REFERENCES, ["chrf"], bootstrap=10)
    found = mtl.score(form(REFERENCES), form(REFERENCES), form(REFERENCES), ("chrf",), bootstrap=10)
    assert found == plain


def test_numbers_of_numpy_and_torch_are_numbers() -> None:
    from mt_lottery.api.benchmarks import _seeds
    from mt_lottery.api.training import settings_from

    given = {"seed": torch.tensor(4), "tuner": {"tickets": np.int64(4), "ids": [np.int64(1)]}}
    assert settings_from(given) == {"seed": 4, "tuner.tickets": 4, "tuner.ids": [1]}
    assert _seeds(np.int64(3)) == "3" and _seeds([np.int64(0), torch.tensor(1)]) == "0,1"
    for call in (
        lambda: mtl.certify("x", positions=np.int64(2), alphas=[0.5], seed=torch.tensor(0)),
        bench(recipes="lora", langs="ro", jobs=np.int64(1), tune=np.int64(0), preset="smok"),
    ):
        with pytest.raises(mtl.MTLotteryError, match=r"^x|smok") as told:
            call()
        assert "whole number" not in str(told.value) and "positions" not in str(told.value)


def test_a_command_in_the_same_process_still_names_its_options(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mt_lottery.cli import bench as command

    monkeypatch.setattr("sys.argv", ["mt-bench", "lora", "--langs", ","])
    assert command.main() == 2
    assert "--langs is empty" in capsys.readouterr().err
    with pytest.raises(mtl.MTLotteryError, match=r"^langs is empty"):
        mtl.bench("lora", ",")


def test_a_mistake_in_a_thread_is_told_as_elsewhere() -> None:
    told: list[BaseException] = []

    def work() -> None:
        try:
            mtl.bench("lora", [])
        except mtl.MTLotteryError as error:
            told.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert str(told[0]).startswith("langs is empty")


def test_a_misspelt_name_of_the_package() -> None:
    with pytest.raises(AttributeError, match="Did you mean 'find_ticket'"):
        mtl.find_tickets  # type: ignore[attr-defined] # noqa: B018


@pytest.mark.slow
def test_a_run_takes_texts_and_settings_of_decoding_as_train_does(tmp_path: Path) -> None:
    from tiny_runs import make_models

    run = mtl.train(
        "random", "en-ro", name_or_path=make_models(tmp_path).untied, train=PAIRS * 4, test=PAIRS,
        dev=PAIRS, tuner={"tickets": np.int64(2)}, metrics=["chrf"], out_dir=tmp_path / "run",
        translate={"max_new_tokens": 4},
    )  # fmt: skip
    said = run.translate(["The cat.", " ", "The dog."])
    assert run.translate(iter(["The cat.", " ", "The dog."])) == said and said[1] == ""
    assert run.translate(np.array(["The cat.", " ", "The dog."])) == said
    for call, message in (
        (lambda: run.translate("The cat."), "^sentences is one text"),
        (lambda: run.translate([None]), r"^sentences\[0\] must be a text, not NoneType"),
        (lambda: run.translate(["a"], max_new_token=3), "Did you mean 'max_new_tokens'"),
        (lambda: run.translate(["a"], beam_size=0), "`beam_size` must be ≥ 1"),
        (lambda: run.translate(["a"], beam_size="2"), "`beam_size` must be a whole number"),
        (lambda: run.translate({"id": "The cat."}), "^sentences is a dict"),
        (lambda: run.translate(FRAME), "^sentences is a DataFrame; give one of its columns"),
        (lambda: run.translate(["a", "a\ud800b"]), r"^sentences\[1\] holds half a surrogate pair"),
        (lambda: run.prompt("a\ud800b"), "^sentence holds half a surrogate pair"),
        (lambda: run.prompt(["a"]), "^sentence must be one text, not list"),
        (lambda: run.merge(tmp_path / "run"), "overwrite=True|run"),
        (lambda: mtl.certify(run), "no embedding-tuned probe"),
    ):
        with pytest.raises(mtl.MTLotteryError, match=message):
            call()


@pytest.mark.slow
def test_a_benchmark_without_a_finished_cell_says_why(tmp_path: Path) -> None:
    with pytest.raises(mtl.MTLotteryError, match=r"no cell could be finished\.\n.*no such folder"):
        mtl.bench("random", "ro", model=tmp_path / "none", preset="smoke", out=tmp_path / "b")
