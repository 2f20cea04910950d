"""Condition and update expressions for guarded writes, within the service's limits. Pure.

Limits (DynamoDB, "Constraints"): an expression is at most 4 KB of text and 300 operators or functions,
and what it substitutes for names and values at most 2 MB.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from asyncrep.mutation import AttributesAre, ItemAbsent, Patch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncrep.model import KeySchema, WireValue
    from asyncrep.mutation import Mutation

ATTRIBUTES_PER_PATCH = 100
"""So many attributes always fit into one UpdateItem, each with its new value and a guard on its old one."""

_TEXT_LIMIT = 4096
_OPERATOR_LIMIT = 300
_SUBSTITUTED_LIMIT = 2 * 1024 * 1024 - 64 * 1024  # some room: the service counts differently than JSON

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Expressions:
    """The members of a write request that hold its expressions.

    Attributes:
        guarded: how many attributes the condition checks.
        unguarded: how many it should check and has no room for.
    """

    condition: str = ""
    update: str = ""
    names: dict[str, str] = field(default_factory=dict)
    values: dict[str, WireValue] = field(default_factory=dict)
    guarded: int = 0
    unguarded: int = 0
    _substituted: int = 0

    def name(self, attribute: str) -> str:
        """Return the placeholder of an attribute's name."""
        placeholder = f"#{len(self.names)}"
        self.names[placeholder] = attribute
        self._substituted += len(attribute.encode())
        return placeholder

    def value(self, value: WireValue) -> str:
        """Return the placeholder of a value."""
        placeholder = f":{len(self.values)}"
        self.values[placeholder] = value
        self._substituted += len(_encode(value))
        return placeholder

    def room_for(self, attribute: str, value: WireValue | None) -> bool:
        """Tell whether another name and value may be substituted."""
        size = len(attribute.encode()) + (len(_encode(value)) if value is not None else 0)
        return self._substituted + size <= _SUBSTITUTED_LIMIT

    def members(self) -> dict[str, Any]:
        """Return the request members, without the empty ones, which the service refuses."""
        members = {
            "ConditionExpression": self.condition,
            "UpdateExpression": self.update,
            "ExpressionAttributeNames": self.names,
            "ExpressionAttributeValues": self.values,
        }
        return {name: member for name, member in members.items() if member}


def expressions(mutation: Mutation, schema: KeySchema) -> Expressions:
    """Return the expressions of a guarded write.

    The update of a Patch is always whole; it has at most ``ATTRIBUTES_PER_PATCH`` attributes. The
    condition holds as much as fits.
    """
    made = Expressions()
    if isinstance(mutation, Patch):
        _write_update(made, mutation)
    match mutation.precondition:
        case ItemAbsent():
            made.condition = f"attribute_not_exists({made.name(schema.hash.name)})"
        case AttributesAre(expected):
            _write_condition(made, expected, schema)
    return made


def is_whole(mutation: Mutation, schema: KeySchema) -> bool:
    """Tell whether the write itself can check its whole precondition."""
    return expressions(mutation, schema).unguarded == 0


def _write_update(made: Expressions, patch: Patch) -> None:
    clauses = []
    if patch.assign:
        assignments = [f"{made.name(name)}={made.value(value)}" for name, value in patch.assign.items()]
        clauses.append("SET " + ",".join(assignments))
    if patch.remove:
        clauses.append("REMOVE " + ",".join(made.name(name) for name in patch.remove))
    made.update = " ".join(clauses)


def _write_condition(made: Expressions, expected: Any, schema: KeySchema) -> None:
    """Guard on the item's existence and on as many expected attributes as fit."""
    made.condition = f"attribute_exists({made.name(schema.hash.name)})"
    key_names = {attribute.name for attribute in schema.attributes}
    # The request's key says already what the key attributes are.
    require(made, {name: value for name, value in expected.items() if name not in key_names})


def require(made: Expressions, expected: Mapping[str, WireValue | None]) -> None:
    """Add to a condition, with AND, as many of the expected attributes as fit; None says the item lacks one."""
    operators = made.condition.count(" ") + 1  # at least as many as there are
    for name, value in expected.items():
        # " AND attribute_not_exists(#nnn)" is the longest piece there can be.
        full = len(made.condition) + 36 > _TEXT_LIMIT or operators + 2 > _OPERATOR_LIMIT
        if full or not made.room_for(name, value):
            made.unguarded += 1
            continue
        placeholder = made.name(name)
        piece = (
            f"attribute_not_exists({placeholder})" if value is None else f"{placeholder}={made.value(value)}"
        )
        made.condition += f" AND {piece}"
        made.guarded += 1
        operators += 2
