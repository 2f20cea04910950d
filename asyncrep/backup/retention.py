"""Which backups are kept, and which may go: by counts of days, weeks and months. Pure.

All moments are UTC, weeks are those of ISO 8601. Backups of one source and kind are counted by themselves. The newest
backup of each of the last N days, weeks or months *that have any* is kept, and the last N of all; where there was
no backup for a week, that week counts for nothing, so a job that stopped does not take its last backups along.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from asyncrep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asyncrep.backup.listed import Listed

LONG_AGO = timedelta(days=1)
"""A backup that is not whole counts as abandoned when nothing was written to it for so long."""

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Rules:
    """What is to be kept.

    Attributes:
        last: the newest backups.
        daily, weekly, monthly: the newest backup of so many days, weeks, months.
        incomplete: backups that are incomplete or damaged may go, too, once they are abandoned and there is a newer
            one that is whole.

    Raises:
        UsageError: a count is negative, or nothing is said.
    """

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    incomplete: bool = False

    def __post_init__(self) -> None:
        for name in ("last", "daily", "weekly", "monthly"):
            if getattr(self, name) < 0:
                raise UsageError(f"--keep-{name} must be zero or more, not {getattr(self, name)}.")
        if not (self.counts or self.incomplete):
            raise UsageError(
                "Say what is to be kept: --keep-last, --keep-daily, --keep-weekly or --keep-monthly, above zero."
            )

    @property
    def counts(self) -> bool:
        """Whether any backup that is whole may go."""
        return bool(self.last or self.daily or self.weekly or self.monthly)


class Verdict(NamedTuple):
    """What becomes of one backup.

    Attributes:
        keeps: whether it stays.
        reasons: why, in the words of people.
    """

    backup: Listed
    keeps: bool
    reasons: tuple[str, ...]


def decide(backups: Sequence[Listed], rules: Rules, now: datetime) -> list[Verdict]:
    """Return what becomes of each backup: by source and kind, and of these the newest first.

    Args:
        backups: all that there are; in any order.
        rules: what is to be kept.
        now: the present moment.
    """

    def series(backup: Listed) -> tuple[bool, str, str]:
        return not backup.source, backup.source, backup.kind

    return [
        verdict
        for _, one in groupby(sorted(backups, key=series), key=series)
        for verdict in _of_one_series(list(one), rules, now)
    ]


def _of_one_series(backups: list[Listed], rules: Rules, now: datetime) -> Iterator[Verdict]:
    backups.sort(key=_age, reverse=True)
    may_be_continued = any(each.continues for each in backups)
    counted = [each for each in backups if _is_counted(each) and not may_be_continued]
    kept = _kept(counted, rules)
    newest = _begun(counted[0]) if counted else _NEVER
    names = {each.name for each in counted}
    for each in backups:
        if each.name not in names:
            yield _uncounted(each, rules, now, newest)
        elif not rules.counts:
            yield Verdict(each, True, ("no rule is about it",))
        elif reasons := kept.get(each.name):
            yield Verdict(each, True, tuple(reasons))
        else:
            yield Verdict(each, False, ("no rule keeps it",))


def _is_counted(backup: Listed) -> bool:
    """Return whether the rules are about it: what asyncrep has made, if it is whole for all that is known."""
    return backup.kind != "folder" and backup.is_ours and backup.is_sound


def _kept(newest_first: list[Listed], rules: Rules) -> dict[str, list[str]]:
    """Return the names of what stays, with the reasons."""
    reasons: dict[str, list[str]] = {}
    for each in newest_first[: rules.last]:
        reasons.setdefault(each.name, []).append("last")
    for count, why, period in (
        (rules.daily, "daily", _day),
        (rules.weekly, "weekly", _week),
        (rules.monthly, "monthly", _month),
    ):
        firsts: dict[tuple[int, ...], str] = {}
        for each in newest_first:
            firsts.setdefault(period(_begun(each)), each.name)
        for name in list(firsts.values())[:count]:
            reasons.setdefault(name, []).append(why)
    verified = next((each for each in newest_first if each.is_verified), None)
    if verified is not None:
        reasons.setdefault(verified.name, []).append("newest verified")
    return reasons


def _uncounted(backup: Listed, rules: Rules, now: datetime, newest: datetime) -> Verdict:
    if backup.state == "removing":
        return Verdict(backup, False, ("an earlier removal was interrupted",))
    if left_alone := _left_alone(backup):
        return Verdict(backup, True, (left_alone,))
    what = "incomplete" if backup.state == "incomplete" else "damaged"
    if not rules.incomplete:
        why = f"{what}; see --incomplete"
    elif backup.changed is None or now - backup.changed < LONG_AGO:
        why = f"{what}, written to within a day"
    elif newest <= _begun(backup):
        why = f"{what}, but nothing newer is whole"
    else:
        return Verdict(backup, False, (what,))
    return Verdict(backup, True, (why,))


def _left_alone(backup: Listed) -> str:
    """Return why nothing but people may remove it; empty for what is broken."""
    if backup.kind == "folder":
        return "an incremental backup"
    if not backup.is_ours:
        return "an export of AWS"
    if backup.state == "unproven":
        return "no manifest"
    return "incremental exports continue it" if backup.is_sound else ""


def _day(moment: datetime) -> tuple[int, ...]:
    return moment.year, moment.month, moment.day


def _week(moment: datetime) -> tuple[int, ...]:
    return moment.isocalendar()[:2]


def _month(moment: datetime) -> tuple[int, ...]:
    return moment.year, moment.month


def _age(backup: Listed) -> tuple[datetime, datetime, str]:
    return _begun(backup), backup.ended or _NEVER, backup.name


def _begun(backup: Listed) -> datetime:
    return (backup.begun or backup.changed or _NEVER).astimezone(UTC)
