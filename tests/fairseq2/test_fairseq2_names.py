"""What fairseq2 finds by name: tuners, criteria, optimizers, models, corpora; plugins' too."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq2_there import MISSING
from tiny_runs import Commands, Models

from mt_lottery import registry
from mt_lottery.config import TrainConfig, setting
from mt_lottery.errors import ConfigError, DataError

pytestmark = pytest.mark.slow

OWN = Path(__file__).with_name("own_recipe.py")


@pytest.fixture(scope="module")
def container() -> Any:
    """As fairseq2 makes it: extensions are found by their entry points."""
    if MISSING is not None:  # before the fixture that says so to each test
        pytest.skip(MISSING)
    import fairseq2.recipe  # noqa: F401
    from fairseq2.composition import _register_library
    from fairseq2.recipe.component import ComponentManager, _StandardComponentManager
    from fairseq2.runtime.dependency import DependencyContainer

    made = DependencyContainer()
    _register_library(made, no_progress=True)
    made.register_type(ComponentManager, _StandardComponentManager, singleton=True)
    return made


def test_every_name_of_our_registry(container: Any) -> None:
    from fairseq2.datasets import DatasetFamily
    from fairseq2.models import ModelFamily

    models = {k for k in container.iter_keys(ModelFamily) if k.startswith("mt_lottery/")}
    assert models == {"mt_lottery/hf", "mt_lottery/gemma3_270m"}
    corpora = {k for k in container.iter_keys(DatasetFamily) if k.startswith("mt_lottery/")}
    assert corpora == {f"mt_lottery/{name}" for name in registry.CORPORA.names()}
    assert "mt_lottery/opus100" in corpora
    for name in corpora:
        assert container.resolve(DatasetFamily, key=name).config_kls().lang == ""


def component(container: Any, kind: type, name: str, settings: dict[str, Any]) -> Any:
    from fairseq2.recipe.component import ComponentManager

    manager = container.resolve(ComponentManager)
    config = manager.structure_component_config(kind, name, settings)
    return manager.create_component(kind, name, config)


def test_tuners(container: Any) -> None:
    from mt_lottery.tuners.base import Tuner
    from mt_lottery.tuners.rows.ks_lottery import KSLotteryTuner

    for name in registry.TUNERS.names():
        made = component(container, Tuner, name, {})
        assert type(made) is registry.TUNERS.get(name) and made.config.name == name
    made = component(container, Tuner, "ks_lottery", {"alpha": 0.5, "scope": "tied"})
    assert isinstance(made, KSLotteryTuner)
    assert (made.config.alpha, made.config.tickets, made.config.scope) == (0.5, None, "tied")
    assert component(container, Tuner, "ks_lottery", {}).config.tickets == 18
    with pytest.raises(ConfigError, match=r"`r` must be ≥ 1 .*, not 0"):
        component(container, Tuner, "lora", {"r": 0})


def test_criteria(container: Any) -> None:
    from mt_lottery.fairseq2.extension import Criterion

    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 3, 6, 2, 1])
    settings = {"label_smoothing": 0.3}
    made = component(container, Criterion, "label_smoothed_cross_entropy", settings)
    wanted = torch.nn.functional.cross_entropy(logits, labels, reduction="sum", label_smoothing=0.3)
    torch.testing.assert_close(made(logits.clone(), labels), wanted)
    names = {key[1] for key in _component_keys(container) if key[0] is Criterion}
    assert names == set(registry.CRITERIA.names())


def _component_keys(container: Any) -> list[Any]:
    from fairseq2.recipe.component import _ComponentEntry

    return list(container.iter_keys(_ComponentEntry))


def test_the_schedule_is_that_of_transformers() -> None:
    from transformers import get_scheduler

    from mt_lottery.fairseq2.extension import Schedule

    for name in ("linear", "cosine", "constant"):
        rates = []
        theirs = {"constant": "constant_with_warmup"}.get(name, name)
        for ours in (True, False):
            optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
            config = TrainConfig(schedule=name, warmup_steps=3)
            made: Any = (
                Schedule(optimizer, config, 10) if ours else get_scheduler(theirs, optimizer, 3, 10)
            )
            found = []
            for step in range(10):
                found.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                made.step()
                if ours and step == 4:
                    state = made.state_dict()
                    json.dumps(state)
                    made.load_state_dict(state)
            rates.append(found)
        assert rates[0] == rates[1] and len(set(rates[0])) > 3


def test_a_plugin_of_somebody_else(registered: None) -> None:
    import fairseq2.recipe  # noqa: F401
    from fairseq2.recipe.component import ComponentManager, _StandardComponentManager
    from fairseq2.runtime.dependency import DependencyContainer
    from fairseq2.utils.structured import StandardValueConverter, ValueConverter
    from torch.optim import Optimizer

    from mt_lottery.config import TunerConfig
    from mt_lottery.fairseq2.extension import setup
    from mt_lottery.tuners.base import Tuner
    from mt_lottery.tuners.none import NoTuner

    @dataclasses.dataclass
    class Settings(TunerConfig):
        strength: float = setting(0.5, "how much", ge=0.0)

    @registry.register_tuner("theirs", dataclass=Settings)
    class Theirs(NoTuner):
        pass

    registry.register_optimizer("theirs")(lambda parameters, config: None)
    made = DependencyContainer()
    setup(made)
    made.register_type(ValueConverter, StandardValueConverter)
    made.register_type(ComponentManager, _StandardComponentManager, singleton=True)
    tuner = component(made, Tuner, "theirs", {"strength": 2.0})
    assert isinstance(tuner, Theirs) and tuner.config.strength == 2.0
    assert (Optimizer, "mt_lottery/theirs") in _component_keys(made)


def test_the_corpora(models: Models) -> None:
    from transformers import AutoTokenizer

    from mt_lottery.fairseq2.text import ParallelText

    tokenizer = AutoTokenizer.from_pretrained(models.untied)

    from mt_lottery.fairseq2 import extension

    schema = extension.schema_of(registry.CORPORA, "mini", extension.DataConfig, lang="")
    text = ParallelText(schema(lang="en-ro", train_pairs=10, template="alpaca"))
    assert len(text.corpora.train.pairs) == 10  # type: ignore[union-attr]
    encoded = text.encode("train", tokenizer).examples
    settings = TrainConfig(epochs=2, batch_size=4, accumulate=2)
    reader = text.reader(tokenizer, settings, 0)
    steps = list(reader)
    assert [len(step) for step in steps] == [2, 2, 2] and next(reader, None) is None
    batch = steps[0][0]
    sequences = batch.sequences()
    seen = [ids for e in encoded for ids in [e.prompt_ids + e.target_ids]]
    rows = [
        row[:length].tolist()
        for row, length in zip(sequences.seqs, sequences.seq_lens, strict=True)
    ]
    assert all(row in seen for row in rows)
    assert sorted(len(b.tensors["labels"]) for s in steps for b in s) == [2, 2, 4, 4, 4, 4]
    targets = {tuple(e.target_ids) for e in encoded}
    assert sequences.target_mask is not None
    masked = zip(sequences.seqs, sequences.target_mask, strict=True)
    assert all(tuple(row[mask].tolist()) in targets for row, mask in masked)
    reader.reset()
    next(reader)
    state = reader.state_dict()
    rest = list(reader)
    reader.load_state_dict(state)
    for one, other in zip(reader, rest, strict=True):
        assert torch.equal(one[0].tensors["input_ids"], other[0].tensors["input_ids"])
    with pytest.raises(DataError, match="A batch has 2 pairs for 3 processes"):
        text.reader(tokenizer, settings, 0, 0, 3)


def test_a_recipe_of_ones_own(commands: Commands, models: Models) -> None:
    """fairseq2's trainer on our model, corpus, tuner, criterion and optimizer, all by name."""
    arguments = [
        *("--no-rich", "--config", f"model.config_overrides.name_or_path={models.untied}"),
        *("dataset.config_overrides.lang=en-es", "dataset.config_overrides.train_pairs=16"),
        *("tuner.config.tickets=30", "regime.publish_metrics_every_n_steps=1"),
        "trainer.mixed_precision.mode=off",
    ]
    done = subprocess.run(
        [sys.executable, str(OWN), "out", *arguments],
        env=commands.environment() | {"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    text = Path("out/metrics/train.jsonl").read_text()
    lines = [json.loads(line) for line in text.split("\n") if line]
    losses = [line["Loss"] for line in lines]
    assert len(losses) == 6 and all(math.isfinite(x) for x in losses)
    rates = [line["Learning Rate"] for line in lines]
    assert rates == pytest.approx([0.01 * (6 - i) / 6 for i in range(6)], abs=1e-6)
    (file,) = Path("out/checkpoints/step_6/model").rglob("*.pt")
    state = torch.load(file, weights_only=True)
    (rows,) = (v for k, v in state.items() if k.endswith("embed_tokens.rows"))
    (table,) = (v for k, v in state.items() if k.endswith("embed_tokens.base.weight"))
    (ids,) = (v for k, v in state.items() if k.endswith("embed_tokens.token_ids"))
    assert rows.shape == (30, 32)
    moved = (rows - table[ids]).abs().amax(1) > 0
    assert 0 < int(moved.sum()) <= 30  # those whose tokens occur
