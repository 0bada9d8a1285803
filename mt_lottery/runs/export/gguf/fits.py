"""Whether a GGUF file is of the model that a run was tuned from: its tokens, its table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mt_lottery.errors import ModelError, argument
from mt_lottery.reading.gguf_files import GGUFFile
from mt_lottery.runs.export.gguf.table import HEAD, TABLE, Table, apart, check_sizes
from mt_lottery.runs.finished import Run
from mt_lottery.tuners.full import FullTuner

#: Token types of GGUF (llama.cpp, ``llama_token_type``).
_NORMAL, _BYTE = 1, 6
#: Architectures whose head llama.cpp always takes from ``token_embd.weight``: a file with an
#: ``output.weight`` is refused there ("wrong number of tensors").
ALWAYS_TIED = ("bitnet", "cohere2", "command-r", "gemma", "gemma2", "openelm")
#: Ways to cut words (``tokenizer.ggml.pre``) for which llama.cpp puts BOS before a text though no
#: ``add_bos_token`` says so (``llama-vocab.cpp``).
_BOS_BY_PRE = (
    *("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"),
    *("jina-v5-nano", "tekken", "chameleon"),
)
#: RMS of a difference, relative, that a quantised table stays far below (2 bits: 0.3).
_FAR = 0.5
#: The same for types of 8 bits and more (0.006): above it the file is of another version.
_NEAR = 0.02
_NEAR_KINDS = ("F32", "F16", "BF16", "Q8_0")
_SAMPLE = 64  # rows


def open_base(run: Run, path: Any) -> GGUFFile:
    """The GGUF file that a run is exported for, checked: whole, readable, with its tokenizer.

    Raises:
        ModelError: it is damaged, a part of several, no model, or not of the run's.
    """
    try:
        import gguf  # noqa: F401
    except ImportError as error:
        raise ModelError(
            "Reading a GGUF file needs the package 'gguf': pip install gguf"
        ) from error
    base = GGUFFile(path, ModelError)
    kind = base.get("general.type", "model")
    if kind != "model":
        base.refuse(f"its general.type is '{kind}'; the GGUF of the original model is needed")
    if base.get("split.count", 1) > 1:
        base.refuse(
            "one part of several; llama.cpp's `llama-gguf-split --merge` makes them one file"
        )
    if "mt_lottery.ticket" in base.entries:
        base.refuse(
            f"it holds the rows of a run already ({base.get('mt_lottery.direction')}); give the "
            "original model's GGUF"
        )
    check_sizes(base)
    _check_tokens(run, base)
    return base


def _check_tokens(run: Run, base: GGUFFile) -> None:
    tokens = base.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        base.refuse("it has no list of tokens (tokenizer.ggml.tokens)")
    tokenizer = run.tuned.tokenizer
    rows = len(run.tuned.model.get_input_embeddings().weight)
    own = {index: token for token, index in tokenizer.get_vocab().items()}
    kinds = base.get("tokenizer.ggml.token_type") or [_NORMAL] * len(tokens)
    if not isinstance(kinds, list) or len(kinds) != len(tokens):
        base.refuse("damaged: it has not as many token types as tokens")
    for index in range(max(len(tokens), 1 + max(own))):
        there = tokens[index] if index < len(tokens) else None
        ours = own.get(index)
        if there is None:  # a token that no text holds may lack a row (<image_soft_token>)
            same = index >= rows
        elif ours is None:  # filling up to the size of the table
            same = kinds[index] not in (_NORMAL, _BYTE)
        else:
            same = any(_spelled(there) == _spelled(form) for form in _forms(tokenizer, index, ours))
        if not same:
            name = run.record.model.name
            base.refuse(
                f"its tokenizer is not the run's: token {index} is {there!r} there, {ours!r} "
                f"in {name}. Give a GGUF of that model"
            )


def _spelled(token: str) -> str:
    """A token as both sides spell it: llama.cpp writes user-defined tokens with blanks."""
    return token.replace("▁", " ")


def _forms(tokenizer: Any, index: int, token: str) -> Iterator[str]:
    yield token
    if index in tokenizer.added_tokens_decoder:
        yield tokenizer.decode([index])


def check_table(run: Run, table: Table) -> None:
    """Make sure that a table is the one that the run changed.

    Raises:
        ModelError: of another shape, or with other values than quantisation explains.
    """
    own = run.tuned.model.get_input_embeddings().weight.detach()
    shape = table.place.shape
    if shape[1] != own.shape[1] or shape[0] < len(own):
        table.base.refuse(
            f"'{table.place.name}' is {shape[0]} × {shape[1]}, the run's {len(own)} × "
            f"{own.shape[1]}: not the same model"
        )
    far = _apart(run, table)
    if not far <= _FAR:
        table.base.refuse(
            f"'{table.place.name}' is not the table that the run was tuned from: its rows differ "
            f"by {far:.0%}. Give a GGUF of the same model (some converters scale this table; "
            "such a file cannot be used)"
        )


def _apart(run: Run, table: Table) -> float:
    """How far rows of a table, all over it, are from the run's original ones."""
    loaded = run.original if isinstance(run.tuner, FullTuner) else run.tuned  # rows lie beside it
    own = loaded.model.get_input_embeddings().weight.detach()
    ids = np.unique(np.linspace(0, len(own) - 1, _SAMPLE).astype(np.int64))
    return apart(table.read(ids), own[ids].float().cpu().numpy())


