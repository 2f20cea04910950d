"""Objects in S3: put and deleted under conditions, looked at, read, listed. Tried again like DynamoDB's calls."""

from __future__ import annotations

import re
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from asyncrep.aws.bucket import Bucket
from asyncrep.aws.object_leftovers import abort_uploads
from asyncrep.aws.object_lists import list_entries, list_folders, list_versions, tell_kinds
from asyncrep.aws.object_reads import Reading
from asyncrep.aws.object_uploads import body_of, uploading
from asyncrep.aws.openers import open_s3_client
from asyncrep.errors import ConditionFailedError, PermissionDeniedError, ServiceError
from asyncrep.flow.clock import SystemClock
from asyncrep.flow.retry import RetryPolicy
from asyncrep.location import S3Place
from asyncrep.options import S3Access
from asyncrep.storage import ObjectHead

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Collection,
        Mapping,
        Sequence,
    )
    from contextlib import AbstractAsyncContextManager

    import aioboto3

    from asyncrep.flow.clock import Clock
    from asyncrep.storage import Entry, Upload, Version

T = TypeVar("T")

_RETRY = RetryPolicy(attempts=6, patience=60.0)
_MOST_REMOVED = 1000
"""The most names that one DeleteObjects takes."""

_UNTOLD = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]")
"""Characters that XML 1.0 has not, or makes others of: DeleteObjects cannot name what has them in its name."""

_PASSING = frozenset({"InternalError", "ServiceUnavailable", "SlowDown"})
"""What becomes of single objects of a DeleteObjects, and says nothing of the next try."""


