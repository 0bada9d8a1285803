"""Every method of the installed PEFT: trained, counted, saved, loaded, merged, decoded, resumed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peft
import pytest
import tiny
import torch
from interrupting import At, Crash, crash

from mt_lottery.config import TrainConfig
from mt_lottery.decoding.translation import translate
from mt_lottery.errors import TuningError
from mt_lottery.training.trainer import train
from mt_lottery.tuners.adapters.any_method import PeftMethodConfig, PeftMethodTuner
from mt_lottery.tuners.adapters.options import REFUSED, methods
from mt_lottery.tuners.base import TuningContext
from mt_lottery.tuners.declared import declare
from mt_lottery.tuners.kept import finish

pytestmark = pytest.mark.slow

#: What fits a model of width 16, where PEFT's default is for wide ones, or must be given.
FITTING: dict[str, dict[str, Any]] = {
    "adaption_prompt": {"adapter_len": 3, "adapter_layers": 1},
    "bone": {"r": 4},
    "c3a": {"block_size": 8},
    "fourierft": {"n_frequency": 20},
    "miss": {"r": 4},
    "psoft": {"r": 4},
    "road": {"group_size": 8},
    "shira": {"r": 1},
    "trainable_tokens": {"token_indices": [5, 6, 7, 8]},
    "vblora": {"vector_length": 8, "num_vectors": 16},
    "waveft": {"n_frequency": 20},
}
NOT_HERE = {*REFUSED, "adalora"}
UNMERGED = {
    *("beft", "lily", "shadow", "adaption_prompt"),
    *("cartridge", "prefix_tuning", "prompt_tuning", "p_tuning"),
}
TRAINED = sorted(methods().keys() - NOT_HERE)


def tuner(method: str, **settings: Any) -> PeftMethodTuner:
    options = {**FITTING.get(method, {}), **settings.pop("options", {})}
    return PeftMethodTuner(PeftMethodConfig("peft", method, options=options, **settings))


def context(kind: str, dtype: torch.dtype = torch.float32, **more: Any) -> TuningContext:
    model = tiny.model(kind, tied=kind == "gemma3", dtype=dtype, **more)
    return TuningContext(model, tiny.tokenizer(), 0)


def logits(model: Any) -> torch.Tensor:
    ids = tiny.ids(2, 7)
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return found[:, -7:]


def fit(made: PeftMethodTuner, where: TuningContext, folder: Path, **more: Any) -> None:
    settings = {"epochs": 1, "batch_size": 4, "lr": 0.05, "save_steps": 2}
    train(
        where.model, TrainConfig(**settings), tiny.examples(16), pad_id=tiny.PAD, seed=0,
        folder=folder / "checkpoints", log=folder / "log.jsonl", title="test",
        autocast=made.autocast, **more,
    )  # fmt: skip
    finish(made, where)


def greedy(model: Any, prompt: list[int], steps: int = 4) -> list[int]:
    """The most probable token after another, by PEFT's own forward on the whole text."""
    ids = list(prompt)
    while len(ids) < len(prompt) + steps and ids[-1] != tiny.EOS:
        text = torch.tensor([ids])
        with torch.no_grad():
            found = model(input_ids=text, attention_mask=torch.ones_like(text), use_cache=False)
        ids.append(int(found.logits[0, -1].argmax()))
    return [i for i in ids[len(prompt) :] if i > tiny.BOS]


def kind_of(method: str) -> str:
    return "llama" if method == "adaption_prompt" else "gemma3"  # PEFT's, of a few architectures


