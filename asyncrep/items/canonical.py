"""One digest for each item, however its JSON is spelled: equal items have equal digests. Pure."""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

import msgspec

from asyncrep.items.equality import decode_image, is_compared
from asyncrep.items.numbers import canonical_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_encode = msgspec.json.Encoder(order="sorted").encode


def content_digest(image: bytes) -> bytes:
    """Return the SHA-256 of an item's one spelling.

    Items that ``asyncrep.items.equality`` calls equal have the same digest: attributes and sets have no
    order, numbers count by value, and what Global Tables add is left out. So everybody who compares the
    digests of two items comes to the same conclusion, which is what a tiebreak needs.

    Raises:
        ValueError: ``image`` is not a JSON object of typed attribute values.
    """
    item = {name: _spelled(value) for name, value in decode_image(image).items() if is_compared(name)}
    return hashlib.sha256(_encode(item)).digest()


def _spelled(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if len(value) != 1:
        return value  # not a DynamoDB value
    ((kind, content),) = value.items()
    spell = _SPELLINGS.get(kind)
    return {kind: content if spell is None else spell(content)}


def _binary(text: str) -> str:
    try:
        return b64encode(b64decode(text, validate=True)).decode("ascii")
    except (binascii.Error, ValueError):
        return text


_SPELLINGS: dict[str, Callable[[Any], Any]] = {
    "N": canonical_number,
    "B": _binary,
    "SS": lambda texts: sorted(set(texts)),
    "NS": lambda numbers: sorted(set(map(canonical_number, numbers))),
    "BS": lambda values: sorted(set(map(_binary, values))),
    "L": lambda elements: [_spelled(element) for element in elements],
    "M": lambda members: {name: _spelled(member) for name, member in members.items()},
}
