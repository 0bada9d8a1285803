"""Keys and passwords out of every text on its way to disk, page, tracker or terminal.

What is hidden: the values of environment variables whose name says so (``HF_TOKEN``,
``DB_PASSWORD``), keys that clients keep in files (``~/.netrc``, ``~/.comet.config``, Hugging
Face's token), passwords in URLs, ``Authorization`` headers, and tokens that are known by their
shape (``hf_…``, ``ghp_…``).

Data stays data: test sentences, translations and tokens are written by
:func:`mt_lottery.system.atomic.write_data`, which changes nothing.  Documents that hold
sentences beside other text (a page, a table) are searched for *strong* values only:
``password`` or ``12345678`` may be a password, but is also a word of the text; such
weak values are hidden in messages.
"""

from __future__ import annotations

import base64
import configparser
import contextlib
import functools
import html
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote, quote_plus

HIDDEN = "***"
#: Environment variables whose value is secret. TOKENIZERS_PARALLELISM, KEYBOARD, AUTHOR and PATH
#: are none.
_NAMES = re.compile(
    r"(?<![A-Z])API_?KEY|KEY(?![A-Z])|TOKEN(?!IZ)|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL"
    r"|(?<![A-Z])(AUTH|PAT|PWD)(?![A-Z])",
    re.IGNORECASE,
)
_NO_SECRETS = frozenset({"PWD", "OLDPWD"})
_SHORTEST = 8  # a shorter value ("true", "1") may be part of any text


def names_a_secret(variable: str) -> bool:
    """Whether the name of an environment variable says that its value is secret."""
    return bool(_NAMES.search(variable)) and variable not in _NO_SECRETS


def _in_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        if names_a_secret(name):
            yield value.strip()


def _read(path: Path) -> str:
    """A small file's text; empty where it cannot be had: whatever is not read cannot be leaked."""
    try:
        return path.read_text("utf-8") if path.is_file() else ""
    except (OSError, ValueError):
        return ""


@functools.lru_cache(maxsize=8)
def _in_files(places: tuple[tuple[str, str, int], ...]) -> tuple[str, ...]:
    """Keys in the files of clients: (kind, path, time of the last change) each."""
    found: list[str] = []
    for kind, path, _ in places:
        text = _read(Path(path))
        if kind == "token":
            found += text.split()
        elif kind == "netrc":
            found += re.findall(r"\b(?:password|account)\s+(\S+)", text)
        else:
            parser = configparser.ConfigParser(interpolation=None, strict=False)
            with contextlib.suppress(configparser.Error):
                parser.read_string(text)
                options = [item for name in parser.sections() for item in parser.items(name)]
                found += [value for name, value in options if _NAMES.search(name)]
    return tuple(found)


def _places() -> tuple[tuple[str, str, int], ...]:
    given = os.environ.get
    home = Path(os.path.expanduser("~"))
    hub = Path(given("HF_HOME") or Path(given("XDG_CACHE_HOME") or home / ".cache") / "huggingface")
    places = [
        ("token", Path(given("HF_TOKEN_PATH") or hub / "token")),
        ("settings", hub / "stored_tokens"),
        ("settings", Path(given("COMET_CONFIG") or home / ".comet.config")),
        ("netrc", Path(given("NETRC") or home / ".netrc")),
        ("settings", home / ".aws" / "credentials"),
    ]
    found = []
    for kind, path in places:
        with contextlib.suppress(OSError, ValueError):
            found.append((kind, str(path), path.stat().st_mtime_ns))
    return tuple(found)


def _is_weak(value: str) -> bool:
    """Whether a value may as well be a word, a number or a name of the text."""
    if value.isdigit():
        return len(value) < 16
    letters = value.replace("-", "").replace("_", "").replace(" ", "")
    return (
        letters.isalpha()
        and letters in (value.lower(), value.title(), value.upper())
        and (len(letters) < 24)
    )


@functools.lru_cache(maxsize=64)
def _forms(value: str) -> tuple[str, ...]:
    """A value as it is, and as JSON, ``repr``, URLs, HTML and Base64 write it."""
    lines = [line.strip() for line in value.split("\n")] if "\n" in value else []
    plain = {
        *(line for line in lines if len(line) >= 16),  # a key in PEM
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
    }
    twice = {json.dumps(form)[1:-1] for form in plain} | {html.escape(form) for form in plain}
    urls = {quote(value, safe=""), quote(value), quote_plus(value)}
    raw = value.encode("utf-8", "surrogateescape")
    coded = {code(raw).decode().rstrip("=") for code in
             (base64.b64encode, base64.urlsafe_b64encode)}  # fmt: skip
    return tuple({form for form in plain | twice | urls | coded if len(form) >= _SHORTEST})


@functools.lru_cache(maxsize=8)
def _values(given: frozenset[str], weak: bool) -> tuple[str, ...]:
    """All forms of the secret values, longest first: one may be the beginning of another."""
    found: set[str] = set()
    for value in given:
        if len(value) < _SHORTEST or (not weak and _is_weak(value)):
            continue
        if value.startswith(("/", "~")) and os.path.exists(os.path.expanduser(value)):
            continue  # where a key is kept, is no key: SSH_AUTH_SOCK, …_CREDENTIALS
        found.update(_forms(value))
    return tuple(sorted(found, key=lambda form: (-len(form), form)))


