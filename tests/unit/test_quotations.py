"""What messages of AWS and of botocore quote of credentials and items does not get into ours."""

from __future__ import annotations

from typing import Any

import botocore.exceptions as aws
import pytest

from asyncrep.aws.errors import translate

TOKEN = "IQoJb3JpZ2luX2VjEXAMPLETOKEN"
VALUE = "4111-1111-1111-1111"
SIGNATURE = f"""The request signature we calculated does not match the signature you provided. Check your AWS Secret \
Access Key and signing method. Consult the service documentation for details.

The Canonical String for this request should have been
'POST
/

host:dynamodb.us-east-1.amazonaws.com
x-amz-security-token:{TOKEN}

host;x-amz-date;x-amz-security-token
0123'

The String-to-Sign should have been
'AWS4-HMAC-SHA256
20261121T000000Z'
"""


def said(code: str, message: str, status: int = 400) -> str:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return str(translate(aws.ClientError(response, "PutItem"), "PutItem", "us-east-1/orders"))


@pytest.mark.parametrize("code", ["InvalidSignatureException", "SignatureDoesNotMatch"])
def test_a_refused_signature_is_told_without_what_was_signed(code: str) -> None:
    told = said(code, SIGNATURE)
    assert TOKEN not in told
    assert "security-token" not in told
    assert "Check your AWS Secret Access Key" in told


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        (
            f"1 validation error detected: Value '{{id={{S:{VALUE}}}}}' at 'key' failed to satisfy constraint: x",
            "at 'key' failed to satisfy constraint",
        ),
        (
            f"2 validation errors detected: Value '{VALUE}' at 'a' failed; Value 'it's {VALUE}' at 'b' failed to …",
            "at 'b' failed",
        ),
        (f"The parameter cannot be converted to a numeric value: {VALUE}", "to a numeric value."),
    ],
)
def test_a_refused_item_is_told_without_its_values(message: str, kept: str) -> None:
    told = said("ValidationException", message)
    assert VALUE not in told
    assert kept in told


@pytest.mark.parametrize("status", [403, 407, 500, 503])
def test_what_is_no_answer_of_the_service_is_not_shown(status: int) -> None:
    told = said(str(status), f"<html>you sent {VALUE}</html>", status)
    assert VALUE not in told
    assert str(status) in told


def test_an_answer_that_botocore_cannot_read_is_not_shown() -> None:
    unreadable = aws.BotoCoreError()
    unreadable.args = (
        f"Unable to parse response (syntax error: line 1, column 0), invalid XML received: b'{VALUE}'",
    )
    told = str(translate(unreadable, "GetObject", "s3://bucket/a"))
    assert VALUE not in told
    assert "Unable to parse response (syntax error: line 1, column 0)." in told


def test_a_password_in_an_endpoint_s_address_is_not_shown() -> None:
    error = aws.EndpointConnectionError(endpoint_url="http://ann:pass-word@127.0.0.1:1/", error="refused")
    told = str(translate(error, "Scan", "us-east-1/orders"))
    assert "pass-word" not in told
    assert "http://127.0.0.1:1/" in told


def test_a_message_has_an_end() -> None:
    assert len(said("NeverHeardOfIt", "word " * 1000)) < 700
