"""Sends raw request bodies to one table's endpoint and tries again what can be tried again."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from asyncrep.aws.errors import Cure, cure, is_silence, raise_translated
from asyncrep.aws.table_calls import TableCalls
from asyncrep.errors import BudgetExhaustedError, LeaseLostError
from asyncrep.flow.patience import paused
from asyncrep.flow.permission import check_permitted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from types_aiobotocore_dynamodb import DynamoDBClient

    from asyncrep.aws.capacity import Budget, Cost, Direction
    from asyncrep.flow.clock import Clock
    from asyncrep.flow.retry import RetryPolicy

T = TypeVar("T")

_READS = frozenset({"Scan", "BatchGetItem", "GetItem"})


class WireClient:
    """A DynamoDB client for one table that speaks bytes.

    Args:
        client: made by ``asyncrep.aws.session.open_client``.
        name: the table's name or ARN, as requests name it.
        label: the table as the user named it, for messages.
        retry: how often and after how long a failed call is tried again.
        clock: passes the time between tries.
        calls: those of ``client``; made anew when they are not given.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        name: str,
        label: str,
        retry: RetryPolicy,
        clock: Clock,
        calls: TableCalls | None = None,
    ) -> None:
        self.name = name
        self.label = label
        self.retry = retry
        self.clock = clock
        self._client = client
        self._calls = calls or TableCalls(client)

    def of(self, name: str, label: str) -> WireClient:
        """Return one for another table of the same endpoint."""
        return WireClient(self._client, name, label, self.retry, self.clock, self._calls)

    async def call(
        self, operation: str, body: bytes, decode: Callable[[bytes], T], budget: Budget, cost: Cost
    ) -> T:
        """Send ``body`` as it is and return what ``decode`` makes of the answer's body.

        The body was checked against its checksum before. An answer that cannot be decoded all the
        same, as from an endpoint that sends no checksums, is a damaged one and asked for again.

        Args:
            operation: as DynamoDB names it.
            body: the request.
            decode: reads the answer's body.
            budget: what the call may use; the caller charges it with what the answer says.
            cost: the units to wait for before each try, and the most it can take. A throttled try was a
                turn as well: were it given back, all who are throttled would go on at once.

        Raises:
            ServiceError: the call failed for good; see ``asyncrep.errors`` for which one says what.
            BudgetExhaustedError: it could pass the budget. Without a cause, nothing was carried out.
            LeaseLostError: it may not be sent (any more); see ``asyncrep.flow.permission``.
        """
        # Scans are bounded by the number of segments; all of them are meant to be under way at once.
        slot = nullcontext() if operation == "Scan" else budget.slots
        direction: Direction = "read" if operation in _READS else "write"

        async def attempt() -> T:
            await budget.spend(direction, cost.estimate)
            async with budget.reserved(direction, cost.most), slot:
                check_permitted()
                answer = await self._calls.call(operation, self.name, body)
            return decode(answer)

        return await self._retried(operation, attempt, budget, direction, self.retry)

    async def ask(
        self,
        operation: str,
        method: str,
        budget: Budget,
        *,
        retry: RetryPolicy | None = None,
        **parameters: Any,
    ) -> dict[str, Any]:
        """Make one of the rare calls that botocore may serialize and parse, as DescribeTable.

        Raises:
            ServiceError: the call failed for good.
        """
        bound = getattr(self._client, method)
        return await self._retried(operation, lambda: bound(**parameters), budget, None, retry or self.retry)

    async def _retried(
        self,
        operation: str,
        attempt: Callable[[], Awaitable[T]],
        budget: Budget,
        direction: Direction | None,
        retry: RetryPolicy,
    ) -> T:
        """Run ``attempt`` until it succeeds, fails for good, or the retry policy gives up."""
        failures = silences = throttles = 0
        lost: Exception | None = None  # a failure that does not tell whether the call was carried out
        waited = 0.0  # backing off only: how long its own pace keeps a call says nothing of the table
        while True:
            try:
                result = await attempt()
            except (BudgetExhaustedError, LeaseLostError) as error:
                raise error from lost
            except Exception as error:  # noqa: BLE001 - raised again, or tried again
                remedy = cure(error)
                if remedy is Cure.SLOW_DOWN:
                    budget.throttled(direction)
                    throttles += 1
                    hopeless = waited >= retry.patience
                else:
                    failures += 1
                    silences += is_silence(error)
                    lost = error if remedy is Cure.RETRY else lost  # any other answer says: not carried out
                    hopeless = remedy is Cure.NONE or failures >= retry.attempts or silences >= retry.silences
                delay = retry.delay(failures + throttles)
                if hopeless or not await paused(self.clock, delay):
                    raise_translated(error, operation, self.label, maybe_done=lost is not None)
                waited += delay
            else:
                budget.answered()
                return result
