"""A table is read and written completely, whatever its keys are made of and however often it is asked."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest

from asyncrep import Limits, RetryPolicy, Segment, ThrottledError, VirtualClock, open_table
from asyncrep.model import KeyedImage
from asyncrep.mutation import AttributesAre, Delete, ItemAbsent, Patch, Put
from tests.support.scenario import PRIMARY, item, items, key, wire

WHERE = f"{PRIMARY}/orders"
KEY_TYPES = [
    pytest.param(("id", "B"), None, id="B"),
    pytest.param(("id", "N"), None, id="N"),
    pytest.param(("id", "S"), ("r", "B"), id="S-B"),
    pytest.param(("id", "B"), ("r", "N"), id="B-N"),
    pytest.param(("id", "N"), ("r", "S"), id="N-S"),
]
VALUES = {
    "B": [bytes([number, 0xFF, 0x00, 0xFE]) for number in range(6)],
    "N": [-(10**37) - 7, 0, 1, 12345678901234567890123456789012345678, 9007199254740993, -1],
    "S": ["a", 'quo"te\\', "snow ☃", "emoji 😀", "new\nline", "__proto__"],
}


@asynccontextmanager
async def opened(endpoint, attempts=4, clock=None, patience=300.0):
    retry = RetryPolicy(attempts=attempts, patience=patience)
    async with open_table(
        WHERE, endpoint_url=endpoint.url, clock=clock or VirtualClock(), retry=retry
    ) as table:
        yield table


def keyed_items(hash, range):
    """Items with every combination that the key's types allow for here."""
    names = [hash] if range is None else [hash, range]
    rows = zip(*(VALUES[kind] for _, kind in names), strict=True)
    return [
        {name: wire(value) for (name, _), value in zip(names, row, strict=True)} | {"n": wire(number)}
        for number, row in enumerate(rows)
    ]


def image(stored) -> bytes:
    return json.dumps(stored, ensure_ascii=False, separators=(",", ":")).encode()


async def walk(table, total=1, *, keys_only=False):
    """Everything that pages yield, segment by segment."""
    return [
        KeyedImage(table.key(image), image)
        for index in range(total)
        async for page in table.pages(Segment(index, total), keys_only=keys_only)
        for image in page.images
    ]


async def test_every_page_of_every_segment_is_read_empty_ones_too(endpoint):
    scripted = endpoint.create_table("orders", items=items(40))
    scripted.page_items = 3
    # All items lie in segments 1 and 4 of 6: the others have nothing but an empty page.
    scripted.segment_of = lambda hash_key, _: 1 if hash_key < "k020" else 4
    async with opened(endpoint) as table:
        found = await walk(table, 6)
    assert sorted(keyed.key for keyed in found) == sorted(key(name) for name in scripted.items)
    assert endpoint.count("Scan") == 4 + 7 + 7


async def test_an_empty_page_with_a_key_to_go_on_is_not_the_end(endpoint):
    scripted = endpoint.create_table("orders", items=items(9))
    scripted.page_items = 3
    whole = scripted.page

    def without_the_first_page(**options):
        found, last = whole(**options)
        return ([] if options["start"] is None else found), last

    scripted.page = without_the_first_page
    async with opened(endpoint) as table:
        assert len(await walk(table)) == 6


@pytest.mark.parametrize(("hash", "range"), KEY_TYPES)
async def test_keys_of_every_type_survive_scans_with_start_keys(endpoint, hash, range):
    stored = keyed_items(hash, range)
    endpoint.create_table("orders", hash=hash, range=range, items=stored).page_items = 1
    async with opened(endpoint) as table:
        for total in (1, 3):
            found = await walk(table, total)
            assert sorted(bytes(keyed.image) for keyed in found) == sorted(map(image, stored))
        keys = await walk(table, keys_only=True)
    assert {bytes(keyed.key) for keyed in keys} == {keyed.key for keyed in found}
    assert not any(b'"n":' in bytes(keyed.image) for keyed in keys)


@pytest.mark.parametrize(("hash", "range"), KEY_TYPES)
async def test_keys_of_every_type_survive_every_single_item_call(endpoint, hash, range):
    scripted = endpoint.create_table("orders", hash=hash, range=range)
    async with opened(endpoint) as table:
        for stored in keyed_items(hash, range):
            name = table.keys.key(image(stored))
            assert (await table.apply(Put(name, image(stored), ItemAbsent()))).applied
            read = await table.get([name], consistent=True)
            assert bytes(read[name]) == image(stored)
            only_key = await table.get([name], consistent=False, keys_only=True)
            assert list(only_key) == [name]
            assert b'"n":' not in bytes(only_key[name])
            patch = Patch(name, {"v": wire("new")}, ["n"], AttributesAre({"n": stored["n"]}))
            patched = await table.apply(patch)
            assert patched.old == image(stored)
            now = scripted.items[scripted.key_of(stored)]
            assert now == {attribute: stored[attribute] for attribute, _ in scripted.keys} | {
                "v": wire("new")
            }
            assert (await table.apply(Delete(name, AttributesAre({"v": wire("new")})))).applied
            assert scripted.items == {}


