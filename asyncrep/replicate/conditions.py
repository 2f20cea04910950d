"""Conditions on single attributes of an item: how users write them, and whether they hold. Pure."""

from __future__ import annotations

import json
import operator
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from asyncrep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from msgspec import Raw

QUOTED = r'"(?:[^"\\]|\\.)*"'
"""A JSON string, as names and values may be written."""

_CONDITION = re.compile(
    rf'(?P<absent>!)?\s*(?P<name>{QUOTED}|[^=!<>"]+?)\s*(?:(?P<operator>!=|<=|>=|=|<|>)(?P<value>.*))?',
    re.DOTALL,
)
_FORMS = 'NAME=VALUE (or !=, <, <=, >, >=), NAME for "it exists", or !NAME for "it does not"'

_decode_value = msgspec.json.Decoder(dict[str, Any]).decode


class Operator(StrEnum):
    """How a condition looks at an attribute."""

    EQUAL = "="
    UNEQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    GREATER = ">"
    AT_LEAST = ">="
    EXISTS = "exists"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on one top-level attribute.

    A number is compared as a number, a text as text (by its UTF-8 bytes, as DynamoDB does), a BOOL with
    ``true`` and ``false``. What has another type, or is not there, meets no comparison but ``!=``.

    Attributes:
        value: as it was written; unused where only the existence counts.
    """

    name: str
    operator: Operator
    value: str = ""

    def holds(self, members: Mapping[str, Raw]) -> bool:
        """Tell whether an item, cut into its raw values, meets the condition."""
        raw = members.get(self.name)
        match self.operator:
            case Operator.EXISTS:
                return raw is not None
            case Operator.ABSENT:
                return raw is None
            case Operator.UNEQUAL:
                return raw is None or not _compare(raw, Operator.EQUAL, self.value)
            case _:
                return raw is not None and _compare(raw, self.operator, self.value)


def parse_condition(text: str) -> Condition:
    """Read a condition: ``status=active``, ``n>=5``, ``flag`` (it exists), ``!flag`` (it does not).

    A name or value that holds operators, quotes or outer blanks is written as a JSON string: ``"a=b"=5``.

    Raises:
        UsageError: with one sentence that says what is wrong.
    """
    found = _CONDITION.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{shown(text)} is not a condition; write {_FORMS}.")
    name, sign, value = parse_name(found["name"]), found["operator"], found["value"]
    if sign is None:
        return Condition(name, Operator.ABSENT if found["absent"] else Operator.EXISTS)
    if found["absent"]:
        raise UsageError(
            f"{shown(text)} is not a condition; write NAME!=VALUE for the opposite of NAME=VALUE."
        )
    value = value.strip()
    if value[:1] in {"=", "<", ">", "!"}:
        raise UsageError(
            f"{shown(text)} has two operators; a value that begins with one is written in quotes."
        )
    return Condition(name, Operator(sign), _unquoted(value))


def parse_name(text: str) -> str:
    """Read the name of an attribute, which may be in quotes.

    Raises:
        UsageError: it is none.
    """
    name = _unquoted(text.strip())
    if not name:
        raise UsageError(f"{shown(text)} names no attribute.")
    return name


def _unquoted(text: str) -> str:
    """Return what a JSON string says; any other text is what it is."""
    if not text.startswith('"'):
        return text
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{shown(text)} begins with a quote and is not a whole JSON string.") from error
    return str(value)


def shown(text: str) -> str:
    """Return what a user wrote as messages repeat it."""
    return json.dumps(text if len(text) <= 100 else text[:100] + "…", ensure_ascii=False)


# ── Comparing ───────────────────────────────────────────────────────────────────────────────────────

_COMPARISONS: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQUAL: operator.eq,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
}


def _compare(raw: Raw, sign: Operator, text: str) -> bool:
    """Compare a raw typed value with what a user wrote, by the rules of the value's type."""
    ((kind, content),) = _decode_value(raw).items()
    compare = _COMPARISONS[sign]
    match kind:
        case "N":
            number = _number(text)
            return number is not None and compare(Decimal(content), number)
        case "S":
            return compare(content.encode(), text.encode())
        case "BOOL":
            return sign is Operator.EQUAL and text.lower() == ("true" if content else "false")
        case _:
            return False


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
