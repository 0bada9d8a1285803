"""Wordings of the prompt beside ``plain`` and ``alpaca``, and the four that are trained together.

``four`` words a pair by the length of its source, so that the same sentence is always asked in the
same words; ``say`` is not among them.
"""

from __future__ import annotations

from mt_lottery.plugin import register_template

NAMES = ("plain", "alpaca", "labels", "ask")


def _alpaca(source: str, pair) -> str:
    return (
        "Below is an instruction that describes a task, paired with an input that provides "
        "further context. Write a response that appropriately completes the request.\n\n"
        f"### Instruction:\nTranslate {pair.source.name} to {pair.target.name}.\n\n"
        f"### Input:\n{source}\n\n### Response:"
    )


def _plain(source: str, pair) -> str:
    return f"Translate {pair.source.name} to {pair.target.name}.\n" + _labels(source, pair)


def _labels(source: str, pair) -> str:
    return f"{pair.source.name}: {source}\n{pair.target.name}:"


def _ask(source: str, pair) -> str:
    return (
        f"Give the {pair.target.name} version of this {pair.source.name} sentence.\n"
        f"Source: {source}\nTarget:"
    )


class _Wording:
    def target(self, target: str) -> str:
        return " " + " ".join(target.split())


@register_template("labels")
class Labels(_Wording):
    """The two languages' names alone."""

    def prompt(self, source: str, pair) -> str:
        return _labels(" ".join(source.split()), pair)


@register_template("ask")
class Ask(_Wording):
    """A paraphrase of the instruction, with other labels."""

    def prompt(self, source: str, pair) -> str:
        return _ask(" ".join(source.split()), pair)


@register_template("say")
class Say(_Wording):
    """A wording that nothing is trained on."""

    def prompt(self, source: str, pair) -> str:
        source = " ".join(source.split())
        return f"How does one say this in {pair.target.name}?\n{source}\nAnswer:"


@register_template("four")
class Four(_Wording):
    """``plain``, ``alpaca``, ``labels`` or ``ask``, by the number of the source's characters."""

    def prompt(self, source: str, pair) -> str:
        source = " ".join(source.split())
        return (_plain, _alpaca, _labels, _ask)[len(source) % 4](source, pair)
