"""A journal holds what was written to the byte, is durable before it says so, and tells what is damaged."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from asyncrep import UsageError, VirtualClock, open_table
from asyncrep.errors import BudgetExhaustedError, JournalError, RejectedError, UnreachableError
from asyncrep.flow.tasks import side_by_side
from asyncrep.items.equality import without_system_attributes
from asyncrep.jobs.entries import (
    Damaged,
    Entry,
    Header,
    Intent,
    ReplicaPlace,
    Settled,
    intent_line,
    parse_line,
    settled_line,
)
from asyncrep.jobs.history import read_header, read_journal
from asyncrep.jobs.journal import Journal, apply_noted, open_journal
from asyncrep.model import Missing
from asyncrep.mutation import AttributesAre, Delete, ItemAbsent, Outcome, Patch, Put
from asyncrep.version import __version__
from tests.support.scenario import REPLICA, item, key, session
from tests.support.strategies import items as any_items

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep.aws.table import Table
    from tests.support.scripted import ScriptedDynamo
    from tests.support.values import Item

AT = "2026-01-02T03:04:05.000006Z"


def image(id: Any = "a", **attributes: Any) -> bytes:
    return json.dumps(item(id, **attributes)).encode()


def put(id: str = "a") -> tuple[Missing, Put]:
    return Missing(key=key(id), primary=image(id)), Put(key(id), image(id), ItemAbsent())


@pytest.fixture
async def replica(endpoint: ScriptedDynamo) -> AsyncIterator[Table]:
    endpoint.create_table("orders", REPLICA)
    async with open_table(f"{REPLICA}/orders", endpoint_url=endpoint.url, session=session()) as table:
        yield table


@asynccontextmanager
async def opened(path: Path | str, replica: Table, **options: Any) -> AsyncIterator[Journal]:
    given: dict[str, Any] = {"primary": "us-east-1/orders", "clock": VirtualClock()} | options
    async with open_journal(path, replica, **given) as journal:
        yield journal


async def records(path: Path) -> list[Any]:
    async with read_journal(path) as read:
        return [record async for record in read]


def entries(found: list[Any]) -> list[Entry]:
    settled = {(each.by, each.n): each for each in found if isinstance(each, Settled)}
    return [Entry.of(each, settled.get((each.by, each.n))) for each in found if isinstance(each, Intent)]


# ── Lines ───────────────────────────────────────────────────────────────────────────────────────────

HOSTILE: Item = {
    "__proto__": {"M": {"S": {"S": "x\u2028y\u2029z\x85"}}},
    "n": {"N": "-12345678901234567890123456789012345678E-100"},
    "b": {"B": "AAEC"},
    "": {"NULL": True},
    "aws:rep:x": {"S": "system"},
}


@given(any_items(), any_items())
def test_whatever_is_in_an_item_comes_back_to_the_byte(before: dict[str, Any], after: dict[str, Any]) -> None:
    old, new = (json.dumps(each, ensure_ascii=False).encode() for each in (before, after))
    expected = AttributesAre({name: before.get(name) for name in (*after, "gone")})
    for intent in (
        Intent(
            "ab", 7, AT, key(), "different", 3, "missed_put", old, Patch(key(), after, ["gone"], expected)
        ),
        Intent(
            "ab",
            8,
            AT,
            key(),
            "missing",
            0,
            None,
            None,
            Put(key(), without_system_attributes(new), ItemAbsent()),
        ),
        Intent("ab", 9, AT, key(), "extraneous", 0, None, old, Delete(key(), AttributesAre(before))),
    ):
        line = intent_line(intent)
        assert line.count(b"\n") == 1
        assert parse_line(line) == intent
    settled = Settled("ab", 7, AT, True, old)
    assert parse_line(settled_line(settled)) == settled


def test_hostile_names_and_numbers_survive_as_they_are() -> None:
    hostile = json.dumps({**item(), **HOSTILE}, indent=1, ensure_ascii=False).encode()
    line = intent_line(
        Intent("ab", 1, AT, key(), "extraneous", 0, None, hostile, Delete(key(), AttributesAre({})))
    )
    assert line.count(b"\n") == 1
    read = parse_line(line)
    assert isinstance(read, Intent)
    assert read.replica == hostile.replace(b"\n", b" ")
    assert read.mutation == Delete(key(), AttributesAre({**item(), **HOSTILE}))


def test_a_put_is_noted_as_it_is_sent_without_system_attributes() -> None:
    whole = json.dumps({**item(), **HOSTILE}).encode()
    line = intent_line(Intent("ab", 1, AT, key(), "missing", 0, None, None, Put(key(), whole, ItemAbsent())))
    read = parse_line(line)
    assert isinstance(read, Intent)
    assert isinstance(read.mutation, Put)
    sent = {name: value for name, value in HOSTILE.items() if name != "aws:rep:x"}
    assert json.loads(read.mutation.image) == {**item(), **sent}


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


# ── Real processes ──────────────────────────────────────────────────────────────────────────────────

_WRITER = """
import asyncio, os, resource, sys
from asyncrep import open_table
from asyncrep.errors import JournalError
from asyncrep.jobs.journal import open_journal
from asyncrep.model import Missing
from asyncrep.mutation import ItemAbsent, Outcome, Put

path, url, number, limit = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

async def main():
    async with open_table("eu-west-1/orders", endpoint_url=url) as table:
        async with open_journal(path, table, primary="p") as journal:
            if limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            async def write(n):
                key = b'{"id":{"S":"%d-%d"}}' % (os.getpid(), n)
                image = key[:-1] + b',"x":{"S":"%s"}}' % (b"x" * 3000)
                number = await journal.intend(Missing(key=key, primary=image), Put(key, image, ItemAbsent()))
                journal.settle(number, Outcome(applied=True))
            for start in range(0, number, 10):
                done = await asyncio.gather(*(write(n) for n in range(start, start + 10)), return_exceptions=True)
                failed = [each for each in done if each]
                if failed:
                    assert all(isinstance(each, JournalError) for each in failed)
                    print(failed[0])
                    try:
                        await write(0)
                    except JournalError:
                        print("and no more")
asyncio.run(main())
"""


def writer(path: Path, url: str, number: int, limit: int = 0) -> subprocess.Popen[str]:
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path), url, str(number), str(limit)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


async def finished(process: subprocess.Popen[str]) -> tuple[str, str]:
    return await asyncio.to_thread(process.communicate, timeout=30)


@pytest.mark.usefixtures("replica")
async def test_several_processes_append_to_one_journal(tmp_path: Path, endpoint: ScriptedDynamo) -> None:
    path = tmp_path / "j"
    processes = [writer(path, endpoint.url, 100) for _ in range(3)]
    for process in processes:
        assert (await finished(process)) == ("", "")
    found = await records(path)
    assert isinstance(found[0], Header)
    assert {type(each) for each in found[1:]} == {Intent, Settled}
    noted = entries(found)
    assert len({entry.key for entry in noted}) == len(noted) == 300
    assert {entry.outcome for entry in noted} == {Outcome(applied=True)}
    assert len({entry.by for entry in noted}) == 3


@pytest.mark.usefixtures("replica")
async def test_a_full_disk_stops_the_writes(tmp_path: Path, endpoint: ScriptedDynamo) -> None:
    path = tmp_path / "j"
    told, errors = await finished(writer(path, endpoint.url, 60, limit=50_000))
    assert told.splitlines()[0] == (
        f"The journal {path} could not be written, so nothing more was written to the table: File too large."
    )
    assert told.splitlines()[1] == "and no more"
    assert "JournalError" in errors  # on leaving too, as outcomes are missing
    found = await records(path)
    assert 1 < len(entries(found)) < 60
    assert isinstance(found[-1], Damaged)


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
