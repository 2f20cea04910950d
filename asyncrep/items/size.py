"""How large an item is to DynamoDB, which is what it charges by; its JSON is larger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncrep.items.equality import decode_image
from asyncrep.items.numbers import canonical_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CONTAINER_BYTES = 3
_ELEMENT_BYTES = 1


def item_size(image: bytes) -> int:
    """Return the size of an item in bytes, as DynamoDB counts it for capacity units.

    Names and texts count their UTF-8 bytes, binary values their bytes before base64, a number one byte for
    every two significant digits and one more, NULL and BOOL one byte, a set the sum of its values; a list
    or a map 3 bytes and one more for each element. Storage is billed with another 100 bytes an item, which
    reads and writes are not. Source: DynamoDB Developer Guide, "DynamoDB item sizes and formats", which
    calls the size of a number approximate; a minus sign is known to take a byte too.

    Raises:
        ValueError: ``image`` is not a JSON object of typed attribute values.
    """
    return sum(len(name.encode()) + _value_size(value) for name, value in decode_image(image).items())


def _value_size(value: Mapping[str, Any]) -> int:
    return sum(_SIZES.get(kind, _flag)(content) for kind, content in value.items())


def _text(text: str) -> int:
    return len(text.encode())


def _number(text: str) -> int:
    canonical = canonical_number(text)
    digits = canonical.partition("E")[0].lstrip("-").replace(".", "").strip("0")
    return (len(digits) + 1) // 2 + 1 + canonical.startswith("-")


def _binary(text: str) -> int:
    """Return the number of bytes that base64 text stands for."""
    return len(text.rstrip("=")) * 3 // 4


def _flag(_content: object) -> int:
    return 1


def _list(elements: list[Any]) -> int:
    return _CONTAINER_BYTES + sum(_ELEMENT_BYTES + _value_size(element) for element in elements)


def _map(members: Mapping[str, Any]) -> int:
    return _CONTAINER_BYTES + sum(
        _ELEMENT_BYTES + _text(name) + _value_size(member) for name, member in members.items()
    )


_SIZES: dict[str, Callable[[Any], int]] = {
    "S": _text,
    "N": _number,
    "B": _binary,
    "BOOL": _flag,
    "NULL": _flag,
    "SS": lambda values: sum(map(_text, values)),
    "NS": lambda values: sum(map(_number, values)),
    "BS": lambda values: sum(map(_binary, values)),
    "L": _list,
    "M": _map,
}
