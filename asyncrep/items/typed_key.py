"""Reads the key of a record as a user types it: one JSON object, plain or in wire form."""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from asyncrep.errors import KeyFormatError
from asyncrep.items.numbers import is_storable_number

if TYPE_CHECKING:
    from asyncrep.model import KeyAttribute, KeySchema

_TYPE_NAMES = {"S": "a string", "N": "a number", "B": "binary, as base64"}
_QUOTED = 200  # characters of a refused key that its message repeats


class _Number(str):
    """The text of a JSON number, kept apart from a JSON string."""

    __slots__ = ()


def read_typed_key(text: str, schema: KeySchema) -> dict[str, dict[str, str]]:
    """Return the key in decoded wire form.

    ``{"id":"abc","n":5}`` and ``{"id":{"S":"abc"},"n":{"N":"5"}}`` are the same key; a binary attribute is
    base64 text in both. Numbers stay the text they are.

    Raises:
        KeyFormatError: with one sentence that says what is wrong.
    """
    try:
        members = json.loads(
            text,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_Number,
            object_pairs_hook=_without_twins,
        )
    except RecursionError as error:
        raise KeyFormatError(f"The key is nested too deeply: {_shortened(text)}") from error
    except ValueError as error:
        raise KeyFormatError(f"The key is not JSON ({error}): {_shortened(text)}") from error
    if not isinstance(members, dict):
        raise KeyFormatError(
            f'The key must be a JSON object, as {{"{schema.hash.name}": …}}: {_shortened(text)}'
        )
    expected = {attribute.name for attribute in schema.attributes}
    for name in members.keys() - expected:
        raise KeyFormatError(f'"{name}" is not part of the table\'s key, which is {schema}.')
    for name in expected - members.keys():
        raise KeyFormatError(f'The key misses "{name}": the table\'s key is {schema}.')
    return {
        attribute.name: _wire_value(members[attribute.name], attribute) for attribute in schema.attributes
    }


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object, unless a name is in it twice: which of the two is meant cannot be known."""
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise KeyFormatError(f'"{twin}" is in the key twice.')
    return members


def _wire_value(value: object, attribute: KeyAttribute) -> dict[str, str]:
    """Turn one member of a typed key into a wire value of the attribute's type, or refuse it."""
    name, kind = attribute.name, attribute.type
    if isinstance(value, dict):
        text = value.get(kind) if list(value) == [kind] else None
        if not isinstance(text, str) or isinstance(text, _Number):
            raise KeyFormatError(f'Key attribute "{name}" must be {{"{kind}": "…"}}, not {_spelled(value)}.')
    elif isinstance(value, str) and isinstance(value, _Number) == (kind == "N"):
        text = str(value)
    else:
        raise KeyFormatError(
            f'Key attribute "{name}" must be {_TYPE_NAMES[kind]} ({kind}), not {_spelled(value)}.'
        )
    _check_text(name, kind, text)
    return {kind: text}


def _check_text(name: str, kind: str, text: str) -> None:
    """Refuse what DynamoDB would refuse as the value of a key attribute."""
    if not text:
        raise KeyFormatError(f'Key attribute "{name}" must not be empty.')
    try:
        text.encode()
        if kind == "B":
            b64decode(text, validate=True)
    except UnicodeEncodeError as error:
        raise KeyFormatError(
            f'Key attribute "{name}" holds half a surrogate pair, which is no text.'
        ) from error
    except (binascii.Error, ValueError) as error:
        raise KeyFormatError(
            f'Key attribute "{name}" is binary and must be base64 ({error}): {_shortened(text)}'
        ) from error
    if kind == "N" and not is_storable_number(text):
        raise KeyFormatError(
            f'Key attribute "{name}" is not a number of at most 38 digits between ±1E-130 and '
            f"±9.99E+125: {_shortened(text)}"
        )


def _spelled(value: object) -> str:
    try:
        return _shortened(_as_typed(value))
    except RecursionError:  # newer interpreters parse deeper than Python code may recurse
        return "something nested too deeply"


def _as_typed(value: object) -> str:
    """Spell a JSON value as it was typed: numbers without quotes."""
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{json.dumps(name)}: {_as_typed(member)}" for name, member in value.items())
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_as_typed, value)) + "]"
    return json.dumps(value)


def _shortened(text: str) -> str:
    return text if len(text) <= _QUOTED else text[:_QUOTED] + "…"
