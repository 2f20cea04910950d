"""Objects in S3: what every call says, listings over many pages, versions, and reads that are interrupted."""

from __future__ import annotations

import os
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from asyncrep.aws.objects import open_objects
from asyncrep.errors import (
    BucketNotFoundError,
    ConditionFailedError,
    ServiceError,
    ThrottledError,
    UnreachableError,
    UsageError,
)
from asyncrep.flow.clock import VirtualClock
from asyncrep.flow.retry import RetryPolicy
from asyncrep.location import S3Place
from asyncrep.options import S3Access
from tests.support.buckets import bucket_on, seconds_apart
from tests.support.engines import REGION
from tests.support.s3_proxy import Cut, Lose, Refuse, S3Proxy
from tests.support.scenario import session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep.aws.objects import Objects
    from tests.support.buckets import Bucket

OWNER = "123456789012"
KEY = "alias/backups"
RETRY = RetryPolicy(attempts=4, patience=5.0, first=0.001)


@pytest.fixture
async def proxy(moto_url: str) -> AsyncIterator[S3Proxy]:
    async with S3Proxy(moto_url) as proxy:
        yield proxy


@asynccontextmanager
async def opened(bucket: Bucket, url: str, **access: Any) -> AsyncIterator[Objects]:
    async with open_objects(
        S3Place(bucket.name, "kept"),
        access=S3Access(endpoint_url=url, region=REGION, **access),
        session=session(),
        retry=RETRY,
        clock=VirtualClock(),
    ) as objects:
        yield objects


@pytest.fixture
async def objects(bucket: Bucket, proxy: S3Proxy) -> AsyncIterator[Objects]:
    async with opened(bucket, proxy.url) as objects:
        yield objects


async def content(objects: Objects, name: str) -> bytes:
    return b"".join([piece async for piece in objects.read(name)])


# ── Access ──────────────────────────────────────────────────────────────────────────────────────────


async def test_every_call_says_whose_the_bucket_must_be_and_every_put_how_it_is_encrypted(
    bucket: Bucket, proxy: S3Proxy
) -> None:
    async with opened(bucket, proxy.url, kms_key=KEY, bucket_owner=OWNER) as objects:
        await objects.check()
        for _ in range(2):  # the first call of a client, and those after it
            etag = await objects.put("x", b"1")
            await objects.put("x", b"2", if_match=etag, metadata={"a": "b"})
            await objects.head("x")
            await objects.get("x")
            assert await content(objects, "x") == b"2"
            assert [name async for name in objects.names()] == ["x"]
            await objects.folders()
            versions = [version async for version in objects.versions("x")]
            await objects.get_version(versions[0])
            for size in (10, 6_000_000):
                async with objects.upload("large") as upload:
                    await upload.write(b"x" * size)
            await objects.delete("large")
            await objects.remove(["x"])
        with pytest.raises(ZeroDivisionError):
            await fail_in_the_middle(objects)
    assert len(proxy.seen) == 11
    for operation, requests in proxy.headers.items():
        encrypts = operation in {"PutObject", "CreateMultipartUpload"}
        for headers in requests:
            assert headers.get("x-amz-expected-bucket-owner") == OWNER, operation
            assert headers.get("x-amz-server-side-encryption") == ("aws:kms" if encrypts else None), operation
            assert headers.get("x-amz-server-side-encryption-aws-kms-key-id") == (KEY if encrypts else None)


async def fail_in_the_middle(objects: Objects) -> None:
    async with objects.upload("y") as upload:
        await upload.write(b"x" * 6_000_000)
        raise ZeroDivisionError


async def test_without_an_access_nothing_is_said(objects: Objects, proxy: S3Proxy) -> None:
    await objects.put("x", b"1")
    names = {name.lower() for name in proxy.headers["PutObject"][0]}
    assert not any("expected-bucket-owner" in name or "encryption" in name for name in names)


