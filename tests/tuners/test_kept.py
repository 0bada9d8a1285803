"""Whatever a method trains, the restored model is the one that was scored."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mt_lottery.config import TunerConfig
from mt_lottery.errors import MTLotteryError, RecordError, TuningError
from mt_lottery.registry import TUNERS
from mt_lottery.tuners.base import Probe, RowGradients, Tuner, TuningContext
from mt_lottery.tuners.declared import declare
from mt_lottery.tuners.kept import finish

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DTYPES = (torch.float32, torch.bfloat16)


class Norms(Tuner):
    """Trains what is there."""

    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        context.model.requires_grad_(False)
        return [p for n, p in context.model.named_parameters() if "norm" in n]


class Bottleneck(nn.Module):
    """An adapter of Houlsby et al.'s kind, with a frozen random part and a buffer."""

    steps: Tensor

    def __init__(self, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.down = nn.Linear(width, 3, dtype=dtype).requires_grad_(False)
        self.up = nn.Linear(3, width, bias=False, dtype=dtype)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.up(torch.tanh(self.down(hidden)))


class Adds(Tuner):
    """Adds a module to each layer."""

    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        trained = []
        for layer in context.model.model.layers:
            weight = layer.mlp.down_proj.weight
            layer.extra = Bottleneck(weight.shape[0], weight.dtype)
            layer.mlp.register_forward_hook(lambda m, a, out, extra=layer.extra: extra(out))
            trained.append(layer.extra.up.weight)
        return trained


class Scaled(nn.Module):
    def __init__(self, base: nn.Module, width: int) -> None:
        super().__init__()
        self.base = base
        self.factor = nn.Parameter(torch.ones(width))

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.base(hidden)
        return (out * self.factor).to(out.dtype)


class Wraps(Tuner):
    """Puts a layer into another one, in float32 whatever the model's dtype."""

    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        made = []
        for layer in context.model.model.layers:
            inner = layer.self_attn.v_proj
            layer.self_attn.v_proj = Scaled(inner, inner.out_features)
            made.append(layer.self_attn.v_proj.factor)
        return made


class Whole(nn.Module):
    """A wrapper of the whole model, as PEFT's is."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner, self.config = inner, inner.config
        self.shift = nn.Parameter(torch.zeros(tiny.VOCAB))

    @property
    def device(self) -> torch.device:
        device: torch.device = self.inner.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.inner.dtype
        return dtype

    def forward(self, **inputs: Any) -> Any:
        output = self.inner(**inputs)
        output.logits = output.logits + self.shift
        return output


class WrapsAll(Tuner):
    """Puts a wrapper into the context."""

    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        context.model = Whole(context.model.requires_grad_(False))
        return [context.model.shift]


class Looks(Tuner):
    """What is trained depends on the text, the probe and a random draw."""

    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        assert context.probe is not None and context.gradients is not None
        token, _ = context.counts.most_common(1)[0]
        start = float(context.probe.values.mean()) + len(context.examples[0][0]) + token
        rows = torch.randn(tiny.VOCAB) * 0.1 + start / 100
        rows += context.gradients.column(tiny.VOCAB).float()
        self.lead = context.examples[0][1]
        context.model.lm_head.register_parameter("shift", nn.Parameter(rows))
        shift = context.model.lm_head.shift
        context.model.lm_head.register_forward_hook(lambda m, a, out: out + m.shift.to(out.dtype))
        return [shift]


class Folds(Wraps):
    """Takes the wrapper away again when training is over."""

    def finish(self, model: Any) -> None:
        for layer in model.model.layers:
            scaled = layer.self_attn.v_proj
            with torch.no_grad():
                scaled.base.weight.mul_(scaled.factor[:, None])
            layer.self_attn.v_proj = scaled.base


class Copies(Tuner):
    """Trains nothing, and changes the model all the same."""

    trains = False

    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        with torch.no_grad():
            context.model.model.norm.weight.mul_(1.5)
        return []


PLUGINS: dict[str, type[Tuner]] = {
    kind.__name__: kind for kind in (Norms, Adds, Wraps, WrapsAll, Looks, Folds, Copies)
}


def example_of_readme() -> type[Tuner]:
    """The class in the README, as it is printed there."""
    text = (ROOT / "README.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    (code,) = (block for block in blocks if "class NormsTuner" in block)
    code = code.replace('@register_tuner("norms", dataclass=NormsConfig)\n', "")
    inside: dict[str, Any] = {"__name__": "printed"}
    exec(compile(code, "README.md", "exec", dont_inherit=True), inside)
    kind: type[Tuner] = inside["NormsTuner"]
    return kind


def context_of(model: Any) -> TuningContext:
    table = model.get_input_embeddings().weight
    examples = tiny.examples()
    seen = tiny.seen(examples)
    values = table[seen].detach().float() + 0.3 * torch.arange(len(seen))[:, None] / len(seen)
    counts = Counter({int(i): int(i) % 7 + 1 for i in seen})
    return TuningContext(
        model,
        tiny.tokenizer(),
        3,
        counts=counts,
        seen=seen,
        probe=Probe(seen, values, 1.0),
        gradients=RowGradients(seen, values.double().norm(dim=1), 4, 1.0),
        input_counts=counts,
        prompt_ids=seen[:5],
        examples=[(f"w{i} w{i + 1}", f"w{i + 2}") for i in range(4, 24)],
    )


def moved(context: TuningContext) -> None:
    """As after a training: every trained value, and every buffer that counts, is another one."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in context.declared or ():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_((0.2 * noise).to(parameter.dtype))
        for name, buffer in context.model.named_buffers():
            if name.endswith("steps"):
                buffer.add_(7)


@torch.no_grad()
def logits(model: Any) -> Tensor:
    ids = tiny.ids()
    return model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.clone()  # type: ignore[no-any-return]


def scored(tuner: Tuner, model: Any, folder: Path) -> Tensor:
    """Apply, "train", finish, score and save, as the pipeline does."""
    context = context_of(model)
    declare(tuner, context)
    moved(context)
    if tuner.trains:
        finish(tuner, context)
    result = logits(context.model)
    tuner.save(context, folder)
    return result


def restored(tuner: Tuner, model: Any, folder: Path) -> Any:
    tuner.tokenizer = tiny.tokenizer()
    return tuner.restore(model, folder)


def registered() -> list[str]:
    return [n for n in TUNERS.names() if n != "qlora"]  # slow; tests/tuners/test_peft_methods.py


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", registered())
def test_every_registered_method(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    config = (TUNERS.dataclass_of(name) or TunerConfig)(name)
    for key, value in {"tickets": 2, "r": 2, "token": "bos"}.items():
        if hasattr(config, key):
            setattr(config, key, value)
    base = tiny.model(dtype=dtype)
    first = TUNERS.get(name)(config)
    if first.reads_dev:  # a run chooses them
        first.forced = (5, 6)
    wanted = scored(first, tiny.clone(base), tmp_path)
    again = TUNERS.get(name)(config)
    assert torch.equal(logits(restored(again, tiny.clone(base), tmp_path)), wanted)
    assert again.forced == first.forced


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["printed", *PLUGINS])
def test_a_plugin_without_save_and_restore(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    kind = example_of_readme() if name == "printed" else PLUGINS[name]
    config = TunerConfig(name)
    if name == "printed":
        config.last_layers = 1  # type: ignore[attr-defined]
    base = tiny.model(dtype=dtype)
    first = kind(config)
    wanted = scored(first, tiny.clone(base), tmp_path)
    assert not torch.equal(wanted, logits(base))
    again = kind(config)
    torch.manual_seed(99)  # the draw of a restore is that of the run
    made = restored(again, tiny.clone(base), tmp_path)
    assert torch.equal(logits(made), wanted)
    assert not any(p.requires_grad for p in made.parameters())
    assert again.lead == first.lead
    if name == "Adds":
        assert int(made.model.layers[0].extra.steps) == 7


def test_only_what_was_looked_at_is_stored(tmp_path: Path) -> None:
    scored(Norms(TunerConfig("norms")), tiny.model(), tmp_path)
    facts = json.loads((tmp_path / "control/tuned.json").read_text("utf-8"))
    assert facts["read"] == [] and "counts" not in facts and "examples" not in facts
    assert {n.rpartition(".")[2] for n in load_file(tmp_path / "control/tuned.safetensors")} == {
        "weight"
    }
    scored(Adds(TunerConfig("adds")), tiny.model(), tmp_path / "adds")
    kept = load_file(tmp_path / "adds/control/tuned.safetensors")
    assert all(".extra." in name for name in kept)  # nothing of the original model


class Drifting(Adds):
    """Depends on what no run keeps."""

    width = 3

    def apply(self, context: TuningContext) -> list[nn.Parameter]:
        type(self).width += 1
        context.model.lm_head.register_forward_hook(lambda m, a, out, k=self.width: out * k)
        return super().apply(context)


def test_what_is_applied_otherwise_is_noticed(tmp_path: Path) -> None:
    scored(Drifting(TunerConfig("drifting")), tiny.model(), tmp_path)
    with pytest.raises(RecordError, match="must implement `save` and `restore`"):
        restored(Drifting(TunerConfig("drifting")), tiny.model(), tmp_path)


def test_a_run_that_kept_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="was not kept"):
        restored(Norms(TunerConfig("norms")), tiny.model(), tmp_path)


def changes(file: Path) -> Iterator[Callable[[], None]]:
    """Tensors of a file, wrong in each way."""
    good = load_file(file)
    name = sorted(good)[0]
    value = good[name]
    for wrong in (
        {n: t for n, t in good.items() if n != name},
        good | {"more": value.clone()},
        {f"x.{n}": t for n, t in good.items()},
        good | {name: value[..., :1].contiguous()},
        good | {name: value.double()},
        good | {name: torch.full_like(value, float("nan"))},
        good | {name: torch.full_like(value, float("inf"))},
    ):
        yield lambda w=wrong: save_file(w, file, metadata={"format": "pt"})  # type: ignore[misc]
    content = file.read_bytes()
    yield lambda: file.write_bytes(content[:-3]) and None
    yield lambda: file.write_bytes(b"") and None
    yield file.unlink


@pytest.mark.parametrize("kind", [Norms, Adds])
def test_every_tensor_is_accounted_for(kind: type[Tuner], tmp_path: Path) -> None:
    scored(kind(TunerConfig("it")), tiny.model(), tmp_path)
    file = tmp_path / "control/tuned.safetensors"
    for change in changes(file):
        change()
        with pytest.raises(RecordError, match=re.escape(str(file))):
            restored(kind(TunerConfig("it")), tiny.model(), tmp_path)


def returning(value: Callable[[Any], Any], trains: bool = True) -> Tuner:
    class Returns(Tuner):
        def apply(self, context: TuningContext) -> list[nn.Parameter]:
            made: list[nn.Parameter] = value(context.model)
            return made

    Returns.trains = trains
    return Returns(TunerConfig("returns"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda model: None, "must return the list .* not NoneType"),
        (lambda model: model, "must return the list .* not LlamaForCausalLM"),
        (lambda model: model.lm_head.weight, "must return the list .* not Parameter"),
        (lambda model: "norm", "must return the list .* not str"),
        (lambda model: [], "no parameter: there is nothing to train"),
        (lambda model: ["norm"], "element 0 of its list is no Parameter but str"),
        (lambda model: [model.lm_head.weight, torch.zeros(3)], "element 1 .* but Tensor"),
        (lambda model: [nn.Parameter(torch.zeros(4))], "is no parameter of the model"),
    ],
)
def test_a_return_value_that_cannot_be_trained(value: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(TuningError, match=message) as raised:
        declare(returning(value), context_of(tiny.model()))
    assert "Returns in" in str(raised.value) and "test_kept.py" in str(raised.value)


def test_what_is_returned_is_what_is_trained() -> None:
    def all_but(model: Any) -> Any:
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        return iter([model.lm_head.weight, model.lm_head.weight])

    context = context_of(tiny.model())
    assert declare(returning(all_but), context) == [context.model.lm_head.weight]
    trained = [n for n, p in context.model.named_parameters() if p.requires_grad]
    assert trained == ["lm_head.weight"]
    with pytest.raises(TuningError, match="trains = False"):
        declare(returning(all_but, trains=False), context_of(tiny.model()))


@pytest.mark.parametrize("method", ["save", "restore"])
def test_half_a_pair_is_refused(method: str) -> None:
    kind = type("Half", (Norms,), {method: lambda *arguments: None})
    with pytest.raises(MTLotteryError, match=f"overrides `{method}` but not"):
        declare(kind(TunerConfig("half")), context_of(tiny.model()))


def test_in_a_fresh_process(tmp_path: Path) -> None:
    wanted = scored(Looks(TunerConfig("looks")), tiny.model(), tmp_path)
    save_file({"logits": wanted}, tmp_path / "wanted.safetensors")
    code = (
        f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(ROOT / 'tests')!r}]\n"
        "from pathlib import Path\n"
        "import tiny, torch, test_kept as t\n"
        "from safetensors.torch import load_file\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "made = t.restored(t.Looks(t.TunerConfig('looks')), tiny.model(), folder)\n"
        "wanted = load_file(folder / 'wanted.safetensors')['logits']\n"
        "assert torch.allclose(t.logits(made), wanted, atol=1e-6, rtol=0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