@pytest.fixture(autouse=True)
def quiet_libraries() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("method", TRAINED)
def test_trained_counted_saved_loaded_merged_and_decoded(method: str, tmp_path: Path) -> None:
    if method == "adamss":
        pytest.importorskip("sklearn")
    kind, made = kind_of(method), tuner(method)
    assert list(made.problems_with_settings()) == []
    where = context(kind)
    trained = declare(made, where)
    # the count that PEFT prints, and the one of a model without weights
    count = where.model.get_nb_trainable_parameters()[0]
    assert made.trainable_parameters(where) == count == sum(p.numel() for p in trained) > 0
    with torch.device("meta"):
        shape = tiny.model(kind, tied=kind == "gemma3")
    assert tuner(method).count(shape) == count
    assert all(p.dtype is torch.float32 for p in trained)
    start, before = logits(where.model), [p.detach().clone() for p in trained]
    fit(made, where, tmp_path)
    assert any(not torch.equal(a, b) for a, b in zip(before, trained, strict=True))
    tuned = logits(where.model.eval())
    assert not torch.equal(tuned, start)
    made.save(where, tmp_path)
    assert made.details(where)["peft"] == {"method": method, "version": peft.__version__}

    ours = tuner(method).restore(context(kind).model, tmp_path).eval()
    torch.testing.assert_close(logits(ours), tuned, atol=1e-5, rtol=1e-5)
    assert not any(p.requires_grad for p in ours.parameters())
    theirs = peft.PeftModel.from_pretrained(context(kind).model, str(tmp_path / "adapter"))
    torch.testing.assert_close(logits(theirs.eval()), tuned, atol=1e-5, rtol=1e-5)

    prompts = [[tiny.BOS, 5, 6, 9, 3], [tiny.BOS, 5, 6, 11, 12, 13, 3]]  # with a prefix to share
    said = translate(
        ours, tiny.tokenizer(), prompts, max_new_tokens=4, eos_ids=tiny.EOS, pad_id=tiny.PAD
    )
    expected = [tiny.tokenizer().decode(greedy(theirs, prompt)) for prompt in prompts]
    assert [one.text for one in said] == expected

    if method in UNMERGED:
        with pytest.raises(TuningError, match=r"cannot (be merged|merge)"):
            made.merge(ours, torch.float32)
        return
    merged = made.merge(ours, torch.float32)
    torch.testing.assert_close(logits(merged.eval()), tuned, atol=1e-4, rtol=1e-4)
    assert type(merged) is type(context(kind).model)
    assert set(merged.state_dict()) == set(context(kind).model.state_dict())


@pytest.mark.parametrize(
    ("kind", "method"),
    [("llama", "ln_tuning"), ("gemma3", "ln_tuning"), ("gemma3", "shadow"), ("llama", "fourierft")],
)
def test_in_bfloat16(kind: str, method: str, tmp_path: Path) -> None:
    made, where = tuner(method), context(kind, torch.bfloat16)
    if method not in methods():
        pytest.skip(f"PEFT {peft.__version__} has none")
    trained = declare(made, where)
    assert all(p.dtype is torch.float32 for p in trained)  # a master copy, while it trains
    fit(made, where, tmp_path)
    tuned = logits(where.model.eval())
    made.save(where, tmp_path)
    ours = tuner(method).restore(context(kind, torch.bfloat16).model, tmp_path)
    assert torch.equal(logits(ours.eval()), tuned)


@pytest.mark.parametrize("method", ["lora", "osf", "pvera"])
def test_a_training_that_crashed_ends_as_one_that_did_not(method: str, tmp_path: Path) -> None:
    if method not in methods():
        pytest.skip(f"PEFT {peft.__version__} has none")
    options = {"use_dora": True, "lora_dropout": 0.2} if method == "lora" else {}
    found = []
    for name, cut in (("whole", False), ("cut", True)):
        folder = tmp_path / name
        if cut:
            made, where = tuner(method, options=options), context("gemma3")
            declare(made, where)
            with pytest.raises(Crash):
                fit(made, where, folder, trackers=(At(3, crash),))
        torch.rand(3)
        made, where = tuner(method, options=options), context("gemma3")
        declare(made, where)
        fit(made, where, folder, resume=cut)
        found.append(logits(where.model.eval()))
    assert torch.equal(*found)


@pytest.mark.parametrize("method", sorted(NOT_HERE & methods().keys()))
def test_what_cannot_be_trained_on_pairs_is_refused(method: str) -> None:
    [said] = tuner(method, options={}).problems_with_settings()
    assert f"`tuner.method` is {method}: " in said and "mt-lottery cannot train that" in said


