"""Reads an object of any size from S3, piece by piece, and goes on where a connection broke."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncrep.errors import UnreachableError

if TYPE_CHECKING:
    from asyncrep.aws.bucket import Bucket

_PIECE = 512 * 1024
"""Bytes of a piece; the last may be smaller."""


class Reading:
    """One object that is being read, all of it one content. Close it when it is not read to its end.

    Args:
        bucket: where it is.
        key: its whole name.
        label: it as people call it.
    """

    def __init__(self, bucket: Bucket, key: str, label: str) -> None:
        self._bucket = bucket
        self._key = key
        self._label = label
        self._etag = ""
        self._size: int | None = None  # not known yet
        self._position = 0
        self._body: Any = None
        self._held: list[bytes] = []
        self._held_bytes = 0

    async def piece(self) -> bytes:
        """Return the next piece, empty at the end. Whatever comes renews the patience with what does not.

        Raises:
            ServiceError: there is no such object, or it cannot be read any more.
            ConditionFailedError: it was replaced meanwhile.
        """
        return await self._bucket.call("GetObject", self._label, self._attempt)

    async def _attempt(self) -> bytes:
        try:
            await self._fill()
        except UnreachableError:  # what was read is not what was put
            self.close()
            raise
        except Exception:
            self.close()
            if not self._held:
                raise
        except BaseException:
            self.close()
            raise
        piece = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        return piece

    async def _fill(self) -> None:
        while self._held_bytes < _PIECE and self._position != self._size:
            if self._body is None:
                await self._open()
                continue  # now the size is known
            data = await self._body.read(_PIECE - self._held_bytes)
            if not data:
                raise ConnectionError("the answer ended early")
            self._held.append(data)
            self._held_bytes += len(data)
            self._position += len(data)
        if self._body is not None and self._position == self._size:
            await self._end()

    async def _open(self) -> None:
        more: dict[str, Any] = {}
        if self._size is not None:
            more = {"Range": f"bytes={self._position}-", "IfMatch": self._etag}
        answer = await self._bucket.client.get_object(**self._bucket.target, Key=self._key, **more)
        self._body = answer["Body"]
        if more and not answer.get("ContentRange", "").startswith(f"bytes {self._position}-"):
            raise UnreachableError(
                f"GetObject on {self._label}: the answer is another part than was asked for."
            )
        if self._size is None:
            self._etag, self._size = answer["ETag"], _size_of(answer, self._label)

    async def _end(self) -> None:
        """Read the end that follows the last byte: then the checksum is looked at, and the connection is free.

        Raises:
            UnreachableError: the checksum is another one. What was handed out cannot be taken back.
        """
        from botocore.exceptions import FlexibleChecksumError  # noqa: PLC0415 - with the AWS libraries only

        body = self._body
        try:
            await body.read(1)
        except FlexibleChecksumError as error:
            raise UnreachableError(f"GetObject on {self._label}: the answer was damaged: {error}") from error
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the connection."""
        body, self._body = self._body, None
        if body is not None:
            body.close()


def _size_of(answer: Any, label: str) -> int:
    """Return how many bytes an answer is to have; without that, one that breaks off may look whole."""
    size: int | None = answer.get("ContentLength")
    if size is None:
        raise UnreachableError(f"GetObject on {label}: the answer does not tell its size.")
    return size
