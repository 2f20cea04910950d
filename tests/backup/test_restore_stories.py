"""Restores through seeded trouble: whatever fails and comes again, the table is what the lines say one by one."""

from __future__ import annotations

import gzip
import json
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep import Limits
from asyncrep.errors import IncompleteBackupError
from asyncrep.flow.clock import SystemClock
from asyncrep.jobs.job import open_job
from tests.support.restores import Restoring, changed, export, jsonl, put
from tests.support.scenario import NAME, PRIMARY, item

if TYPE_CHECKING:
    from pathlib import Path

    from asyncrep.backup.report import RestoreReport
    from tests.support.scripted import ScriptedDynamo
    from tests.support.values import Item

DAYS = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"]


def line_of(chance: random.Random) -> tuple[bytes, Item | None]:
    """A line, and the item that it is; None for one that cannot be written."""
    made = item(f"k{chance.randrange(40)}", n=chance.randrange(1000), text="x" * chance.choice([0, 10, 3000]))
    match chance.random():
        case share if share < 0.03:
            return b'{"id":', None
        case share if share < 0.06:
            return jsonl([made | {"n": {"N": "x"}}])[:-1], None
        case share if share < 0.08:
            return jsonl([{"n": {"N": "1"}}])[:-1], None
    return jsonl([made])[:-1], made


def make_trouble(endpoint: ScriptedDynamo, chance: random.Random) -> None:
    """Faults for the next calls."""
    for operation in ("BatchWriteItem", "PutItem"):
        for _ in range(chance.randrange(6)):
            statement = endpoint.on(operation, after=chance.randrange(12))
            match chance.randrange(6 if operation == "BatchWriteItem" else 5):
                case 0:
                    statement.throttle()
                case 1:
                    statement.delay(0.01)
                case 2:
                    statement.reset()
                case 3:
                    statement.land_then_reset()
                case 4:
                    statement.corrupt()
                case _:
                    statement.unprocessed(chance.randrange(1, 25))


async def to_its_end(
    restoring: Restoring, chance: random.Random, source: Path, job: Path, mode: Any
) -> RestoreReport:
    """Run a job again and again, each time stopped by the service after some calls, until it comes to its end."""
    for _ in range(3):
        stops = [
            restoring.endpoint.on(each, after=chance.randrange(2, 9), times=None).error(
                "AccessDeniedException"
            )
            for each in ("BatchWriteItem", "PutItem")
        ]
        with suppress(IncompleteBackupError):
            return await once(restoring, source, job, mode)
        for stop in stops:
            stop.times = 0
    return await once(restoring, source, job, mode)


async def once(restoring: Restoring, source: Path, job: Path, mode: Any) -> RestoreReport:
    async with open_job(job, {"COMMAND": "restore"}) as opened:
        await opened.begin()
        return await restoring(
            source,
            mode=mode,
            job=opened,
            check_first=False,
            limits=Limits(concurrency=3),
            clock=SystemClock(),
        )


@pytest.mark.parametrize("mode", ["empty", "only-missing"])
@pytest.mark.parametrize("seed", range(4))
async def test_a_file_is_restored_as_its_lines_say_one_after_the_other(
    endpoint: ScriptedDynamo, tmp_path: Path, seed: int, mode: str
) -> None:
    chance = random.Random(f"{seed} {mode}")
    restoring = Restoring(endpoint, endpoint.create_table(NAME, PRIMARY))
    lines = [line_of(chance) for _ in range(chance.randrange(50, 400))]
    text = b"\n".join(line for line, _ in lines) + b"\n"
    put(tmp_path, {"file": gzip.compress(text) if chance.random() < 0.5 else text})
    expected: dict[str, Item] = {}
    for _, made in lines:
        if made is not None and (mode == "empty" or made["id"]["S"] not in expected):
            expected[made["id"]["S"]] = made
    make_trouble(endpoint, chance)
    report = await to_its_end(restoring, chance, tmp_path / "file", tmp_path / "job", mode)
    assert restoring.items == sorted(expected.values(), key=json.dumps)
    assert report.items == len(lines)
    assert report.failed == sum(made is None for _, made in lines)
    assert report.written + report.present + report.failed == report.items
    assert {each.line for each in restoring.refused} == {
        number for number, (_, made) in enumerate(lines, 1) if made is None
    }


@pytest.mark.parametrize("mode", ["empty", "only-missing"])
@pytest.mark.parametrize("seed", range(3))
async def test_a_chain_of_exports_is_restored_as_it_comes_to(
    endpoint: ScriptedDynamo, tmp_path: Path, seed: int, mode: str
) -> None:
    chance = random.Random(f"{seed} {mode}")
    restoring = Restoring(endpoint, endpoint.create_table(NAME, PRIMARY))
    expected = {f"k{number}": item(f"k{number}", n=0) for number in range(60)}
    put(tmp_path, export("0", [{"Item": each} for each in expected.values()], time=DAYS[0]))
    for number in (1, 2):
        touched = chance.sample(range(80), 20)
        news = [
            (f"k{each}", item(f"k{each}", n=number) if chance.random() < 0.6 else None) for each in touched
        ]
        lines = [changed(new, item(id)) for id, new in news]
        put(tmp_path, export(str(number), lines, since=DAYS[number - 1], time=DAYS[number]))
        expected |= {id: new for id, new in news if new is not None}
        for id, new in news:
            if new is None:
                expected.pop(id, None)
    make_trouble(endpoint, chance)
    report = await to_its_end(restoring, chance, tmp_path, tmp_path / "job", mode)
    assert report.complete
    assert restoring.items == sorted(expected.values(), key=json.dumps)
