"""What changed of a record since it was reviewed."""

from __future__ import annotations

import json

import pytest

from asyncrep.model import discrepancy
from asyncrep.repair.review import changed_since


def record(primary=None, replica=None):
    """A record whose sides have these numbers as attributes."""

    def image(side):
        if side is None:
            return None
        return json.dumps(
            {"id": {"S": "a"}} | {name: {"N": str(value)} for name, value in side.items()}
        ).encode()

    return discrepancy(b"k", image(primary), image(replica))


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        (record({"v": 1}, {"v": 2}), record({"v": 1}, {"v": 2}), None),
        (record({"v": 1}, {"v": 2}), record({"v": "1.0"}, {"v": "2E0"}), None),
        (record({"v": 1}), record({"v": 1}), None),
        (record(None, {"v": 1}), record(None, {"v": 1}), None),
        (
            record({"v": 1}, {"v": 2}),
            record({"v": 3}, {"v": 2}),
            "The primary's item changed since: attribute v.",
        ),
        (
            record({"v": 1}, {"v": 2}),
            record({"v": 1}, {"w": 2}),
            "The replica's item changed since: attributes v, w.",
        ),
        (record({"v": 1}, {"v": 2}), record(None, {"v": 2}), "The primary has lost the item since."),
        (record({"v": 1}, {"v": 2}), record({"v": 1}), "The replica has lost the item since."),
        (record({"v": 1}), record({"v": 1}, {"v": 2}), "The replica has got an item since."),
        (record(None, {"v": 1}), record({"v": 2}, {"v": 1}), "The primary has got an item since."),
        (
            record({"v": 1}),
            record(None, {"v": 1}),
            "The primary has lost the item since. The replica has got an item since.",
        ),
    ],
)
def test_each_side_is_told_that_is_not_as_it_was(then, now, said):
    assert changed_since(then, now, ()) == said


def test_ignored_and_system_attributes_do_not_count():
    then = record({"v": 1, "seen": 1}, {"v": 2})
    now = record({"v": 1, "seen": 2, "aws:rep:deleting": 1}, {"v": 2, "seen": 3})
    assert changed_since(then, now, {"seen"}) is None
    assert changed_since(then, now, ()) is not None


def test_many_attributes_are_not_all_named():
    names = {f"a{number:02}": 1 for number in range(13)}
    said = changed_since(record(names, {}), record(dict.fromkeys(names, 2), {}), ())
    assert said == (
        "The primary's item changed since: attributes a00, a01, a02, a03, a04, a05, a06, a07, a08, a09 and 3 more."
    )


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        (record({"v": 1, "w": 1}, {"v": 2, "w": 2}), record({"v": 1, "w": 1}, {"v": 1, "w": 2}), None),
        (record({"v": 1}, {"v": 2, "w": 2}), record({"v": 1}, {"v": 2}), None),
        (record({"v": 1}), record({"v": 3}, {"v": 1}), "The primary's item changed since: attribute v."),
        (record(None, {"v": 1}), record({"v": 2}), "The primary has got an item since."),
        (
            record({"v": 1, "w": 1}, {"v": 2, "w": 2}),
            record({"v": 1, "w": 1}, {"v": 1, "w": 3}),
            "The replica's item changed since: attribute w.",
        ),
        (record({"v": 1}), record({"v": 1}, {"v": 1, "w": 1}), "The replica has got an item since."),
        (record({"v": 1}, {"v": 2}), record({"v": 1}), "The replica has lost the item since."),
    ],
)
def test_what_the_replica_got_by_our_own_write_is_no_change(then, now, said):
    assert changed_since(then, now, (), written=True) == said
