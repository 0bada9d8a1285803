"""Bases whose weights arrive quantised (bitsandbytes): what trains over them, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import transformers

from mt_lottery.config import ModelConfig, TrainConfig, TunerConfig
from mt_lottery.errors import ModelError, TrainingError, TuningError
from mt_lottery.model.folder.quantised import check_trainable, is_quantised, refuse_merging
from mt_lottery.model.loading import load, quantisation_of
from mt_lottery.registry import TUNERS
from mt_lottery.training.row_gradients import gradient_norms
from mt_lottery.training.trainer import train
from mt_lottery.tuners.base import TuningContext

pytestmark = pytest.mark.slow

WIDTH = 64  # bitsandbytes works in blocks of 64 values


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    tiny.model("llama", hidden_size=WIDTH, intermediate_size=WIDTH, head_dim=32).save_pretrained(
        folder
    )
    tiny.tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=[4, 8], ids=["4 bits", "8 bits"])
def quantised(request: pytest.FixtureRequest, plain: Path, tmp_path_factory: Any) -> Path:
    settings: dict[str, Any] = {"load_in_8bit": True}
    if request.param == 4:
        settings = {
            "load_in_4bit": True, "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": torch.float32,
        }  # fmt: skip
    folder: Path = tmp_path_factory.mktemp(f"bits-{request.param}")
    made = transformers.AutoModelForCausalLM.from_pretrained(
        plain, quantization_config=transformers.BitsAndBytesConfig(**settings), dtype=torch.float32
    )
    made.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def config_of(folder: Path) -> ModelConfig:
    return ModelConfig("hf", name_or_path=str(folder))


def tuner_of(name: str, **settings: Any) -> Any:
    schema = TUNERS.dataclass_of(name) or TunerConfig
    return TUNERS.get(name)(schema(name, **settings))


def fit(context: TuningContext, folder: Path) -> None:
    train(
        context.model, TrainConfig(epochs=2, lr=1e-2), tiny.examples(), pad_id=0, seed=0,
        folder=folder / "checkpoints", log=folder / "log.jsonl", title="x",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "settings"),
    [("lora", {}), ("prefix", {}), ("prompt", {}), ("frequency", {"tickets": 4}), ("eos_bias", {})],
)
def test_what_trains_beside_them(
    quantised: Path, name: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    loaded = load(config_of(quantised), "cpu")
    with torch.no_grad():  # an evaluation: on CPUs with AVX512-BF16 it must not repack the weights
        loaded.model(input_ids=tiny.ids())
    examples = [("w5 w6 w7", " w8"), ("w9 w10", " w11")]
    context = TuningContext(loaded.model, loaded.tokenizer, 0, examples=examples)
    context.counts.update(range(4, 24))
    tuner = tuner_of(name, **settings)
    trained = tuner.apply(context)
    start = [p.detach().clone() for p in trained]
    fit(context, tmp_path)
    moved = [not torch.equal(a, b) for a, b in zip(start, trained, strict=True)]
    assert all(moved)
    second = [p for n, p in context.model.named_parameters() if "lora_B" in n]
    assert all(float(p.detach().abs().max()) > 0 for p in second)
    with torch.no_grad():
        scored = context.model(input_ids=tiny.ids()).logits
    tuner.save(context, tmp_path)
    restored = tuner_of(name, **settings).restore(load(config_of(quantised), "cpu").model, tmp_path)
    with torch.no_grad():
        assert torch.equal(restored(input_ids=tiny.ids()).logits, scored)


def test_gradients_of_rows_over_them(quantised: Path) -> None:
    model = load(config_of(quantised), "cpu").model
    table = model.get_input_embeddings().weight  # in full precision
    expected = torch.zeros(len(table), dtype=torch.float64)
    for example in tiny.examples(4):
        table.requires_grad_(True)
        loss = tiny.plain_loss(model, *tiny.batch([example])) / len(example.target_ids)
        expected += torch.autograd.grad(loss, [table])[0].double().norm(dim=1)
    rows = tiny.seen(tiny.examples(4))
    found = gradient_norms(
        model, TrainConfig(), tiny.examples(4), rows, pad_id=tiny.PAD, seed=0, tied=False
    )
    assert torch.allclose(found, expected[rows], rtol=1e-4, atol=1e-6)


def test_they_are_known_before_loading(quantised: Path, plain: Path) -> None:
    assert quantisation_of(config_of(plain)) is None
    found = quantisation_of(config_of(quantised))
    assert found is not None and found.shown in ("bitsandbytes, 4 bits", "bitsandbytes, 8 bits")
    for name in ("full", "layer", "qlora"):
        with pytest.raises(TuningError, match=r"arrive quantised .* Allowed: lora"):
            check_trainable(name, tuner_of(name).over_quantised, "m", found)
    check_trainable("lora", tuner_of("lora").over_quantised, "m", found)
    with pytest.raises(ModelError, match="nothing can be merged"):
        refuse_merging("m", found)


def test_packed_weights_count_as_what_they_stand_for(quantised: Path, plain: Path) -> None:
    loaded, unpacked = load(config_of(quantised), "cpu"), load(config_of(plain), "cpu")
    assert is_quantised(loaded.model) and not is_quantised(unpacked.model)
    assert loaded.info.parameters == unpacked.info.parameters


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq, 4 bits"),
        ({"quant_method": "awq", "bits": 4, "version": "gemm"}, "awq, 4 bits"),
        ({"quant_method": "hqq", "quant_config": {}}, "hqq"),
    ],
)
def test_other_formats_are_known_too(
    plain: Path, tmp_path: Path, settings: dict[str, Any], shown: str
) -> None:
    content = json.loads((plain / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(content | {"quantization_config": settings}))
    found = quantisation_of(config_of(tmp_path))
    assert found is not None and found.shown == shown


def test_fp8_becomes_plain_on_a_cpu(plain: Path, tmp_path: Path) -> None:
    content = json.loads((plain / "config.json").read_text())
    content["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [64, 64]}
    (tmp_path / "config.json").write_text(json.dumps(content))
    found = quantisation_of(config_of(tmp_path))
    old = int(transformers.__version__.partition(".")[0]) < 5  # needs a GPU for it
    assert torch.cuda.is_available() or (found is None) != old


def test_a_training_that_no_gradient_reaches_is_no_training(tmp_path: Path) -> None:
    model = tiny.model("llama").requires_grad_(False)
    model.unused = torch.nn.Parameter(torch.ones(3))
    inner = model.model.layers[1].mlp
    inner.register_forward_hook(lambda module, args, output: output + 0 * model.unused.sum())
    context = TuningContext(model, tiny.tokenizer(), 0)
    with pytest.raises(TrainingError, match=r"No gradient reached any of the 1 .*\(unused\)"):
        fit(context, tmp_path)
