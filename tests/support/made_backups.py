"""Backups made by hand, object by object: what lies in a place after backup-table and others have been there."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from asyncrep.backup.layout import (
    DumpManifest,
    Part,
    SegmentManifest,
    TableDescription,
    dump_of,
    manifest_bytes,
    segment_manifest_name,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.buckets import Bucket

ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/{}"
DAY = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)


def lines(count: int, segment: int = 0, *, exported: bool = False) -> bytes:
    """Some items, one a line."""
    images = ({"id": {"S": f"{segment}-{number}"}, "n": {"N": str(number)}} for number in range(count))
    return b"".join(
        json.dumps({"Item": each} if exported else each, separators=(",", ":")).encode() + b"\n"
        for each in images
    )


def stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def segment_of(
    job: str, segment: int, segments: int, stored: bytes, begun: datetime, table: str
) -> SegmentManifest:
    plain = gzip.decompress(stored)
    return SegmentManifest(
        job=job,
        segment=segment,
        segments=segments,
        items=plain.count(b"\n"),
        bytes=len(plain),
        stored_bytes=len(stored),
        sha256=hashlib.sha256(stored).hexdigest(),
        md5=base64.b64encode(hashlib.md5(stored).digest()).decode(),
        begun=stamp(begun),
        ended=stamp(begun + timedelta(minutes=5)),
        table=TableDescription(name=table, arn=ARN.format(table), create={}),
    )


def dump(
    job: str, *, begun: datetime = DAY, table: str = "orders", segments: int = 2, items: int = 10
) -> dict[str, bytes]:
    """The objects of a whole dump."""
    data = [gzip.compress(lines(items, each), mtime=0) for each in range(segments)]
    told = [segment_of(job, each, segments, data[each], begun, table) for each in range(segments)]
    made = {f"{job}/{each}": data[each] for each in range(segments)}
    made |= {f"{job}/{segment_manifest_name(each.segment)}": manifest_bytes(each) for each in told}
    return made | {f"{job}/manifest.json": manifest_bytes(dump_of(told, ARN.format(table)))}


def snapshot(
    name: str, *, begun: datetime = DAY, source: str = "s3://kept/incr/orders", items: int = 10
) -> dict[str, bytes]:
    """The objects of a snapshot of an incremental folder."""
    stored = gzip.compress(lines(items), mtime=0)
    part = Part(
        name=name, items=items, bytes=1, stored_bytes=len(stored), sha256=hashlib.sha256(stored).hexdigest()
    )
    manifest = DumpManifest(
        job=name, parts=[part], items=items, bytes=1, stored_bytes=len(stored),
        begun=stamp(begun), ended=stamp(begun), source=source,
    )  # fmt: skip
    return {name: stored, f"{name}.manifest.json": manifest_bytes(manifest)}


def aws_export(
    name: str,
    *,
    begun: datetime = DAY,
    table: str = "orders",
    files: int = 2,
    items: int = 10,
    since: datetime | None = None,
) -> dict[str, bytes]:
    """The objects of an export that AWS has made; with ``since`` an incremental one, whose data lie beside it."""
    folder = "" if since else f"{name}/"
    data = {
        f"{folder}data/f{each}.json.gz": gzip.compress(lines(items, each, exported=True))
        for each in range(files)
    }
    listed = b"".join(
        json.dumps({
            "itemCount": items,
            "md5Checksum": base64.b64encode(hashlib.md5(stored).digest()).decode(),
            "etag": "x",
            "dataFileS3Key": f"elsewhere/AWSDynamoDB/{file}",
        }).encode() + b"\n"
        for file, stored in data.items()
    )  # fmt: skip
    times = (
        {"exportFromTime": stamp(since), "exportToTime": stamp(begun)}
        if since
        else {"exportTime": stamp(begun)}
    )
    summary = json.dumps({
        "version": "2020-06-30", "tableArn": ARN.format(table), "startTime": stamp(begun),
        "endTime": stamp(begun), "itemCount": items * files, "outputFormat": "DYNAMODB_JSON", **times,
    }).encode()  # fmt: skip
    made = dict(data)
    for file, document in (("manifest-files", listed), ("manifest-summary", summary)):
        made[f"{name}/{file}.json"] = document
        made[f"{name}/{file}.md5"] = base64.b64encode(hashlib.md5(document).digest())
    made[f"{name}/_started"] = b""
    return {f"AWSDynamoDB/{each}": stored for each, stored in made.items()}


def write(folder: Path, made: Mapping[str, bytes]) -> None:
    """Put objects into a folder."""
    for name, stored in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stored)


def upload(bucket: Bucket, prefix: str, made: Mapping[str, bytes]) -> None:
    """Put objects into a bucket."""
    for name, stored in made.items():
        bucket.put(f"{prefix}/{name}", stored)


def names(folder: Path) -> set[str]:
    """The files in a folder, and in those within it."""
    return {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}
