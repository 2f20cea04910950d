"""What each exception of botocore and aiohttp means: whether to try again, and what to raise."""

from __future__ import annotations

import re
from enum import Enum
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any, NoReturn

from msgspec import MsgspecError

from asyncrep import errors

if TYPE_CHECKING:
    from asyncrep.errors import ServiceError


class ChecksumError(Exception):
    """An answer's body does not match its ``x-amz-crc32`` header: it was damaged on the way."""


class Cure(Enum):
    """What can be done about a failed call."""

    NONE = "none"
    RETRY = "retry"
    SLOW_DOWN = "slow down"


# What an answer raises that does not match its checksum, is no UTF-8 any more, or no JSON.
_DAMAGED = (ChecksumError, UnicodeDecodeError, JSONDecodeError, MsgspecError)

_THROTTLES = frozenset({
    "LimitExceededException",
    "SlowDown",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
})  # fmt: skip
_TRANSIENT = frozenset({
    "ConditionalRequestConflict",
    "InternalFailure",
    "InternalServerError",
    "ReplicatedWriteConflictException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "TransactionConflictException",
    "TransactionInProgressException",
})  # fmt: skip
_CLASSES: dict[str, type[ServiceError]] = {
    "AccessDenied": errors.PermissionDeniedError,
    "AccessDeniedException": errors.PermissionDeniedError,
    "ConditionalCheckFailedException": errors.ConditionFailedError,
    "ExpiredIteratorException": errors.IteratorExpiredError,
    "ExpiredToken": errors.CredentialsError,
    "ExpiredTokenException": errors.CredentialsError,
    "IncompleteSignature": errors.CredentialsError,
    "IncompleteSignatureException": errors.CredentialsError,
    "InvalidClientTokenId": errors.CredentialsError,
    "InvalidAccessKeyId": errors.CredentialsError,
    "InvalidSignatureException": errors.CredentialsError,
    "InvalidMessageContents": errors.RejectedError,
    "InvalidParameterValue": errors.RejectedError,
    "ItemCollectionSizeLimitExceededException": errors.RejectedError,
    "MissingAuthenticationToken": errors.CredentialsError,
    "MissingAuthenticationTokenException": errors.CredentialsError,
    "NoSuchBucket": errors.BucketNotFoundError,
    "PreconditionFailed": errors.ConditionFailedError,
    "ResourceNotFoundException": errors.TableNotFoundError,
    "SerializationException": errors.RejectedError,
    "SignatureDoesNotMatch": errors.CredentialsError,
    "TableNotFoundException": errors.TableNotFoundError,
    "TrimmedDataAccessException": errors.DataTrimmedError,
    "UnrecognizedClientException": errors.CredentialsError,
    "ValidationException": errors.RejectedError,
}
_OF_STREAMS = frozenset({"DescribeStream", "GetShardIterator", "GetRecords"})
_NOT_FOUND: dict[type[ServiceError], str] = {
    errors.TableNotFoundError: "There is no table {} (any more).",
    errors.BucketNotFoundError: "There is no S3 bucket for {}.",
    errors.StreamNotFoundError: "The stream of {}, or a shard of it, is not there (any more).",
}

# What cancels a transaction, by the code that says the same of a single write; the worst reason comes first.
# Source: API reference of TransactWriteItems, "Cancellation reason codes and possible error messages".
_CANCELED = "TransactionCanceledException"
_REASONS = {
    "ValidationError": "ValidationException",
    "ItemCollectionSizeLimitExceeded": "ItemCollectionSizeLimitExceededException",
    "ThrottlingError": "ThrottlingException",
    "ProvisionedThroughputExceeded": "ProvisionedThroughputExceededException",
    "TransactionConflict": "TransactionConflictException",
    "ConditionalCheckFailed": "ConditionalCheckFailedException",
}
_NO_REASON = "None"

_LONGEST_MESSAGE = 600
# What messages of the service and of botocore quote: requests and items, which must not get into logs.
_QUOTED = (
    # A refused signature: what should have been signed, with the session token among the headers.
    (re.compile(r"The (?:Canonical String|String-to-Sign)\b.*", re.DOTALL), ""),
    (re.compile(r"\bValue '.*' at '", re.DOTALL), "Value '…' at '"),
    (re.compile(r"(cannot be converted to a numeric value): .*", re.DOTALL), r"\1."),
    # botocore shows the body of an answer that it cannot read.
    (re.compile(r"(Unable to parse response \([^)]*\)).*", re.DOTALL), r"\1."),
    (re.compile(r"://[^/\s@]*@"), "://"),
)


def cure(error: Exception) -> Cure:
    """Tell whether the call that failed with ``error`` is worth trying again."""
    from botocore.exceptions import (  # noqa: PLC0415
        ClientError,
        FlexibleChecksumError,
        HTTPClientError,
        SSLError,
    )
    from botocore.exceptions import ConnectionError as ConnectError  # noqa: PLC0415 - no Python ConnectionError
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    if isinstance(error, ClientError):
        code, status = _code(error), _status(error)
        if code in _THROTTLES:
            return Cure.SLOW_DOWN
        return Cure.RETRY if code in _TRANSIENT or status >= 500 else Cure.NONE
    if isinstance(error, SSLError):
        return Cure.NONE
    transient = (
        *_DAMAGED, *_torn(), FlexibleChecksumError, ResponseParserError,
        HTTPClientError, ConnectError, ConnectionError, TimeoutError,
    )  # fmt: skip
    return Cure.RETRY if isinstance(error, transient) else Cure.NONE


