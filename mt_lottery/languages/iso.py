"""The languages that no table has, by ISO 639: ``hsb`` is Upper Sorbian, ``la`` Latin."""

from __future__ import annotations

import re

from mt_lottery.languages.table import COUNTRIES

#: What follows a name in the standard's table: ``Ancient Greek (to 1453)``.
_REMARK = re.compile(r"\s*\(.*\)$")


def iso_language(code: str) -> tuple[str, str, str] | None:
    """Codes and name of a language in ISO 639.

    Args:
        code: of two letters (639-1) or three (639-2, 639-3), in small letters.

    Returns:
        ISO 639-1's code where there is one, else 639-3's; 639-3's; the English name. None where
        it is no code, or one that stands for no language (``und``, ``mul``). Nor is one that may
        as well mean a country: ``se`` is Northern Sami, whose code here is ``sme``.
    """
    if not re.fullmatch("[a-z]{2,3}", code) or code in COUNTRIES:
        return None
    import iso639  # a third of a second, which most processes need not spend

    try:
        found = iso639.Language.match(code)
    except iso639.LanguageNotFoundError:
        return None
    codes = (found.part1, found.part2b, found.part2t, found.part3)
    if code not in codes or found.status != "A" or found.scope == "S":
        return None
    short = found.part1 if found.part1 not in COUNTRIES else None
    return short or found.part3, found.part3, _REMARK.sub("", found.name)
