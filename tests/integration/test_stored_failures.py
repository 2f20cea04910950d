"""What is refused before anything is written, and how a repair by a stored diff ends early."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asyncrep import IncompleteRunError, Limits, PermissionDeniedError, UsageError, repair_stored
from asyncrep.jobs.journal import open_journal
from tests.support.scenario import items, key, scene
from tests.support.stored import ALL, applied, drifted, lines_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "d.jsonl"


# What is refused, and what goes wrong


async def test_one_bad_line_at_the_end_and_nothing_is_written(endpoint, path):
    play = drifted(endpoint)
    lines = await lines_of(play)
    with pytest.raises(UsageError, match=r"d\.jsonl, line 4: This is not one whole JSON object"):
        await applied(play, path, [*lines[:-1], lines[-1][:-30]])
    assert play.writes() == []
    assert play.log.events == []


async def test_a_diff_of_tables_with_another_key_is_refused(endpoint, path):
    play = drifted(endpoint)
    lines = [line.replace(b'"id"', b'"number"') for line in await lines_of(play)]
    with pytest.raises(
        UsageError, match=r'line 1: "number" is not part of the table\'s key, which is id \(S\)'
    ):
        await applied(play, path, lines)


async def test_the_sides_may_not_be_one_table(endpoint, path):
    play = drifted(endpoint)
    path.touch()
    async with play.open() as (primary, _):
        with pytest.raises(UsageError, match="the same table"):
            await repair_stored(primary, primary, path)


async def test_a_run_that_loses_its_permissions_is_incomplete_and_deletes_nothing(endpoint, path):
    play = drifted(endpoint)
    lines = await lines_of(play)
    endpoint.on("PutItem").error("AccessDeniedException").forever()
    with pytest.raises(IncompleteRunError) as failure:
        await applied(play, path, lines)
    assert isinstance(failure.value.__cause__, PermissionDeniedError)
    assert not failure.value.report.complete
    assert "DeleteItem" not in play.writes()


async def test_a_budget_ends_the_run_and_says_how_much_was_judged(endpoint, path):
    play = scene(endpoint, items(300, v="x" * 2000), [])
    lines = await lines_of(play)
    with pytest.raises(IncompleteRunError, match=r"\d+ records were judged\."):
        await applied(play, path, lines, limits=Limits(concurrency=1, max_cost=0.0008))
    rest = await applied(play, path)
    assert (rest.remaining, play.converged) == (0, True)


async def test_a_file_that_changes_while_it_is_applied_is_noticed(endpoint, path):
    play = drifted(endpoint)
    # A blank line so long that what comes behind it is not in anybody's buffer yet.
    found = sorted(await lines_of(play), key=lambda line: b"extraneous" in line)
    lines = [*found[:2], b" " * 1_000_000 + b"\n", *found[2:]]

    def overwrite(_: object) -> None:
        content = path.read_bytes()
        path.write_bytes(content.replace(b'"reason":null', b'"reason":"me"'))

    endpoint.before("BatchGetItem", overwrite)
    with pytest.raises(IncompleteRunError, match=r"d\.jsonl was changed while it was in use: line \d is not"):
        await applied(play, path, lines)
    assert "DeleteItem" not in play.writes()


async def test_a_record_that_the_service_refuses_is_failed_and_the_others_are_done(endpoint, path):
    play = drifted(endpoint)
    lines = await lines_of(play)
    endpoint.on("PutItem").error("ValidationException", message="No such item can be.").forever()
    report = await applied(play, path, lines)
    assert (report.failed, report.repaired, report.complete) == (1, 3, True)


async def test_each_write_is_in_the_journal_before_it_is_sent(endpoint, path, tmp_path):
    play = drifted(endpoint)
    lines = await lines_of(play)
    place = tmp_path / "journal.jsonl"
    noted = []
    for operation in ("PutItem", "UpdateItem", "DeleteItem"):
        endpoint.before(
            operation, lambda _: noted.append((endpoint.calls[-1].body, place.read_bytes())), times=None
        )
    path.write_bytes(b"".join(lines))
    async with (
        play.open() as (primary, replica),
        open_journal(place, replica, primary=primary.label, clock=play.clock) as journal,
    ):
        report = await repair_stored(primary, replica, path, rules=ALL, clock=play.clock, journal=journal)
    assert (report.repaired, report.journal) == (4, str(place))
    assert len(noted) == 4
    for body, content in noted:
        written = (body.get("Key") or body["Item"])["id"]["S"]
        assert key(written) in content
