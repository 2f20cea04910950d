"""Errors of AWS: which are worth another try, and what each of them is called in the end."""

import asyncio
import json
import ssl
import zlib
from typing import Any

import botocore.exceptions as aws
import msgspec
import pytest
from botocore.parsers import ResponseParserError
from hypothesis import given
from hypothesis import strategies as st

from asyncrep import errors
from asyncrep.aws.errors import ChecksumError, Cure, cure, translate
from asyncrep.aws.session import check_crc
from tests.support.strategies import thoroughly


def answer(code, message="Some words.", status=400):
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return aws.ClientError(response, "Scan")


def refused_body():
    try:
        json.loads("<html>")
    except ValueError as error:
        return error
    raise AssertionError


ENDPOINT = "https://dynamodb.us-east-1.amazonaws.com/"
THROTTLES = (
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
)
TRANSIENT = ("InternalServerError", "InternalFailure", "ServiceUnavailable", "RequestTimeout")
FINAL = {
    "AccessDeniedException": errors.PermissionDeniedError,
    "ConditionalCheckFailedException": errors.ConditionFailedError,
    "ExpiredIteratorException": errors.IteratorExpiredError,
    "ExpiredTokenException": errors.CredentialsError,
    "InvalidSignatureException": errors.CredentialsError,
    "MissingAuthenticationTokenException": errors.CredentialsError,
    "UnrecognizedClientException": errors.CredentialsError,
    "IncompleteSignatureException": errors.CredentialsError,
    "InvalidClientTokenId": errors.CredentialsError,
    "ResourceNotFoundException": errors.TableNotFoundError,
    "TableNotFoundException": errors.TableNotFoundError,
    "TrimmedDataAccessException": errors.DataTrimmedError,
    "ValidationException": errors.RejectedError,
    "SerializationException": errors.RejectedError,
    "ItemCollectionSizeLimitExceededException": errors.RejectedError,
    "SomethingNewException": errors.ServiceError,
}
DISCONNECTIONS = [
    aws.ConnectionClosedError(endpoint_url=ENDPOINT),
    aws.ReadTimeoutError(endpoint_url=ENDPOINT),
    aws.HTTPClientError(error="reset"),
    aws.ResponseStreamingError(error="cut"),
    ConnectionResetError("reset by peer"),
    ConnectionRefusedError("refused"),
    TimeoutError("too slow"),
    ChecksumError("The answer was damaged on the way: its CRC-32 is wrong."),
]
# What aiobotocore makes of a connection that cannot be opened, for a moment or for good.
NO_CONNECTION = [
    aws.EndpointConnectionError(endpoint_url=ENDPOINT, error="refused"),
    aws.ConnectTimeoutError(endpoint_url=ENDPOINT, error="slow"),
    aws.ProxyConnectionError(proxy_url="http://proxy:3128", error="refused"),
]
DAMAGED = [
    refused_body(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    msgspec.DecodeError("no JSON"),
    ResponseParserError("Unable to parse response (syntax error), invalid XML received: b'<'"),
]


def kind(value):
    return value if isinstance(value, str) else type(value).__name__


# ── Whether to try again ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("code", THROTTLES)
def test_throttles_slow_down(code):
    assert cure(answer(code)) is Cure.SLOW_DOWN
    assert cure(answer(code, status=503)) is Cure.SLOW_DOWN


@pytest.mark.parametrize("code", TRANSIENT)
def test_the_service_s_own_failures_are_tried_again(code):
    assert cure(answer(code, status=500)) is Cure.RETRY
    assert cure(answer(code)) is Cure.RETRY


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_any_server_error_is_tried_again(status):
    assert cure(answer("NeverHeardOfIt", status=status)) is Cure.RETRY
    assert cure(answer(str(status), status=status)) is Cure.RETRY


@pytest.mark.parametrize("code", FINAL)
def test_what_retrying_cannot_cure_is_not_tried_again(code):
    assert cure(answer(code)) is Cure.NONE


@pytest.mark.parametrize("error", [*DISCONNECTIONS, *DAMAGED], ids=kind)
def test_broken_connections_and_damaged_answers_are_tried_again(error):
    assert cure(error) is Cure.RETRY


@pytest.mark.parametrize("error", NO_CONNECTION, ids=kind)
def test_connections_that_cannot_be_opened_are_tried_again(error):
    assert cure(error) is Cure.RETRY


@pytest.mark.parametrize(
    "error",
    [
        aws.SSLError(endpoint_url=ENDPOINT, error=ssl.SSLError("certificate verify failed")),
        aws.NoCredentialsError(),
        aws.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        aws.ProfileNotFound(profile="nobody"),
        aws.NoRegionError(),
        KeyError("a bug"),
        TypeError("a bug"),
        AssertionError(),
    ],
    ids=kind,
)
def test_settings_and_bugs_are_not_tried_again(error):
    assert cure(error) is Cure.NONE


@pytest.mark.parametrize("response", [{}, {"Error": {}}, {"Error": {"Code": "X"}}, {"ResponseMetadata": {}}])
def test_an_answer_without_the_usual_parts_is_final_and_has_a_sentence(response):
    error = aws.ClientError(response, "Scan")
    assert cure(error) is Cure.NONE
    translated = translate(error, "Scan", "us-east-1/orders")
    assert type(translated) is errors.ServiceError
    assert "no further message" in str(translated)


# ── What it is called ───────────────────────────────────────────────────────────────────────────────


def translated(error):
    found = translate(error, "Scan", "us-east-1/orders")
    assert found is not None
    message = str(found)
    assert "us-east-1/orders" in message
    assert "\n" not in message
    assert "  " not in message
    return found


@pytest.mark.parametrize(("code", "wanted"), FINAL.items())
def test_codes_become_exceptions_that_keep_code_and_message(code, wanted):
    found = translated(answer(code, "The words\n  of the service."))
    assert type(found) is wanted
    assert found.code == code
    if wanted is not errors.TableNotFoundError:
        assert "The words of the service." in str(found)
        assert "Scan" in str(found)


@pytest.mark.parametrize("code", THROTTLES)
def test_throttled_to_the_end(code):
    found = translated(answer(code))
    assert type(found) is errors.ThrottledError
    assert found.code == code
    assert "throttled" in str(found)


@pytest.mark.parametrize("error", [*(answer(code) for code in TRANSIENT), answer("New", status=503)], ids=str)
def test_failing_to_the_end_is_unreachable(error):
    found = translated(error)
    assert type(found) is errors.UnreachableError
    assert found.code == error.response["Error"]["Code"]


@pytest.mark.parametrize("error", [*DISCONNECTIONS, *NO_CONNECTION], ids=kind)
def test_no_connection_to_the_end_is_unreachable(error):
    found = translated(error)
    assert type(found) is errors.UnreachableError
    assert found.code == ""
    assert str(found).endswith(".")


@pytest.mark.parametrize("error", DAMAGED, ids=kind)
def test_damaged_to_the_end_is_unreachable_too(error):
    assert type(translated(error)) is errors.UnreachableError


def test_a_wrong_certificate_is_unreachable():
    error = aws.SSLError(endpoint_url=ENDPOINT, error=ssl.SSLError("certificate verify failed"))
    found = translated(error)
    assert type(found) is errors.UnreachableError
    assert "certificate verify failed" in str(found)


@pytest.mark.parametrize(
    "error",
    [
        aws.NoCredentialsError(),
        aws.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        aws.CredentialRetrievalError(provider="process", error_msg="it failed"),
        aws.ProfileNotFound(profile="nobody"),
        aws.TokenRetrievalError(provider="sso", error_msg="expired"),
        aws.SSOTokenLoadError(error_msg="no token"),
        aws.UnauthorizedSSOTokenError(),
    ],
    ids=kind,
)
def test_missing_credentials_say_what_to_do(error):
    found = translated(error)
    assert type(found) is errors.CredentialsError
    assert "AWS_PROFILE" in str(found)


@pytest.mark.parametrize(
    "error", [KeyError("a bug"), TypeError("a bug"), AssertionError(), RuntimeError()], ids=kind
)
def test_what_is_not_of_aws_is_not_translated(error):
    assert translate(error, "Scan", "us-east-1/orders") is None


def test_cancellation_is_never_taken_for_a_failure_of_the_service():
    assert not issubclass(asyncio.CancelledError, Exception)


@thoroughly
@given(
    st.text(min_size=1, max_size=20),
    st.text(max_size=40),
    st.sampled_from((0, 200, 400, 403, 404, 413, 500, 503)),
)
def test_any_answer_has_a_cure_and_one_sentence(code, message, status):
    error = answer(code, message, status)
    found = translate(error, "Scan", "us-east-1/orders")
    assert isinstance(found, errors.ServiceError)
    assert (cure(error) is Cure.NONE) == (
        not isinstance(found, (errors.UnreachableError, errors.ThrottledError))
    )


@pytest.mark.parametrize("kept", [*THROTTLES, *TRANSIENT])
def test_what_is_tried_again_is_never_called_the_request_s_fault(kept):
    assert not isinstance(translated(answer(kept)), (errors.RejectedError, errors.ConditionFailedError))


# ── Checksums ───────────────────────────────────────────────────────────────────────────────────────


@thoroughly
@given(st.binary(max_size=100))
def test_an_answer_that_matches_its_checksum_is_believed(body):
    check_crc({"x-amz-crc32": str(zlib.crc32(body))}, body)


@thoroughly
@given(st.binary(min_size=1, max_size=100), st.integers(0, 799))
def test_one_flipped_bit_anywhere_is_noticed(body, bit):
    damaged = bytearray(body)
    damaged[bit // 8 % len(body)] ^= 1 << bit % 8
    with pytest.raises(ChecksumError):
        check_crc({"x-amz-crc32": str(zlib.crc32(body))}, bytes(damaged))


def test_a_body_cut_short_or_prolonged_is_noticed():
    body = b'{"Items":[],"Count":0}'
    headers = {"x-amz-crc32": str(zlib.crc32(body))}
    for damaged in (body[:-1], body + b"\n", b"", b" " + body):
        with pytest.raises(ChecksumError):
            check_crc(headers, damaged)


def test_an_answer_without_checksum_is_believed():
    check_crc({}, b"anything")
    check_crc({"content-type": "application/x-amz-json-1.0"}, b"")


def test_checksums_are_unsigned():
    body = next(body for body in (b"%d" % n for n in range(100)) if zlib.crc32(body) >= 2**31)
    check_crc({"x-amz-crc32": str(zlib.crc32(body))}, body)
    with pytest.raises(ChecksumError):
        check_crc({"x-amz-crc32": str(zlib.crc32(body) - 2**31)}, body)


@pytest.mark.parametrize("header", ["", "abc", "-1", "1.5", "12 34"])
def test_a_damaged_checksum_is_a_damaged_answer(header):
    with pytest.raises((ChecksumError, ValueError)) as caught:
        check_crc({"x-amz-crc32": header}, b"{}")
    assert cure(caught.value) is Cure.RETRY
    assert type(translated(caught.value)) is errors.UnreachableError
