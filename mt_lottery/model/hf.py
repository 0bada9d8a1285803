"""Any causal language model: a local folder, a GGUF file, or an id of the Hugging Face hub."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from mt_lottery.errors import ModelError
from mt_lottery.model import special_tokens, tables
from mt_lottery.model.folder import checkpoint, hub
from mt_lottery.model.folder.configuration import read_config
from mt_lottery.model.folder.finite import check_finite
from mt_lottery.model.folder.fitting import (
    check_against_weights,
    check_all_used,
    check_complete,
    mismatch,
)
from mt_lottery.model.folder.library import call
from mt_lottery.model.folder.quantised import (
    Quantisation,
    is_quantised,
    keep_differentiable,
    quantisation,
)
from mt_lottery.model.folder.shape import build_shape, shape_of
from mt_lottery.model.loading import HOST, LoadedModel, ModelInfo
from mt_lottery.model.reach import text_parameters
from mt_lottery.registry import register_model

logger = logging.getLogger(__name__)


@register_model("hf")
class HuggingFace:
    """``model=hf model.name_or_path=…``."""

    def load(self, config: Any, device: str) -> LoadedModel:
        """See :func:`mt_lottery.model.loading.load`."""
        name = _name(config)
        local = checkpoint.find_local(name)
        options = {"dtype": config.dtype, "trust_remote_code": config.trust_remote_code}
        options["device_map"] = getattr(config, "device_map", None)
        if local is None:
            found = hub.find(name, config.revision)
            if found.folder is not None:
                loaded = load_folder(found.folder, name=name, device=device, **options)
                info = replace(loaded.info, path=None, sha256=None, revision=found.commit)
                return replace(loaded, info=info)
            return _load(name, device=device, commit=found.commit, **options)
        _no_revision(config)
        return load_folder(local, name=local.resolve().name, device=device, **options)

    def tokenizer(self, config: Any) -> tuple[Any, int] | None:
        """See :func:`mt_lottery.model.loading.tokenizer_of`."""
        name = _name(config)
        folder = checkpoint.find_local(name)
        if folder is None:
            folder = hub.find(name, config.revision).folder
        if folder is None or not (folder / "config.json").is_file():
            return None  # a GGUF file's tokenizer takes as long as its weights
        return load_tokenizer(folder, trust_remote_code=config.trust_remote_code)

    def quantisation(self, config: Any) -> Quantisation | None:
        """See :func:`mt_lottery.model.loading.quantisation_of`."""
        name = _name(config)
        where: str | Path | None = checkpoint.find_local(name)
        if isinstance(where, Path) and (where.is_file() or checkpoint.find_gguf(where)):
            return None  # GGUF's blocks become plain weights
        settings: dict[str, Any] = {"trust_remote_code": config.trust_remote_code}
        if where is None:
            found = hub.find(name, config.revision)
            where = found.folder or name
            settings |= {} if found.folder else {"revision": found.commit}
        return quantisation(read_config(str(where), **settings))

    def fingerprint(self, config: Any) -> str:
        """See :func:`mt_lottery.model.loading.fingerprint`."""
        name = _name(config)
        local = checkpoint.find_local(name)
        if local is None:
            return hub.find(name, config.revision).commit
        _no_revision(config)
        if local.is_file():
            return checkpoint.fingerprint_file(local)
        return checkpoint.fingerprint_folder(local)


def _name(config: Any) -> str:
    if not config.name_or_path:
        raise ModelError(
            f"model={config.name} needs model.name_or_path: a local folder (config.json, "
            "*.safetensors, tokenizer), a .gguf file, or a hub id such as "
            "HuggingFaceTB/SmolLM2-135M."
        )
    return str(config.name_or_path)


def _no_revision(config: Any) -> None:
    if config.revision:
        raise ModelError(
            f"model.revision={config.revision}: only a hub id has revisions, and "
            f"model.name_or_path={config.name_or_path} is local."
        )


def load_folder(path: Path, *, name: str, dtype: str, device: str, **options: Any) -> LoadedModel:
    """Load a local folder or GGUF file.

    Args:
        path: a folder (config, safetensors, tokenizer; or one GGUF file), or a GGUF file.
        name: for the record.
        dtype, device: as in :func:`mt_lottery.model.loading.load`.
        options: ``trust_remote_code``, ``device_map``, likewise.

    Raises:
        ModelError: something is missing, damaged, or no causal language model.
    """
    gguf = path if path.is_file() else checkpoint.find_gguf(path)
    if gguf is not None:
        sha256 = checkpoint.fingerprint_file(gguf)
        return _load(str(gguf.parent), device=device, dtype=dtype, gguf=gguf, sha256=sha256,
                     name=name, **options)  # fmt: skip
    checkpoint.check_settings(path)
    stored = checkpoint.check_weights(checkpoint.weight_files(path))
    checkpoint.check_tokenizer_files(path)
    config = read_config(str(path), trust_remote_code=options.get("trust_remote_code", False))
    checkpoint.check_causal(str(path), config)
    check_against_weights(config, stored, str(path))
    sha256 = checkpoint.fingerprint_folder(path)
    try:
        return _load(str(path), device=device, dtype=dtype, sha256=sha256, name=name,
                     config=config, **options)  # fmt: skip
    except ModelError as error:  # transformers names the tensor in a report that is not shown
        differs = mismatch(config, stored) if "ignore_mismatched_sizes" in str(error) else None
        if differs is None:
            raise
        raise ModelError(f"{path}: {differs}. They do not belong together.") from error


def _load(
    where: str,
    *,
    device: str,
    dtype: str,
    trust_remote_code: bool = False,
    device_map: Any = None,
    name: str | None = None,
    sha256: str | None = None,
    gguf: Path | None = None,
    commit: str | None = None,
    config: Any = None,
) -> LoadedModel:
    import torch

    _check_device(device)
    # An explicit False: left out, transformers asks on the terminal and waits.
    common: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    if commit is not None:
        common["revision"] = commit
    if gguf is not None:
        common["gguf_file"] = gguf.name
    shown = str(gguf) if gguf is not None else where
    if config is None:
        config = read_config(where, shown, **common)
        checkpoint.check_causal(shown, config)
    spread = _spread(shown, device, device_map, gguf is not None)
    if gguf is not None:
        model = _load_gguf(shown, where, config, _dtype(dtype, config, device), common)
    else:
        model, report = call(
            checkpoint.auto_class(config).from_pretrained, shown, where, config=config,
            dtype=_dtype(dtype, config, device), use_safetensors=True, output_loading_info=True,
            **spread, **common,
        )  # fmt: skip
        check_complete(model, report.get("missing_keys", ()), shown)
        check_all_used(model, report.get("unexpected_keys", ()), shown)
    plain = commit is None and gguf is None and checkpoint.says_plain_tokenizer(Path(where))
    tables.output_head(model)
    table = tables.input_table(model)
    tokenizer = _tokenizer(shown, where, plain, table.shape[0], common)
    half = dtype == "auto" and device == "cpu" and model.dtype == torch.float16
    if half and not is_quantised(model):
        model = model.float()  # a checkpoint that does not say so in its config
    check_finite(model, shown)
    if table.is_meta:
        raise ModelError(
            f"{shown}: no device has room for the embedding table ({device_map=!s}); the GPUs, and "
            "the machine's memory after them, are too small for this model."
        )
    if not spread and device_map != HOST:
        model = _placed(model, device)
    model = model.eval().requires_grad_(False)
    keep_differentiable(model)
    table = tables.input_table(model)
    info = ModelInfo(
        name=name or where,
        path=None if commit is not None else str(Path(shown).resolve()),
        sha256=sha256,
        revision=commit,
        parameters=_count(model, config),
        vocab_size=table.shape[0],
        embedding_dim=table.shape[1],
        tied_embeddings=tables.is_tied(model),
    )
    return LoadedModel(model, tokenizer, info)


def _spread(shown: str, device: str, device_map: Any, gguf: bool) -> dict[str, Any]:
    """transformers' arguments for a model on several devices; none for one on a single device."""
    import torch

    if device_map is None or device_map == HOST:
        return {}
    if gguf:
        raise ModelError(
            f"{shown}: model.device_map={device_map}: a GGUF file is unpacked as a whole; allowed "
            "for it: null. A folder of safetensors can be spread."
        )
    found: dict[str, Any] = {"device_map": device_map}
    if torch.device(device).type == "cpu" and torch.cuda.is_available():
        from accelerate.utils import get_max_memory

        found["max_memory"] = {"cpu": get_max_memory()["cpu"]}
    return found


