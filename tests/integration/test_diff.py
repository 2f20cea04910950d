"""A diff finds exactly what an oracle finds, on every engine there is."""

from __future__ import annotations

import builtins
import json
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from asyncrep import Comparison, Limits, Segment, UsageError, VirtualClock, diff
from tests.support.engines import REGION, Engine
from tests.support.scenario import Log, Scene, decoded, item, items, opened, wire
from tests.support.values import equal

pytestmark = pytest.mark.usefixtures("strategy")


STILL = Comparison(settle=0)

KEYS = [
    pytest.param(("id", "S"), None, id="S"),
    pytest.param(("id", "N"), None, id="N"),
    pytest.param(("id", "B"), None, id="B"),
    pytest.param(("id", "S"), ("r", "N"), id="S-N"),
    pytest.param(("id", "N"), ("r", "B"), id="N-B"),
    pytest.param(("id", "S"), ("r", "S"), id="S-S"),
]

NESTED = {
    "text": "x",
    "number": Decimal("1.5"),
    "bytes": b"\x00\xff",
    "yes": True,
    "nothing": None,
    "words": {"a", "b", "c"},
    "numbers": {1, 2, 30},
    "blobs": {b"\x01", b"\x02"},
    "list": [1, "two", [b"3", {"four": 4}], []],
    "map": {"deep": {"deeper": [{"deepest": Decimal("0.1")}]}, "empty": {}},
}


@asynccontextmanager
async def compared(engine: Engine, primary, replica, **options):
    """The run of a diff of two tables by name."""
    clock = VirtualClock()
    names = (f"{REGION}/{primary}", f"{REGION}/{replica}")
    given: dict[str, Any] = {
        "limits": Limits(segments=3),
        "comparison": STILL,
        "strategy": Scene.default_strategy,
    } | options
    async with opened(*names, engine.url, clock) as tables, diff(*tables, clock=clock, **given) as run:
        yield run


async def outcome(engine: Engine, primary, replica, **options):
    """What was found as {(kind, key)}, each once, and the report."""
    async with compared(engine, primary, replica, **options) as run:
        found = [each async for each in run]
    kinds = {(each.kind, each.key.decode()) for each in found}
    assert len(kinds) == len(found)
    return kinds, run.report


def pair(engine: Engine, primary, replica, **keys):
    return engine.create_table(items=primary, **keys), engine.create_table(items=replica, **keys)


def value_for(kind, number):
    return wire({"S": f"key {number}", "N": number * 10**15 - 7, "B": bytes([number, 255 - number, 0])}[kind])


