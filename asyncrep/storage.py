"""Places that hold named objects: a prefix in S3, or a folder. The protocol of both, and its values."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager


class Entry(NamedTuple):
    """An object as a listing tells of it.

    Attributes:
        name: relative to the place that was listed.
        size: in bytes, as stored.
        etag: changes with the content.
        modified: when it was written, in seconds since the epoch; S3 tells whole seconds.
    """

    name: str
    size: int
    etag: str
    modified: float


class ObjectHead(NamedTuple):
    """What is told of an object without handing it out.

    Attributes:
        etag: changes with the content; two objects, or versions, of one content may have the same.
        metadata: what was put with it, by names in lower case.
        size: in bytes, as stored.
        modified: when it was written, in seconds since the epoch; S3 tells whole seconds.
    """

    etag: str
    metadata: Mapping[str, str]
    size: int = 0
    modified: float = 0.0


class Version(NamedTuple):
    """One version of an object in a bucket that keeps versions, or the mark that it was deleted.

    Attributes:
        name: relative to the place that was listed.
        version_id: what S3 calls it.
        modified: when it came to be, in seconds since the epoch; S3 tells whole seconds.
        is_deletion: it is a delete marker and has no content.
        is_latest: it is what the object is now.
        size: in bytes, as stored.
        etag: changes with the content.
    """

    name: str
    version_id: str
    modified: float
    is_deletion: bool
    is_latest: bool
    size: int = 0
    etag: str = ""


class Upload(Protocol):
    """An object that is being written, piece by piece; nobody sees it before the whole is there."""

    @property
    def size(self) -> int:
        """How many bytes were written so far."""

    async def write(self, data: bytes) -> None:
        """Write some more, waiting as long as memory or the network wants it."""


class Storage(Protocol):
    """The objects under one place. Names are relative to it and have ``/`` between their parts.

    Methods raise what its kind of place can raise: ``ServiceError`` for S3, ``StorageError`` for a folder.
    """

    @property
    def label(self) -> str:
        """The place as people call it: ``s3://BUCKET/PREFIX`` or a path."""

    def under(self, name: str) -> Self:
        """Return a place within this one, reached in the same way."""

    def name_of(self, name: str) -> str:
        """Return an object of this place as people call it."""

    async def check(self) -> None:
        """Make sure that the place can be listed: that there is the bucket, or the folder."""

    def entries(self, prefix: str = "", *, after: str = "") -> AsyncIterator[Entry]:
        """Yield all objects whose names begin with ``prefix``, in the order of their names' UTF-8 bytes.

        Those of places within this one, too. With ``after`` only names that come behind it.
        """

    async def folders(self, prefix: str = "") -> list[str]:
        """Return the places directly within this one whose names begin with ``prefix``; no trailing slash."""

    async def head(self, name: str) -> ObjectHead | None:
        """Look at an object; None when there is none."""

    async def get(self, name: str) -> tuple[bytes, str] | None:
        """Read a whole object; return what it holds and its ETag, None when there is none."""

    def read(self, name: str) -> AsyncIterator[bytes]:
        """Yield what an object holds, in pieces of some 100 KB to 1 MB.

        A connection that breaks is taken up where it broke, of the same content; if the object has been
        replaced since, that is a ``ConditionFailedError``. One that is not there is a ``ServiceError`` or
        ``StorageError``.
        """

    async def put(
        self,
        name: str,
        data: bytes,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """Write a whole object and return its ETag; see ``asyncrep.aws.objects.Objects.put``."""

    def upload(self, name: str, *, if_absent: bool = False) -> AbstractAsyncContextManager[Upload]:
        """Write an object of any size in bounded memory. Nothing is there, and nothing left, if the block fails."""

    async def forget_uploads(self, names: Collection[str]) -> int:
        """Remove what was sent of objects with these names by processes that were killed.

        Only whoever knows that nobody else writes them may ask for it.

        Returns:
            How many uploads there were.
        """

    async def delete(self, name: str, *, if_match: str | None = None) -> None:
        """Delete one object."""

    async def remove(self, names: Sequence[str]) -> None:
        """Remove objects; those that are not there are no error."""

    def versions(self, prefix: str = "") -> AsyncIterator[Version]:
        """Yield all versions of the objects whose names begin with ``prefix``.

        By name, in the order of ``entries``, and those of one object the newest first.

        Raises:
            UsageError: this place keeps no versions.
        """

    async def get_version(self, version: Version) -> bytes:
        """Read what one version holds."""
