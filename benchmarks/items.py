"""What an item looks like: templates of one size, as DynamoDB counts it, that are filled from a slot number.

Items of one table all have the same size to the byte, so that what a request is charged for follows from
how many items it touches. From 400 bytes on an item has attributes of every type; below that there is
room for a key, a string, a number, a boolean and a null only. Larger items hold a list of maps, a binary and a
text, which is filled up to the size that is wanted.
"""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

SMALLEST = 100
_ALL_TYPES = 400
_VARIANTS = 16

_MASK = (1 << 64) - 1
_SCRAMBLE = 0x9E3779B97F4A7C15
UNSCRAMBLE = pow(_SCRAMBLE, -1, 1 << 64)

_STATUSES = ("pending", "shipped", "arrived", "refused")
_ALTERED = "altered"
"""As long as the others: an item that differs is charged like any other."""
_NAMES = ("Ada Lovelace", "Zoë Åkesson", "José Martínez", r"Grace \"Amazing\" Hopper")
_CITIES = ("Zürich", "Vancouver", "São Paulo", "Oslo")
_NOTES = (
    "leave with the neighbour, ",
    "ring twice, and mind the dog behind the gate, ",
    "appelez avant de livrer, puis sonnez à la porte, ",
    "gift wrapping, ",
)
_FILLING = "the parcel may be left in the shed behind the house if nobody answers the door; "

_KEY = '"id":{"S":"customer#%(identity)016x"}'
_RANGE_KEY = '"created":{"N":"%(created)d"}'
# Numbers neither begin nor end with a zero, or have as many bytes when they do: sizes never vary.
_SMALL = (
    '"status":{"S":"{status}"}',
    '"amount":{"N":"%(amount)d.%(cents)d"}',
    '"active":{"BOOL":{active}}',
    '"coupon":{"NULL":true}',
)
_FURTHER = (
    '"name":{"S":"{name}"}',
    '"quantity":{"N":"%(quantity)d"}',
    '"precise":{"N":"3.1415926535897932%(noise)020d7"}',
    '"tags":{"SS":["tier-%(quantity)d","web"]}',
    '"scores":{"NS":["%(amount)d.5","-%(amount)d.25"]}',
    '"digests":{"BS":["AAECAw==","/v38"]}',
    '"address":{"M":{"city":{"S":"{city}"},"lines":{"L":[{"S":"%(number)03d Main"}]}}}',
    '"token":{"B":"AAECAwQFBgc="}',
    '"updated":{"S":"2024-05-17T08:%(minute)02d:%(cents)dZ"}',
)
_LINE = '{"M":{"sku":{"S":"sku-%(number)03d-{line}"},"price":{"N":"{line}.%(cents)d"},"gift":{"BOOL":true}}}'
_LINE_BYTES = 40
_FIRST_LINE = 100_001


