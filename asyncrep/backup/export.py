"""Writes a dump in the layout of AWS's own exports to S3, so that ``import-table`` and other tools read it.

    PREFIX/AWSDynamoDB/EXPORTID/_started                 an empty object, before anything else
                                data/SEGMENT.json.gz     gzip, {"Item":{…}} a line
                                asyncrep/…               our own manifests: how far it is, the table's description
                                manifest-files.json      one data object a line
                                manifest-summary.json    last: with it the export is whole

Beside the two there are their MD5 sums, in Base64, under both names that AWS gives them.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from typing import TYPE_CHECKING, Any

import msgspec

from asyncrep.backup.forms import put_once
from asyncrep.backup.layout import MANIFEST, dump_of, segment_manifest_name, segment_of_manifest
from asyncrep.backup.lines import export_lines
from asyncrep.location import S3Place, parse_storage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec import Raw

    from asyncrep.backup.layout import DumpManifest, SegmentManifest
    from asyncrep.storage import Storage

EXPORTS = "AWSDynamoDB"
"""The folder of all exports of a prefix."""

SUMMARY = "manifest-summary.json"
FILES = "manifest-files.json"
STARTED = "_started"
OURS = "asyncrep"
"""The folder in an export that holds our manifests; they are those of a dump."""

_OURS = re.compile(rf"{OURS}/([^/]+)")
_SUM_NAMES = ("md5", "checksum")  # the service writes the one, its documentation has the other

_encode = msgspec.json.Encoder().encode


class Export:
    """AWS's layout.

    Args:
        table_id: the table's, where the service tells it.
        kms_key: what encrypts the objects, where that is known; its manifest tells.
    """

    needs_md5 = True
    last_name = SUMMARY

    def __init__(self, table_id: str | None = None, kms_key: str | None = None) -> None:
        self._table_id = table_id
        self._kms_key = kms_key

    def new_job_id(self, now: float) -> str:
        """Return an id of the form that AWS gives to exports."""
        return f"{int(now * 1000):014}-{secrets.token_hex(4)}"

    def folder(self, job_id: str) -> str:
        """Return the folder of the export."""
        return f"{EXPORTS}/{job_id}"

    def object_name(self, segment: int) -> str:
        """Return the name among the data."""
        return f"data/{segment}.json.gz"

    def manifest_name(self, segment: int) -> str:
        """Return a name apart from the data, of which AWS reads whatever is there."""
        return f"{OURS}/{segment_manifest_name(segment)}"

    def segment_of(self, name: str) -> int | None:
        """Return the number in the name."""
        found = _OURS.fullmatch(name)
        return segment_of_manifest(found[1]) if found else None

    def lines(self, images: Sequence[Raw]) -> bytes:
        """Return an item a line."""
        return export_lines(images, one_writer=True)

    async def begin(self, place: Storage) -> None:
        """Write the empty object that says so."""
        await place.put(STARTED, b"")

    async def conclude(self, place: Storage, segments: list[SegmentManifest], source: str) -> None:
        """Write the manifests, the summary last; whoever writes them writes the same."""
        whole = dump_of(segments, source)
        parts = [msgspec.structs.replace(part, name=self.object_name(int(part.name))) for part in whole.parts]
        described = (
            whole.table if whole.table is not None and whole.table.create else None
        )  # a snapshot is not
        whole = msgspec.structs.replace(whole, parts=parts, table=described)
        tags = {entry.name: entry.etag.strip('"') async for entry in place.entries("data/")}
        files = b"".join(
            _encode({
                "itemCount": each.items,
                "md5Checksum": each.md5,
                "etag": tags.get(self.object_name(each.segment), ""),
                "dataFileS3Key": _key(place, self.object_name(each.segment)),
            })
            + b"\n"
            for each in sorted(segments, key=lambda each: each.segment)
        )  # fmt: skip
        await put_once(place, f"{OURS}/{MANIFEST}", whole)
        await _put_with_sums(place, FILES, files)
        await _put_with_sums(place, SUMMARY, _encode(self._summary(place, whole)))

    def _summary(self, place: Storage, whole: DumpManifest) -> dict[str, Any]:
        where = parse_storage(place.name_of(""))
        table = whole.table
        arn = table.arn if table is not None else ""
        return {
            "version": "2020-06-30",
            "exportArn": f"{arn}/export/{whole.job}",
            "startTime": _milliseconds(whole.begun),
            "endTime": _milliseconds(whole.ended),
            "tableArn": arn,
            "tableId": self._table_id,
            "exportTime": _milliseconds(whole.begun if whole.at is msgspec.UNSET else whole.at),
            "s3Bucket": where.bucket if isinstance(where, S3Place) else "",
            "s3Prefix": _prefix(where.prefix) if isinstance(where, S3Place) else None,
            "s3SseAlgorithm": "KMS" if self._kms_key else "AES256",
            "s3SseKmsKeyId": self._kms_key,
            "manifestFilesS3Key": _key(place, FILES),
            "billedSizeBytes": whole.bytes,
            "itemCount": whole.items,
            "outputFormat": "DYNAMODB_JSON",
        }


def _key(place: Storage, name: str) -> str:
    """Return an object's whole key in its bucket; in a local folder, what follows the prefix."""
    where = parse_storage(place.name_of(name))
    if isinstance(where, S3Place):
        return where.prefix
    spelled = where.as_posix()
    return spelled[spelled.rindex(f"{EXPORTS}/") :]


def _prefix(folder: str) -> str | None:
    """Return what stands before the folder of exports; AWS tells none as null."""
    return folder[: folder.rindex(EXPORTS)].rstrip("/") or None


def _milliseconds(stamp: str) -> str:
    """Return a time as AWS spells it, in milliseconds."""
    return f"{stamp[:23]}Z"


async def _put_with_sums(place: Storage, name: str, data: bytes) -> None:
    """Write a manifest behind its checksums: once it is there, they are."""
    checksum = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest())
    for kind in _SUM_NAMES:
        await place.put(f"{name.removesuffix('.json')}.{kind}", checksum)
    await place.put(name, data)
