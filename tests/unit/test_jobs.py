"""The state of a job: kept whole or not at all, by one process at a time, and read with care."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep import UsageError, VirtualClock
from asyncrep.diff.confirm import Candidate
from asyncrep.diff.spool import Spool
from asyncrep.jobs.entries import Header, Intent, ReplicaPlace, header_line, intent_line
from asyncrep.jobs.job import Job, open_job
from asyncrep.jobs.mark import Mark, Reached, Undecided, Written
from asyncrep.jobs.place import job_place, jobs_folder
from asyncrep.jobs.state import State, parse_state
from asyncrep.jobs.unsaid import unsaid_writes
from asyncrep.location import S3Place
from asyncrep.mutation import ItemAbsent, Put
from tests.support.scenario import item, key
from tests.support.strategies import briefly

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MARK = Mark(strategy="dual-scan", segments=[0, 1], total=2, counts={"missing": 2})

# ── Places ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_name_is_a_folder_of_the_state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASYNCREP_STATE", str(tmp_path))
    assert jobs_folder() == tmp_path / "jobs"
    for name in ("nightly", "a.b-c_d", "0", "x" * 100, "_"):
        assert job_place(name) == tmp_path / "jobs" / name
    assert job_place(None) is None
    assert str(job_place("./here")) == "here"
    assert job_place("s3://bucket/a/") == S3Place("bucket", "a")


@given(st.text(max_size=120).filter(lambda name: "/" not in name))
@briefly
def test_no_name_leaves_the_folder(name: str) -> None:
    place: object = None
    refused = ""
    try:
        place = job_place(name)
    except UsageError as error:
        refused = str(error)
    if place is None:
        assert "is not the name of a job" in refused
        assert refused.isprintable()
    else:
        assert str(place) == os.path.normpath(f"{jobs_folder()}/{name}")


# ── Jobs ────────────────────────────────────────────────────────────────────────────────────────────


def spooled(*names: str) -> Spool:
    spool = Spool()
    for name in names:
        spool.add(Candidate(key(name), 0, 1, "replica"))
    return spool


async def save(job: Job, piles: Mapping[str, Any] | None = None, **options: bool) -> None:
    await job.save(MARK, piles or {}, **options)


def kept(folder: Path) -> State:
    state = parse_state((folder / "state.json").read_bytes(), "it")
    assert state is not None
    return state


async def test_a_job_is_gone_on_with_until_it_is_done(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with open_job(tmp_path / "j", {"x": 1}, clock=clock) as job:
        assert (job.mark, job.note) == (None, None)
        await job.begin()
        await save(job)
        assert kept(tmp_path / "j").working
    await clock.sleep(5)
    async with open_job(tmp_path / "j", {"x": 1}, clock=clock) as job:
        assert (job.mark, job.note) == (MARK, None)
        await job.begin()
        await save(job, done=True, last=True)
    state = kept(tmp_path / "j")
    assert (state.runs, state.done, state.working) == (2, True, False)
    assert state.begun < state.saved
    async with open_job(tmp_path / "j", {"x": 2}, clock=clock) as job:
        assert (job.mark, job.state.options) == (None, {"x": 2})
        assert job.note == f"The job in {tmp_path / 'j'} was done; it begins anew."


async def test_other_options_are_refused_once_something_was_done(tmp_path: Path) -> None:
    async with open_job(tmp_path, {"--a": None, "--b": [1], "--c": True}) as job:
        await job.begin()
    async with open_job(tmp_path, {"--a": 5}) as job:
        await save(job)
    with pytest.raises(UsageError, match=r"begun with --a 5, not left out: repeat the command"):
        async with open_job(tmp_path, {"--a": None}):
            pass
    with pytest.raises(UsageError, match=r"begun with --b left out, not given: "):
        async with open_job(tmp_path, {"--a": 5, "--b": True}):
            pass


async def test_what_was_put_aside_comes_back_in_order(tmp_path: Path) -> None:
    async with open_job(tmp_path, {}) as job:
        with spooled("a", "b") as spool, spooled() as empty:
            await save(job, {"aside": spool})
            await save(job, {"aside": spool})
            spool.add(Candidate(key("c"), 0, 1, "replica"))
            await save(job, {"aside": spool, "told": empty})
        assert len(job.state.parts["aside"]) == 2
    async with open_job(tmp_path, {}) as job:
        with Spool() as again:
            async for lines in job.piled("aside"):
                again.extend(lines)
            assert [candidate.key for candidate in again] == [key("a"), key("b"), key("c")]
            again.add(Candidate(key("d"), 0, 1, "replica"))
            await save(job, {"aside": again})
        assert len(job.state.parts["aside"]) == 3
        (tmp_path / job.state.parts["aside"][1]).unlink()
    async with open_job(tmp_path, {}) as job:
        with pytest.raises(UsageError, match=r"is damaged: aside-000002-.* is gone"):
            [lines async for lines in job.piled("aside")]


async def test_a_folder_in_which_no_job_began_is_not_left(tmp_path: Path) -> None:
    async with open_job(tmp_path / "j", {}):
        pass
    assert not (tmp_path / "j").exists()


async def test_what_is_saved_is_the_moment_of_the_call(tmp_path: Path) -> None:
    class Growing:
        def __init__(self) -> None:
            self.synced = 0

        def length(self) -> int:
            return 7

        def sync(self) -> None:
            self.synced += 1

    output = Growing()
    async with open_job(tmp_path, {}) as job:
        job.outputs = {"--output": output}
        await save(job)
    assert (kept(tmp_path).outputs, output.synced) == ({"--output": 7}, 1)


@pytest.mark.parametrize(
    "document",
    [
        b"", b"{", b"[]", b"{}", b"\xff", b"null",
        b'{"job":1,"holder":"a","options":{},"begun":"","saved":"","mark":{"counts":{"missing":"2"}}}',
    ],
)  # fmt: skip
def test_what_is_no_state_is_refused(document: bytes) -> None:
    with pytest.raises(UsageError, match=r"^(here holds no job|The job in here is damaged)"):
        parse_state(document, "here")


texts = st.text(max_size=8)
undecided = st.builds(
    Undecided, texts, st.sampled_from(["primary", "replica", "both"]), st.integers(0, 9), st.integers(0, 9)
)
reached = st.builds(Reached, st.none() | texts, st.booleans())
marks = st.builds(
    Mark,
    strategy=st.sampled_from(["dual-scan", "batch-get"]),
    segments=st.lists(st.integers(0, 4), min_size=1, unique=True),
    total=st.just(5),
    reached=st.dictionaries(
        st.sampled_from(["primary", "replica"]), st.dictionaries(st.integers(0, 4), reached, max_size=3)
    ),
    undecided=st.lists(undecided, max_size=4),
    counts=st.fixed_dictionaries({"missing": st.integers(0, 2**53), "read_units": st.floats(0, 1e9), "sampled": st.none()}),
    drifted=st.lists(st.integers(0, 4)),
    deletions=st.none() | st.integers(0, 2**53),
    filled_empty=st.booleans(),
    writes=st.dictionaries(texts, st.integers(0, 2**53)),
    unsaid=st.lists(texts),
)  # fmt: skip


@given(marks, st.dictionaries(texts, st.none() | texts | st.booleans() | st.lists(texts)), texts)
def test_a_state_survives_json(mark: Mark, options: dict[str, Any], text: str) -> None:
    state = State(
        holder="ab", options=options, begun=text, saved=text, mark=mark, outputs={text: 3},
        parts={"aside": ["aside-000001-ab.jsonl"]}, journal=text,
    )  # fmt: skip
    assert parse_state(msgspec.json.encode(state), "it") == state


# ── What a journal tells and a report does not ──────────────────────────────────────────────────────


def journal(path: Path, *writes: tuple[str, int, str]) -> None:
    header = Header(ReplicaPlace("eu-west-1/t", None, None, None, "arn", None), "us-east-1/t", None, "now")
    lines = [header_line(header)]
    for by, number, name in writes:
        image = json.dumps(item(name)).encode()
        put = Put(key(name), image, ItemAbsent())
        lines.append(intent_line(Intent(by, number, "now", key(name), "missing", 1, None, None, put)))
    path.write_bytes(b"".join(lines) + b'{"by":"torn')


async def test_writes_behind_the_mark_are_unsaid_and_those_it_names(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    ours = ("a", 1, "told"), ("a", 2, "named"), ("a", 3, "behind"), ("b", 1, "later"), ("a", 4, "behind")
    journal(path, *ours, ("c", 1, "of another job"))
    mark = Mark(writes={"a": 2, "b": 0}, unsaid=[key("named").decode()])
    written, last = await unsaid_writes(path, mark)
    assert written.keys() == {key("named"), key("behind"), key("later")}
    assert written[key("behind")] == Written(key("behind"), "missing", 1, None)
    assert last == {"a": 4, "b": 1}


async def test_a_journal_that_is_not_there_yet_tells_nothing_and_one_that_is_gone_is_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "j.jsonl"
    assert await unsaid_writes(path, Mark(writes={"a": 0})) == ({}, {})
    with pytest.raises(UsageError, match="There is no journal"):
        await unsaid_writes(path, Mark(writes={"a": 1}))
    path.write_text("something else\n")
    with pytest.raises(UsageError, match="is not a journal"):
        await unsaid_writes(path, Mark())


def test_a_write_has_mended_what_it_was_to_mend_only() -> None:
    image = json.dumps(item("a")).encode()
    put = Written(key("a"), "missing", 1, None, "missed_put")
    found = put.mended(image)
    assert found is not None
    assert (found.kind, found.cause, found.segment) == ("missing", "missed_put", 1)
    assert put.mended(None) is None
    gone = Written(key("a"), "extraneous", 1, image).mended(None)
    assert gone is not None
    assert gone.kind == "extraneous"
    assert Written(key("a"), "extraneous", 1, image).mended(image) is None


def test_a_job_is_opened_by_its_location_too(tmp_path: Path) -> None:
    async def opened() -> str:
        async with open_job(f"file://{tmp_path}/j", {}) as job:
            return job.name

    assert asyncio.run(opened()) == str(tmp_path / "j")
