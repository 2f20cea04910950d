"""One table whose calls take and return values of Python, as those of aioboto3's Table do."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asyncrep.aws.attempts import retried
from asyncrep.aws.openers import open_resource
from asyncrep.errors import RejectedError, ThrottledError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    import aioboto3

    from asyncrep.flow.clock import Clock
    from asyncrep.flow.retry import RetryPolicy
    from asyncrep.location import TableRef

PythonItem = dict[str, Any]
"""An item, or its key, in values of Python: str, Decimal or int, bytes, bool, None, set, list and dict."""


class ResourceTable:
    """A table in values of Python. Make one with ``open_resource_table``; nothing is asked until it is called.

    Attributes:
        label: the table as its user named it.
        name: the table's name or ARN, as requests name it.
        clock: passes the time between tries.
    """

    def __init__(self, client: Any, ref: TableRef, retry: RetryPolicy, clock: Clock) -> None:
        self.label = str(ref)
        self.name = ref.arn or ref.table
        self.clock = clock
        self._table = ref.table
        self._client = client
        self._retry = retry

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the client, as ``put_item``, and return its answer; tried again like any call.

        Raises:
            RejectedError: these are no parameters of it, or the service calls them invalid.
            ServiceError: the call failed for good; botocore's exception is its cause.
        """
        from botocore.exceptions import ParamValidationError  # noqa: PLC0415 - whoever opened it has it loaded

        bound = getattr(self._client, method)
        operation = "".join(word.title() for word in method.split("_"))

        async def attempt() -> dict[str, Any]:
            try:
                return dict(await bound(**parameters))
            except ParamValidationError as error:
                sentence = " ".join(str(error).split())
                raise RejectedError(f"{operation} on {self.label}: {sentence}") from error

        return await retried(operation, self.label, attempt, self._retry, self.clock)

    def may_be(self, name: Any) -> bool:
        """Tell whether a request that names a table so may mean this one: by its name or by an ARN.

        Tables of other accounts may have the same name; that it is none of them cannot be told.
        """
        return str(name).rpartition("/")[2] == self._table

    async def key_attributes(self) -> tuple[str, ...]:
        """Return the names of the key's attributes, the hash key's first.

        Raises:
            ServiceError: the table cannot be described.
        """
        description = await self.call("describe_table", TableName=self.name)
        return tuple(entry["AttributeName"] for entry in description["Table"]["KeySchema"])

    async def get_batch(self, keys: Sequence[Mapping[str, Any]], **parameters: Any) -> list[PythonItem]:
        """Return those items of up to 100 keys that exist, in any order.

        Raises:
            ThrottledError: some were still unprocessed when the patience was over.
            ServiceError: the call failed for good.
        """
        found: list[PythonItem] = []

        async def ask(request: Any) -> Any:
            answer = await self.call("batch_get_item", RequestItems={self.name: request})
            for items in answer["Responses"].values():
                found.extend(items)
            return answer.get("UnprocessedKeys")

        await self._until_processed("BatchGetItem", {"Keys": keys, **parameters}, ask)
        return found

    async def write_batch(self, requests: Sequence[Mapping[str, Any]]) -> None:
        """Carry out up to 25 puts and deletions, each of another item.

        Raises:
            ThrottledError: some were still unprocessed when the patience was over.
            ServiceError: the call failed for good.
        """

        async def ask(request: Any) -> Any:
            answer = await self.call("batch_write_item", RequestItems={self.name: request})
            return answer.get("UnprocessedItems")

        await self._until_processed("BatchWriteItem", requests, ask)

    async def _until_processed(self, operation: str, request: Any, ask: Any) -> None:
        waited, tries = 0.0, 0
        while unprocessed := await ask(request):
            [request] = unprocessed.values()
            if waited >= self._retry.patience:
                raise ThrottledError(f"{operation} on {self.label} is still throttled after every retry.")
            tries += 1
            delay = self._retry.delay(tries)
            await self.clock.sleep(delay)
            waited += delay


@asynccontextmanager
async def open_resource_table(
    ref: TableRef,
    *,
    session: aioboto3.Session | None,
    role_arn: str | None,
    retry: RetryPolicy,
    clock: Clock,
) -> AsyncIterator[ResourceTable]:
    """Open a table for calls in values of Python; nothing is asked yet.

    Args:
        ref: where it is.
        session: an aioboto3 session of the caller's; it is used as it is and not changed.
        role_arn: a role to assume first.
        retry: how failed calls are tried again.
        clock: where time comes from.

    Raises:
        UsageError: the role or the endpoint is malformed.
        CredentialsError: there are no credentials, or the role cannot be assumed.
    """
    async with open_resource(ref, session=session, role_arn=role_arn) as resource:
        yield ResourceTable(resource.meta.client, ref, retry, clock)