@pytest.mark.parametrize(("hash", "range"), KEY_TYPES)
async def test_keys_of_every_type_survive_bulk_writes_in_parts(endpoint, hash, range):
    stored = keyed_items(hash, range)
    scripted = endpoint.create_table("orders", hash=hash, range=range)
    endpoint.on("BatchWriteItem", times=2).unprocessed(4)
    async with opened(endpoint) as table:
        await table.write_all([KeyedImage(table.keys.key(image(each)), image(each)) for each in stored])
    assert {scripted.key_of(each): each for each in stored} == scripted.items
    assert [len(call.body["RequestItems"]["orders"]) for call in endpoint.requests("BatchWriteItem")] == [
        6,
        4,
        4,
    ]


async def test_numeric_keys_in_any_spelling_are_one_key(endpoint):
    endpoint.create_table("orders", hash=("id", "N"), items=[{"id": {"N": "1.50E1"}}, {"id": {"N": "-0"}}])
    async with opened(endpoint) as table:
        found = await table.get([b'{"id":{"N":"15"}}', b'{"id":{"N":"0"}}'], consistent=True)
    assert sorted(found) == [b'{"id":{"N":"0"}}', b'{"id":{"N":"15"}}']


async def test_unprocessed_keys_are_asked_for_until_every_one_is_answered(endpoint):
    endpoint.create_table("orders", items=items(130))
    endpoint.on("BatchGetItem", times=3).unprocessed(0.5)
    endpoint.on("BatchGetItem", times=2).unprocessed(1.0)
    clock = VirtualClock()
    async with opened(endpoint, clock=clock) as table:
        found = await table.get([key(f"k{number:03}") for number in range(130)], consistent=True)
        assert table.meter.throttled == 5
    assert len(found) == 130
    assert len(clock.slept) >= 5  # the backoff of each, and the pace slows down besides
    asked = [call.body["RequestItems"]["orders"]["Keys"] for call in endpoint.requests("BatchGetItem")]
    assert max(map(len, asked)) == 100
    assert all(
        call.body["RequestItems"]["orders"]["ConsistentRead"] for call in endpoint.requests("BatchGetItem")
    )


async def test_unprocessed_keys_that_never_come_are_an_error_with_their_number(endpoint):
    endpoint.create_table("orders", items=items(30))
    endpoint.on("BatchGetItem").unprocessed(7)
    endpoint.on("BatchGetItem", times=None).unprocessed(1.0)
    clock = VirtualClock()
    async with opened(endpoint, attempts=1, clock=clock, patience=1.0) as table:
        began = clock.monotonic()
        with pytest.raises(
            ThrottledError, match=r"BatchGetItem on us-east-1/orders: 7 keys .*k023.* and 2 more\."
        ):
            await table.get([key(f"k{number:03}") for number in range(30)], consistent=True)
        assert clock.monotonic() - began >= 1.0
    assert endpoint.count("BatchGetItem") > 2


async def test_progress_however_small_never_exhausts_the_patience(endpoint):
    endpoint.create_table("orders", items=items(12))
    # Twelve keys, one answered a call: without any patience, the first fruitless try would be the last.
    for left in range(11, 0, -1):
        endpoint.on("BatchGetItem").unprocessed(left)
    async with opened(endpoint, attempts=1, patience=0.0) as table:
        assert len(await table.get([key(f"k{number:03}") for number in range(12)], consistent=False)) == 12
    assert endpoint.count("BatchGetItem") == 12


async def test_unprocessed_items_are_sent_until_every_one_is_taken(endpoint):
    scripted = endpoint.create_table("orders")
    endpoint.on("BatchWriteItem", times=4).unprocessed(0.6)
    stored = items(60, v="x")
    async with opened(endpoint) as table:
        await table.write_all([KeyedImage(table.keys.key(image(each)), image(each)) for each in stored])
        assert table.meter.throttled == 4
    assert scripted.items == {each["id"]["S"]: each for each in stored}
    assert max(len(call.body["RequestItems"]["orders"]) for call in endpoint.requests("BatchWriteItem")) == 25


