"""The lease table: KCL's rows and rules, writes that nobody else's change is lost to, and lost answers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from asyncrep import (
    RetryPolicy,
    TableNotFoundError,
    ThrottledError,
    UnreachableError,
    UsageError,
    VirtualClock,
)
from asyncrep.aws.lease import LATEST, SHARD_END, TRIM_HORIZON, Lease
from asyncrep.aws.leases import default_task_table, open_lease_table
from tests.support.engines import REGION
from tests.support.scenario import session

NAME = "task"
ROW = {
    "leaseKey": {"S": "shard-2"},
    "leaseOwner": {"S": "a"},
    "leaseCounter": {"N": "7"},
    "checkpoint": {"S": "000000000000000000123"},
    "checkpointSubSequenceNumber": {"N": "0"},
    "ownerSwitchesSinceCheckpoint": {"N": "1"},
    "parentShardId": {"SS": ["shard-0", "shard-1"]},
}
LEASE = Lease(
    key="shard-2",
    owner="a",
    counter=7,
    checkpoint="000000000000000000123",
    switches=1,
    parents=frozenset({"shard-0", "shard-1"}),
)


@asynccontextmanager
async def leases(url, clock=None, *, name=NAME, region=REGION, **options):
    async with open_lease_table(
        name, region, endpoint_url=url, session=session(), clock=clock or VirtualClock(), **options
    ) as table:
        yield table


@pytest.fixture
def rows(endpoint):
    """The scripted lease table, with KCL's row."""
    return endpoint.create_table(NAME, hash=("leaseKey", "S"), items=[ROW])


@pytest.fixture
async def table(endpoint, rows):
    async with leases(endpoint.url, name=rows.name) as table:
        yield table


# ── Names ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_without_name_has_the_table_of_the_cross_region_library():
    name = default_task_table("us-east-1", "orders", [("eu-west-1", "copy")])
    # echo -n us-east-1orderseu-west-1copy | md5sum
    assert name == "DynamoDBCrossRegionReplication" + "5a69ff8288984c68b13d3d475f590273"


def test_further_destinations_follow_in_their_order():
    first, second = ("eu-west-1", "orders"), ("eu-west-2", "orders")
    names = {
        default_task_table("us-east-1", "orders", places)
        for places in ([first], [second], [first, second], [second, first])
    }
    assert len(names) == 4


def test_a_task_name_follows_the_prefix():
    assert default_task_table("r", "t", [], "nightly") == "DynamoDBCrossRegionReplicationnightly"
    assert len(default_task_table("r", "t", [], "n" * 225)) == 255


@pytest.mark.parametrize("name", ["", "a b", "a/b", "é", "n" * 226, "a\n"])
def test_a_task_name_that_makes_no_table_name_is_refused(name):
    with pytest.raises(UsageError, match="is not a task name"):
        default_task_table("r", "t", [], name)


@pytest.mark.parametrize("name", ["ab", "a/b", "n" * 256])
async def test_a_table_name_that_is_none_is_refused(endpoint, name):
    with pytest.raises(UsageError, match="is not a table name"):
        async with leases(endpoint.url, name=name):
            pass


# ── The table ───────────────────────────────────────────────────────────────────────────────────────


async def test_the_table_is_made_if_there_is_none(endpoint):
    async with leases(endpoint.url) as table:
        with pytest.raises(TableNotFoundError, match="There is no table us-east-1/task"):
            await table.check()
        await table.create()
        await table.create()
        await table.check()
        assert await table.list() == []
    (request,) = endpoint.requests("CreateTable")
    assert request.body["BillingMode"] == "PAY_PER_REQUEST"
    assert endpoint.table(NAME).keys == [("leaseKey", "S")]


async def test_a_table_that_is_being_made_is_waited_for(endpoint, rows):
    rows.description["TableStatus"] = "CREATING"
    endpoint.after("DescribeTable", lambda _: rows.description.clear(), after=3)
    clock = VirtualClock()
    async with leases(endpoint.url, clock) as table:
        await table.create()
    assert clock.monotonic() == 4.0
    assert endpoint.count("CreateTable") == 0


async def test_a_table_that_never_gets_ready_is_given_up(endpoint, rows):
    rows.description["TableStatus"] = "DELETING"
    async with leases(endpoint.url) as table:
        with pytest.raises(UnreachableError, match="The lease table us-east-1/task did not get ready"):
            await table.create()


async def test_a_worker_that_was_faster_is_no_error(endpoint):
    endpoint.before("CreateTable", lambda endpoint: endpoint.create_table(NAME, hash=("leaseKey", "S")))
    async with leases(endpoint.url) as table:
        await table.create()
        assert await table.list() == []


