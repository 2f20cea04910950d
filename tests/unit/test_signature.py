"""Requests are signed as botocore signs them."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.aws.signature import Unsigned, sign

MOMENT = datetime(2026, 1, 2, 23, 4, 5, tzinfo=UTC)
PLAIN = st.from_regex(r"[!-~]+(?: [!-~]+)*", fullmatch=True)
NAMES = st.from_regex(r"x-amz-meta-[a-z0-9-]{1,12}", fullmatch=True)


def botocores(
    request: Unsigned, credentials: ReadOnlyCredentials, region: str, service: str
) -> dict[str, str]:
    url = f"https://{request.host}{request.path}" + (f"?{request.query}" if request.query else "")
    stock = AWSRequest(request.verb, url, dict(request.headers), request.body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: MOMENT)
        signer = S3SigV4Auth if service == "s3" else SigV4Auth
        signer(credentials, service, region).add_auth(stock)
    return {name.lower(): value for name, value in stock.headers.items()}


@given(
    verb=st.sampled_from(["GET", "PUT", "HEAD", "DELETE"]),
    host=st.sampled_from(["bucket.s3.eu-west-1.amazonaws.com", "127.0.0.1:9000", "[::1]:9000"]),
    key=st.text(max_size=30),
    query=st.dictionaries(st.sampled_from(["prefix", "list-type", "start-after"]), st.text(max_size=12)),
    headers=st.dictionaries(NAMES, PLAIN, max_size=4),
    body=st.binary(max_size=40),
    token=st.none() | PLAIN,
)
def test_whatever_the_request_botocore_signs_it_the_same(verb, host, key, query, headers, body, token):
    encoded = "&".join(f"{name}={quote(query[name], safe='-_.~')}" for name in sorted(query))
    path = "/" + quote(key, safe="/~")
    credentials = ReadOnlyCredentials("AKID", "secret/+", token)
    for region, service in (("eu-west-1", "s3"), ("us-gov-east-1", "s3"), ("eu-west-1", "dynamodb")):
        where = (path, encoded) if service == "s3" else ("/", "")
        request = Unsigned(verb, host, *where, headers, body)
        signed = sign(request, credentials, region, service, MOMENT)
        assert signed.pop("host") == host
        assert signed == botocores(request, credentials, region, service)


def test_a_signature_is_of_its_day_and_of_its_keys():
    request = Unsigned("GET", "bucket.s3.amazonaws.com", "/key", "", {}, b"")
    others = [
        sign(request, ReadOnlyCredentials("AKID", secret, None), "us-east-1", "s3", MOMENT.replace(day=day))
        for secret in ("one", "other")
        for day in (2, 3)
    ]
    assert len({each["authorization"] for each in others}) == 4
