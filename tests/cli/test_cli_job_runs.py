"""``--job``: a run that is ended anyhow, and the same command again, come to what one whole run comes to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import Cli, endpoint_in_thread, json_lines
from tests.support.job_runs import (
    DIFF,
    INT,
    KILL,
    MISSING,
    SAVING_NEVER,
    SAVING_OFTEN,
    TASKS,
    TERM,
    Moment,
    command,
    drifted,
    many_missing,
    other,
    run_until,
    run_until_told,
    state_of,
)
from tests.support.scenario import items, same_items, scene

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.cli import Ran
    from tests.support.scripted import ScriptedDynamo


OTHER_EACH_TIME = {
    "read_units", "write_units", "cost_usd", "seconds", "throttled", "journal",
    "scanned_replica",  # some of what a repair writes is behind the scan, some before it
}  # fmt: skip


@pytest.fixture
def cli(tmp_path: Path, endpoint: ScriptedDynamo) -> Cli:
    """A command line that saves its jobs every few milliseconds."""
    return Cli(tmp_path, {"AWS_ENDPOINT_URL": endpoint.url}, SAVING_OFTEN)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[int, dict[str, Any]]]:
    """The exit code and the summary of a run that nobody interrupts, by task."""
    known: dict[str, tuple[int, dict[str, Any]]] = {}

    def run(task: str) -> tuple[int, dict[str, Any]]:
        if task not in known:
            with endpoint_in_thread() as endpoint:
                drifted(endpoint)
                cli = Cli(tmp_path_factory.mktemp("whole"), {"AWS_ENDPOINT_URL": endpoint.url})
                ran = cli(*DIFF, "--segments", "2", "--json", "--quiet", *TASKS[task])
                known[task] = ran.code, told(ran)
        return known[task]

    return run


def told(ran: Ran) -> dict[str, Any]:
    return {name: value for name, value in ran.summary.items() if name not in OTHER_EACH_TIME}


SOME = [
    ("check", KILL, Moment("Scan", 20)),
    ("check", INT, Moment("BatchGetItem", 1)),
    ("repair", KILL, Moment("PutItem", 4, landed=True)),
    ("repair", TERM, Moment("UpdateItem", 3, landed=True)),
    ("repair", KILL, Moment("DeleteItem", 5, landed=True)),
    ("repair by key", KILL, Moment("UpdateItem", 6)),
]


MORE = [
    (task, number, Moment(operation, count, landed))
    for task in TASKS
    for number in (KILL, TERM, INT)
    for operation, count in (
        ("Scan", 9),
        ("BatchGetItem", 2),
        ("PutItem", 9),
        ("UpdateItem", 0),
        ("DeleteItem", 9),
    )
    for landed in (True, False)
    if task != "check" or operation in {"Scan", "BatchGetItem"}
]


@pytest.mark.parametrize(
    ("task", "number", "moment"), [*SOME, *(pytest.param(*each, marks=pytest.mark.long) for each in MORE)]
)
def test_the_same_command_again_ends_like_an_uninterrupted_run(
    cli: Cli,
    endpoint: ScriptedDynamo,
    expected: Callable[[str], tuple[int, dict[str, Any]]],
    task: str,
    number: signal.Signals,
    moment: Moment,
) -> None:
    played = drifted(endpoint)
    endpoint.on("Scan", times=None).delay(0.005)
    ran = run_until(cli, endpoint, moment, number, command(task))
    if number is KILL:
        assert (ran.code, ran.stdout) == (-number, ""), ran.stderr
    else:
        assert (ran.code, ran.summary["complete"]) == (130, False)
        *_, how, last = ran.stderr.splitlines()
        folder = cli.folder / "state/jobs/j"
        assert how == f"The same command goes on with the job, which is kept in {folder}."
        assert last == "Interrupted."
    assert (state_of(cli)["working"], state_of(cli)["done"]) == (number is KILL, False)

    again = cli(*command(task))
    assert (again.code, told(again)) == expected(task), again.stderr
    found = json_lines((cli.folder / "d.jsonl").read_text())
    names = sorted(next(iter(line["key"]["id"].values())) for line in found)
    assert names == sorted(f"{kind}{number}" for kind in "mdx" for number in range(10))
    assert {line["state"] for line in found} == {"found" if task == "check" else "repaired"}
    if task != "check":
        assert same_items(played.primary.items.values(), played.replica.items.values())
    assert (state_of(cli)["working"], state_of(cli)["done"], state_of(cli)["runs"]) == (False, True, 2)


def test_a_run_goes_on_where_it_was_saved_last(cli: Cli, endpoint: ScriptedDynamo) -> None:
    drifted(endpoint)
    endpoint.on("Scan", times=None).delay(0.02)
    run_until(cli, endpoint, Moment("Scan", 25), KILL, command("check"))
    passed = sum(len(segments) for segments in state_of(cli)["mark"]["reached"].values())
    assert passed
    before = endpoint.count("Scan")
    assert cli(*command("check")).code == 1
    assert endpoint.count("Scan") - before < before
    starts = [call.body.get("ExclusiveStartKey") for call in endpoint.requests("Scan")[before:]]
    assert any(starts[:4])


@pytest.mark.parametrize("task", ["check", "repair"])
def test_a_killed_run_may_be_killed_again_and_again(
    cli: Cli, endpoint: ScriptedDynamo, expected: Callable[[str], tuple[int, dict[str, Any]]], task: str
) -> None:
    drifted(endpoint)
    endpoint.on("Scan", times=None).delay(0.01)
    for number in (8, 12, 4):
        run_until(cli, endpoint, Moment("Scan", number), KILL, command(task))
    again = cli(*command(task))
    assert (again.code, told(again)) == expected(task)
    assert len(json_lines((cli.folder / "d.jsonl").read_text())) == 30


@pytest.mark.parametrize("task", ["repair", "repair by key"])
def test_what_was_written_and_never_saved_is_told_once(cli: Cli, endpoint: ScriptedDynamo, task: str) -> None:
    played = many_missing(endpoint)
    cli.program = SAVING_NEVER
    for number in (30, 60):
        run_until(cli, endpoint, Moment("PutItem", number, landed=True), KILL, command(task))
        assert state_of(cli)["mark"]["counts"]["repaired"] == 0
        assert len(played.replica.items) > 60 + number
    cli.program = SAVING_OFTEN
    ran = cli(*command(task))
    assert ran.code == 0, ran.stderr
    summary = {name: ran.summary[name] for name in ("missing", "repaired", "matched", "complete", "causes")}
    assert summary == {
        "missing": MISSING,
        "repaired": MISSING,
        "matched": 60,
        "complete": True,
        "causes": {"missed_put": MISSING},
    }
    lines = json_lines((cli.folder / "d.jsonl").read_text())
    assert len({json.dumps(line["key"]) for line in lines}) == len(lines) == MISSING
    assert {line["state"] for line in lines} == {"repaired"}


def test_a_job_is_done_one_budget_after_the_other(cli: Cli, endpoint: ScriptedDynamo) -> None:
    played = scene(endpoint, items(60, blob="x" * 20_000), items(58, blob="x" * 20_000))
    played.primary.page_items = played.replica.page_items = 5
    spent = 0.0
    for number in range(20):
        ran = cli(*other("--quiet", "--max-cost", "0.00004"))
        assert spent < ran.summary["cost_usd"] < 0.00004 * (number + 1)
        spent = ran.summary["cost_usd"]
        if ran.code != 3:
            break
        assert "could pass the budget" in ran.stderr
        assert "The same command goes on with the job" in ran.stderr
    assert 2 < state_of(cli)["runs"] < 20
    assert (ran.code, ran.summary["complete"], ran.summary["matched"]) == (1, True, 58)
    assert len(json_lines((cli.folder / "d.jsonl").read_text())) == 2


def test_a_sample_goes_on_with_the_same_segments(cli: Cli, endpoint: ScriptedDynamo) -> None:
    drifted(endpoint)
    endpoint.on("Scan", times=None).delay(0.005)
    sample = (*DIFF, "--segments", "16", "--sample", "0.5", "--json", "--quiet", "--job", "j")
    run_until(cli, endpoint, Moment("Scan", 14), KILL, sample)
    segments = set(state_of(cli)["mark"]["segments"])
    assert len(segments) == 8
    ran = cli(*sample)
    assert (ran.code, ran.summary["sampled"]["segments"]) == (1, 8)
    assert {call.body["Segment"] for call in endpoint.requests("Scan") if "Segment" in call.body} == segments


@pytest.mark.parametrize(("number", "landed"), [(KILL, True), (TERM, False)])
def test_a_backfill_goes_on(cli: Cli, endpoint: ScriptedDynamo, number: signal.Signals, landed: bool) -> None:
    played = scene(endpoint, items(200))
    played.primary.page_items = 10
    endpoint.on("Scan", times=None).delay(0.005)
    fill = (*DIFF, "--segments", "2", "--backfill", "--repair", "--json", "--quiet", "--job", "j")
    run_until(cli, endpoint, Moment("BatchWriteItem", 3, landed), number, fill)
    ran = cli(*fill)
    assert ran.code == 0, ran.stderr
    assert ran.summary["scanned_primary"] == 200
    assert ran.summary["repaired"] + ran.summary["matched"] == 200
    assert same_items(played.primary.items.values(), played.replica.items.values())


def test_a_pipe_may_get_a_line_again_but_misses_none(cli: Cli, endpoint: ScriptedDynamo) -> None:
    many_missing(endpoint)
    piped = (*DIFF, "--segments", "2", "--output", "-", "--quiet", "--job", "j")
    first = run_until_told(cli, endpoint, *piped)
    second = cli(*piped)
    assert (first.code, second.code) == (130, 1)
    lines = [json.dumps(line["key"]) for line in (*first.lines, *second.lines)]
    assert first.lines
    assert len(set(lines)) == MISSING
