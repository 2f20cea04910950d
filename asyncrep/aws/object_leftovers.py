"""Uploads to S3 that were begun and never ended, as a process leaves them that was killed: nobody sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from asyncrep.flow.tasks import side_by_side

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection

    from asyncrep.aws.bucket import Bucket
    from asyncrep.location import S3Place

_AT_ONCE = 16


class _Leftover(NamedTuple):
    key: str
    upload_id: str


async def abort_uploads(bucket: Bucket, place: S3Place, names: Collection[str]) -> int:
    """Abort all uploads to objects of these names; return how many they were.

    Raises:
        ServiceError: they could not be listed, or one could not be aborted.
    """
    keys = {place.under(name) for name in names}
    found = [each async for each in _unfinished(bucket, place) if each.key in keys]
    for start in range(0, len(found), _AT_ONCE):
        await side_by_side(_abort(bucket, each) for each in found[start : start + _AT_ONCE])
    return len(found)


async def _unfinished(bucket: Bucket, place: S3Place) -> AsyncGenerator[_Leftover, None]:
    marker: dict[str, Any] = {}
    while True:

        async def attempt(marker: dict[str, Any] = marker) -> dict[str, Any]:
            return dict(
                await bucket.client.list_multipart_uploads(**bucket.target, Prefix=place.under(""), **marker)
            )

        page = await bucket.call("ListMultipartUploads", str(place), attempt)
        for told in page.get("Uploads", []):
            yield _Leftover(told["Key"], told["UploadId"])
        if not page.get("IsTruncated"):
            return
        marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


async def _abort(bucket: Bucket, leftover: _Leftover) -> None:
    async def attempt() -> None:
        await bucket.client.abort_multipart_upload(
            **bucket.target, Key=leftover.key, UploadId=leftover.upload_id
        )

    await bucket.call("AbortMultipartUpload", f"s3://{bucket.target['Bucket']}/{leftover.key}", attempt)