def wire_size(item: dict[str, dict[str, Any]]) -> int:
    """Bytes of a wire-form item as DynamoDB counts them: names and values in UTF-8.

    A number takes a byte for every two significant digits and one more, and one for a minus; a document takes 3 and 1
    for each element.
    """
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: dict[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S" | "N" | "B":
            return _scalar_size(kind, content)
        case "SS" | "NS" | "BS":
            return sum(_scalar_size(kind[0], one) for one in content)
        case "L":
            return 3 + sum(1 + _value_size(one) for one in content)
        case "M":
            return 3 + len(content) + wire_size(content)
        case _:
            return 1


def _scalar_size(kind: str, content: str) -> int:
    if kind == "S":
        return len(content.encode())
    if kind == "B":
        return len(base64.b64decode(content))
    sign, digits, _ = Decimal(content).as_tuple()
    count = len("".join(map(str, digits)).rstrip("0"))
    # Pairs of digits on either side of the point: where the first digit stands alone, it has a byte of its own.
    pairs = (count + 1) // 2 if Decimal(content).adjusted() % 2 else count // 2 + 1
    return pairs + 1 + sign


class Template:
    """Items of `item_bytes`, keys apart: what stands in them follows from a slot number."""

    def __init__(self, item_bytes: int, *, range_key: bool, reversed_attributes: bool) -> None:
        """`reversed_attributes` writes the same items with their attributes in the opposite order.

        Raises:
            ValueError: there is no room for the attributes that every item has.
        """
        if item_bytes < SMALLEST:
            message = f"items of {item_bytes} bytes: the smallest have {SMALLEST}"
            raise ValueError(message)
        self._key = f"{_KEY},{_RANGE_KEY}" if range_key else _KEY
        self._attributes = self._attributes_for(item_bytes)
        self._item_bytes = item_bytes
        self._backwards = reversed_attributes
        self._key_template = f"{{{self._key}}}".encode()
        self._same = [self._variant(number) for number in range(_VARIANTS)]
        self._altered = [self._variant(number, _ALTERED) for number in range(_VARIANTS)]

    def key(self, identity: int, created: int) -> bytes:
        """A key as a wire-form JSON object."""
        return self._key_template % {b"identity": identity * _SCRAMBLE & _MASK, b"created": created}

    def item(self, slot: int, identity: int, created: int, *, altered: bool) -> bytes:
        """An item as a wire-form JSON object; an `altered` one has another status."""
        template = (self._altered if altered else self._same)[slot % _VARIANTS]
        return template % {
            b"identity": identity * _SCRAMBLE & _MASK,
            b"created": created,
            b"noise": slot * _SCRAMBLE & _MASK,
            b"amount": slot * 7919 % 9_000 + 1_000,
            b"cents": slot % 49 + 11,
            b"quantity": slot % 17 + 10,
            b"number": slot * 31 % 1_000,
            b"minute": slot // 60 % 60,
        }

    @staticmethod
    def _attributes_for(item_bytes: int) -> tuple[str, ...]:
        """The attributes beside the key and the note: one half of what is above 400 bytes is a list of maps."""
        if item_bytes < _ALL_TYPES:
            return _SMALL
        above = item_bytes - _ALL_TYPES
        lines = range(_FIRST_LINE, _FIRST_LINE + above // 2 // _LINE_BYTES)
        if not lines:
            return _SMALL + _FURTHER
        written = [_LINE.replace("{line}", str(line)) for line in lines]
        image = base64.b64encode(bytes(number % 251 for number in range(above // 8))).decode()
        return (*_SMALL, *_FURTHER, f'"lines":{{"L":[{",".join(written)}]}}', f'"image":{{"B":"{image}"}}')

    def _variant(self, number: int, status: str | None = None) -> bytes:
        """The template of every 16th slot, its note as long as is needed for the size."""
        values = {
            "{status}": status or _STATUSES[number >> 2 & 3],
            "{active}": "true" if number & 1 else "false",
            "{name}": _NAMES[number & 3],
            "{city}": _CITIES[number >> 1 & 3],
        }
        attributes = list(self._attributes)
        for place, value in values.items():
            attributes = [attribute.replace(place, value) for attribute in attributes]
        start = _NOTES[number & 3] if self._item_bytes >= _ALL_TYPES else ""
        room = self._item_bytes - self._size([*attributes, f'"note":{{"S":"{start}"}}'])
        if room < 0:
            message = f"no room for all attributes in {self._item_bytes} bytes"
            raise ValueError(message)
        note = start + (_FILLING * (room // len(_FILLING) + 1))[:room]
        attributes.append(f'"note":{{"S":"{note}"}}')
        if self._backwards:
            attributes.reverse()
        return f"{{{self._key},{','.join(attributes)}}}".encode()

    def _size(self, attributes: list[str]) -> int:
        """Bytes of an item of these attributes and the key, numbers put in."""
        example = dict.fromkeys(("identity", "noise", "number", "minute"), 1)
        example |= {"created": 1_600_000_001, "amount": 1_001, "cents": 11, "quantity": 11}
        return wire_size(json.loads(f"{{{self._key},{','.join(attributes)}}}" % example))
