"""A model folder on disk, looked at before anything in it is loaded.

transformers would report most of these mistakes as a traceback from deep inside, or
not at all: an encoder-decoder may load as half a model, a missing head is made up.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mt_lottery.errors import ModelError, nearest_file
from mt_lottery.model.cache import sha256_file
from mt_lottery.reading import check_regular, read_json

_PICKLES = ("pytorch_model*.bin", "*.pth", "*.pt", "*.bin", "*.ckpt")
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tekken.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
)
_VOCABULARIES = _TOKENIZER_FILES[:8]
_INDEX = "model.safetensors.index.json"


def find_local(name_or_path: str) -> Path | None:
    """The local folder or GGUF file meant, or ``None`` where it must be a hub id.

    Raises:
        ModelError: it is written like a path and is not there, or is another kind of file.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        if path.suffix == ".gguf":
            return path
        raise ModelError(
            f"model.name_or_path={name_or_path} is a file; allowed: a folder with config.json "
            "and safetensors weights, a .gguf file, or a hub id."
        )
    parts = name_or_path.split("/")
    written_as_path = (
        name_or_path.startswith(("/", ".", "~"))
        or "\\" in name_or_path
        or name_or_path.endswith((".gguf", ".safetensors", "/"))
        or len(parts) > 2
        or (len(parts) == 2 and path.parent.is_dir())
    )
    if not written_as_path:
        return None
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    raise ModelError(
        f"model.name_or_path={name_or_path}: no such folder.{nearest_file(path.name, siblings)}"
    )


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = read_json(path, ModelError, finite=False)
    return content


def find_gguf(folder: Path) -> Path | None:
    """The GGUF file of a folder that has no ``config.json``; ``None`` if it has one.

    Raises:
        ModelError: neither is there, or several GGUF files.
    """
    if (folder / "config.json").is_file():
        return None
    files = sorted(folder.glob("*.gguf"))
    if len(files) == 1:
        return files[0]
    if files:
        names = ", ".join(file.name for file in files)
        raise ModelError(f"{folder} holds several GGUF files: give the path of one ({names}).")
    hint = "A folder with config.json, *.safetensors and a tokenizer is needed."
    if (folder / "adapter_config.json").is_file():
        hint = "It is an adapter, not a model: give the folder of its base model."
    elif (folder / "record.json").is_file():
        hint = "It is a run directory: mt-translate --run and mtl.load_tuned read those."
    raise ModelError(f"{folder} has no config.json. {hint}")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers would load, sorted by name.

    Raises:
        ModelError: there are none (pickled weights are refused), or one is missing.
    """
    single = folder / "model.safetensors"
    if single.is_file():
        return [single]
    if (folder / _INDEX).is_file():
        shards = _read(folder / _INDEX).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise ModelError(f"{folder / _INDEX} has no 'weight_map' (tensor → file).")
        for tensor, name in shards.items():
            if not isinstance(name, str) or not _is_inside(name):
                raise ModelError(
                    f"{folder / _INDEX}: weight_map: {tensor} is in {name!r}; allowed: the name "
                    "of a .safetensors file in this folder."
                )
        files = [folder / name for name in sorted(set(shards.values()))]
        for file in files:
            if not file.is_file():
                raise ModelError(f"{file} is missing; {folder / _INDEX} lists it.")
        return files
    for pattern in _PICKLES:
        if found := sorted(folder.glob(pattern)):
            raise ModelError(
                f"{found[0]}: pickled weights are refused, since reading a pickle can run any "
                "code. Where you trust them, convert them once in Python, "
                f"AutoModelForCausalLM.from_pretrained('{folder}').save_pretrained(NEW_FOLDER), "
                "and copy the tokenizer's files as well."
            )
    raise ModelError(f"{folder} has no weights: model.safetensors or {_INDEX} is needed.")


def _is_inside(name: str) -> bool:
    """Whether a file's name leads nowhere out of its folder (by its text: caches are links)."""
    parts = PurePosixPath(name).parts
    safe = "\\" not in name and "\0" not in name and name.endswith(".safetensors")
    return safe and bool(parts) and not name.startswith("/") and ".." not in parts


class Stored(NamedTuple):
    """The header of a tensor in a file.

    Attributes:
        shape: its sizes.
        dtype: as safetensors names it (``BF16``).
    """

    shape: tuple[int, ...]
    dtype: str


def check_weights(files: list[Path]) -> dict[str, Stored]:
    """Open each file's header, so that a damaged one is named.

    Returns:
        name → header of every tensor.

    Raises:
        ModelError: a file is cut short or no safetensors file; a tensor is in two of them.
    """
    from safetensors import SafetensorError, safe_open

    found: dict[str, Stored] = {}
    of: dict[str, Path] = {}
    for file in files:
        check_regular(file, ModelError)
        try:
            with safe_open(str(file), framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 (no mapping)
                    if name in found and not _same_tensor(name, file, of[name]):
                        raise ModelError(
                            f"{file} and {of[name].name} both hold {name}, with other values, and "
                            "transformers reads both. Copy or download the folder again."
                        )
                    part, of[name] = opened.get_slice(name), file
                    shape = tuple(int(n) for n in part.get_shape())
                    found[name] = Stored(shape, str(part.get_dtype()))
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            raise ModelError(
                f"{file} is damaged or no safetensors file ({error}). Copy or download it again."
            ) from error
    return found


def _same_tensor(name: str, *files: Path) -> bool:
    import torch
    from safetensors import safe_open

    found = []
    for file in files:
        with safe_open(str(file), framework="pt") as opened:
            found.append(opened.get_tensor(name))
    return torch.equal(*found)


def check_settings(folder: Path) -> None:
    """Read the small files of a model folder, those that are there.

    Raises:
        ModelError: one is damaged, or says something of another kind than it must.
    """
    _read(folder / "config.json")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        stored = _read(folder / name) if _is_there(folder / name) else {}
        longest = stored.get("model_max_length")
        if not isinstance(longest, (int, float, type(None))):
            raise ModelError(
                f"{folder / name}: model_max_length is {str(longest)[:60]!r}; allowed: a number."
            )
    for name in ("tokenizer.json", "added_tokens.json", "vocab.json", "tokenizer.model"):
        if _is_there(folder / name):
            check_regular(folder / name, ModelError)
    if _is_there(folder / "generation_config.json"):
        settings = _read(folder / "generation_config.json")
        for key in ("eos_token_id", "bos_token_id", "pad_token_id"):
            value = settings.get(key)
            ids = value if isinstance(value, list) else [value] if value is not None else []
            if not all(type(i) is int and -1 <= i < 2**31 for i in ids):
                raise ModelError(
                    f"{folder / 'generation_config.json'}: {key} is {str(value)[:60]!r}; "
                    "allowed: a token id, or a list of them."
                )


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)  # a link that leads nowhere is there, and wrong


