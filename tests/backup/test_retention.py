"""Which backups stay and which may go: the rules by themselves, on any history of backups."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.backup.listed import Listed, Verification
from asyncrep.backup.retention import Rules, decide
from asyncrep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncrep.backup.retention import Verdict

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOUND = Verification(at="2026-01-01T00:00:00Z", sound=True)
COUNTS = ("last", "daily", "weekly", "monthly")


def backup(name: str, begun: datetime = NOW, *, verified: bool = False, **more: object) -> Listed:
    told = {
        "source": "orders",
        "begun": begun,
        "ended": begun,
        "changed": begun,
        "kind": "dump",
        "state": "whole",
    }
    return Listed(name, verification=SOUND if verified else None, **(told | more))  # type: ignore[arg-type]


def of_days(*days: str, verified: Iterable[str] = ()) -> list[Listed]:
    return [
        backup(day, datetime.fromisoformat(day).replace(tzinfo=UTC), verified=day in verified) for day in days
    ]


def kept(verdicts: Iterable[Verdict]) -> set[str]:
    return {each.backup.name for each in verdicts if each.keeps}


def why(verdicts: Iterable[Verdict]) -> dict[str, tuple[str, ...]]:
    return {each.backup.name: each.reasons for each in verdicts}


# ── Whatever the history


@st.composite
def histories(draw: st.DrawFn) -> list[Listed]:
    """Dumps of two tables at any times, some verified, some not whole."""
    hours = draw(st.lists(st.integers(0, 24 * 100), max_size=30))
    states = st.sampled_from(["whole", "whole", "whole", "incomplete", "damaged", "unproven", "removing"])
    return [
        backup(
            f"{number}",
            NOW - timedelta(hours=hour),
            verified=draw(st.booleans()),
            source=draw(st.sampled_from(["orders", "customers"])),
            state=draw(states),
        )
        for number, hour in enumerate(hours)
    ]


counts = st.integers(0, 12)
rules = st.builds(
    Rules, last=st.integers(1, 12), daily=counts, weekly=counts, monthly=counts, incomplete=st.booleans()
)


def newest(backups: Iterable[Listed], source: str, *, verified: bool) -> Listed | None:
    fitting = [
        each
        for each in backups
        if each.source == source and each.state == "whole" and (each.is_verified or not verified)
    ]
    return max(fitting, key=lambda each: (each.begun, each.name), default=None)


@given(histories(), rules, st.sampled_from(["orders", "customers"]))
def test_the_newest_and_the_newest_verified_of_each_table_always_stay(
    backups: list[Listed], rules: Rules, source: str
) -> None:
    stays = kept(decide(backups, rules, NOW))
    for verified in (False, True):
        found = newest(backups, source, verified=verified)
        assert found is None or found.name in stays


@given(histories(), rules)
def test_what_was_pruned_once_has_nothing_left_to_prune(backups: list[Listed], rules: Rules) -> None:
    once = [each.backup for each in decide(backups, rules, NOW) if each.keeps]
    assert kept(decide(once, rules, NOW)) == {each.name for each in once}


@given(histories(), rules, st.sampled_from(COUNTS), st.integers(1, 5))
def test_keeping_more_never_removes_more(backups: list[Listed], rules: Rules, count: str, more: int) -> None:
    longer = replace(rules, **{count: getattr(rules, count) + more})
    assert kept(decide(backups, rules, NOW)) <= kept(decide(backups, longer, NOW))


@given(histories(), rules, st.randoms(use_true_random=False))
def test_the_order_of_the_listing_means_nothing(backups: list[Listed], rules: Rules, chance: object) -> None:
    shuffled = list(backups)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert decide(shuffled, rules, NOW) == decide(backups, rules, NOW)


@given(histories(), rules)
def test_of_every_backup_is_said_once_what_becomes_of_it_and_why(backups: list[Listed], rules: Rules) -> None:
    verdicts = decide(backups, rules, NOW)
    assert sorted(each.backup.name for each in verdicts) == sorted(each.name for each in backups)
    assert all(each.reasons for each in verdicts)


@given(histories(), st.integers(1, 12))
def test_one_is_kept_of_each_of_the_last_days_that_have_any(backups: list[Listed], count: int) -> None:
    verdicts = decide(backups, Rules(daily=count), NOW)
    for source in ("orders", "customers"):
        whole = [each for each in backups if each.source == source and each.state == "whole"]
        days = sorted({each.begun.date() for each in whole if each.begun}, reverse=True)[:count]
        daily = [each.backup for each in verdicts if each.backup.source == source and "daily" in each.reasons]
        assert [each.begun.date() for each in daily if each.begun] == days
        for each in daily:
            assert not [
                other
                for other in whole
                if each.begun
                and other.begun
                and other.begun > each.begun
                and other.begun.date() == each.begun.date()
            ]


@given(histories(), rules)
def test_nothing_goes_that_is_not_counted_unless_it_was_asked_for(
    backups: list[Listed], rules: Rules
) -> None:
    for keeps, each in ((verdict.keeps, verdict.backup) for verdict in decide(backups, rules, NOW)):
        if each.state == "unproven" or (each.state in {"incomplete", "damaged"} and not rules.incomplete):
            assert keeps


# ── Boundaries


def test_days_begin_at_midnight_utc_whatever_zone_a_manifest_names() -> None:
    evening = datetime.fromisoformat("2026-01-10T20:30:00-05:00")  # the 11th in UTC
    backups = [backup("evening", evening), *of_days("2026-01-11T00:00:00", "2026-01-10T23:59:59")]
    assert kept(decide(backups, Rules(daily=2), NOW)) == {"evening", "2026-01-10T23:59:59"}


def test_weeks_begin_on_monday_also_across_the_year() -> None:
    # Of one ISO week, 2026-W01: Monday is the 29th of December 2025. Sunday the 28th belongs to the one before.
    backups = of_days("2026-01-04", "2026-01-01", "2025-12-29", "2025-12-28", "2025-12-22")
    assert kept(decide(backups, Rules(weekly=2), NOW)) == {"2026-01-04", "2025-12-28"}


def test_months_are_those_of_the_calendar() -> None:
    backups = of_days("2026-02-28", "2026-02-01", "2026-01-31", "2025-02-27")
    assert kept(decide(backups, Rules(monthly=3), NOW)) == {"2026-02-28", "2026-01-31", "2025-02-27"}


def test_a_job_that_stopped_does_not_take_its_last_backups_along() -> None:
    backups = of_days("2020-05-03", "2020-05-02", "2020-05-01")
    assert kept(decide(backups, Rules(daily=2), NOW)) == {"2020-05-03", "2020-05-02"}


def test_rules_add_up_and_each_says_what_it_keeps() -> None:
    backups = of_days(
        "2026-02-03", "2026-02-02", "2026-02-01", "2026-01-31", "2026-01-05", verified=["2026-01-05"]
    )
    told = why(decide(backups, Rules(last=1, daily=2, weekly=2, monthly=2), NOW))
    assert told == {
        "2026-02-03": ("last", "daily", "weekly", "monthly"),
        "2026-02-02": ("daily",),
        "2026-02-01": ("weekly",),
        "2026-01-31": ("monthly",),
        "2026-01-05": ("newest verified",),
    }


def test_two_of_one_moment_are_told_apart_by_name() -> None:
    assert kept(decide([backup("b"), backup("c"), backup("a")], Rules(last=1), NOW)) == {"c"}


# ── What the rules are not about


def test_tables_and_kinds_are_counted_by_themselves() -> None:
    others = [
        backup("customers", source="customers"),
        backup("snap", kind="snapshot"),
        backup("e", kind="export"),
    ]
    backups = [*of_days("2026-01-02", "2026-01-01"), *others]
    assert kept(decide(backups, Rules(last=1), NOW)) == {"2026-01-02", "customers", "snap", "e"}


def test_a_backup_known_to_be_damaged_counts_for_no_day() -> None:
    bad = replace(backup("bad"), verification=Verification(at="2026-01-01T00:00:00Z", problems=["It is."]))
    good = backup("good", NOW - timedelta(hours=1))
    assert why(decide([bad, good], Rules(daily=1), NOW)) == {
        "bad": ("damaged; see --incomplete",),
        "good": ("daily",),
    }


@pytest.mark.parametrize("state", ["incomplete", "damaged"])
def test_what_is_broken_goes_only_when_asked_abandoned_and_replaced_by_something_newer(state: str) -> None:
    long_ago, lately = NOW - timedelta(days=2), NOW - timedelta(hours=23)
    old, fresh = backup("old", long_ago, state=state), backup("fresh", lately, state=state)
    rules = Rules(last=9, incomplete=True)
    assert kept(decide([old, fresh, backup("whole")], Rules(last=9), NOW)) == {"old", "fresh", "whole"}
    assert kept(decide([old, fresh, backup("whole")], rules, NOW)) == {"fresh", "whole"}
    assert kept(decide([old, backup("older", long_ago - timedelta(days=1))], rules, NOW)) == {"old", "older"}
    assert kept(decide([old, backup("other", source="customers")], rules, NOW)) == {"old", "other"}


def test_with_nothing_but_incomplete_no_whole_backup_goes() -> None:
    broken = backup("broken", NOW - timedelta(days=2), state="incomplete")
    backups = [*of_days("2026-02-28", "2026-01-01"), broken]
    assert kept(decide(backups, Rules(incomplete=True), NOW)) == {"2026-02-28", "2026-01-01"}


def test_what_a_removal_has_left_goes_always() -> None:
    assert kept(decide([backup("half", state="removing"), backup("whole")], Rules(last=9), NOW)) == {"whole"}


def test_folders_dumps_without_manifest_and_the_exports_of_aws_stay() -> None:
    backups = [
        backup("folder", kind="folder"),
        backup("unproven", state="unproven"),
        backup("theirs", kind="export", is_ours=False),
        *of_days("2026-01-02", "2026-01-01"),
    ]
    verdicts = decide(backups, Rules(last=1), NOW)
    assert kept(verdicts) == {"folder", "unproven", "theirs", "2026-01-02"}
    assert why(verdicts)["theirs"] == ("an export of AWS",)


def test_exports_that_incremental_ones_may_continue_stay() -> None:
    ours = [backup(name, NOW - timedelta(days=age), kind="export") for age, name in enumerate(["b", "a"])]
    increment = backup("i", kind="export", is_ours=False, continues=True)
    assert kept(decide(ours, Rules(last=1), NOW)) == {"b"}
    assert kept(decide([*ours, increment], Rules(last=1), NOW)) == {"a", "b", "i"}


@pytest.mark.parametrize("counts", [{}, {"last": -1}, {"daily": 3, "weekly": -1}])
def test_rules_that_keep_nothing_are_refused(counts: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="--keep-"):
        Rules(**counts)  # type: ignore[arg-type]
