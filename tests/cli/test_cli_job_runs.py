"""``--job``: runs that are ended anyhow, and the same command again; and what is refused."""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support.cli import Cli, ended, endpoint_in_thread, group_is_gone, json_lines, wait_until
from tests.support.scenario import item, items, same_items, scene

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.cli import Ran
    from tests.support.scenario import Scene
    from tests.support.scripted import ScriptedDynamo

DIFF = ("diff-tables", "us-east-1/orders", "eu-west-1/orders", "--settle", "0")
TASKS: dict[str, tuple[str, ...]] = {
    "check": (),
    "repair": ("--repair",),
    "repair by key": ("--repair", "--strategy", "batch-get"),
}
OTHER_EACH_TIME = {
    "read_units", "write_units", "cost_usd", "seconds", "throttled", "journal",
    "scanned_replica",  # some of what a repair writes is behind the scan, some before it
}  # fmt: skip
SAVING_OFTEN = """
from asyncrep.diff import saving
from asyncrep.cli.app import main
for name in ("_FIRST_SECONDS", "_SECONDS", "_SHARE"):
    assert hasattr(saving, name)
    setattr(saving, name, 0.01)
main()
"""


class Moment(NamedTuple):
    """A call at which a run is ended.

    Attributes:
        number: which of these calls, from 0.
        landed: the service has carried it out, and has not answered yet.
    """

    operation: str
    number: int
    landed: bool = False


def drifted(endpoint: ScriptedDynamo) -> Scene:
    """Sixty equal items, and ten of each kind of discrepancy, in pages of five."""
    same = items(60)
    missing, extra = ([item(f"{kind}{number}") for number in range(10)] for kind in "mx")
    ours, theirs = ([item(f"d{number}", v=version) for number in range(10)] for version in (1, 2))
    played = scene(endpoint, [*same, *missing, *ours], [*same, *extra, *theirs])
    played.primary.page_items = played.replica.page_items = 5
    return played


@pytest.fixture
def cli(tmp_path: Path, endpoint: ScriptedDynamo) -> Cli:
    """A command line that saves its jobs every few milliseconds."""
    program = (sys.executable, "-c", SAVING_OFTEN)
    return Cli(tmp_path, {"AWS_ENDPOINT_URL": endpoint.url}, program)


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


def command(task: str, *options: str) -> tuple[str, ...]:
    return (*DIFF, "--segments", "2", "--json", "--output", "d.jsonl", "--job", "j", *TASKS[task], *options)


def run_until(
    cli: Cli, endpoint: ScriptedDynamo, moment: Moment, number: int, arguments: tuple[str, ...]
) -> Ran:
    """Run until a signal comes at a moment."""
    processes: list[subprocess.Popen[str]] = []

    def end(_: ScriptedDynamo) -> None:
        processes[0].send_signal(number)

    at = endpoint.after if moment.landed else endpoint.before
    at(moment.operation, end, after=moment.number)
    endpoint.on(moment.operation, after=moment.number).delay(0.2)
    with cli.start(*arguments) as process:
        processes.append(process)
        ran = ended(process)
    assert group_is_gone(process)
    return ran


def state_of(cli: Cli) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((cli.folder / "state/jobs/j/state.json").read_bytes())
    return state


KILL, TERM, INT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
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


