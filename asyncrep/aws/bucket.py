"""One bucket in S3 as it is reached: what every call says of it, and how calls are tried again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from asyncrep.aws.attempts import retried
from asyncrep.aws.object_calls import ObjectCalls
from asyncrep.flow.permission import check_permitted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from types_aiobotocore_s3 import S3Client

    from asyncrep.flow.clock import Clock
    from asyncrep.flow.retry import RetryPolicy
    from asyncrep.options import S3Access

T = TypeVar("T")

_PARTS_AT_ONCE = 2
"""Parts of all uploads that are sent at once; each is 5 MiB at least, which S3 takes in a moment."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket and the client that reaches it.

    Attributes:
        client: botocore's; it makes a single attempt.
        calls: the small calls, which cost less than with the client.
        target: the parameters that say which bucket a call means, and whose it must be.
        encryption: the parameters of what is put that say how it is encrypted.
        retry: how failed calls are tried again.
        clock: where time comes from.
        sending: a slot for each part of an upload that is sent while the next one fills.
    """

    client: S3Client
    calls: ObjectCalls
    target: dict[str, Any]
    encryption: dict[str, Any]
    retry: RetryPolicy
    clock: Clock
    sending: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_PARTS_AT_ONCE))

    @classmethod
    def of(cls, client: S3Client, name: str, access: S3Access, retry: RetryPolicy, clock: Clock) -> Bucket:
        """Return a bucket, as an access says."""
        target = {"Bucket": name}
        if access.bucket_owner is not None:
            target["ExpectedBucketOwner"] = access.bucket_owner
        encryption: dict[str, Any] = {}
        if access.kms_key is not None:
            encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": access.kms_key}
        return cls(client, ObjectCalls(client), target, encryption, retry, clock)

    async def call(self, operation: str, place: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Run ``attempt``, each time only if it may be sent; see ``asyncrep.aws.attempts.retried``."""

        async def permitted() -> T:
            check_permitted()
            return await attempt()

        return await retried(operation, place, permitted, self.retry, self.clock)
