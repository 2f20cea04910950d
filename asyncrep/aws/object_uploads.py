"""Writes an object of any size to S3 in bounded memory: in one piece if it is small, else part by part."""

from __future__ import annotations

import asyncio
import io
import secrets
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from asyncrep.errors import ServiceError
from asyncrep.flow.tasks import task_group, to_its_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from asyncrep.aws.bucket import Bucket

SMALLEST_PART = 5 * 1024 * 1024
"""What S3 wants of every part but the last."""

_SHARE = 1200
"""A part is at least this share of what was written before it: so 10,000 parts, which S3 takes, hold 5 TB."""

_FAREWELL_SECONDS = 20.0
"""How long what was begun may take to end, or to be taken back, when the upload is cancelled."""

_LARGEST_PLAIN = 512 * 1024
"""Larger bodies are handed over as files, of which only a little at a time waits to be sent."""

_MARK = "asyncrep-upload"
"""In an object's metadata: which upload wrote it, in case its answer gets lost."""


def part_size(written: int) -> int:
    """Return how large a part is that follows so many bytes."""
    return max(SMALLEST_PART, written // _SHARE)


class _SharedBody(io.BytesIO):
    """A file in memory that shares it with ``data``. aiohttp asks for its buffer, which would copy all of it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._data = data

    def getbuffer(self) -> memoryview:
        """Return what it holds."""
        return memoryview(self._data)


def body_of(data: bytes) -> bytes | io.BytesIO:
    """Return a body as the client should send it; a file shares the memory of ``data``."""
    return data if len(data) <= _LARGEST_PLAIN else _SharedBody(data)


class PartedUpload:
    """An object on its way to S3: a part is sent while the next one fills. See ``asyncrep.storage.Upload``.

    Args:
        bucket: where to.
        key: its whole name.
        label: it as people call it.
        if_absent: only if there is none of that name when it is whole.
        group: where parts are sent.
    """

    def __init__(
        self, bucket: Bucket, key: str, label: str, *, if_absent: bool, group: asyncio.TaskGroup
    ) -> None:
        self._bucket = bucket
        self._key = key
        self._label = label
        self._condition: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        self._group = group
        self._mark = {_MARK: secrets.token_hex(8)}
        self._filling = io.BytesIO()
        self._sending: asyncio.Task[None] | None = None
        self._sent = 0
        self._id: str | None = None
        self._parts: list[dict[str, Any]] = []

    @property
    def size(self) -> int:
        """How many bytes were written so far."""
        return self._sent + self._filling.tell()

    async def write(self, data: bytes) -> None:
        """Write some more; waits while two parts are held."""
        left = memoryview(data)
        while left:
            room = part_size(self._sent) - self._filling.tell()
            self._filling.write(left[:room])
            left = left[room:]
            if part_size(self._sent) <= self._filling.tell():
                await self._send()

    async def _send(self) -> None:
        """Send what has filled, when the part before it is through."""
        await self._wait()
        await self._begin()
        await self._bucket.sending.acquire()  # until then nothing fills: of all uploads few hold two parts
        part, self._filling = self._filling, io.BytesIO()
        self._sent += part.tell()
        self._parts.append({"PartNumber": len(self._parts) + 1})
        self._sending = self._group.create_task(self._send_part(part, self._parts[-1]))
        self._sending.add_done_callback(lambda _: self._bucket.sending.release())

    async def _wait(self) -> None:
        if self._sending is not None:
            await asyncio.wait([self._sending])
            self._sending.result()
            self._sending = None

    async def _begin(self) -> None:
        if self._id is not None:
            return

        async def attempt() -> None:
            answer = await self._bucket.client.create_multipart_upload(
                **self._bucket.target,
                **self._bucket.encryption,
                Key=self._key,
                Metadata=self._mark,
                ChecksumAlgorithm="CRC32",
            )
            self._id = answer["UploadId"]

        await self._whole("CreateMultipartUpload", attempt)

    async def _send_part(self, part: io.BytesIO, told: dict[str, Any]) -> None:
        async def attempt() -> None:
            part.seek(0)  # it is sent as it is: aiohttp would copy a buffer that is anybody else's as well
            answer = await self._bucket.client.upload_part(
                **self._bucket.target,
                **self._upload,
                PartNumber=told["PartNumber"],
                Body=part,
                ChecksumAlgorithm="CRC32",
            )
            told["ETag"] = answer["ETag"]
            if "ChecksumCRC32" in answer:
                told["ChecksumCRC32"] = answer["ChecksumCRC32"]

        await self._bucket.call("UploadPart", self._label, attempt)

    @property
    def _upload(self) -> dict[str, Any]:
        return {"Key": self._key, "UploadId": self._id}

    async def finish(self) -> None:
        """Make the object appear.

        Raises:
            ConditionFailedError: there is one already.
            ServiceError: as they say.
        """
        if self._id is None:
            await self._or_found(self._put)
            return
        if self._filling.tell():
            await self._send()
        await self._wait()
        await self._or_found(self._complete)

    async def _put(self) -> None:
        async def attempt() -> None:
            self._filling.seek(0)
            await self._bucket.client.put_object(
                **self._bucket.target,
                **self._bucket.encryption,
                **self._condition,
                Key=self._key,
                Body=self._filling,
                Metadata=self._mark,
            )

        await self._whole("PutObject", attempt)

    async def _complete(self) -> None:
        async def attempt() -> None:
            await self._bucket.client.complete_multipart_upload(
                **self._bucket.target,
                **self._upload,
                **self._condition,
                MultipartUpload={"Parts": self._parts},  # type: ignore[typeddict-item]
            )

        await self._whole("CompleteMultipartUpload", attempt)

    async def _or_found(self, finish: Callable[[], Awaitable[None]]) -> None:
        """Run what makes the object appear; if a try of it got no answer, the object itself may tell."""
        try:
            await finish()
        except ServiceError as error:
            if not error.maybe_done or not await self._is_there():
                raise

    async def _is_there(self) -> bool:
        async def attempt() -> bool:
            answer = await self._bucket.client.head_object(**self._bucket.target, Key=self._key)
            return answer.get("Metadata", {}).items() >= self._mark.items()

        with suppress(ServiceError):  # nothing is told: so the first error stands
            return await self._bucket.call("HeadObject", self._label, attempt)
        return False

    async def _whole(self, operation: str, attempt: Callable[[], Awaitable[None]]) -> None:
        """Make a call that would leave something behind if it was cancelled in the middle."""
        await to_its_end(self._bucket.call(operation, self._label, attempt), _FAREWELL_SECONDS)

    async def abort(self) -> None:
        """Take back what was sent; what cannot be is left to the bucket's rules."""
        if self._id is None:
            return

        async def attempt() -> None:
            await self._bucket.client.abort_multipart_upload(**self._bucket.target, **self._upload)

        async def within_time() -> None:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._bucket.call("AbortMultipartUpload", self._label, attempt)

        with suppress(ServiceError, TimeoutError):
            await to_its_end(within_time(), _FAREWELL_SECONDS)


@asynccontextmanager
async def uploading(bucket: Bucket, key: str, label: str, *, if_absent: bool) -> AsyncIterator[PartedUpload]:
    """Open an upload: the object is there when the block has ended well, and else nothing of it is left."""
    upload: PartedUpload | None = None
    try:
        async with task_group() as group:
            upload = PartedUpload(bucket, key, label, if_absent=if_absent, group=group)
            yield upload
            await upload.finish()
    except BaseException:
        if upload is not None:
            await upload.abort()
        raise