@pytest.mark.parametrize(
    "keys",
    [
        {"hash": ("id", "S")},
        {"hash": ("leaseKey", "N")},
        {"hash": ("leaseKey", "S"), "range": ("at", "N")},
    ],
)
async def test_a_table_of_another_kind_is_refused(endpoint, keys):
    endpoint.create_table(NAME, **keys)
    async with leases(endpoint.url) as table:
        with pytest.raises(UsageError, match="The table us-east-1/task is no lease table"):
            await table.create()
        with pytest.raises(UsageError, match="is no lease table"):
            await table.check()


async def test_a_lease_lives_through_all_its_states_on_real_engines(engine):
    name = engine.create_table(hash=("leaseKey", "S"))
    async with leases(engine.url, name=name) as table:
        await table.create()
        new = Lease(key="shard-1", checkpoint=TRIM_HORIZON, parents=frozenset({"shard-0"}), source="s")
        assert await table.add(new)
        assert not await table.add(replace(new, checkpoint=LATEST))
        assert await table.list() == [new]
        taken = await table.take(replace(new, destinations="d"), "a")
        stolen = await table.take(taken, "b")
        assert stolen == replace(new, counter=2, owner="b", switches=1, destinations="d")
        assert await table.renew(taken) is None
        renewed = await table.renew(stolen, 1500)
        done = await table.checkpoint(renewed, 123, 20)
        assert done == replace(
            stolen, counter=4, checkpoint="000000000000000000123", switches=0, millis_behind=20
        )
        assert await table.get("shard-1") == done
        free = await table.release(done)
        assert free == replace(done, counter=5, owner=None)
        finished = await table.finish(await table.take(free, "c"))
        assert finished == replace(free, counter=7, checkpoint=SHARD_END)
        assert await table.list() == [finished]
        assert not await table.remove(done)
        assert await table.remove(finished)
        assert await table.list() == []
        assert await table.get("shard-1") is None


# ── Rows ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_row_of_kcl_is_read_as_it_is(table):
    assert await table.list() == [LEASE]
    assert await table.get("shard-2") == LEASE
    assert LEASE.sequence == 123
    assert not LEASE.is_finished


async def test_all_pages_are_read_consistently(endpoint, table, rows):
    for number in range(10):
        rows.put({**ROW, "leaseKey": {"S": f"shard-{number}"}})
    rows.page_items = 3
    assert {lease.key for lease in await table.list()} == {f"shard-{number}" for number in range(10)}
    assert all(request.body["ConsistentRead"] for request in endpoint.requests("Scan"))
    assert endpoint.count("Scan") > 3


async def test_rows_of_other_kinds_are_passed_over(table, rows):
    rows.put({"leaseKey": {"S": "w"}, "entityType": {"S": "WORKER_METRICS"}})
    rows.put({**ROW, "entityType": {"S": "LEASE"}, "leaseKey": {"S": "shard-3"}})
    assert {lease.key for lease in await table.list()} == {"shard-2", "shard-3"}


@pytest.mark.parametrize(
    "change",
    [
        {"leaseCounter": {"S": "7"}},
        {"leaseCounter": {"N": "1.5"}},
        {"checkpoint": {"S": "AT_TIMESTAMP"}},
        {"checkpoint": {"N": "5"}},
        {"parentShardId": {"S": "shard-0"}},
        {"leaseOwner": {"NULL": True}},
    ],
)
async def test_a_row_that_is_no_lease_is_refused(table, rows, change):
    rows.put({**ROW, **change})
    with pytest.raises(UsageError, match="The table us-east-1/task has a row that is no lease of KCL's"):
        await table.list()


async def test_writes_are_spelled_as_kcl_spells_them(table, rows):
    taken = await table.take(LEASE, "b")
    expected = {**ROW, "leaseOwner": {"S": "b"}, "leaseCounter": {"N": "8"}}
    expected["ownerSwitchesSinceCheckpoint"] = {"N": "2"}
    assert rows.items["shard-2"] == expected
    done = await table.checkpoint(taken, 10**21)
    expected |= {"leaseCounter": {"N": "9"}, "checkpoint": {"S": "1" + 21 * "0"}}
    expected["ownerSwitchesSinceCheckpoint"] = {"N": "0"}
    assert rows.items["shard-2"] == expected
    await table.release(done)
    del expected["leaseOwner"]
    assert rows.items["shard-2"] == {**expected, "leaseCounter": {"N": "10"}}


async def test_a_new_row_has_what_kcl_expects(table, rows):
    await table.add(Lease(key="new", checkpoint=TRIM_HORIZON))
    assert rows.items["new"] == {
        "leaseKey": {"S": "new"},
        "leaseCounter": {"N": "0"},
        "checkpoint": {"S": "TRIM_HORIZON"},
        "checkpointSubSequenceNumber": {"N": "0"},
        "ownerSwitchesSinceCheckpoint": {"N": "0"},
    }


