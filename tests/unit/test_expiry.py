"""Expiry: only a top-level number of seconds in the past, and no more than five years of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.diff.expiry import is_expired
from tests.support.strategies import items, respell, seeds, spell_number, thoroughly

NOW = 1_700_000_000.0
YEAR = 365.25 * 24 * 3600


def with_ttl(value):
    return json.dumps({"id": {"S": "a"}, "ttl": value}).encode()


@pytest.mark.parametrize(
    ("seconds", "expired"),
    [
        (-1, True),
        (-3600, True),
        (-4.99 * YEAR, True),
        (-5.01 * YEAR, False),
        (-30 * YEAR, False),
        (1, False),
        (3600, False),
        (100 * YEAR, False),
    ],
)
def test_expired_is_past_but_less_than_five_years(seconds, expired):
    assert is_expired(with_ttl({"N": str(int(NOW + seconds))}), "ttl", NOW) is expired


def test_an_item_is_not_expired_in_the_very_second():
    assert not is_expired(with_ttl({"N": str(int(NOW))}), "ttl", NOW)
    assert is_expired(with_ttl({"N": str(int(NOW))}), "ttl", NOW + 0.5)


@thoroughly
@given(items(), st.integers(-(10**10), 10**10), seeds())
def test_the_verdict_is_that_of_the_value_however_the_item_is_written(item, seconds, source):
    moment = int(NOW) + seconds
    image = respell(item | {"ttl": {"N": str(moment)}}, source)
    assert is_expired(image, "ttl", NOW) is (-5 * YEAR < seconds < 0)


@pytest.mark.parametrize("seconds", [-10, 10])
@thoroughly
@given(seeds())
def test_odd_spellings_of_a_time(seconds, source):
    spelt = spell_number(str(int(NOW) + seconds), source)
    assert is_expired(with_ttl({"N": spelt}), "ttl", NOW) is (seconds < 0)


@pytest.mark.parametrize(
    "value",
    [
        {"S": "1699999999"},
        {"B": "MTY5OTk5OTk5OQ=="},
        {"NS": ["1699999999"]},
        {"L": [{"N": "1699999999"}]},
        {"M": {"ttl": {"N": "1699999999"}}},
        {"NULL": True},
        {"BOOL": True},
        {"N": "0"},
        {"N": "-1699999999"},
        {"N": "1699999999000"},
        {"N": "9.9999999999999999999999999999999999999E+125"},
        {"N": "-9.9999999999999999999999999999999999999E+125"},
        {"N": "1E-130"},
        {"N": "1E999"},
        {"N": "-1E999"},
        {"N": "NaN"},
        {"N": "Infinity"},
        {"N": "soon"},
        {"N": ""},
    ],
    ids=json.dumps,
)
def test_what_is_no_time_in_the_last_five_years_expires_nothing(value):
    assert not is_expired(with_ttl(value), "ttl", NOW)


def test_a_nested_attribute_expires_nothing():
    image = b'{"id":{"S":"a"},"m":{"M":{"ttl":{"N":"1699999999"}}}}'
    assert not is_expired(image, "ttl", NOW)
    assert not is_expired(image, "m.ttl", NOW)


def test_without_item_or_attribute_or_ttl_nothing_expires():
    assert not is_expired(None, "ttl", NOW)
    assert not is_expired(b"{}", "ttl", NOW)
    assert not is_expired(with_ttl({"N": "1699999999"}), None, NOW)
    assert not is_expired(with_ttl({"N": "1699999999"}), "TTL", NOW)


def test_the_attribute_may_have_any_name():
    for name in ('say "hi"', "__proto__", "a.b", "💥"):
        assert is_expired(json.dumps({name: {"N": "1699999999"}}).encode(), name, NOW)
