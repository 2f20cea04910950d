"""Reads DynamoDB Streams: what shards a table's stream has, and the records of each, as raw JSON."""

from __future__ import annotations

import os
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from asyncrep.aws.attempts import retried
from asyncrep.aws.service_time import ServiceTime
from asyncrep.aws.session import BODY, open_streams_client
from asyncrep.errors import UnreachableError
from asyncrep.flow.clock import SystemClock
from asyncrep.flow.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import aioboto3
    from types_aiobotocore_dynamodbstreams import DynamoDBStreamsClient

    from asyncrep.flow.clock import Clock
    from asyncrep.location import TableRef

MOST_RECORDS = 1000
"""The most records that one GetRecords answers."""

_RETRY = RetryPolicy(attempts=8, silences=8, patience=120.0)


# ── Values ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard of a stream.

    Attributes:
        id: its name in the stream.
        parent: the shard that it continues, which may be trimmed by now; None for one without.
        first: the sequence number that it begins at; None where the service does not tell.
        last: the sequence number that it ends at; None as long as it is open.
    """

    id: str
    parent: str | None
    first: int | None
    last: int | None

    @property
    def is_closed(self) -> bool:
        """Whether no record will come to it any more."""
        return self.last is not None


@dataclass(frozen=True, slots=True)
class StreamDescription:
    """A stream as DescribeStream tells of it.

    Attributes:
        status: ENABLING, ENABLED, DISABLING or DISABLED; a disabled stream can be read until it is trimmed.
        view: which images its records hold (NEW_AND_OLD_IMAGES, NEW_IMAGE, OLD_IMAGE, KEYS_ONLY).
        shards: all of them, those of every page, in the order of the service.
    """

    status: str
    view: str
    shards: tuple[Shard, ...]

    @property
    def is_off(self) -> bool:
        """Whether nothing that is written comes to it any more; switched on again, the table has another stream."""
        return self.status in {"DISABLING", "DISABLED"}


@dataclass(frozen=True, slots=True)
class TrimHorizon:
    """Begin at the oldest record that the shard still has."""


@dataclass(frozen=True, slots=True)
class Latest:
    """Begin behind the youngest record that the shard has at this moment."""


@dataclass(frozen=True, slots=True)
class At:
    """Begin at the record with this sequence number; the service refuses one that is trimmed."""

    sequence: int


@dataclass(frozen=True, slots=True)
class After:
    """Begin behind the record with this sequence number; the service refuses one that is trimmed."""

    sequence: int


Start = TrimHorizon | Latest | At | After
"""Where in a shard to begin to read."""


class RecordsPage(NamedTuple):
    """What one GetRecords call answered: possibly no record, though more may follow.

    ``next`` is the iterator to go on with; None says that the shard has ended with these records.
    """

    records: list[msgspec.Raw]
    next: str | None


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────────


class Streams:
    """Reads the streams of one table. Make one with ``open_streams``.

    Every call is tried again like those on tables, throttles and damaged answers too.

    Attributes:
        label: the table as the user named it, for messages.
    """

    def __init__(self, client: DynamoDBStreamsClient, label: str, retry: RetryPolicy, clock: Clock) -> None:
        self.label = label
        self._client = client
        self._retry = retry
        self._clock = clock
        self._time = ServiceTime(clock)

    def now(self) -> float:
        """Return the service's seconds since the epoch, by which it stamps records, as its answers tell it."""
        return self._time.now()

    async def describe(self, stream_arn: str) -> StreamDescription:
        """Return the stream's status, its view and all its shards.

        The pages of the answer are no snapshot, and the service lists a shard's end before its
        children at times: who finds a closed shard without children should ask again.

        Raises:
            StreamNotFoundError: there is no such stream (any more).
            ServiceError: the call failed for good.
        """
        shards: dict[str, Shard] = {}
        parameters: dict[str, Any] = {"StreamArn": stream_arn}
        while True:
            answer = await self._asked("DescribeStream", self._client.describe_stream, parameters)
            stream = answer.get("StreamDescription")
            if stream is None:
                raise UnreachableError(f"What answers for the stream of {self.label} is not DynamoDB.")
            shards.update((entry["ShardId"], _shard(entry)) for entry in stream.get("Shards", []))
            if not stream.get("LastEvaluatedShardId"):
                return StreamDescription(
                    stream.get("StreamStatus", ""), stream.get("StreamViewType", ""), tuple(shards.values())
                )
            parameters["ExclusiveStartShardId"] = stream["LastEvaluatedShardId"]

    async def iterator(self, stream_arn: str, shard_id: str, start: Start) -> str:
        """Return an iterator, which can be used for fifteen minutes.

        Raises:
            DataTrimmedError: the record to start at or after is older than what the stream keeps.
            StreamNotFoundError: there is no such stream or shard (any more).
            ServiceError: the call failed for good.
        """
        parameters = {"StreamArn": stream_arn, "ShardId": shard_id, **_start_parameters(start)}
        answer = await self._asked("GetShardIterator", self._client.get_shard_iterator, parameters)
        if "ShardIterator" not in answer:
            raise UnreachableError(f"What answers for the stream of {self.label} is not DynamoDB.")
        iterator: str = answer["ShardIterator"]
        return iterator

    async def records(self, iterator: str, limit: int = MOST_RECORDS) -> RecordsPage:
        """Return the next records of a shard, at most ``limit`` and at most 1 MB of them.

        An iterator is not used up by a call: asked again, it answers the same records.

        Raises:
            IteratorExpiredError: it is older than fifteen minutes.
            DataTrimmedError: the records it points to are older than what the stream keeps.
            StreamNotFoundError: the shard or its stream is not there any more.
            ServiceError: the call failed for good.
        """

        async def attempt() -> RecordsPage:
            asked_at = self._clock.now()
            answer: Any = await self._client.get_records(ShardIterator=iterator, Limit=limit)
            self._time.learn(answer, asked_at)
            page = _decode_records(answer[BODY])
            return RecordsPage(page.Records, page.NextShardIterator)

        return await retried("GetRecords", self.label, attempt, self._retry, self._clock)

    async def _asked(
        self, operation: str, method: Callable[..., Awaitable[Any]], parameters: dict[str, Any]
    ) -> dict[str, Any]:
        async def attempt() -> dict[str, Any]:
            asked_at = self._clock.now()
            answer: dict[str, Any] = await method(**parameters)
            self._time.learn(answer, asked_at)
            return answer

        return await retried(operation, self.label, attempt, self._retry, self._clock)


