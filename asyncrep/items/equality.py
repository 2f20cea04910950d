"""Equality of items as DynamoDB sees it, whatever their JSON looks like.

Maps and sets have no order, lists do, numbers are compared by value, binary by bytes, and types are
never mixed: S ≠ N, BOOL true ≠ N 1, absent ≠ NULL ≠ empty.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from asyncrep.items.numbers import canonical_number

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

SYSTEM_PREFIX = "aws:rep:"
"""Attributes that Global Tables (2017) puts into items. They are neither compared nor written."""

Wire = dict[str, dict[str, Any]]
"""A decoded item, ``{name: {type: value}}``; numbers and binary values are still text."""

NO_ITEM = (msgspec.MsgspecError, TypeError, ValueError, AttributeError, RecursionError)
"""What comes of comparing images whose values have not the form that their types say."""

_decode = msgspec.json.Decoder(Wire).decode
_decode_value = msgspec.json.Decoder(dict[str, Any]).decode
_split = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


def decode_image(image: bytes) -> Wire:
    """Decode an image into its wire form.

    Raises:
        ValueError: ``image`` is not a JSON object of typed attribute values.
    """
    return _decode(image)


def encode_image(item: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Encode an item in wire form as a compact image."""
    return _encode(item)


def same_value(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Tell whether two typed values, as ``{"N": "1.0"}``, are equal to DynamoDB."""
    return left == right or _canonical(left) == _canonical(right)


def same_item(left: bytes, right: bytes, ignored: Collection[str] = ()) -> bool:
    """Tell whether two images are the same item, apart from ``ignored`` and system attributes.

    Attributes that are spelled alike are not decoded: most often only their order differs.
    """
    if left == right:
        return True
    ours, theirs = _split(left), _split(right)
    if ours == theirs:
        return True
    unlike = [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]
    return all(
        not is_compared(name, ignored)
        or (
            name in ours
            and name in theirs
            and same_value(_decode_value(ours[name]), _decode_value(theirs[name]))
        )
        for name in unlike
    )


def differing_attributes(left: Wire, right: Wire, ignored: Collection[str] = ()) -> list[str]:
    """Name the top-level attributes that differ or that only one side has, in the order met."""
    names = dict.fromkeys((*left, *right))
    return [
        name
        for name in names
        if is_compared(name, ignored)
        and (name not in left or name not in right or not same_value(left[name], right[name]))
    ]


def members_lacking(left: Mapping[str, Any], right: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the set of those members of a set that another set of its type lacks; None when it has all."""
    ((kind, members),) = left.items()
    _, known = _canonical(right)
    lacking = [member for member in members if _canonical({kind[0]: member})[1] not in known]
    return {kind: lacking} if lacking else None


def respelled_attributes(
    left: bytes, right: bytes, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield what both images have and spell differently, of the ``wanted`` names; equal values are possible.

    Nothing else is decoded, so that it may be asked of millions of items.
    """
    ours, theirs = _split(left), _split(right)
    for name, value in ours.items():
        other = theirs.get(name)
        if other is not None and value != other and wanted(name):
            yield name, _decode_value(value), _decode_value(other)


def is_compared(name: str, ignored: Collection[str] = ()) -> bool:
    """Tell whether an attribute takes part in comparisons at all."""
    return name not in ignored and not name.startswith(SYSTEM_PREFIX)


def without_system_attributes(image: bytes) -> bytes:
    """Return ``image`` as it may be written to another table: without the ``aws:rep:*`` attributes."""
    # No character of the prefix has another escape than \u; a single character is found much faster than two.
    may_be_escaped = b"\\" in image and b"\\u" in image
    if SYSTEM_PREFIX.encode() not in image and not may_be_escaped:
        return image
    item = decode_image(image)
    kept = {name: value for name, value in item.items() if not name.startswith(SYSTEM_PREFIX)}
    return image if len(kept) == len(item) else encode_image(kept)


def _canonical(value: Mapping[str, Any]) -> Any:
    """Turn a typed value into nested tuples, frozensets and dicts that Python compares rightly."""
    if len(value) != 1:
        return dict(value)  # not a DynamoDB value: equal only to the same JSON
    ((kind, content),) = value.items()
    canonical = _CANONICAL.get(kind)
    return (kind, content if canonical is None else canonical(content))


def _binary(text: str) -> bytes | str:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text


_CANONICAL: dict[str, Callable[[Any], Any]] = {
    "N": canonical_number,
    "B": _binary,
    "SS": frozenset,
    "NS": lambda numbers: frozenset(map(canonical_number, numbers)),
    "BS": lambda values: frozenset(map(_binary, values)),
    "L": lambda elements: [_canonical(element) for element in elements],
    "M": lambda members: {name: _canonical(member) for name, member in members.items()},
}
