"""Small tokenizers in the layout of published instruct models, with the models' chat templates.

The templates are in ``tests/fixtures/chat_templates``, whose README says where they are from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent.parent / "fixtures" / "chat_templates"
TEXTS = [
    "Translate the following text from English into Romanian.\nEnglish: The cat sleeps.\n",
    "Romanian: Pisica doarme. Spanish: El gato duerme. [INST] [/INST] system user assistant model",
    "You translate. Where is the station? Unde este gara?",
]


class Layout(NamedTuple):
    """What a published tokenizer has, and what ends a turn."""

    bos: str | None
    eos: str
    special: tuple[str, ...]
    end: str
    adds_bos: bool = False  # puts BOS before any text
    sentencepiece: bool = False  # "▁" for blanks, one before the text; else bytes
    unflagged: tuple[str, ...] = ()  # added tokens that are not flagged as special


CHATML = ("<|im_start|>", "<|im_end|>")
LLAMA_2 = {"bos": "<s>", "eos": "</s>", "adds_bos": True, "sentencepiece": True}
LAYOUTS = {
    "gemma3": Layout(
        "<bos>", "<eos>", ("<start_of_turn>", "<end_of_turn>"), "<end_of_turn>", True, True
    ),
    "qwen3": Layout(
        None, "<|im_end|>", ("<|endoftext|>", *CHATML), "<|im_end|>",
        unflagged=("<think>", "</think>"),
    ),
    "llama3": Layout(
        "<|begin_of_text|>", "<|eot_id|>",
        ("<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|eot_id|>", True,
    ),
    "mistral": Layout(special=(), end="</s>", **LLAMA_2),
    "tower": Layout(special=CHATML, end="<|im_end|>", **LLAMA_2),
    "eurollm": Layout(
        "<s>", "<|im_end|>", ("</s>", *CHATML), "<|im_end|>", True, True
    ),
}  # fmt: skip


def template(name: str) -> str:
    """The published text."""
    return (FOLDER / f"{name}.jinja").read_text("utf-8")


def tokenizer(name: str, extra: str = "") -> Any:
    """A tokenizer of a few hundred pieces in a model's layout, with the model's chat template.

    Args:
        name: of :data:`LAYOUTS`.
        extra: more text to learn pieces from.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from tokenizers import trainers as t
    from transformers import AddedToken, PreTrainedTokenizerFast

    layout = LAYOUTS[name]
    roles = dict.fromkeys(["<pad>", "<unk>", layout.bos, layout.eos, *layout.special])
    backend: Any = Tokenizer(models.BPE(unk_token="<unk>"))
    alphabet = sorted(set("".join(TEXTS) + extra + "▁\n"))
    if layout.sentencepiece:
        backend.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        backend.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
    else:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = [token for token in roles if token]
    trainer = t.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([*TEXTS, *extra.splitlines()], trainer)
    if layout.adds_bos:
        first = (layout.bos, backend.token_to_id(layout.bos))
        backend.post_processor = processors.TemplateProcessing(
            single=f"{layout.bos} $A", special_tokens=[first]
        )
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=layout.bos, eos_token=layout.eos, pad_token="<pad>",
        unk_token="<unk>", additional_special_tokens=list(layout.special),
    )  # fmt: skip
    made.add_tokens([AddedToken(token, special=False) for token in layout.unflagged])
    made.chat_template = template(name)
    return made
