"""What ``repair`` does with a stored diff: after review, filtering and editing, and with bad input."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import ended, json_lines, wait_until
from tests.support.scenario import change, item, items, scene

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Cli, Ran
    from tests.support.scenario import Scene
    from tests.support.scripted import ScriptedDynamo

TABLES = ("us-east-1/orders", "eu-west-1/orders")
DIFF = ("diff-tables", *TABLES, "--settle", "0")
WITH = (*TABLES, "--settle", "0")
REPAIR = ("repair", "d.jsonl", *WITH)


@pytest.fixture
def drifted(endpoint: ScriptedDynamo) -> Scene:
    """Five equal items, one missing, one different, two extraneous."""
    same = items(5)
    return scene(endpoint, [*same, item("m"), item("d", v=1)], [*same, item("d", v=2), item("x"), item("y")])


@pytest.fixture
def diff(cli: Cli, drifted: Scene) -> Path:
    """Its stored diff, d.jsonl."""
    assert cli(*DIFF, "--output", "d.jsonl", "-q").code == 1
    drifted.endpoint.calls.clear()
    return cli.folder / "d.jsonl"


# What it does


def test_a_round_trip_ends_with_a_replica_that_is_right(cli: Cli, drifted: Scene) -> None:
    found, done, right, again = cli.each((*DIFF, "--output", "d.jsonl"), REPAIR, DIFF, REPAIR)
    assert [ran.code for ran in (found, done, right, again)] == [1, 0, 0, 0]
    assert drifted.converged
    assert "4  repaired and verified" in done.stdout
    assert "Every discrepancy of the diff is gone: repaired and verified." in done.stdout
    assert "stored diff" in done.stdout
    assert "segment" not in done.stdout
    assert "The replica is right: no discrepancies." in right.stdout
    assert "4  equal by now" in again.stdout
    assert "4  changed since the diff: left alone" in again.stdout
    assert "Every discrepancy of the diff is gone: repaired and verified, or equal by now." in again.stdout


def test_a_filtered_diff_through_a_pipe_is_applied_in_part(cli: Cli, drifted: Scene, diff: Path) -> None:
    assert diff.exists()
    ran = cli.shell(f'grep \'"kind":"missing"\' d.jsonl | asyncrep repair - {" ".join(WITH)} --json')
    assert (ran.code, ran.summary["repaired"], ran.summary["strategy"]) == (0, 1, "stored diff")
    assert drifted.writes() == ["PutItem"]


@pytest.mark.usefixtures("diff")
def test_the_outcome_is_written_and_the_progress_told(cli: Cli, drifted: Scene) -> None:
    change(drifted.replica, "d", v=3)
    ran = cli(*REPAIR, "--output", "done.jsonl", "--combined", "-")
    outcome = {line["key"]["id"]["S"]: line for line in json_lines((cli.folder / "done.jsonl").read_text())}
    assert ran.code == 1
    assert {name: line["state"] for name, line in outcome.items()} == {
        "m": "repaired", "d": "changed", "x": "repaired", "y": "repaired",
    }  # fmt: skip
    assert outcome["d"]["reason"] == "The replica's item changed since: attribute v."
    assert '* {"id":{"S":"d"}}' in ran.stdout.splitlines()
    assert "repair: 2 items" in ran.stderr
    assert "delete: 2 items" in ran.stderr
    assert "1  changed since the diff: left alone" in ran.stderr
    assert "Of the diff 1 discrepancy remains." in ran.stderr


@pytest.mark.usefixtures("diff")
def test_options_bound_what_is_written(cli: Cli, drifted: Scene) -> None:
    dry, kept, one = cli.each(
        (*REPAIR, "--dry-run"), (*REPAIR, "--no-delete", "--json"), (*REPAIR, "--max-delete", "1", "--json")
    )
    assert [ran.code for ran in (dry, kept, one)] == [1, 1, 1]
    assert "Of the diff 4 discrepancies remain; nothing was written, this was a dry run." in dry.stdout
    assert (kept.summary["repaired"], kept.summary["skipped"]) == (2, 2)
    assert (one.summary["repaired"], one.summary["skipped"], one.summary["changed"]) == (1, 1, 2)
    assert sorted(drifted.writes()) == ["DeleteItem", "PutItem", "UpdateItem"]


@pytest.mark.usefixtures("diff")
def test_the_tables_may_come_from_the_environment(cli: Cli, drifted: Scene) -> None:
    cli.environment |= {"ASYNCREP_PRIMARY": TABLES[0], "ASYNCREP_REPLICA": TABLES[1]}
    assert cli("repair", "d.jsonl", "--settle", "0", "-q").code == 0
    assert drifted.converged


def test_its_own_outcome_can_be_applied(cli: Cli, drifted: Scene, diff: Path) -> None:
    assert diff.exists()
    change(drifted.primary, "d", v=3)
    first, second = cli.each((*REPAIR, "--output", "rest.jsonl"), ("repair", "rest.jsonl", *WITH))
    assert (first.code, second.code) == (1, 0)
    assert (
        "Passed over, as repaired, in flight or expired when the diff was stored: 3 records." in second.stderr
    )
    assert drifted.converged


def test_a_record_the_service_refuses_exits_3(cli: Cli, drifted: Scene, diff: Path) -> None:
    assert diff.exists()
    drifted.endpoint.on("PutItem").error("ValidationException", message="No such item can be.").forever()
    ran = cli(*REPAIR, "-q")
    assert ran.code == 3
    assert "1 of the discrepancies could not be repaired." in ran.stderr


def test_attributes_that_were_ignored_must_be_ignored_again(cli: Cli, drifted: Scene) -> None:
    change(drifted.primary, "d", seen=1)
    ignoring = ("--ignore-attribute", "seen")
    found, refused, done = cli.each(
        (*DIFF, *ignoring, "--output", "d.jsonl", "-q"), REPAIR, (*REPAIR, *ignoring)
    )
    assert (found.code, refused.code, done.code) == (1, 2, 0)
    assert "give --ignore-attribute seen as when the diff was made." in refused.sentence
    assert drifted.replica.items["d"] == item("d", v=1)


def test_what_agrees_by_now_is_no_line_of_the_combined_notation(cli: Cli, drifted: Scene, diff: Path) -> None:
    assert diff.exists()
    change(drifted.replica, "d", v=1)
    ran = cli(*REPAIR, "--combined", "-")
    assert (ran.code, len(ran.stdout.splitlines())) == (0, 3)
    assert "1  equal by now" in ran.stderr
    assert "changed" in ran.stderr


def test_an_interrupted_repair_is_gone_on_with_by_the_same_command(
    cli: Cli, drifted: Scene, diff: Path
) -> None:
    assert diff.exists()
    endpoint = drifted.endpoint
    endpoint.on("DeleteItem").delay(60)
    with cli.start(*REPAIR) as process:
        wait_until(lambda: endpoint.count("DeleteItem"))
        process.send_signal(signal.SIGINT)
        ran = ended(process)
    assert (ran.code, ran.seconds < 10) == (130, True)
    assert "The run is incomplete" in ran.stdout
    again = cli(*REPAIR, "--json")
    assert (again.code, again.summary["repaired"] + again.summary["settled"]) == (0, 4)
    assert drifted.converged


def test_ctrl_c_is_heard_while_stdin_is_read(cli: Cli, drifted: Scene) -> None:
    with cli.start("repair", "-", *WITH, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write("x" * 200_000)  # more than a pipe holds: it is being read when this returns
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        process.stdin.close()
        assert process.stderr is not None
        assert process.stderr.read() == "Interrupted.\n"
    assert drifted.writes() == []


def test_what_it_writes_is_noted_in_a_journal(cli: Cli, drifted: Scene, diff: Path) -> None:
    assert diff.exists()
    ran = cli(*REPAIR, "--journal", "j.jsonl", "--json")
    journal = cli.folder / "j.jsonl"
    assert (ran.code, ran.summary["repaired"]) == (0, 4)
    assert ran.summary["journal"].endswith(journal.name)
    assert journal.stat().st_mode & 0o777 == 0o600
    noted = [json.dumps(line.get("key")) for line in json_lines(journal.read_text())]
    assert all(json.dumps(item(name)) in noted for name in "mdxy")
    assert drifted.converged


def test_without_a_place_the_journal_is_in_the_state_folder(cli: Cli, drifted: Scene, diff: Path) -> None:
    good = diff.read_bytes()
    cli.environment["ASYNCREP_STATE"] = str(cli.folder / "state")
    diff.write_bytes(good[:-5])
    assert cli(*REPAIR).code == 2
    assert not (cli.folder / "state").exists()
    diff.write_bytes(good)
    assert cli(*REPAIR, "--dry-run").code == 1
    assert not (cli.folder / "state").exists()
    assert cli(*REPAIR).code == 0
    assert len(list((cli.folder / "state" / "journals").iterdir())) == 1
    assert drifted.converged


def test_the_diff_is_no_place_for_the_journal(cli: Cli, drifted: Scene, diff: Path) -> None:
    before = diff.read_bytes()
    _refused(cli(*REPAIR, "--journal", "d.jsonl"), drifted, "is not a journal")
    assert diff.read_bytes() == before


# Bad input


def _refused(ran: Ran, drifted: Scene, said: str) -> None:
    assert (ran.code, ran.stdout) == (2, "")
    assert said in ran.sentence
    assert drifted.writes() == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda whole: whole[:-10], "d.jsonl, line 4: This is not one whole JSON object"),
        (lambda whole: b"\n" + whole[5:], "d.jsonl, line 2: This is not one whole JSON object"),
        (lambda whole: whole.replace(b'{"id":', b'{"number":'), 'd.jsonl, line 1: "number" is not part of'),
        (lambda whole: whole.replace(b'"extraneous"', b'"odd"'), 'There is no kind "odd"'),
        (lambda whole: whole + b"\x00\x1b[31m\xff" * 9, "d.jsonl, line 5: This is not UTF-8 text."),
        (gzip.compress, "d.jsonl, line 1: This is not UTF-8 text."),
        (
            lambda whole: json.dumps(json.loads(whole.splitlines()[0]), indent=2).encode(),
            "each discrepancy has a line of its own (jq -c).",
        ),
    ],
    ids=["truncated", "beheaded", "other key", "kind", "garbage", "gzip", "pretty"],
)
def test_a_bad_line_is_named_and_nothing_is_written(
    cli: Cli, drifted: Scene, diff: Path, content, said: str
) -> None:
    diff.write_bytes(content(diff.read_bytes()))
    (cli.folder / "kept.jsonl").write_text("kept\n")
    _refused(cli(*REPAIR, "--output", "kept.jsonl"), drifted, said)
    assert (cli.folder / "kept.jsonl").read_text() == "kept\n"


def test_terminal_escapes_in_a_bad_line_are_spelled_out(cli: Cli, drifted: Scene, diff: Path) -> None:
    diff.write_bytes(diff.read_bytes().replace(b'"kind":"missing"', b'"kind":"\\u001b[31m"'))
    ran = cli(*REPAIR)
    _refused(ran, drifted, "\\x1b[31m")
    assert "\x1b" not in ran.stderr


@pytest.mark.parametrize(("name", "said"), [("nowhere.jsonl", "No such file"), (".", "Is a directory")])
def test_what_is_no_file_is_refused(cli: Cli, drifted: Scene, name: str, said: str) -> None:
    _refused(cli("repair", name, *WITH), drifted, f"Cannot read {name}: {said}")


def test_an_empty_file_is_nothing_to_do(cli: Cli, drifted: Scene) -> None:
    (cli.folder / "d.jsonl").touch()
    ran = cli(*REPAIR)
    assert ran.code == 0
    assert "d.jsonl holds no discrepancies." in ran.stderr
    assert "There was nothing to do." in ran.stdout
    assert drifted.writes() == []


def test_the_diff_itself_is_never_overwritten(cli: Cli, drifted: Scene, diff: Path) -> None:
    before = diff.read_bytes()
    (cli.folder / "link.jsonl").symlink_to(diff)
    for ran in (
        *cli.each((*REPAIR, "--output", "d.jsonl"), (*REPAIR, "--combined", "./link.jsonl")),
        cli.shell(f"asyncrep repair - {' '.join(WITH)} --output d.jsonl < d.jsonl"),
    ):
        _refused(ran, drifted, "would overwrite the diff that is to be applied")
    assert diff.read_bytes() == before


@pytest.mark.usefixtures("diff")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("repair", "d.jsonl", TABLES[0]), "Name both tables, PRIMARY and REPLICA, or neither."),
        ((*REPAIR, "--max-delete", "-1"), "The most items to delete must be zero or more, not -1."),
        ((*REPAIR, "--write-units", "0"), "Write units must be above zero, not 0.0."),
        ((*REPAIR, "--json", "--output", "-"), "Only one of --output - and --json can have stdout."),
        (("repair", "d.jsonl", TABLES[0], TABLES[0]), "the same table"),
    ],
)
def test_wrong_usage_is_refused(cli: Cli, drifted: Scene, arguments: tuple[str, ...], said: str) -> None:
    _refused(cli(*arguments), drifted, said)


def test_a_closed_stdin_is_refused(cli: Cli, drifted: Scene) -> None:
    _refused(cli.shell(f"asyncrep repair - {' '.join(WITH)} <&-"), drifted, "no standard input")


@pytest.mark.parametrize("name", ["d.jsonl", "-"])
def test_memory_does_not_grow_with_the_file(cli: Cli, drifted: Scene, name: str) -> None:
    assert drifted.writes() == []
    small = _peak(cli, name, 1)
    assert _peak(cli, name, 100_000) - small < 30_000  # kilobytes; the file has 70 MB


def _peak(cli: Cli, name: str, lines: int) -> int:
    """The kilobytes that a repair takes at most, of lines in which nothing is to be done."""
    path = cli.folder / "d.jsonl"
    with path.open("wb") as file:
        for number in range(lines):
            key = b'{"id":{"S":"k%d"}}' % number
            file.write(
                b'{"kind":"missing","key":%b,"primary":%b,"replica":null,"state":"repaired","reason":"%b"}\n'
                % (key, key, b"x" * 600)
            )
    with (
        path.open("rb") as stdin,
        cli.start("repair", name, *WITH, "-q", stdin=stdin, stderr=subprocess.DEVNULL) as process,
    ):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss
