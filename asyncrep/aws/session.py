"""Makes aioboto3 clients, and those of DynamoDB and its streams, which carry raw bodies. See also ``openers.py``.

The seam to botocore is four of its public events, registered on our clients alone, so that a caller's
session stays as it was:

    provide-client-params   takes our request body out of the call's parameters
    before-call             puts it in place of the body that botocore serialized, before it is signed
    before-parse            checks the answer's checksum, and hands the body on instead of parsing it
    needs-retry             is unregistered: there is one retry layer, ours (``asyncrep.aws.client``)

Requests to streams are short: only their answers are raw, so only the last two are needed.
"""

from __future__ import annotations

import zlib
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from asyncrep.aws.credentials import assume_role, check_role, session_of_profile
from asyncrep.aws.errors import ChecksumError, raise_translated
from asyncrep.errors import AsyncrepError, UsageError
from asyncrep.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import aioboto3
    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_dynamodbstreams import DynamoDBStreamsClient

    from asyncrep.location import TableRef

BODY = "AsyncrepBody"
"""The parameter that carries a raw request body, and the member of a result that carries a raw answer."""

DEFAULT_REGION = "us-east-1"
"""The Region of a local endpoint when neither the location nor the environment names one."""

_CONTEXT_KEY = "asyncrep_body"
MOST_CONNECTIONS = 512
"""Of one client; they are opened on demand only, and what really bounds them is Limits."""

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 30.0


@asynccontextmanager
async def open_client(
    ref: TableRef,
    *,
    session: aioboto3.Session | None = None,
    profile: str | None = None,
    role_arn: str | None = None,
    answer_seconds: float = _READ_SECONDS,
) -> AsyncIterator[DynamoDBClient]:
    """Open a DynamoDB client for the table's Region and endpoint.

    Args:
        ref: where the table is.
        session: the caller's session; without one, the environment's credentials and config are used.
        profile: a profile of the AWS config files, instead of ``session``.
        role_arn: a role to assume with those credentials.
        answer_seconds: how long a call may be without an answer.

    Raises:
        UsageError: the role or the endpoint is malformed.
        CredentialsError: the profile does not exist, or the role cannot be assumed.
    """
    means = Means(session, profile, role_arn)
    settings = {
        "max_pool_connections": MOST_CONNECTIONS,
        "parameter_validation": False,
        "read_timeout": answer_seconds,
    }
    async with opened("dynamodb", str(ref), means, ref.region, ref.endpoint_url, settings) as client:
        _install(client)
        yield client


@asynccontextmanager
async def open_streams_client(
    ref: TableRef,
    *,
    session: aioboto3.Session | None = None,
    endpoint_url: str | None = None,
    profile: str | None = None,
    role_arn: str | None = None,
) -> AsyncIterator[DynamoDBStreamsClient]:
    """Open a client of the streams in the table's Region, with the same means as ``open_client``.

    Args:
        ref: where the table is.
        session: the caller's session.
        endpoint_url: another endpoint than the Region's or the environment's; that of ``ref`` is for tables.
        profile: a profile of the AWS config files, instead of ``session``.
        role_arn: a role to assume with those credentials.

    Raises:
        UsageError: the role or the endpoint is malformed.
        CredentialsError: the profile does not exist, or the role cannot be assumed.
    """
    means = Means(session, profile, role_arn)
    settings = {"max_pool_connections": MOST_CONNECTIONS, "parameter_validation": False}
    async with opened("dynamodbstreams", str(ref), means, ref.region, endpoint_url, settings) as client:
        events: Any = client.meta.events
        events.unregister("needs-retry.dynamodb-streams", unique_id="retry-config-dynamodb-streams")
        events.register("before-parse.dynamodb-streams", _check_and_hand_on)
        yield client


def load_libraries() -> None:
    """Import what clients are made with, so that it was done before the first one is needed."""
    import aioboto3  # noqa: F401, PLC0415
    import aiobotocore.config  # noqa: F401, PLC0415


class Means(NamedTuple):
    """With which credentials a client is made."""

    session: aioboto3.Session | None
    profile: str | None
    role_arn: str | None


