"""What a backup tells of its table is what CreateTable takes: the same table is made of it again."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from asyncrep import open_table
from tests.support.engines import REGION
from tests.support.scenario import session

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE: dict[str, Any] = {
    "AttributeDefinitions": [
        {"AttributeName": "h", "AttributeType": "S"},
        {"AttributeName": "r", "AttributeType": "N"},
        {"AttributeName": "x", "AttributeType": "B"},
    ],
    "KeySchema": [
        {"AttributeName": "h", "KeyType": "HASH"},
        {"AttributeName": "r", "KeyType": "RANGE"},
    ],
    "BillingMode": "PROVISIONED",
    "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6},
    "LocalSecondaryIndexes": [
        {
            "IndexName": "local",
            "KeySchema": [
                {"AttributeName": "h", "KeyType": "HASH"},
                {"AttributeName": "x", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "global",
            "KeySchema": [{"AttributeName": "x", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["y"]},
            "ProvisionedThroughput": {"ReadCapacityUnits": 7, "WriteCapacityUnits": 8},
        }
    ],
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
}
SMALL: dict[str, Any] = {
    "AttributeDefinitions": [{"AttributeName": "h", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "h", "KeyType": "HASH"}],
    "BillingMode": "PAY_PER_REQUEST",
}


@pytest.fixture
def dynamodb(moto_url: str) -> Iterator[Any]:
    client = boto3.client("dynamodb", region_name=REGION, endpoint_url=moto_url)
    yield client
    client.close()


async def described(url: str, name: str) -> dict[str, Any]:
    async with open_table(f"{REGION}/{name}", endpoint_url=url, session=session()) as table:
        return await table.description()


@pytest.mark.parametrize("parameters", [LARGE, SMALL], ids=["large", "small"])
async def test_a_description_is_what_makes_the_table_again(
    dynamodb: Any, moto_url: str, parameters: dict[str, Any]
) -> None:
    name, again = (f"test-{uuid.uuid4().hex[:12]}" for _ in range(2))
    dynamodb.create_table(TableName=name, **parameters)
    told = await described(moto_url, name)
    assert told == parameters
    dynamodb.create_table(TableName=again, **told)
    assert await described(moto_url, again) == parameters
    for each in (name, again):
        dynamodb.delete_table(TableName=each)


async def test_the_key_that_encrypts_a_table_is_told(dynamodb: Any, moto_url: str) -> None:
    name = f"test-{uuid.uuid4().hex[:12]}"
    encryption = {"Enabled": True, "SSEType": "KMS"}
    dynamodb.create_table(TableName=name, **SMALL, SSESpecification=encryption)
    told = (await described(moto_url, name))["SSESpecification"]
    assert told.items() >= encryption.items()
    assert told["KMSMasterKeyId"].startswith("arn:aws:kms:")
    dynamodb.delete_table(TableName=name)
