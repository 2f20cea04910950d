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
    found = _NUMBER.fullmatch(text)
    if found is None:
        return text
    sign, whole, fraction, exponent = found.groups(default="")
    digits = (whole + fraction).lstrip("0")
    power = int(exponent or 0) - len(fraction)
    significant = digits.rstrip("0")
    if not significant:
        return "0"
    power += len(digits) - len(significant)
    minus = "-" if sign == "-" else ""
    return minus + _spell(significant, power)


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
