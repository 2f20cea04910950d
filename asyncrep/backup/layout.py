"""How a dump is laid out: the names of its objects and what its manifests hold. Pure.

    PREFIX/JOBID/SEGMENT                  gzip, one compact wire-JSON item a line, ended by a line feed
    PREFIX/JOBID/SEGMENT.manifest.json    written when that object is whole
    PREFIX/JOBID/manifest.json            written when all segments are

dynamodb-replicator writes the first of these and nothing else, so dumps without manifests are read as well; but not
ours, which are known by the header of their gzip: one without any manifest was ended before the first of them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from asyncrep.errors import BackupError, UsageError
from asyncrep.version import __version__

FORMAT = 1
"""The number in a manifest; another one is another format."""

MANIFEST = "manifest.json"
SEGMENT = re.compile(r"0|[1-9][0-9]{0,6}", re.ASCII)
"""How the object of a segment is named: its number."""

_SEGMENT_MANIFEST = re.compile(r"(0|[1-9][0-9]{0,6})\.manifest\.json", re.ASCII)
_JOB_ID = re.compile(r"[A-Za-z0-9!_.*'()+=:@-]{1,200}", re.ASCII)

_encode = msgspec.json.Encoder().encode


class TableDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A table as a backup describes it: what it takes to make it again.

    Attributes:
        name: the table's name.
        arn: where it was; empty where nobody said.
        create: the parameters of CreateTable, without the name: AttributeDefinitions, KeySchema, indexes,
            billing, stream, encryption, class.
        ttl_attribute: where TTL was on, the attribute.
    """

    name: str
    arn: str = ""
    create: dict[str, Any]
    ttl_attribute: str | None = None


class SegmentManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one whole object of a dump.

    Attributes:
        asyncrep: what this is.
        job: the name of the dump.
        segment: which, of ``segments``.
        items: lines in it.
        bytes: of JSON lines, before compression.
        stored_bytes: of the object.
        sha256: of the object, hexadecimal.
        md5: of the object, Base64; only in exports, whose own manifests tell it.
        begun, ended: when it was scanned, ISO 8601 in UTC.
        at: the moment whose state it is, if that is not when it was scanned: a folder's as it was then.
        table: the table's description when it was.
        version: the asyncrep that wrote it.
    """

    asyncrep: str = "dump-segment"
    format: int = FORMAT
    job: str
    segment: int
    segments: int
    items: int
    bytes: int
    stored_bytes: int
    sha256: str
    begun: str
    ended: str
    at: str | msgspec.UnsetType = msgspec.UNSET
    table: TableDescription
    md5: str | msgspec.UnsetType = msgspec.UNSET
    version: str = __version__


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One object in the manifest of a whole dump; see ``SegmentManifest``."""

    name: str
    items: int
    bytes: int
    stored_bytes: int
    sha256: str


class DumpManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a whole dump, or of a snapshot, which is a dump of one part.

    Attributes:
        asyncrep: what this is.
        job: the name of the dump; of a snapshot, the name of its file.
        parts: its objects, in the order of their segments.
        items, bytes, stored_bytes: of all parts.
        begun, ended: when the first segment was begun and the last one ended, ISO 8601 in UTC.
        at: the moment whose state it is, if that is not when it was made: a folder's as it was then.
        table: the table's description; None for a snapshot.
        source: what was backed up, as people call it.
        version: the asyncrep that wrote it.
    """

    asyncrep: str = "dump"
    format: int = FORMAT
    job: str
    parts: list[Part]
    items: int
    bytes: int
    stored_bytes: int
    begun: str
    ended: str
    at: str | msgspec.UnsetType = msgspec.UNSET
    table: TableDescription | None = None
    source: str = ""
    version: str = __version__


def moment(stamp: str) -> datetime:
    """Read a time of a manifest, ISO 8601; without a zone it is UTC.

    Raises:
        ValueError: it is none.
    """
    read = datetime.fromisoformat(stamp)
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def as_of(manifest: SegmentManifest | DumpManifest) -> float | None:
    """Return the moment up to which a backup tells of its table, in seconds since the epoch.

    None where the manifest has no time there: the rest of it may still be good.
    """
    stamp = manifest.ended if manifest.at is msgspec.UNSET else manifest.at
    try:
        return moment(stamp).timestamp()
    except (ValueError, OverflowError):
        return None


def segment_manifest_name(segment: int) -> str:
    """Return the name of the manifest of one segment, beside its object."""
    return f"{segment}.{MANIFEST}"


def segment_of_manifest(name: str) -> int | None:
    """Return which segment a manifest of this name is of; None when it is none."""
    found = _SEGMENT_MANIFEST.fullmatch(name)
    return int(found[1]) if found else None


def check_job_id(job_id: str) -> str:
    """Return the name of a dump as it was given; it is text, ``0123`` stays ``0123``.

    Raises:
        UsageError: it cannot be a part of an object's name everywhere.
    """
    if not _JOB_ID.fullmatch(job_id) or job_id in {".", ".."} or job_id == "AWSDynamoDB":
        raise UsageError(
            f"{job_id!r} cannot name a dump: give up to 200 letters, digits and dots, dashes, underscores, without a slash."
        )
    return job_id


def dump_of(segments: list[SegmentManifest], source: str) -> DumpManifest:
    """Return the manifest of a dump all of whose segments are there; whoever makes it makes the same.

    Raises:
        BackupError: they do not belong together.
    """
    segments = sorted(segments, key=lambda each: each.segment)
    first = segments[0]
    if [each.segment for each in segments] != list(range(first.segments)) or any(
        (each.segments, each.table.name, each.table.arn)
        != (first.segments, first.table.name, first.table.arn)
        for each in segments
    ):
        raise BackupError(f"The segments of the dump {first.job} do not belong together.")
    return DumpManifest(
        job=first.job,
        parts=[
            Part(
                name=str(each.segment),
                items=each.items,
                bytes=each.bytes,
                stored_bytes=each.stored_bytes,
                sha256=each.sha256,
            )
            for each in segments
        ],
        items=sum(each.items for each in segments),
        bytes=sum(each.bytes for each in segments),
        stored_bytes=sum(each.stored_bytes for each in segments),
        begun=min(each.begun for each in segments),
        ended=max(each.ended for each in segments),
        at=first.at,
        table=max(segments, key=lambda each: each.ended).table,
        source=source,
    )


def manifest_bytes(manifest: SegmentManifest | DumpManifest) -> bytes:
    """Return a manifest as it is stored: JSON, indented for people."""
    return msgspec.json.format(_encode(manifest), indent=2) + b"\n"


_read_segment = msgspec.json.Decoder(SegmentManifest).decode
_read_dump = msgspec.json.Decoder(DumpManifest).decode


def read_segment_manifest(document: bytes, name: str) -> SegmentManifest:
    """Read the manifest of a segment; ``name`` is what people call it.

    Raises:
        BackupError: it is none, or of another format.
    """
    try:
        manifest = _read_segment(document)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BackupError(f"{name} is not the manifest of a segment: {error}.") from error
    if manifest.asyncrep != "dump-segment" or manifest.format != FORMAT:
        raise BackupError(f"{name} is not a manifest of a segment that this asyncrep knows.")
    return manifest


def read_dump_manifest(document: bytes, name: str) -> DumpManifest:
    """Read the manifest of a dump or snapshot; ``name`` is what people call it.

    Raises:
        BackupError: it is none, or of another format.
    """
    try:
        manifest = _read_dump(document)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BackupError(f"{name} is not the manifest of a dump: {error}.") from error
    if manifest.asyncrep != "dump" or manifest.format != FORMAT:
        raise BackupError(f"{name} is not a manifest of a dump that this asyncrep knows.")
    return manifest
