"""Who may ask for Liger's kernels; what they compute is tested on a GPU (tests/gpu)."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny

from mt_lottery.config import TrainConfig
from mt_lottery.config.compose import compose
from mt_lottery.config.settings import counted
from mt_lottery.errors import ConfigError
from mt_lottery.model.kernels import check_kernels, fused, problems_with_kernels
from mt_lottery.runs.planning.plan import make_plan


@pytest.mark.parametrize("section", ["train", "probe"])
def test_on_the_cpu_they_are_refused_before_anything_is_loaded(
    section: str, tmp_path: Path
) -> None:
    arguments = [f"{section}.kernels=liger", "lang=en-ro", "recipe=ks_lottery", "device=cpu"]
    with pytest.raises(ConfigError, match=f"`{section}.kernels` is liger.*need.*GPU.*torch"):
        make_plan(compose(arguments), lambda _: None)


def test_where_liger_is_missing_the_message_has_the_command() -> None:
    try:
        import liger_kernel  # noqa: F401
    except ImportError:
        (said,) = problems_with_kernels("train", "liger", "cuda:0")
        assert "pip install liger-kernel" in said
    else:
        assert problems_with_kernels("train", "liger", "cuda:0") == []
    assert problems_with_kernels("train", "torch", "cpu") == []


def test_an_architecture_without_any() -> None:
    pytest.importorskip("liger_kernel", reason="liger-kernel is not installed")
    check_kernels(tiny.model("llama"), "torch", "liger")
    with pytest.raises(ConfigError, match=r"none for gpt2.*llama.*Allowed for gpt2: torch"):
        check_kernels(tiny.model("gpt2"), "torch", "liger")


def test_torchs_change_nothing() -> None:
    model = tiny.model("llama")
    before = [dict(vars(part)) for part in model.modules()]
    with fused(model, "torch"):
        assert [dict(vars(part)) for part in model.modules()] == before


def test_the_default_is_no_part_of_the_hash() -> None:
    """Runs of versions without the setting are found again."""
    assert "kernels" not in counted(TrainConfig())
    assert counted(TrainConfig(kernels="liger"))["kernels"] == "liger"