def check_tokenizer_files(folder: Path) -> None:
    """Check for a vocabulary: transformers 5 makes up an empty tokenizer where there is none.

    Raises:
        ModelError: the folder holds no vocabulary.
    """
    own_code = (folder / "tokenizer_config.json").is_file() and "auto_map" in _read(
        folder / "tokenizer_config.json"
    )
    if not own_code and not any((folder / name).is_file() for name in _VOCABULARIES):
        raise ModelError(
            f"{folder} has no tokenizer: one of {', '.join(_VOCABULARIES[:5])}, … is needed."
        )


def says_plain_tokenizer(folder: Path) -> bool:
    """Whether ``tokenizer.json`` alone defines the tokenizer, according to the folder.

    transformers 5 puts the usual class of some model types (Qwen2) in place of the one that
    the folder names, and a vocabulary of another make then loses words in silence.
    """
    settings = folder / "tokenizer_config.json"
    if not settings.is_file() or not (folder / "tokenizer.json").is_file():
        return False
    stored = _read(settings)
    plain = ("PreTrainedTokenizerFast", "TokenizersBackend")
    return stored.get("tokenizer_class") in plain and "auto_map" not in stored


def check_causal(where: str, config: Any) -> None:
    """Refuse what is no decoder-only language model.

    Args:
        where: folder or hub id, for the message.
        config: the model's transformers configuration.

    Raises:
        ModelError: the message names the architecture or the model type.
    """
    from transformers.models.auto import modeling_auto as auto

    allowed = "allowed: causal language models (Llama, Mistral, Gemma, Qwen, GPT-2, …)."
    names = [str(name) for name in getattr(config, "architectures", None) or []]
    kind = f"{where} is a {names[0] if names else 'model'} (model_type '{config.model_type}')"
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(f"{kind}, an encoder-decoder; {allowed}")
    if _has_own_code(config) or _is_wrapped(config):
        return
    causal = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if names:
        good = set(causal.values()) | {n for n in names if n.endswith("ForCausalLM")}
        if not any(name in good for name in names):
            raise ModelError(f"{kind}, no causal language model; {allowed}")
    elif config.model_type not in causal:
        raise ModelError(f"{kind}, no causal language model; {allowed}")
    masked = config.model_type in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if masked and not getattr(config, "is_decoder", False):
        raise ModelError(f"{kind}, an encoder that sees both sides; {allowed}")


def _has_own_code(config: Any) -> bool:
    return "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})


def _is_wrapped(config: Any) -> bool:
    """Whether a language model is inside one that sees pictures (LLaVA, Qwen2-VL, Mistral 3)."""
    from transformers.models.auto import modeling_auto as auto

    kind, text = config.model_type, config.get_text_config()
    known = auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    causal = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if kind in causal or kind not in known or _has_own_code(config):
        return False
    names = [str(name) for name in getattr(config, "architectures", None) or [known[kind]]]
    inside = text is not config and not getattr(text, "is_encoder_decoder", False)
    return inside and names[0] == known[kind]


def auto_class(config: Any) -> Any:
    """The class of transformers that loads a model, with its towers for pictures if it has any.

    A text goes through the language model alone; :mod:`mt_lottery.model.reach` finds it. Names
    of weights and adapters are those of the whole model, as others load it.

    Args:
        config: the model's transformers configuration.
    """
    import transformers as t

    return t.AutoModelForImageTextToText if _is_wrapped(config) else t.AutoModelForCausalLM


def fingerprint_folder(folder: Path) -> str:
    """SHA-256 over every file that decides what the model says: weights, config, tokenizer.

    Names and hashes of the files in the order of the names; each file's hash is
    remembered per path, size and modification time.

    Raises:
        ModelError: as :func:`find_gguf` and :func:`weight_files`.
    """
    gguf = find_gguf(folder)
    files = [gguf] if gguf is not None else weight_files(folder)
    files += [folder / name for name in ("config.json", "generation_config.json")]
    files += [folder / name for name in _TOKENIZER_FILES]
    return _fingerprint_files(files)


def fingerprint_file(gguf: Path) -> str:
    """SHA-256 of a model that is one GGUF file."""
    return _fingerprint_files([gguf])


def _fingerprint_files(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted((f for f in files if f.is_file()), key=lambda f: f.name):
        try:
            digest.update(f"{file.name}\0{sha256_file(file)}\n".encode())
        except OSError as error:
            raise ModelError(f"{file} cannot be read: {error.strerror}") from error
    return digest.hexdigest()
