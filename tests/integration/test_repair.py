"""A repair makes the replica equal to the primary, on every engine there is."""

from __future__ import annotations

import builtins
from decimal import Decimal
from typing import Any

import pytest

from asyncrep import Comparison, Rules, Segment, UsageError, VirtualClock, diff, repair
from tests.support.engines import REGION, Engine
from tests.support.scenario import LIMITS, Log, Scene, item, items, opened, same_items, wire

pytestmark = pytest.mark.usefixtures("strategy")


STILL = Comparison(settle=0)
EVERYTHING = Rules(max_delete=1000)


async def repaired(engine: Engine, primary, replica, *, diff_after=True, **options):
    """The report of a repair and how much drift a diff finds afterwards."""
    clock = VirtualClock()
    names = (f"{REGION}/{primary}", f"{REGION}/{replica}")
    given: dict[str, Any] = {"limits": LIMITS, "comparison": STILL, "rules": EVERYTHING}
    given |= {"strategy": Scene.default_strategy} | options
    async with opened(*names, engine.url, clock) as tables:
        report = await repair(*tables, clock=clock, **given)
        if diff_after:
            comparison = given["comparison"]
            async with diff(*tables, limits=LIMITS, comparison=comparison, clock=clock) as run:
                assert [each async for each in run] == []
    return report


def pair(engine: Engine, primary, replica, **keys):
    return engine.create_table(items=primary, **keys), engine.create_table(items=replica, **keys)


FLAT = {
    "text": ("x", "y"),
    "number": (Decimal("1.5"), -2),
    "bytes": (b"\x00\xff", b"\x00\xfe"),
    "yes": (True, False),
    "nothing": (None, ""),
    "words": ({"a", "b"}, {"a", "c"}),
    "numbers": ({1, 2}, {1, 3}),
    "blobs": ({b"\x01"}, {b"\x02"}),
}
NESTED = {
    "list": ([1, [b"2"], {}], [1]),
    "map": ({"a": {"b": {"c": [None]}}}, {"a": {"b": {"c": []}}}),
}


def differences(engine: Engine):
    """Values of every type on both sides; lists and maps where the engine can compare them."""
    return FLAT | (NESTED if engine.supports_document_conditions else {})


async def test_all_three_kinds_are_repaired_to_equality(engine):
    differing = differences(engine)
    ours = {name: values[0] for name, values in differing.items()}
    theirs = {name: values[1] for name, values in differing.items()}
    primary = [
        *(item(f"same {number}", **ours) for number in range(3)),
        *(item(f"missing {number}", **ours) for number in range(3)),
        *(item(f"changed {name}", **ours) for name in differing),
        *(item(f"dropped {name}", **ours) for name in differing),
        *(item(f"gained {name}", **ours) for name in differing),
        item("every attribute", **ours),
    ]
    replica = [
        *(item(f"same {number}", **ours) for number in range(3)),
        *(item(f"changed {name}", **ours | {name: theirs[name]}) for name in differing),
        *(
            item(f"dropped {name}", **{n: value for n, value in ours.items() if n != name})
            for name in differing
        ),
        *(item(f"gained {name}", **ours, more=theirs[name]) for name in differing),
        item("every attribute", **theirs),
        *(item(f"extra {name}", v=theirs[name]) for name in differing),
    ]
    names = pair(engine, primary, replica)
    report = await repaired(engine, *names)
    assert same_items(engine.items(names[1]), primary)
    assert same_items(engine.items(names[0]), primary)
    assert report.missing == 3
    assert report.different == 3 * len(differing) + 1
    assert report.extraneous == len(differing)
    assert report.repaired == report.drift
    assert report.remaining == report.contested == report.failed == report.skipped == 0
    assert report.complete


