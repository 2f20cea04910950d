"""``asyncrep jobs``: what there is, how far it is, how to go on, and what goes when one is removed."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

from asyncrep.cli.jobs import app as jobs_app
from tests.support.scenario import item, items, scene

if TYPE_CHECKING:
    from tests.support.cli import Cli, Ran
    from tests.support.scripted import ScriptedDynamo

TABLES = ("us-east-1/orders", "eu-west-1/orders")
DIFF = ("diff-tables", *TABLES, "--settle", "0", "--quiet", "--job")


@pytest.fixture
def jobs(cli: Cli) -> Path:
    """The folder of jobs with names."""
    return cli.folder / "state/jobs"


def drift(endpoint: ScriptedDynamo) -> None:
    scene(endpoint, [*items(20), item("m"), item("d", v=1)], [*items(20), item("d", v=2), item("x")])


@pytest.fixture
def three(cli: Cli, endpoint: ScriptedDynamo) -> None:
    """A check and a repair that are done, and a backfill that was interrupted."""
    drift(endpoint)
    cli.each(
        (*DIFF, "checked", "--segments", "2", "--output", "d.jsonl"),
        (*DIFF, "repaired", "--segments", "2", "--repair"),
    )
    endpoint.on("Scan", region="us-east-1", after=1).error("AccessDeniedException").forever()
    endpoint.table("orders").page_items = 5
    assert cli(*DIFF, "filled", "--segments", "3", "--backfill", "--repair").code == 3


def listed(cli: Cli) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(cli("jobs", "--json").stdout)}


def test_no_jobs_are_said_to_be_none(cli: Cli) -> None:
    plain, empty, sub = cli.each(("jobs",), ("jobs", "--json"), ("jobs", "list", "--json"))
    assert (plain.code, empty.stdout, sub.stdout) == (0, "[]\n", "[]\n")
    assert plain.stdout.startswith("There are no jobs in the state folder")


@pytest.mark.usefixtures("three")
def test_jobs_are_listed_the_latest_first(cli: Cli) -> None:
    plain, other = cli.each(("jobs",), ("jobs", "list"))
    told = json.loads(cli("jobs", "list", "--json").stdout)
    assert [each["name"] for each in told] == ["filled", "repaired", "checked"]
    assert [each["task"] for each in told] == ["backfill", "repair", "check"]
    assert [each["state"] for each in told] == ["interrupted", "done", "done"]
    assert [(each["segments_done"], each["segments"]) for each in told][1:] == [(2, 2), (2, 2)]
    assert told[0]["segments"] == 3
    assert (told[2]["scanned"], told[2]["discrepancies"]) == (44, 3)
    assert (plain.code, plain.stdout) == (0, other.stdout)
    header, _, *rows = plain.stdout.splitlines()
    assert header.split() == [
        "job",
        "tables",
        "task",
        "state",
        "segments",
        "items",
        "discrepancies",
        "saved",
        "(UTC)",
    ]
    assert [row.split()[0] for row in rows] == ["filled", "repaired", "checked"]
    assert re.search(
        r"checked +us-east-1/orders → eu-west-1/orders +check +done +2 of 2 +44 +3 +20..-..-.. ", rows[2]
    )
    assert rows[2].rstrip().endswith("just now")


@pytest.mark.usefixtures("three")
def test_one_job_is_shown_with_the_command_that_goes_on(cli: Cli, endpoint: ScriptedDynamo) -> None:
    shown, told = cli.each(("jobs", "show", "filled"), ("jobs", "show", "filled", "--json"))
    whole = json.loads(told.stdout)
    assert (whole["state"], whole["options"]["--backfill"], whole["counts"]["strategy"]) == (
        "interrupted",
        True,
        "backfill",
    )
    assert [each["segment"] for each in whole["progress"]] == [0, 1, 2]
    assert "0 of 3 segments done" in shown.stdout or "1 of 3 segments done" in shown.stdout
    assert whole["command"] == (
        "asyncrep diff-tables us-east-1/orders eu-west-1/orders --repair --backfill --segments 3 "
        "--strategy auto --settle 0.0 --job filled"
    )
    assert f"  {whole['command']}" in shown.stdout.splitlines()
    endpoint._statements.clear()
    again = cli.shell(whole["command"] + " --quiet")
    assert (again.code, listed(cli)["filled"]["state"]) == (0, "done")


@pytest.mark.usefixtures("three")
def test_a_job_that_is_done_is_shown_with_its_results(cli: Cli, jobs: Path) -> None:
    checked, repaired = (json.loads(ran.stdout) for ran in cli.each(
        ("jobs", "show", "checked", "--json"), ("jobs", "show", "repaired", "--json")
    ))  # fmt: skip
    output = cli.folder / "d.jsonl"
    assert checked["outputs"] == [{"option": "--output", "file": str(output), "bytes": output.stat().st_size}]
    assert (checked["journal"], repaired["counts"]["repaired"]) == (None, 3)
    assert repaired["journal"].startswith(f"{jobs}/repaired/journal-")
    shown = cli("jobs", "show", "repaired").stdout
    assert f"to take it back: asyncrep undo {repaired['journal']}" in shown
    assert "To go on" not in shown


@pytest.mark.usefixtures("three")
def test_removing_keeps_the_journal_unless_it_is_told_not_to(cli: Cli, jobs: Path) -> None:
    journal = json.loads(cli("jobs", "show", "repaired", "--json").stdout)["journal"]
    tried = cli("jobs", "remove", "repaired", "filled", "--dry-run")
    assert tried.stdout.startswith(f"Would remove the job repaired (done) in {jobs}/repaired.")
    assert listed(cli).keys() == {"filled", "repaired", "checked"}

    removed = cli("jobs", "remove", "repaired", "filled")
    assert removed.stdout.splitlines() == [
        f"Removed the job repaired (done) in {jobs}/repaired.",
        f"Its journal is kept; to take back what it wrote: asyncrep undo {journal}",
        f"Removed the job filled (interrupted) in {jobs}/filled.",
    ]
    assert [each.name for each in (jobs / "repaired").iterdir()] == [Path(journal).name]
    assert not (jobs / "filled").exists()
    assert listed(cli).keys() == {"checked"}
    assert f"Of repaired, which was removed, the journal is left: {journal}" in cli("jobs").stdout
    assert cli("undo", journal, "--quiet").code == 0

    gone = cli("jobs", "remove", "repaired", "--with-journal")
    assert "what it wrote can no longer be taken back" in gone.stdout
    assert not (jobs / "repaired").exists()


@pytest.mark.usefixtures("three")
def test_all_that_are_done_are_removed_at_once(cli: Cli) -> None:
    assert cli("jobs", "remove", "--done").code == 0
    assert listed(cli).keys() == {"filled"}
    for arguments in ((), ("filled", "--done")):
        assert cli("jobs", "remove", *arguments).sentence.startswith(
            "Name the jobs to remove, or give --done"
        )
    missing = cli("jobs", "remove", "filled", "nothing")
    assert missing.code == 2
    assert listed(cli).keys() == {"filled"}
    assert missing.sentence.startswith("There is no job in ")


def test_removing_a_job_leaves_what_is_not_its_own(cli: Cli, endpoint: ScriptedDynamo) -> None:
    drift(endpoint)
    folder = cli.folder / "mine"
    folder.mkdir()
    for name in ("data.csv", "log-000001.jsonl", "aside-000001.jsonl"):
        (folder / name).touch()
    assert cli(*DIFF, "./mine").code == 1
    removed = cli("jobs", "remove", "./mine/")
    assert removed.code == 0
    assert "What else is there stays: 'aside-000001.jsonl', 'data.csv', 'log-000001.jsonl'." in removed.stdout
    assert len(list(folder.iterdir())) == 3
    again = cli("jobs", "remove", "./mine")
    assert (again.code, again.sentence) == (2, "mine holds no job.")
    (folder / "state.json").write_text('{"somebody": "else\'s"}')
    assert cli("jobs", "remove", "./mine").code == cli(*DIFF, "./mine").code == 2
    assert (folder / "state.json").exists()


@pytest.mark.usefixtures("three")
def test_foreign_and_hostile_entries_are_listed_and_harm_nothing(cli: Cli, jobs: Path) -> None:
    (jobs / "\x1b[31mred\nline").mkdir()
    (jobs / "\x1b[31mred\nline" / "state.json").write_text("{}")
    (jobs / "a file").write_text("x")
    (jobs / "link").symlink_to(cli.folder / "nowhere")
    (jobs / "empty").mkdir()
    (jobs / os.fsdecode(b"\xff\xfe")).mkdir()
    hostile = json.loads((jobs / "checked/state.json").read_text())
    hostile["options"] |= {"PRIMARY": "\x1b]0;title\x07", "--output": "/x\x1b[2J"}
    hostile["mark"]["reached"]["primary"]["0"]["key"] = '{"id":{"S":"\x1b[5m"}}'
    hostile["done"] = False
    hostile["saved"] = hostile["begun"] = "\x1b[7m"
    (jobs / "hostile").mkdir()
    (jobs / "hostile/state.json").write_text(json.dumps(hostile))
    rans = cli.each(("jobs",), ("jobs", "--json"), ("jobs", "show", "hostile"), ("jobs", "merge", "hostile"))
    assert [ran.code for ran in rans] == [0, 0, 0, 3]
    for ran in (rans[0], rans[2], rans[3]):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", ran.stdout + ran.stderr)
        assert "Traceback" not in ran.stderr
    states = {each["name"]: each["state"] for each in json.loads(rans[1].stdout)}
    assert states.pop("\x1b[31mred\nline") == states.pop("a file") == "damaged"
    assert states["hostile"] == "interrupted"
    assert "\\x1b[31mred\\nline" in rans[0].stdout
    assert "a file: " in rans[0].stdout


def part(number: int, *options: str, of: int = 4) -> tuple[str, ...]:
    return (*DIFF, f"p{number}", "--segment", str(number), "--segments", str(of), *options)


def test_jobs_of_all_segments_add_up_to_one_summary(cli: Cli, endpoint: ScriptedDynamo) -> None:
    drift(endpoint)
    whole, *_ = cli.each(
        ("diff-tables", *TABLES, "--settle", "0", "--segments", "4", "--json", "-q"), *map(part, range(4))
    )
    plain, told = cli.each(
        ("jobs", "merge", "p2", "p0", "p3", "p1"), ("jobs", "merge", "p0", "p1", "p2", "p3", "--json")
    )
    assert (plain.code, told.code) == (1, 1)
    summary = told.summary
    for name, value in whole.summary.items():
        if name not in {"read_units", "cost_usd", "seconds", "throttled"}:
            assert summary[name] == value, name
    assert (summary["missing_segments"], summary["unfinished_segments"]) == ([], [])
    assert summary["jobs"] == ["p0", "p1", "p2", "p3"]
    assert "The replica is not right: 3 discrepancies remain; add --repair" in plain.stdout


def test_segments_that_are_missing_or_not_finished_are_named(cli: Cli, endpoint: ScriptedDynamo) -> None:
    drift(endpoint)
    cli.each(part(0), part(3))
    endpoint.on("Scan").error("AccessDeniedException").forever()
    assert cli(*part(4, of=4)).code == 2
    assert cli(*part(1)).code == 3
    plain, told = cli.each(("jobs", "merge", "p0", "p3", "p1"), ("jobs", "merge", "p0", "p3", "p1", "--json"))
    assert (plain.code, told.code) == (3, 3)
    assert "No job looked at segment 2 of 4." in plain.stdout
    assert "Segment 1 of 4 is not finished: p1." in plain.stdout
    assert "The run is incomplete" in plain.stdout
    assert (told.summary["missing_segments"], told.summary["unfinished_segments"]) == ([2], [1])
    assert told.summary["complete"] is False
    assert "segments 1-2 of 4" in cli("jobs", "merge", "p0", "p3").stdout


def test_repaired_segments_add_up_to_success(cli: Cli, endpoint: ScriptedDynamo) -> None:
    drift(endpoint)
    cli.each(*(part(number, "--repair", "--max-delete", "1", of=2) for number in range(2)))
    ran = cli("jobs", "merge", "p0", "p1")
    assert ran.code == 0
    assert "The replica is right: every discrepancy was repaired and verified." in ran.stdout
    assert "To take back what was written: asyncrep undo " in ran.stdout


def test_what_is_no_part_of_one_whole_is_refused(cli: Cli, endpoint: ScriptedDynamo) -> None:
    drift(endpoint)
    cli.each(
        part(0), part(1, "--ignore-attribute", "v"), part(2, of=5), (*DIFF, "whole", "--segments", "4"),
        (*DIFF, "sample", "--segments", "4", "--sample", "0.5"),
    )  # fmt: skip

    def refused(*names: str) -> str:
        ran: Ran = cli("jobs", "merge", *names)
        assert (ran.code, ran.stdout) == (2, "")
        return ran.sentence

    assert refused("p0", "p1") == (
        'p0 and p1 are no parts of one whole: --ignore-attribute is left out in the one and ["v"] in the other.'
    )
    assert refused("p0", "p2") == (
        "p2 cuts the tables into 5 segments, p0 into 4: they are no parts of one whole."
    )
    assert refused("p0", "whole") == "p0 and whole both looked at segment 0 of 4."
    assert refused("p0", "p0") == "p0 and p0 both looked at segment 0 of 4."
    assert refused("sample") == "sample looked at a sample: that is no part of a whole."
    assert refused("p0", "nothing").startswith("There is no job in ")


def test_json_belongs_to_the_command_that_prints_it(cli: Cli) -> None:
    assert cli("jobs", "--json", "list").sentence == "Write --json behind list."


@pytest.mark.parametrize("name", ["list", "show", "remove", "merge"])
def test_each_command_is_explained_with_an_example(cli: Cli, name: str) -> None:
    cli.environment |= {"COLUMNS": "100", "TERM": "dumb"}
    ran = cli("jobs", name, "--help")
    assert (ran.code, ran.stderr) == (0, "")
    assert re.search(rf"Examples\s+asyncrep jobs {name}", ran.stdout)
    group = typer.main.get_command(jobs_app)
    for parameter in group.commands[name].params:  # type: ignore[attr-defined] # a group has them
        assert parameter.help.split()[0] in ran.stdout
