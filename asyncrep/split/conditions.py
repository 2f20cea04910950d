"""Reads the value of the hash key out of a query's key condition, text or boto3's. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_EQUALITY = re.compile(r"(?<![\w#:.-])([\w#.-]+)\s*=\s*(:\w+)")


def hash_value(parameters: Mapping[str, Any], hash_key: str) -> Any:
    """Return what a query asks the hash key to be, None when that cannot be told.

    Args:
        parameters: those of the query.
        hash_key: the name of the table's hash key.
    """
    condition = parameters.get("KeyConditionExpression")
    if isinstance(condition, str):
        return _of_text(condition, parameters, hash_key)
    return _of_condition(condition, hash_key)


def _of_text(condition: str, parameters: Mapping[str, Any], hash_key: str) -> Any:
    names: Mapping[str, str] = parameters.get("ExpressionAttributeNames") or {}
    values: Mapping[str, Any] = parameters.get("ExpressionAttributeValues") or {}
    for name, value in _EQUALITY.findall(condition):
        if names.get(name, name) == hash_key:
            return values.get(value)
    return None


def _of_condition(condition: Any, hash_key: str) -> Any:
    """Read one of boto3's conditions, as ``Key("id").eq("a") & Key("n").gt(5)``."""
    if not hasattr(condition, "get_expression"):
        return None
    expression = condition.get_expression()
    operands = expression["values"]
    if expression["operator"] == "AND":
        found = (_of_condition(operand, hash_key) for operand in operands)
        return next((value for value in found if value is not None), None)
    is_hash_key = expression["operator"] == "=" and getattr(operands[0], "name", None) == hash_key
    return operands[1] if is_hash_key else None
