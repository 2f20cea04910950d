"""Wire-form values as DynamoDB sees them: equality, size and validity."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

Value = dict[str, Any]
Item = dict[str, Value]

ITEM_BYTES = 400 * 1024
KEY_TYPES = ("S", "N", "B")
SET_TYPES = {"SS": "S", "NS": "N", "BS": "B"}


@dataclass
class ServiceError(Exception):
    """An answer of the service that is not a success."""

    code: str
    message: str
    status: int = 400
    extra: dict[str, Any] = field(default_factory=dict)


def invalid(message: str) -> ServiceError:
    """The ValidationException with this message."""
    return ServiceError("ValidationException", message)


def canceled(reasons: list[dict[str, Any]]) -> ServiceError:
    """The refusal of a transaction for these reasons, one for each action."""
    codes = ", ".join(reason["Code"] for reason in reasons)
    message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
    return ServiceError("TransactionCanceledException", message, extra={"CancellationReasons": reasons})


def canonical(value: Value) -> Hashable:
    """A value that compares equal exactly when DynamoDB would call the two equal."""
    ((kind, content),) = value.items()
    if kind in KEY_TYPES:
        return kind, plain(value)
    if kind in SET_TYPES:
        return kind, frozenset(plain({SET_TYPES[kind]: member}) for member in content)
    if kind == "L":
        return kind, tuple(canonical(element) for element in content)
    if kind == "M":
        return kind, frozenset((name, canonical(element)) for name, element in content.items())
    return kind, content


def equal(left: Mapping[str, Value], right: Mapping[str, Value]) -> bool:
    """Whether two items are equal by value, whatever their spelling."""
    return canonical({"M": dict(left)}) == canonical({"M": dict(right)})


def plain(value: Value) -> Any:
    """The str, Decimal or bytes that an S, N or B value stands for."""
    ((kind, content),) = value.items()
    if kind == "N":
        return Decimal(content)
    if kind == "B":
        return base64.b64decode(content)
    return content


def size_of(item: Mapping[str, Value]) -> int:
    """Bytes an item counts for: UTF-8 names and the values' own sizes."""
    return sum(len(name.encode()) + value_size(value) for name, value in item.items())


def value_size(value: Value) -> int:
    """Bytes a value counts for, by the rules of the developer guide."""
    ((kind, content),) = value.items()
    match kind:
        case "S" | "N" | "B":
            size = _scalar_size(plain(value))
        case "SS" | "NS" | "BS":
            size = sum(value_size({SET_TYPES[kind]: member}) for member in content)
        case "L":
            size = 3 + sum(1 + value_size(element) for element in content)
        case "M":
            size = 3 + len(content) + size_of(content)
        case _:
            size = 1
    return size


def _scalar_size(value: str | bytes | Decimal) -> int:
    if isinstance(value, Decimal):
        return (len(_digits(value)) + 1) // 2 + 1 + (value < 0)
    return len(value.encode() if isinstance(value, str) else value)


def _digits(number: Decimal) -> str:
    """The significant digits."""
    return "".join(map(str, number.as_tuple().digits)).strip("0")


def check_value(value: Value) -> None:
    """Refuse what the service would refuse as a value, at any depth.

    Raises:
        ServiceError: for an unknown type, a number that is none, an empty set or one with duplicates.
    """
    if not isinstance(value, dict) or len(value) != 1:
        raise invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
    ((kind, content),) = value.items()
    if kind not in _CHECKS:
        raise invalid(f"Supplied AttributeValue has the unknown datatype {kind}")
    _CHECKS[kind](kind, content)


def _check_elements(_: str, content: list[Value] | dict[str, Value]) -> None:
    for element in content.values() if isinstance(content, dict) else content:
        check_value(element)


def _check_instance(kind: str, content: object) -> None:
    wanted = bool if kind in ("BOOL", "NULL") else str
    if not isinstance(content, wanted):
        raise ServiceError("SerializationException", f"{kind} cannot be {content!r}")
    if kind == "NULL" and content is False:
        raise invalid(
            "One or more parameter values were invalid: Null attribute value types must have the value of true"
        )


def _check_number(kind: str, text: str) -> None:
    _check_instance(kind, text)
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise invalid(f"The parameter cannot be converted to a numeric value: {text}") from None
    if not number.is_finite():
        raise invalid(f"The parameter cannot be converted to a numeric value: {text}")
    if len(_digits(number)) > 38:
        raise invalid("Attempting to store more than 38 significant digits in a Number")
    if number and not -130 <= number.adjusted() <= 125:
        raise invalid(
            "Number overflow or underflow. Attempting to store a number outside the supported range"
        )


def _check_set(kind: str, members: list[str]) -> None:
    if not members:
        raise invalid("One or more parameter values were invalid: An string set  may not be empty")
    for member in members:
        check_value({SET_TYPES[kind]: member})
    if len({plain({SET_TYPES[kind]: member}) for member in members}) != len(members):
        raise invalid(f"Input collection {members} contains duplicates.")


_CHECKS: dict[str, Callable[[str, Any], None]] = {
    "S": _check_instance,
    "B": _check_instance,
    "BOOL": _check_instance,
    "NULL": _check_instance,
    "N": _check_number,
    **dict.fromkeys(SET_TYPES, _check_set),
    "L": _check_elements,
    "M": _check_elements,
}
