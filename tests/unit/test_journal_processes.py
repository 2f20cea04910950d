"""Real processes that append to one journal, and one whose disk is full."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from asyncrep import open_table
from asyncrep.jobs.entries import (
    Damaged,
    Header,
    Intent,
    Settled,
)
from asyncrep.mutation import Outcome
from tests.support.journals import entries, records
from tests.support.scenario import REPLICA, session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from asyncrep.aws.table import Table
    from tests.support.scripted import ScriptedDynamo


@pytest.fixture
async def replica(endpoint: ScriptedDynamo) -> AsyncIterator[Table]:
    endpoint.create_table("orders", REPLICA)
    async with open_table(f"{REPLICA}/orders", endpoint_url=endpoint.url, session=session()) as table:
        yield table


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
