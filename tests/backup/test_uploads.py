"""Uploads to S3 of any size: whole or not there at all, in bounded memory, whatever happens on the way."""

from __future__ import annotations

import asyncio
import tracemalloc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep.aws.object_uploads import SMALLEST_PART, part_size
from asyncrep.aws.objects import open_objects
from asyncrep.errors import (
    BucketNotFoundError,
    ConditionFailedError,
    ServiceError,
    ThrottledError,
    UnreachableError,
)
from asyncrep.flow.clock import VirtualClock
from asyncrep.flow.retry import RetryPolicy
from asyncrep.location import S3Place
from asyncrep.options import S3Access
from tests.support.engines import REGION
from tests.support.s3_proxy import Cut, Hold, Lose, Refuse, S3Proxy
from tests.support.scenario import session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep.aws.objects import Objects
    from tests.support.buckets import Bucket

MB = 1024 * 1024
RETRY = RetryPolicy(attempts=3, patience=5.0, first=0.001)
LOST = Lose(), Lose(), Lose()
"""More than is tried."""


@pytest.fixture
async def proxy(moto_url: str) -> AsyncIterator[S3Proxy]:
    async with S3Proxy(moto_url) as proxy:
        yield proxy


@asynccontextmanager
async def opened(place: S3Place, url: str) -> AsyncIterator[Objects]:
    access = S3Access(endpoint_url=url, region=REGION)
    async with open_objects(
        place, access=access, session=session(), retry=RETRY, clock=VirtualClock()
    ) as objects:
        yield objects


@pytest.fixture
async def objects(bucket: Bucket, proxy: S3Proxy) -> AsyncIterator[Objects]:
    async with opened(S3Place(bucket.name, "kept"), proxy.url) as objects:
        yield objects


