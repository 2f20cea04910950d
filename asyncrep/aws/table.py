"""A DynamoDB table as the rest of asyncrep sees it: a Source and a Destination."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from asyncrep.aws.beside import Neighbour
from asyncrep.aws.capacity import Budget
from asyncrep.aws.client import WireClient
from asyncrep.aws.describe import creating, describe, legacy_global_regions, stream_of
from asyncrep.aws.read import BatchReader, Projection
from asyncrep.aws.scan import PageSizes, holds_any_item, scan_pages
from asyncrep.aws.session import open_client
from asyncrep.aws.transact import Transactor
from asyncrep.aws.write import Writer
from asyncrep.flow.clock import SystemClock
from asyncrep.flow.retry import RetryPolicy
from asyncrep.items.keys import KeyReader
from asyncrep.location import TableRef
from asyncrep.options import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import aioboto3
    from msgspec import Raw

    from asyncrep.aws.transact import Action, Transacted
    from asyncrep.flow.clock import Clock
    from asyncrep.flow.purse import Account
    from asyncrep.model import KeyedImage, Meter, Page, Segment, Source, TableSettings
    from asyncrep.mutation import ItemState, Mutation, Outcome

# A wrong host should not take a minute to say so; it is silent, or fails every time.
_OPENING_ATTEMPTS = 8
_OPENING_SILENCES = 3
_OPENING_SECONDS = 30.0


class Table:
    """An open table. Make one with ``open_table``; it is good for any number of runs, also at once.

    Attributes:
        ref: where it is, as its user wrote it.
        region: the Region its requests are signed for.
        settings: the table's description, read when it was opened.
        keys: reads the canonical keys of this table's items.
        meter: what was consumed through this object.
    """

    def __init__(
        self,
        client: WireClient,
        ref: TableRef,
        region: str,
        settings: TableSettings,
        budget: Budget,
    ) -> None:
        self.ref = ref
        self.region = region
        self.settings = settings
        self.keys = KeyReader(settings.schema)
        self._client = client
        self._budget = budget
        self._page_sizes = PageSizes()
        self._projection = Projection(settings.schema)
        self._reader = BatchReader(self.keys)
        self._writer = Writer(self.keys)
        self._transactor = Transactor()

    @property
    def label(self) -> str:
        """The table as its user named it."""
        return str(self.ref)

    @property
    def request_name(self) -> str:
        """The table as requests name it: its name, or its ARN where it was named by one."""
        return self._client.name

    @property
    def meter(self) -> Meter:
        """What was consumed through this object."""
        return self._budget.meter

    @property
    def clock(self) -> Clock:
        """The clock that passes the time between tries."""
        return self._client.clock

    def limited(self, limits: Limits, account: Account | None = None) -> Table:
        """Return the same table for one run: with its own limits and account, and a meter at zero."""
        budget = Budget(limits.within(self.settings.capacity), self._client.clock, account)
        return Table(self._client, self.ref, self.region, self.settings, budget)

    def beside(self, ref: TableRef) -> Neighbour:
        """Return another table of the same Region and account, for this table's connection."""
        return Neighbour(self._client.of(ref.arn or ref.table, str(ref)))

    def is_same_as(self, other: Source) -> bool:
        """Tell whether both are one and the same table under two names, so far as can be told."""
        if not isinstance(other, Table):
            return False
        if self.identity == other.identity:
            return True
        mine, others = self.settings.table_id, other.settings.table_id
        return mine is not None and mine == others

    @property
    def identity(self) -> tuple[object, ...]:
        """What tells this table from others: the ARN knows the account, and emulators' ARNs no Region."""
        return (self.ref.endpoint_url, self.region, self.settings.name, self.settings.arn)

    async def copies_to(self, other: Source) -> bool | None:
        """Tell whether both are members of one global table, of either version; None: may not be asked."""
        if not isinstance(other, Table) or self.settings.name != other.settings.name:
            return False  # the members of a global table have one name
        regions = self.settings.replica_regions or await legacy_global_regions(
            self._client, self.settings.name, self._budget
        )
        return None if regions is None else other.region in regions

    async def description(self) -> dict[str, Any]:
        """Return the parameters of CreateTable, but for the name, that would make a table like this one is now."""
        return await creating(self._client, self._budget)

    async def stream_now(self) -> str | None:
        """Return the ARN of the stream that the table has at this moment; ``settings`` tell of an earlier one."""
        return await stream_of(self._client, self._budget)

    async def is_empty(self) -> bool:
        """Tell by strongly consistent reads whether the table holds no item at all."""
        return not await holds_any_item(self._client, self._budget)

    def key(self, image: Raw | bytes) -> bytes:
        """Return the canonical key of one of this table's images; see ``asyncrep.items.keys``."""
        return self.keys.key(image)

    def pages(
        self, segment: Segment, *, keys_only: bool = False, after: bytes | None = None
    ) -> AsyncIterator[Page]:
        """Yield every page of one segment, or those after a key; see ``asyncrep.aws.scan``."""
        projection = self._projection if keys_only else None
        return scan_pages(self._client, segment, self._budget, self._page_sizes, projection, after)

    async def get(
        self, keys: Sequence[bytes], *, consistent: bool, keys_only: bool = False
    ) -> dict[bytes, Raw]:
        """Return the images of those of the distinct ``keys`` (any number) that exist, by key."""
        return await self._reader.get(
            self._client, self._budget, keys, consistent=consistent, keys_only=keys_only
        )

    async def apply(self, mutation: Mutation) -> Outcome:
        """Write one item under its precondition; see ``asyncrep.aws.write.Writer.apply``."""
        return await self._writer.apply(self._client, self._budget, mutation)

    async def write_all(self, states: Sequence[KeyedImage | ItemState]) -> None:
        """Put and delete items without precondition; see ``asyncrep.aws.write.Writer.write_all``."""
        await self._writer.write_all(self._client, self._budget, states)

    async def transact(self, actions: Sequence[Action]) -> Transacted:
        """Carry out all actions, also on tables beside this one, or none; see ``asyncrep.aws.transact``."""
        return await self._transactor.transact(self._client, self._budget, actions)


