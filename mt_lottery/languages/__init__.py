"""Languages and language pairs: one table of codes and English names.

It holds the languages of Flores-101 (English and 101 others), of NTREX-128 and of Flores-200,
so that every pair of the supported corpora can be named; all others of ISO 639 are known by
their codes there.  Users write the
ISO 639-1 code (``ro``) where there is one; ISO 639-3, Flores and NTREX codes
are accepted too.  ``no`` is Norwegian Bokmål (``nob``) everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mt_lottery.errors import ConfigError, nearest
from mt_lottery.languages.iso import iso_language
from mt_lottery.languages.table import ALIASES, COUNTRIES, SCRIPTS, TABLE


@dataclass(frozen=True)
class Language:
    """One language, with its code in each of the corpora.

    Attributes:
        code: ISO 639-1 where it exists (``ro``), else the code of three letters.
        iso3: ISO 639-3 (``ron``); varieties of one language share it.
        name: English name, as it is written into prompts (``Romanian``).
        flores: code in Flores-101 (``ron``, ``zho_simpl``); empty where it is not in it.
        ntrex: code in NTREX-128 (``ron``, ``zho-CN``); empty where it is not in it.
    """

    code: str
    iso3: str
    name: str
    flores: str
    ntrex: str

    def __str__(self) -> str:
        return self.code


@dataclass(frozen=True)
class LanguagePair:
    """A direction of translation; ``str`` gives ``en-ro``."""

    source: Language
    target: Language

    def __str__(self) -> str:
        return f"{self.source.code}-{self.target.code}"


#: A region or a script behind a code, as in ``de-DE`` and ``ron_Latn``.
_REGION = re.compile(r"[_-](?:[A-Z]{2}|[A-Z][a-z]{3})$")
#: A script behind a code, as in Flores-200 and NLLB: ``ron_Latn``.
_SCRIPT = re.compile(
    r"[_-](Arab|Armn|Beng|Cyrl|Deva|Ethi|Geor|Grek|Gujr|Guru|Hang|Hans|Hant|Hebr|Jpan|Khmr|Knda|"
    r"Laoo|Latn|Mlym|Mymr|Olck|Orya|Sinh|Taml|Telu|Tfng|Thai|Tibt)$",
    re.IGNORECASE,
)


def code_key(code: str) -> str:
    """A language code as codes are compared: case does not matter, nor ``-`` against ``_``."""
    return code.strip().lower().replace("-", "_")


def _parse(row: str) -> Language:
    code, iso3, flores, ntrex, name = row.split(maxsplit=4)
    read = {"=": iso3, ".": ""}
    return Language(code, iso3, name, read.get(flores, flores), read.get(ntrex, ntrex))


LANGUAGES: tuple[Language, ...] = tuple(_parse(row) for row in TABLE.strip().split("\n"))


def _index() -> dict[str, Language]:
    by_code = {language.code: language for language in LANGUAGES}
    index = dict(by_code)
    for language in LANGUAGES:
        # setdefault: the first row of a language (no variety) owns the shared ISO 639-3 code.
        for code in (language.iso3, language.flores, language.ntrex):
            if code:
                index.setdefault(code_key(code), language)
    for alias, code in ALIASES.items():
        index.setdefault(alias, by_code[code])
    return index


_INDEX = _index()
_BY_NAME = {language.name.lower(): language for language in LANGUAGES}


def _refuse_boolean(code: object) -> None:
    # A False that passed through a string field arrives as "False".
    if isinstance(code, bool) or str(code).strip().lower() in ("false", "true"):
        raise ConfigError(
            f"A language code is the boolean {str(code).strip().capitalize()}: YAML reads an "
            "unquoted no, off, yes or on as a boolean. Quote the code, as in lang: 'en-no' "
            "or langs: ['ro', 'no']."
        )


def _of_table(code: str) -> Language | None:
    """The language of a code, or of its part before a script: ``zho_Hant`` is one, ``ron_Latn``."""
    if found := _INDEX.get(code_key(code)):
        return found
    script = _SCRIPT.search(code.strip())
    found = None if script is None else _INDEX.get(code_key(code.strip()[: script.start()]))
    if found and script and script[1].lower() != SCRIPTS.get(found.code, script[1].lower()):
        return None  # the corpora's files in its other script are the ones that are read
    return found


def _of_iso(code: str) -> Language | None:
    """The language of a code of ISO 639 that is in no table, a script behind it or not."""
    key = code_key(_SCRIPT.sub("", code.strip()))
    named = None if key in _INDEX else iso_language(key)
    if named is None:
        return None
    own, iso3, name = named
    return _INDEX.get(iso3) or Language(own, iso3, name, flores="", ntrex="")


def get_language(code: str) -> Language:
    """Look a language up.

    Args:
        code: ISO 639-1 or 639-3, Flores-101 or NTREX-128 code; case does not
            matter, nor ``-`` against ``_``.  ``no``, ``nb``, ``nob`` and ``nor``
            are Norwegian Bokmål.  A script may be behind it, as in Flores-200 and NLLB:
            ``ron_Latn``; of a language in two scripts the one whose files are read.

    Raises:
        ConfigError: unknown code (with the nearest match), or a boolean, which
            is what YAML makes of an unquoted ``no``.

    A language that the table has not is one of ISO 639, without codes of the corpora.
    """
    _refuse_boolean(code)
    if not isinstance(code, str):
        raise ConfigError(f"A language must be a code such as 'ro', not {code!r}.")
    language = _of_table(code) or _of_iso(code)
    if language is not None:
        return language
    given = code.strip().lower()
    exactly = _BY_NAME.get(given) or _INDEX.get(COUNTRIES.get(given, ""))
    begin = [each for name, each in _BY_NAME.items() if len(given) > 1 and name.startswith(given)]
    meant = [exactly] if exactly else begin
    if 0 < len(meant) < 4:
        listed = " or ".join(f"'{each.code}' ({each.name})" for each in meant)
        near = f" Did you mean {listed}?"
    else:
        near = nearest(code_key(code), [*_INDEX, *_BY_NAME])
    raise ConfigError(
        f"Unknown language '{code}'.{near} Known: languages by their ISO 639 codes (ro, ron) "
        "or Flores-200's (ron_Latn)."
    )


def of_code(written: str) -> Language | None:
    """The language of a code, as :func:`get_language`, where a text holds codes alone.

    Where it may hold other words, :func:`find_language`: ``src`` is Logudorese Sardinian's code.
    """
    return find_language(written) or _of_iso(written)


def find_language(written: str) -> Language | None:
    """The language that a file names: as :func:`get_language`, or by its name, or with a region.

    Args:
        written: ``ro``, ``ron``, ``RO``, ``pt-BR``, ``Romanian``; ``de-DE`` and ``ron_Latn`` are
            German and Romanian.
    """
    for text in (written, _REGION.sub("", written.strip())):
        found = _INDEX.get(code_key(text)) or _BY_NAME.get(text.strip().lower())
        if found is not None:
            return found
    return None


def names(written: str, language: Language) -> bool:
    """Whether a header, key or file name that reads ``written`` names this language.

    The one place where written codes are compared with a language.
    """
    own = {code_key(text) for text in (*written_as(language), language.name)}
    if code_key(written) in own or find_language(written) == language:
        return True
    return language.code not in _INDEX and _of_iso(written) == language


def named_among(language: Language, choices: Iterable[str]) -> str | None:
    """Which of several keys or names names this language: the likeliest code first."""
    by_key: dict[str, str] = {}
    for choice in choices:
        by_key.setdefault(code_key(choice), choice)
    for code in written_as(language):
        if code_key(code) in by_key:
            return by_key[code_key(code)]
    return next((choice for choice in by_key.values() if names(choice, language)), None)


def nearest_code(language: Language, name: str, there: Iterable[str]) -> str:
    """A hint (:func:`mt_lottery.errors.nearest`) for a language that a text lacks.

    Args:
        language: what was asked for.
        name: its code, as that text would have it.
        there: the codes that the text has. One of another language is no hint: whoever asks for
            German does not mean Spanish, however alike ``de`` and ``es`` are.
    """
    own = language.code.partition("_")[0]
    known = {code: find_language(code) for code in there}
    varieties = [code for code, f in known.items() if f and f.code.partition("_")[0] == own]
    if varieties:
        return f" Did you mean {' or '.join(map(repr, varieties[:4]))}?"
    return nearest(name, [code for code, found in known.items() if found is None])


def written_as(language: Language) -> list[str]:
    """Codes under which a file or its name may have a language, the likeliest first."""
    more = ["nb", "nor"] if language.code == "no" else []
    if script := SCRIPTS.get(language.code):
        more.append(f"{language.iso3}_{script}")
    codes = [language.code, language.iso3, language.flores, language.ntrex, *more]
    return [code for code in dict.fromkeys(codes) if code]


def parse_pair(text: str) -> LanguagePair:
    """Read a language pair.

    Args:
        text: ``SOURCE-TARGET``, as in ``en-ro`` or ``eng_Latn-ron_Latn``; ``en-pt-BR`` and
            ``en-pt_br`` are the same.

    Raises:
        ConfigError: not two codes joined by a dash, an unknown language, or the
            same language twice.
    """
    _refuse_boolean(text)
    if not isinstance(text, str):
        raise ConfigError(f"lang must be SOURCE-TARGET, as in en-ro, not {text!r}.")
    if "," in text:
        raise ConfigError(f"lang={text}: several directions; one is needed here, as in en-ro.")
    parts = [part.strip() for part in text.split("-")]
    if len(parts) < 2 or not all(parts):
        raise ConfigError(
            f"lang={text}: two languages joined by a dash are needed, SOURCE-TARGET, as in en-ro."
        )
    # Codes of varieties hold a dash themselves (pt-BR): take the cut at which both sides are known.
    cuts = [("-".join(parts[:i]), "-".join(parts[i:])) for i in range(1, len(parts))]
    known = [cut for cut in cuts if all(_of_table(side) or _of_iso(side) for side in cut)]
    source, target = (get_language(side) for side in (known or cuts)[0])
    if source == target:
        raise ConfigError(
            f"lang={text}: source and target are the same language, {source.name} ({source.code})."
        )
    return LanguagePair(source, target)


def parse_pairs(text: str | Iterable[str]) -> tuple[LanguagePair, ...]:
    """Read one direction or several: ``en-ro,en-es``; one that comes twice counts once.

    Raises:
        ConfigError: as :func:`parse_pair`.
    """
    _refuse_boolean(text)
    given = text.split(",") if isinstance(text, str) else text
    return tuple(dict.fromkeys(parse_pair(each) for each in given))
