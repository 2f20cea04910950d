"""TransactWriteItems on scripted tables: all actions or none, with the limits and tokens of the service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.expressions import Placeholders, read_condition, read_update
from tests.support.request import Body, Request, consumed_list, store, write_units
from tests.support.values import Item, ServiceError, canceled, invalid, size_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.tables import PlainKey, ScriptedTable

ACTIONS = 100
BYTES = 4 * 1024 * 1024

_CONDITION = {
    "TableName",
    "ConditionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ReturnValuesOnConditionCheckFailure",
}


@dataclass
class _Write:
    """One action that has been read and not carried out."""

    table: ScriptedTable
    key: PlainKey
    change: Callable[[Item | None], Item | None]
    condition: Callable[[Item], bool]
    shows_old: bool
    writes: bool = True

    @property
    def old(self) -> Item | None:
        return self.table.get(self.key)

    @property
    def reason(self) -> Body:
        """Why this action cancels the transaction, if it does."""
        old = self.old
        if not self.condition(old or {}):
            shown = {"Item": old} if self.shows_old and old is not None else {}
            return {
                "Code": "ConditionalCheckFailed",
                "Message": "The conditional request failed",
                **shown,
            }
        new = self.change(old)
        try:
            if new is not None:
                self.table.check_item(new)
        except ServiceError as refusal:
            return {"Code": "ValidationError", "Message": refusal.message}
        return {"Code": "None"}


def transact_write_items(request: Request) -> Body:
    """Carry out every action, or none and say why; a token that was met before only repeats the answer."""
    actions: list[Body] = request.body["TransactItems"]
    if not 1 <= len(actions) <= ACTIONS:
        raise invalid("1 validation error detected: Value at 'transactItems' must have 1 to 100 members")
    writes = [_read(request, action) for action in actions]
    _check_all(writes)
    units = _units(writes)
    if _is_repeated(request, writes[0].table):
        return consumed_list(request.body, units)
    reasons = [write.reason for write in writes]
    if any(reason["Code"] != "None" for reason in reasons):
        raise canceled(reasons)
    for write in writes:
        if write.writes:
            store(write.table, write.key, write.change(write.old))
    if (tokens := writes[0].table.tokens) is not None:
        tokens[request.body.get("ClientRequestToken", "")] = actions
    return consumed_list(request.body, units)


def _check_all(writes: list[_Write]) -> None:
    if len({(write.table.name, write.key) for write in writes}) != len(writes):
        raise invalid("Transaction request cannot include multiple operations on one item")
    if sum(size_of(write.change(write.old) or write.old or {}) for write in writes) > BYTES:
        raise invalid("Member must have total size less than or equal to 4 MB")


def _is_repeated(request: Request, table: ScriptedTable) -> bool:
    token = request.body.get("ClientRequestToken")
    if token is None or table.tokens is None or token not in table.tokens:
        return False
    if table.tokens[token] != request.body["TransactItems"]:
        raise ServiceError("IdempotentParameterMismatchException", "The token belongs to another request")
    return True


def _units(writes: list[_Write]) -> dict[str, float]:
    """Transactions take twice what single writes do."""
    units: dict[str, float] = {}
    for write in writes:
        name = write.table.name
        new = write.change(write.old) if write.writes else None
        units[name] = units.get(name, 0.0) + 2 * write_units(write.old, new)
    return units


def _read(request: Request, action: Body) -> _Write:
    ((kind, body),) = action.items()
    if kind not in _READERS:
        raise invalid(f"The double knows no {kind} in a transaction")
    parameters, reader = _READERS[kind]
    if unknown := body.keys() - parameters - _CONDITION:
        raise invalid(f"The double knows no {', '.join(sorted(unknown))} in {kind}")
    table = request.table(body["TableName"])
    placeholders = Placeholders(body, "ConditionExpression", "UpdateExpression")
    key, change = reader(table, body, placeholders)
    condition: Callable[[Item], bool] = lambda _: True
    if "ConditionExpression" in body:
        condition = read_condition(body["ConditionExpression"], placeholders)
    elif kind == "ConditionCheck":
        raise invalid("1 validation error detected: Value null at 'conditionExpression'")
    placeholders.check_all_used()
    shows_old = body.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
    return _Write(table, key, change, condition, shows_old, writes=kind != "ConditionCheck")


_Read = tuple[Any, "Callable[[Item | None], Item | None]"]


def _read_put(table: ScriptedTable, body: Body, _: Placeholders) -> _Read:
    item = body["Item"]
    for name, kind in table.keys:
        if kind not in item.get(name, {}):
            raise invalid(f"One or more parameter values were invalid: Missing the key {name} in the item")
    return table.key_of(item), lambda _: item


def _read_delete(table: ScriptedTable, body: Body, _: Placeholders) -> _Read:
    table.check_key(body["Key"])
    return table.key_of(body["Key"]), lambda _: None


def _read_check(table: ScriptedTable, body: Body, _: Placeholders) -> _Read:
    table.check_key(body["Key"])
    return table.key_of(body["Key"]), lambda old: old


def _read_update(table: ScriptedTable, body: Body, placeholders: Placeholders) -> _Read:
    table.check_key(body["Key"])
    update = read_update(body["UpdateExpression"], placeholders)
    if any(name in update.assigned or name in update.removed for name, _ in table.keys):
        raise invalid("One or more parameter values were invalid: Cannot update attributes of the key")
    return table.key_of(body["Key"]), lambda old: update.apply(old or body["Key"])


_READERS: dict[str, tuple[set[str], Callable[[ScriptedTable, Body, Placeholders], _Read]]] = {
    "Put": ({"Item"}, _read_put),
    "Delete": ({"Key"}, _read_delete),
    "Update": ({"Key", "UpdateExpression"}, _read_update),
    "ConditionCheck": ({"Key"}, _read_check),
}
