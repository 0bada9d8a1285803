"""The embedding-tuned probe: trained once, then found again.

It is kept in the cache under the hash of all that it depends on, so that another
α, another number of rows or another recipe costs no second probe.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mt_lottery.config import TrainConfig, counted, digest
from mt_lottery.data.prompts.batches import Encoded, Example
from mt_lottery.errors import TuningError
from mt_lottery.model.attention import repeatable
from mt_lottery.reading import read_bytes, read_json
from mt_lottery.registry import CRITERIA, ENGINES, OPTIMIZERS, TEMPLATES, Registry
from mt_lottery.runs.decode import pad_id as pad_id_of
from mt_lottery.runs.folder.preparing import LOG, locked
from mt_lottery.runs.planning.plan import Echo, Plan
from mt_lottery.runs.stages.checked import train_checked
from mt_lottery.system import parallel
from mt_lottery.system.atomic import write_bytes, write_text
from mt_lottery.system.removing import remove
from mt_lottery.system.values import cache_folder
from mt_lottery.tracking.trackers import Tracker
from mt_lottery.training.engine import Engine, TrainResult
from mt_lottery.tuners.base import Probe, TuningContext
from mt_lottery.tuners.rows.embed import probe_rows
from mt_lottery.tuners.rows.module import attach, check_scope, detach

VERSION = 1  # raise it when the training itself changes
WEIGHTS = "probe.safetensors"
META = "probe.json"


@dataclasses.dataclass(frozen=True)
class TrainedProbe:
    """A probe, what it cost, and where its log is."""

    probe: Probe
    steps: int
    tokens_per_second: float
    log: Path
    found: bool


def probe_hash(identity: dict[str, Any], config: TrainConfig, seed: int, scope: str) -> str:
    """Hash of what a probe depends on.

    Args:
        identity: model and training text (hashes, dtype, device, template, language pair).
        config: how it is trained.
        seed: the run's seed.
        scope: ``input`` or ``tied``.
    """
    settings = counted(config)
    # nested: no name in `identity` ("train" is the text there) may be overwritten by another
    content = {"identity": identity, "settings": settings, "seed": seed, "scope": scope}
    return digest({"version": VERSION, **content})


def _checked(content: bytes, rows: Tensor, width: int) -> Probe:
    """The probe in a file, without its seconds.

    Raises:
        ValueError (or its like): it is no probe of these rows.
    """
    tensors = load(content)
    if tensors.keys() != {"token_ids", "values"}:
        raise ValueError("it holds other tensors")
    token_ids, values = tensors["token_ids"], tensors["values"]
    if token_ids.dtype is not torch.int64 or not torch.equal(token_ids, rows):
        raise ValueError("it has other token ids")
    if values.dtype is not torch.float32 or values.shape != (len(rows), width):
        raise ValueError(f"its rows are of shape {[*values.shape]}, {values.dtype}")
    if not bool(torch.isfinite(values).all()):
        raise ValueError("a value in it is not finite")
    return Probe(token_ids, values, 0.0)


def _read(
    folder: Path, rows: Tensor, width: int, echo: Callable[[str], None]
) -> TrainedProbe | None:
    """The probe that is kept in a folder, if it is one of these rows (ascending) [k]."""
    if not (folder / META).exists():
        return None
    try:
        meta = read_json(folder / META, TuningError)
        content = read_bytes(folder / WEIGHTS, TuningError, limit=2**40)
        if hashlib.sha256(content).hexdigest() != meta["sha256"]:
            raise ValueError("its checksum differs")
        seconds, speed = float(meta["seconds"]), float(meta["tokens_per_second"])
        probe = dataclasses.replace(_checked(content, rows, width), seconds=seconds)
        if not (folder / LOG).is_file():
            raise ValueError(f"{LOG} is missing")
        return TrainedProbe(probe, int(meta["steps"]), speed, folder / LOG, True)
    except (TuningError, OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        echo(f"The probe in {folder} is damaged ({error}); it is trained again.")
        for name in (META, WEIGHTS):  # not the whole folder: the lock that we hold is in it
            remove(folder / name)
        return None


def _found(
    folder: Path, rows: Tensor, width: int, echo: Callable[[str], None]
) -> TrainedProbe | None:
    """The probe that is kept there; the main process decides, then the others read it."""
    mine = _read(folder, rows, width, echo) if parallel.is_main() else None
    there = parallel.on_main(lambda: mine is not None)
    return _read(folder, rows, width, echo) if there and not parallel.is_main() else mine


def find_or_train(
    context: TuningContext,
    config: TrainConfig,
    examples: Sequence[Example],
    *,
    engine: Engine,
    key: str,
    scope: str,
    pad_id: int,
    dev: Sequence[Example] | None,
    trackers: Sequence[Tracker],
    echo: Callable[[str], None],
    engine_name: str = "transformers",
) -> TrainedProbe:
    """The embedding-tuned rows: from the cache, or trained now (and kept there).

    The model in ``context`` is the original one before and after.  A training
    that was interrupted goes on from its last checkpoint.

    Args:
        context: model, tokenizer, seed and the token ids of the training inputs.
        config: how the probe is trained.
        examples: training examples.
        engine: what trains it.
        key: :func:`probe_hash`.
        scope: ``input`` or ``tied``.
        pad_id: fills up batches.
        dev: examples whose loss is measured after each epoch.
        trackers: where else the numbers go.
        echo: prints a line for the user.
        engine_name: for messages on the engine of a plugin.

    Raises:
        PluginError: the engine does not keep to its contract.
        TuningError: weight decay, which would move rows that never occur; or
            ``scope=tied`` for a model that is not.
    """
    check_scope(context.model, scope)  # now, not after the training
    if config.weight_decay > 0 and scope == "input":
        raise TuningError(
            f"weight_decay={config.weight_decay:g}: embedding tuning trains only the rows whose "
            "tokens occur, and decay would shrink all others too; allowed: 0."
        )
    folder = cache_folder() / "probes" / key
    with locked(folder, wait=echo):
        rows, width = probe_rows(context, scope), context.table.shape[1]
        found = _found(folder, rows.sort().values, width, echo)
        if found is not None:
            echo(f"Embedding-tuned probe: found ({found.probe.seconds:.0f} s when it was trained).")
            return found
        embedding = attach(context.model, rows, tied=scope == "tied")
        try:
            result = train_checked(
                engine_name,
                engine,
                context.model,
                config,
                examples,
                pad_id=pad_id,
                seed=context.seed,
                folder=folder / "checkpoints",
                log=folder / LOG,
                title="Embedding-tuned probe",
                dev=dev,
                resume=True,
                trackers=trackers,
            )
            token_ids = embedding.token_ids.cpu().clone()
            values = embedding.rows.detach().cpu().clone()
        finally:
            detach(context.model)
        order = torch.argsort(token_ids)
        probe = Probe(token_ids[order], values[order].contiguous(), result.seconds)
        parallel.on_main(lambda: _keep(folder, probe, result))
        if not parallel.is_main():  # the very values of the main process
            kept = _read(folder, probe.token_ids, width, echo)
            assert kept is not None
            probe = kept.probe
        return TrainedProbe(probe, result.steps, result.tokens_per_second, folder / LOG, False)


def _keep(folder: Path, probe: Probe, result: TrainResult) -> None:
    content = save({"token_ids": probe.token_ids, "values": probe.values})
    write_bytes(folder / WEIGHTS, content)
    meta = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "seconds": result.seconds,
        "steps": result.steps,
        "tokens_per_second": result.tokens_per_second,
        "rows": len(probe.token_ids),
    }
    write_text(folder / META, json.dumps(meta, indent=2) + "\n")
    remove(folder / "checkpoints", quiet=True)


def identity_of(plan: Plan, section: TrainConfig) -> dict[str, Any]:
    """What of a run decides its training inputs and the model that reads them, as hashes.

    Args:
        plan: the run.
        section: of the training, or of the loss whose gradients are taken.
    """
    config = plan.config
    assert plan.corpora.train is not None
    found = {
        "model": plan.model_id,
        "dtype": config.model.dtype,
        "device": torch.device(plan.device).type,
        "train": plan.corpora.train.sha256,
        "template": plan.text.shown or config.data.template,
        "max_length": config.data.max_length,
        "lang": config.lang,
    }
    found |= {"deterministic": True} if config.deterministic else {}
    # the author of a plugin may change what it does, and not its name
    if TEMPLATES.is_plugin(str(config.data.template)) or len(plan.text.wordings) > 1:
        found["worded"] = plan.text.worded(plan.corpora.train, training=True)
    used = ((CRITERIA, section.criterion), (OPTIMIZERS, section.optimizer))
    code = {f"{kind.kind} {name}": _code(kind, name) for kind, name in used if kind.is_plugin(name)}
    return found | ({"code": code} if code else {})


def _code(kind: Registry, name: str) -> str:
    """The hash of a plugin's code; one that is found never again where it has none."""
    return kind.code(name) or token_hex(16)


