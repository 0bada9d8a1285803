"""What a run keeps of a tuner without its own ``save`` and ``restore``.

Kept are the tensors that ``apply`` declared to be trained, those that it added to the model,
and what it looked at in its context.  To restore them, ``apply`` is called again, with the same
context and the same random numbers, and the tensors are put back by name; then the model must
compute what the scored one did.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from mt_lottery.data.prompts.wording import restored, stored
from mt_lottery.errors import MTLotteryError, RecordError, TuningError
from mt_lottery.reading import read_json
from mt_lottery.system.atomic import write_bytes, write_data
from mt_lottery.tuners.adapters.tensors import check_tensors, first_broken, read_tensors
from mt_lottery.tuners.base import FACTS, Probe, RowGradients, Tuner, TuningContext
from mt_lottery.tuners.declared import declare, overrides

FOLDER = "control"
TENSORS = "tuned.safetensors"
PROBE = "probe.safetensors"
FACTS_FILE = "tuned.json"
LOGITS_FILE = "logits.json"
CHECKED = 8  # positions whose logits are compared


def kept_tensors(context: TuningContext) -> dict[str, Tensor]:
    """Name → what was trained, and what the tuner added to the model beside it."""
    model, original = context.model, context.original
    declared = context.declared
    trained = {id(p) for p in declared} if declared is not None else set()
    found: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        ours = id(parameter) in trained or (declared is None and parameter.requires_grad)
        # a weight that was put into 4 bits is made again
        added = original is not None and not original.has(parameter)
        if ours or (added and parameter.is_floating_point()):
            found[name] = parameter
    if original is not None:
        found |= {n: b for n, b in model.named_buffers() if not original.has(b)}
    return {n: t.detach().to("cpu", copy=True).contiguous() for n, t in found.items()}


def finish(tuner: Tuner, context: TuningContext) -> None:
    """End a training: the tuner's own end, and no value that is not finite.

    Raises:
        TuningError: a tuned value is NaN or infinite.
    """
    if overrides(tuner, "finish") and not overrides(tuner, "save"):
        context.kept = kept_tensors(context)  # its `finish` may change anything
    context.finished = True
    tuner.finish(context.model)
    declared = {id(p) for p in context.declared or ()}
    tuned = {n: p for n, p in context.model.named_parameters() if id(p) in declared}
    broken = first_broken(tuned)
    if broken is not None:
        raise TuningError(
            f"{broken} is not finite after training, in {tuned[broken].dtype}: a lower train.lr, "
            "or model.dtype=float32 or bfloat16 where it is float16, usually helps."
        )


def logits_of(model: Any) -> list[float]:
    """Logits of the last of a few fixed positions, some of them, as a check of the whole model."""
    vocabulary = int(model.config.get_text_config().vocab_size)
    ids = torch.arange(CHECKED, device=model.device)[None] * 7 % min(vocabulary, 997)
    was = model.training
    model.eval()
    with torch.no_grad():
        logits: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1]
    model.train(was)
    return [float(v) for v in logits[:: max(1, len(logits) // 64)].float()]


def agree(model: Any, wanted: list[float]) -> bool:
    """Whether a model gives the logits that were noted."""
    found = logits_of(model)
    # devices and batch sizes round differently; a part that was lost shows by far more
    scale = max((abs(v) for v in wanted), default=0.0)
    near = (2e-3 if model.dtype is torch.float32 else 0.1) * max(scale, 1e-3)
    return len(found) == len(wanted) and all(
        abs(a - b) <= near for a, b in zip(found, wanted, strict=True)
    )


def note_logits(tuner: Tuner, model: Any, run_dir: Path) -> None:
    """Write what the scored model computes, for a tuner with its own ``save``.

    Args:
        tuner: the run's, a plugin's.
        model: as it is scored.
        run_dir: the run's folder.
    """
    if overrides(tuner, "save"):
        text = json.dumps({"logits": logits_of(model)})
        write_data(run_dir / FOLDER / LOGITS_FILE, text + "\n")


def check_restored(tuner: Tuner, model: Any, run_dir: Path) -> None:
    """Make sure that a tuner's own ``restore`` gave the model that was scored.

    Args:
        tuner: the run's.
        model: the restored model.
        run_dir: the run's folder; nothing is known of runs without :func:`note_logits`.

    Raises:
        RecordError: it computes something else.
    """
    file = run_dir / FOLDER / LOGITS_FILE
    if not file.is_file() or not overrides(tuner, "restore"):
        return
    try:
        wanted = [float(v) for v in read_json(file, RecordError)["logits"]]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RecordError(f"{file}: damaged: {error!r}") from error
    if not agree(model, wanted):
        raise RecordError(
            f"{run_dir}: `restore` of {tuner.config.name} does not give the model that was scored: "
            "its `save` does not keep, or its `restore` does not put back, all that it learnt."
        )


def save_kept(tuner: Tuner, context: TuningContext, run_dir: Path) -> Path:
    """Write what a tuner learnt, and what it takes to apply it again.

    Args:
        tuner: the run's.
        context: after ``apply``, training and ``finish``.
        run_dir: the run's folder.

    Returns:
        the folder in it.
    """
    folder = run_dir / FOLDER
    tensors = context.kept if context.kept is not None else kept_tensors(context)
    read = FACTS if context.read_by_apply is None else context.read_by_apply
    facts: dict[str, Any] = {
        "tuner": tuner.config.name,
        "seed": context.seed,
        "finished": context.finished,
        "read": sorted(read),
        "tensors": {name: str(t.dtype).removeprefix("torch.") for name, t in tensors.items()},
        "logits": logits_of(context.model),
    }
    for name in ("counts", "input_counts"):
        if name in read:
            facts[name] = [[int(k), int(v)] for k, v in getattr(context, name).items()]
    for name in ("seen", "prompt_ids"):
        if name in read:
            facts[name] = getattr(context, name).tolist()
    if "examples" in read:
        facts["examples"] = [[stored(text) for text in pair] for pair in context.examples]
    if "probe" in read and context.probe is not None:
        probe = {"token_ids": context.probe.token_ids, "values": context.probe.values}
        write_bytes(folder / PROBE, save({k: v.cpu().contiguous() for k, v in probe.items()}))
        facts["probe_seconds"] = context.probe.seconds
    if "gradients" in read and context.gradients is not None:
        found = context.gradients
        facts["gradients"] = [found.token_ids.tolist(), found.norms.tolist()]
        facts["gradients"] += [found.pairs, found.seconds]
    write_bytes(folder / TENSORS, save(tensors))
    write_data(folder / FACTS_FILE, json.dumps(facts, ensure_ascii=False) + "\n")
    return folder


def _context(tuner: Tuner, model: Any, folder: Path, facts: dict[str, Any]) -> TuningContext:
    """The context that ``apply`` saw, as far as it looked at it."""
    made = TuningContext(model, tuner.tokenizer, int(facts["seed"]))
    for name in ("counts", "input_counts"):
        setattr(made, name, Counter({int(k): int(v) for k, v in facts.get(name, ())}))
    for name in ("seen", "prompt_ids"):
        ids = [int(i) for i in facts.get(name, ())]
        setattr(made, name, torch.tensor(ids, dtype=torch.int64))
    made.examples = [(restored(one), restored(two)) for one, two in facts.get("examples", ())]
    if "probe_seconds" in facts:
        probe = read_tensors(folder / PROBE, RecordError)
        made.probe = Probe(probe["token_ids"], probe["values"], float(facts["probe_seconds"]))
    if "gradients" in facts:
        ids, norms, pairs, seconds = facts["gradients"]
        columns = torch.tensor(ids, dtype=torch.int64), torch.tensor(norms, dtype=torch.float64)
        made.gradients = RowGradients(*columns, int(pairs), float(seconds))
    return made


def restore_kept(tuner: Tuner, model: Any, run_dir: Path) -> Any:
    """The model that :func:`save_kept` described, from the original one.

    Args:
        tuner: the run's, with ``tokenizer`` set.
        model: the original model, changed in place or wrapped.
        run_dir: the run's folder.

    Raises:
        RecordError: files are missing or damaged, or ``apply`` no longer makes the same model.
    """
    folder = run_dir / FOLDER
    file = folder / FACTS_FILE
    if not file.is_file():
        raise RecordError(
            f"{file}: missing: what {tuner.config.name} learnt was not kept (by an earlier version "
            "of mt-lottery, or the run is not whole). Train again."
        )
    facts = read_json(file, RecordError)
    try:
        context = _context(tuner, model, folder, facts)
        dtypes = {str(k): getattr(torch, str(v)) for k, v in facts["tensors"].items()}
        wanted, finished = [float(v) for v in facts["logits"]], bool(facts["finished"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RecordError(f"{file}: damaged: {error!r}") from error
    saved = read_tensors(folder / TENSORS, RecordError)
    again = f"{tuner.config.name} cannot be applied again as in {run_dir}"
    try:
        declare(tuner, context)
    except MTLotteryError as error:
        raise RecordError(f"{again}: {error}") from error
    except Exception as error:  # a plugin's
        raise RecordError(f"{again}: {type(error).__name__}: {error}") from error
    _put(context.model, saved, dtypes, folder / TENSORS, set(kept_tensors(context)))
    if finished:
        tuner.finish(context.model)
    made = context.model.requires_grad_(False)
    if not agree(made, wanted):
        raise RecordError(
            f"{run_dir}: {tuner.config.name}, applied again, does not give the model that was "
            "scored: its `apply` depends on more than its settings and the context. The plugin "
            "must implement `save` and `restore` (see mt_lottery/tuners/base.py)."
        )
    return made


def _put(
    model: nn.Module,
    saved: dict[str, Tensor],
    dtypes: dict[str, torch.dtype],
    file: Path,
    expected: set[str],
) -> None:
    places = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    try:
        check_tensors(saved, {n: places[n] for n in expected}, dtypes=True)
        if {n: t.dtype for n, t in saved.items()} != dtypes:
            raise TuningError("other dtypes than those that were written")
    except TuningError as error:
        raise RecordError(f"{file}: does not fit the model: {error}") from error
    with torch.no_grad():
        for name, tensor in saved.items():
            places[name].copy_(tensor)
