"""Goes through the pages of a query or a scan, and keeps in mind which side each place in it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from asyncrep.aws.resource import PythonItem


class Place(dict[str, Any]):
    """A ``LastEvaluatedKey`` that knows which side it is of; otherwise it is the plain key, and equal to it.

    Attributes:
        is_primary: whether the primary answered with it, and not the replica.
    """

    def __init__(self, key: Mapping[str, Any], *, is_primary: bool) -> None:
        super().__init__(key)
        self.is_primary = is_primary


def place_in(parameters: Mapping[str, Any]) -> Place | None:
    """Return where a page begins if that tells its side; None for a first page and for a plain key."""
    start = parameters.get("ExclusiveStartKey")
    return start if isinstance(start, Place) else None


def has_same_order(method: str, parameters: Mapping[str, Any]) -> bool:
    """Tell whether both sides give these pages in one order, so that either goes on where the other ended.

    A query of the table does: it is in the order of the range key, which no two of its items share. The order
    of a scan, and of items that are alike in an index's range key, is each table's own.
    """
    return method == "query" and "IndexName" not in parameters


async def items_of_all(
    page: Callable[..., Awaitable[dict[str, Any]]], parameters: Mapping[str, Any]
) -> AsyncIterator[PythonItem]:
    """Yield the items of a page and of all that follow it.

    Args:
        page: asks for one page.
        parameters: those of the first page.
    """
    place: dict[str, Any] = {}
    while True:
        answer = await page(**{**parameters, **place})
        for item in answer.get("Items", ()):
            yield item
        if "LastEvaluatedKey" not in answer:
            return
        place = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
