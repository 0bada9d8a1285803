"""A finished run, opened: each part is read, checked and kept when it is first asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mt_lottery.config.checking import revised
from mt_lottery.data.joint import in_direction
from mt_lottery.data.prompts.prepared import PreparedText
from mt_lottery.data.prompts.wording import prompts_of
from mt_lottery.decoding.room import TooLongError
from mt_lottery.errors import ArgumentError, argument
from mt_lottery.languages import parse_pair
from mt_lottery.reading.given_texts import check_text, check_texts
from mt_lottery.runs.decode import decode, prompts_and_leads
from mt_lottery.runs.opened.parts import Opened

if TYPE_CHECKING:
    from mt_lottery.runs.export import Exported
    from mt_lottery.runs.handed_out import Merged


class Run(Opened):
    """A finished run.

    Nothing is read before it is asked for: the record costs a file, the plan the text, the
    original and the tuned model one loading each.  A run is data: what its configuration would
    import is named in the error, and imported only if you say so.

        >>> import mt_lottery as mtl
        >>> run = mtl.Run("run")
        >>> run.record.method, run.ticket.rows.shape
        ('ks_lottery', torch.Size([18]))
        >>> print(run.prompt("The cat sleeps."))
        Translate English to Romanian.
        English: The cat sleeps.
        Romanian:

    Args:
        run_dir: a run directory.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or a ``torch.device``.
        user_dir: a folder of plugins to import, for a run that needs one.
        trust_remote_code: run Python code that comes with the original model.
        device_map: ``auto`` puts the model's layers on all GPUs, as ``model.device_map`` does.
        echo: prints a line for the user.

    Every attribute raises RecordError where there is no finished run, or a damaged one.
    """

    def translate(
        self, sentences: Iterable[str], *, lang: str | None = None, **decoding: Any
    ) -> list[str]:
        """The first line of what the tuned model says of each sentence.

        Args:
            sentences: of the source language; an empty one stays empty.
            lang: the direction, for a run that has several.
            decoding: in place of the run's own: ``beam_size``, ``max_new_tokens``,
                ``batch_size``, ….

        Returns:
            a line each.

        Raises:
            ConfigError: sentences that are no list of texts; a setting of decoding that there is
                not, with the nearest one (a KeywordError), or out of its range.
            TooLongError: a ModelError: a sentence for which the model has not the positions.
        """
        sentences = check_texts("sentences", sentences, ArgumentError)
        settings = revised("translate", self.config.translate, decoding)
        one = in_direction(self.config, self.direction(lang))
        config = dataclasses.replace(one, translate=settings)
        full = [place for place, text in enumerate(sentences) if text.strip()]
        outputs = [""] * len(sentences)  # an empty sentence has nothing to translate
        if not full:
            return outputs
        try:
            found = decode(
                config, self.tuned, [sentences[i] for i in full], self.tuner, quiet=True, warn=True
            )
        except TooLongError as error:
            place = full[error.place]
            setting = argument("max_new_tokens", settings.max_new_tokens)
            raise error.called(f"sentences[{place}]", setting=setting, place=place) from None
        for place, hypothesis in zip(full, found, strict=True):
            outputs[place] = hypothesis.first_line
        return outputs

    def prompt(self, sentence: str, lang: str | None = None) -> str:
        """What the tuned model is given to translate a sentence, special tokens left out.

        Args:
            sentence: of the source language.
            lang: the direction, for a run that has several.

        Raises:
            ArgumentError: something that is no text.
        """
        if not isinstance(sentence, str):
            raise ArgumentError(f"sentence must be one text, not {type(sentence).__name__}.")
        check_text("sentence", sentence, ArgumentError)
        tuned = self.tuned  # the examples of few_shot are read with it
        config = in_direction(self.config, self.direction(lang))
        text = PreparedText.of(config)
        _, leads = prompts_and_leads(config, tuned, [sentence], self.tuner, text)
        (prompt,) = prompts_of(self.text.template, [sentence], parse_pair(config.lang), leads)
        return str(prompt)

    def merge(
        self, out: str | Path, *, dtype: str | None = None, overwrite: bool = False
    ) -> Merged:
        """Write the tuned model as a plain transformers folder.

        Args:
            out: the folder to write.
            dtype: of the weights (``float32``, ``bfloat16``, ``float16``); the model's own if
                None.  Updates smaller than a step of bfloat16 are lost in it.
            overwrite: replace ``out`` if it is there, and ours
                (:mod:`mt_lottery.system.replacing`).

        Raises:
            RecordError: ``out`` exists, or may not be replaced.
            TuningError: the tuner has nothing that a plain model could hold.
            ModelError: the original model has changed since, or cannot be had.
        """
        from mt_lottery.runs.handed_out import merge

        return merge(self, out, dtype, overwrite)

    def export(
        self,
        out: str | Path,
        format: str = "lora",
        *,
        engine: str | None = None,
        base: str | Path | None = None,
        dtype: str | None = None,
        overwrite: bool = False,
    ) -> Exported:
        """Write the tuned model so that others serve it (``docs/serving.md``).

        Args:
            out: the folder to write.
            format: ``lora`` (an adapter), ``merged`` (as :meth:`merge`), ….
            engine: of an adapter: ``peft`` (the default), ``vllm``, ``sglang``.
            base: the original model as a GGUF file.
            dtype: of merged weights.
            overwrite: as for :meth:`merge`.

        Raises:
            ArgumentError: a ValueError: an option that the format does not take, or lacks.
            RecordError, TuningError, ModelError: as for :meth:`merge`; TuningError also where
                the format, or the engine, cannot hold what was learnt: it says what can.
        """
        from mt_lottery.runs.export import export

        return export(self, out, format, engine=engine, base=base, dtype=dtype, overwrite=overwrite)
