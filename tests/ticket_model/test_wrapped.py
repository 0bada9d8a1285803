"""In the wrappers that people train with: each works, or says clearly that it does not."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import loops
import pytest
import tiny
import torch
from launch import run
from test_ticket_model import gradient, logits, text, tuned
from wrapped import alone

import mt_lottery as mtl
from mt_lottery.data.prompts.batches import collate
from mt_lottery.errors import ModelError

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent / "wrapped.py"
scopes = pytest.mark.parametrize("scope", ["input", "both"])


@scopes
@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_gradient_checkpointing(before: bool, reentrant: bool, scope: str) -> None:
    wanted = gradient(tuned("gemma3", scope=scope).train())
    settings = {"gradient_checkpointing_kwargs": {"use_reentrant": reentrant}}
    if before:
        base = tiny.model("gemma3", tied=True)
        base.gradient_checkpointing_enable(**settings)
        model = mtl.get_ticket_model(base, mtl.TicketConfig(rows=loops.ROWS, scope=scope))  # type: ignore[arg-type]
        model.values.copy_(tuned("gemma3", scope=scope).values)
    else:
        model = tuned("gemma3", scope=scope)
        model.gradient_checkpointing_enable(**settings)
        model.enable_input_require_grads()  # Trainer and TRL call it
    assert model.is_gradient_checkpointing
    torch.testing.assert_close(gradient(model.train()), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("backend", "scope"), [("aot_eager", "input"), ("aot_eager", "both"), ("inductor", "both")]
)
def test_torch_compile(backend: str, scope: str) -> None:
    if backend == "inductor" and shutil.which("g++") is None:
        pytest.skip("inductor needs a C++ compiler")
    torch.compiler.reset()
    model = tuned(scope=scope)
    wanted, slope = logits(model), gradient(model)
    compiled: Any = torch.compile(model, backend=backend)
    torch.testing.assert_close(logits(compiled), wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradient(compiled), slope, rtol=1e-4, atol=1e-5)
    with model.disable_adapter():
        torch.testing.assert_close(logits(compiled), logits(loops.base()), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits(compiled), wanted, rtol=1e-4, atol=1e-4)


@scopes
def test_data_parallel(scope: str) -> None:
    """Without a GPU it hands on the call; with one, replicas have rows of their own."""
    model = tuned(scope=scope)
    wanted, slope = logits(model), gradient(model)
    if torch.cuda.is_available():
        model = model.to("cuda")
        one, other = torch.nn.parallel.replicate(model, [0, 0])  # type: ignore[no-untyped-call]
        batch = {k: v.cuda() for k, v in collate(tiny.examples(4), tiny.PAD).items()}
        loss = (one(**batch).loss + other(**batch).loss) / 2
        loss.backward()
        (trained,) = (p for p in model.parameters() if p.requires_grad)
        assert trained.grad is not None
        torch.testing.assert_close(trained.grad.cpu(), slope, rtol=1e-3, atol=1e-4)
        return
    wrapped = torch.nn.DataParallel(model)
    torch.testing.assert_close(wrapped(input_ids=text()).logits, wanted)
    torch.testing.assert_close(gradient(wrapped), slope)


@scopes
def test_accelerate_in_one_process(scope: str, tmp_path: Path) -> None:
    from accelerate import Accelerator

    model = tuned(scope=scope)
    accelerator = Accelerator(cpu=True)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    values = model.values.clone()
    accelerator.save_state(str(tmp_path / "state"))
    accelerator.backward(wrapped(**collate(tiny.examples(4), tiny.PAD)).loss)
    optimizer.step()
    assert not torch.equal(model.values, values)
    accelerator.load_state(str(tmp_path / "state"))
    assert torch.equal(model.values, values)
    accelerator.unwrap_model(wrapped).save_pretrained(
        tmp_path / "adapter", state_dict=accelerator.get_state_dict(wrapped)
    )
    again = mtl.TicketModel.from_pretrained(loops.base(), tmp_path / "adapter")
    assert torch.equal(again.values, values)


@pytest.mark.parametrize("how", ["ddp", "fsdp2", "zero1", "zero3"])
def test_two_processes_end_as_one(how: str, tmp_path: Path) -> None:
    if how.startswith("zero") and find_spec("deepspeed") is None:
        pytest.skip("DeepSpeed is not installed (pip install deepspeed)")
    done = run(SCRIPT, how, tmp_path, DS_ACCELERATOR="cpu", ACCELERATE_USE_CPU="true")
    assert done.returncode == 0, done.stderr
    for scope in ("input", "both"):
        base = tiny.model("gemma3", tied=True)
        found = mtl.TicketModel.from_pretrained(base, tmp_path / scope)
        torch.testing.assert_close(found.values, alone(scope), rtol=0, atol=1e-5)


def test_tables_split_before_are_refused() -> None:
    """As ZeRO-3's ``zero.Init`` and FSDP 2 leave them."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    store = dist.HashStore()
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        base = loops.base()
        fully_shard(base, mesh=init_device_mesh("cpu", (1,)))
        with pytest.raises(ModelError, match=r"split over processes .* ZeRO stage 0, 1 or 2"):
            mtl.get_ticket_model(base, mtl.TicketConfig(rows=[4]))
    finally:
        dist.destroy_process_group()


@scopes
def test_a_base_of_4_bits(scope: str, tmp_path: Path) -> None:
    """Rows beside quantised weights are trained (an evaluation before does no harm)."""
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    shape = {"hidden_size": 64, "intermediate_size": 64, "head_dim": 32}
    tiny.model(tied=True, **shape).save_pretrained(tmp_path / "base")
    base = AutoModelForCausalLM.from_pretrained(
        tmp_path / "base", quantization_config=BitsAndBytesConfig(load_in_4bit=True)
    )
    model = mtl.get_ticket_model(base, mtl.TicketConfig(rows=loops.ROWS, scope=scope))  # type: ignore[arg-type]
    logits(model)
    assert bool(gradient(model.train()).any())
    model.save_pretrained(tmp_path / "adapter")
    plain = mtl.TicketModel.from_pretrained(tiny.model(tied=True, **shape), tmp_path / "adapter")
    assert torch.equal(plain.values, model.values)
    with pytest.raises(ModelError, match="its weights are quantised"):
        model.merge_and_unload()
