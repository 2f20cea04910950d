"""The two forms in which a dump is written: JSON lines with our manifests, and the layout of AWS's own exports.

A form says how the objects are named, what their lines are, and what is written once all of them are whole. Up to
then it is kept in both how far the dump is: a manifest beside (or, in an export, apart from) each object.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from asyncrep.backup.layout import (
    MANIFEST,
    DumpManifest,
    dump_of,
    manifest_bytes,
    read_dump_manifest,
    segment_manifest_name,
    segment_of_manifest,
)
from asyncrep.backup.lines import compact_lines
from asyncrep.errors import BackupError, ConditionFailedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec import Raw

    from asyncrep.backup.layout import SegmentManifest
    from asyncrep.storage import Storage


class Form(Protocol):
    """How a dump is written."""

    needs_md5: bool
    """Its manifests tell the MD5 of each object."""

    def new_job_id(self, now: float) -> str:
        """Return a name for a dump that is begun now, as no other has."""

    def folder(self, job_id: str) -> str:
        """Return where a dump is within its destination."""

    def object_name(self, segment: int) -> str:
        """Return the name of a segment's object within the dump."""

    def manifest_name(self, segment: int) -> str:
        """Return the name of the manifest of that object."""

    def segment_of(self, name: str) -> int | None:
        """Return which segment a manifest of this name is of; None when it is none."""

    @property
    def last_name(self) -> str:
        """The name of what is written last: with it the dump is whole."""

    def lines(self, images: Sequence[Raw]) -> bytes:
        """Return items of one page as the lines of an object."""

    async def begin(self, place: Storage) -> None:
        """Write what there is to be before the first segment."""

    async def conclude(self, place: Storage, segments: list[SegmentManifest], source: str) -> None:
        """Write what says that the dump is whole; several processes may do so at once.

        Raises:
            BackupError: the segments do not belong together.
        """


class JsonLines:
    """An object with the number of each segment; see ``asyncrep.backup.layout``."""

    needs_md5 = False
    last_name = MANIFEST

    def new_job_id(self, now: float) -> str:
        """Return the time in UTC, and a few digits that tell two of one second apart."""
        return f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"

    def folder(self, job_id: str) -> str:
        """Return the job id."""
        return job_id

    def object_name(self, segment: int) -> str:
        """Return the segment's number."""
        return str(segment)

    def manifest_name(self, segment: int) -> str:
        """Return the name beside it."""
        return segment_manifest_name(segment)

    def segment_of(self, name: str) -> int | None:
        """Return the number in the name."""
        return segment_of_manifest(name)

    def lines(self, images: Sequence[Raw]) -> bytes:
        """Return an item a line."""
        return compact_lines(images, one_writer=True)

    async def begin(self, place: Storage) -> None:
        """Write nothing."""

    async def conclude(self, place: Storage, segments: list[SegmentManifest], source: str) -> None:
        """Write the dump's manifest."""
        await put_once(place, MANIFEST, dump_of(segments, source))


async def put_once(place: Storage, name: str, manifest: DumpManifest) -> None:
    """Write a manifest, unless another process has written the same one at the same time.

    One that tells of other objects is replaced: some were lost since, and were dumped again.
    """
    document = manifest_bytes(manifest)
    try:
        await place.put(name, document, if_absent=True)
    except ConditionFailedError:
        found = await place.get(name)
        if found is None:
            raise
        if not _tells_of(found[0], place.name_of(name), manifest):
            await place.put(name, document, if_match=found[1])


def _tells_of(document: bytes, name: str, manifest: DumpManifest) -> bool:
    """Whether what is stored is a manifest of the same objects; who has written it does not matter."""
    try:
        return read_dump_manifest(document, name).parts == manifest.parts
    except BackupError:
        return False