def check_head(base: GGUFFile) -> None:
    """Make sure that llama.cpp lets a model of this architecture have a head of its own.

    Raises:
        ModelError: it does not.
    """
    architecture = base.get("general.architecture")
    if HEAD not in base.tensors and architecture in ALWAYS_TIED:
        base.refuse(
            f"llama.cpp ties the two tables of a '{architecture}' model always, so that the input "
            f"table cannot change alone. {argument('format', 'gguf')} takes runs of "
            f"tuner.scope=tied; others can be served as {argument('format', 'merged')} elsewhere"
        )


def bos_to_leave_out(run: Run, base: GGUFFile) -> str:
    """BOS as the run's prompts begin with it, if llama.cpp puts it before them too; else empty."""
    return _written_bos(run) if _adds_bos(base) else ""


def _written_bos(run: Run) -> str:
    """BOS where it is a part of the prompt's text, as chat templates have it; else empty."""
    bos = str(run.tuned.tokenizer.bos_token or "")
    return bos if bos and run.prompt("a", run.directions[0]).startswith(bos) else ""


def _adds_bos(base: GGUFFile) -> bool:
    """Whether llama.cpp puts BOS before a text."""
    model, pre = (base.get(f"tokenizer.ggml.{key}") for key in ("model", "pre"))
    unsaid = model == "llama" or (model == "gpt2" and pre in _BOS_BY_PRE)
    return bool(base.get("tokenizer.ggml.add_bos_token", unsaid))


def notes_on(run: Run, base: GGUFFile) -> Iterator[str]:
    """What llama.cpp would do otherwise than the run, a sentence each."""
    tokenizer = run.tuned.tokenizer
    prompt = run.text.of_pair(run.text.pairs[0]).prompts(["a"], tokenizer, run.lead)[0]
    bos = base.get("tokenizer.ggml.bos_token_id")
    adds, written = _adds_bos(base), _written_bos(run)
    begins = bos is not None and prompt[:1] == [bos]
    if begins and written:
        if adds:
            yield (
                f"llama.cpp puts {written} before what it is asked: leave it out of the prompt, "
                "as the card's request does."
            )
    elif adds != begins:
        yield (
            f"The run's prompts begin {'with' if begins else 'without'} {tokenizer.bos_token}, "
            "this GGUF's otherwise: start llama.cpp with --override-kv "
            f"tokenizer.ggml.add_bos_token=bool:{str(begins).lower()}"
        )
    table = Table.of(base, TABLE)
    far, kind = _apart(run, table), table.kind.name
    if kind in _NEAR_KINDS and far > _NEAR:
        yield (
            f"{TABLE} differs from the run's by {far:.0%}, which {kind} does not explain: is this "
            "GGUF of the same version of the model, and not of one tuned further?"
        )
    ends = {base.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")}
    if tokenizer.eos_token_id not in ends:
        yield (
            f"The run ends a translation with {tokenizer.eos_token} ({tokenizer.eos_token_id}), "
            "which is not this GGUF's end of a text: start llama.cpp with --override-kv "
            f"tokenizer.ggml.eos_token_id=int:{tokenizer.eos_token_id}"
        )
