"""The canned S3 answers as S3 does, as far as moto tells: the same calls, told apart by nothing that matters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aioboto3
import pytest
from aiobotocore.config import AioConfig
from botocore.exceptions import ClientError

from benchmarks.bucket import PAGE_NAMES, SMALLEST_PART, Bucket
from benchmarks.canned_s3 import BUCKET, FOLDER, Connection, item_objects
from tests.support.canned import serving
from tests.support.engines import REGION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

Ask = Callable[..., Awaitable[Any]]
Story = Callable[[Ask], Awaitable[object]]

_MATTERS = frozenset({
    "Body", "CommonPrefixes", "ContentLength", "ContentRange", "Contents", "ETag", "EncodingType", "Errors",
    "IsTruncated", "Key", "KeyCount", "MaxKeys", "Metadata", "Name", "Prefix", "Size",
})  # fmt: skip


def canned(bucket: Bucket) -> AbstractAsyncContextManager[str]:
    return serving(lambda: Connection(bucket, {}))


@asynccontextmanager
async def asking(url: str) -> AsyncIterator[Ask]:
    """A way to make one call and get what matters of the answer, errors too."""
    once = AioConfig(retries={"total_max_attempts": 1})
    async with aioboto3.Session().client("s3", endpoint_url=url, region_name=REGION, config=once) as client:

        async def ask(operation: str, **parameters: Any) -> Any:
            try:
                answer = await getattr(client, operation)(Bucket=BUCKET, **parameters)
            except ClientError as error:
                return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
            if "Body" in answer:
                answer["Body"] = await answer["Body"].read()
            if "UploadId" in answer:
                return answer["UploadId"]
            return _what_matters(answer)

        yield ask


def _what_matters(answer: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in answer.items() if name in _MATTERS}
    kept["Contents"] = [
        {name: value for name, value in each.items() if name in _MATTERS}
        for each in answer.get("Contents", [])
    ]
    return kept


async def conditions(ask: Ask) -> object:
    first = await ask("put_object", Key="a", Body=b"one", IfNoneMatch="*", Metadata={"Mark": "x y"})
    return [
        first,
        await ask("put_object", Key="a", Body=b"two", IfNoneMatch="*"),
        await ask("put_object", Key="a", Body=b"two", IfMatch='"other"'),
        await ask("head_object", Key="a"),
        await ask("put_object", Key="a", Body=b"two", IfMatch=first["ETag"]),
        await ask("get_object", Key="a"),
        await ask("get_object", Key="a", IfMatch=first["ETag"]),
        await ask("put_object", Key="none", Body=b"", IfMatch='"other"'),
        await ask("head_object", Key="none"),
        await ask("get_object", Key="none"),
        await ask("delete_object", Key="none"),
        await ask("delete_object", Key="a"),
        await ask("get_object", Key="a"),
    ]


async def ranges(ask: Ask) -> object:
    await ask("put_object", Key="odd name/ü+?&'", Body=bytes(range(100)))
    asked = ("bytes=0-9", "bytes=90-", "bytes=-5", "bytes=50-500", "bytes=100-")
    return [await ask("get_object", Key="odd name/ü+?&'", Range=each) for each in asked]


async def listings(ask: Ask) -> object:
    for name in ("a", "a/1", "a/2", "a b", "a+b", "b/<&>", "b/ü/1", "b/ü/2", "c"):
        await ask("put_object", Key=name, Body=name.encode())
    asked: list[dict[str, Any]] = [
        {},
        {"Prefix": "a"},
        {"Prefix": "a/"},
        {"Prefix": "none"},
        {"StartAfter": "a/1"},
        {"Prefix": "b/", "Delimiter": "/"},
        {"Delimiter": "/"},
        {"MaxKeys": 3},
        {"Prefix": "a", "MaxKeys": 4},
    ]
    return [await ask("list_objects_v2", **each) for each in asked]


async def removals(ask: Ask) -> object:
    for name in ("a", "b", "c"):
        await ask("put_object", Key=name, Body=b"")
    gone = {"Objects": [{"Key": "a"}, {"Key": "c"}, {"Key": "none"}], "Quiet": True}
    return [await ask("delete_objects", Delete=gone), await ask("list_objects_v2")]


async def parts(ask: Ask) -> object:
    whole = bytes(range(256)) * (SMALLEST_PART // 256) + b"the end"
    upload: dict[str, Any] = {"Key": "big"}
    upload["UploadId"] = await ask("create_multipart_upload", Key="big", Metadata={"mark": "1"})
    halves = (whole[:SMALLEST_PART], whole[SMALLEST_PART:])
    etags = [
        await ask("upload_part", **upload, PartNumber=number, Body=half)
        for number, half in enumerate(halves, 1)
    ]
    told = {"Parts": [{"PartNumber": n, "ETag": each["ETag"]} for n, each in enumerate(etags, 1)]}
    wrong = {"Parts": [{"PartNumber": 1, "ETag": '"' + "0" * 32 + '"'}]}
    answers = [
        await ask("head_object", Key="big"),
        await ask("complete_multipart_upload", **upload, MultipartUpload=wrong),
        (await ask("complete_multipart_upload", **upload, MultipartUpload=told))["ETag"],
        await ask("get_object", Key="big", Range=f"bytes={SMALLEST_PART}-"),
        await ask("head_object", Key="big"),
    ]
    given_up = {"Key": "other", "UploadId": await ask("create_multipart_upload", Key="other")}
    answers += [await ask("abort_multipart_upload", **given_up), await ask("list_objects_v2")]
    return etags, answers


@pytest.fixture
async def moto_ask(moto_url: str) -> AsyncIterator[Ask]:
    async with aioboto3.Session().client("s3", endpoint_url=moto_url, region_name=REGION) as client:
        await client.create_bucket(Bucket=BUCKET)
        try:
            async with asking(moto_url) as ask:
                yield ask
        finally:
            async for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
                for each in page.get("Contents", []):
                    await client.delete_object(Bucket=BUCKET, Key=each["Key"])
            await client.delete_bucket(Bucket=BUCKET)


@pytest.mark.parametrize("story", [conditions, ranges, listings, removals, parts])
async def test_it_answers_like_moto(story: Story, moto_ask: Ask) -> None:
    async with canned(Bucket(BUCKET)) as url, asking(url) as ask:
        assert await story(ask) == await story(moto_ask)


async def test_a_damaged_body_and_what_is_not_there_are_refused() -> None:
    bucket = Bucket(BUCKET)
    async with canned(bucket) as url, asking(url) as ask:
        unknown = await ask("abort_multipart_upload", Key="a", UploadId="none")  # 500 from moto
        assert unknown == ("NoSuchUpload", 404)
        damaged = await ask("put_object", Key="a", Body=b"one", ChecksumCRC32="AAAAAA==")
        assert damaged == ("BadDigest", 400)
        assert (await ask("list_objects_v2"))["Contents"] == []
        async with aioboto3.Session().client("s3", endpoint_url=url, region_name=REGION) as client:
            with pytest.raises(client.exceptions.NoSuchBucket):
                await client.get_object(Bucket="another", Key="a")


async def test_a_folder_of_items_is_listed_page_by_page_to_its_end() -> None:
    bucket = Bucket(BUCKET)
    item_objects(bucket, PAGE_NAMES * 2 + 1, 100)
    names: list[str] = []
    more: dict[str, str] = {}
    async with canned(bucket) as url, aioboto3.Session().client("s3", endpoint_url=url) as client:
        for size in (PAGE_NAMES, PAGE_NAMES, 1):
            page = await client.list_objects_v2(Bucket=BUCKET, Prefix=f"{FOLDER}/", **more)
            assert page["KeyCount"] == size
            names += [each["Key"] for each in page["Contents"]]
            more = {"ContinuationToken": page.get("NextContinuationToken", "")}
    assert not page["IsTruncated"]
    assert names == sorted(set(names))
