"""A journal is durable before it says so, goes on where it was, and tells what is damaged."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import UsageError, open_table
from asyncrep.errors import BudgetExhaustedError, JournalError, RejectedError, UnreachableError
from asyncrep.flow.tasks import side_by_side
from asyncrep.jobs.entries import (
    Damaged,
    Header,
    Intent,
    ReplicaPlace,
    Settled,
)
from asyncrep.jobs.history import read_header
from asyncrep.jobs.journal import Journal, apply_noted
from asyncrep.mutation import Outcome
from asyncrep.version import __version__
from tests.support.journals import entries, opened, put, records
from tests.support.scenario import REPLICA, key, session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep.aws.table import Table
    from tests.support.scripted import ScriptedDynamo

AT = "2026-01-02T03:04:05.000006Z"


@pytest.fixture
async def replica(endpoint: ScriptedDynamo) -> AsyncIterator[Table]:
    endpoint.create_table("orders", REPLICA)
    async with open_table(f"{REPLICA}/orders", endpoint_url=endpoint.url, session=session()) as table:
        yield table


# ── Writing ─────────────────────────────────────────────────────────────────────────────────────────


async def test_the_header_says_which_table_and_how_it_was_reached(tmp_path: Path, replica: Table) -> None:
    role = "arn:aws:iam::123456789012:role/r"
    async with opened(tmp_path / "j", replica, profile="prod", role_arn=role) as journal:
        await journal.intend(*put())
    header = await read_header(tmp_path / "j")
    assert (header.primary, header.undoes, header.version) == ("us-east-1/orders", None, __version__)
    assert header.replica == ReplicaPlace(
        f"{REPLICA}/orders",
        replica.ref.endpoint_url,
        "prod",
        role,
        replica.settings.arn,
        replica.settings.table_id,
    )


async def test_the_file_and_its_folders_are_their_owner_s_and_made_with_the_first_intent(
    tmp_path: Path, replica: Table
) -> None:
    path = tmp_path / "new" / "folder" / "j.jsonl"
    async with opened(path, replica) as journal:
        assert not path.parent.parent.exists()
        assert not journal.begun
        await journal.intend(*put())
        assert journal.begun
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (path.parent, path.parent.parent)} == {0o700}
    assert list(path.parent.iterdir()) == [path]


async def test_an_intent_is_in_the_file_when_it_returns_and_outcomes_after_sync(
    tmp_path: Path, replica: Table
) -> None:
    path = tmp_path / "j"
    async with opened(path, replica) as journal:
        assert await journal.intend(*put("a")) == 1
        assert len(await records(path)) == 2
        journal.settle(1, Outcome(applied=True))
        await journal.sync()
        assert (await records(path))[-1] == Settled(journal.by, 1, "2023-11-14T22:13:20.000000Z", True)
        journal.settle_error(await journal.intend(*put("b")), RejectedError("It is poison."))
        journal.settle_error(await journal.intend(*put("c")), asyncio.CancelledError())
        assert (journal.n, journal.place) == (3, str(path))
    *_, second, third = entries(await records(path))
    assert second.outcome == Outcome(applied=False)
    assert second.error == "It is poison."
    assert third.outcome is None
    assert third.error is not None
    assert "not known" in third.error


@pytest.mark.parametrize(
    ("error", "maybe", "known"),
    [
        (RejectedError("no"), False, True),
        (RejectedError("no"), True, False),
        (UnreachableError("gone"), True, False),
        (BudgetExhaustedError("broke"), False, True),
        (BudgetExhaustedError("broke"), True, False),
    ],
)
async def test_a_write_of_which_a_try_got_no_answer_is_never_noted_as_refused(
    tmp_path: Path, replica: Table, error: Any, maybe: bool, known: bool
) -> None:
    error.maybe_done = maybe
    error.__cause__ = OSError() if maybe else None
    async with opened(tmp_path / "j", replica) as journal:
        journal.settle_error(await journal.intend(*put()), error)
    [entry] = entries(await records(tmp_path / "j"))
    assert entry.outcome == (Outcome(applied=False) if known else None)
    assert entry.error == str(error)


async def test_a_condition_refused_after_a_lost_answer_leaves_open_whether_it_landed(
    tmp_path: Path, endpoint: ScriptedDynamo, replica: Table
) -> None:
    endpoint.on("PutItem").land_then_reset()
    async with opened(tmp_path / "j", replica) as journal:
        outcome = await apply_noted(journal, replica, *put())
    assert not outcome.applied
    [entry] = entries(await records(tmp_path / "j"))
    assert entry.outcome is None
    assert entry.error is not None
    assert "not known" in entry.error


async def test_intents_at_the_same_time_share_commits(
    tmp_path: Path, replica: Table, monkeypatch: Any
) -> None:
    synced: list[int] = []
    real = os.fsync

    def counted(descriptor: int) -> None:
        synced.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", counted)
    async with opened(tmp_path / "j", replica) as journal, asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(journal.intend(*put(f"k{number}")))
    assert len(entries(await records(tmp_path / "j"))) == 200
    assert len(synced) <= 6


async def test_cancelling_a_commit_leaves_no_task_and_loses_nothing(tmp_path: Path, replica: Table) -> None:
    before = asyncio.all_tasks()
    async with opened(tmp_path / "j", replica) as journal:
        await journal.intend(*put("first"))
        tasks = [asyncio.ensure_future(journal.intend(*put(f"k{number}"))) for number in range(20)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        journal.settle(1, Outcome(applied=True))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    assert asyncio.all_tasks() == before
    found = await records(tmp_path / "j")
    assert not [each for each in found if isinstance(each, Damaged)]
    noted = entries(found)
    assert [entry.n for entry in noted] == list(range(1, 22))
    assert noted[0].outcome == Outcome(applied=True)
    assert {entry.outcome for entry in noted[1:]} == {Outcome(applied=False)}  # they were never sent


# ── Going on, and refusing to ───────────────────────────────────────────────────────────────────────


async def test_a_journal_is_gone_on_with_under_its_one_header(tmp_path: Path, replica: Table) -> None:
    for id in "ab":
        async with opened(tmp_path / "j", replica) as journal:
            await journal.intend(*put(id))
    found = await records(tmp_path / "j")
    assert [type(each) for each in found] == [Header, Intent, Intent]
    assert len({each.by for each in found[1:]}) == 2


async def test_what_a_crash_has_torn_is_told_with_its_line_and_the_rest_is_read(
    tmp_path: Path, replica: Table
) -> None:
    path = tmp_path / "j"
    async with opened(path, replica) as journal:
        await journal.intend(*put("a"))
        await journal.intend(*put("b"))
    path.write_bytes(path.read_bytes()[:-20])
    async with opened(path, replica) as journal:
        await journal.intend(*put("c"))
    found = await records(path)
    assert [type(each) for each in found] == [Header, Intent, Damaged, Intent]
    assert (found[2].line, found[2].where) == (3, str(path))
    assert found[3].key == key("c")


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"{}",
        b'{"by":"a","n":1,"at":"x"}',
        b'{"by":"a","n":1,"at":"x","kind":"missing","key":{"id":{"S":"a"}}}',
        b'{"by":"a","n":1,"at":"x","kind":"other","key":{"id":{"S":"a"}},"delete":true}',
        b'{"by":"a","n":1,"at":"x","kind":"missing","key":{"id":{"S":"a"}},"replica":null,"delete":true}',
        b'{"by":"a","n":1,"at":"x","kind":"missing","key":{"id":{"S":"a"}},"put":[1]}',
        b'{"by":"a","n":1,"at":"x","applied":true,"old":3}',
        b"\xff\xfe",
    ],
)
async def test_a_damaged_line_is_told_and_not_skipped(tmp_path: Path, replica: Table, line: bytes) -> None:
    path = tmp_path / "j"
    async with opened(path, replica) as journal:
        await journal.intend(*put("a"))
    path.write_bytes(path.read_bytes() + line + b"\n")
    *_, last = await records(path)
    assert isinstance(last, Damaged)
    assert last.line == 3


async def test_something_else_is_refused_before_anything_is_written(tmp_path: Path, replica: Table) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("dear diary\n")
    with pytest.raises(UsageError, match="exists and is not a journal"):
        async with opened(other, replica):
            pass
    assert other.read_text() == "dear diary\n"
    for path, why in (
        (tmp_path, "no file"),
        (Path("/dev/full"), "no file"),
        (other / "j", "Not a directory"),
    ):
        with pytest.raises(UsageError, match=why):
            async with opened(path, replica):
                pass


async def test_the_journal_of_another_table_is_refused(
    tmp_path: Path, endpoint: ScriptedDynamo, replica: Table
) -> None:
    async with opened(tmp_path / "j", replica) as journal:
        await journal.intend(*put())
    endpoint.create_table("others", REPLICA)
    async with open_table(f"{REPLICA}/others", endpoint_url=endpoint.url, session=session()) as other:
        with pytest.raises(UsageError, match=f"journal of another table, {REPLICA}/orders"):
            async with opened(tmp_path / "j", other):
                pass
    with pytest.raises(UsageError, match="belongs to a repair"):
        async with opened(tmp_path / "j", replica, undoes="x"):
            pass


async def test_a_journal_that_another_begins_meanwhile_is_not_mixed_up_with_this_one(
    tmp_path: Path, endpoint: ScriptedDynamo, replica: Table
) -> None:
    endpoint.create_table("others", REPLICA)
    async with (
        open_table(f"{REPLICA}/others", endpoint_url=endpoint.url, session=session()) as other,
        opened(tmp_path / "j", other) as theirs,
        opened(tmp_path / "j", replica) as same,
        opened(tmp_path / "j", replica) as ours,
    ):
        await ours.intend(*put("a"))
        await same.intend(*put("b"))
        with pytest.raises(JournalError, match="is the journal of another table"):
            await theirs.intend(*put("c"))
        theirs._log._durable = theirs._log._added  # there is nothing more to be said on leaving
    assert {entry.key for entry in entries(await records(tmp_path / "j"))} == {key("a"), key("b")}


async def test_an_empty_file_may_become_a_journal(tmp_path: Path, replica: Table) -> None:
    (tmp_path / "j").touch(0o600)
    async with opened(tmp_path / "j", replica) as journal:
        await journal.intend(*put())
    assert [type(each) for each in await records(tmp_path / "j")] == [Header, Intent]


@pytest.mark.parametrize("content", [None, b"", b"dear diary\n", b'{"journal":2,"asyncrep":"9","at":"","replica":{"location":"","endpoint_url":null,"profile":null,"role_arn":null,"arn":"","table_id":null},"primary":""}\n'])  # fmt: skip
async def test_what_is_no_journal_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "j").write_bytes(content)
    with pytest.raises(UsageError, match="There is no journal" if content is None else "is not a journal"):
        await read_header(tmp_path / "j")


async def test_each_error_of_a_full_disk_is_one_of_its_own(
    tmp_path: Path, replica: Table, monkeypatch: Any
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    async def refused(journal: Journal, id: str) -> Exception:
        with pytest.raises(JournalError, match="No space left on device") as caught:
            await journal.intend(*put(id))
        return caught.value

    with pytest.raises(JournalError):  # noqa: PT012 - on leaving: an outcome could not be written
        async with opened(tmp_path / "j", replica) as journal:
            number = await journal.intend(*put("a"))
            monkeypatch.setattr(os, "write", full)
            errors = await side_by_side(refused(journal, id) for id in "bcd")
            assert len({id(error) for error in errors}) == 3
            assert journal.n == 1  # a mark must not count on what is not durable
            monkeypatch.undo()
            await refused(journal, "e")
            journal.settle(number, Outcome(applied=True))
