"""A journal in S3: a part for each commit, several writers, and everything read in order of time."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import UsageError, VirtualClock, open_table
from asyncrep.aws.objects import open_objects
from asyncrep.errors import BucketNotFoundError, ConditionFailedError
from asyncrep.flow.tasks import side_by_side
from asyncrep.jobs.entries import Damaged, Header, Intent, Settled
from asyncrep.jobs.history import read_journal
from asyncrep.jobs.journal import open_journal
from asyncrep.location import S3Place
from asyncrep.model import Missing
from asyncrep.mutation import ItemAbsent, Outcome, Put
from tests.support import engines
from tests.support.scenario import item, key, session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep.aws.objects import Objects
    from asyncrep.aws.table import Table


@pytest.fixture
async def replica(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Table]:
    """A table; S3 is at the same endpoint."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    engine = engines.moto(moto_url)
    async with open_table(f"us-east-1/{engine.create_table()}", session=session()) as table:
        yield table
    engine.delete_tables()


@pytest.fixture
async def place(replica: Table) -> S3Place:  # noqa: ARG001 - what sets the endpoint
    """A bucket of its own, and a prefix with everything that S3 allows."""
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    async with session().client("s3", region_name="us-east-1") as client:
        await client.create_bucket(Bucket=bucket)
    return S3Place(bucket, "a b/../x?y=ü")


@pytest.fixture
async def objects(place: S3Place) -> AsyncIterator[Objects]:
    async with open_objects(place, session=session()) as opened:
        yield opened


def put(id: str) -> tuple[Missing, Put]:
    image = json.dumps(item(id)).encode()
    return Missing(key=key(id), primary=image), Put(key(id), image, ItemAbsent())


async def records(place: S3Place | str) -> list[Any]:
    async with read_journal(place) as read:
        return [record async for record in read]


# ── Objects ─────────────────────────────────────────────────────────────────────────────────────────


async def test_an_object_is_put_read_listed_and_removed(objects: Objects) -> None:
    assert await objects.get("x") is None
    etag = await objects.put("x", b"one")
    assert await objects.get("x") == (b"one", etag)
    names = [f"many/{number:04}" for number in range(1005)]
    for start in range(0, len(names), 100):
        await side_by_side(objects.put(name, b"") for name in names[start : start + 100])
    assert [name async for name in objects.names("many/")] == names
    assert [name async for name in objects.names()][-1] == "x"
    await objects.remove([*names, "never was"])
    assert [name async for name in objects.names()] == ["x"]


async def test_conditions_hold(objects: Objects) -> None:
    first = await objects.put("x", b"one", if_absent=True)
    with pytest.raises(ConditionFailedError) as refused:
        await objects.put("x", b"two", if_absent=True)
    assert not refused.value.maybe_done
    second = await objects.put("x", b"two", if_match=first)
    with pytest.raises(ConditionFailedError):
        await objects.put("x", b"three", if_match=first)
    assert await objects.get("x") == (b"two", second)


async def test_a_bucket_that_is_not_there_is_told_so(replica: Table) -> None:
    async with open_objects(S3Place("no-such-bucket-here", "x"), session=session()) as nowhere:
        for asked in (nowhere.get("x"), nowhere.put("x", b""), anext(nowhere.names())):
            with pytest.raises(BucketNotFoundError, match="no S3 bucket for s3://no-such-bucket-here/x"):
                await asked
    with pytest.raises(BucketNotFoundError):
        async with open_journal("s3://no-such-bucket-here/x", replica, primary="p"):
            pass


# ── Journals ────────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_noted_is_read_again_and_each_commit_is_a_part(
    place: S3Place, replica: Table, objects: Objects
) -> None:
    async with open_journal(str(place), replica, primary="p") as journal:
        assert not journal.begun
        assert [name async for name in objects.names()] == []
        await side_by_side(journal.intend(*put(id)) for id in "abcde")
        assert journal.begun
        names = [name async for name in objects.names()]
        assert "journal.jsonl" in names
        assert f"{journal.by}-00000001.jsonl" in names
        assert len(names) <= 3
        journal.settle(1, Outcome(applied=True))
    header, *rest = await records(place)
    assert isinstance(header, Header)
    assert header.primary == "p"
    assert [type(each) for each in rest] == [Intent] * 5 + [Settled]
    assert {each.by for each in rest} == {journal.by}
    assert await records(f"{place}/") == [header, *rest]


async def test_writers_are_merged_by_time(place: S3Place, replica: Table) -> None:
    clock = VirtualClock()
    async with (
        open_journal(place, replica, primary="p", clock=clock) as one,
        open_journal(place, replica, primary="p", clock=clock) as other,
    ):
        for number in range(6):
            await clock.sleep(1)
            await (one, other)[number % 2].intend(*put(str(number)))
    _, *intents = await records(place)
    assert [each.key for each in intents] == [key(str(number)) for number in range(6)]
    assert [each.n for each in intents] == [1, 1, 2, 2, 3, 3]


async def test_what_is_no_journal_is_refused_and_what_is_no_part_is_told(
    place: S3Place, replica: Table, objects: Objects
) -> None:
    with pytest.raises(UsageError, match="There is no journal s3://"):
        await records(place)
    await objects.put("other", b"")
    with pytest.raises(UsageError, match="is not a journal: 'other' is there"):
        async with open_journal(place, replica, primary="p"):
            pass
    await objects.remove(["other"])
    async with open_journal(place, replica, primary="p") as journal:
        await journal.intend(*put("a"))
    await objects.put("0-0000001.jsonl", b"torn")
    await objects.put("other", b"")
    _, *rest = await records(place)
    assert {type(each) for each in rest} == {Intent, Damaged}
    assert {each.where for each in rest if isinstance(each, Damaged)} == {
        f"{place}/other",
        f"{place}/0-0000001.jsonl",
    }


async def test_a_part_that_is_gone_is_told(replica: Table, place: S3Place, objects: Objects) -> None:
    async with open_journal(place, replica, primary="us-east-1/orders") as journal:
        for name in "abc":
            await journal.intend(*put(name))
    parts = [name async for name in objects.names() if name.startswith(journal.by)]
    assert len(parts) == 3
    await objects.remove([parts[1]])
    found = await records(place)
    [damaged] = [record for record in found if isinstance(record, Damaged)]
    assert damaged.where == f"{place}/{parts[1]}"
    assert [record.key for record in found if isinstance(record, Intent)] == [key("a"), key("c")]
