"""Sends messages to an SQS queue. Tried again like DynamoDB's calls."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from asyncrep.aws.attempts import retried
from asyncrep.aws.openers import open_sqs_client
from asyncrep.errors import LocationError
from asyncrep.flow.clock import SystemClock
from asyncrep.flow.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aioboto3
    from types_aiobotocore_sqs import SQSClient

    from asyncrep.flow.clock import Clock

LARGEST_MESSAGE = 1024 * 1024
"""The most bytes that a message may have; a queue may be set to take less."""

_RETRY = RetryPolicy(attempts=6, patience=60.0)
_SERVICE_HOST = re.compile(
    r"(?:sqs(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|api\.aws)"
    r"|([a-z0-9-]+)\.queue\.amazonaws\.com(?:\.cn)?|queue\.amazonaws\.com)"
)
_QUEUE_PATH = re.compile(r"/(?:[0-9]{12}|queue)/[A-Za-z0-9_-]{1,80}(?:\.fifo)?")


@dataclass(frozen=True, slots=True)
class QueueRef:
    """The location of one queue.

    Attributes:
        url: the queue's URL, as SQS tells it.
        region: its Region, None when the URL leaves it to the environment.
        endpoint_url: the endpoint to talk to, None for the Region's own.
    """

    url: str
    region: str | None = None
    endpoint_url: str | None = None

    @classmethod
    def parse(cls, text: str) -> QueueRef:
        """Read the URL of a queue.

        Raises:
            LocationError: it is none.
        """
        try:
            parts = urlsplit(text)
            host = parts.hostname or ""
            sound = parts.scheme in {"http", "https"} and parts.username is None and parts.port != 0
        except ValueError as error:
            raise LocationError(f'"{text}" is not the URL of a queue: {error}.') from error
        # Neither of what may follow a path belongs to a queue.
        if not sound or any(parts[3:]) or not _QUEUE_PATH.fullmatch(parts.path):
            raise LocationError(
                "This is not the URL of a queue; it looks like "
                "https://sqs.us-east-1.amazonaws.com/123456789012/NAME."
            )
        service = _SERVICE_HOST.fullmatch(host)
        if service is None:
            return cls(text, None, f"{parts.scheme}://{parts.netloc}")
        return cls(text, service[1] or service[2] or "us-east-1")

    @property
    def name(self) -> str:
        """The queue's name."""
        return urlsplit(self.url).path.split("/")[2]

    @property
    def account(self) -> str | None:
        """The account that its URL tells, None where an emulator tells none."""
        owner = urlsplit(self.url).path.split("/")[1]
        return owner if owner.isdecimal() else None

    @property
    def is_fifo(self) -> bool:
        """Whether the queue keeps messages in order and drops repeated ones."""
        return self.url.endswith(".fifo")

    def __str__(self) -> str:
        """Return the URL."""
        return self.url


class Queue:
    """A queue that messages are sent to. Make one with ``open_queue``.

    Attributes:
        ref: where it is.
    """

    def __init__(self, client: SQSClient, ref: QueueRef, retry: RetryPolicy, clock: Clock) -> None:
        self.ref = ref
        self._client = client
        self._retry = retry
        self._clock = clock

    async def send(self, body: str, *, group: str, once: str) -> None:
        """Send a message; the queue holds it when this returns.

        Args:
            body: the text; XML's forbidden characters must not be in it.
            group: within which a FIFO queue keeps the order.
            once: what tells this message from others: a FIFO queue drops repeated ones.

        Raises:
            RejectedError: the queue does not take this message, for one because of its size.
            PermissionDeniedError, UnreachableError, ThrottledError, ServiceError: as they say.
        """
        await retried(
            "SendMessage", self.ref.url, lambda: self._attempt(body, group, once), self._retry, self._clock
        )

    async def _attempt(self, body: str, group: str, once: str) -> None:
        if self.ref.is_fifo:
            await self._client.send_message(
                QueueUrl=self.ref.url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=once
            )
        else:
            await self._client.send_message(QueueUrl=self.ref.url, MessageBody=body)


@asynccontextmanager
async def open_queue(
    ref: QueueRef,
    *,
    session: aioboto3.Session | None = None,
    profile: str | None = None,
    role_arn: str | None = None,
    retry: RetryPolicy | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Queue]:
    """Open a queue; nothing is asked yet.

    Args:
        ref: where it is.
        session: an aioboto3 session of the caller's.
        profile: a profile of the AWS config files, when no session is given.
        role_arn: a role to assume first.
        retry: how failed calls are tried again.
        clock: where time comes from.

    Raises:
        UsageError: the role or the endpoint is malformed.
        CredentialsError: the profile does not exist, or the role cannot be assumed.
    """
    async with open_sqs_client(
        ref.url,
        region=ref.region,
        endpoint_url=ref.endpoint_url,
        session=session,
        profile=profile,
        role_arn=role_arn,
    ) as client:
        yield Queue(client, ref, retry or _RETRY, clock or SystemClock())