def keyed(number, hash, range, **attributes):
    """Item `number`: two items share each hash key where there is a range key."""
    name, kind = hash
    if range is None:
        keys = {name: value_for(kind, number)}
    else:
        keys = {name: value_for(kind, number // 2), range[0]: value_for(range[1], number)}
    return {**keys, **{attribute: wire(value) for attribute, value in attributes.items()}}


def oracle(primary, replica, names):
    """The discrepancies that comparing everything with everything finds."""

    def by_key(side):
        return {
            json.dumps({name: each[name] for name in names}, separators=(",", ":"), ensure_ascii=False): each
            for each in side
        }

    ours, theirs = by_key(primary), by_key(replica)
    found = {("missing", key) for key in ours.keys() - theirs.keys()}
    found |= {("extraneous", key) for key in theirs.keys() - ours.keys()}
    found |= {("different", key) for key in ours.keys() & theirs.keys() if not equal(ours[key], theirs[key])}
    return found, len(ours.keys() | theirs.keys())


@pytest.mark.parametrize(("hash", "range"), KEYS)
async def test_all_three_kinds_are_exact_for_every_type_of_key(engine, hash, range):
    if hash[1] == "B" and not engine.supports_binary_key_scan:
        # Binary keys are scanned all the same where the engine can; the range key covers the rest.
        hash, range = ("id", "S"), ("r", "B")
    numbers = builtins.range(24)
    primary = [keyed(number, hash, range, v=number) for number in numbers if number % 8 != 3]
    replica = [
        keyed(number, hash, range, v=-1 if number % 8 == 5 else number)
        for number in numbers
        if number % 8 != 6
    ]
    names = [hash[0]] if range is None else [hash[0], range[0]]
    expected, pairs = oracle(primary, replica, names)
    assert {kind for kind, _ in expected} == {"missing", "different", "extraneous"}

    found, report = await outcome(engine, *pair(engine, primary, replica, hash=hash, range=range))

    assert found == expected
    assert (report.missing, report.different, report.extraneous) == (3, 3, 3)
    assert report.compared == pairs == 24
    assert report.matched == 15
    assert report.scanned_primary == report.scanned_replica == 21
    assert report.settled == report.in_flight == report.expired == 0
    assert report.complete


async def test_images_are_handed_on_as_the_engine_holds_them(engine):
    ours, theirs = item("a", **NESTED), item("a", **NESTED | {"list": [1]})
    primary, replica = pair(engine, [ours, item("b")], [theirs, item("c")])
    async with compared(engine, primary, replica) as run:
        found = {each.kind: each async for each in run}
    assert equal(decoded(found["different"].primary) or {}, ours)
    assert equal(decoded(found["different"].replica) or {}, theirs)
    assert found["missing"].replica is None
    assert found["extraneous"].primary is None


@pytest.mark.parametrize("name", sorted(NESTED))
async def test_a_change_in_a_value_of_any_type_is_found(engine, name):
    changes = {
        "text": "X",
        "number": Decimal("1.5000000000000000000000000000000000001"),
        "bytes": b"\x00\xfe",
        "yes": False,
        "nothing": "",
        "words": {"a", "b"},
        "numbers": {1, 2, 31},
        "blobs": {b"\x01"},
        "list": [1, "two", [b"3", {"four": 5}], []],
        "map": {"deep": {"deeper": [{"deepest": Decimal("0.10000000001")}]}, "empty": {}},
    }
    without = {other: value for other, value in NESTED.items() if other != name}
    primary = [item("same", **NESTED), item("changed", **NESTED), item("dropped", **NESTED)]
    replica = [
        item("same", **NESTED),
        item("changed", **NESTED | {name: changes[name]}),
        item("dropped", **without),
    ]
    found, report = await outcome(engine, *pair(engine, primary, replica))
    assert found == {("different", '{"id":{"S":"changed"}}'), ("different", '{"id":{"S":"dropped"}}')}
    assert report.matched == 1


async def test_spelling_and_the_order_of_sets_and_maps_are_no_drift(engine):
    ours = item("a", m={"x": 1, "y": [{"p": 1, "q": 2}]}) | {
        "n": {"N": "100"},
        "d": {"L": [{"N": "0.5"}, {"N": "-0.25"}]},
        "ns": {"NS": ["1", "2.5", "30"]},
        "ss": {"SS": ["a", "b", "c"]},
        "bs": {"BS": ["AQ==", "Ag=="]},
    }
    theirs = {
        "bs": {"BS": ["Ag==", "AQ=="]},
        "ss": {"SS": ["c", "a", "b"]},
        "ns": {"NS": ["3E1", "2.50", "1.0"]},
        "d": {"L": [{"N": "5E-1"}, {"N": "-0.250"}]},
        "n": {"N": "1E+2"},
        "m": {"M": {"y": {"L": [{"M": {"q": {"N": "2.0"}, "p": {"N": "1"}}}]}, "x": {"N": "1.00"}}},
        "id": {"S": "a"},
    }
    found, report = await outcome(engine, *pair(engine, [ours], [theirs]))
    assert found == set()
    assert report.matched == report.compared == 1


async def test_types_are_never_mixed(engine):
    pairs = {
        "number and text": (1, "1"),
        "bool and number": (True, 1),
        "null and empty": (None, ""),
        "empty list and empty map": ([], {}),
        "list and set": (["a"], {"a"}),
        "text and binary": ("AQ==", b"\x01"),
    }
    primary = [item(name, v=ours) for name, (ours, _) in pairs.items()]
    replica = [item(name, v=theirs) for name, (_, theirs) in pairs.items()]
    _, report = await outcome(engine, *pair(engine, primary, replica))
    assert report.different == len(pairs)
    assert report.matched == 0


@pytest.mark.parametrize(
    ("ours", "theirs", "counts"),
    [
        pytest.param(0, 0, (0, 0, 0), id="both empty"),
        pytest.param(30, 0, (30, 0, 0), id="empty replica"),
        pytest.param(0, 30, (0, 0, 30), id="empty primary"),
    ],
)
async def test_an_empty_side_is_a_side(engine, ours, theirs, counts):
    _, report = await outcome(engine, *pair(engine, items(ours), items(theirs)))
    assert (report.missing, report.different, report.extraneous) == counts
    assert report.compared == ours + theirs
    assert report.complete


async def test_disjoint_tables_are_all_drift(engine):
    replica = [item(f"other {number}") for number in range(20)]
    _, report = await outcome(engine, *pair(engine, items(30), replica))
    assert (report.missing, report.extraneous, report.matched) == (30, 20, 0)
    assert report.compared == 50


@pytest.mark.parametrize("total", [2, 5])
async def test_the_segments_of_a_table_make_the_whole(engine, total):
    primary = [*items(40, v=1), *(item(f"p{number}") for number in range(9))]
    replica = [*items(35, v=1), item("k039", v=2), *(item(f"r{number}") for number in range(8))]
    names = pair(engine, primary, replica)
    whole, report = await outcome(engine, *names)
    parts = [await outcome(engine, *names, segment=Segment(index, total)) for index in range(total)]
    assert sorted(each for found, _ in parts for each in found) == sorted(whole)
    for count in ("matched", "compared", "scanned_primary", "scanned_replica", "drift"):
        assert sum(getattr(part, count) for _, part in parts) == getattr(report, count), count
    assert {part.segments for _, part in parts} == {total}
    assert all(part.complete for _, part in parts)


async def test_a_million_segments_are_not_needed_for_one_more_than_there_are_items(engine):
    _, report = await outcome(engine, *pair(engine, items(3), items(2)), limits=Limits(segments=70))
    assert (report.matched, report.missing, report.segments) == (2, 1, 70)


async def test_ignored_and_system_attributes_are_not_compared(engine):
    system = {"aws:rep:updatetime": wire(1), "aws:rep:updateregion": wire("us-east-1")}
    primary = [item("a", v=1, seen=1), item("b", v=1), item("c", v=1) | system]
    replica = [item("a", v=1, seen=2), item("b", v=1, seen=3), item("c", v=1)]
    names = pair(engine, primary, replica)
    found, report = await outcome(engine, *names, comparison=Comparison(frozenset({"seen"}), settle=0))
    assert found == set()
    assert report.matched == 3
    _, report = await outcome(engine, *names)
    assert (report.different, report.matched) == (2, 1)


async def test_attribute_names_may_be_anything(engine):
    odd = [
        "__proto__",
        "S",
        "a.b",
        "a[0]",
        "#x",
        ":x",
        "😀",
        "0",
        "M",
        "constructor",
        'quo"te',
        " ",
        "aws:rep",
    ]
    same = item("a", **dict.fromkeys(odd, 1))
    primary = [same, *(item(name, **{name: 1}) for name in odd)]
    replica = [same, *(item(name, **{name: 2}) for name in odd)]
    names = pair(engine, primary, replica)
    # dynalite is JavaScript and loses __proto__: what it does not hold nobody can find.
    held = sum(len(each) == 2 for each in engine.items(names[0]))
    found, report = await outcome(engine, *names)
    assert len(found) == report.different == held >= len(odd) - 1
    assert report.compared == len(odd) + 1


async def test_many_items_under_one_hash_key_are_compared(engine):
    keys = {"hash": ("id", "S"), "range": ("r", "N")}
    primary = [item("only", r=number, v=number) for number in range(230)]
    replica = [item("only", r=number, v=number % 200) for number in range(20, 230)]
    _, report = await outcome(engine, *pair(engine, primary, replica, **keys))
    assert (report.missing, report.different, report.matched) == (20, 30, 180)


async def test_one_item_of_390_kb_is_compared(engine):
    primary, replica = pair(engine, [item("a", v="x" * 390_000)], [item("a", v="x" * 389_999 + "y")])
    _, report = await outcome(engine, primary, replica)
    assert report.different == 1


async def test_different_keys_are_refused_before_anything_is_read(engine):
    primary = engine.create_table(items=items(3))
    for schema in (
        {"hash": ("id", "N")},
        {"hash": ("name", "S")},
        {"hash": ("id", "S"), "range": ("r", "S")},
    ):
        replica = engine.create_table(**schema)
        with pytest.raises(UsageError, match="different keys"):
            async with compared(engine, primary, replica):
                pass


async def test_the_settings_of_both_tables_are_compared_in_notes(engine):
    log = Log()
    primary, replica = pair(engine, items(1), items(1))
    async with compared(engine, primary, replica, observer=log) as run:
        assert [each async for each in run] == []
    assert log.notes == []
