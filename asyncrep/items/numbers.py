"""DynamoDB numbers as text: one canonical spelling for each value, exactly, without floats."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"([+-]?)(?=\.?[0-9])0*([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,6}))?", re.ASCII)

# The service knows ±1E-130 … 9.99E+125. What an emulator keeps beyond that is compared all the same,
# but never written out as a page of zeros.
_PLAIN_LIMIT = 200


def canonical_number(text: str) -> str:
    """Return the one spelling of the value of ``text`` that DynamoDB itself would return.

    ``1``, ``1.0``, ``+1``, ``01`` and ``10E-1`` are all ``1``; every zero is ``0``. Text that is no
    number at all is returned as it is: it equals only itself, and the service will refuse it.
    """
    parts = _parts(text)
    if parts is None:
        return text
    minus, digits, power = parts
    return minus + _spell(digits, power) if digits else "0"


def is_storable_number(text: str) -> bool:
    """Tell whether DynamoDB can store ``text`` as a number.

    Source: DynamoDB, "Supported data types", Number: at most 38 digits, and zero or a magnitude between
    1E-130 and 9.99…E+125.
    """
    parts = _parts(text)
    if parts is None:
        return False
    _, digits, power = parts
    return not digits or (len(digits) <= 38 and -130 <= len(digits) + power - 1 <= 125)


def _parts(text: str) -> tuple[str, str, int] | None:
    """Return the sign (empty or a minus), the significant digits (none for zero) and the power of ten."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    sign, whole, fraction, exponent = found.groups(default="")
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    power = int(exponent or 0) - len(fraction) + len(digits) - len(significant)
    return ("-" if sign == "-" else ""), significant, power


def _spell(digits: str, power: int) -> str:
    """Spell ``digits`` times 10^``power`` plainly, or with an exponent when that would be absurdly long."""
    if abs(power) > _PLAIN_LIMIT:
        return f"{digits}E{power}"
    if power >= 0:
        return digits + "0" * power
    point = len(digits) + power
    if point > 0:
        return f"{digits[:point]}.{digits[point:]}"
    return "0." + "0" * -point + digits