@contextmanager
def stopped_at_a_scan(cli: Cli, endpoint: ScriptedDynamo, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A run that waits for the answer to a scan."""
    endpoint.on("Scan", after=3).delay(60).forever()
    with cli.start(*arguments) as process:
        wait_until(lambda: endpoint.count("Scan") > 3)
        yield process


def test_two_runs_at_the_same_time_are_refused(cli: Cli, endpoint: ScriptedDynamo) -> None:
    drifted(endpoint)
    with stopped_at_a_scan(cli, endpoint, *command("check")) as process:
        scans = endpoint.count("Scan")
        second = cli(*command("check"))
        [listed] = json.loads(cli("jobs", "list", "--json").stdout)
        refused = cli("jobs", "remove", "j")
        process.send_signal(TERM)
        assert ended(process).code == 130
    folder = cli.folder / "state/jobs/j"
    assert (second.code, second.stdout) == (2, "")
    assert second.sentence == f"Another process is working on the job in {folder}."
    assert endpoint.count("Scan") == scans
    assert listed["state"] == "running"
    assert (refused.code, refused.sentence) == (2, second.sentence)
    [listed] = json.loads(cli("jobs", "list", "--json").stdout)
    assert listed["state"] == "interrupted"


@pytest.fixture
def interrupted(cli: Cli, endpoint: ScriptedDynamo) -> Scene:
    """A check whose job was interrupted when it had told some discrepancies."""
    played = drifted(endpoint)
    run_until_told(cli, endpoint, *command("check"))
    assert (cli.folder / "d.jsonl").stat().st_size
    return played


def run_until_told(cli: Cli, endpoint: ScriptedDynamo, *arguments: str) -> Ran:
    """Run until some discrepancies are told and that is saved, then send a SIGTERM."""
    slow = endpoint.on("Scan", after=24).delay(60).forever()
    with cli.start(*arguments) as process:
        # Whatever differs waits a second for company before it is confirmed.
        wait_until(lambda: endpoint.count("Scan") > 24 and state_of(cli)["mark"]["counts"]["missing"])
        process.send_signal(TERM)
        ran = ended(process)
    slow.wait = 0
    return ran


def other(*options: str) -> tuple[str, ...]:
    return command("check", *options)


@pytest.mark.usefixtures("interrupted")
def test_other_options_are_refused_with_the_difference_and_another_pace_is_not(
    cli: Cli, endpoint: ScriptedDynamo
) -> None:
    calls, before = len(endpoint.calls), (cli.folder / "d.jsonl").read_bytes()
    refused = {
        "--repair left out, not given": other("--repair"),
        "--segments 2, not 3": other("--segments", "3"),
        '--ignore-attribute left out, not ["v"]': other("--ignore-attribute", "v"),
        "--sample left out, not 0.5": other("--sample", "0.5"),
        f'--output "{cli.folder}/d.jsonl", not "{cli.folder}/e.jsonl"': other("--output", "e.jsonl"),
        "--settle 0.0, not 2.0": other("--settle", "2"),
    }
    for words, ran in zip(refused, cli.each(*refused.values()), strict=True):
        assert ran.code == 2
        assert f"was begun with {words}: repeat the command" in ran.sentence
    tables = cli("diff-tables", "us-east-1/orders", "eu-west-1/others", *other()[3:])
    assert tables.code == 2
    assert 'REPLICA "eu-west-1/orders", not "eu-west-1/others"' in tables.sentence
    assert (len(endpoint.calls), (cli.folder / "d.jsonl").read_bytes()) == (calls, before)
    assert not (cli.folder / "e.jsonl").exists()

    pace = other("--read-units", "100000", "--concurrency", "3", "--max-cost", "9", "--quiet")
    assert cli(*pace).code == 1


@pytest.mark.usefixtures("interrupted")
def test_a_job_that_is_done_says_that_it_begins_anew(cli: Cli) -> None:
    assert cli(*other()).code == 1
    anew = cli(*other())
    assert anew.code == 1
    assert (
        anew.stderr.splitlines()[0] == f"Note: The job in {cli.folder}/state/jobs/j was done; it begins anew."
    )
    assert len(json_lines((cli.folder / "d.jsonl").read_text())) == 30
    assert cli(*other("--ignore-attribute", "v", "--quiet")).code == 1


@pytest.mark.usefixtures("interrupted")
@pytest.mark.parametrize("spoil", ["removed", "shortened"])
def test_an_output_that_lost_lines_is_refused(cli: Cli, endpoint: ScriptedDynamo, spoil: str) -> None:
    output = cli.folder / "d.jsonl"
    kept, calls = state_of(cli)["outputs"]["--output"], len(endpoint.calls)
    assert kept == output.stat().st_size
    output.unlink() if spoil == "removed" else output.write_bytes(output.read_bytes()[:-1])
    ran = cli(*other())
    assert (ran.code, ran.stdout, len(endpoint.calls)) == (2, "", calls)
    assert f"{kept:,} bytes of it belong to the job." in ran.sentence
    assert output.exists() == (spoil == "shortened")
    assert state_of(cli)["runs"] == 1


@pytest.mark.usefixtures("interrupted")
def test_what_was_written_behind_the_last_save_is_cut_off(cli: Cli) -> None:
    with (cli.folder / "d.jsonl").open("ab") as file:
        file.write(b'{"half a li')
    assert cli(*other()).code == 1
    assert len(json_lines((cli.folder / "d.jsonl").read_text())) == 30


@pytest.mark.usefixtures("interrupted")
@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state[:-20],
        lambda state: b"\0\xff" + state,
        lambda state: state.replace(b'"job":1', b'"job":2'),
        lambda state: state.replace(b'"segments":[0,1]', b'"segments":[0,7]', 1),
        lambda state: state.replace(b'"parts":{', b'"parts":{"aside":["../../escape"],', 1),
        lambda state: state.replace(b'"matched":', b'"matched":"x","was":'),
    ],
    ids=["cut", "garbage", "format", "segments", "parts", "counts"],
)
def test_a_damaged_state_is_refused(
    cli: Cli, endpoint: ScriptedDynamo, damage: Callable[[bytes], bytes]
) -> None:
    path, calls = cli.folder / "state/jobs/j/state.json", len(endpoint.calls)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    ran, listed, shown = cli(*other()), cli("jobs"), cli("jobs", "show", "j")
    assert (ran.code, ran.stdout, len(endpoint.calls)) == (2, "", calls)
    assert ran.sentence.startswith((f"The job in {path.parent} ", f"{path.parent} holds no job"))
    assert (listed.code, listed.stderr) == (0, "")
    assert "damaged" in listed.stdout
    assert (shown.code, shown.sentence) == (2, ran.sentence)
    assert cli("jobs", "remove", "j").code == 0
    assert not path.parent.exists()


def test_a_state_that_cannot_be_saved_ends_the_run(cli: Cli, endpoint: ScriptedDynamo) -> None:
    drifted(endpoint)
    with cli.start(*other("--quiet")) as process:

        def fill(_: ScriptedDynamo) -> None:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100, 100))

        endpoint.before("Scan", fill, after=8)
        endpoint.on("Scan", after=8).delay(0.3)
        ran = ended(process)
    assert (ran.code, ran.summary["complete"]) == (3, False)
    folder = cli.folder / "state/jobs/j"
    assert ran.stderr.splitlines() == [
        f"The same command goes on with the job, which is kept in {folder}.",
        f"Error: The job's state could not be written to {folder}: File too large.",
    ]
    assert cli(*other("--quiet")).code == 1


def test_a_folder_that_cannot_be_used_is_refused(cli: Cli, endpoint: ScriptedDynamo) -> None:
    drifted(endpoint)
    (cli.folder / "file").touch()
    ran = cli(*DIFF, "--job", "./file/j")
    assert (ran.code, endpoint.calls) == (2, [])
    assert ran.sentence == f"The job cannot be kept in file/j: Not a directory."


@pytest.mark.parametrize("name", ["..", ".hidden", "-x", "a\nb", "a\x1b[31mb", "x" * 300, "", "a b", "ä"])
def test_what_is_no_name_is_refused(cli: Cli, endpoint: ScriptedDynamo, name: str) -> None:
    drifted(endpoint)
    for ran in (
        cli(*DIFF, f"--job={name}"),
        cli("jobs", "show", "--", name),
        cli("jobs", "remove", "--", name),
    ):
        assert (ran.code, ran.stdout) == (2, "")
        assert "is not the name of a job: up to 100 letters" in ran.sentence
        assert "\x1b" not in ran.stderr
    assert not (cli.folder / "state").exists()
    assert endpoint.calls == []


@pytest.mark.usefixtures("endpoint")
def test_a_path_is_a_path_and_shown_without_escapes(cli: Cli, endpoint: ScriptedDynamo) -> None:
    drifted(endpoint)
    for path in ("a/../b", "./\x1b[31mred\n"):
        ran, shown = cli(*DIFF, "--job", path, "--json"), cli("jobs", "show", path)
        assert (ran.code, shown.code) == (1, 0)
        assert "\x1b" not in shown.stdout + ran.stderr
    assert (cli.folder / "b/state.json").exists()
    assert "./\\x1b[31mred\\n" in shown.stdout


def test_a_job_that_never_began_may_be_begun_otherwise(cli: Cli, endpoint: ScriptedDynamo) -> None:
    drifted(endpoint)
    assert cli("diff-tables", "us-east-1/orders", "eu-west-1/nothing", *other()[3:], "--quiet").code == 3
    assert cli(*other("--quiet")).code == 1


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
    drifted(endpoint)
    piped = (*DIFF, "--segments", "2", "--output", "-", "--quiet", "--job", "j")
    first = run_until_told(cli, endpoint, *piped)
    second = cli(*piped)
    assert (first.code, second.code) == (130, 1)
    lines = [json.dumps(line["key"]) for line in (*first.lines, *second.lines)]
    assert first.lines
    assert len(set(lines)) == 30


def test_a_journal_that_is_gone_is_refused(cli: Cli, endpoint: ScriptedDynamo) -> None:
    drifted(endpoint)
    run_until(cli, endpoint, Moment("UpdateItem", 4), TERM, command("repair"))
    journal = cli.folder / state_of(cli)["journal"]
    assert journal.parent == cli.folder / "state/jobs/j"
    held = journal.read_bytes()
    journal.unlink()
    calls = endpoint.count("Scan")
    ran = cli(*command("repair"))
    assert (ran.code, ran.sentence) == (2, f"There is no journal {journal}.")
    assert endpoint.count("Scan") == calls
    journal.write_bytes(held)
    assert cli(*command("repair")).code == 0
    undone = cli("undo", str(journal), "--json", "--quiet").summary
    assert undone["taken_back"] + undone["unknown"] == undone["records"] == 30


def test_saving_takes_no_time_from_a_short_run(cli: Cli, endpoint: ScriptedDynamo) -> None:
    drifted(endpoint)
    began = time.monotonic()
    assert cli(*other("--quiet")).code == 1
    assert time.monotonic() - began < 10
