"""A bucket of one's own on moto that keeps versions, and what became of an object in it."""

from __future__ import annotations

import json
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import boto3
from moto.s3.models import FakeDeleteMarker, s3_backends

from tests.support.engines import REGION

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNT = "123456789012"
GONE = "gone"
"""What stands in a history for the mark of a deletion."""


@dataclass(frozen=True)
class Bucket:
    """A bucket, looked at from outside of asyncrep."""

    name: str
    s3: Any

    def names(self) -> list[str]:
        """The objects that are there."""
        return [each["Key"] for each in self.s3.list_objects_v2(Bucket=self.name).get("Contents", [])]

    def body(self, name: str) -> bytes:
        """What an object holds."""
        body: bytes = self.s3.get_object(Bucket=self.name, Key=name)["Body"].read()
        return body

    def metadata(self, name: str) -> dict[str, str]:
        """What was put with an object."""
        metadata: dict[str, str] = self.s3.head_object(Bucket=self.name, Key=name)["Metadata"]
        return metadata

    def put(self, name: str, body: bytes, metadata: dict[str, str] | None = None) -> None:
        """Put an object behind everybody's back."""
        self.s3.put_object(Bucket=self.name, Key=name, Body=body, Metadata=metadata or {})

    def delete(self, name: str) -> None:
        """Delete an object likewise."""
        self.s3.delete_object(Bucket=self.name, Key=name)

    def history(self, name: str) -> list[Any]:
        """Every version of an object, decoded and the oldest first; GONE for the marks of deletions.

        S3 tells versions and marks in two lists, with times in whole seconds: so moto is asked, of this process.
        """
        versions = s3_backends[ACCOUNT]["aws"].buckets[self.name].keys.getlist(name) or []
        return [GONE if isinstance(each, FakeDeleteMarker) else json.loads(each.value) for each in versions]

    def empty(self) -> None:
        """Delete every version of everything."""
        while True:
            told = self.s3.list_object_versions(Bucket=self.name)
            found = [*told.get("Versions", []), *told.get("DeleteMarkers", [])]
            if not found:
                return
            for each in found:
                self.s3.delete_object(Bucket=self.name, Key=each["Key"], VersionId=each["VersionId"])


@contextmanager
def seconds_apart(begin: datetime | None = None) -> Iterator[None]:
    """Let everything that moto's S3 keeps from now on be a second newer than what came before.

    S3 tells times in whole seconds. It tells what came to be in one second in the right order; moto, which tells
    versions and marks of deletions in two lists, does not.
    """
    first = (begin or datetime.now(UTC)).replace(tzinfo=None)
    seconds = count()
    with patch("moto.s3.models.utcnow", lambda: first + timedelta(seconds=next(seconds))):
        yield


@contextmanager
def bucket_on(url: str, *, versioned: bool = True) -> Iterator[Bucket]:
    """Make a bucket, and remove it with everything in it."""
    s3 = boto3.client("s3", region_name=REGION, endpoint_url=url)
    bucket = Bucket(f"bucket-{uuid.uuid4().hex[:12]}", s3)
    s3.create_bucket(Bucket=bucket.name)
    if versioned:
        s3.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    try:
        yield bucket
    finally:
        bucket.empty()
        s3.delete_bucket(Bucket=bucket.name)
        s3.close()
