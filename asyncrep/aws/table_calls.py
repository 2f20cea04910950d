"""The calls to a table whose bodies are raw either way, at a third of what botocore takes for each.

Botocore makes the first one; see ``asyncrep.aws.routes``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from asyncrep.aws import routes
from asyncrep.aws.session import BODY, RAW_REFUSALS, check_crc
from asyncrep.aws.signature import Unsigned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from types_aiobotocore_dynamodb import DynamoDBClient

    from asyncrep.aws.routes import Route

_METHODS = {
    "Scan": "scan",
    "BatchGetItem": "batch_get_item",
    "BatchWriteItem": "batch_write_item",
    "PutItem": "put_item",
    "UpdateItem": "update_item",
    "DeleteItem": "delete_item",
    "TransactWriteItems": "transact_write_items",
}
_VERSION = "DynamoDB_20120810"
_TYPE = "application/x-amz-json-1.0"
_EXPECTED = frozenset({"content-type", "x-amz-target", "accept-encoding"})
_BY_REQUEST_ITEMS = frozenset({"BatchGetItem", "BatchWriteItem"})


class TableCalls:
    """Makes single attempts at calls with a client, whose errors are botocore's.

    Args:
        client: made by ``asyncrep.aws.session.open_client``.
    """

    def __init__(self, client: DynamoDBClient) -> None:
        self._client: Any = client
        self._routes: dict[str, Route] = {}
        routes.watch(client, "dynamodb")

    async def call(self, operation: str, table: str, body: bytes) -> bytes:
        """Send ``body`` as it is and return the answer's, which matches its checksum.

        Raises:
            ClientError: the service refused it.
            ChecksumError: the answer was damaged.
        """
        route = self._routes.get(table)
        if route is None:
            return await self._stock(operation, table, body)
        headers = {"content-type": _TYPE, "x-amz-target": f"{_VERSION}.{operation}"}
        request = Unsigned("POST", route.host, route.path, "", headers, body)
        status, told, answer = await routes.send(self._client, route, request)
        check_crc(told, answer)
        if status != 200:
            raise _refusal(status, told, answer, operation)
        return answer

    async def _stock(self, operation: str, table: str, body: bytes) -> bytes:
        """Let botocore make a call, and learn from it how the table is reached."""
        routes.forget()
        method = getattr(self._client, _METHODS[operation])
        told = await method(**_naming(operation, table), **{BODY: body})
        route = routes.learn(_EXPECTED.__contains__)
        if route is not None and route.service == "dynamodb":
            self._routes[table] = route
        answer: bytes = told[BODY]
        return answer


def _naming(operation: str, table: str) -> dict[str, Any]:
    """Return parameters that name the table: the endpoint rules of botocore want to see it."""
    if operation == "TransactWriteItems":
        return {"TransactItems": [{"ConditionCheck": {"TableName": table}}]}
    if operation in _BY_REQUEST_ITEMS:
        return {"RequestItems": {table: {}}}
    return {"TableName": table}


def _refusal(status: int, headers: Mapping[str, str], body: bytes, operation: str) -> Exception:
    """Return what botocore raises for an answer; of a transaction with the raw body, which holds items.

    Raises:
        UnicodeDecodeError: the answer was damaged.
    """
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        told = msgspec.json.decode(body.decode(), type=dict[str, Any])
    except msgspec.MsgspecError:
        told = {}  # no error of the service: something before it has answered
    kind = str(told.get("__type") or headers.get("x-amzn-errortype") or status)
    error = {"Code": kind.rpartition("#")[2].partition(":")[0]}
    error["Message"] = str(told.get("message") or told.get("Message") or "")
    answer: Any = {
        "Error": error,
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": dict(headers)},
    }
    if operation in RAW_REFUSALS:
        answer[BODY] = body
        answer["CancellationReasons"] = told.get("CancellationReasons")
    return ClientError(answer, operation)
