"""What a run worked with: settings, text, models and probe, each read when first asked for."""

from __future__ import annotations

import dataclasses
import os
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from mt_lottery.config import RunConfig
from mt_lottery.config.compose import compose_saved
from mt_lottery.config.stored import allowing
from mt_lottery.data.joint import directions_of
from mt_lottery.data.prompts.batches import Encoded
from mt_lottery.data.prompts.prepared import PROMPT, PreparedText
from mt_lottery.errors import (
    ArgumentError,
    ConfigError,
    ModelError,
    RecordError,
    TuningError,
    argument,
    assigned,
    nearest,
)
from mt_lottery.languages import LanguagePair, parse_pair
from mt_lottery.model.handed_out import weight_names
from mt_lottery.model.loading import LoadedModel, check_inside, fingerprint, tokenizer_of
from mt_lottery.model.tables import input_table
from mt_lottery.registry import TUNERS
from mt_lottery.runs.context import make_context
from mt_lottery.runs.decode import load_for
from mt_lottery.runs.folder.claims import is_run
from mt_lottery.runs.folder.integrity import check_files, check_run
from mt_lottery.runs.folder.preparing import CONFIG, TRIALS
from mt_lottery.runs.opened.files import RunFiles
from mt_lottery.runs.planning.chosen import as_chosen
from mt_lottery.runs.planning.devices import pick_device
from mt_lottery.runs.planning.plan import Plan, make_plan
from mt_lottery.runs.planning.requirements import check_packages
from mt_lottery.ticket.level import RowScores
from mt_lottery.tuners.adapters.base import PeftTuner
from mt_lottery.tuners.base import Probe, Tuner, TuningContext
from mt_lottery.tuners.kept import check_restored
from mt_lottery.tuners.recipes import recipes_that
from mt_lottery.tuners.rows.ks_lottery import score_probe


