"""What each engine takes of a LoRA on the embedding table.

vLLM: tried with 0.32.0 (``tests/serving``). SGLang: read in its source of 2026-11
(``srt/lora/mem_pool.py``, pull request 14177), not run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from mt_lottery.errors import TuningError, argument
from mt_lottery.runs.export.formats import ENGINES
from mt_lottery.runs.export.rows import Moved

#: Ranks that vLLM's ``max_lora_rank`` may be.
VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
#: Classes whose own code in vLLM takes a LoRA on ``embed_tokens``.
VLLM_OWN = frozenset(
    f"{name}ForCausalLM"
    for name in (
        *("Apertus", "Cohere", "Cohere2", "Exaone", "Exaone4", "ExaoneMoe", "FalconH1", "Granite"),
        *("GraniteMoe", "GraniteMoeShared", "GraniteMoeHybrid", "HyperCLOVAX", "InternLM3"),
        *("Jamba", "Lfm2", "Lfm2Moe", "Llama", "MiniCPM", "Mixtral", "Nemotron", "NemotronH"),
        *("PhiMoE", "Qwen3", "Qwen3Moe", "Solar"),
    )
)
#: Those of them that take none on the head.
VLLM_INPUT_ONLY = ("CohereForCausalLM", "Cohere2ForCausalLM")
#: The largest head that vLLM takes a LoRA on.
VLLM_MOST_HEAD = 258_048
HEAD = "and the run's belong to the head too: scope=tied"
#: What PEFT adds to LoRA and vLLM refuses (``vllm/lora/peft_helper.py``); SGLang does not ask.
BEYOND = (
    *("use_dora", "lora_bias", "use_bdlora", "use_qalora", "layer_replication"),
    *("alora_invocation_tokens", "modules_to_save", "trainable_token_indices"),
)
#: Start values of LoRA that leave the original weights as they are.
HARMLESS_STARTS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")


@dataclass(frozen=True)
class Fit:
    """How the file is written for an engine, and how the engine is started.

    Attributes:
        factor: B of the input table is multiplied by it.
        one_hot: dtype of the matrices that hold only 0 and 1.
        peft: plain PEFT makes the same of the file.
        arguments: of the engine's Python class; of its server, with dashes.
    """

    factor: float = 1.0
    one_hot: torch.dtype = torch.bfloat16
    peft: bool = True
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> str:
        """The arguments as options of the engine's server."""

        def option(name: str, value: Any) -> str:
            shown = " ".join(value) if isinstance(value, list) else value
            return f"--{name.replace('_', '-')} {shown}"

        return " ".join(option(*each) for each in self.arguments.items())


def fit(engine: str, moved: Moved, architecture: str) -> Fit:
    """What an engine needs for some rows of a model.

    Args:
        engine: one of :data:`~mt_lottery.runs.export.formats.ENGINES`.
        moved: the rows.
        architecture: the class of the model.

    Raises:
        TuningError: it cannot serve them as an adapter; the message says what can.
    """
    if engine == "peft":
        return Fit()
    if moved.embedding.rpartition(".")[2] != "embed_tokens":
        raise _refused(engine, f"takes an embedding called embed_tokens, not {moved.embedding}")
    if not architecture.endswith("ForCausalLM"):  # towers, and other names in the engine
        raise _refused(engine, f"has not been tried with {architecture}")
    return _vllm(moved, architecture) if engine == "vllm" else _sglang(moved, architecture)


def check_passed_on(engine: str, config: Mapping[str, Any]) -> Fit:
    """What an engine needs for an adapter that PEFT trained.

    Args:
        engine: as for :func:`fit`.
        config: its ``adapter_config.json``.

    Raises:
        TuningError: as for :func:`fit`.
    """
    if engine == "peft":
        return Fit()
    if config.get("peft_type") != "LORA":
        why = f"serves no adapter of the kind {config.get('peft_type')}, only LoRA"
        if "num_virtual_tokens" not in config:
            raise _refused(engine, why)
        how = f"{argument('engine', 'peft')} writes it for PEFT"
        raise _refused(engine, f"{why}, and no plain model holds it either", how)
    start = config.get("init_lora_weights", True)
    wrong = [f"{key}={config[key]!r}" for key in BEYOND if config.get(key)]
    if config.get("bias", "none") != "none":
        wrong.append(f"bias={config['bias']!r}")
    if isinstance(start, str) and start.lower() not in HARMLESS_STARTS:
        wrong.append(f"init_lora_weights={start!r}")
    if wrong:
        raise _refused(engine, f"serves plain LoRA alone, not {', '.join(wrong)}")
    rank = max([int(config["r"]), *(config.get("rank_pattern") or {}).values()])
    return Fit(arguments={"max_lora_rank": vllm_rank(rank) if engine == "vllm" else rank})


def _refused(engine: str, why: str, how: str | None = None) -> TuningError:
    how = how or f"{argument('format', 'merged')} writes a plain model that it serves"
    return TuningError(f"{argument('engine', engine)}: {ENGINES[engine]} {why}; {how}.")


def vllm_rank(rank: int) -> int:
    """The least ``max_lora_rank`` that takes an adapter.

    Raises:
        TuningError: there is none.
    """
    if rank > VLLM_RANKS[-1]:
        raise _refused("vllm", f"takes a rank of {VLLM_RANKS[-1]} at most, and this is {rank:,}")
    return next(most for most in VLLM_RANKS if most >= rank)


def _vllm(moved: Moved, architecture: str) -> Fit:
    own = architecture in VLLM_OWN and moved.scale == 1
    if moved.head and (not own or architecture in VLLM_INPUT_ONLY):
        raise _refused("vllm", f"takes rows of the input table alone for {architecture}, {HEAD}")
    if moved.head and moved.vocabulary > VLLM_MOST_HEAD:
        most = f"takes rows of a head of {VLLM_MOST_HEAD:,} tokens at most"
        raise _refused("vllm", f"{most}, and this has {moved.vocabulary:,} ({HEAD})")
    arguments: dict[str, Any] = {
        "max_lora_rank": vllm_rank(moved.rank),
        # no others: vLLM would keep buffers for every layer, and refuse a large head
        "lora_target_modules": moved.targets,
    }
    if not own:
        arguments["model_impl"] = "transformers"
    # the adapter is added to rows that are scaled already, where PEFT scales it too
    return Fit(moved.scale, torch.uint8, moved.scale == 1, arguments)


def _sglang(moved: Moved, architecture: str) -> Fit:
    if moved.head:
        raise _refused("sglang", f"is not known to keep a tied model's tables apart ({HEAD})")
    if moved.scale != 1:
        raise _refused("sglang", f"takes no LoRA on the scaled embedding of {architecture}")
    arguments = {"max_lora_rank": moved.rank, "lora_target_modules": moved.targets}
    return Fit(arguments=arguments)