async def test_attributes_of_others_survive_every_write(table, rows):
    rows.put({**ROW, "throughputKBps": {"N": "5"}})
    lease = await table.take(LEASE, "b")
    lease = await table.finish(await table.checkpoint(await table.renew(lease, 5), 200))
    assert rows.items["shard-2"]["throughputKBps"] == {"N": "5"}
    assert (await table.get("shard-2")) == lease


async def test_only_a_change_of_owner_counts_as_a_switch(table):
    again = await table.take(LEASE, "a")
    assert again.switches == LEASE.switches
    free = await table.release(again)
    assert (await table.take(free, "b")).switches == LEASE.switches


@pytest.mark.parametrize("stored", ["000000000000000000123", SHARD_END])
async def test_a_checkpoint_never_goes_back(table, rows, stored):
    rows.put({**ROW, "checkpoint": {"S": stored}})
    (lease,) = await table.list()
    with pytest.raises(ValueError, match="cannot go back from"):
        await table.checkpoint(lease, 122)
    assert rows.items["shard-2"]["leaseCounter"] == {"N": "7"}


async def test_a_checkpoint_may_be_noted_again(table):
    assert (await table.checkpoint(LEASE, 123)).counter == 8


# ── Others ──────────────────────────────────────────────────────────────────────────────────────────

WRITES = {
    "renew": lambda table, lease: table.renew(lease, 5),
    "checkpoint": lambda table, lease: table.checkpoint(lease, 200, 5),
    "finish": lambda table, lease: table.finish(lease),
    "release": lambda table, lease: table.release(lease),
    "take": lambda table, lease: table.take(lease, "c"),
}


@pytest.mark.parametrize("write", WRITES)
async def test_nothing_is_written_over_somebody_elses_change(table, rows, write):
    theirs = {**ROW, "leaseOwner": {"S": "b"}, "leaseCounter": {"N": "8"}}
    rows.put(theirs)
    assert await WRITES[write](table, LEASE) is None
    assert rows.items["shard-2"] == theirs


@pytest.mark.parametrize("write", WRITES)
async def test_a_lease_that_is_gone_is_not_made_again(table, rows, write):
    rows.delete("shard-2")
    assert await WRITES[write](table, LEASE) is None
    assert rows.items == {}


async def test_a_changed_lease_is_not_removed_and_one_that_is_gone_is(table, rows):
    assert not await table.remove(replace(LEASE, counter=6))
    assert len(rows.items) == 1
    rows.delete("shard-2")
    assert await table.remove(LEASE)


# ── Failures ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_whose_answer_was_lost_is_ones_own(endpoint, table, write):
    endpoint.on("UpdateItem").land_then_reset()
    left = await WRITES[write](table, LEASE)
    assert left is not None
    assert await table.get("shard-2") == left
    assert left.counter > 7


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_that_was_given_up_and_had_landed_is_built_upon(endpoint, table, write):
    endpoint.on("UpdateItem", times=4).land_then_reset()
    with pytest.raises(UnreachableError) as caught:
        await table.renew(LEASE, 9)
    assert caught.value.maybe_done
    expected = await WRITES[write](table, LEASE) if write != "take" else await table.take(LEASE, "a")
    assert expected is not None
    assert await table.get("shard-2") == expected
    assert expected.millis_behind in {5, 9}


async def test_an_addition_whose_answer_was_lost_is_ones_own(endpoint, table):
    endpoint.on("UpdateItem").land_then_reset()
    assert await table.add(Lease(key="new", checkpoint=LATEST))


async def test_a_removal_whose_answer_was_lost_is_done(endpoint, table, rows):
    endpoint.on("DeleteItem").land_then_reset()
    assert await table.remove(LEASE)
    assert rows.items == {}


async def test_throttles_are_waited_out_but_not_for_long(endpoint, rows):
    clock = VirtualClock()
    async with leases(endpoint.url, clock, name=rows.name) as table:
        endpoint.on("UpdateItem", times=3).throttle()
        lease = await table.renew(LEASE)
        assert lease == replace(LEASE, counter=8)
        endpoint.on("UpdateItem", times=None).throttle()
        before = clock.monotonic()
        with pytest.raises(ThrottledError):
            await table.renew(lease)
        assert 4.0 <= clock.monotonic() - before <= 5.0


async def test_a_call_without_an_answer_is_given_up_long_before_a_lease_expires(endpoint, rows, monkeypatch):
    monkeypatch.setattr("asyncrep.aws.leases._ANSWER_SECONDS", 0.2)
    endpoint.on("UpdateItem", times=None).delay(1.0)
    async with leases(endpoint.url, name=rows.name, retry=RetryPolicy(attempts=2)) as table:
        with pytest.raises(UnreachableError, match="could not reach the service"):
            await table.renew(LEASE)
