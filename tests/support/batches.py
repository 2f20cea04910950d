"""The batch operations on scripted tables: limits, duplicates, and entries left unprocessed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.request import (
    READ_PARAMETERS,
    Body,
    Request,
    consumed_list,
    projection,
    read_units,
    store,
    write_units,
)
from tests.support.values import Item, invalid, size_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.tables import ScriptedTable

BATCH_GET_KEYS = 100
BATCH_GET_BYTES = 16 * 1024 * 1024
BATCH_WRITES = 25


def batch_get_item(request: Request) -> Body:
    """Read up to 100 keys; what is beyond 16 MB, or left out by the script, stays unprocessed."""
    wanted: dict[str, Body] = request.body["RequestItems"]
    pairs = [(name, key) for name, query in wanted.items() for key in query["Keys"]]
    _check_count(pairs, BATCH_GET_KEYS, "BatchGetItem")
    for name, query in wanted.items():
        if unknown := query.keys() - {"Keys", *READ_PARAMETERS}:
            raise invalid(f"The double knows no {', '.join(sorted(unknown))} in BatchGetItem")
        _refuse_duplicates(request.table(name), query["Keys"])
    projections = {name: projection(query) for name, query in wanted.items()}
    found = _find(request, pairs[: request.processed(len(pairs))])
    responses: dict[str, list[Item]] = {name: [] for name in wanted}
    units = dict.fromkeys(wanted, 0.0)
    # The service promises no order; this one keeps readers from relying on the order they asked in.
    for name, item in reversed(found):
        units[name] += read_units(size_of(item or {}), consistent=bool(wanted[name].get("ConsistentRead")))
        if item is not None:
            responses[name].append(projections[name](item))
    unread = _by_table(pairs[len(found) :])
    left = {name: {**wanted[name], "Keys": keys} for name, keys in unread.items()}
    return {"Responses": responses, "UnprocessedKeys": left, **consumed_list(request.body, units)}


def _find(request: Request, pairs: list[tuple[str, Item]]) -> list[tuple[str, Item | None]]:
    """The items of the first pairs, as many as fit in an answer."""
    found: list[tuple[str, Item | None]] = []
    size = 0
    for name, key in pairs:
        table = request.table(name)
        consistent = bool(request.body["RequestItems"][name].get("ConsistentRead"))
        item = table.view(consistent=consistent).get(table.key_of(key))
        size += size_of(item or {})
        if size > BATCH_GET_BYTES:
            break
        found.append((name, item))
    return found


def batch_write_item(request: Request) -> Body:
    """Carry out up to 25 puts and deletes; those left out by the script stay unprocessed."""
    wanted: dict[str, list[Body]] = request.body["RequestItems"]
    pairs = [(name, write) for name, writes in wanted.items() for write in writes]
    _check_count(pairs, BATCH_WRITES, "BatchWriteItem")
    for name, writes in wanted.items():
        _check_writes(request.table(name), writes)
    units = dict.fromkeys(wanted, 0.0)
    done = request.processed(len(pairs))
    for name, write in pairs[:done]:
        table = request.table(name)
        item = write["PutRequest"]["Item"] if "PutRequest" in write else None
        key = table.key_of(write["DeleteRequest"]["Key"] if item is None else item)
        units[name] += write_units(table.get(key), item)
        store(table, key, item)
    left = _by_table(pairs[done:])
    return {"UnprocessedItems": left, **consumed_list(request.body, units)}


def _check_count(pairs: list[Any], most: int, operation: str) -> None:
    if not pairs:
        raise invalid("1 validation error detected: Value at 'requestItems' must not be empty")
    if len(pairs) > most:
        raise invalid(f"Too many items requested for the {operation} call")


def _check_writes(table: ScriptedTable, writes: list[Body]) -> None:
    keys = []
    for write in writes:
        match write:
            case {"PutRequest": {"Item": item}}:
                table.check_item(item)
                keys.append(table.wire_key_of(item))
            case {"DeleteRequest": {"Key": key}}:
                keys.append(key)
            case _:
                raise invalid("Supplied AttributeValue is empty, must contain a PutRequest or DeleteRequest")
    _refuse_duplicates(table, keys)


def _refuse_duplicates(table: ScriptedTable, keys: list[Item]) -> None:
    for key in keys:
        table.check_key(key)
    if len({table.key_of(key) for key in keys}) != len(keys):
        raise invalid("Provided list of item keys contains duplicates")


def _by_table(pairs: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = {}
    for name, entry in pairs:
        grouped.setdefault(name, []).append(entry)
    return grouped