@asynccontextmanager
async def open_streams(
    ref: TableRef,
    *,
    session: aioboto3.Session | None = None,
    endpoint_url: str | None = None,
    profile: str | None = None,
    role_arn: str | None = None,
    retry: RetryPolicy | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Streams]:
    """Open the streams of a table; nothing is asked yet.

    Args:
        ref: where the table is.
        session: an aioboto3 session of the caller's.
        endpoint_url: the endpoint of the streams; by default it follows from the table's, as
            ``streams_endpoint`` says.
        profile: a profile of the AWS config files, when no session is given.
        role_arn: a role to assume first.
        retry: how failed calls are tried again.
        clock: where time comes from.

    Raises:
        UsageError: the role or the endpoint is malformed.
        CredentialsError: the profile does not exist, or the role cannot be assumed.
    """
    async with open_streams_client(
        ref,
        session=session,
        endpoint_url=endpoint_url or streams_endpoint(ref.endpoint_url),
        profile=profile,
        role_arn=role_arn,
    ) as client:
        yield Streams(client, str(ref), retry or _RETRY, clock or SystemClock())


# ── Endpoints ───────────────────────────────────────────────────────────────────────────────────────

# Endpoints of tables that AWS's own endpoint rules name another of streams for: streams.dynamodb.REGION.amazonaws.com.
_OF_AWS = re.compile(
    r"(?:[0-9]{12}\.ddb|(dynamodb(?:-fips)?))(\.[a-z0-9-]+\.(amazonaws\.com(?:\.cn)?|api\.aws))"
)
_VPC_HOST = re.compile(r"vpce-.*\.(?:amazonaws\.com(?:\.cn)?|api\.aws)")


def streams_endpoint(of_tables: str | None) -> str | None:
    """Return where the streams of the tables of an endpoint are; None for the Region's own.

    An emulator serves both at one address, AWS does not. Of the environment's endpoints that of streams
    (AWS_ENDPOINT_URL_DYNAMODB_STREAMS, which botocore reads) goes before that of tables; nothing can be
    concluded from a VPC endpoint of tables.
    """
    has_own = bool(os.environ.get("AWS_ENDPOINT_URL_DYNAMODB_STREAMS"))
    of_tables = of_tables or (None if has_own else os.environ.get("AWS_ENDPOINT_URL_DYNAMODB"))
    host = urlsplit(of_tables or "").hostname or ""
    if _VPC_HOST.fullmatch(host):
        return None
    found = _OF_AWS.fullmatch(host)
    if found is None:
        return of_tables
    joint = "-" if found[3] == "api.aws" else "."
    return None if has_own else f"https://streams{joint}{found[1] or 'dynamodb'}{found[2]}"


# ── Wire ────────────────────────────────────────────────────────────────────────────────────────────


class _Records(msgspec.Struct):
    Records: list[msgspec.Raw]  # required: an empty answer of somebody else's is not a shard's end
    NextShardIterator: str | None = None


_decode_records = msgspec.json.Decoder(_Records).decode


def _shard(entry: dict[str, Any]) -> Shard:
    numbers = entry.get("SequenceNumberRange", {})
    return Shard(
        entry["ShardId"],
        entry.get("ParentShardId"),
        _sequence(numbers.get("StartingSequenceNumber")),
        _sequence(numbers.get("EndingSequenceNumber")),
    )


def _sequence(text: str | None) -> int | None:
    return int(text) if text else None


def _start_parameters(start: Start) -> dict[str, str]:
    match start:
        case TrimHorizon():
            return {"ShardIteratorType": "TRIM_HORIZON"}
        case Latest():
            return {"ShardIteratorType": "LATEST"}
        case At(sequence):
            return {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": str(sequence)}
        case After(sequence):
            return {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": str(sequence)}
