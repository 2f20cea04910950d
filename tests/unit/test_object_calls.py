"""Small calls to S3 are made without botocore where it is sure what it would send, and by it where it is not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aioboto3
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioRefreshableCredentials
from aiobotocore.session import get_session
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from asyncrep.aws.errors import ChecksumError
from asyncrep.aws.object_calls import ObjectCalls
from benchmarks.bucket import Answer, Bucket
from benchmarks.canned_s3 import Connection
from tests.support.buckets import bucket_on
from tests.support.canned import serving
from tests.support.engines import REGION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

ODD = "a b/ü+~'(x)//../%41?&="
Surprise = Callable[[bytes, dict[bytes, bytes]], Answer | None]


@dataclass
class Service:
    """A canned S3 that may be made to answer otherwise, and what it was asked."""

    url: str = ""
    surprises: list[Surprise] = field(default_factory=list)
    """Each answers one request, in their order, or leaves it to the bucket."""
    headers: list[dict[str, str]] = field(default_factory=list)


class _Surprising(Connection):
    def __init__(self, bucket: Bucket, service: Service) -> None:
        super().__init__(bucket, {})
        self._service = service

    def _ask(self, method: bytes, target: str, headers: dict[bytes, bytes], body: bytes) -> Answer:
        self._service.headers.append({name.decode(): value.decode() for name, value in headers.items()})
        surprise = self._service.surprises.pop(0) if self._service.surprises else None
        answer = surprise(method, headers) if surprise else None
        return answer or super()._ask(method, target, headers, body)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    bucket = Bucket("bucket")
    async with serving(lambda: _Surprising(bucket, service)) as service.url:
        yield service


class Asked(list[str]):
    """The operations that botocore was asked for."""


@asynccontextmanager
async def opened(
    url: str, session: aioboto3.Session | None = None, **config: Any
) -> AsyncIterator[tuple[ObjectCalls, Asked, Any]]:
    settings = AioConfig(retries={"total_max_attempts": 1}, **config)
    session = session or aioboto3.Session()
    async with session.client("s3", endpoint_url=url, region_name=REGION, config=settings) as client:
        asked = Asked()
        client.meta.events.register("before-call.s3", lambda model, **_: asked.append(model.name))
        yield ObjectCalls(client), asked, client


async def refusal(call: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as refused:
        await call
    answer = refused.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


async def test_after_the_first_call_botocore_is_not_asked_again(moto_url):
    with bucket_on(moto_url) as bucket:
        async with opened(moto_url) as (calls, asked, client):
            where = {"Bucket": bucket.name}
            assert (await calls.list_objects_v2(**where)).objects == []
            assert asked == ["ListObjectsV2"]
            etag = await calls.put_object(
                **where, Key=ODD, Body=b"one", IfNoneMatch="*", Metadata={"mark": "x y"}
            )
            assert bucket.names() == [ODD]
            assert bucket.body(ODD) == b"one"
            assert bucket.metadata(ODD) == {"mark": "x y"}
            assert await calls.get_object(**where, Key=ODD) == (b"one", etag)
            head = dict(await calls.head_object(**where, Key=ODD))
            modified = head.pop("LastModified")
            assert head == {"ETag": etag, "Metadata": {"mark": "x y"}, "ContentLength": 3}
            await calls.put_object(**where, Key="empty", Body=b"")
            [odd, empty] = (await calls.list_objects_v2(**where)).objects
            assert asked == ["ListObjectsV2"]
            told = (await client.list_objects_v2(**where))["Contents"][0]
            assert (odd.key, odd.size, odd.etag) == (told["Key"], told["Size"], told["ETag"])
            assert odd.modified == told["LastModified"].timestamp()
            assert modified == told["LastModified"]
            assert (empty.key, empty.size) == ("empty", 0)
            version = bucket.s3.list_object_versions(Bucket=bucket.name, Prefix=ODD)["Versions"][0][
                "VersionId"
            ]
            await calls.delete_object(**where, Key=ODD)
            assert await refusal(calls.get_object(**where, Key=ODD)) == ("NoSuchKey", 404)
            assert await calls.get_object(**where, Key=ODD, VersionId=version) == (b"one", etag)
            assert asked == ["ListObjectsV2", "ListObjectsV2"]


@pytest.mark.parametrize("first", ["get_object", "head_object", "put_object", "list_objects_v2"])
async def test_the_way_to_a_bucket_is_learned_from_any_call(moto_url, first):
    with bucket_on(moto_url) as bucket:
        bucket.put(ODD, b"one")
        async with opened(moto_url) as (calls, asked, _):
            where = {"Bucket": bucket.name}
            of = {"put_object": {"Key": ODD, "Body": b"one"}, "list_objects_v2": {}}.get(first, {"Key": ODD})
            await getattr(calls, first)(**where, **of)
            assert (await calls.get_object(**where, Key=ODD))[0] == b"one"
            assert [each.key for each in (await calls.list_objects_v2(**where)).objects] == [ODD]
            assert len(asked) == 1


async def test_pages_and_folders_are_those_that_botocore_tells(moto_url):
    with bucket_on(moto_url) as bucket:
        for name in ("a&b/1", "a&b/2", "a+b", "b", "c/ü/1"):
            bucket.put(name, b"")
        async with opened(moto_url) as (calls, asked, client):
            where = {"Bucket": bucket.name}
            asked_for: Sequence[dict[str, Any]] = ({"Delimiter": "/"}, {"MaxKeys": 2}, {"StartAfter": "a+b"})
            by_botocore = [await ObjectCalls(client).list_objects_v2(**where, **each) for each in asked_for]
            await calls.list_objects_v2(**where)
            del asked[:]
            pages = [await calls.list_objects_v2(**where, **each) for each in asked_for]
            assert asked == []
            assert [page._replace(token=None) for page in pages] == [
                page._replace(token=None) for page in by_botocore
            ]
            assert pages[0].prefixes == ["a&b/", "c/"]
            assert pages[1].token is not None
            rest = await calls.list_objects_v2(**where, ContinuationToken=pages[1].token)
            assert [each.key for each in rest.objects] == ["a+b", "b", "c/ü/1"]
            assert rest.token is None


async def test_refusals_are_botocore_s(service):
    async with opened(service.url) as (calls, asked, client):
        for caller in (client, calls, calls):
            where = {"Bucket": "bucket", "Key": "a"}
            await caller.put_object(**where, Body=b"one")
            put = caller.put_object(**where, Body=b"two", IfNoneMatch="*")
            assert await refusal(put) == ("PreconditionFailed", 412)
            assert await refusal(caller.delete_object(**where, IfMatch='"other"')) == (
                "PreconditionFailed",
                412,
            )
            assert await refusal(caller.get_object(Bucket="bucket", Key="b")) == ("NoSuchKey", 404)
            assert await refusal(caller.head_object(Bucket="bucket", Key="b")) == ("404", 404)
        assert len(asked) == 6  # the client's own, and the first of the calls


@pytest.mark.parametrize(
    "unusual",
    [{"ContentType": "text/plain"}, {"Metadata": {"mark": "two  blanks"}}, {"StorageClass": "STANDARD_IA"}],
)
async def test_what_is_not_known_here_is_left_to_botocore(service, unusual):
    async with opened(service.url) as (calls, asked, _):
        await calls.put_object(Bucket="bucket", Key="a", Body=b"one")
        await calls.put_object(Bucket="bucket", Key="a", Body=b"one", **unusual)
        assert asked == ["PutObject", "PutObject"]


async def test_a_header_that_somebody_else_adds_is_on_every_request(service):
    async with opened(service.url) as (calls, asked, client):
        client.meta.events.register(
            "before-sign.s3", lambda request, **_: request.headers.add_header("X-Trace", "mine")
        )
        for _ in range(2):
            await calls.put_object(Bucket="bucket", Key="a", Body=b"one")
        assert [each["x-trace"] for each in service.headers] == ["mine", "mine"]
        assert asked == ["PutObject", "PutObject"]


def moved(_method: bytes, headers: dict[bytes, bytes]) -> Answer | None:
    """Answer like a bucket of another Region, which moved there without a word."""
    if b"/eu-west-1/s3/" in headers[b"authorization"]:
        return None
    body = b"<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>"
    return Answer(301, body, b"x-amz-bucket-region: eu-west-1\r\n")


async def test_a_bucket_that_is_elsewhere_is_found_by_botocore_and_reached_without_it_then(service):
    async with opened(service.url) as (calls, asked, _):
        where = {"Bucket": "bucket", "Key": "a"}
        await calls.put_object(**where, Body=b"one")
        service.surprises = [moved] * 5
        assert (await calls.get_object(**where))[0] == b"one"
        assert asked == ["PutObject", "GetObject"]
        assert (await calls.get_object(**where))[0] == b"one"
        assert asked == ["PutObject", "GetObject"]
        assert ["/eu-west-1/" in each["authorization"] for each in service.headers][-2:] == [True, True]


async def test_credentials_that_are_renewed_sign_what_comes_after(service):
    renewals = 0

    async def renew() -> dict[str, str]:
        nonlocal renewals
        renewals += 1
        # Within the time in which botocore renews credentials, so that each call has others.
        expiry = datetime.now(tz=UTC) + timedelta(seconds=5)
        return {
            "access_key": f"AKID{renewals}",
            "secret_key": "secret",
            "token": f"token{renewals}",
            "expiry_time": expiry.isoformat(),
        }

    class Provider:
        async def load_credentials(self) -> Any:
            return AioRefreshableCredentials.create_from_metadata(await renew(), renew, "test")

    core = get_session()
    core.register_component("credential_provider", Provider())
    async with opened(service.url, aioboto3.Session(botocore_session=core)) as (calls, asked, _):
        for _number in range(3):
            await calls.put_object(Bucket="bucket", Key="a", Body=b"one")
        assert asked == ["PutObject"]
        tokens = [each["x-amz-security-token"] for each in service.headers]
        assert len(set(tokens)) == 3
        for each, token in zip(service.headers, tokens, strict=True):
            assert f"Credential=AKID{token.removeprefix('token')}/" in each["authorization"]
            assert "x-amz-security-token" in each["authorization"]


async def test_expired_credentials_are_botocore_s_business(service):
    async with opened(service.url) as (calls, asked, _):
        where = {"Bucket": "bucket", "Key": "a"}
        await calls.put_object(**where, Body=b"one")
        service.surprises = [lambda *_: Answer(400, b"<Error><Code>ExpiredToken</Code></Error>")]
        assert (await calls.get_object(**where))[0] == b"one"
        assert asked == ["PutObject", "GetObject"]


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (503, b"<Error><Code>SlowDown</Code><Message>less</Message></Error>", "SlowDown"),
        (500, b"<html><body>no</body>", "500"),
        (502, b"", "502"),
        (403, b"<Error><Code>AccessDenied</Code></Error>", "AccessDenied"),
    ],
)
async def test_failures_of_the_service_are_told_and_not_asked_again(service, status, body, code):
    async with opened(service.url) as (calls, asked, _):
        await calls.put_object(Bucket="bucket", Key="a", Body=b"one")
        service.surprises = [lambda *_: Answer(status, body)]
        assert await refusal(calls.get_object(Bucket="bucket", Key="a")) == (code, status)
        assert asked == ["PutObject"]
        assert len(service.headers) == 2


async def test_a_damaged_object_is_not_believed(service):
    async with opened(service.url) as (calls, _asked, _):
        where = {"Bucket": "bucket", "Key": "a"}
        await calls.put_object(**where, Body=b"one")
        service.surprises = [
            lambda *_: Answer(200, b"0ne", b'ETag: "x"\r\nx-amz-checksum-crc32: TIIVcA==\r\n')
        ]
        with pytest.raises(ChecksumError):
            await calls.get_object(**where)
        service.surprises = [lambda *_: Answer(200, b"<ListBucketResult>")]
        with pytest.raises(ResponseParserError):
            await calls.list_objects_v2(Bucket="bucket")


@pytest.mark.parametrize("wanted", ["when_supported", "when_required"])
async def test_checksums_are_sent_and_asked_for_as_the_config_says(service, wanted):
    settings = {"request_checksum_calculation": wanted, "response_checksum_validation": wanted}
    async with opened(service.url, **settings) as (calls, _asked, _):
        for _number in range(2):
            await calls.put_object(Bucket="bucket", Key="a", Body=b"one")
        for _number in range(2):
            await calls.get_object(Bucket="bucket", Key="a")
    put, get = service.headers[1], service.headers[3]
    assert ("x-amz-checksum-crc32" in put) is (wanted == "when_supported")
    assert ("x-amz-checksum-mode" in get) is (wanted == "when_supported")
