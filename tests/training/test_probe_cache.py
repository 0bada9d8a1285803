"""The embedding-tuned probe: trained once, found again, mended, continued."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from interrupting import At, Crash, crash
from torch import Tensor
from training import SHORT, steps_of

from mt_lottery.config import RunConfig, TrainConfig
from mt_lottery.errors import TuningError
from mt_lottery.runs.stages.probe import META, WEIGHTS, TrainedProbe, find_or_train, probe_hash
from mt_lottery.tracking.trackers import Tracker
from mt_lottery.training.trainer import TransformersEngine
from mt_lottery.tuners.base import TuningContext
from mt_lottery.tuners.rows.base import RowsConfig
from mt_lottery.tuners.rows.embed import EmbedTuner
from mt_lottery.tuners.rows.ks_lottery import KSLotteryConfig, KSLotteryTuner, KSTransferTuner

pytestmark = pytest.mark.slow

EXAMPLES = tiny.examples(16)
IDENTITY = {"model": "abc", "train": "def", "template": "plain", "lang": "en-ro"}


class Trained(Tracker):
    """Counts the optimizer steps that were really done."""

    def __init__(self) -> None:
        super().__init__({}, "")
        self.steps = 0

    def log(self, step: int, values: dict[str, float]) -> None:
        self.steps += "loss" in values


def context(tied: bool = False, seed: int = 0) -> TuningContext:
    model = tiny.model(tied=tied).requires_grad_(False)
    return TuningContext(model, tiny.tokenizer(), seed, seen=tiny.seen(EXAMPLES))


def find(
    where: TuningContext, *trackers: Tracker, scope: str = "input", **settings: Any
) -> tuple[TrainedProbe, list[str]]:
    """The probe, and what the user was told."""
    config = TrainConfig(**{**SHORT, "save_steps": 2, **settings})
    said: list[str] = []
    probe = find_or_train(
        where,
        config,
        EXAMPLES,
        engine=TransformersEngine(RunConfig()),
        key=probe_hash(IDENTITY, config, where.seed, scope),
        scope=scope,
        pad_id=tiny.PAD,
        dev=None,
        trackers=trackers,
        echo=said.append,
    )
    return probe, said


def values(probe: TrainedProbe) -> Tensor:
    return probe.probe.values


def folder_of(probe: TrainedProbe, cache: Path) -> Path:
    (folder,) = (cache / "probes").iterdir()
    assert probe.log.parent == folder
    return folder


@pytest.mark.parametrize("scope", ["input", "tied"])
def test_trained_once_then_found(scope: str, cache: Path) -> None:
    where, counted = context(tied=True), Trained()
    table, ids = where.table.clone(), tiny.ids()
    embedding, head = where.model.get_input_embeddings(), where.model.get_output_embeddings()
    before = where.model(ids).logits
    first, said = find(where, counted, scope=scope)
    assert not first.found and counted.steps == first.steps == 8 and said == []
    # the model is the original one, and frozen
    assert where.model.get_input_embeddings() is embedding
    assert where.model.get_output_embeddings() is head
    assert torch.equal(where.table, table) and torch.equal(where.model(ids).logits, before)
    assert not any(p.requires_grad for p in where.model.parameters())
    again, said = find(context(tied=True), counted, scope=scope)
    assert again.found and counted.steps == 8 and again.steps == 8
    assert said == [
        f"Embedding-tuned probe: found ({first.probe.seconds:.0f} s when it was trained)."
    ]
    assert torch.equal(values(again), values(first))
    assert torch.equal(again.probe.token_ids, first.probe.token_ids)
    assert again.probe.seconds == first.probe.seconds > 0  # charged to who finds it, too
    rows = first.probe.token_ids
    assert rows.tolist() == (where.seen.tolist() if scope == "input" else list(range(tiny.VOCAB)))
    assert not torch.equal(values(first), table[rows])
    assert steps_of(folder_of(first, cache)) == list(range(1, 9))
    assert not (folder_of(first, cache) / "checkpoints").exists()


def test_another_alpha_or_method_costs_no_second_probe(cache: Path) -> None:
    counted, chosen = Trained(), []
    for tuner in (
        KSLotteryTuner(KSLotteryConfig("ks_lottery", tickets=3)),
        KSLotteryTuner(KSLotteryConfig("ks_lottery", alpha=0.99)),
        KSTransferTuner(KSLotteryConfig("ks_transfer", tickets=5)),
        EmbedTuner(RowsConfig("embed")),
    ):
        where = context()
        assert tuner.probe == "embed" and tuner.scope == "input"
        where.probe = find(where, counted, scope=tuner.scope)[0].probe
        tuner.apply(where)
        chosen.append(len(where.model.get_input_embeddings().token_ids))
    assert counted.steps == 8
    assert chosen[0] == 3 and chosen[2] == 5 and chosen[3] == len(context().seen)


def test_the_key_has_all_that_the_result_depends_on() -> None:
    config = TrainConfig()

    def key(config: TrainConfig = config, seed: int = 0, scope: str = "input", **more: str) -> str:
        return probe_hash(IDENTITY | more, config, seed, scope)

    others = [
        key(seed=1),
        key(scope="tied"),
        key(model="other"),
        key(train="other"),
        key(lang="en-es"),
        *(
            key(TrainConfig(**{name: value}))
            for name, value in {
                "epochs": 9, "lr": 0.5, "batch_size": 3, "max_tokens": 99, "accumulate": 2,
                "optimizer": "sgd", "criterion": "label_smoothed_cross_entropy",
                "label_smoothing": 0.3, "schedule": "cosine", "warmup_steps": 3,
                "max_grad_norm": 0.0,
            }.items()
        ),
    ]  # fmt: skip
    assert len({key(), *others}) == len(others) + 1
    assert key(TrainConfig(save_steps=7)) == key()  # how often it is saved changes nothing


def test_another_seed_or_rate_is_another_probe(cache: Path) -> None:
    counted = Trained()
    made = [
        values(find(context(), counted)[0]),
        values(find(context(seed=1), counted)[0]),
        values(find(context(), counted, lr=0.05)[0]),
    ]
    assert counted.steps == 24 and len(list((cache / "probes").iterdir())) == 3
    assert not torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(bytes(content))


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: flip(f / WEIGHTS),
        lambda f: (f / WEIGHTS).write_bytes(b""),
        lambda f: (f / WEIGHTS).unlink(),
        lambda f: ((f / WEIGHTS).unlink(), (f / WEIGHTS).symlink_to(f)),
        lambda f: (f / META).write_text('{"sha'),
        lambda f: (f / META).write_text("[1]"),
        lambda f: (f / META).write_text("{}"),
        lambda f: (f / META).write_bytes(b"\xff\xfe"),
        lambda f: (f / META).write_text(
            json.dumps({**json.loads((f / META).read_text()), "seconds": None})
        ),
    ],
)
def test_a_damaged_probe_is_trained_again(damage: Callable[[Path], None], cache: Path) -> None:
    counted = Trained()
    first, _ = find(context(), counted)
    folder = folder_of(first, cache)
    damage(folder)
    again, said = find(context(), counted)
    assert not again.found and counted.steps == 16
    assert torch.equal(values(again), values(first))
    assert len(said) == 1
    assert said[0].startswith(f"The probe in {folder} is damaged (")
    assert said[0].endswith("); it is trained again.")
    assert find(context(), counted)[0].found and counted.steps == 16
    assert steps_of(folder) == list(range(1, 9))


def test_an_interrupted_probe_goes_on(cache: Path, tmp_path: Path) -> None:
    where, counted = context(), Trained()
    embedding = where.model.get_input_embeddings()
    with pytest.raises(Crash):
        find(where, counted, At(5, crash))
    assert counted.steps == 5
    assert where.model.get_input_embeddings() is embedding  # the original again
    cut, _ = find(where, counted)
    assert counted.steps == 5 + 4 and not cut.found  # from the checkpoint of step 4
    assert steps_of(folder_of(cut, cache)) == list(range(1, 9))
    for file in (WEIGHTS, META):
        (folder_of(cut, cache) / file).unlink()
    whole, _ = find(context(), counted)
    assert torch.equal(values(whole), values(cut))


def test_interrupted_between_training_and_saving(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mt_lottery.runs.stages.probe as module

    counted = Trained()
    real = module.write_bytes

    def fail(path: Path, content: bytes) -> None:
        raise Crash

    monkeypatch.setattr(module, "write_bytes", fail)
    with pytest.raises(Crash):
        find(context(), counted)
    monkeypatch.setattr(module, "write_bytes", real)
    probe, _ = find(context(), counted)
    assert counted.steps == 8 and not probe.found  # nothing was trained twice
    assert find(context(), counted)[0].found


def test_weight_decay_is_refused(cache: Path) -> None:
    where = context(tied=True)
    with pytest.raises(TuningError, match=r"weight_decay=0.1: .* allowed: 0") as caught:
        find(where, weight_decay=0.1)
    assert "decay would shrink all others too" in str(caught.value)
    assert not (cache / "probes").exists()
    find(where, weight_decay=0.1, scope="tied", epochs=1)  # there, every row is trained


def test_tied_scope_on_an_untied_model_fails_before_anything_is_trained(cache: Path) -> None:
    counted = Trained()
    with pytest.raises(TuningError, match=r"`tuner.scope` is tied, but .* allowed for it: input"):
        find(context(tied=False), counted, scope="tied")
    assert counted.steps == 0 and not (cache / "probes").exists()
