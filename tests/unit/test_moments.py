"""How a moment may be written, and that everything else is refused."""

from __future__ import annotations

import pytest

from asyncrep.cli.moments import read_moment
from asyncrep.errors import UsageError

MOMENT = 1767323045.0


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05+00:00",
        "2026-01-02T04:04:05+01:00",
        "2026-01-02 03:04:05Z",
        "20260102T030405Z",
        "1767323045",
        "1767323045.0",
    ],
)
def test_forms_of_one_moment(text: str) -> None:
    assert read_moment(text) == (MOMENT, ())


def test_without_a_zone_it_is_utc_and_that_is_said() -> None:
    assert read_moment("2026-01-02T03:04:05") == (
        MOMENT,
        ("2026-01-02T03:04:05 tells no zone: it is taken for UTC.",),
    )
    seconds, notes = read_moment("2026-01-02")
    assert (seconds, len(notes)) == (MOMENT - 3 * 3600 - 4 * 60 - 5, 1)


def test_fractions_of_a_second_count() -> None:
    assert (
        read_moment("2026-01-02T03:04:05.25Z").seconds
        == read_moment("1767323045.25").seconds
        == MOMENT + 0.25
    )


@pytest.mark.parametrize(
    "text", ["", "now", "yesterday", "2026", "2026-13-01", "2026-01-02T25:00:00Z", "-5", "1e9", "NaN", "1767323045Z",
             "0001-01-01T00:00:00Z", "1960-01-01", "\uff11767323045"]
)  # fmt: skip
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(
        UsageError, match="is no time: write it as 2026-01-02T03:04:05Z, or in seconds since 1970"
    ):
        read_moment(text)