@pytest.mark.parametrize(
    ("access", "sentence"),
    [
        ({"bucket_owner": "12345"}, "12 digits"),
        ({"kms_key": "my key"}, "not a KMS key"),
        ({"endpoint_url": "localhost:9000"}, "must begin with http"),
        ({"endpoint_url": "http://me:secret@localhost:9000"}, r"holds no user or password; [^@]*$"),
        ({"role_arn": "orders"}, "is not a role"),
    ],
)
async def test_what_cannot_be_is_refused_before_a_call(
    bucket: Bucket, access: dict[str, str], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        async with open_objects(S3Place(bucket.name), access=S3Access(**access)):
            pytest.fail("it was opened")


async def test_a_bucket_that_is_not_there_is_told(proxy: S3Proxy) -> None:
    access = S3Access(endpoint_url=proxy.url)
    async with open_objects(S3Place("no-such-bucket-here"), access=access, session=session()) as objects:
        with pytest.raises(BucketNotFoundError, match="no-such-bucket-here"):
            await objects.check()
        with pytest.raises(BucketNotFoundError, match="no-such-bucket-here"):
            await content(objects, "x")


# ── Listings ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let moto answer with three entries a page."""
    monkeypatch.setitem(os.environ, "MOTO_S3_DEFAULT_MAX_KEYS", "3")


@pytest.mark.usefixtures("small_pages")
async def test_listings_go_on_over_pages(objects: Objects, bucket: Bucket, proxy: S3Proxy) -> None:
    for number in range(10):
        bucket.put(f"kept/a/{number}", b"")
        bucket.put(f"kept/{number}/x", b"")
    bucket.put("kept2/x", b"")
    assert [name async for name in objects.names("a/")] == [f"a/{number}" for number in range(10)]
    assert await objects.folders() == [*map(str, range(10)), "a"]
    assert proxy.seen["ListObjectsV2"] >= 8


async def test_the_mark_of_a_folder_is_no_object_in_it(objects: Objects, bucket: Bucket) -> None:
    bucket.put("kept/", b"")
    bucket.put("kept/x", b"")
    assert [entry.name async for entry in objects.entries()] == ["x"]
    assert [version.name async for version in objects.versions()] == ["x"]


async def test_a_bucket_without_a_prefix_is_a_place(bucket: Bucket, proxy: S3Proxy) -> None:
    access = S3Access(endpoint_url=proxy.url)
    async with open_objects(S3Place(bucket.name), access=access, session=session()) as objects:
        await objects.put("x/y", b"1")
        assert [name async for name in objects.names()] == ["x/y"]
        assert objects.name_of("x/y") == objects.under("x").name_of("y") == f"s3://{bucket.name}/x/y"
        assert await objects.folders() == ["x"]


async def test_names_that_xml_cannot_hold_are_removed_as_well(moto_url: str) -> None:
    names = ["\t", "a\rb", "x\x01y", "\uffff", "plain"]
    with bucket_on(moto_url, versioned=False) as bucket:
        access = S3Access(endpoint_url=moto_url)
        async with open_objects(S3Place(bucket.name), access=access, session=session()) as objects:
            for name in names:
                await objects.put(name, b"")
            await objects.remove(names)
            found = [await objects.head(name) for name in names]
    assert found == [None] * len(names)


# ── Versions ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("small_pages")
async def test_all_versions_come_the_newest_first_with_the_marks_of_deletions(
    objects: Objects, bucket: Bucket
) -> None:
    with seconds_apart():
        for number in range(4):
            bucket.put("kept/b", b"%d" % number)
            bucket.put("kept/a", b"%d" % number)
            bucket.delete("kept/b")
        bucket.put("kept/b", b"last")
        versions = [version async for version in objects.versions()]
    assert [version.name for version in versions] == ["a"] * 4 + ["b"] * 9
    contents = [None if each.is_deletion else await objects.get_version(each) for each in versions[4:]]
    assert contents == [b"last", None, b"3", None, b"2", None, b"1", None, b"0"]
    assert [version.is_latest for version in versions] == [True, False, False, False, True, *[False] * 8]
    assert versions[4].size == 4
    assert [version.name async for version in objects.versions("a")] == ["a"] * 4


async def test_what_happened_in_one_second_is_told_in_the_order_of_s3() -> None:
    """Moto tells versions and marks in two lists; S3 itself mixes them, the newest first."""
    second = "<LastModified>2026-05-01T12:00:00.000Z</LastModified>"
    told = [
        ("Version", "5"),
        ("DeleteMarker", "4"),
        ("DeleteMarker", "3"),
        ("Version", "2"),
        ("DeleteMarker", "1"),
    ]
    entries = [
        f"<{kind}><Key>kept/x&amp;</Key><VersionId>{version}</VersionId>"
        f"<IsLatest>{str(version == '5').lower()}</IsLatest>{second}</{kind}>"
        for kind, version in told
    ]
    body = f"<ListVersionsResult><IsTruncated>false</IsTruncated>{''.join(entries)}</ListVersionsResult>"

    async def answer(request: web.Request) -> web.Response:
        assert "versions" in request.query
        return web.Response(text=body, content_type="application/xml")

    async with answering(answer) as url:
        access = S3Access(endpoint_url=url)
        async with open_objects(S3Place("bucket", "kept"), access=access, session=session()) as objects:
            versions = [version async for version in objects.versions()]
    assert [version.version_id for version in versions] == ["5", "4", "3", "2", "1"]
    assert [version.is_deletion for version in versions] == [False, True, True, False, True]
    assert {version.name for version in versions} == {"x&"}


@asynccontextmanager
async def answering(answer: Any) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def test_a_version_that_is_gone_is_an_error(objects: Objects, bucket: Bucket) -> None:
    bucket.put("kept/x", b"1")
    versions = [version async for version in objects.versions()]
    bucket.empty()
    with pytest.raises(ServiceError, match=f"s3://{bucket.name}/kept/x"):
        await objects.get_version(versions[0])


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────────

DATA = bytes(range(251)) * 8000


async def test_a_read_goes_on_where_the_connection_broke(
    objects: Objects, bucket: Bucket, proxy: S3Proxy
) -> None:
    bucket.put("kept/x", DATA)
    proxy.next("GetObject", Cut(700_001), Lose(), Refuse(500, "InternalError"), Cut(0), Cut(300_000))
    assert await content(objects, "x") == DATA
    ranges = [headers.get("Range") for headers in proxy.headers["GetObject"]]
    assert len(ranges) == 6
    assert ranges[0] is None
    assert all(asked is not None for asked in ranges[1:])
    assert proxy.headers["GetObject"][1]["If-Match"] == proxy.headers["GetObject"][5]["If-Match"]


async def test_patience_is_for_what_does_not_come_not_for_all_of_an_object(
    objects: Objects, bucket: Bucket, proxy: S3Proxy
) -> None:
    bucket.put("kept/x", DATA)
    proxy.next("GetObject", *[Cut(100_000)] * 15)
    assert await content(objects, "x") == DATA
    assert proxy.seen["GetObject"] == 16
    proxy.next("GetObject", *[Cut(0)] * 4)
    with pytest.raises(UnreachableError, match="kept/x: the answer broke off"):
        await content(objects, "x")


async def test_an_object_that_is_replaced_meanwhile_is_not_mixed_with_the_new_one(
    objects: Objects, bucket: Bucket, proxy: S3Proxy
) -> None:
    bucket.put("kept/x", DATA)
    proxy.next("GetObject", Cut(900_000))
    async with aclosing(objects.read("x")) as pieces:
        await anext(pieces)
        bucket.put("kept/x", DATA[::-1])
        with pytest.raises(ConditionFailedError):
            async for _ in pieces:
                pass


async def test_pieces_are_neither_small_nor_large(objects: Objects, bucket: Bucket) -> None:
    bucket.put("kept/x", DATA)
    sizes = [len(piece) async for piece in objects.read("x")]
    assert sum(sizes) == len(DATA)
    assert all(100_000 <= size <= 1_000_000 for size in sizes[:-1])


async def test_a_read_that_is_given_up_leaves_the_client_as_it_was(objects: Objects, bucket: Bucket) -> None:
    bucket.put("kept/x", DATA)
    for _ in range(3):
        async with aclosing(objects.read("x")) as pieces:
            assert DATA.startswith(await anext(pieces))
    assert await content(objects, "x") == DATA


async def test_a_small_object_is_read_with_one_request(
    objects: Objects, bucket: Bucket, proxy: S3Proxy
) -> None:
    bucket.put("kept/x", b"small")
    bucket.put("kept/empty", b"")
    assert await content(objects, "x") == b"small"
    assert await content(objects, "empty") == b""
    assert proxy.seen == {"GetObject": 2}


async def test_an_answer_that_breaks_off_is_asked_for_again(
    objects: Objects, bucket: Bucket, proxy: S3Proxy
) -> None:
    bucket.put("kept/x", DATA)
    proxy.next("GetObject", Cut(1000), Cut(0))
    found = await objects.get("x")
    assert found is not None
    assert found[0] == DATA


@pytest.mark.parametrize("deletes", [False, True])
async def test_a_try_without_an_answer_is_told_when_the_condition_fails_afterwards(
    objects: Objects, bucket: Bucket, proxy: S3Proxy, deletes: bool
) -> None:
    """A connection that was used before is no reason to send a request twice without a word."""
    bucket.put("kept/warm", b"")
    assert await objects.get("warm") is not None
    etag = await objects.put("x", b"before")
    proxy.next("DeleteObject" if deletes else "PutObject", Lose())
    with pytest.raises(ConditionFailedError) as failed:
        await (objects.delete("x", if_match=etag) if deletes else objects.put("x", b"1", if_match=etag))
    assert failed.value.maybe_done
    assert proxy.seen["DeleteObject" if deletes else "PutObject"] == 2 + (not deletes)


async def test_a_service_that_is_overloaded_is_given_time(objects: Objects, proxy: S3Proxy) -> None:
    slow = Refuse(503, "SlowDown")
    proxy.next("PutObject", slow, slow, slow, slow, slow)
    await objects.put("x", b"1")
    assert proxy.seen["PutObject"] == 6
    proxy.next("GetObject", *[slow] * 10_000)
    with pytest.raises(ThrottledError):
        await content(objects, "x")
