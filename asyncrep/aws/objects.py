"""Objects in S3: put and deleted under conditions, looked at, read, listed. Tried again like DynamoDB's calls."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from asyncrep.aws.attempts import retried
from asyncrep.aws.session import open_s3_client
from asyncrep.errors import ConditionFailedError, PermissionDeniedError, ServiceError
from asyncrep.flow.clock import SystemClock
from asyncrep.flow.permission import check_permitted
from asyncrep.flow.retry import RetryPolicy
from asyncrep.location import S3Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    import aioboto3
    from types_aiobotocore_s3 import S3Client

    from asyncrep.flow.clock import Clock

T = TypeVar("T")

_RETRY = RetryPolicy(attempts=6, patience=60.0)
_MOST_REMOVED = 1000
"""The most names that one DeleteObjects takes."""


class ObjectHead(NamedTuple):
    """What S3 tells of an object without handing it out.

    Attributes:
        etag: changes with the content; two objects, or versions, of one content may have the same.
        metadata: what was put with it, by names in lower case.
    """

    etag: str
    metadata: Mapping[str, str]


class Objects:
    """The objects under one place in S3. Names are relative to it. Make one with ``open_objects``.

    Attributes:
        place: where they are.
    """

    def __init__(self, client: S3Client, place: S3Place, retry: RetryPolicy, clock: Clock) -> None:
        self.place = place
        self._client = client
        self._retry = retry
        self._clock = clock

    def under(self, name: str) -> Objects:
        """Return the objects under a place within this one, reached in the same way."""
        place = S3Place(self.place.bucket, self.place.under(name))
        return Objects(self._client, place, self._retry, self._clock)

    async def put(
        self,
        name: str,
        data: bytes,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """Write a whole object and return its ETag.

        Args:
            name: which.
            data: what it is to hold.
            if_absent: only if there is none of that name.
            if_match: only if there is one with this ETag.
            metadata: is kept with it; all of it ASCII, and 2 KB at the most.

        Raises:
            ConditionFailedError: the condition does not hold. With ``maybe_done`` an earlier try got no
                answer, and may be what it does not hold for.
            BucketNotFoundError, PermissionDeniedError, UnreachableError, ThrottledError: as they say.
        """
        more: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        if if_match is not None:
            more["IfMatch"] = if_match
        if metadata is not None:
            more["Metadata"] = dict(metadata)

        async def attempt() -> str:
            answer = await self._client.put_object(
                Bucket=self.place.bucket, Key=self.place.under(name), Body=data, **more
            )
            return answer["ETag"]

        return await self._under_condition("PutObject", attempt)

    async def head(self, name: str) -> ObjectHead | None:
        """Look at an object; None when there is none.

        S3 answers that without a body, and so does not tell a missing bucket from a missing object: where it
        matters, ask ``check``.

        Raises:
            PermissionDeniedError, UnreachableError, ThrottledError: as they say.
        """

        async def attempt() -> ObjectHead:
            answer = await self._client.head_object(Bucket=self.place.bucket, Key=self.place.under(name))
            return ObjectHead(answer["ETag"], answer.get("Metadata", {}))

        try:
            return await self._retried("HeadObject", attempt)
        except ServiceError as error:
            if error.code == "404":
                return None
            if error.code != "403":
                raise
            if await self._lists(name):
                raise PermissionDeniedError(
                    f"HeadObject on {self.place}: the credentials lack s3:GetObject.", code="AccessDenied"
                ) from error
            return None

    async def check(self) -> None:
        """Make sure that there is the bucket, and that this place may be listed.

        Raises:
            BucketNotFoundError, PermissionDeniedError, UnreachableError, ThrottledError: as they say.
        """

        async def attempt() -> None:
            await self._client.list_objects_v2(
                Bucket=self.place.bucket, Prefix=self.place.under(""), MaxKeys=1
            )

        await self._retried("ListBucket", attempt)

    async def delete(self, name: str, *, if_match: str | None = None) -> None:
        """Delete one object; in a bucket that keeps versions, a mark says that it is gone.

        Args:
            name: which.
            if_match: only if there is one with this ETag.

        Raises:
            ConditionFailedError: the condition does not hold; see ``put``.
            BucketNotFoundError, PermissionDeniedError, UnreachableError, ThrottledError: as they say.
        """
        condition: dict[str, Any] = {} if if_match is None else {"IfMatch": if_match}

        async def attempt() -> None:
            await self._client.delete_object(
                Bucket=self.place.bucket, Key=self.place.under(name), **condition
            )

        await self._under_condition("DeleteObject", attempt)

    async def get(self, name: str) -> tuple[bytes, str] | None:
        """Read a whole object; return what it holds and its ETag, None when there is none.

        To those who may not list all of a bucket S3 tells a missing object as a missing permission; then
        the names are asked, of which those that begin like this one are enough.

        Raises:
            BucketNotFoundError, PermissionDeniedError, UnreachableError, ThrottledError: as they say.
        """

        async def attempt() -> tuple[bytes, str]:
            answer = await self._client.get_object(Bucket=self.place.bucket, Key=self.place.under(name))
            async with answer["Body"] as body:
                return await body.read(), answer["ETag"]

        try:
            return await self._retried("GetObject", attempt)
        except PermissionDeniedError:
            if await self._lists(name):
                raise
            return None
        except ServiceError as error:
            if error.code == "NoSuchKey":
                return None
            raise

    async def names(self, prefix: str = "") -> AsyncIterator[str]:
        """Yield the names that begin with ``prefix``, in the order of their UTF-8 bytes, a page at a time.

        Raises:
            BucketNotFoundError, PermissionDeniedError, UnreachableError, ThrottledError: as they say.
        """
        root = self.place.under("")
        token: dict[str, Any] = {}
        while True:

            async def attempt(token: dict[str, Any] = token) -> dict[str, Any]:
                answer = await self._client.list_objects_v2(
                    Bucket=self.place.bucket, Prefix=root + prefix, **token
                )
                return dict(answer)

            answer = await self._retried("ListBucket", attempt)
            for entry in answer.get("Contents", []):
                yield entry["Key"].removeprefix(root)
            if not answer.get("IsTruncated"):
                return
            token = {"ContinuationToken": answer["NextContinuationToken"]}

    async def remove(self, names: Sequence[str]) -> None:
        """Remove objects; those that are not there are no error.

        Raises:
            ServiceError: some could not be removed; the sentence names the first of them.
        """
        for start in range(0, len(names), _MOST_REMOVED):

            async def attempt(some: Sequence[str] = names[start : start + _MOST_REMOVED]) -> dict[str, Any]:
                answer = await self._client.delete_objects(
                    Bucket=self.place.bucket,
                    Delete={"Objects": [{"Key": self.place.under(name)} for name in some], "Quiet": True},
                )
                return dict(answer)

            failed = (await self._retried("DeleteObjects", attempt)).get("Errors", [])
            if failed:
                first = failed[0]
                raise ServiceError(
                    f"DeleteObjects on {self.place}: {len(failed)} objects could not be removed, "
                    f"{first['Key']!r} among them: {first['Code']}.",
                    code=first["Code"],
                )

    async def _under_condition(self, operation: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Run an attempt that has a condition: that there is no object any more fails it, too."""
        try:
            return await self._retried(operation, attempt)
        except ServiceError as error:
            if error.code != "NoSuchKey":
                raise
            failed = ConditionFailedError(str(error), code=error.code)
            failed.maybe_done = error.maybe_done
            raise failed from error

    async def _lists(self, name: str) -> bool:
        """Tell whether an object is there, by its name; only the names that begin like this one are asked."""
        return any([there == name async for there in self.names(name)])

    async def _retried(self, operation: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Run ``attempt``, each time only if it may be sent; see ``asyncrep.aws.attempts.retried``."""

        async def permitted() -> T:
            check_permitted()
            return await attempt()

        return await retried(operation, str(self.place), permitted, self._retry, self._clock)


@asynccontextmanager
async def open_objects(
    place: S3Place,
    *,
    region: str | None = None,
    session: aioboto3.Session | None = None,
    endpoint_url: str | None = None,
    profile: str | None = None,
    role_arn: str | None = None,
    retry: RetryPolicy | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Objects]:
    """Open a place in S3; nothing is asked yet.

    Args:
        place: where the objects are.
        region: the bucket's Region, which saves a redirection; by default the session's.
        session: an aioboto3 session of the caller's.
        endpoint_url: the endpoint; by default the environment's (AWS_ENDPOINT_URL_S3) or AWS's own.
        profile: a profile of the AWS config files, when no session is given.
        role_arn: a role to assume first.
        retry: how failed calls are tried again.
        clock: where time comes from.

    Raises:
        UsageError: the role or the endpoint is malformed.
        CredentialsError: the profile does not exist, or the role cannot be assumed.
    """
    async with open_s3_client(
        str(place),
        region=region,
        session=session,
        endpoint_url=endpoint_url,
        profile=profile,
        role_arn=role_arn,
    ) as client:
        yield Objects(client, place, retry or _RETRY, clock or SystemClock())
