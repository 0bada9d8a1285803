"""The row layer against PEFT, against the whole table, and against finite differences."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mt_lottery.errors import ModelError, TuningError
from mt_lottery.model.tables import is_tied
from mt_lottery.tuners.rows.adapter_file import module_name
from mt_lottery.tuners.rows.module import TokenRows, attach, check_rows, detach

pytestmark = pytest.mark.slow

ROWS = torch.tensor([9, 4, 33, 5])
CASES = [(kind, tied) for kind in tiny.KINDS for tied in (False, True)]


def text() -> Tensor:
    """Ids in which the rows come several times, once, and (33) never."""
    ids = tiny.ids(2, 9)
    ids[ids == 33] = 34
    ids[0, 1] = ids[0, 4] = ids[1, 0] = 9
    ids[1, 3] = 4
    return ids


def moved(model: Any) -> Tensor:
    """Other values for the rows, [k, d] float32."""
    start = model.get_input_embeddings().weight[ROWS].detach().float()
    return start + 0.1 * torch.randn(start.shape, generator=torch.Generator().manual_seed(1))


def loss(logits: Tensor) -> Tensor:
    weight = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))
    logits = logits if logits.dtype is torch.float64 else logits.float()
    return (logits * weight).sum()


def with_peft(model: Any, values: Tensor) -> tuple[Any, nn.Parameter]:
    from peft import TrainableTokensConfig, get_peft_model

    name = "wte" if hasattr(model, "transformer") else "embed_tokens"
    config = TrainableTokensConfig(token_indices=ROWS.tolist(), target_modules=[name])
    peft = get_peft_model(model, config)
    (delta,) = (p for p in peft.parameters() if p.requires_grad)
    delta.data.copy_(values)
    return peft, delta


@pytest.mark.parametrize(("kind", "tied"), CASES)
def test_equals_peft_trainable_tokens(kind: str, tied: bool) -> None:
    ours = tiny.model(kind, tied=tied)
    theirs, delta = with_peft(tiny.clone(ours), moved(ours))
    embedding = attach(ours, ROWS, moved(ours), tied=tied)
    ours_logits, theirs_logits = ours(text()).logits, theirs(text()).logits
    torch.testing.assert_close(ours_logits, theirs_logits, rtol=1e-5, atol=1e-5)
    loss(ours_logits).backward()
    loss(theirs_logits).backward()
    assert embedding.rows.grad is not None
    torch.testing.assert_close(embedding.rows.grad, delta.grad, rtol=1e-4, atol=1e-4)
    assert bool(embedding.rows.grad[2].any()) is tied  # 33 occurs in the head alone


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_input_scope_of_a_tied_model_equals_peft_on_an_untied_copy(kind: str) -> None:
    ours = tiny.model(kind, tied=True)
    theirs, delta = with_peft(tiny.untied(ours, kind), moved(ours))
    embedding = attach(ours, ROWS, moved(ours), tied=False)
    ours_logits, theirs_logits = ours(text()).logits, theirs(text()).logits
    torch.testing.assert_close(ours_logits, theirs_logits, rtol=1e-5, atol=1e-5)
    loss(ours_logits).backward()
    loss(theirs_logits).backward()
    torch.testing.assert_close(embedding.rows.grad, delta.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_start_is_the_original_model_bit_for_bit(kind: str, dtype: torch.dtype) -> None:
    model = tiny.model(kind, tied=True, dtype=dtype)
    before = model(text()).logits
    embedding = attach(model, ROWS, tied=False)
    assert embedding.rows.dtype is torch.float32
    after = model(text()).logits
    assert after.dtype is dtype and torch.equal(after, before)
    detach(model)
    attach(model, ROWS, tied=True)  # another order of summation in the head's columns
    torch.testing.assert_close(model(text()).logits, before)


@pytest.mark.parametrize(("kind", "tied"), CASES)
def test_gradient_is_that_of_the_same_rows_of_the_whole_table(kind: str, tied: bool) -> None:
    model = tiny.model(kind, tied=tied)
    whole = tiny.clone(model).requires_grad_(False)
    table = whole.get_input_embeddings().weight.requires_grad_(True)
    embedding = attach(model, ROWS, tied=tied)
    loss(model(text()).logits).backward()
    loss(whole(text()).logits).backward()
    assert table.grad is not None
    torch.testing.assert_close(embedding.rows.grad, table.grad[ROWS], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    ("kind", "step", "room"),
    # LayerNorm stays in float64; the RMS norms of the others go through float32
    [("gpt2", 1e-6, 1e-6), ("llama", 2e-3, 5e-3), ("gemma3", 2e-3, 5e-3)],
)
def test_gradient_equals_finite_differences(
    kind: str, step: float, room: float, tied: bool
) -> None:
    model = tiny.model(kind, tied=True, dtype=torch.float64)
    embedding = attach(model, ROWS[:2], tied=tied)
    (name,) = (n for n, p in model.named_parameters() if p.requires_grad)
    # the layer computes in the table's dtype: with float64 rows, all of it is float64
    start = embedding.rows.detach().double().requires_grad_(True)

    def run(rows: Tensor) -> Tensor:
        logits = torch.func.functional_call(model, {name: rows}, (text()[:, :5],)).logits
        return loss(logits)

    assert torch.autograd.gradcheck(run, (start,), eps=step, atol=room, rtol=room)


def test_nothing_but_the_rows_is_trained() -> None:
    for tied in (False, True):
        model = tiny.model("gemma3", tied=True)
        embedding = attach(model, ROWS, tied=tied)
        loss(model(text()).logits).backward()
        trained = [p for p in model.parameters() if p.requires_grad]
        assert len(trained) == 1 and trained[0] is embedding.rows
        assert [n for n, p in model.named_parameters() if p.grad is not None] == [
            "model.embed_tokens.rows"
        ]


class Shapes(TorchDispatchMode):
    """Notes every tensor of a table's shape that any operation makes, backward included."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.shapes = {tuple(table.shape), tuple(table.t().shape)}
        self.own = table.untyped_storage().data_ptr()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if not isinstance(leaf, Tensor) or tuple(leaf.shape) not in self.shapes:
                continue
            if leaf.untyped_storage().data_ptr() != self.own:
                self.found.append(str(func))
        return out


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_no_copy_of_the_table_and_no_dense_gradient(kind: str, tied: bool) -> None:
    model = tiny.model(kind, tied=True, vocab_size=3001)
    table = model.get_input_embeddings().weight
    attach(model, ROWS, tied=tied)
    kept: list[Tensor] = []
    with (
        Shapes(table) as shapes,
        torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t),
    ):
        loss(model(text()).logits).backward()
    assert shapes.found == []
    own = table.untyped_storage().data_ptr()
    big = [t.shape for t in kept if 3001 in t.shape and tiny.DIM in t.shape]
    big = [t.shape for t in kept if t.shape in big and t.untyped_storage().data_ptr() != own]
    assert big == []

    # the probe does see a copy where there is one
    theirs, _ = with_peft(tiny.model(kind, tied=True, vocab_size=3001), moved(model))
    with Shapes(theirs.get_input_embeddings().weight) as shapes:
        loss(theirs(text()).logits).backward()
    assert shapes.found


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "ticket is empty"),
        ([5, 4, 5], "Token id 5 is given more than once"),
        ([5, 64], r"Token id 64 is outside the vocabulary: ids go from 0 to 63"),
        ([-1], "Token id -1 is outside"),
    ],
)
def test_ids_are_checked(rows: list[int], message: str) -> None:
    model = tiny.model()
    before = model.get_input_embeddings()
    with pytest.raises(TuningError, match=message):
        attach(model, torch.tensor(rows, dtype=torch.int64), tied=False)
    assert model.get_input_embeddings() is before
    with pytest.raises(TuningError, match=message):
        check_rows(torch.tensor(rows, dtype=torch.int64), 64)


