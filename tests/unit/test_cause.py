"""Likely causes: a version is read only where it can be trusted, exactly and in one direction."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from asyncrep.diff.cause import VERSION_NAMES, likely_cause, reads_as_version, version_order
from asyncrep.model import Cause, Different, Extraneous, Missing, State, discrepancy
from tests.support.scenario import item, key
from tests.support.strategies import (
    items,
    names,
    numbers,
    respell,
    seeds,
    spell_number,
    strings,
    thoroughly,
    values,
)

NOW = 1_700_000_000.0
MOMENTS = st.datetimes().map(lambda moment: moment.isoformat(timespec="seconds"))


def image(**attributes: Any) -> bytes:
    return json.dumps({"id": {"S": "a"}, **attributes}).encode()


def cause(primary: bytes | None, replica: bytes | None, **options: Any) -> Cause:
    found = discrepancy(key(), primary, replica)
    return likely_cause(found, options.pop("primary_ttl", None), NOW, **options)


def of_versions(ours: Any, theirs: Any, name: str = "version") -> Cause:
    return cause(image(**{name: ours}), image(**{name: theirs}))


def test_what_one_side_lacks_was_not_put_or_not_deleted() -> None:
    assert cause(image(), None) is Cause.MISSED_PUT
    assert cause(None, image()) is Cause.MISSED_DELETE


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        ({"N": str(int(NOW) - 5)}, Cause.MISSED_TTL_DELETE),
        ({"N": str(int(NOW) + 5)}, Cause.MISSED_DELETE),
        ({"N": "5"}, Cause.MISSED_DELETE),
        ({"S": str(int(NOW) - 5)}, Cause.MISSED_DELETE),
    ],
)
def test_a_delete_by_the_primary_s_ttl_is_told_apart(until: Any, expected: Cause) -> None:
    assert cause(None, image(until=until), primary_ttl="until") is expected
    assert cause(None, image(until=until)) is Cause.MISSED_DELETE
    assert cause(None, image(until=until), primary_ttl="id") is Cause.MISSED_DELETE


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"N": "2"}, {"N": "1"}),
        ({"N": "10"}, {"N": "9"}),
        ({"N": "-1"}, {"N": "-2"}),
        ({"N": "1E2"}, {"N": "99.5"}),
        ({"N": "1E-130"}, {"N": "0"}),
        ({"N": "9.9E125"}, {"N": "-9.9E125"}),
        ({"N": "12345678901234567890123456789012345679"}, {"N": "12345678901234567890123456789012345678"}),
        ({"S": "2025-02-01"}, {"S": "2025-01-31"}),
        ({"S": "2025-01-01T00:00:01Z"}, {"S": "2025-01-01T00:00:00Z"}),
        ({"S": "2025-01-01T00:00:00.002+02:00"}, {"S": "2025-01-01T00:00:00.001+02:00"}),
        ({"S": "2025-01-01 10:00"}, {"S": "2025-01-01 09:59"}),
        ({"S": "20250101T100000Z"}, {"S": "20250101T095959Z"}),
        ({"S": "1700000001"}, {"S": "1700000000"}),
        ({"S": "0010"}, {"S": "0009"}),
    ],
    ids=json.dumps,
)
def test_a_lower_version_is_older_and_a_higher_one_newer(ours: Any, theirs: Any) -> None:
    assert of_versions(ours, theirs) is Cause.OLDER_VERSION
    assert of_versions(theirs, ours) is Cause.NEWER_VERSION


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"N": "2"}, {"S": "1"}),
        ({"S": "10"}, {"S": "9"}),
        ({"S": "2025-01-02"}, {"S": "2025-01-01T00:00:00Z"}),
        ({"S": "2025-01-01T00:00:00.5Z"}, {"S": "2025-01-01T00:00:00Z"}),
        ({"S": "2025-01-01T00:00:00.500Z"}, {"S": "2025-01-01T00:00:00.50Z"}),
        ({"S": "2025-01-01T00:00:00+02:00"}, {"S": "2025-01-01T00:00:00+01:00"}),
        ({"S": "2025-01-01T00:00:00Z"}, {"S": "2025-01-01T00:00:01"}),
        ({"S": "2025-01-02 10:00"}, {"S": "2025-01-01T10:00"}),
        ({"S": "Wed, 01 Jan 2025"}, {"S": "Thu, 02 Jan 2025"}),
        ({"S": "02.01.2025"}, {"S": "01.01.2025"}),
        ({"S": "1.10.0"}, {"S": "1.9.0"}),
        ({"S": "v2"}, {"S": "v1"}),
        ({"S": "b"}, {"S": "a"}),
        ({"S": ""}, {"S": "1"}),
        ({"S": "\u0662\u0660\u0662\u0665-01-02"}, {"S": "\u0662\u0660\u0662\u0665-01-01"}),
        ({"S": "2025-01-02\n"}, {"S": "2025-01-01\n"}),
        ({"N": "NaN"}, {"N": "1"}),
        ({"N": "Infinity"}, {"N": "1"}),
        ({"N": "1E400"}, {"N": "1"}),
        ({"B": "Mg=="}, {"B": "MQ=="}),
        ({"BOOL": True}, {"BOOL": False}),
        ({"NULL": True}, {"N": "1"}),
        ({"NS": ["2"]}, {"NS": ["1"]}),
        ({"L": [{"N": "2"}]}, {"L": [{"N": "1"}]}),
        ({"M": {"version": {"N": "2"}}}, {"M": {"version": {"N": "1"}}}),
        ({"N": "2", "S": "2"}, {"N": "1", "S": "1"}),
        ({}, {"N": "1"}),
    ],
    ids=json.dumps,
)
def test_what_cannot_be_compared_safely_tells_nothing(ours: Any, theirs: Any) -> None:
    assert of_versions(ours, theirs) is Cause.ATTRIBUTE_CHANGE
    assert of_versions(theirs, ours) is Cause.ATTRIBUTE_CHANGE


@pytest.mark.parametrize(
    "name",
    ["version", "_version", "Version", "VERSION", "rev", "_rev", "revision", "updatedAt", "updated_at", "updated-at",
     "modified", "lastModified", "last_modified", "LastUpdatedDate", "timestamp", "_lastChangedAt"],
)  # fmt: skip
def test_usual_names_of_versions_are_known(name: str) -> None:
    assert reads_as_version(name)
    assert of_versions({"N": "2"}, {"N": "1"}, name) is Cause.OLDER_VERSION


@pytest.mark.parametrize(
    "name",
    ["v", "created", "createdAt", "date", "conversion", "versions", "reviewed", "time", "", "updatedBy"],
)
def test_other_names_are_not_taken_for_versions(name: str) -> None:
    assert not reads_as_version(name)
    assert of_versions({"N": "2"}, {"N": "1"}, name) is Cause.ATTRIBUTE_CHANGE


def test_the_known_names_are_spelled_as_they_are_looked_for() -> None:
    assert all(reads_as_version(name) for name in VERSION_NAMES)


def test_a_version_on_one_side_only_tells_nothing() -> None:
    assert cause(image(version={"N": "2"}), image(v={"N": "1"})) is Cause.ATTRIBUTE_CHANGE


def test_versions_that_point_in_opposite_directions_tell_nothing() -> None:
    ours = image(version={"N": "2"}, updatedAt={"N": "1"})
    theirs = image(version={"N": "1"}, updatedAt={"N": "2"})
    assert version_order(ours, theirs) is None
    assert cause(ours, theirs) is Cause.ATTRIBUTE_CHANGE


def test_versions_that_agree_are_told_by_the_first() -> None:
    order = version_order(
        image(version={"N": "2"}, updatedAt={"N": "9"}), image(version={"N": "1"}, updatedAt={"N": "8"})
    )
    assert order is not None
    assert (order.attribute, order.primary, order.replica, order.replica_is_older) == (
        "version",
        {"N": "2"},
        {"N": "1"},
        True,
    )


def test_an_equal_version_leaves_the_word_to_another() -> None:
    ours = image(version={"N": "1.0"}, updated={"N": "2"}, v={"N": "1"})
    theirs = image(version={"N": "1"}, updated={"N": "3"}, v={"N": "2"})
    assert cause(ours, theirs) is Cause.NEWER_VERSION


def test_what_is_not_compared_proves_nothing() -> None:
    ours, theirs = image(updatedAt={"N": "2"}, v={"N": "1"}), image(updatedAt={"N": "1"}, v={"N": "2"})
    assert cause(ours, theirs) is Cause.OLDER_VERSION
    assert cause(ours, theirs, ignored={"updatedAt"}) is Cause.ATTRIBUTE_CHANGE
    system = {"aws:rep:updatetime": {"N": "2"}}
    assert cause(image(**system, v={"N": "1"}), image(**system | {"v": {"N": "2"}})) is Cause.ATTRIBUTE_CHANGE


@thoroughly
@given(numbers(), numbers(), seeds())
def test_numbers_are_compared_exactly_however_they_are_spelled(ours, theirs, source):
    difference = Decimal(ours).compare(Decimal(theirs))
    assume(difference)
    primary, replica = (
        respell({"id": {"S": "a"}, "version": {"N": spell_number(number, source)}}, source)
        for number in (ours, theirs)
    )
    assert cause(primary, replica) is (Cause.OLDER_VERSION if difference > 0 else Cause.NEWER_VERSION)


@thoroughly
@given(st.integers(10**37, 10**38 - 1), st.integers(1, 3))
def test_the_last_of_38_digits_counts(number, step):
    lower, higher = {"N": str(number - step)}, {"N": str(number)}
    assert of_versions(higher, lower) is Cause.OLDER_VERSION
    assert of_versions(lower, higher) is Cause.NEWER_VERSION


@thoroughly
@given(MOMENTS, MOMENTS, st.sampled_from(("", "Z", "+02:00", "-0730")), st.sampled_from(("", "Z", "+02:00")))
def test_times_are_compared_only_under_one_offset(ours, theirs, offset, other):
    assume(ours != theirs)
    told = of_versions({"S": ours + offset}, {"S": theirs + other}, "updatedAt")
    if offset != other:
        assert told is Cause.ATTRIBUTE_CHANGE
    else:
        assert told is (Cause.OLDER_VERSION if ours > theirs else Cause.NEWER_VERSION)


@thoroughly
@given(values(), values())
def test_the_direction_is_opposite_from_the_other_side(ours, theirs):
    assume(ours != theirs)
    opposite = {
        Cause.OLDER_VERSION: Cause.NEWER_VERSION,
        Cause.NEWER_VERSION: Cause.OLDER_VERSION,
        Cause.ATTRIBUTE_CHANGE: Cause.ATTRIBUTE_CHANGE,
    }
    assert of_versions(theirs, ours) is opposite[of_versions(ours, theirs)]


@thoroughly
@given(items(), items(), names(), strings())
def test_some_cause_is_found_for_any_two_items(ours, theirs, ttl, text):
    primary, replica = (json.dumps(each).encode() for each in (ours, theirs))
    for found in (
        Missing(key=b"{}", primary=primary),
        Extraneous(key=b"{}", replica=replica),
        Different(key=b"{}", primary=primary, replica=replica),
    ):
        assert likely_cause(found, ttl, NOW, {text}) in Cause


@pytest.mark.parametrize("state", State)
def test_a_state_that_is_a_cause_is_the_cause(state: State) -> None:
    found = Missing(key=key(), primary=json.dumps(item()).encode(), cause=Cause.MISSED_PUT)
    expected = {State.IN_FLIGHT: Cause.IN_FLIGHT, State.EXPIRED: Cause.EXPIRED}.get(state, Cause.MISSED_PUT)
    assert found.moved(state).cause is expected
