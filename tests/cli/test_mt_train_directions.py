"""``mt-train lang=en-ro,en-es``: one run of several directions, on tiny models."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Commands, Ended, Models, hypotheses, record, small
from torch import Tensor

import mt_lottery as mtl
from mt_lottery.config.compose import compose_settings
from mt_lottery.registry import register_criterion
from mt_lottery.training.cross_entropy import summed_cross_entropy

pytestmark = pytest.mark.slow

FAST = ("baseline=false", "train.epochs=1", "probe.epochs=1", "tuner.tickets=5", "train.lr=0.05")


def tune(commands: Commands, models: Models, lang: str, *more: object, recipe: str = "") -> Ended:
    chosen = recipe or "ks_lottery"
    own = FAST if chosen == "ks_lottery" else FAST[:1]
    return commands.train(*small(models.untied, chosen, f"lang={lang}", *own, *more))


def done(commands: Commands, models: Models, lang: str, *more: object, recipe: str = "") -> Ended:
    ended = tune(commands, models, lang, *more, recipe=recipe)
    assert ended.code == 0, ended.err
    return ended


def read(folder: Path | str, name: str) -> bytes:
    return (Path(folder) / name).read_bytes()


def test_a_run_of_one_trained_direction_is_the_run_of_that_direction(
    commands: Commands, models: Models
) -> None:
    done(commands, models, "en-ro", "out_dir=one")
    done(commands, models, "en-ro", "test_lang=en-es", "out_dir=two")
    for name in ("adapter/adapter_model.safetensors", "tickets.csv"):
        assert read("one", name) == read("two", name)
    one, two = record(Path("one")), record(Path("two"))
    assert "directions" not in one and "lang" not in hypotheses(Path("one"))[0]
    assert two["scores"]["chrf"]["raw"] == one["scores"]["chrf"]["raw"]
    found = two["directions"]["en-ro"]
    assert found["scores"] == one["scores"] and found["generation"] == one["generation"]
    assert (found["train"], found["test"]) == (one["data"]["train"], one["data"]["test"])
    assert two["directions"]["en-es"]["trained"] is False
    assert two["directions"]["en-es"]["train"] is None
    assert [{**line, "lang": "en-ro"} for line in hypotheses(Path("one"))] == hypotheses(
        Path("two")
    )[:6]


def test_a_run_of_several_directions(commands: Commands, models: Models) -> None:
    ended = done(commands, models, "en-ro,ro-en", "baseline=true", "test_lang=en-ca")
    folder = Path("runs/en-ro+ro-en+test-en-ca/ks_lottery/seed-0")
    found = record(folder)
    assert found["lang"] == "en-ro,ro-en" and [*found["directions"]] == ["en-ro", "ro-en", "en-ca"]
    own = [found["directions"][x]["scores"]["chrf"] for x in ("en-ro", "ro-en")]
    for which in ("raw", "first_line"):
        mean = sum(each[which]["score"] for each in own) / 2
        assert found["scores"]["chrf"][which]["score"] == pytest.approx(mean, rel=1e-12)
        low, high = found["scores"]["chrf"][which]["ci95"]
        assert low <= mean <= high
    assert found["data"]["train"]["pairs"] == 48 and found["data"]["test"]["pairs"] == 18
    lines = hypotheses(folder)
    assert [line["lang"] for line in lines] == ["en-ro"] * 6 + ["ro-en"] * 6 + ["en-ca"] * 6
    assert len(read(folder, "sentence_scores.jsonl").splitlines()) == 18
    # every part is scored as a single direction is
    for lang in found["directions"]:
        mine = [line for line in lines if line["lang"] == lang]
        texts = [[line[key] for line in mine] for key in ("hypothesis", "reference")]
        alone = mtl.score(*texts, metrics=["chrf"])["chrf"]["raw"]
        assert found["directions"][lang]["scores"]["chrf"]["raw"] == alone
    for said in ("average of en-ro, ro-en", "en-ca (not trained)", "source (ro-en)  "):
        assert said in ended.out, ended.out
    run = mtl.Run(folder)
    assert run.baseline is not None and run.baseline.record.method == "none"
    assert run.directions == ["en-ro", "ro-en", "en-ca"]
    for lang in run.directions:
        mine = [line for line in lines if line["lang"] == lang]
        said = run.translate([line["source"] for line in mine], lang=lang)
        assert said == [line["first_line"] for line in mine]
    assert "Translate Romanian to English" in run.prompt("Bună.", lang="ro-en")
    with pytest.raises(
        mtl.MTLotteryError, match=r"en-ro, ro-en, en-ca: say which direction, lang="
    ):
        run.translate(["A."])
    with pytest.raises(mtl.MTLotteryError, match=r"lang=en-es: .* has en-ro, ro-en, en-ca"):
        run.prompt("A.", lang="en-es")
    merged = run.merge("merged")
    assert merged.same == merged.sentences == 8
    # ... it is found again, and a line of another direction is found out
    assert "left alone" in done(commands, models, "en-ro,ro-en", "test_lang=en-ca").err
    text = (folder / "hypotheses.jsonl").read_text("utf-8").replace("en-ca", "en-es", 1)
    (folder / "hypotheses.jsonl").write_text(text, "utf-8")
    with pytest.raises(mtl.MTLotteryError, match="damaged: `lang` of its lines"):
        _ = mtl.Run(folder).hypotheses


def test_uniform_sampling_repeats_the_smaller_direction(
    commands: Commands, models: Models, tmp_path: Path
) -> None:
    user = tmp_path / "plugins"
    user.mkdir()
    (user / "uneven.py").write_text(
        "from mt_lottery.plugin import Pair, register_corpus\n\n\n"
        '@register_corpus("uneven")\n'
        "class Uneven:\n"
        "    def __init__(self, path, config):\n        pass\n\n"
        "    def pool(self, role):\n        return role\n\n"
        "    def read(self, pool, pair):\n"
        '        many = 12 if pair.target.code == "ro" else 5\n'
        '        return [Pair(f"{pool} A {i}.", f"{pair} {i}.") for i in range(many)]\n'
    )
    every = ("data=uneven", f"user_dir={user}", "data.train_pairs=null", "data.test_pairs=null")
    every = (*every, "data.dev_pairs=null", "train.batch_size=1")
    steps = {}
    for sampling in ("proportional", "uniform"):
        out = f"out_dir={sampling}"
        done(commands, models, "en-ro,en-es", *every, f"data.sampling={sampling}", out)
        found = record(Path(sampling))
        assert found["directions"]["en-es"]["train"]["pairs"] == 5
        steps[sampling] = found["cost"]["train_steps"], found["data"]["train"]["pairs"]
    assert steps == {"proportional": (17, 17), "uniform": (24, 24)}


def test_a_run_that_was_cut_short_goes_on(
    commands: Commands, models: Models, registered: None
) -> None:
    calls = itertools.count(1)

    @register_criterion("stops_once")
    def stops_once(logits: Tensor, labels: Tensor, config: Any) -> Tensor:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return summed_cross_entropy(logits, labels)

    more = ("train.save_steps=1", "train.criterion=stops_once")
    assert tune(commands, models, "en-ro,en-es", *more, "out_dir=cut").code == 130
    done(commands, models, "en-ro,en-es", *more, "out_dir=cut", "resume=true")
    done(commands, models, "en-ro,en-es", *more, "out_dir=whole")
    for name in ("hypotheses.jsonl", "adapter/adapter_model.safetensors"):
        assert read("cut", name) == read("whole", name)


def test_trials_on_dev_are_scored_in_every_direction(commands: Commands, models: Models) -> None:
    ended = done(commands, models, "en-ro,en-es", "test_lang=en-ca", "tune=2", "out_dir=run")
    assert "Trial 2 of 2" in ended.err
    found = record(Path("run"))
    trial = record(Path("run/trials/0"))
    assert [*trial["directions"]] == ["en-ro", "en-es"] and trial["data"]["test"]["pairs"] == 8
    assert found["tuning"]["dev"]["pairs"] == 8 and len(found["directions"]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lang=en-ro,en-xx"], "`lang`: Unknown language 'xx'"),
        (["lang=en-ro,"], "`lang`: lang=: two languages"),
        (["lang=en-ro", "test_lang=en-es,en-ro"], "`test_lang`: en-ro is among the directions"),
        (["lang=en-ro", "test_lang=ro"], "`test_lang`: test_lang=ro: two languages"),
        (["lang=en-ro,en-es", "data.sampling=uni"], "`data.sampling` must be one of"),
    ],
)
def test_mistakes_in_the_directions(arguments: list[str], message: str, commands: Commands) -> None:
    said = commands.train("recipe=none", "model=hf", "model.name_or_path=x", *arguments).mistake()
    assert message in said and "settings are not valid" not in said, said


def test_several_directions_from_python() -> None:
    asked = {"recipe": "none", "lang": ["en-ron", "en-es"], "test_lang": ["en-ca"]}
    config = compose_settings(asked)
    assert (config.lang, config.test_lang) == ("en-ro,en-es", "en-ca")
    with pytest.raises(mtl.MTLotteryError, match="train: pairs of one direction, but lang has"):
        mtl.train("none", ["en-ro", "en-es"], train=[("a", "b")], name_or_path="x")


def test_what_needs_one_direction_says_so(commands: Commands, models: Models) -> None:
    for name in ("few_shot", "forced_prefix"):
        said = tune(commands, models, "en-ro,en-es", recipe=name).mistake()
        assert f"`lang`: recipe={name} puts text of one direction before every sentence" in said
    done(commands, models, "en-ro,en-es", "out_dir=run")
    for name in ("certify", "explain"):
        said = commands.call("ticket", name, "run", "--out", name).mistake()
        assert said.startswith("run: The run has several directions (en-ro, en-es)"), said
        assert not Path(name).exists()
    assert commands.call("ticket", "show", "run").code == 0
    assert commands.call("ticket", "find", "run").code == 0
    said = commands.call("translate", "--run", "run").mistake()
    assert "run has en-ro, en-es: say which direction, --lang en-ro." in said