@pytest.mark.parametrize("shape", [(3, 16), (4, 8), (4,)])
def test_values_of_a_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(TuningError, match=r"for 4 token ids and an embedding dimension of 16"):
        attach(tiny.model(), ROWS, torch.zeros(shape), tied=False)


class Shifted(nn.Embedding):
    """An embedding that does something of its own."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + 1


@pytest.mark.parametrize("base", [Shifted(64, 16), nn.Conv1d(2, 2, 1), nn.ReLU()])
def test_an_embedding_that_does_something_else(base: nn.Module) -> None:
    with pytest.raises(ModelError, match=type(base).__name__):
        TokenRows(base, ROWS[:1])


@pytest.mark.parametrize("tied", [False, True])
def test_detach_restores_the_model(tied: bool) -> None:
    model = tiny.model("gemma3", tied=True)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    names, before = list(model.state_dict()), model(text()).logits
    attach(model, ROWS, moved(model), tied=tied)
    assert not torch.equal(model(text()).logits, before)
    detach(model)
    assert model.get_input_embeddings() is embedding and model.get_output_embeddings() is head
    assert list(model.state_dict()) == names
    assert torch.equal(model(text()).logits, before)
    detach(model)  # twice is harmless


@pytest.mark.parametrize("tied", [False, True])
def test_rows_are_no_alias_of_the_table_or_the_values(tied: bool) -> None:
    model = tiny.model(tied=True)
    table, values = model.get_input_embeddings().weight.detach().clone(), moved(model)
    kept = values.clone()
    attach(model, ROWS, values, tied=tied).rows.data.add_(1)
    assert torch.equal(values, kept)
    assert torch.equal(model.get_input_embeddings().weight, table)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing(reentrant: bool) -> None:
    model = tiny.model("gemma3", tied=True)
    embedding = attach(model, ROWS, tied=True)
    loss(model(text()).logits).backward()
    plain = embedding.rows.grad
    embedding.rows.grad = None
    model.train()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    loss(model(input_ids=text(), use_cache=False).logits).backward()
    assert plain is not None and embedding.rows.grad is not None
    torch.testing.assert_close(embedding.rows.grad, plain)


def test_tied_head_with_a_bias() -> None:
    model = tiny.model(tied=True)
    head = nn.Linear(tiny.DIM, tiny.VOCAB)
    head.weight = model.get_input_embeddings().weight
    model.lm_head = head
    whole = tiny.clone(model)
    whole.get_input_embeddings().weight.data[ROWS] = moved(model)
    attach(model, ROWS, moved(model), tied=True)
    torch.testing.assert_close(model(text()).logits, whole(text()).logits)


def test_generation_with_rows_equals_the_changed_table() -> None:
    model = tiny.model("gemma3", tied=True)
    whole = tiny.clone(model)
    whole.get_input_embeddings().weight.data[ROWS] = moved(model)
    attach(model, ROWS, moved(model), tied=True)
    settings: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False}
    assert torch.equal(model.generate(text(), **settings), whole.generate(text(), **settings))


def test_bfloat16_rows_keep_small_updates() -> None:
    model = tiny.model(dtype=torch.bfloat16)
    embedding = attach(model, ROWS, tied=False)
    start = embedding.rows.detach().clone()
    for _ in range(100):
        embedding.rows.data.add_(1e-5)
    torch.testing.assert_close(embedding.rows.detach() - start, torch.full_like(start, 1e-3))
    assert embedding(text()).dtype is torch.bfloat16


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_losses_that_read_the_heads_weight_see_the_rows(kind: str) -> None:
    """TRL and Liger multiply hidden states by ``lm_head.weight`` themselves."""
    model = tiny.model(kind, tied=True)
    embedding = attach(model, ROWS, moved(model), tied=True)
    head = model.get_output_embeddings()
    hidden = torch.randn(3, tiny.DIM, generator=torch.Generator().manual_seed(3))
    by_hand = F.linear(hidden, head.weight, head.bias)
    torch.testing.assert_close(by_hand, head(hidden))
    (one,) = torch.autograd.grad(loss(by_hand), [embedding.rows])
    (other,) = torch.autograd.grad(loss(head(hidden)), [embedding.rows])
    torch.testing.assert_close(one, other)
    assert is_tied(model)
    assert [n for n, p in model.named_parameters() if p.requires_grad] == [
        f"{module_name(model, embedding)}.rows"
    ]
