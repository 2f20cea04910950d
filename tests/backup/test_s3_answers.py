"""Answers of S3, or of what stands before it, that cannot be believed; and errors that moto does not give."""

from __future__ import annotations

import base64
import os
import re
import zlib
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from asyncrep.aws.objects import open_objects
from asyncrep.errors import ServiceError, UnreachableError
from asyncrep.flow.clock import VirtualClock
from asyncrep.flow.retry import RetryPolicy
from asyncrep.location import S3Place
from asyncrep.options import S3Access
from tests.support.engines import REGION
from tests.support.scenario import session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from asyncrep.aws.objects import Objects

RETRY = RetryPolicy(attempts=4, patience=5.0, first=0.001)
BODY = os.urandom(1_200_000)
TAG = {"ETag": '"tag"'}


@asynccontextmanager
async def answered_by(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[Objects]:
    """A place in an S3 that answers like this."""
    application = web.Application(client_max_size=32 * 1024 * 1024)
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        async with open_objects(
            S3Place("some-bucket", "kept"),
            access=S3Access(endpoint_url=f"http://{host}:{port}", region=REGION),
            session=session(),
            retry=RETRY,
            clock=VirtualClock(),
        ) as objects:
            yield objects
    finally:
        await runner.cleanup()


def checksum(body: bytes) -> dict[str, str]:
    return {"x-amz-checksum-crc32": base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()}


async def content(objects: Objects, name: str) -> bytes:
    return b"".join([piece async for piece in objects.read(name)])


@pytest.mark.parametrize("size", [10, 700_000, len(BODY)])
async def test_what_is_read_in_pieces_is_held_against_its_checksum(size: int) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=BODY[:size], headers=TAG | checksum(b"something else"))

    async with answered_by(answer) as objects:
        with pytest.raises(UnreachableError, match="kept/x: the answer was damaged"):
            await content(objects, "x")


async def test_every_small_object_is_held_against_its_checksum() -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"one", headers=TAG | checksum(b"two"))

    async with answered_by(answer) as objects:
        for _ in range(2):  # the first call of a client, and those after it
            with pytest.raises(UnreachableError, match="damaged"):
                await objects.get("x")


async def test_an_answer_that_is_another_part_than_was_asked_for_is_not_taken_for_the_rest() -> None:
    asked: list[str | None] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers.get("Range"))
        if asked[-1] is not None:
            return web.Response(body=BODY, headers=TAG)  # all of it
        response = web.StreamResponse(headers=TAG | {"Content-Length": str(len(BODY))})
        await response.prepare(request)
        await response.write(BODY[:600_000])
        assert request.transport is not None
        request.transport.close()
        return response

    async with answered_by(answer) as objects:
        with pytest.raises(UnreachableError, match="another part"):
            await content(objects, "x")
    assert asked == [None, "bytes=600000-"]


async def test_an_answer_without_a_size_is_an_error_and_no_crash() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=TAG)
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(BODY)
        return response

    async with answered_by(answer) as objects:
        with pytest.raises(UnreachableError, match="does not tell its size"):
            await content(objects, "x")


@pytest.mark.parametrize("code", ["InternalError", "InvalidPart"])
async def test_an_error_with_the_status_of_success_is_one_and_the_upload_is_taken_back(code: str) -> None:
    seen: Counter[str] = Counter()

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        seen[f"{request.method} {' '.join(sorted(request.query))}"] += 1
        if "uploads" in request.query:
            begun = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
            return web.Response(text=begun, content_type="application/xml")
        if request.method == "POST":
            refusal = f"<?xml version='1.0'?>\n<Error><Code>{code}</Code><Message>No.</Message></Error>"
            return web.Response(text=refusal, content_type="application/xml")
        return web.Response(status=404 if request.method == "HEAD" else 200, headers=TAG)

    async with answered_by(answer) as objects:
        with pytest.raises(ServiceError, match=code):
            async with objects.upload("x") as upload:
                await upload.write(b"x" * 6_000_000)
    assert seen["DELETE uploadId"] == 1
    assert seen["POST uploadId"] == RETRY.attempts


async def test_no_version_gets_lost_whatever_the_spelling_of_a_listing() -> None:
    stamp = "<LastModified>2026-01-02T03:04:0{}.000Z</LastModified>"

    def told(kind: str, second: int, latest: str) -> str:
        inner = f"<Key>kept/x</Key><VersionId>{second}</VersionId><IsLatest>{latest}</IsLatest>"
        return f'<{kind} owner="me">{inner}{stamp.format(second)}</{kind}>'

    async def answer(_: web.Request) -> web.StreamResponse:
        listed = told("DeleteMarker", 3, "true") + told("Version", 2, "false") + told("Version", 1, "false")
        page = f"<ListVersionsResult><IsTruncated>false</IsTruncated>{listed}</ListVersionsResult>"
        return web.Response(text=page, content_type="application/xml")

    async with answered_by(answer) as objects:
        assert [each.version_id async for each in objects.versions()] == ["3", "2", "1"]


async def test_what_is_not_removed_in_passing_is_removed_with_the_next_try() -> None:
    asked: list[list[str]] = []
    errors = {1: ("b", "InternalError"), 2: ("b", "SlowDown")}

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(re.findall("<Key>kept/(.*?)</Key>", (await request.read()).decode()))
        name, code = errors.get(len(asked), ("", ""))
        error = (
            f"<Error><Key>kept/{name}</Key><Code>{code}</Code><Message>No.</Message></Error>" if code else ""
        )
        return web.Response(text=f"<DeleteResult>{error}</DeleteResult>", content_type="application/xml")

    async with answered_by(answer) as objects:
        await objects.remove(["a", "b", "c"])
        assert asked == [["a", "b", "c"], ["b"], ["b"]]
        errors[4] = ("a", "AccessDenied")
        with pytest.raises(ServiceError, match="'kept/a' among them: AccessDenied"):
            await objects.remove(["a"])