class Objects:
    """The objects under one place in S3: a ``Storage``. Make one with ``open_objects``.

    Attributes:
        place: where they are.
    """

    def __init__(self, bucket: Bucket, place: S3Place) -> None:
        self.place = place
        self._bucket = bucket

    @property
    def label(self) -> str:
        """The place as ``s3://BUCKET/PREFIX``."""
        return str(self.place)

    def under(self, name: str) -> Objects:
        """Return the objects under a place within this one, reached in the same way."""
        name = name.strip("/")
        place = S3Place(self.place.bucket, self.place.under(name) if name else self.place.prefix)
        return Objects(self._bucket, place)

    def name_of(self, name: str) -> str:
        """Return an object of this place as ``s3://BUCKET/PREFIX/NAME``."""
        return f"s3://{self.place.bucket}/{self.place.under(name)}"

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
            return await self._bucket.calls.put_object(
                **self._bucket.target,
                **self._bucket.encryption,
                Key=self.place.under(name),
                Body=body_of(data),
                **more,
            )

        return await self._under_condition("PutObject", attempt)

    async def head(self, name: str) -> ObjectHead | None:
        """Look at an object; None when there is none.

        S3 answers that without a body, and so does not tell a missing bucket from a missing object: where it
        matters, ask ``check``.

        Raises:
            PermissionDeniedError, UnreachableError, ThrottledError: as they say.
        """

        async def attempt() -> ObjectHead:
            answer = await self._bucket.calls.head_object(**self._bucket.target, Key=self.place.under(name))
            modified = answer["LastModified"].timestamp() if "LastModified" in answer else 0.0
            return ObjectHead(answer["ETag"], answer.get("Metadata", {}), answer["ContentLength"], modified)

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
            await self._bucket.calls.list_objects_v2(
                **self._bucket.target, Prefix=self.place.under(""), MaxKeys=1
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
            await self._bucket.calls.delete_object(
                **self._bucket.target, Key=self.place.under(name), **condition
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
            return await self._bucket.calls.get_object(**self._bucket.target, Key=self.place.under(name))

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

    async def read(self, name: str) -> AsyncGenerator[bytes, None]:
        """Yield what an object holds, in pieces; see ``asyncrep.storage.Storage.read``.

        Raises:
            ConditionFailedError: it was replaced meanwhile.
            ServiceError: there is no such object, or it could not be read to its end.
        """
        reading = Reading(self._bucket, self.place.under(name), self.name_of(name))
        try:
            while piece := await reading.piece():
                yield piece
        finally:
            reading.close()

    async def entries(self, prefix: str = "", *, after: str = "") -> AsyncGenerator[Entry, None]:
        """Yield objects, a page at a time; see ``asyncrep.storage.Storage.entries``.

        Raises:
            BucketNotFoundError, PermissionDeniedError, UnreachableError, ThrottledError: as they say.
        """
        async with aclosing(list_entries(self._bucket, self.place, prefix, after)) as entries:
            async for entry in entries:
                yield entry

    async def names(self, prefix: str = "") -> AsyncGenerator[str, None]:
        """Yield the names that begin with ``prefix``; see ``entries``."""
        async with aclosing(self.entries(prefix)) as entries:
            async for entry in entries:
                yield entry.name

    async def folders(self, prefix: str = "") -> list[str]:
        """Return the places directly within this one; see ``asyncrep.storage.Storage.folders``."""
        return await list_folders(self._bucket, self.place, prefix)

    async def versions(self, prefix: str = "") -> AsyncGenerator[Version, None]:
        """Yield all versions; see ``asyncrep.storage.Storage.versions``."""
        async with aclosing(list_versions(self._bucket, self.place, prefix)) as versions:
            async for version in versions:
                yield version

    async def get_version(self, version: Version) -> bytes:
        """Read what one version holds.

        Raises:
            ServiceError: it is not there any more, or a mark that says that the object was deleted.
        """

        async def attempt() -> bytes:
            body, _ = await self._bucket.calls.get_object(
                **self._bucket.target, Key=self.place.under(version.name), VersionId=version.version_id
            )
            return body

        return await self._bucket.call("GetObjectVersion", self.name_of(version.name), attempt)

    def upload(self, name: str, *, if_absent: bool = False) -> AbstractAsyncContextManager[Upload]:
        """Write an object of any size; see ``asyncrep.storage.Storage.upload``.

        Up to 5 MiB it is one request; two parts of at least 5 MiB are held of anything larger.

        Raises:
            ConditionFailedError: with ``if_absent``, there is one of that name already.
            BucketNotFoundError, PermissionDeniedError, UnreachableError, ThrottledError: as they say.
        """
        return uploading(self._bucket, self.place.under(name), self.name_of(name), if_absent=if_absent)

    async def forget_uploads(self, names: Collection[str]) -> int:
        """Abort uploads of these names; see ``asyncrep.storage.Storage.forget_uploads``.

        Raises:
            PermissionDeniedError, UnreachableError, ThrottledError: as they say.
        """
        return await abort_uploads(self._bucket, self.place, names)

    async def remove(self, names: Sequence[str]) -> None:
        """Remove objects; those that are not there are no error.

        Raises:
            ServiceError: some could not be removed; the sentence names the first of them.
        """
        told: list[str] = []
        untold: list[str] = []
        for name in names:
            (untold if _UNTOLD.search(self.place.under(name)) else told).append(name)
        for start in range(0, len(told), _MOST_REMOVED):
            await self._remove(told[start : start + _MOST_REMOVED])
        for name in untold:
            await self.delete(name)

    async def _remove(self, names: list[str]) -> None:
        """Remove as many as one request takes; what fails in passing, each by itself, is tried again."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 - with the AWS libraries only

        keys = [self.place.under(name) for name in names]

        async def attempt() -> list[Any]:
            answer = await self._bucket.client.delete_objects(
                **self._bucket.target,
                Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
            )
            failed = answer.get("Errors", [])
            passing = [each for each in failed if each["Code"] in _PASSING]
            if passing and len(passing) == len(failed):
                keys[:] = [each["Key"] for each in passing]
                told: Any = {"Error": passing[0], "ResponseMetadata": {"HTTPStatusCode": 503}}
                raise ClientError(told, "DeleteObjects")
            return failed

        failed = await self._retried("DeleteObjects", attempt)
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
        return await self._bucket.call(operation, self.label, attempt)


@asynccontextmanager
async def open_objects(
    place: S3Place,
    *,
    access: S3Access | None = None,
    session: aioboto3.Session | None = None,
    retry: RetryPolicy | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Objects]:
    """Open a place in S3; nothing is asked yet.

    Args:
        place: where the objects are.
        access: how it is reached; by default as the environment says.
        session: an aioboto3 session of the caller's, instead of the profile of ``access``.
        retry: how failed calls are tried again.
        clock: where time comes from.

    Raises:
        UsageError: the role or the endpoint is malformed.
        CredentialsError: the profile does not exist, or the role cannot be assumed.
    """
    access = access or S3Access()
    async with open_s3_client(str(place), access, session=session) as client:
        tell_kinds(client)
        bucket = Bucket.of(client, place.bucket, access, retry or _RETRY, clock or SystemClock())
        yield Objects(bucket, place)
