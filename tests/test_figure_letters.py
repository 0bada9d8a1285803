"""Figures name tokens of any script: with a font that has the letters, or by code points."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="matplotlib is in the extra `plot`")

from mt_lottery.report.figures import make_legible, new_figure, save_figure

HERE = "Чи▁ ґрунт العربية עברית ελληνικά"  # in matplotlib's own font
NOWHERE = "\U000f1234"  # of no script: no font has it


def test_scripts_of_the_own_font_are_left_alone(tmp_path: Path) -> None:
    figure, axes = new_figure()
    text = axes.annotate(HERE, (0.5, 0.5))
    family = text.get_fontfamily()
    save_figure(figure, tmp_path / "figure")
    assert (text.get_text(), text.get_fontfamily()) == (HERE, family)
    assert HERE in (tmp_path / "figure.svg").read_text("utf-8")


def test_a_letter_that_no_font_has_is_a_code_point(recwarn: pytest.WarningsRecorder) -> None:
    figure, axes = new_figure()
    text = axes.annotate(f"a{NOWHERE}b", (0.5, 0.5))
    make_legible(text)
    assert text.get_text() == "aU+F1234b"
    figure.canvas.draw()
    assert not [str(w.message) for w in recwarn if "missing from font" in str(w.message)]


def test_another_font_lends_its_letters(recwarn: pytest.WarningsRecorder) -> None:
    """U+20DD, of STIX, which comes with matplotlib; matplotlib's first font lacks it."""
    figure, axes = new_figure()
    text = axes.annotate("x\u20dd 月", (0.5, 0.5))
    make_legible(text)
    assert len(text.get_fontfamily()) > 1
    assert "\u20dd" in text.get_text()
    assert "月" in text.get_text() or "U+6708" in text.get_text()
    figure.canvas.draw()
    assert not [str(w.message) for w in recwarn if "missing from font" in str(w.message)]