def probe_of(
    plan: Plan,
    context: TuningContext,
    encoded: Encoded,
    dev: Encoded | None,
    trackers: Sequence[Tracker],
    echo: Echo,
    watch: Sequence[Tracker] = (),
) -> TrainedProbe:
    """The probe that a run's tuner asks for, found or trained.

    Args:
        plan: the run.
        context: the original model, and the token ids of the training inputs.
        encoded: the training pairs.
        dev: the dev pairs.
        trackers: where else the numbers go, if the probe is what the run trains.
        echo: prints a line for the user.
        watch: what is told of every step, whatever the run trains.

    Raises:
        TuningError: as :func:`find_or_train`.
    """
    config, tuner = plan.config, plan.tuner
    section: TrainConfig = getattr(config, tuner.probe_section)
    identity = identity_of(plan, section)
    if config.engine != "transformers":
        identity["engine"] = config.engine
    if ENGINES.is_plugin(config.engine):
        identity["engine"] = [config.engine, _code(ENGINES, config.engine)]
    scope = tuner.scope or "input"
    with repeatable(config.deterministic):
        return find_or_train(
            context,
            section,
            encoded.examples,
            engine=plan.engine,
            engine_name=config.engine,
            key=probe_hash(identity, section, config.seed, scope),
            scope=scope,
            pad_id=pad_id_of(context.tokenizer),
            dev=dev.examples if dev else None,
            trackers=[*(trackers if tuner.probe_section == "train" else ()), *watch],
            echo=echo,
        )