class Opened(RunFiles):
    """A run directory with its models; :class:`~mt_lottery.runs.finished.Run` is what users get."""

    @cached_property
    def stored(self) -> RunConfig:
        """``config.yaml``, for this device, in one process and without a tracker.

        Raises:
            ConfigError: damaged, or it asks for what is not allowed here.
            RecordError: no finished run, or a trial of one, which keeps its scores alone.
        """
        _ = self.record  # says what is there, if it is no finished run
        self._refuse_trial()
        with allowing(self._permission.user_dir, self._permission.trust_remote_code):
            config = compose_saved(self.folder / CONFIG)
        train = dataclasses.replace(config.train, sharding="none")
        model = dataclasses.replace(config.model, device_map=self.device_map)
        here = dataclasses.replace(config, device=self.device, model=model, train=train)
        return dataclasses.replace(here, tracker="none")

    def _refuse_trial(self) -> None:
        folder = Path(os.path.abspath(self.folder))
        whole = folder.parents[1] if len(folder.parts) > 2 else folder
        if folder.parent.name == TRIALS and is_run(whole):
            raise RecordError(
                f"{self.folder} is a trial of the run {whole}: of a trial the scores are kept, and "
                "nothing that it learnt. The run has the settings of the best."
            )

    @cached_property
    def config(self) -> RunConfig:
        """The settings that the run ended with: :attr:`stored`, and what its trials chose."""
        return as_chosen(self.stored, self.record)

    @cached_property
    def tuner(self) -> Tuner:
        """What the recipe uses."""
        made: Tuner = TUNERS.get(self.config.tuner.name)(self.config.tuner)
        return made

    @cached_property
    def text(self) -> PreparedText:
        """The wording of the prompt, and the direction.

        Raises:
            RecordError: the tokenizer's chat template is no longer the run's.
        """
        text = PreparedText.of(self.config)
        if hasattr(text.template, "bind"):
            found = tokenizer_of(self.config.model)
            text.bind(self.original.tokenizer if found is None else found[0])
            if text.shown != self.record.extra.get(PROMPT, text.shown):
                raise RecordError(
                    f"{self.folder}: the model's chat template has changed since the run was "
                    f"scored: it writes {text.shown}, and wrote {self.record.extra[PROMPT]}."
                )
        return text

    @property
    def directions(self) -> list[str]:
        """The directions that it was tested in: one, or those of ``lang`` and ``test_lang``."""
        return [str(pair) for pair in directions_of(self.config)[1]]

    @property
    def pair(self) -> LanguagePair:
        """Source and target language of a run of one direction.

        Raises:
            ConfigError: it has several.
        """
        try:
            return self.text.pair
        except ConfigError as error:
            raise ConfigError(f"{self.folder}: {error}") from error

    def direction(self, lang: str | None = None) -> str:
        """The direction that is asked for.

        Args:
            lang: ``en-es``; None for the only one.

        Raises:
            ArgumentError: the run has several and none is named, or has not this one.
        """
        known = self.directions
        if lang is None and len(known) == 1:
            return known[0]
        which = f"{self.folder} has " + ", ".join(known)
        if lang is None:
            raise ArgumentError(f"{which}: say which direction, {argument('lang', known[0])}.")
        if (wanted := str(parse_pair(lang))) not in known:
            raise ArgumentError(f"{argument('lang', lang)}: {which}.{nearest(wanted, known)}")
        return wanted

    # whether it still is what was scored

    def check_files(self) -> None:
        """Make sure that what the run learnt is as it was scored."""
        check_files(self.folder, self.record)

    def check(self) -> None:
        """As :meth:`check_files`, of the settings that decide a translation and the model too.

        Raises:
            RecordError: a file or a setting has changed.
            ModelError: the original model has, or cannot be had.
        """
        check_run(self.folder, self.record, self.stored)
        self._check_model()

    def _check_model(self) -> None:
        found, record = fingerprint(self.stored.model), self.record.model
        if found not in (record.sha256, record.revision):
            raise ModelError(
                f"{self.stored.model.name_or_path or self.stored.model.name} is not the model that "
                f"{self.folder} was tuned from: its hash is {found[:12]}…, the record's "
                f"{(record.sha256 or record.revision or '?')[:12]}…."
            )

    # what it was made from

    @cached_property
    def plan(self) -> Plan:
        """Text, device, tuner and engine; RecordError if text, model or defaults have changed."""
        plan = make_plan(self.stored, lambda _: None)
        if plan.config_hash != self.record.config_hash:
            raise RecordError(
                f"{self.folder}: what the run depends on has changed since (its text, its model, "
                "or this package's defaults): its config_hash is "
                f"{self.record.config_hash[:12]}, now it would be {plan.config_hash[:12]}. Run it "
                f"again ({assigned({'overwrite': True})})."
            )
        return dataclasses.replace(plan, config=self.config, tuner=self.tuner, text=self.text)

    @cached_property
    def original(self) -> LoadedModel:
        """The original model (frozen, eval mode) and its tokenizer.

        Raises:
            ModelError: it has changed since, or cannot be had.
        """
        device = pick_device(self.device)
        if "plan" not in vars(self):  # whose hash is the model's too
            self._check_model()
        return load_for(self.config, device, PreparedText.of(self.config))

    @property
    def table(self) -> Tensor:
        """The original embedding table, [V, d]."""
        return input_table(self.original.model).detach()

    @cached_property
    def _prepared(self) -> tuple[TuningContext, Encoded]:
        """What the tuner looked at, the probe included, and the encoded training pairs."""
        from mt_lottery.runs.stages.probe import probe_of

        plan = self.plan
        self.need_probe()
        context, encoded, dev = make_context(plan, self.original, self.echo)
        assert encoded is not None
        context.probe = probe_of(plan, context, encoded, dev, (), self.echo).probe
        return context, encoded

    def need_probe(self) -> None:
        """Make sure that the run's tuner has an embedding-tuned probe.

        Raises:
            TuningError: it has none.
        """
        if not self.tuner.has_probe:
            raise TuningError(
                f"{self.folder}: recipe={self.config.recipe} has no embedding-tuned probe; "
                f"allowed: runs of {recipes_that(lambda tuner: tuner.has_probe)}."
            )

    @property
    def context(self) -> TuningContext:
        """What the tuner looked at; ``context.probe`` is the embedding-tuned probe.

        Raises:
            RecordError: as :attr:`plan`.
            TuningError: the tuner has no probe.
        """
        return self._prepared[0]

    @property
    def encoded(self) -> Encoded:
        """The training pairs as token ids."""
        return self._prepared[1]

    @property
    def probe(self) -> Probe:
        """The embedding-tuned rows.

        They come from the cache (``MT_LOTTERY_CACHE``), or are trained again, with the run's own
        settings and seed, where the cache was emptied.
        """
        probe = self.context.probe
        assert probe is not None
        return probe

    def ks(self) -> RowScores:
        """KS distance and nominal p of every row of the vocabulary, [V] each."""
        return score_probe("ks", self.table, self.probe)

    # what it learnt

    @cached_property
    def _restored(self) -> tuple[LoadedModel, torch.dtype, bool]:
        """The tuned model, the dtype of the original's weights, and :attr:`is_plain`."""
        device = pick_device(self.device)  # before anything is read
        check_packages(("tuner", TUNERS, self.stored.tuner.name))
        self.check()
        loaded = load_for(self.config, device, self.text)
        if self.tuner.trains_weights or isinstance(self.tuner, PeftTuner):
            check_inside(loaded.model, self.config.recipe)
        dtype, names = loaded.model.dtype, weight_names(loaded.model)
        self.tuner.tokenizer = loaded.tokenizer
        model = self.tuner.restore(loaded.model, self.folder)
        if model is not None:  # a plugin may change the model in place and return nothing
            loaded = dataclasses.replace(loaded, model=model)
        loaded.model.eval()
        check_restored(self.tuner, loaded.model, self.folder)
        # told by its tuner, without importing PEFT for runs that have none of it
        plain = hasattr(loaded.model, "peft_config") or weight_names(loaded.model) == names
        return loaded, dtype, plain

    @property
    def tuned(self) -> LoadedModel:
        """The tuned model, ready to translate, and its tokenizer.

        Raises:
            RecordError: what was learnt, or a setting, has changed since.
            ModelError: the original model has, or cannot be had.
        """
        return self._restored[0]

    @property
    def lead(self) -> str:
        """The text before every prompt that is translated."""
        _ = self._restored  # it is learnt too
        return self.tuner.lead

    @property
    def is_plain(self) -> bool:
        """Whether what the tuned model would save loads as the same model.

        Its weights have the names that they had before, or it is PEFT's and saves its adapter.
        """
        return self._restored[2]

    def give_tuned(self) -> tuple[LoadedModel, torch.dtype]:
        """:attr:`tuned` and the dtype of the original's weights, for a use that changes it.

        The next one who asks for :attr:`tuned` gets it loaded anew.
        """
        loaded, dtype, _ = self._restored
        del self._restored
        return loaded, dtype