def _placed(model: Any, device: str) -> Any:
    """On its device; where transformers has put quantised weights there, some cannot be moved."""
    import torch

    if len(set(getattr(model, "hf_device_map", {}).values())) == 1:
        del model.hf_device_map  # nothing is spread, and PEFT would look for a GPU in it
    wanted, there = torch.device(device), model.device
    if there.type == wanted.type and wanted.index in (None, there.index):
        return model
    return model.to(device)


def _count(model: Any, config: Any) -> int:
    """How many parameters a text meets; weights that are packed count as what they stand for."""
    if is_quantised(model):
        model = build_shape(config)
    return sum(p.numel() for p in text_parameters(model).values())


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> tuple[Any, int]:
    """The tokenizer of a local folder as :func:`load_folder` makes it, and V; no weights are read.

    Raises:
        ModelError: something is missing, damaged, or no causal language model.
    """
    checkpoint.check_settings(folder)
    checkpoint.check_tokenizer_files(folder)
    shape = shape_of(str(folder), trust_remote_code=trust_remote_code)
    rows = int(tables.input_table(shape).shape[0])
    common = {"trust_remote_code": trust_remote_code}
    plain = checkpoint.says_plain_tokenizer(folder)
    return _tokenizer(str(folder), str(folder), plain, rows, common), rows


