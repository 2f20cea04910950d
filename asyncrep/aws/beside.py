"""Looks at and makes tables beside an open one: by its connection, in its Region and account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.aws.capacity import Budget
from asyncrep.aws.describe import describe
from asyncrep.errors import ServiceError, TableNotFoundError, UnreachableError
from asyncrep.options import Limits

if TYPE_CHECKING:
    from asyncrep.aws.client import WireClient
    from asyncrep.model import KeyAttribute, TableSettings

_CREATION_SECONDS = 300.0
_POLL_SECONDS = 1.0


class Neighbour:
    """A table that is reached by the client of another one; it need not exist. See ``Table.beside``."""

    def __init__(self, client: WireClient) -> None:
        self._client = client
        self._budget = Budget(Limits(), client.clock)  # these calls take no capacity units

    async def settings(self) -> TableSettings:
        """Return its description.

        Raises:
            TableNotFoundError: there is no such table, or it is not in a state to be read.
            ServiceError: it could not be read.
        """
        return await describe(self._client, self._budget)

    async def create(self, key: KeyAttribute) -> None:
        """Make it, on demand, and wait until it is there; somebody else may make it at the same time.

        Raises:
            UnreachableError: it is not there after five minutes.
            ServiceError: it could not be made.
        """
        try:
            await self._client.ask(
                "CreateTable",
                "create_table",
                self._budget,
                TableName=self._client.name,
                AttributeDefinitions=[{"AttributeName": key.name, "AttributeType": key.type}],
                KeySchema=[{"AttributeName": key.name, "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
            )
        except ServiceError as error:
            if error.code != "ResourceInUseException":
                raise
        await self._wait()

    async def expire_by(self, attribute: str) -> None:
        """Switch its TTL on; somebody else may do so at the same time.

        Raises:
            ServiceError: it could not be switched on.
        """
        try:
            await self._client.ask(
                "UpdateTimeToLive",
                "update_time_to_live",
                self._budget,
                TableName=self._client.name,
                TimeToLiveSpecification={"Enabled": True, "AttributeName": attribute},
            )
        except ServiceError as error:
            # It is on already, or was changed a moment ago: the service's words for that differ.
            if error.code != "ValidationException" or (await self.settings()).ttl_attribute != attribute:
                raise

    async def _wait(self) -> None:
        clock = self._client.clock
        until = clock.monotonic() + _CREATION_SECONDS
        while True:
            try:
                await self.settings()
            except TableNotFoundError:
                if clock.monotonic() >= until:
                    raise UnreachableError(
                        f"The table {self._client.label} was made and is still not there after "
                        f"{_CREATION_SECONDS:.0f} s."
                    ) from None
                await clock.sleep(_POLL_SECONDS)
            else:
                return