def _torn() -> tuple[type[Exception], ...]:
    """Return what an object's body raises when it breaks off."""
    from aiohttp import ClientPayloadError  # noqa: PLC0415
    from botocore.exceptions import IncompleteReadError  # noqa: PLC0415

    return ClientPayloadError, IncompleteReadError


def is_silence(error: Exception) -> bool:
    """Tell whether nothing answered a call: there was no connection, or a time-out."""
    from aiohttp import ClientConnectorError, ClientOSError  # noqa: PLC0415
    from botocore.exceptions import (  # noqa: PLC0415
        ConnectTimeoutError,
        EndpointConnectionError,
        ReadTimeoutError,
    )

    if isinstance(error, EndpointConnectionError):  # also for a connection that was there, and was reset
        cause = error.kwargs.get("error")
        return not isinstance(cause, ClientOSError) or isinstance(cause, ClientConnectorError)
    return isinstance(error, ConnectTimeoutError | ReadTimeoutError | TimeoutError)


def translate(error: Exception, action: str, place: str) -> ServiceError | None:
    """Return the asyncrep error that says in one sentence what happened, None for errors not of AWS.

    Args:
        error: what botocore, aiohttp or the answer's parser raised.
        action: the operation that failed, as ``Scan``.
        place: the table, as the user named it.
    """
    from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError  # noqa: PLC0415
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    if isinstance(error, ClientError):
        return _from_answer(error, action, place)
    name = type(error).__name__
    if name in {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound",
                "TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError"}:  # fmt: skip
        return errors.CredentialsError(
            f"No AWS credentials for {place}: {_sentence(error)} "
            "Set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile."
        )
    if isinstance(error, _torn()):
        return errors.UnreachableError(f"{action} on {place}: the answer broke off.")
    if isinstance(error, (*_DAMAGED, FlexibleChecksumError, ResponseParserError)):
        return errors.UnreachableError(f"{action} on {place}: the answer was damaged: {_sentence(error)}")
    if isinstance(error, BotoCoreError | ConnectionError | TimeoutError):
        return errors.UnreachableError(f"{action} on {place} could not reach the service: {_sentence(error)}")
    return None


def raise_translated(error: Exception, action: str, place: str, *, maybe_done: bool = False) -> NoReturn:
    """Raise what ``translate`` makes of an exception, or the exception as it is.

    ``maybe_done`` says that a try of the call got no answer.
    """
    translated = translate(error, action, place)
    if translated is None:
        raise error
    translated.maybe_done = maybe_done
    raise translated from error


def _from_answer(error: Any, action: str, place: str) -> ServiceError:
    code, status = _code(error), _status(error)
    message = _message(error) or "no further message"
    if code.isdigit() or (not code and status >= 300):
        # No error of the service: the message is the body of whatever answered.
        message = "the answer names no error of the service."
    if code in _THROTTLES:
        return errors.ThrottledError(
            f"{action} on {place} is still throttled after every retry ({code}).", code=code
        )
    known = _CLASSES.get(code)
    if known is errors.TableNotFoundError and action in _OF_STREAMS:
        known = errors.StreamNotFoundError
    if known is not None:
        missing = _NOT_FOUND.get(known)
        refusal = f"{action} on {place}: {code}: {_one_line(message)}"
        return known(refusal if missing is None else missing.format(place), code=code)
    if status >= 500 or code in _TRANSIENT:
        return errors.UnreachableError(
            f"{action} on {place} kept failing with {code}: {_one_line(message)}", code=code
        )
    return errors.ServiceError(f"{action} on {place}: {code}: {_one_line(message)}", code=code)


def _code(error: Any) -> str:
    """Return the code of an error; of a canceled transaction that of the worst reason."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code != _CANCELED:
        return code
    told = {reason.get("Code", _NO_REASON) for reason in _reasons(error)} - {_NO_REASON, None}
    if not told or told - _REASONS.keys():  # a reason that nobody knows may be anything
        return code
    return next(known for reason, known in _REASONS.items() if reason in told)


def _message(error: Any) -> str:
    code = _code(error)
    reasons = (reason for reason in _reasons(error) if _REASONS.get(reason.get("Code", "")) == code)
    decisive = next(reasons, {}).get("Message")
    return str(decisive or error.response.get("Error", {}).get("Message") or "")


def _reasons(error: Any) -> list[dict[str, Any]]:
    """Return why a transaction was canceled, action by action."""
    return error.response.get("CancellationReasons") or []


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _sentence(error: Exception) -> str:
    return _one_line(str(error)).rstrip(".") + "."


def _one_line(message: str) -> str:
    """Return a message on one line, without what it quotes of credentials and items, and not endless."""
    for quoted, replacement in _QUOTED:
        message = quoted.sub(replacement, message)
    line = " ".join(message.split())
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]}…"
