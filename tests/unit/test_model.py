"""The shared values: what they refuse, and what follows from what."""

import dataclasses
import math
from typing import Any

import pytest

from asyncrep.errors import UsageError
from asyncrep.model import (
    Capacity,
    Different,
    Extraneous,
    KeyAttribute,
    KeySchema,
    Missing,
    Segment,
    State,
    discrepancy,
)
from asyncrep.options import Comparison, Limits


@pytest.mark.parametrize(("index", "total"), [(0, 1), (3, 4), (0, 1_000_000), (999_999, 1_000_000)])
def test_segments_that_exist(index, total):
    assert (Segment(index, total).index, Segment(index, total).total) == (index, total)


@pytest.mark.parametrize(("index", "total"), [(1, 1), (4, 4), (5, 4), (-1, 4), (1_000_000, 1_000_000)])
def test_a_segment_beyond_the_last_is_refused_with_those_that_exist(index, total):
    with pytest.raises(
        UsageError, match=rf"Segment {index} does not exist: with {total} segments they are 0 to"
    ):
        Segment(index, total)


@pytest.mark.parametrize("total", [0, -1, 1_000_001])
def test_an_impossible_number_of_segments_is_refused(total):
    for make in (lambda: Segment(0, total), lambda: Limits(segments=total)):
        with pytest.raises(UsageError, match=f"1 to 1,000,000, not {total}"):
            make()


@pytest.mark.parametrize("name", ["concurrency", "read_units", "write_units"])
@pytest.mark.parametrize("value", [0, -1, -0.5, -math.inf])
def test_limits_are_above_zero(name: str, value: Any):
    with pytest.raises(UsageError, match=r"must be above zero, not -?(0|1|0\.5|inf)\.") as caught:
        Limits(**{name: value})
    assert str(caught.value).startswith(name.replace("_", " ").capitalize())


@pytest.mark.parametrize("name", ["read_units", "write_units"])
def test_a_limit_is_a_number(name: str):
    limit: dict[str, Any] = {name: math.nan}
    with pytest.raises(UsageError, match="above zero"):
        Limits(**limit)


@pytest.mark.parametrize("name", ["read_percent", "write_percent"])
@pytest.mark.parametrize("value", [0, -1, 100.1, math.inf, math.nan])
def test_a_share_is_above_0_and_at_most_100_percent(name: str, value: Any):
    with pytest.raises(UsageError, match=r" percent must be above 0 and at most 100, not ") as caught:
        Limits(**{name: value})
    assert str(caught.value).startswith(name.replace("_", " ").capitalize())


@pytest.mark.parametrize(
    ("limits", "read", "write"),
    [
        (Limits(), None, None),
        (Limits(read_units=7), 7, None),
        (Limits(read_percent=100), 200, None),
        (Limits(read_percent=0.5, write_percent=50), 1, 25),
        (Limits(read_percent=10, read_units=19), 19, None),
        (Limits(read_percent=10, read_units=21), 20, None),
    ],
)
def test_of_a_share_and_a_limit_the_lower_counts(limits: Limits, read: float | None, write: float | None):
    capacity = Capacity(billing="provisioned", provisioned_read_units=200, provisioned_write_units=50)
    resolved = limits.within(capacity)
    assert (resolved.read_units, resolved.write_units) == (read, write)
    assert resolved.within(capacity) == resolved


def test_limits_that_are_fine():
    assert Limits() == Limits(segments=None, concurrency=32, read_units=None, write_units=None)
    assert Limits(segments=1, concurrency=1, read_units=0.1, write_units=1e9).read_units == 0.1


@pytest.mark.parametrize("settle", [-0.1, -1, math.inf, math.nan])
def test_a_settling_time_is_zero_seconds_or_more(settle):
    with pytest.raises(UsageError, match="zero seconds or more"):
        Comparison(settle=settle)


@pytest.mark.parametrize("tries", [0, -1])
def test_a_record_is_looked_at_at_least_once(tries):
    with pytest.raises(UsageError, match="one or more"):
        Comparison(tries=tries)


def test_comparisons_that_are_fine():
    assert Comparison(settle=0, tries=1, ignore=frozenset({"a"})).ignore == {"a"}


def test_a_key_schema_is_hash_first_and_reads_like_one():
    schema = KeySchema(KeyAttribute("id", "S"), KeyAttribute("sort", "N"))
    assert [attribute.name for attribute in schema.attributes] == ["id", "sort"]
    assert str(schema) == "id (S) + sort (N)"
    assert str(KeySchema(schema.hash)) == "id (S)"
    assert KeySchema(schema.hash).attributes == (schema.hash,)
    assert schema != KeySchema(*reversed(schema.attributes))
    assert schema != KeySchema(schema.hash, KeyAttribute("sort", "S"))


def test_the_kind_of_a_discrepancy_follows_from_which_side_is_there():
    assert discrepancy(b"k", b"p", None, 3) == Missing(key=b"k", primary=b"p", segment=3)
    assert discrepancy(b"k", b"p", b"r", 3) == Different(key=b"k", primary=b"p", replica=b"r", segment=3)
    assert discrepancy(b"k", None, b"r", 3) == Extraneous(key=b"k", replica=b"r", segment=3)
    with pytest.raises(ValueError, match="no discrepancy"):
        discrepancy(b"k", None, None)


def test_an_empty_image_is_a_side_that_is_there():
    assert discrepancy(b"k", b"", b"").kind == "different"
    assert discrepancy(b"k", b"", None).kind == "missing"


@pytest.mark.parametrize(
    "found",
    [discrepancy(b"k", b"p", None, 1), discrepancy(b"k", b"p", b"r", 1), discrepancy(b"k", None, b"r", 1)],
    ids=["missing", "different", "extraneous"],
)
def test_moving_changes_state_and_reason_only(found):
    moved = found.moved(State.FAILED, "because")
    assert (found.state, found.reason) == (State.FOUND, None)
    assert (moved.state, moved.reason) == (State.FAILED, "because")
    assert type(moved) is type(found)
    assert dataclasses.replace(moved, state=State.FOUND, reason=None) == found
    assert moved.moved(State.FOUND) == found


@pytest.mark.parametrize("kind", [Missing, Different, Extraneous])
def test_the_kind_of_a_discrepancy_cannot_be_given(kind):
    with pytest.raises(TypeError):
        kind(key=b"k", primary=b"p", replica=b"r", kind="settled")


def test_the_states_are_those_of_the_contract():
    assert {str(state) for state in State} == {
        "found", "repaired", "contested", "in_flight", "expired", "changed", "failed", "skipped",
    }  # fmt: skip