@pytest.mark.parametrize(
    ("hash", "range"),
    [(("id", "N"), None), (("id", "S"), ("r", "B")), (("id", "N"), ("r", "S"))],
    ids=["N", "S-B", "N-S"],
)
async def test_keys_of_other_types_are_repaired(engine, hash, range):
    def keyed(number, value):
        values = {"S": f"key {number}", "N": number * 10**15 - 7, "B": bytes([number, 0xFF, 0])}
        kinds = [hash] if range is None else [hash, range]
        return {name: wire(values[kind]) for name, kind in kinds} | {"v": wire(value)}

    numbers = builtins.range(12)
    primary = [keyed(number, number) for number in numbers if number % 4 != 1]
    replica = [keyed(number, -1 if number % 4 == 2 else number) for number in numbers if number % 4 != 3]
    names = pair(engine, primary, replica, hash=hash, range=range)
    report = await repaired(engine, *names)
    assert (report.missing, report.different, report.extraneous, report.repaired) == (3, 3, 3, 9)
    assert sorted(map(str, engine.items(names[1]))) == sorted(map(str, engine.items(names[0])))


async def test_a_binary_hash_key_is_repaired(engine):
    if not engine.supports_binary_key_scan:
        return  # nothing to walk: the engine cannot scan such a table
    names = pair(engine, [item(b"\xff\x00")], [item(b"\xff\x01")], hash=("id", "B"))
    report = await repaired(engine, *names)
    assert report.repaired == 2


async def test_ignored_attributes_survive_and_stay_what_they_were(engine):
    names = pair(engine, [item(v=1, seen=1)], [item(v=2, seen=2)])
    report = await repaired(engine, *names, comparison=Comparison(frozenset({"seen"}), settle=0))
    assert report.repaired == 1
    assert engine.items(names[1]) == [item(v=1, seen=2)]


async def test_attributes_with_odd_names_are_repaired(engine):
    odd = ["S", "a.b", "a[0]", "#x", ":x", "😀", "0", "M", "constructor", 'quo"te', "size", "n" * 255]
    names = pair(engine, [item(name, **{name: 1}) for name in odd], [item(name, **{name: 2}) for name in odd])
    report = await repaired(engine, *names)
    assert report.repaired == len(odd)


async def test_repairing_what_is_equal_writes_nothing(engine):
    names = pair(engine, items(5, v=1), items(5, v=1))
    report = await repaired(engine, *names)
    assert report.repaired == report.drift == report.write_units == 0


async def test_the_segments_repaired_one_by_one_make_the_whole(engine):
    names = pair(engine, items(20, v=1), [*items(10, v=2), item("extra")])
    for index in range(3):
        await repaired(engine, *names, segment=Segment(index, 3), diff_after=False)
    assert same_items(engine.items(names[1]), items(20, v=1))


async def test_an_item_of_390_kb_is_put_patched_and_deleted(engine):
    # moto adds the old and the new size of what is patched: half of 390 KB is all it takes there.
    patched = 390_000 if engine.name != "moto" else 195_000
    primary = [item("missing", v="x" * 390_000), item("different", v="x" * patched)]
    replica = [item("extra", v="z" * 390_000), item("different", v="y" * patched)]
    names = pair(engine, primary, replica)
    report = await repaired(engine, *names)
    assert report.repaired == 3
    assert same_items(engine.items(names[1]), primary)


async def test_items_too_large_for_one_expression_are_repaired_and_a_deletion_says_so(engine):
    log = Log()
    primary = [
        item("few", **{f"a{number}": number for number in range(400)}),
        item("all", **{f"a{number}": number for number in range(600)}),
    ]
    replica = [
        item("few", **{f"a{number}": number if number % 100 else -1 for number in range(400)}),
        item("all", **{f"a{number}": -number - 1 for number in range(600)}),
        item("extra", **{f"a{number}": number for number in range(400)}),
    ]
    names = pair(engine, primary, replica)
    report = await repaired(engine, *names, observer=log)
    assert report.repaired == 3
    assert same_items(engine.items(names[1]), primary)
    reasons = {name.decode()[12:-3]: found.reason for name, found in log.records.items()}
    assert reasons["few"] is None, "four attributes fit in one expression"
    assert reasons["all"] is None, "each of its patches is guarded whole"
    assert "too large for one condition" in (reasons["extra"] or "")


async def test_a_table_is_not_repaired_from_itself(engine):
    primary = engine.create_table(items=items(2))
    clock = VirtualClock()
    names = (f"{REGION}/{primary}", f"{REGION}/{primary}")
    async with opened(*names, engine.url, clock) as tables:
        with pytest.raises(UsageError, match="the same table"):
            await repair(*tables, clock=clock)