def block(number: int) -> bytes:
    return number.to_bytes(4, "big") * (MB // 4)


async def send(objects: Objects, megabytes: int, **options: Any) -> None:
    async with objects.upload("x", **options) as upload:
        for number in range(megabytes):
            await upload.write(block(number))


def whole(megabytes: int) -> bytes:
    return b"".join(map(block, range(megabytes)))


def open_uploads(bucket: Bucket) -> list[Any]:
    told: list[Any] = bucket.s3.list_multipart_uploads(Bucket=bucket.name).get("Uploads", [])
    return told


def assert_nothing_is_left(bucket: Bucket) -> None:
    assert bucket.names() == []
    assert open_uploads(bucket) == []


# ── What is sent ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("megabytes", "parts"), [(4, []), (5, [5]), (12, [5, 5, 2])])
async def test_only_what_is_too_large_for_one_part_is_sent_in_parts(
    objects: Objects, bucket: Bucket, proxy: S3Proxy, megabytes: int, parts: list[int]
) -> None:
    await send(objects, megabytes)
    assert bucket.body("kept/x") == whole(megabytes)
    assert proxy.seen["PutObject"] == (not parts)
    assert proxy.seen["CreateMultipartUpload"] == proxy.seen["CompleteMultipartUpload"] == bool(parts)
    # The signature of a chunked body may add some bytes to each of them.
    assert sorted(round(size / MB) for size in proxy.body_bytes["UploadPart"]) == sorted(parts)
    assert open_uploads(bucket) == []


async def test_one_large_piece_is_sent_like_many_small_ones(objects: Objects, bucket: Bucket) -> None:
    async with objects.upload("x") as upload:
        await upload.write(whole(11) + b"end")
        assert upload.size == 11 * MB + 3
    assert bucket.body("kept/x") == whole(11) + b"end"


def test_ten_thousand_parts_hold_the_largest_object() -> None:
    written = parts = 0
    while written < 5 * 1024**4:
        size = part_size(written)
        assert SMALLEST_PART <= size <= 5 * 1024**3
        written += size
        parts += 1
    assert parts <= 10_000
    assert part_size(5 * 1024**3) == SMALLEST_PART


async def test_the_next_part_fills_while_one_is_sent_and_then_the_writer_waits(
    objects: Objects, proxy: S3Proxy
) -> None:
    hold = Hold()
    proxy.next("UploadPart", hold)
    async with objects.upload("x") as upload:
        for number in range(9):
            await upload.write(block(number))
        await hold.arrived.wait()
        waiting = asyncio.ensure_future(upload.write(block(9)))
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
        assert proxy.seen["UploadPart"] == 1
        hold.go.set()
        await waiting
    assert proxy.seen["UploadPart"] == 2


async def test_memory_does_not_grow_with_the_object(objects: Objects, proxy: S3Proxy) -> None:
    piece = block(7)
    tracemalloc.start()
    try:
        async with objects.upload("x") as upload:
            for number in range(40):
                await upload.write(piece)
                if number % 5 < 4:  # before a part is full; looking takes a while
                    continue
                assert held_by_uploads() <= 2.3 * SMALLEST_PART
    finally:
        tracemalloc.stop()
    assert proxy.seen["UploadPart"] == 8


def held_by_uploads() -> int:
    """The bytes that uploads hold: S3 is in this process as well."""
    snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/asyncrep/aws/*")])
    return sum(each.size for each in snapshot.statistics("filename"))


# ── What goes wrong ─────────────────────────────────────────────────────────────────────────────────


async def test_what_fails_in_passing_is_sent_again(objects: Objects, bucket: Bucket, proxy: S3Proxy) -> None:
    proxy.next("CreateMultipartUpload", Refuse(500, "InternalError"))
    proxy.next("UploadPart", Lose(carried_out=False), Cut(0), None, Refuse(503, "SlowDown"), Lose())
    proxy.next("CompleteMultipartUpload", Refuse(503, "ServiceUnavailable"), Refuse(500, "InternalError"))
    await send(objects, 17)
    assert bucket.body("kept/x") == whole(17)
    assert open_uploads(bucket) == []


@pytest.mark.parametrize(
    ("operation", "faults", "error"),
    [
        ("CreateMultipartUpload", [Refuse(403, "AccessDenied")], ServiceError),
        ("UploadPart", [Refuse(500, "InternalError")] * 3, UnreachableError),
        ("UploadPart", [None, Lose(carried_out=False), *LOST], UnreachableError),
        ("UploadPart", [Refuse(503, "SlowDown")] * 10_000, ThrottledError),
        ("CompleteMultipartUpload", [Refuse(500, "InternalError")] * 3, UnreachableError),
        ("CompleteMultipartUpload", [Refuse(400, "EntityTooSmall")], ServiceError),
    ],
)
async def test_an_upload_that_fails_leaves_nothing(
    objects: Objects,
    bucket: Bucket,
    proxy: S3Proxy,
    operation: str,
    faults: list[Any],
    error: type[Exception],
) -> None:
    proxy.next(operation, *faults)
    with pytest.raises(error, match=f"{operation} on s3://{bucket.name}/kept/x") as failed:
        await send(objects, 12)
    assert not isinstance(failed.value, ExceptionGroup)
    assert_nothing_is_left(bucket)


async def test_a_writer_that_fails_leaves_nothing(objects: Objects, bucket: Bucket) -> None:
    async def fail() -> None:
        async with objects.upload("x") as upload:
            await upload.write(whole(7))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert_nothing_is_left(bucket)


async def test_a_bucket_that_is_not_there_is_told(proxy: S3Proxy) -> None:
    async with opened(S3Place("no-such-bucket-here"), proxy.url) as nowhere:
        for megabytes in (1, 6):
            with pytest.raises(BucketNotFoundError, match="no-such-bucket-here/x"):
                await send(nowhere, megabytes)


@pytest.mark.parametrize("megabytes", [1, 6])
@pytest.mark.parametrize("faults", [[Lose()], LOST])
async def test_an_answer_that_got_lost_at_the_end_is_made_up_for_by_a_look(
    objects: Objects, bucket: Bucket, proxy: S3Proxy, megabytes: int, faults: list[Any]
) -> None:
    proxy.next("PutObject" if megabytes == 1 else "CompleteMultipartUpload", *faults)
    await send(objects, megabytes, if_absent=True)
    assert bucket.body("kept/x") == whole(megabytes)
    versions = [version async for version in objects.versions("x")]
    assert len(versions) == 1


@pytest.mark.parametrize("megabytes", [1, 6])
async def test_an_object_of_somebody_else_is_not_taken_for_ones_own(
    objects: Objects, bucket: Bucket, proxy: S3Proxy, megabytes: int
) -> None:
    bucket.put("kept/x", whole(megabytes))
    operation = "PutObject" if megabytes == 1 else "CompleteMultipartUpload"
    proxy.next(operation, Lose(carried_out=False))
    with pytest.raises(ConditionFailedError):
        await send(objects, megabytes, if_absent=True)
    assert bucket.metadata("kept/x") == {}
    assert open_uploads(bucket) == []


# ── Cancellation ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart"])
async def test_a_cancelled_upload_is_taken_back(
    objects: Objects, bucket: Bucket, proxy: S3Proxy, operation: str
) -> None:
    hold = Hold()
    proxy.next(operation, hold)
    sending = asyncio.ensure_future(send(objects, 17))
    await hold.arrived.wait()
    sending.cancel()
    await asyncio.sleep(0)
    hold.go.set()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert proxy.seen["AbortMultipartUpload"] == 1
    assert_nothing_is_left(bucket)


async def test_whoever_cancels_twice_waits_for_the_end_all_the_same(
    objects: Objects, bucket: Bucket, proxy: S3Proxy
) -> None:
    part, abort = Hold(), Hold()
    proxy.next("UploadPart", part)
    proxy.next("AbortMultipartUpload", abort)
    sending = asyncio.ensure_future(send(objects, 17))
    await part.arrived.wait()
    sending.cancel()
    await abort.arrived.wait()
    sending.cancel()
    await asyncio.sleep(0.01)
    assert not sending.done()
    abort.go.set()
    part.go.set()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert_nothing_is_left(bucket)


async def test_an_upload_cancelled_at_its_very_end_is_whole(
    objects: Objects, bucket: Bucket, proxy: S3Proxy
) -> None:
    hold = Hold()
    proxy.next("CompleteMultipartUpload", hold)
    sending = asyncio.ensure_future(send(objects, 6))
    await hold.arrived.wait()
    sending.cancel()
    await asyncio.sleep(0)
    hold.go.set()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert bucket.body("kept/x") == whole(6)
    assert open_uploads(bucket) == []