@asynccontextmanager
async def open_table(
    location: str | TableRef,
    *,
    session: aioboto3.Session | None = None,
    endpoint_url: str | None = None,
    profile: str | None = None,
    role_arn: str | None = None,
    retry: RetryPolicy | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Table]:
    """Open a table by its location and read its settings.

    Args:
        location: ``REGION/TABLE``, an ARN, ``HOST:PORT/TABLE`` or ``http(s)://HOST:PORT/TABLE``.
        session: an aioboto3 session of the caller's; it is used as it is and not changed.
        endpoint_url: the endpoint, for locations that do not name one.
        profile: a profile of the AWS config files, when no session is given.
        role_arn: a role to assume first.
        retry: how failed calls are tried again.
        clock: where time comes from.

    Raises:
        LocationError: the location is of no known form.
        CredentialsError, PermissionDeniedError, TableNotFoundError, UnreachableError: as they say.

    Example:
        >>> async with open_table("us-east-1/orders") as table:
        ...     print(table.settings.schema)
    """
    ref = location if isinstance(location, TableRef) else TableRef.parse(location, endpoint_url=endpoint_url)
    retry = retry or RetryPolicy()
    clock = clock or SystemClock()
    async with open_client(ref, session=session, profile=profile, role_arn=role_arn) as client:
        name = ref.arn or ref.table
        opening = replace(
            retry,
            attempts=min(retry.attempts, _OPENING_ATTEMPTS),
            silences=min(retry.silences, _OPENING_SILENCES),
            patience=min(retry.patience, _OPENING_SECONDS),
        )
        settings = await describe(WireClient(client, name, str(ref), opening, clock), Budget(Limits(), clock))
        region: str = client.meta.region_name
        ready = WireClient(client, name, str(ref), retry, clock)
        yield Table(ready, ref, region, settings, Budget(Limits(), clock))
