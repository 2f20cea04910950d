"""Catching up writes items as they are now: whatever was copied, and whenever, the end is what it should be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import VirtualClock, open_table
from asyncrep.change import Applied, Change, Fate, Unwritten
from asyncrep.replicate.catch_up import CatchUp, Touched
from asyncrep.replicate.policy import Policy
from asyncrep.replicate.records import read_record
from asyncrep.replicate.selection import Selection
from tests.replication.test_bootstrap import fill
from tests.support.scenario import item, key, session
from tests.support.workers import NAME, Replication, until_true

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncrep.options import Guard
    from tests.support.scripted import ScriptedDynamo
    from tests.support.tables import ScriptedTable
    from tests.support.values import Item

TABLES = (f"us-east-1/{NAME}", f"eu-west-1/{NAME}")
ON, OFF = item("a", on=1, v=1), item("a", on=0, v=2)
OTHER = item("other", v=1)
GONE_OFF = item("a", on=0, v=3)
EXPIRING = Selection(ttl_deletes=False)
ACTIVE = Selection.from_texts(where=["on=1"])


async def caught_up(
    endpoint: ScriptedDynamo,
    meanwhile: Callable[[ScriptedTable], object],
    *,
    view: str = "NEW_AND_OLD_IMAGES",
    page: int = 1000,
    before: Sequence[Item] = (),
    during: Callable[[ScriptedTable], object] = lambda _: None,
    **policy: Any,
) -> Replication:
    """Copy items, of which some were changed before and some after they were copied; then catch up."""
    replication = Replication.of(endpoint, policy=Policy(**policy))
    if view != "NEW_AND_OLD_IMAGES":
        replication.source.streams.clear()
        replication.source.enable_stream(view)
    replication.source.put(OTHER)
    for each in before:
        replication.source.put(each)
    during(replication.source)
    await fill(replication)
    meanwhile(replication.source)
    replication.stream.page_records = page
    async with replication.worker(task=TABLES) as running:
        await until_true(lambda: running.worker.figures.read == len(replication.stream.records))
        assert running.worker.figures.failed == 0
    return replication


def off_twice(source: ScriptedTable) -> None:
    source.put(OFF)
    source.put(GONE_OFF)


def off_and_gone(source: ScriptedTable) -> None:
    source.put(OFF)
    source.delete("a")


@pytest.mark.parametrize("guard", ["none", "sequence", "version"])
@pytest.mark.parametrize("page", [1000, 1])
@pytest.mark.parametrize("meanwhile", [off_twice, off_and_gone])
async def test_what_was_copied_while_it_was_selected_is_deleted_when_it_no_longer_is(
    endpoint: ScriptedDynamo, meanwhile: Callable[[ScriptedTable], object], page: int, guard: Guard
) -> None:
    policy: dict[str, Any] = {"selection": ACTIVE, "guard": guard, "version_attribute": "v"}
    endpoint.create_table("asyncrep-guard", "eu-west-1")
    replication = await caught_up(endpoint, meanwhile, page=page, before=[ON], **policy)
    assert "a" not in replication.replicas[0].items


async def test_a_removal_keeps_its_version_while_catching_up(endpoint: ScriptedDynamo) -> None:
    endpoint.create_table("asyncrep-guard", "eu-west-1")
    guarded: dict[str, Any] = {"guard": "version", "version_attribute": "v"}
    replication = await caught_up(endpoint, off_and_gone, before=[ON], **guarded)
    assert "a" not in replication.replicas[0].items
    (row,) = [
        each
        for each in endpoint.table("asyncrep-guard", "eu-west-1").items.values()
        if "expires" in each and '"a"' in each["key"]["S"]
    ]
    assert row["version"] == {"N": "2"}


# ── Removals that are not replicated


def modified_and_expired(source: ScriptedTable) -> None:
    source.put(OFF)
    source.expire("a")


def modified_and_deleted(source: ScriptedTable) -> None:
    source.put(OFF)
    source.delete("a")


@pytest.mark.parametrize("view", ["NEW_AND_OLD_IMAGES", "NEW_IMAGE"])
@pytest.mark.parametrize("page", [1000, 1])
async def test_what_ttl_removed_stays_as_it_was_last(endpoint: ScriptedDynamo, page: int, view: str) -> None:
    kept = await caught_up(
        endpoint, modified_and_expired, page=page, view=view, before=[ON], selection=EXPIRING
    )
    assert kept.replicas[0].items["a"] == OFF


@pytest.mark.parametrize("view", ["NEW_AND_OLD_IMAGES", "NEW_IMAGE"])
@pytest.mark.parametrize("page", [1000, 1])
async def test_what_ttl_removed_before_it_was_copied_is_there_all_the_same(
    endpoint: ScriptedDynamo, page: int, view: str
) -> None:
    kept = await caught_up(
        endpoint,
        lambda source: source.expire("other"),
        page=page,
        view=view,
        before=[ON],
        during=modified_and_expired,
        selection=EXPIRING,
    )
    assert kept.replicas[0].items == {"a": OFF, "other": OTHER}


@pytest.mark.parametrize("view", ["NEW_AND_OLD_IMAGES", "NEW_IMAGE"])
@pytest.mark.parametrize("page", [1000, 1])
async def test_what_somebody_removed_is_deleted_although_ttl_deletions_are_not_replicated(
    endpoint: ScriptedDynamo, page: int, view: str
) -> None:
    gone = await caught_up(
        endpoint, modified_and_deleted, page=page, view=view, before=[ON], selection=EXPIRING
    )
    assert "a" not in gone.replicas[0].items


async def test_of_what_ttl_removed_nothing_older_than_the_copy_is_ever_shown(
    endpoint: ScriptedDynamo,
) -> None:
    replication = Replication.of(endpoint, policy=Policy(selection=EXPIRING))
    for n in range(20):
        replication.source.put(item("a", n=n))
    states = replication.replicas[0].enable_stream()
    await fill(replication)
    replication.source.put(item("a", n=20))
    replication.source.expire("a")
    replication.stream.page_records = 3
    async with replication.worker(task=TABLES) as running:
        await until_true(lambda: running.worker.figures.read == len(replication.stream.records))
    written = [int(record["dynamodb"]["NewImage"]["n"]["N"]) for record in states.records]
    assert written == [19, 20]


async def test_what_ttl_removed_and_somebody_put_again_is_as_it_is_now(endpoint: ScriptedDynamo) -> None:
    def again(source: ScriptedTable) -> None:
        modified_and_expired(source)
        source.put(item("a", n=3))

    replication = await caught_up(endpoint, again, page=1, before=[ON], selection=EXPIRING)
    assert replication.replicas[0].items["a"] == item("a", n=3)


# ── What comes again, and what is remembered


class Failing:
    """Fails every change once."""

    label = "there"

    def __init__(self) -> None:
        self.seen: list[Sequence[Change]] = []

    async def apply(self, changes: Sequence[Change]) -> Applied:
        self.seen.append(changes)
        return Applied(unwritten=[Unwritten(change, Fate.FAILED, "Not now.") for change in changes])


async def test_what_failed_comes_again_as_it_was_recorded(endpoint: ScriptedDynamo) -> None:
    source = endpoint.create_table(NAME, "us-east-1", stream="NEW_AND_OLD_IMAGES")
    source.put(ON)
    modified_and_expired(source)
    async with open_table(f"us-east-1/{NAME}", endpoint_url=endpoint.url, session=session()) as table:
        changes = [read_record(json.dumps(record).encode(), table.keys) for record in source.stream.records]
        failing = Failing()
        catching = CatchUp(table, failing, EXPIRING, Touched(VirtualClock().now))
        applied = await catching.apply(changes)  # type: ignore[arg-type]
        assert [each.change for each in applied.unwritten] == changes[-1:]
        assert applied.squashed == 2
        await catching.apply([each.change for each in applied.unwritten])
    assert failing.seen[0] == failing.seen[1]


def record(number: int, created: float) -> Change:
    return Change(key=key(f"k{number}"), kind="MODIFY", sequence=number, created=created)  # type: ignore[arg-type]


async def test_nothing_is_remembered_before_the_tip_and_not_for_long_after_it() -> None:
    clock = VirtualClock()
    touched = Touched(clock.now)
    touched.note([key("a")])
    assert touched.overtook(record(1, clock.now() + 10_000))
    assert len(touched) == 0
    touched.end()
    touched.note([key(f"k{n}") for n in range(100)])
    assert len(touched) == 100
    await clock.sleep(61)
    touched.note([key("k7")])
    touched.forget([record(1, clock.now())])
    assert len(touched) == 1


async def test_a_record_that_was_held_up_for_long_is_still_known_to_be_overtaken() -> None:
    clock = VirtualClock()
    touched = Touched(clock.now)
    touched.end()
    tip = clock.now()
    await clock.sleep(30)
    touched.note([key("k1")])
    await clock.sleep(600)
    late = record(1, tip + 29)
    touched.forget([late])
    assert touched.overtook(late)
    assert not touched.overtook(record(2, tip + 29))
    assert touched.overtook(record(2, tip))


async def test_the_service_s_clock_says_what_was_overtaken() -> None:
    ours = VirtualClock()
    touched = Touched(lambda: ours.now() + 300)
    touched.end()
    assert touched.overtook(record(1, ours.now() + 299))
    assert not touched.overtook(record(1, ours.now() + 310))