def _tokenizer(shown: str, where: str, plain: bool, rows: int, common: dict[str, Any]) -> Any:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    kind = PreTrainedTokenizerFast if plain else AutoTokenizer
    tokenizer = call(kind.from_pretrained, shown, where, **common)
    special_tokens.prepare(tokenizer, rows, shown)
    call(tokenizer, shown, ["."], verbose=False)  # a wrong setting may show only here
    return tokenizer


def _check_device(device: str) -> None:
    import torch

    kind = torch.device(device).type
    if kind == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device={device}: this PyTorch sees no CUDA device; allowed: cpu.")


def _dtype(asked: str, config: Any, device: str) -> Any:
    """The dtype to load in; ``auto`` is the checkpoint's own, with one exception.

    float16 on a CPU becomes float32: it holds every float16 exactly (bfloat16 would move
    the very embeddings whose change is measured), and CPUs are slow or wrong in float16.
    """
    import torch

    if asked != "auto":
        return getattr(torch, asked)
    stored = getattr(config, "dtype", None) or getattr(config, "torch_dtype", None)
    if stored is None:
        return "auto"
    if stored in (torch.float16, "float16") and torch.device(device).type == "cpu":
        logger.warning(
            "The weights are float16: loaded as float32 on the CPU. model.dtype=bfloat16 "
            "halves the memory, rounded."
        )
        return torch.float32
    return stored


def _load_gguf(shown: str, where: str, config: Any, dtype: Any, common: dict[str, Any]) -> Any:
    """Dequantised weights in a model that can be saved: transformers' own cannot."""
    import torch
    import transformers

    plain = dtype if isinstance(dtype, torch.dtype) else torch.float32
    settings: dict[str, Any] = {**common, "dtype": plain}
    if hasattr(transformers, "GgufConfig"):  # 5.x may keep the weights packed otherwise
        settings["quantization_config"] = transformers.GgufConfig(dequantize=True)
    packed = call(transformers.AutoModelForCausalLM.from_pretrained, shown, where, **settings)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    build: Any = transformers.AutoModelForCausalLM.from_config
    model = call(build, shown, config, dtype=plain)
    call(model.load_state_dict, shown, packed.state_dict())
    model.generation_config = packed.generation_config
    return model
