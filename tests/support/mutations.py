"""Changes an item or a value in exactly one place, so that whoever compares has to see it."""

from __future__ import annotations

import base64
import copy
import string
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.support.strategies import ODD_NAMES, plain_number
from tests.support.values import canonical

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.support.values import Item, Value


def mutate(item: Item, source: random.Random, keep: tuple[str, ...] = ()) -> tuple[Item, str]:
    """Return an item that is unequal in exactly one place, and the top-level attribute it is in.

    Attributes in ``keep`` stay as they are.
    """
    mutant = copy.deepcopy(item)
    existing = [name for name in mutant if name not in keep]
    if not existing or source.random() < 0.15:
        name = _new_name(mutant, source)
        mutant[name] = source.choice(_EMPTY_AND_PLAIN)()
        return mutant, name
    name = source.choice(existing)
    if source.random() < 0.15:
        del mutant[name]
    else:
        mutant[name] = mutate_value(mutant[name], source)
    return mutant, name


def mutate_value(value: Value, source: random.Random) -> Value:
    """Return a value that is unequal in exactly one place, at any depth, in content or in type."""
    changed = value
    while changed == value:  # two changes within a map may cancel each other out
        changed = _changed(value, source)
    return changed


def _changed(value: Value, source: random.Random) -> Value:
    ((kind, content),) = value.items()
    if kind == "NULL" or source.random() < 0.2:
        return _of_another_type(kind, content, source)
    return {kind: _CHANGES[kind](copy.deepcopy(content), source)}


_EMPTY_AND_PLAIN: tuple[Callable[[], Value], ...] = (
    lambda: {"S": ""},
    lambda: {"NULL": True},
    lambda: {"L": []},
    lambda: {"M": {}},
    lambda: {"N": "0"},
    lambda: {"BOOL": False},
    lambda: {"B": ""},
)


def _of_another_type(kind: str, content: Any, source: random.Random) -> Value:
    """Return a value of another type that looks as much like this one as can be."""
    alike: list[Value]
    match kind:
        case "S":
            alike = [{"B": _as_binary(content)}, {"SS": [content]}, {"L": [{"S": content}]}, {"NULL": True}]
        case "N":
            alike = [{"S": content}, {"NS": [content]}, {"BOOL": content != "0"}]
        case "B":
            alike = [{"S": content}, {"BS": [content]}]
        case "BOOL":
            alike = [{"N": "1" if content else "0"}, {"S": str(content).lower()}, {"NULL": True}]
        case "NULL":
            alike = [{"S": ""}, {"BOOL": True}, {"L": []}, {"M": {}}, {"S": "null"}]
        case "SS" | "NS" | "BS":
            alike = [{"L": [{kind[0]: member} for member in content]}]
            alike.append(
                {"BS": [_as_binary(member) for member in content]} if kind == "SS" else {"SS": content}
            )
        case "L":
            numbered = {str(position): element for position, element in enumerate(content)}
            alike = [{"M": numbered}, {"NULL": True}, {"L": [{"L": content}]}]
        case _:
            alike = [{"L": list(content.values())}, {"S": ""}, {"M": {"M": {"M": content}}}]
    return copy.deepcopy(source.choice(alike))


def _as_binary(text: str) -> str:
    """Return the text itself where it is base64 already, and its bytes as base64 otherwise."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = text.encode()
    return base64.b64encode(data).decode()


def _change_string(content: str, source: random.Random) -> str:
    added = source.choice((" ", "\x00", "a", "\u0301", "💥", "0"))
    position = source.choice((0, len(content)))
    changed = content[:position] + added + content[position:]
    return content[1:] if content and source.random() < 0.3 else changed


def _change_number(content: str, source: random.Random) -> str:
    sign, digits, exponent = Decimal(content).as_tuple()
    assert isinstance(exponent, int)
    if digits == (0,):
        return source.choice(("1", "-1", plain_number(Decimal("1E-130")), plain_number(Decimal("1E+125"))))
    if source.random() < 0.3:
        return plain_number(Decimal(content).copy_negate())
    position = source.randrange(len(digits))
    other = source.choice([digit for digit in range(1, 10) if digit != digits[position]])
    return plain_number(Decimal((sign, (*digits[:position], other, *digits[position + 1 :]), exponent)))


def _change_binary(content: str, source: random.Random) -> str:
    data = bytearray(base64.b64decode(content))
    if data and source.random() < 0.7:
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)
    else:
        data.append(source.choice((0, 255)))
    return base64.b64encode(data).decode()


def _change_set(
    change: Callable[[str, random.Random], str],
) -> Callable[[list[str], random.Random], list[str]]:
    def changed(content: list[str], source: random.Random) -> list[str]:
        if len(content) > 1 and source.random() < 0.3:
            del content[source.randrange(len(content))]
            return content
        new = change(source.choice(content), source)
        while new in content:
            new = change(new, source)
        if source.random() < 0.5:
            return [*content, new]
        content[source.randrange(len(content))] = new
        return content

    return changed


def _change_list(content: list[Value], source: random.Random) -> list[Value]:
    if not content or source.random() < 0.2:
        return [*content, source.choice(_EMPTY_AND_PLAIN)()]
    position = source.randrange(len(content))
    other = content[position - 1]
    match source.randrange(3):
        case 0:
            del content[position]
        case 1 if canonical(other) != canonical(content[position]):
            content[position - 1], content[position] = content[position], other
        case _:
            content[position] = mutate_value(content[position], source)
    return content


def _change_map(content: Item, source: random.Random) -> Item:
    if content and source.random() < 0.2:
        name = source.choice(list(content))
        content[_new_name(content, source)] = content.pop(name)
        return content
    return mutate(content, source)[0]


def _new_name(content: Item, source: random.Random) -> str:
    name = source.choice(ODD_NAMES)
    while name in content:
        name += source.choice(string.ascii_letters)
    return name


_CHANGES: dict[str, Callable[[Any, random.Random], Any]] = {
    "S": _change_string,
    "N": _change_number,
    "B": _change_binary,
    "BOOL": lambda content, _: not content,
    "SS": _change_set(_change_string),
    "NS": _change_set(_change_number),
    "BS": _change_set(_change_binary),
    "L": _change_list,
    "M": _change_map,
}
