"""Tokens as people read them, whatever the vocabulary's own alphabet."""

from __future__ import annotations

from mt_lottery.report.tokens import is_byte_level, shown_token, shown_tokens


def test_byte_level_tokens_are_decoded() -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    for text in (" I", "á", " țară", "日本", "🙂", "\t", " é\n"):
        [(token, _)] = ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)
        shown = shown_token(token, True)
        assert shown == text.replace(" ", "▁").replace("\n", "\\n").replace("\t", "\\t")


def test_pieces_of_letters_are_bytes() -> None:
    assert shown_token("Ã", True) == "<0xC3>"
    assert shown_token("ĠÄ", True) == "▁<0xC4>"
    assert shown_token("¡", True) == "<0xA1>"


def test_added_tokens_and_others_are_as_they_are() -> None:
    assert shown_token("<|endoftext|>", True) == "<|endoftext|>"
    assert shown_token("<｜begin▁of▁sentence｜>", True) == "<｜begin▁of▁sentence｜>"
    assert shown_token("Ã¡", False) == "Ã¡"
    assert shown_token("\n", False) == "\\n"
    assert shown_token("\x1b[2J", False) == "\\x1b[2J"
    assert shown_token("[red]", False) == "[red]"


def test_the_kind_of_vocabulary_is_told_by_its_blanks() -> None:
    assert is_byte_level(["Ġthe", "Ã¡", "<｜begin▁of▁sentence｜>", "Ċ"])
    assert not is_byte_level(["▁the", "á", "Ġustizzja", "▁de"])
    assert not is_byte_level(["Ã¡", "á"])
    assert not is_byte_level([])
    assert shown_tokens(["Ã¡"], among=["Ġthe", "Ã¡"]) == ["á"]
    assert shown_tokens(["▁de", "Ã¡"]) == ["▁de", "Ã¡"]
