"""Where a job is kept: whole documents, private, for one process at a time."""

from __future__ import annotations

import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import UsageError, VirtualClock
from asyncrep.errors import ConditionFailedError, JobError
from asyncrep.jobs.job import Job
from asyncrep.jobs.lock import FolderLock, is_held
from asyncrep.jobs.state import State
from asyncrep.jobs.store import Contents, FolderStore, S3Store
from asyncrep.location import S3Place

if TYPE_CHECKING:
    from pathlib import Path

_HOLD = """
import sys, pathlib
from asyncrep.jobs.lock import FolderLock
print(FolderLock(pathlib.Path(sys.argv[1])).take(), flush=True)
sys.stdin.read()
"""


# ── The lock ────────────────────────────────────────────────────────────────────────────────────────


def test_a_lock_is_one_processs_until_it_ends(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    assert not is_held(folder)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert is_held(folder)
        assert is_held(folder)
        assert not FolderLock(folder).take()
        with pytest.raises(UsageError, match="Another process is working on the job in "):
            FolderStore(folder).lock()
        other.kill()
    assert not is_held(folder)
    assert FolderLock(folder).take()


def test_looking_whether_a_lock_is_held_leaves_nothing(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    assert not list(tmp_path.iterdir())
    lock = FolderLock(tmp_path)
    assert lock.take()
    lock.release()
    assert not is_held(tmp_path)
    assert lock.take()


def test_a_lock_on_a_folder_that_was_removed_meanwhile_locks_the_new_one(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path / "job"), FolderLock(tmp_path / "job")
    assert first.take()
    first.release(remove=True)
    assert not (tmp_path / "job").exists()
    assert second.take()
    assert is_held(tmp_path / "job")
    (tmp_path / "job/more").touch()
    second.release(remove=True)
    assert [each.name for each in (tmp_path / "job").iterdir()] == ["more"]


# ── Documents ───────────────────────────────────────────────────────────────────────────────────────


async def test_a_document_is_replaced_as_a_whole_and_private(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "a/job")
    store.lock()
    assert await store.read("state.json") is None
    await store.write("state.json", b"1")
    await store.write("state.json", b"22")
    assert await store.read("state.json") == b"22"
    assert stat.S_IMODE((tmp_path / "a/job").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a/job/state.json").stat().st_mode) == 0o600
    assert sorted(each.name for each in (tmp_path / "a/job").iterdir()) == ["lock", "state.json"]


async def test_a_write_that_fails_leaves_the_document_and_no_draft(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "job")
    store.lock()
    (tmp_path / "job/state.json").mkdir()
    with pytest.raises(JobError, match=r"The job.s state could not be written to .*: Is a directory"):
        await store.write("state.json", b"1")
    assert sorted(each.name for each in (tmp_path / "job").iterdir()) == ["lock", "state.json"]


def test_what_is_in_a_place_is_told_apart() -> None:
    own = ["aside-000001-0af3.jsonl", "told-000012-0af3.jsonl", "state.json", ".state.json.x_1"]
    journals = ["journal-20260102T030405.jsonl", "journal-20260102T030406.jsonl/journal.jsonl"]
    others = ["aside-000001.jsonl", "journal-mine.txt", "notes", "state.json.old", ".hidden", "x/state.json"]
    contents = Contents.of([*own, *others, "lock", *journals])
    assert contents.documents == ["state.json", ".state.json.x_1", *own[:2]]
    assert contents.journals == {journals[0]: [journals[0]], journals[1].split("/")[0]: [journals[1]]}
    assert contents.others == others


class Bucket:
    """Objects with tags, as S3 has them; one bucket for several stores."""

    place = S3Place("b", "j")

    def __init__(self) -> None:
        self.held: dict[str, tuple[bytes, str]] = {}

    async def get(self, name: str) -> tuple[bytes, str] | None:
        return self.held.get(name)

    async def put(
        self, name: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None
    ) -> str:
        there = self.held.get(name)
        if (if_absent and there) or (if_match is not None and (there is None or there[1] != if_match)):
            raise ConditionFailedError("no")
        self.held[name] = data, f"tag{len(self.held)}{data!r}"
        return self.held[name][1]


async def test_who_lost_a_job_in_s3_never_replaces_the_others_state() -> None:
    bucket: Any = Bucket()
    first, second = S3Store(bucket, "aaaa"), S3Store(bucket, "bbbb")
    assert await first.read("state.json") is None
    await first.write("state.json", b"aaaa 1")
    await second.read("state.json")
    await second.write("state.json", b"bbbb 1")
    for _ in range(3):
        with pytest.raises(JobError, match="Another process is working on the job in s3://b/j"):
            await first.write("state.json", b"aaaa 2")
    assert bucket.held["state.json"][0] == b"bbbb 1"


async def test_a_write_whose_answer_nobody_waited_for_is_ones_own() -> None:
    bucket: Any = Bucket()
    store = S3Store(bucket, "aaaa")
    await store.read("state.json")
    await bucket.put("state.json", b'{"holder":"aaaa","n":1}')  # it landed, and its caller was cancelled
    await store.write("state.json", b'{"holder":"aaaa","n":2}')
    assert bucket.held["state.json"][0] == b'{"holder":"aaaa","n":2}'


async def test_a_token_elsewhere_in_a_state_makes_nobody_its_holder() -> None:
    bucket: Any = Bucket()
    store = S3Store(bucket, "aaaa")
    await store.read("state.json")
    others = b'{"holder":"bbbb","parts":{"aside":["aside-000001-aaaa.jsonl"]}}'
    await bucket.put("state.json", others)
    with pytest.raises(JobError, match="Another process"):
        await store.write("state.json", b'{"holder":"aaaa"}')
    assert bucket.held["state.json"][0] == others


async def test_who_begins_at_the_same_time_as_another_is_refused() -> None:
    bucket: Any = Bucket()
    for store in (first := S3Store(bucket, "aaaa"), second := S3Store(bucket, "bbbb")):
        await store.read("state.json")
    states = [State(holder=holder, options={}, begun="", saved="") for holder in ("aaaa", "bbbb")]
    await Job(first, states[0], VirtualClock()).begin()
    with pytest.raises(UsageError, match="Another process is working on the job in s3://b/j"):
        await Job(second, states[1], VirtualClock()).begin()
