"""``--job``: what is refused before anything is done, and what a job says of itself."""

from __future__ import annotations

import json
import resource
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Cli, ended, json_lines
from tests.support.job_runs import (
    DIFF,
    MISSING,
    SAVING_OFTEN,
    TERM,
    Moment,
    command,
    drifted,
    many_missing,
    other,
    run_until,
    run_until_told,
    state_of,
    stopped_at_a_scan,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.scenario import Scene
    from tests.support.scripted import ScriptedDynamo


@pytest.fixture
def cli(tmp_path: Path, endpoint: ScriptedDynamo) -> Cli:
    """A command line that saves its jobs every few milliseconds."""
    return Cli(tmp_path, {"AWS_ENDPOINT_URL": endpoint.url}, SAVING_OFTEN)


def test_two_runs_at_the_same_time_are_refused(cli: Cli, endpoint: ScriptedDynamo) -> None:
    drifted(endpoint)
    with stopped_at_a_scan(cli, endpoint, *command("check")) as process:
        opened = endpoint.count("DescribeTable")
        second = cli(*command("check"))
        [listed] = json.loads(cli("jobs", "list", "--json").stdout)
        refused = cli("jobs", "remove", "j")
        process.send_signal(TERM)
        assert ended(process).code == 130
    folder = cli.folder / "state/jobs/j"
    assert (second.code, second.stdout) == (2, "")
    assert second.sentence == f"Another process is working on the job in {folder}."
    assert endpoint.count("DescribeTable") == opened
    assert listed["state"] == "running"
    assert (refused.code, refused.sentence) == (2, second.sentence)
    [listed] = json.loads(cli("jobs", "list", "--json").stdout)
    assert listed["state"] == "interrupted"


@pytest.fixture
def interrupted(cli: Cli, endpoint: ScriptedDynamo) -> Scene:
    """A check whose job was interrupted when it had told some discrepancies."""
    played = many_missing(endpoint)
    run_until_told(cli, endpoint, *command("check"))
    assert (cli.folder / "d.jsonl").stat().st_size
    return played


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
    assert len(json_lines((cli.folder / "d.jsonl").read_text())) == MISSING
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
    assert len(json_lines((cli.folder / "d.jsonl").read_text())) == MISSING


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
    assert ran.sentence == f"The job cannot be kept in {cli.folder}/file/j: Not a directory."


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
