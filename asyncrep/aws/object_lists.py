"""What S3 lists: the objects of a bucket, the folders that their names make up, and their versions."""

from __future__ import annotations

import re
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from asyncrep.storage import Entry, Version

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from types_aiobotocore_s3 import S3Client

    from asyncrep.aws.bucket import Bucket
    from asyncrep.aws.object_answers import ListPage
    from asyncrep.location import S3Place

_KINDS = "AsyncrepKinds"
"""The member of an answer that tells what S3 lists one after the other: versions and marks of deletions."""

_KIND = re.compile(rb"<(Version|DeleteMarker)>")


async def list_entries(
    bucket: Bucket, place: S3Place, prefix: str, after: str
) -> AsyncGenerator[Entry, None]:
    """Yield objects under a place, a page at a time; see ``asyncrep.storage.Storage.entries``.

    The empty object with which consoles mark a folder, named like the place and a slash, is none of them.
    """
    root = place.under("")
    given = {"Prefix": root + prefix} | ({"StartAfter": root + after} if after else {})
    async for page in _pages(bucket, place, given):
        for told in page.objects:
            name = told.key.removeprefix(root)
            if name:
                yield Entry(name, told.size, told.etag, told.modified)


async def list_folders(bucket: Bucket, place: S3Place, prefix: str) -> list[str]:
    """Return the folders directly under a place; see ``asyncrep.storage.Storage.folders``."""
    root = place.under("")
    names: list[str] = []
    async for page in _pages(bucket, place, {"Prefix": root + prefix, "Delimiter": "/"}):
        names += [told.removeprefix(root).removesuffix("/") for told in page.prefixes]
    return [name for name in names if name]


async def _pages(bucket: Bucket, place: S3Place, given: dict[str, Any]) -> AsyncGenerator[ListPage, None]:
    token: dict[str, Any] = {}
    while True:

        async def attempt(token: dict[str, Any] = token) -> ListPage:
            return await bucket.calls.list_objects_v2(**bucket.target, **given, **token)

        page = await bucket.call("ListBucket", str(place), attempt)
        yield page
        if page.token is None:
            return
        token = {"ContinuationToken": page.token}


async def list_versions(bucket: Bucket, place: S3Place, prefix: str) -> AsyncGenerator[Version, None]:
    """Yield all versions of objects under a place; see ``asyncrep.storage.Storage.versions``.

    In a bucket that never kept versions, each object is one version called ``null``.
    """
    root = place.under("")
    marker: dict[str, Any] = {}
    while True:

        async def attempt(marker: dict[str, Any] = marker) -> dict[str, Any]:
            answer = await bucket.client.list_object_versions(**bucket.target, Prefix=root + prefix, **marker)
            return dict(answer)

        page = await bucket.call("ListBucketVersions", str(place), attempt)
        for version in _in_order(page, root):
            if version.name:
                yield version
        if not page.get("IsTruncated"):
            return
        marker = {"KeyMarker": page["NextKeyMarker"]}
        if page.get("NextVersionIdMarker"):
            marker["VersionIdMarker"] = page["NextVersionIdMarker"]


def tell_kinds(client: S3Client) -> None:
    """Let the answers of a client tell the order of what botocore sorts into two lists."""
    events: Any = client.meta.events  # the stubs know only handlers that return nothing
    events.register("before-parse.s3.ListObjectVersions", _note_kinds)


def _note_kinds(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    customized_response_dict[_KINDS] = _KIND.findall(response_dict["body"])


def _in_order(page: dict[str, Any], root: str) -> list[Version]:
    """Return versions and marks by name, and those of one object the newest first.

    They are told in whole seconds, in which much can happen: so S3's own order decides where these are the same.
    """
    lists = {
        b"Version": iter(_read(page.get("Versions", []), root, is_deletion=False)),
        b"DeleteMarker": iter(_read(page.get("DeleteMarkers", []), root, is_deletion=True)),
    }
    told = [each for kind in page.get(_KINDS, []) for each in islice(lists[kind], 1)]
    told += chain(*lists.values())  # what is spelled in another way, as some other services do
    # That is sorted by now on S3 itself; some other services list all marks behind all versions.
    return sorted(told, key=lambda each: (each.name.encode(), not each.is_latest, -each.modified))


def _read(told: Sequence[dict[str, Any]], root: str, *, is_deletion: bool) -> list[Version]:
    return [
        Version(
            name=each["Key"].removeprefix(root),
            version_id=each["VersionId"],
            modified=each["LastModified"].timestamp(),
            is_deletion=is_deletion,
            is_latest=each["IsLatest"],
            size=each.get("Size", 0),
            etag=each.get("ETag", ""),
        )
        for each in told
    ]
