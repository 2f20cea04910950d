"""Spells numbers plainly that other programs wrote with an exponent: JavaScript's 1e+21 is 1 and 21 zeros. Pure."""

from __future__ import annotations

import re

from asyncrep.items.numbers import canonical_number

# A quote within a string has a backslash before it, so that neither can begin in the middle of one.
_NUMBER = re.compile(rb'("N"\s*:\s*")([-+]?[0-9.]+[eE][-+]?[0-9]+)"')
_SET = re.compile(rb'"NS"\s*:\s*\[[^\]]*[0-9.][eE][-+0-9][^\]]*\]')
_MEMBER = re.compile(rb'(")([-+]?[0-9.]+[eE][-+]?[0-9]+)"')


def with_plain_numbers(image: bytes) -> bytes:
    """Return an image in which numbers have no exponents, as DynamoDB itself tells them.

    How many digits that is, up to 126, is no matter to the service; all else stays as it is spelled.
    """
    if _NUMBER.search(image):
        image = _NUMBER.sub(_plain, image)
    if _SET.search(image):
        image = _SET.sub(lambda found: _MEMBER.sub(_plain, found[0]), image)
    return image


def _plain(found: re.Match[bytes]) -> bytes:
    return b'%b%b"' % (found[1], canonical_number(found[2].decode()).encode())
