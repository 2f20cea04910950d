"""A table is made as a backup describes it, and only where there is none."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep.aws.create import create_table, turn_on_ttl
from asyncrep.aws.place import Place
from asyncrep.aws.table import open_table
from asyncrep.backup.creation import check_creatable, create_for
from asyncrep.backup.opening import open_backup
from asyncrep.errors import BackupError, UsageError
from asyncrep.flow.clock import SystemClock, VirtualClock
from asyncrep.location import TableRef
from tests.support.engines import REGION, Engine, moto
from tests.support.restores import BY_ID, foreign_dump, our_dump, put
from tests.support.scenario import Log, item, items

if TYPE_CHECKING:
    from pathlib import Path

RICH: dict[str, Any] = {
    "AttributeDefinitions": [
        {"AttributeName": "id", "AttributeType": "S"},
        {"AttributeName": "at", "AttributeType": "N"},
        {"AttributeName": "owner", "AttributeType": "B"},
    ],
    "KeySchema": [
        {"AttributeName": "id", "KeyType": "HASH"},
        {"AttributeName": "at", "KeyType": "RANGE"},
    ],
    "BillingMode": "PROVISIONED",
    "ProvisionedThroughput": {"ReadCapacityUnits": 7, "WriteCapacityUnits": 9},
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by-owner",
            "KeySchema": [{"AttributeName": "owner", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
            "ProvisionedThroughput": {"ReadCapacityUnits": 3, "WriteCapacityUnits": 4},
        }
    ],
    "LocalSecondaryIndexes": [
        {
            "IndexName": "again",
            "KeySchema": [
                {"AttributeName": "id", "KeyType": "HASH"},
                {"AttributeName": "owner", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"]},
        }
    ],
}
STREAM = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}}


@pytest.fixture
def aws(moto_url: str) -> Engine:
    """moto, which knows everything that a table can have."""
    return moto(moto_url)


def place_on(engine: Engine) -> Place:
    return Place(TableRef.parse(f"{REGION}/made-{uuid.uuid4().hex[:8]}", endpoint_url=engine.url))


async def test_a_made_table_is_described_as_the_one_it_was_made_after(engine: Engine) -> None:
    place = place_on(engine)
    created = await create_table(place, RICH, clock=VirtualClock())
    try:
        async with open_table(place.ref) as table:
            described = await table.description()
    finally:
        engine.call("DeleteTable", {"TableName": place.ref.table})
    assert created == (True, [])
    assert {name: described[name] for name in RICH if name != "AttributeDefinitions"} == {
        name: RICH[name] for name in RICH if name != "AttributeDefinitions"
    }


async def test_ttl_and_stream_are_turned_on(aws: Engine) -> None:
    place = place_on(aws)
    assert await create_table(place, BY_ID | STREAM, clock=VirtualClock()) == (True, [])
    assert await turn_on_ttl(place, "expires", clock=VirtualClock()) == []
    async with open_table(place.ref) as table:
        assert (table.settings.ttl_attribute, table.settings.stream_view) == ("expires", "NEW_AND_OLD_IMAGES")


async def test_a_table_that_is_there_is_refused(engine: Engine) -> None:
    ref = TableRef.parse(f"{REGION}/{engine.create_table()}", endpoint_url=engine.url)
    with pytest.raises(UsageError, match=r"There is a table .* already: leave out --create"):
        await create_table(Place(ref), BY_ID, clock=VirtualClock())


@pytest.mark.parametrize("made", ["by itself", "by another key", "long ago", "with items"])
async def test_only_a_table_that_may_be_the_one_that_was_asked_for_is_gone_on_with(
    aws: Engine, tmp_path: Path, made: str
) -> None:
    key = ("other", "S") if made == "by another key" else ("id", "S")
    name = aws.create_table(hash=key, items=[item("theirs")] if made == "with items" else [])
    put(tmp_path, our_dump([items(3)], ttl_attribute="expires"))
    place = Place(TableRef.parse(f"{REGION}/{name}", endpoint_url=aws.url))
    since = SystemClock().now() + (3600 if made == "long ago" else 0)
    async with open_backup(str(tmp_path)) as backup:
        if made == "by itself":
            assert await create_for(backup, place, made_since=since) == []
        else:
            with pytest.raises(UsageError, match=r"There is a table .* already: leave out --create"):
                await create_for(backup, place, made_since=since)
    ttl = aws.call("DescribeTimeToLive", {"TableName": name})["TimeToLiveDescription"]
    assert ttl["TimeToLiveStatus"] == ("ENABLED" if made == "by itself" else "DISABLED")


async def test_a_key_of_another_region_is_left_to_aws_and_that_is_told(aws: Engine) -> None:
    key = "arn:aws:kms:eu-west-1:123456789012:key/12345678-1234-1234-1234-123456789012"
    encrypted = {"SSESpecification": {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}}
    created = await create_table(place_on(aws), BY_ID | encrypted, clock=VirtualClock())
    assert created.notes[0].startswith(f"The key that encrypted the table, {key}, is of another Region")


async def test_for_a_damaged_backup_no_table_is_to_be_made(aws: Engine, tmp_path: Path) -> None:
    objects = our_dump([items(10, n=1), items(10, n=2)])
    put(tmp_path, objects | {"1": objects["0"]})
    place = place_on(aws)
    async with open_backup(str(tmp_path)) as backup:
        with pytest.raises(BackupError):
            await check_creatable(backup, place, observer=Log())


async def test_what_describes_no_table_is_refused_with_the_reason(aws: Engine, tmp_path: Path) -> None:
    put(tmp_path, foreign_dump([items(3)]))
    async with open_backup(str(tmp_path)) as backup:
        with pytest.raises(
            UsageError, match=r"has no manifest, in which asyncrep describes the table\): make the"
        ):
            await create_for(backup, place_on(aws))