async def test_unprocessed_items_that_are_never_taken_are_an_error_with_their_number(endpoint):
    scripted = endpoint.create_table("orders")
    endpoint.on("BatchWriteItem").unprocessed(3)
    endpoint.on("BatchWriteItem", times=None).unprocessed(1.0)
    stored = items(8)
    async with opened(endpoint, attempts=1, patience=1.0) as table:
        with pytest.raises(
            ThrottledError,
            match=r"BatchWriteItem on us-east-1/orders: 3 keys stayed unprocessed for \d+ s: .*k007",
        ):
            await table.write_all([KeyedImage(table.keys.key(image(each)), image(each)) for each in stored])
    assert len(scripted.items) == 5


async def test_a_key_is_never_twice_in_one_batch(endpoint):
    scripted = endpoint.create_table("orders", items=items(3))
    async with opened(endpoint) as table:
        found = await table.get([key("k000"), key("k001"), key("k000")], consistent=True)
        assert len(found) == 2
        twins = [item("k000", v="first"), item("k001"), item("k000", v="last")]
        await table.write_all([KeyedImage(table.keys.key(image(each)), image(each)) for each in twins])
    (read,) = endpoint.requests("BatchGetItem")
    assert len(read.body["RequestItems"]["orders"]["Keys"]) == 2
    (written,) = endpoint.requests("BatchWriteItem")
    assert len(written.body["RequestItems"]["orders"]) == 2
    assert scripted.items["k000"] == item("k000", v="last")


async def test_nothing_asked_for_is_no_call(endpoint):
    endpoint.create_table("orders")
    async with opened(endpoint) as table:
        assert await table.get([], consistent=True) == {}
        await table.write_all([])
    assert endpoint.count("BatchGetItem") == endpoint.count("BatchWriteItem") == 0


async def test_capacity_is_the_sum_of_what_the_answers_say(endpoint):
    endpoint.create_table("orders", items=items(4, v="x" * 10_000))
    async with opened(endpoint) as table:
        run = table.limited(Limits())
        await walk(run)  # 40,0xx bytes, eventually: half of 10 blocks of 4 KB
        await run.get([key(f"k{number:03}") for number in range(4)], consistent=True)  # 4 of 3 blocks
        await run.get([key("k000"), key("absent")], consistent=False)  # half of 3 blocks, half of one
        assert run.meter.read_units == 5 + 12 + 2
        await run.apply(Delete(key("k000"), AttributesAre({})))  # 10 blocks of 1 KB
        await run.write_all([KeyedImage(key("new"), image(item("new")))])
        assert run.meter.write_units == 10 + 1
        assert run.meter.requests == 5
        assert table.meter.read_units == 0


async def test_reads_keep_to_the_units_a_second(endpoint):
    endpoint.create_table("orders", items=items(8, v="x" * 4_000)).page_items = 1
    clock = VirtualClock()
    async with opened(endpoint, clock=clock) as table:
        await walk(table.limited(Limits(read_units=0.5)))
    # Eight pages of half a unit each (and what the first page was estimated to take comes back).
    assert clock.monotonic() >= 7 * 0.5 / 0.5 - 1


async def test_system_attributes_are_never_written(endpoint):
    scripted = endpoint.create_table("orders")
    copied = item("a", v=1) | {"aws:rep:deleting": wire(False), "aws:rep:updatetime": wire(17)}
    async with opened(endpoint) as table:
        await table.apply(Put(key("a"), image(copied), ItemAbsent()))
        await table.write_all([KeyedImage(key("b"), image(copied | item("b")))])
    assert scripted.items == {"a": item("a", v=1), "b": item("b", v=1)}


async def test_a_refused_precondition_writes_nothing_and_is_no_error(endpoint):
    scripted = endpoint.create_table("orders", items=[item("a", v=1)])
    async with opened(endpoint) as table:
        for mutation in (
            Put(key("a"), image(item("a", v=2)), ItemAbsent()),
            Put(key("a"), image(item("a", v=2)), AttributesAre({"v": wire(3)})),
            Patch(key("a"), {"v": wire(2)}, [], AttributesAre({"v": wire(1), "w": wire(1)})),
            Patch(key("b"), {"v": wire(2)}, [], AttributesAre({"v": None})),
            Delete(key("a"), AttributesAre({"v": None})),
        ):
            assert not (await table.apply(mutation)).applied
    assert scripted.items == {"a": item("a", v=1)}


async def test_a_table_without_items_is_empty_and_one_behind_empty_pages_is_not(endpoint):
    scripted = endpoint.create_table("orders")
    async with opened(endpoint) as table:
        assert await table.is_empty()
        scripted.put(item("a"))
        scripted.stale["a"] = None  # an eventually consistent read would not see it
        assert not await table.is_empty()
