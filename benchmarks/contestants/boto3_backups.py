"""The loops that people write with boto3: dumps, restores, folders with an object for each item, and their snapshots.

One thread where a loop is one after the other, as reading pages and writing batches; 32 where requests are small.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from benchmarks.contestants import contest

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_BATCH_ITEMS = 25
_THREADS = 32
_BUCKET = "bucket"


def scanned(dynamodb: Any) -> Iterator[dict[str, Any]]:
    """Items of the primary in wire form."""
    for page in dynamodb.get_paginator("scan").paginate(TableName="primary"):
        yield from page["Items"]


def line_of(item: dict[str, Any]) -> bytes:
    """An item as a line of JSON, which has no bytes."""
    return json.dumps(item, default=lambda data: base64.b64encode(data).decode()).encode() + b"\n"


def item_of(line: bytes) -> dict[str, Any]:
    """The item of a line, its binaries as boto3 wants them."""
    item: dict[str, Any] = json.loads(line, object_hook=_with_bytes)
    return item


def _with_bytes(value: dict[str, Any]) -> dict[str, Any]:
    if isinstance(value.get("B"), str):
        return {"B": base64.b64decode(value["B"])}
    if isinstance(value.get("BS"), list):
        return {"BS": [base64.b64decode(each) for each in value["BS"]]}
    return value


def dump(options: argparse.Namespace, dynamodb: Any, s3: Any) -> int:
    """Write a table into one gzipped object."""
    items = 0
    with tempfile.TemporaryFile() as file:
        with gzip.open(file, "wb") as lines:
            for item in scanned(dynamodb):
                lines.write(line_of(item))
                items += 1
        file.seek(0)
        s3.upload_fileobj(file, _BUCKET, f"{options.place}/{options.name}/0")
    return items


def restore(options: argparse.Namespace, dynamodb: Any, s3: Any) -> int:
    """Write the lines of a dump's objects into a table."""
    items = 0
    for name in names(s3, f"{options.place}/{options.name}/"):
        if name.endswith(".json"):
            continue
        with tempfile.TemporaryFile() as file:
            s3.download_fileobj(_BUCKET, name, file)
            file.seek(0)
            with gzip.open(file) as lines:
                while batch := [item_of(line) for line in islice(lines, _BATCH_ITEMS)]:
                    write(dynamodb, batch)
                    items += len(batch)
    return items


def write(dynamodb: Any, items: list[dict[str, Any]]) -> None:
    """Write up to 25 items, unprocessed ones again."""
    wanted: Any = {"copy": [{"PutRequest": {"Item": item}} for item in items]}
    while wanted:
        wanted = dynamodb.batch_write_item(RequestItems=wanted)["UnprocessedItems"]


def names(s3: Any, prefix: str) -> Iterator[str]:
    """Names of objects."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=_BUCKET, Prefix=prefix):
        for each in page.get("Contents", []):
            yield each["Key"]


def fill(options: argparse.Namespace, dynamodb: Any, s3: Any) -> int:
    """Put each item of a table, as an object of its own, where there is none."""

    def put(item: dict[str, Any]) -> None:
        key = json.dumps({"id": item["id"]}, separators=(",", ":")).encode()
        name = f"{options.place}/{options.name}/primary/{hashlib.sha256(key).hexdigest()}"
        s3.put_object(Bucket=_BUCKET, Key=name, Body=line_of(item), IfNoneMatch="*")

    return _each(put, scanned(dynamodb))


def snapshot(options: argparse.Namespace, _dynamodb: Any, s3: Any) -> int:
    """Write all objects of a folder into one gzipped object."""

    def get(name: str) -> bytes:
        body: bytes = s3.get_object(Bucket=_BUCKET, Key=name)["Body"].read()
        return body

    items = 0
    with tempfile.TemporaryFile() as file, ThreadPoolExecutor(_THREADS) as threads:
        with gzip.open(file, "wb") as lines:
            listed = names(s3, f"{options.place}/")
            while some := list(islice(listed, 1000)):
                for body in threads.map(get, some):
                    lines.write(body.rstrip() + b"\n")
                    items += 1
        file.seek(0)
        s3.upload_fileobj(file, _BUCKET, f"snapshots/{options.name}.gz")
    return items


def _each(act: Any, items: Iterator[Any]) -> int:
    """Act on all of them in threads, a thousand at a time; return how many there were."""
    count = 0
    with ThreadPoolExecutor(_THREADS) as threads:
        while some := list(islice(items, 1000)):
            for _ in threads.map(act, some):
                count += 1
    return count


_JOBS = {"dump": dump, "restore": restore, "fill": fill, "snapshot": snapshot}


def main() -> None:
    options = contest.backup_arguments(__doc__).parse_args()
    make = partial(boto3.client, **contest.CREDENTIALS, config=Config(max_pool_connections=_THREADS))
    dynamodb, s3 = make("dynamodb", endpoint_url=options.url), make("s3", endpoint_url=options.s3)
    contest.finished(_JOBS[options.job](options, dynamodb, s3))


if __name__ == "__main__":
    main()
