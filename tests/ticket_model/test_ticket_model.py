"""A TicketModel beside PEFT's and transformers' own models: saving, merging, generating."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import loops
import pytest
import tiny
import torch
from loops import ROWS
from peft import LoraConfig, PeftModel, PeftModelForCausalLM, get_peft_model
from torch import Tensor

import mt_lottery as mtl
from mt_lottery.data.prompts.batches import collate
from mt_lottery.errors import ArgumentError, KeywordError, ModelError, RecordError

pytestmark = pytest.mark.slow

#: kind, tied, scope
CASES = [
    *((kind, True, scope) for kind in tiny.KINDS for scope in ("input", "both")),
    *((kind, False, "input") for kind in tiny.KINDS),
]
cases = pytest.mark.parametrize(("kind", "tied", "scope"), CASES)


def tuned(kind: str = "llama", tied: bool = True, scope: Any = "input", **more: Any) -> Any:
    """A model whose rows have moved, in eval mode."""
    config = mtl.TicketConfig(rows=ROWS, scope=scope)
    model = mtl.get_ticket_model(tiny.model(kind, tied=tied, **more), config)
    with torch.no_grad():
        noise = torch.randn(model.values.shape, generator=torch.Generator().manual_seed(1))
        model.values.add_(0.3 * noise)
    return model.eval()


def text() -> Tensor:
    ids = tiny.ids(2, 9, vocab=24)
    ids[0, :6] = torch.tensor(ROWS)
    return ids


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=text()).logits
    return found


def gradient(model: Any) -> Tensor:
    """Of the loss of four examples, to the rows, [k, d]."""
    model(**collate(tiny.examples(4), tiny.PAD)).loss.backward()
    (trained,) = (p for p in model.parameters() if p.requires_grad)
    assert trained.grad is not None
    found: Tensor = trained.grad
    trained.grad = None
    return found


def test_it_is_a_peft_model_of_few_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    for scope in ("input", "both"):
        model = loops.ticket_model(scope=scope)
        assert isinstance(model, PeftModelForCausalLM)
        assert model.rows.tolist() == ROWS and tuple(model.values.shape) == (6, 16)
        trained = [p for p in model.parameters() if p.requires_grad]
        assert [tuple(p.shape) for p in trained] == [(6, 16)]
        model.print_trainable_parameters()
        assert capsys.readouterr().out.startswith("trainable params: 96 || all params: ")
        torch.testing.assert_close(logits(model.eval()), logits(loops.base()))


def test_peft_makes_the_same_model() -> None:
    model = get_peft_model(loops.base(), mtl.TicketConfig(rows=ROWS))
    assert isinstance(model, mtl.TicketModel)
    assert model.active_peft_config.rows == ROWS


@cases
def test_plain_peft_loads_what_is_saved(
    kind: str, tied: bool, scope: str, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    model = tuned(kind, tied, scope)
    model.save_pretrained(tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(tiny.model(kind, tied=tied), tmp_path / "adapter").eval()
    assert not any("missing" in str(w.message).lower() for w in recwarn)
    torch.testing.assert_close(logits(theirs), logits(model), rtol=1e-5, atol=1e-5)
    again = mtl.TicketModel.from_pretrained(tiny.model(kind, tied=tied), tmp_path / "adapter")
    assert torch.equal(again.values, model.values) and torch.equal(again.rows, model.rows)
    assert torch.equal(logits(again), logits(model))
    assert again.active_peft_config.scope == scope
    assert not again.training and not any(p.requires_grad for p in again.parameters())


@cases
def test_merged_it_is_a_plain_model(kind: str, tied: bool, scope: str, tmp_path: Path) -> None:
    model = tuned(kind, tied, scope)
    wanted = logits(model)
    said = model.generate(input_ids=text(), max_new_tokens=6, do_sample=False)
    plain = model.merge_and_unload(safe_merge=True)
    assert type(plain) is type(tiny.model(kind))
    torch.testing.assert_close(logits(plain), wanted, rtol=1e-5, atol=1e-5)
    assert plain.config.tie_word_embeddings is (tied and scope == "both")
    plain.save_pretrained(tmp_path)
    loaded = type(plain).from_pretrained(tmp_path)
    torch.testing.assert_close(logits(loaded), wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(loaded.generate(input_ids=text(), max_new_tokens=6, do_sample=False), said)


def test_generate_uses_the_rows() -> None:
    model = tuned("gemma3", False)
    settings = {"max_new_tokens": 8, "do_sample": False}
    greedy = model.generate(input_ids=text(), **settings)
    without_cache = model.generate(input_ids=text(), use_cache=False, **settings)
    assert torch.equal(greedy, without_cache)
    assert not torch.equal(greedy, tiny.model("gemma3").generate(text(), **settings))
    beams = model.generate(input_ids=text(), num_beams=2, **settings)
    assert beams.shape[0] == 2


def test_trained_further(tmp_path: Path) -> None:
    model = tuned()
    model.save_pretrained(tmp_path)
    again = mtl.TicketModel.from_pretrained(loops.base(), tmp_path, is_trainable=True)
    torch.testing.assert_close(gradient(again), gradient(model), rtol=1e-5, atol=1e-6)
    again.set_adapter("default", inference_mode=True)
    assert not any(p.requires_grad for p in again.parameters())


def test_a_readme_of_the_users_stays(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine\n")
    tuned().save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine\n"


@pytest.mark.parametrize("scope", ["input", "both"])
def test_the_original_model_is_there(scope: str) -> None:
    model, original = tuned(scope=scope), logits(loops.base())
    wanted = logits(model)
    with model.disable_adapter():
        assert torch.equal(logits(model), original)
        with model.disable_adapter():
            assert torch.equal(logits(model), original)
        assert torch.equal(logits(model), original)
    assert torch.equal(logits(model), wanted)
    copied = copy.deepcopy(model)
    base = model.unload()
    assert torch.equal(logits(base), original)
    assert set(base.state_dict()) == set(loops.base().state_dict())
    assert torch.equal(logits(copied), wanted)
    copied.values.zero_()
    assert not torch.equal(logits(copied), wanted)


@pytest.mark.parametrize("scope", ["input", "both"])
def test_the_rows_are_float32_beside_bfloat16(scope: str, tmp_path: Path) -> None:
    model = loops.ticket_model(scope=scope, dtype=torch.bfloat16)
    assert model.dtype is torch.bfloat16 and model.values.dtype is torch.float32
    model.values.add_(2**-20)  # less than a step of bfloat16
    model.save_pretrained(tmp_path)
    again = mtl.TicketModel.from_pretrained(loops.base(dtype=torch.bfloat16), tmp_path)
    assert torch.equal(again.values, model.values)
    assert again.values.dtype is torch.float32
    narrow = mtl.get_ticket_model(
        loops.base(dtype=torch.bfloat16),
        mtl.TicketConfig(rows=ROWS),
        autocast_adapter_dtype=False,
    )
    assert narrow.values.dtype is torch.bfloat16


@pytest.mark.parametrize("scope", ["input", "both"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_to_and_half(dtype: torch.dtype, scope: str, tmp_path: Path) -> None:
    model = tuned(scope=scope)
    wanted = logits(model).double()
    moved = model.half() if dtype is torch.float16 else model.to(dtype)
    assert moved is model and logits(model).dtype is dtype and model.values.dtype is dtype
    torch.testing.assert_close(logits(model).double(), wanted, rtol=0.1, atol=0.1)
    assert bool(gradient(model.train()).any())
    model.save_pretrained(tmp_path)  # float32, whatever it was
    again = mtl.TicketModel.from_pretrained(loops.base(), tmp_path)
    torch.testing.assert_close(again.values.to(dtype), model.values)


def test_what_one_ticket_does_not_have() -> None:
    model = tuned()
    for call, said in [
        (lambda: model.add_adapter("b", mtl.TicketConfig(rows=[1])), "one ticket"),
        (lambda: model.delete_adapter("default"), r"model\.unload\(\)"),
        (lambda: model.merge_adapter(), r"merge_and_unload\(\)"),
        (lambda: model.unmerge_adapter(), r"merge_and_unload\(\)"),
        (lambda: model.resize_token_embeddings(70), "resize the original model first"),
        (lambda: model.get_base_model().resize_token_embeddings(70), "resize the original model"),
    ]:
        with pytest.raises(ModelError, match=said):
            call()
    for call in (model.set_adapter, lambda name: model.merge_and_unload(adapter_names=[name])):
        with pytest.raises(ArgumentError, match=r"'defalt': .* Did you mean 'default'\?"):
            call("defalt")


def test_a_model_without_its_ticket_is_resized_again() -> None:
    for copied in (copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))):
        model = copied(tuned())
        with pytest.raises(ModelError, match="cannot change under a ticket"):
            model.get_base_model().resize_token_embeddings(70)
        for plain in (copied(model).unload(), model.merge_and_unload()):
            plain.resize_token_embeddings(70)
            assert plain.get_input_embeddings().weight.shape[0] == 70


def test_saving_refuses(tmp_path: Path) -> None:
    model = tuned()
    with pytest.raises(ValueError, match="safetensors alone"):
        model.save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(KeywordError, match="Did you mean 'is_main_process'"):
        model.save_pretrained(tmp_path, is_main_proces=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="a file; a folder is needed"):
        model.save_pretrained(tmp_path / "file")
    model.save_pretrained(tmp_path / "none", is_main_process=False)
    assert not (tmp_path / "none").exists()


def test_loading_refuses(tmp_path: Path) -> None:
    tuned().save_pretrained(tmp_path)
    with pytest.raises(ArgumentError, match="other rows, or another scope"):
        tuned(scope="both").load_adapter(tmp_path, "default")
    tuned("gpt2").save_pretrained(tmp_path / "gpt2")
    with pytest.raises(RecordError, match=r"row 0 of the output head is not the model's"):
        mtl.TicketModel.from_pretrained(tiny.model("gpt2", tied=True, seed=1), tmp_path / "gpt2")
    with pytest.raises(RecordError, match="missing"):
        mtl.TicketModel.from_pretrained(loops.base(), tmp_path / "..")


def test_models_that_take_no_rows() -> None:
    import transformers as t

    t5 = t.T5ForConditionalGeneration(
        t.T5Config(vocab_size=64, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2)
    )
    lora = get_peft_model(loops.base(), LoraConfig(target_modules=["q_proj"]))
    with torch.device("meta"):
        empty = t.LlamaForCausalLM(loops.base().config)
    refused: list[tuple[Any, str]] = [
        ("google/gemma-3-270m", r"AutoModelForCausalLM\.from_pretrained\('google/gemma-3-270m'\)"),
        (lora, "has an adapter of PEFT"),
        (tuned().get_base_model(), "has token rows already"),
        (torch.compile(loops.base(), backend="eager"), "after get_ticket_model"),
        (torch.nn.DataParallel(loops.base()), "after get_ticket_model"),
        (torch.nn.Linear(2, 2), "not a model of transformers"),
        (t5, "has a separate encoder"),
        (empty, "has no values yet"),
        (loops.base().model, "has no output head"),
    ]
    for model, said in refused:
        with pytest.raises(ModelError, match=said):
            mtl.get_ticket_model(model, mtl.TicketConfig(rows=[4]))
    with pytest.raises(ArgumentError, match="scope='both', but the output head"):
        mtl.get_ticket_model(tiny.model(), mtl.TicketConfig(rows=[4], scope="both"))
    with pytest.raises(mtl.MTLotteryError, match="64 is outside the vocabulary"):
        mtl.get_ticket_model(tiny.model(), mtl.TicketConfig(rows=[64]))
    with pytest.raises(ArgumentError, match="A LoraConfig makes no TicketModel"):
        mtl.get_ticket_model(tiny.model(), LoraConfig())  # type: ignore[arg-type]


def test_values_that_are_not_finite_are_not_merged() -> None:
    model = tuned()
    model.values[0, 0] = float("nan")
    with pytest.raises(ModelError, match="nothing was merged"):
        model.merge_and_unload(safe_merge=True)


def trained(base: Any, scope: Any) -> Any:
    """A base with rows that have moved."""
    made = mtl.get_ticket_model(base, mtl.TicketConfig(rows=ROWS, scope=scope))
    with torch.no_grad():
        made.values.add_(torch.randn_like(made.values))
    return made.eval()


def test_an_adapter_of_a_model_of_the_other_tying(tmp_path: Path) -> None:
    """The two models compute the same, and the rows would change another table in silence."""
    tied = tiny.model("llama", tied=True)
    apart = tiny.untied(tied, "llama")
    for name, base, scope, other in (
        ("both", tied, "both", apart), ("input", apart, "input", tied),
    ):  # fmt: skip
        trained(tiny.clone(base), scope).save_pretrained(tmp_path / name)
        assert mtl.TicketModel.from_pretrained(tiny.clone(base), tmp_path / name)
        with pytest.raises(RecordError, match=r"one table|two tables"):
            mtl.TicketModel.from_pretrained(tiny.clone(other), tmp_path / name)


def test_an_adapter_of_the_model_in_another_dtype(tmp_path: Path) -> None:
    base = tiny.model("llama", tied=True)
    with torch.no_grad():  # row 0 is the padding's, all zeros
        base.get_input_embeddings().weight[0].normal_()
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        folder = tmp_path / str(dtype)
        trained(tiny.clone(base).to(dtype), "input").save_pretrained(folder)
        for other in (torch.float32, torch.bfloat16, torch.float16):
            loaded = mtl.TicketModel.from_pretrained(tiny.clone(base).to(other), folder)
            assert loaded.active_peft_config.scope == "input"
        with torch.no_grad():
            another = tiny.clone(base)
            another.get_input_embeddings().weight[0].mul_(1.02)
        with pytest.raises(RecordError, match="row 0 of the output head"):
            mtl.TicketModel.from_pretrained(another, folder)


@pytest.mark.parametrize("scope", ["input", "both"])
def test_tables_are_not_tied_again(scope: str) -> None:
    made = trained(tiny.model("llama", tied=True), scope)
    tokens = tiny.ids()
    with torch.no_grad():
        before = made(input_ids=tokens).logits
        made.tie_weights()
        assert torch.equal(made(input_ids=tokens).logits, before)
