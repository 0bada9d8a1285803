"""``deterministic=true``: whatever trains, or takes gradients, runs with kernels that repeat."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.utils.deterministic
from safetensors.torch import load_file
from tiny_runs import Commands, Models, record, small

from mt_lottery.errors import TrainingError
from mt_lottery.model.attention import repeatable

pytestmark = pytest.mark.slow

PLUGIN = """
import torch
from torch import Tensor
from torch.nn import functional as F

from mt_lottery.plugin import TrainConfig, register_criterion


@register_criterion("watched")
def watched(logits: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
    if logits.shape[1] == 600:  # the model's, not those of the call that tries the criterion
        with open("seen.txt", "a") as file:
            print(torch.are_deterministic_algorithms_enabled(), file=file)
    return F.cross_entropy(logits, labels, reduction="sum")


@register_criterion("unrepeatable")
def unrepeatable(logits: Tensor, labels: Tensor, config: TrainConfig) -> Tensor:
    logits.detach().clone().put_(labels[:1], logits.detach()[0, :1])
    return F.cross_entropy(logits, labels, reduction="sum")
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "watched.py").write_text(PLUGIN)
    return folder


@pytest.mark.parametrize("recipe", ["random", "embed", "grad_lottery"])
def test_what_trains_repeats_and_nothing_stays_switched_on(
    recipe: str, commands: Commands, models: Models, plugins: Path
) -> None:
    rows = ("tuner.tickets=4", "tuner.selector_pairs=2") if recipe == "grad_lottery" else ()
    given = (f"user_dir={plugins}", "train.criterion=watched", "baseline=false", *rows)
    saved = []
    for out, wanted in (("plain", "false"), ("again", "true")):
        Path("seen.txt").unlink(missing_ok=True)
        asked = (*given, f"deterministic={wanted}", f"out_dir={out}")
        ended = commands.train(*small(models.tied, recipe, *asked))
        assert ended.code == 0, ended.err
        assert {*Path("seen.txt").read_text().split()} == {wanted.capitalize()}
        assert f"deterministic: {wanted}" in Path(out, "config.yaml").read_text()
        assert not torch.are_deterministic_algorithms_enabled()
        (weights,) = Path(out, "adapter").glob("*.safetensors")
        saved.append(load_file(weights))
    assert saved[0].keys() == saved[1].keys()  # on the CPU the same kernels
    assert all(torch.equal(saved[0][name], saved[1][name]) for name in saved[0])
    assert record(Path("plain"))["config_hash"] != record(Path("again"))["config_hash"]


def test_what_cannot_repeat_ends_with_one_message(
    commands: Commands, models: Models, plugins: Path
) -> None:
    given = small(models.tied, "random", f"user_dir={plugins}", "train.criterion=unrepeatable",
                  "baseline=false", "out_dir=out")  # fmt: skip
    said = commands.train(*given, "deterministic=true").mistake()
    assert "`deterministic` is true, and this training cannot repeat to the bit: " in said
    assert "put_ does not have a deterministic implementation. deterministic=false" in said
    assert commands.train(*given, "overwrite=true").code == 0


def test_settings_are_put_back() -> None:
    fills = torch.utils.deterministic
    before = fills.fill_uninitialized_memory
    with pytest.raises(ZeroDivisionError), repeatable(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert not fills.fill_uninitialized_memory
        raise ZeroDivisionError
    assert not torch.are_deterministic_algorithms_enabled()
    assert fills.fill_uninitialized_memory is before
    with pytest.raises(RuntimeError, match="of another kind"), repeatable(True):
        raise RuntimeError("of another kind")
    late = r"must be :4096:8 or :16:8 before a process uses the GPU"
    with pytest.raises(TrainingError, match=late), repeatable(True):
        # PyTorch's words (aten/src/ATen/Context.cpp) where its first product came before
        raise RuntimeError(
            "Deterministic behavior was enabled with either "
            "`torch.use_deterministic_algorithms(True)` or "
            "`at::Context::setDeterministicAlgorithms(true)`, but this operation is not "
            "deterministic because it uses CuBLAS and you have CUDA >= 10.2. To enable "
            "deterministic behavior in this case, you must set an environment variable before "
            "running your PyTorch application: CUBLAS_WORKSPACE_CONFIG=:4096:8 or "
            "CUBLAS_WORKSPACE_CONFIG=:16:8."
        )


def test_the_users_own_workspace_stays() -> None:
    code = (
        "import os; from mt_lottery.model.attention import allow_repeating; allow_repeating();"
        "print(os.environ['CUBLAS_WORKSPACE_CONFIG'])"
    )
    for own, wanted in (({}, ":4096:8"), ({"CUBLAS_WORKSPACE_CONFIG": ":16:8"}, ":16:8")):
        here = {k: v for k, v in os.environ.items() if k != "CUBLAS_WORKSPACE_CONFIG"} | own
        done = subprocess.run(
            [sys.executable, "-c", code], env=here, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == wanted
