"""Numbers as tables show them to a reader; a dash where there is none."""

from __future__ import annotations

from collections.abc import Sequence

GAP = "—"


def number(value: float | None, form: str = ".1f") -> str:
    """A number in a format of Python's for floats; a rounded −0.04 is no minus zero."""
    return GAP if value is None else format(value, _without_minus_zero(form))


def signed(value: float | None, form: str = ".1f") -> str:
    """A difference with its sign; what is rounded to 0 has none."""
    text = number(value, f"+{form}")
    return text if value is None or float(text) else text.lstrip("+")


def _without_minus_zero(form: str) -> str:
    sign = form[:1] if form[:1] in ("+", "-", " ") else ""
    return form if "z" in form else f"{sign}z{form[len(sign) :]}"


def shown_alpha(alpha: float) -> str:
    """α near 1 with enough digits to distinguish it from 1."""
    short = f"{alpha:.4g}"
    return short if float(short) < 1 or alpha == 1 else f"1 − {1 - alpha:.2g}"


def percent(value: float | None, form: str = ".0%") -> str:
    """A share in percent."""
    return number(value, form)


def spread(
    value: float | None,
    ci95: Sequence[float] | None,
    sd: float | None = None,
    form: str = ".1f",
) -> str:
    """A number with its standard deviation and its interval, those that it has."""
    text, form = number(value, form), _without_minus_zero(form)
    if value is not None and sd is not None:
        text += f" ± {sd:{form}}"
    if value is not None and ci95:
        text += f" [{ci95[0]:{form}}, {ci95[1]:{form}}]"
    return text


def size(count: float | None) -> str:
    """Bytes in decimal units."""
    if count is None:
        return GAP
    for unit, letters in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:{'.3g' if count < 1e3 * unit else ',.0f'}} {letters}"
    return f"{count:.0f} B"