def _bounded(pattern: str, show: str = HIDDEN) -> Callable[[str], str]:
    """Hides what a pattern finds, but not within a longer word.

    The ends are looked at here, not in the pattern: one that begins with fixed text is searched
    for that text, at a gigabyte a second.
    """
    compiled = re.compile(pattern)

    def clean(text: str) -> str:
        def hide(match: re.Match[str]) -> str:
            before, after = text[match.start() - 1 : match.start()], text[match.end() :][:1]
            if (match.start() and before.isalnum()) or after.isalnum():
                return match[0]
            return show

        return compiled.sub(hide, text)

    return clean


_URL = re.compile(r"://[^\s\"'<>\\]{1,4096}")
_IN_URL = (
    (re.compile(r"^://[^/\s@]{1,256}:[^/\s@]{1,256}@"), f"://{HIDDEN}@"),  # user:password@host
    (
        re.compile(
            r"([?&](?:amp;)?(?:(?:api|access)_?)?(?:key|token|secret|password|signature|sig)=)"
            r"[^&#]{6,}",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
)
_HEADER = r"(\\*[\"']?\s*[:=]\s*\\*[\"']?(?:(?:Bearer|Basic|Token)\s+)?)[^\s\"'\\<>,]{6,}"
_PRIVATE_KEY = r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----"


def _urls(text: str) -> str:
    def clean(match: re.Match[str]) -> str:
        url = match[0]
        for pattern, shown in _IN_URL:
            url = pattern.sub(shown, url)
        return url

    return _URL.sub(clean, text)


def _replace(pattern: str, shown: str) -> Callable[[str], str]:
    compiled = re.compile(pattern, re.DOTALL)
    return lambda text: compiled.sub(shown, text)


#: Text without which a shape cannot occur, and what hides it.
_SHAPES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("://", _urls),
    *(
        (word, _replace(word + _HEADER, rf"{word}\1{HIDDEN}"))
        for word in ("Authorization", "authorization", "AUTHORIZATION")
    ),
    *(
        (word, _bounded(word + r"(?=[\w.~+/-]{0,64}\d)[\w.~+/-]{16,}=*", word + HIDDEN))
        for word in ("Bearer ", "bearer ")
    ),
    ("hf_", _bounded(r"hf_[A-Za-z0-9]{20,}")),
    *((f"gh{x}_", _bounded(rf"gh{x}_[A-Za-z0-9]{{30,}}")) for x in "pousr"),
    ("github_pat_", _bounded(r"github_pat_\w{22,}")),
    ("glpat-", _bounded(r"glpat-[\w-]{20,}")),
    ("sk-", _bounded(r"sk-(?=[\w-]{0,256}\d)(?=[\w-]{0,256}[A-Za-z])[\w-]{20,}")),
    *((x, _bounded(x + "[A-Z0-9]{16}")) for x in ("AKIA", "ASIA")),
    ("AIza", _bounded(r"AIza[\w-]{35}")),
    ("xox", _bounded(r"xox[abeoprs]-[\w-]{10,}")),
    ("pypi-", _bounded(r"pypi-Ag[\w-]{40,}")),
    ("eyJ", _bounded(r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}")),
    ("PRIVATE KEY-----", _replace(_PRIVATE_KEY, HIDDEN)),
)


def _digits(value: str) -> re.Pattern[str]:
    """A number that is a secret is not found within a longer one: JSON stays JSON."""
    return re.compile(rf"(?<!\w)(?<!\d\.){value}(?!\w|\.\d)")


def _cleaner(weak: bool) -> Callable[[str], str]:
    given = frozenset((*_in_environment(), *_in_files(_places())))
    values = _values(given, weak)

    def clean(text: str) -> str:
        for value in values:
            if value in text:
                if value.isdigit():
                    text = _digits(value).sub(HIDDEN, text)
                else:
                    text = text.replace(value, HIDDEN)
        for sign, without in _SHAPES:
            if sign in text:
                text = without(text)
        return text

    return clean


def redacted(text: str, *, weak: bool = True) -> str:
    """A text with ``***`` in place of every secret.

    Args:
        text: a message, a document.
        weak: hide values too that may be words or short numbers; not in what holds sentences.
    """
    return _cleaner(weak)(text)


def without_secrets(content: Any, *, weak: bool = True) -> Any:
    """JSON-like content whose texts (keys of mappings too) are :func:`redacted`."""
    clean = _cleaner(weak)

    def cleaned(node: Any) -> Any:
        if isinstance(node, str):
            return clean(node)
        if isinstance(node, dict):
            return {cleaned(key): cleaned(value) for key, value in node.items()}
        if isinstance(node, (list, tuple)):
            return [cleaned(value) for value in node]
        return node

    return cleaned(content)


class RedactedStream:
    """A text stream that hides secrets in what is written to it.

    Args:
        stream: where the text goes.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text without its secrets; returns the length of what was given."""
        self._stream.write(redacted(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """As a text stream's."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def redact_file(path: Path, start: int = 0) -> None:
    """Hide secrets in a log from a position on, including what a C library wrote.

    Args:
        path: a text file that only this process writes to.
        start: position in bytes.
    """
    with contextlib.suppress(OSError), path.open("r+b") as file:
        file.seek(start)
        written = file.read()
        clean = redacted(written.decode("utf-8", "surrogateescape"))
        content = clean.encode("utf-8", "surrogateescape")
        if content != written:
            file.seek(start)
            file.write(content)
            file.truncate()
