"""The table that is read near by and written at its primary, with the calls of aioboto3's Table."""

from __future__ import annotations

import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from asyncrep.aws.resource import PythonItem, ResourceTable, open_resource_table
from asyncrep.errors import UnreachableError, UsageError
from asyncrep.flow.clock import SystemClock
from asyncrep.flow.retry import RetryPolicy
from asyncrep.flow.tasks import side_by_side
from asyncrep.location import TableRef
from asyncrep.progress import Silent
from asyncrep.split.batch import BatchWriter
from asyncrep.split.conditions import hash_value
from asyncrep.split.outage import Outage
from asyncrep.split.pages import Place, has_same_order, items_of_all, place_in
from asyncrep.split.recent import RecentWrites

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    import aioboto3

    from asyncrep.flow.clock import Clock
    from asyncrep.progress import Observer
    from asyncrep.split.recent import KeyValues

T = TypeVar("T")
Answer = dict[str, Any]

_RETRY = RetryPolicy(attempts=5, silences=3, patience=10.0, longest=2.0)
_KEYS_PER_BATCH = 100
_WRITES = ("Put", "Update", "Delete")


class SplitTable:
    """One table in two Regions: reads go to the near replica, writes to the primary. Made by ``open_split_table``.

    The calls are those of aioboto3's Table resource, with its parameters (``Key={"id": "a"}``) and its
    answers. What fails raises asyncrep's errors (``ConditionFailedError`` for a condition that does not
    hold); botocore's exception, with all that the service answered, is their cause.
    """

    def __init__(
        self,
        primary: ResourceTable,
        replica: ResourceTable,
        key_attributes: Sequence[str],
        recent: RecentWrites | None,
        outage: Outage | None,
    ) -> None:
        self._primary = primary
        self._replica = replica
        self._key_attributes = tuple(key_attributes)
        self._recent = recent
        self._outage = outage

    async def get_item(self, *, Key: Mapping[str, Any], **parameters: Any) -> Answer:
        """Read one item; the answer has no ``Item`` where there is none.

        ``ConsistentRead=True`` reads the primary: a strong read of a replica proves nothing about it.
        """
        return await self._read_one("get_item", self._was_written(Key), {"Key": Key, **parameters})

    async def batch_get_item(
        self, *, Keys: Iterable[Mapping[str, Any]], ConsistentRead: bool = False, **parameters: Any
    ) -> list[PythonItem]:
        """Read any number of items by key; return those that exist, in any order and each once.

        Takes what an entry of BatchGetItem's ``RequestItems`` takes, and asks again for what the service
        leaves unprocessed.
        """
        sides: dict[bool, list[Mapping[str, Any]]] = {True: [], False: []}
        for key in self._distinct(Keys):
            sides[ConsistentRead or self._was_written(key)].append(key)

        async def read(some: list[Mapping[str, Any]], *, from_primary: bool) -> list[PythonItem]:
            return await self._read(
                from_primary,
                lambda table: table.get_batch(some, ConsistentRead=from_primary, **parameters),
            )

        found = await side_by_side(
            read(some, from_primary=from_primary)
            for from_primary, keys in sides.items()
            for some in _cut(keys, _KEYS_PER_BATCH)
        )
        return [item for items in found for item in items]

    async def query(self, **parameters: Any) -> Answer:
        """Query one page; ``LastEvaluatedKey`` in the answer says that there is more.

        Handed back as ``ExclusiveStartKey`` that key leads on at the side that answered, as with ``scan``; but
        from the replica a query of the table itself, in the order of its range key, may also go on at the primary.
        """
        return await self._read_page("query", self._may_concern_written(parameters), parameters)

    async def scan(self, **parameters: Any) -> Answer:
        """Scan one page; ``LastEvaluatedKey`` in the answer says that there is more.

        That key belongs to the side that answered, for each has an order of its own. Handed back as it is, as
        ``ExclusiveStartKey``, it leads on there, whatever was written or went out of reach meanwhile. A copy of
        it, as one that was JSON for a while, does not know its side: then have ``ConsistentRead=True`` for every
        page, or neither ``read_your_writes`` nor ``fall_back``, or items may be lost and come twice.

        Raises:
            UnreachableError: also with ``fall_back``, of a page that is not the first one: begin again.
        """
        written = self._recent is not None and self._recent.has_any()
        return await self._read_page("scan", written, parameters)

    def query_all(self, **parameters: Any) -> AsyncIterator[PythonItem]:
        """Yield the items of all pages of a query; ``Limit`` is for each page.

        What begins at the primary stays there. What begins at the replica goes on at the primary once that is
        called for, by an outage or a write; a query of an index does not, as a scan does not.
        """
        return items_of_all(self.query, parameters)

    def scan_all(self, **parameters: Any) -> AsyncIterator[PythonItem]:
        """Yield the items of all pages of a scan; ``Limit`` is for each page.

        All are of the side that the first one is of. So of what is written meanwhile through this object it need
        not see anything, and where the replica goes out of reach meanwhile, it fails also with ``fall_back``.

        Raises:
            UnreachableError: after some of the items perhaps: begin again.
        """
        return items_of_all(self.scan, parameters)

    async def put_item(self, *, Item: Mapping[str, Any], **parameters: Any) -> Answer:
        """Put an item in the primary."""
        return await self._write("put_item", Item, {"Item": Item, **parameters})

    async def update_item(self, *, Key: Mapping[str, Any], **parameters: Any) -> Answer:
        """Update an item of the primary, or make it."""
        return await self._write("update_item", Key, {"Key": Key, **parameters})

    async def delete_item(self, *, Key: Mapping[str, Any], **parameters: Any) -> Answer:
        """Delete an item of the primary."""
        return await self._write("delete_item", Key, {"Key": Key, **parameters})

    async def transact_write_items(
        self, *, TransactItems: Sequence[Mapping[str, Any]], **parameters: Any
    ) -> Answer:
        """Write several items of the primary, all or none. Actions that name no table are on this one.

        As with boto3, conditions are text here: ``Attr`` is not understood in transactions.
        """
        actions = [
            {kind: {"TableName": self._primary.name, **action} for kind, action in entry.items()}
            for entry in TransactItems
        ]
        # Tried again under one token, so that it is carried out once.
        token = parameters.pop("ClientRequestToken", None) or str(uuid.uuid4())
        try:
            return await self._primary.call(
                "transact_write_items", TransactItems=actions, ClientRequestToken=token, **parameters
            )
        finally:
            for action in actions:
                for kind in _WRITES:
                    if kind in action and self._primary.may_be(action[kind]["TableName"]):
                        self._note(action[kind].get("Item") or action[kind].get("Key") or {})

    def batch_writer(self) -> BatchWriter:
        """Return a context manager that puts and deletes items of the primary in batches of 25."""
        return BatchWriter(self._primary, self._key_of, self._note)

    async def _read_page(self, method: str, is_written: bool, parameters: dict[str, Any]) -> Answer:
        place = place_in(parameters)
        if place is None or parameters.get("ConsistentRead"):
            return await self._read_one(method, is_written, parameters)
        if place.is_primary:
            return await self._read_one(method, is_written, parameters, from_primary=True)
        if has_same_order(method, parameters):
            return await self._read_one(method, is_written, parameters)
        return await self._read_on(method, parameters)

    async def _read_one(
        self, method: str, is_written: bool, parameters: dict[str, Any], *, from_primary: bool = False
    ) -> Answer:
        if is_written and "IndexName" not in parameters:  # of an index there may be no strong read
            parameters = {**parameters, "ConsistentRead": True}
        from_primary = from_primary or is_written or bool(parameters.get("ConsistentRead"))
        return await self._read(from_primary, lambda table: self._ask(table, method, parameters))

    async def _read_on(self, method: str, parameters: dict[str, Any]) -> Answer:
        """Read a further page of the replica, even one that is left alone: nobody else can go on."""
        try:
            answer = await self._ask(self._replica, method, parameters)
        except UnreachableError as error:
            if self._outage is None:
                raise
            self._outage.began(error)
            message = f"A {method} that began at the replica cannot go on at the primary, so begin it again: {error}"
            raise UnreachableError(message, code=error.code) from error.__cause__
        if self._outage is not None:
            self._outage.is_over()
        return answer

    async def _ask(self, table: ResourceTable, method: str, parameters: Mapping[str, Any]) -> Answer:
        answer = await table.call(method, TableName=table.name, **parameters)
        if last := answer.get("LastEvaluatedKey"):
            answer["LastEvaluatedKey"] = Place(last, is_primary=table is self._primary)
        return answer

    async def _read(self, from_primary: bool, read: Callable[[ResourceTable], Awaitable[T]]) -> T:
        if from_primary:
            return await read(self._primary)
        if self._outage is None:
            return await read(self._replica)
        if self._outage.may_ask():
            try:
                answer = await read(self._replica)
            except UnreachableError as error:
                self._outage.began(error)
            else:
                self._outage.is_over()
                return answer
        return await read(self._primary)

    async def _write(self, method: str, item: Mapping[str, Any], parameters: dict[str, Any]) -> Answer:
        try:
            return await self._primary.call(method, TableName=self._primary.name, **parameters)
        finally:  # what failed, or was cancelled, may have been carried out all the same
            self._note(item)

    def _note(self, item: Mapping[str, Any]) -> None:
        key = self._key_of(item)
        if self._recent is not None and key is not None:
            self._recent.note(key)

    def _was_written(self, key: Mapping[str, Any]) -> bool:
        values = self._key_of(key)
        return self._recent is not None and values is not None and self._recent.has(values)

    def _may_concern_written(self, parameters: Mapping[str, Any]) -> bool:
        if self._recent is None or not self._recent.has_any():
            return False
        wanted = None if "IndexName" in parameters else hash_value(parameters, self._key_attributes[0])
        return wanted is None or self._recent.has_under(_hashable(wanted))

    def _key_of(self, item: Mapping[str, Any]) -> KeyValues | None:
        """Return the values of an item's key; None where it has none, which the service will refuse."""
        if not all(name in item for name in self._key_attributes):
            return None
        return tuple(_hashable(item[name]) for name in self._key_attributes)

    def _distinct(self, keys: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the keys without those that come again, for which the service would refuse the batch."""
        return list({self._key_of(key) or object(): key for key in keys}.values())


def _hashable(value: Any) -> Any:
    """Return a key's value so that equal ones are found again; boto3's Binary holds its bytes."""
    inner = getattr(value, "value", value)
    try:
        hash(inner)
    except TypeError:
        return bytes(inner) if isinstance(inner, bytearray) else repr(inner)
    return inner


def _cut(keys: Sequence[Mapping[str, Any]], most: int) -> Iterable[list[Mapping[str, Any]]]:
    left = iter(keys)
    while some := list(islice(left, most)):
        yield some


@asynccontextmanager
async def open_split_table(
    primary: str | TableRef,
    replica: str | TableRef,
    *,
    session: aioboto3.Session | None = None,
    replica_session: aioboto3.Session | None = None,
    endpoint_url: str | None = None,
    primary_role_arn: str | None = None,
    replica_role_arn: str | None = None,
    read_your_writes: float | None = None,
    fall_back: bool = False,
    retry: RetryPolicy | None = None,
    observer: Observer | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[SplitTable]:
    """Open a table that is read near by and written at its primary.

    Args:
        primary: where writes go: ``REGION/TABLE``, an ARN, ``HOST:PORT/TABLE`` or ``http(s)://HOST:PORT/TABLE``.
        replica: where reads go.
        session: an aioboto3 session of the caller's; it is used as it is and not changed.
        replica_session: one for the replica, if that needs another.
        endpoint_url: the endpoint, for locations that do not name one.
        primary_role_arn: a role to assume for the primary.
        replica_role_arn: a role to assume for the replica.
        read_your_writes: for how many seconds after a write through this object reads that it concerns go
            to the primary: of its key; queries of its hash key; scans, and queries of indexes or with a
            condition that does not tell the hash key, after any write. They are strong reads, but those of
            indexes, which the primary brings up to date a little later. Writes of other objects and other
            processes are not known here, and a replica may lag for longer.
        fall_back: read the primary while the replica cannot be reached, which is tried again every ten
            seconds. Scans, and queries of indexes, that have begun at the replica fail instead.
        retry: how failed calls are tried again; a replica with ``fall_back`` is tried twice at the most.
        observer: is told when the replica goes out of reach, and when it answers again.
        clock: where time comes from.

    Raises:
        LocationError: a location is of no known form.
        UsageError: the tables have different keys, or there is no such time as ``read_your_writes``.
        CredentialsError, PermissionDeniedError, TableNotFoundError, UnreachableError: as they say.

    Example:
        >>> async with open_split_table(
        ...     "us-east-1/orders", "eu-west-1/orders", read_your_writes=5
        ... ) as table:
        ...     await table.put_item(Item={"id": "a", "total": 12})
        ...     answer = await table.get_item(Key={"id": "a"})
        ...     print(answer["Item"]["total"])
        ...     async for order in table.scan_all():
        ...         print(order["id"])
    """
    if read_your_writes is not None and not 0 <= read_your_writes < float("inf"):
        raise UsageError(f"Seconds to read one's writes in cannot be {read_your_writes}.")
    ours, theirs = (
        place if isinstance(place, TableRef) else TableRef.parse(place, endpoint_url=endpoint_url)
        for place in (primary, replica)
    )
    clock, retry = clock or SystemClock(), retry or _RETRY
    impatient = replace(retry, attempts=min(retry.attempts, 2), silences=1) if fall_back else retry
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(
                open_resource_table(ref, session=given, role_arn=role, retry=policy, clock=clock)
            )
            for ref, given, role, policy in (
                (ours, session, primary_role_arn, retry),
                (theirs, replica_session or session, replica_role_arn, impatient),
            )
        ]
        outage = Outage(second.label, clock, observer or Silent()) if fall_back else None
        key_attributes, replica_key = await side_by_side(
            [first.key_attributes(), _key_attributes(second, outage)]
        )
        if replica_key is not None and replica_key != key_attributes:
            raise UsageError(
                f"{first.label} and {second.label} are no copies: one has the key {', '.join(key_attributes or ())}, "
                f"the other {', '.join(replica_key)}."
            )
        recent = RecentWrites(read_your_writes, clock) if read_your_writes else None
        yield SplitTable(first, second, key_attributes or (), recent, outage)


async def _key_attributes(replica: ResourceTable, outage: Outage | None) -> tuple[str, ...] | None:
    """Return the replica's, None where it cannot be reached and need not."""
    try:
        return await replica.key_attributes()
    except UnreachableError as error:
        if outage is None:
            raise
        outage.began(error)
        return None
