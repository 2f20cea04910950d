"""Words for tests that talk to an endpoint with a stock client."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError


def item(key: str, **attributes: dict[str, Any]) -> dict[str, Any]:
    return {"id": {"S": key}, **attributes}


def guarded(condition: str, values: dict[str, Any] | None = None, **names: str) -> dict[str, Any]:
    """The parameters of a condition: names by `#letter`, values as given."""
    parameters: dict[str, Any] = {"ConditionExpression": condition}
    parameters["ExpressionAttributeNames"] = {f"#{letter}": name for letter, name in names.items()}
    if values is not None:
        parameters["ExpressionAttributeValues"] = values
    return parameters


async def refusal(operation: Any) -> tuple[str, str]:
    """The code and message of the error the operation meets with."""
    with pytest.raises(ClientError) as caught:
        await operation
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


async def scan(client: Any, **parameters: Any) -> list[dict[str, Any]]:
    """The answers of a whole scan."""
    pages = [await client.scan(TableName="t", **parameters)]
    while last := pages[-1].get("LastEvaluatedKey"):
        pages.append(await client.scan(TableName="t", ExclusiveStartKey=last, **parameters))
    return pages