@asynccontextmanager
async def opened(
    service: str,
    place: str,
    means: Means,
    region: str | None,
    endpoint_url: str | None,
    settings: Mapping[str, Any],
    *,
    kind: Literal["client", "resource"] = "client",
) -> AsyncIterator[Any]:
    """Open a client that makes a single attempt: there is one retry layer, ours.

    ``settings`` are botocore's, before those that are the same for every client.
    """
    import aiobotocore  # noqa: PLC0415 - takes longer to import than a whole --help may
    from aiobotocore.config import AioConfig  # noqa: PLC0415

    from asyncrep.aws.connections import SingleSend  # noqa: PLC0415

    role_arn = means.role_arn
    if role_arn is not None:
        check_role(role_arn)
    async with AsyncExitStack() as stack:
        try:
            base = means.session or session_of_profile(means.profile)
            region = region or base.region_name or DEFAULT_REGION
            if role_arn:
                base = await assume_role(base, role_arn, region)
            common: dict[str, Any] = {
                "connect_timeout": _CONNECT_SECONDS,
                "read_timeout": _READ_SECONDS,
                "retries": {"total_max_attempts": 1, "mode": "standard"},
                "http_session_cls": SingleSend,
                # Else botocore puts a User-Agent together and sanitizes it anew for every request: 10 % of them.
                "user_agent": f"asyncrep/{__version__} aiobotocore/{aiobotocore.__version__}",
            }
            config = AioConfig(**(common | dict(settings)))
            make = base.client if kind == "client" else base.resource
            client = await stack.enter_async_context(
                make(service, region_name=region, endpoint_url=endpoint_url, config=config)
            )
        except AsyncrepError:
            raise
        except ValueError as error:  # what botocore raises for an endpoint that is no URL
            raise UsageError(f"{place} cannot be opened: {error}.") from error
        except Exception as error:  # noqa: BLE001 - translated or raised as it is
            raise_translated(error, "Opening a session", place)
        yield client


def _install(client: DynamoDBClient) -> None:
    events: Any = client.meta.events  # the stubs know only handlers that return nothing
    events.unregister("needs-retry.dynamodb", unique_id="retry-config-dynamodb")
    events.register("provide-client-params.dynamodb", _take_body)
    events.register("before-call.dynamodb", _place_body)
    events.register("before-parse.dynamodb", _check_and_hand_on)


def _take_body(params: dict[str, Any], context: dict[str, Any], **_: object) -> dict[str, Any] | None:
    if BODY not in params:
        return None
    context[_CONTEXT_KEY] = params[BODY]
    return {name: value for name, value in params.items() if name != BODY}


def _place_body(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    body = context.get(_CONTEXT_KEY)
    if body is not None:
        params["body"] = body


# The operations whose answers are always raw; the event that precedes parsing knows no more.
RAW_OPERATIONS = frozenset({
    "Scan", "BatchGetItem", "BatchWriteItem", "PutItem", "UpdateItem", "DeleteItem", "GetRecords",
    "TransactWriteItems",
})  # fmt: skip
RAW_REFUSALS = frozenset({"TransactWriteItems"})
"""The operations whose refusals hold items, and are handed on raw beside what botocore makes of them."""


def _check_and_hand_on(
    operation_model: Any, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object
) -> None:
    body: bytes = response_dict["body"]
    check_crc(response_dict["headers"], body)
    name, refused = operation_model.name, response_dict["status_code"] >= 300
    if name in (RAW_REFUSALS if refused else RAW_OPERATIONS):
        customized_response_dict[BODY] = body
    if name in RAW_OPERATIONS and not refused:
        response_dict["body"] = b"{}"


def check_crc(headers: Mapping[str, str], body: bytes) -> None:
    """Believe an answer only if its body matches the checksum that DynamoDB sent with it.

    Raises:
        ChecksumError: it does not match. Answers without the header are believed.
    """
    expected = headers.get("x-amz-crc32")
    if expected is not None and expected.strip() != str(zlib.crc32(body)):
        raise ChecksumError("its CRC-32 is wrong")
