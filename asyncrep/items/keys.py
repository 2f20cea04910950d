"""Record keys: picked out of raw images, or read from what a user typed; canonical either way."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from asyncrep.errors import KeyFormatError
from asyncrep.items.numbers import canonical_number
from asyncrep.items.typed_key import read_typed_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncrep.model import KeySchema

# Raw key values that are canonical already, by far the most: nothing is decoded for them.
_ALREADY_CANONICAL: dict[str, Callable[[Any], object]] = {
    "S": re.compile(rb'\{"S":"[^"\\]*"\}').fullmatch,
    "N": re.compile(
        rb'\{"N":"(?:0|-?[1-9][0-9]{0,125}|-?(?:0|[1-9][0-9]{0,125})\.[0-9]{0,190}[1-9])"\}'
    ).fullmatch,
    "B": re.compile(rb'\{"B":"(?:[A-Za-z0-9+/]{4})*"\}').fullmatch,
}

_encode = msgspec.json.Encoder().encode
_decode_value = msgspec.json.Decoder(dict[str, str]).decode
_decode_raw_members = msgspec.json.Decoder(dict[str, Raw]).decode


class KeyReader:
    """Reads the canonical keys of one table's items.

    A key is the compact wire JSON of the key attributes in key-schema order,
    ``{"id":{"S":"a"},"n":{"N":"5"}}``, with numbers and base64 in their one canonical spelling.
    """

    def __init__(self, schema: KeySchema) -> None:
        self.schema = schema
        self._types = tuple(attribute.type for attribute in schema.attributes)
        self._canonical = tuple(_ALREADY_CANONICAL[kind] for kind in self._types)
        names = [attribute.name for attribute in schema.attributes]
        members = b",".join(_encode(name).replace(b"%", b"%%") + b":%b" for name in names)
        self._template = b"{" + members + b"}"
        self._raw_members = _member_picker(names)

    def key(self, image: bytes | Raw) -> bytes:
        """Return the canonical key of an image.

        Raises:
            KeyFormatError: the image lacks a key attribute, or has one of another type.
        """
        try:
            members = self._raw_members(image)
        except (msgspec.MsgspecError, KeyError, RecursionError) as error:
            raise KeyFormatError(f"An item has not the key {self.schema}: {error}.") from error
        for canonical, raw in zip(self._canonical, members, strict=True):
            if not canonical(raw):
                return self._template % tuple(map(_canonical_attribute, members, self._types))
        return self._template % members

    def parse(self, text: str) -> bytes:
        """Read a key that a user typed as one JSON object, plain or in wire form.

        Raises:
            KeyFormatError: with one sentence that says what is wrong.
        """
        return self.from_wire(read_typed_key(text, self.schema))

    def from_wire(self, key: dict[str, dict[str, str]]) -> bytes:
        """Return the canonical key of a key in decoded wire form."""
        return self.key(_encode(key))


def _canonical_attribute(raw: bytes | Raw, kind: str) -> bytes:
    """Decode one raw key value, ``{"N": "1.0"}``, and encode it canonically, ``{"N":"1"}``."""
    try:
        text = _decode_value(raw)[kind]
    except (msgspec.MsgspecError, KeyError, UnicodeDecodeError) as error:
        told = bytes(raw).decode(errors="replace")
        raise KeyFormatError(f"A key attribute is not of type {kind}: {told}") from error
    if kind == "N":
        text = canonical_number(text)
    elif kind == "B":
        text = _canonical_base64(text)
    return _encode({kind: text})


def _canonical_base64(text: str) -> str:
    try:
        return b64encode(b64decode(text, validate=True)).decode("ascii")
    except (binascii.Error, ValueError):
        return text


def _member_picker(names: list[str]) -> Callable[[bytes | Raw], tuple[Raw, ...]]:
    """Make the function that picks the raw values of ``names`` out of an image and decodes nothing else."""
    fields = [f"field{position}" for position in range(len(names))]
    try:
        struct = msgspec.defstruct(
            "KeyMembers",
            [(field, Raw) for field in fields],
            rename=dict(zip(fields, names, strict=True)),
            gc=False,
        )
    except ValueError:  # a name with quotes, backslashes or control characters cannot be renamed to
        return lambda image: _chosen(_decode_raw_members(image), names)
    decode = msgspec.json.Decoder(struct).decode
    astuple = msgspec.structs.astuple
    return lambda image: astuple(decode(image))


def _chosen(members: dict[str, Raw], names: list[str]) -> tuple[Raw, ...]:
    return tuple(members[name] for name in names)