def test_a_method_that_peft_adds_tomorrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class of its own, registered under a name that no release of ours has heard of."""
    from dataclasses import dataclass

    from peft import mapping

    @dataclass
    class TomorrowConfig(peft.IA3Config):
        def __post_init__(self) -> None:
            super().__post_init__()
            self.peft_type = "TOMORROW"

    for table, made in (
        (mapping.PEFT_TYPE_TO_CONFIG_MAPPING, TomorrowConfig),
        (mapping.PEFT_TYPE_TO_TUNER_MAPPING, peft.IA3Model),
        (mapping.PEFT_TYPE_TO_PREFIX_MAPPING, "tomorrow_"),
    ):
        monkeypatch.setitem(table, "TOMORROW", made)
    made = tuner("tomorrow")
    assert list(made.problems_with_settings()) == []
    where = context("gemma3")
    count = sum(p.numel() for p in declare(made, where))
    other = context("gemma3")
    assert count == sum(p.numel() for p in declare(tuner("ia3"), other))
    wrong = tuner("tomorow").problems_with_settings()
    assert "Did you mean 'tomorrow'?" in next(iter(wrong))


def test_a_merge_that_would_be_another_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made, where = tuner("oft"), context("gemma3")
    for parameter in declare(made, where):
        torch.nn.init.normal_(parameter, std=0.1)
    model = where.model
    real = type(model.base_model).merge_and_unload

    def wrong(self: Any, *more: Any, **settings: Any) -> Any:
        merged = real(self, *more, **settings)
        merged.get_output_embeddings().weight.data *= 1.1
        return merged

    monkeypatch.setattr(type(model.base_model), "merge_and_unload", wrong)
    with pytest.raises(TuningError, match=r"PEFT's merge of oft gives a model that computes somet"):
        made.merge(model, torch.float32)


@pytest.mark.parametrize("init", ["pissa", "olora", "orthogonal"])
def test_start_values_that_change_the_base(init: str, tmp_path: Path) -> None:
    options = {"init_lora_weights": init, "r": 4}
    made, where = tuner("lora", options=options), context("llama")
    original = logits(tiny.model("llama"))
    trained = declare(made, where)
    torch.testing.assert_close(logits(where.model.eval()), original, atol=1e-5, rtol=1e-5)
    for parameter in trained:
        parameter.data += 0.05 * torch.randn_like(parameter)
    tuned = logits(where.model)
    made.save(where, tmp_path)
    ours = tuner("lora", options=options).restore(tiny.model("llama"), tmp_path)
    assert torch.equal(logits(ours.eval()), tuned)
    merged = made.merge(ours, torch.float32)
    torch.testing.assert_close(logits(merged.eval()), tuned, atol=1e-5, rtol=1e-5)


# -- which layers


def adapted(where: TuningContext) -> set[str]:
    return {
        n.rpartition(".")[2] for n, m in where.model.named_modules()
        if hasattr(m, "base_layer") and not isinstance(m, torch.nn.Embedding)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "kind", "targets", "expected"),
    [
        ("lora", "llama", [], {"q_proj", "v_proj"}),
        ("vera", "gpt2", [], {"c_attn"}),
        ("fourierft", "gpt2", [], {"c_attn"}),  # PEFT's own list has another there
        ("ia3", "llama", [], {"k_proj", "v_proj", "down_proj"}),
        ("lora", "llama", ["k_proj"], {"k_proj"}),
        ("lora", "llama", ["mlp.down_proj"], {"down_proj"}),
        (
            "oft", "llama", ["all-linear"],
            {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
        ),
    ],
)  # fmt: skip
def test_layers(method: str, kind: str, targets: list[str], expected: set[str]) -> None:
    where = context(kind)
    declare(tuner(method, target_modules=targets), where)
    assert adapted(where) == expected


def test_layers_that_there_are_not() -> None:
    with pytest.raises(TuningError, match=r"no layer named 'q_prj'. Did you mean 'q_proj'\?"):
        declare(tuner("oft", target_modules=["q_prj"]), context("llama"))
    with pytest.raises(TuningError, match=r"p_tuning of PEFT is put on no layers of one's choice"):
        declare(tuner("p_tuning", target_modules=["q_proj"]), context("llama"))
    with pytest.raises(TuningError, match=r"PEFT lists no layers of cohere models for ln_tuning"):
        declare(tuner("ln_tuning"), context("cohere"))
    with pytest.raises(TuningError, match=r"PEFT cannot put oft on GPT2LMHeadModel: .*Conv1D"):
        declare(tuner("oft"), context("gpt2"))
    with pytest.raises(TuningError, match=r"cannot put shira on Llama.*more shira params than"):
        declare(tuner("shira", options={"r": 64}), context("llama"))
    with pytest.raises(TuningError, match=r"num_virtual_tokens=64: .*allowed: 1 to 63"):
        declare(tuner("p_tuning", options={"num_virtual_tokens": 64}), context("llama"))
