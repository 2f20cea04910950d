"""What restore does and tells on the command line, and with which exit code."""

from __future__ import annotations

import gzip
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import ended, json_lines, wait_until
from tests.support.restores import changed, export, foreign_dump, jsonl, our_dump, put
from tests.support.scenario import NAME, PRIMARY, item, items

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Cli
    from tests.support.scripted import ScriptedDynamo
    from tests.support.tables import ScriptedTable

TABLE = "us-east-1/orders"
STOCK = items(30, n=1)
BAD = [*STOCK[:9], item("bad") | {"n": {"N": "x"}}, *STOCK[9:]]


@pytest.fixture
def table(endpoint: ScriptedDynamo) -> ScriptedTable:
    """An empty table."""
    return endpoint.create_table(NAME, PRIMARY)


@pytest.fixture
def dump(cli: Cli) -> Path:
    """A dump in the working folder."""
    return put(cli.folder / "dump", our_dump([STOCK[:20], STOCK[20:]]))


def held(table: ScriptedTable) -> list[str]:
    return sorted(each["id"]["S"] for each in table.items.values())


@pytest.mark.usefixtures("dump")
def test_a_dump_is_restored_and_its_counts_are_told(cli: Cli, table: ScriptedTable) -> None:
    ran = cli("restore", "dump", TABLE)
    assert ran.code == 0
    assert held(table) == [each["id"]["S"] for each in STOCK]
    told = [line.rstrip() for line in ran.stdout.splitlines()]
    assert told[1:4] == [
        f"{cli.folder}/dump → {TABLE}",
        " 30  read from the backup, 990 B",
        " 30  written",
    ]
    assert told[4].startswith("  30 write units · ")
    assert told[5:] == ["Everything was restored."]
    assert [line.partition(":")[0] for line in ran.stderr.splitlines()] == ["check", "restore"]


@pytest.mark.usefixtures("dump", "table")
def test_the_summary_for_programs_is_one_object(cli: Cli) -> None:
    summary = cli("restore", "dump", TABLE, "--json", "--quiet").summary
    assert {name: summary[name] for name in ("mode", "items", "written", "failed", "refused", "complete")} == {
        "mode": "empty", "items": 30, "written": 30, "failed": 0, "refused": [], "complete": True
    }  # fmt: skip


@pytest.mark.usefixtures("dump")
def test_which_backup_of_a_place_is_meant_is_asked_before_anything_is_written(
    cli: Cli, table: ScriptedTable
) -> None:
    put(cli.folder, export("1", [{"Item": each} for each in STOCK]))
    ran = cli("restore", ".", TABLE)
    assert (ran.code, ran.stdout, held(table)) == (2, "", [])
    assert ran.sentence == (
        f"{cli.folder} holds exports in {cli.folder}/AWSDynamoDB, and the dump {cli.folder}/dump: name the one that "
        "is meant."
    )


@pytest.mark.usefixtures("dump")
def test_into_a_table_with_data_only_as_was_asked_for(cli: Cli, table: ScriptedTable) -> None:
    table.put(item("k001", n=2))
    table.put(item("mine"))
    refused, differing, missing, over, equal = cli.each(
        ("restore", "dump", TABLE),
        ("restore", "dump", TABLE, "--dry-run", "--output", "-"),
        ("restore", "dump", TABLE, "--only-missing"),
        ("restore", "dump", TABLE, "--overwrite", "--json", "-q"),
        ("restore", "dump", TABLE, "--dry-run", "-q"),
    )
    assert (refused.code, refused.sentence) == (
        2,
        (
            "us-east-1/orders is not empty: --overwrite writes over items of the same keys, --only-missing leaves them "
            "alone, and --dry-run shows how they differ."
        ),
    )
    assert differing.code == 1
    assert {line["kind"] for line in differing.lines} == {"missing", "different", "extraneous"}
    assert missing.code == 0
    assert "  1  there already: left alone" in missing.stdout
    assert "What was missing was restored." in missing.stdout
    assert (over.code, over.summary["written"]) == (0, 30)
    assert equal.code == 1  # one item is only in the table, which no restore deletes
    assert held(table) == sorted([*(each["id"]["S"] for each in STOCK), "mine"])


def test_refused_items_are_named_with_file_and_line_and_all_others_go_in(
    cli: Cli, table: ScriptedTable
) -> None:
    put(cli.folder / "dump", foreign_dump([BAD]))
    ran = cli("restore", "dump", TABLE, "--output", "refused.jsonl")
    assert ran.code == 3
    assert held(table) == [each["id"]["S"] for each in STOCK]
    assert (
        f'  {cli.folder}/dump/0, line 10  {{"id":{{"S":"bad"}}}}  BatchWriteItem on us-east-1/orders'
        in ran.stdout
    )
    assert ran.stdout.splitlines()[-1] == "All was restored but 1 item that could not be written."
    [line] = json_lines((cli.folder / "refused.jsonl").read_text())
    assert (line["file"], line["line"], line["key"]) == (f"{cli.folder}/dump/0", 10, {"id": {"S": "bad"}})


@pytest.mark.usefixtures("table")
def test_a_damaged_backup_is_refused_with_one_sentence(cli: Cli, endpoint: ScriptedDynamo) -> None:
    whole = gzip.compress(jsonl(STOCK))
    put(cli.folder, {
        "cut": whole[:-9], "flipped": whole[:40] + b"\0\0\0\0" + whole[44:], "text": b"hello\n", "typeless": b'{"id":"a"}\n',
        "keyless": b'\n{"x":{"S":"a"}}\n', "dump/0": b"", "dump/manifest.json": b"{}", "empty/readme": b"x",
    })  # fmt: skip
    sources = [
        "cut",
        "flipped",
        "text",
        "typeless",
        "keyless",
        "dump",
        "empty",
        "nowhere",
        "s3:bucket",
        "s3://B_/x",
    ]
    runs = cli.each(*(("restore", source, TABLE, "-q") for source in sources))
    assert {run.code for run in runs} == {2}
    told = {
        source: run.sentence.replace(f"{cli.folder}/", "") for source, run in zip(sources, runs, strict=True)
    }
    assert told["cut"] == "cut breaks off after line 30: its gzip has no end."
    assert told["flipped"].startswith(
        "flipped is damaged before its first line ends: its gzip cannot be read"
    )
    assert told["text"].startswith("text, line 1: it is not JSON: ")
    assert told["typeless"].startswith("typeless, line 1: it is JSON, but no item")
    assert told["keyless"] == "keyless, line 2: the item has no 'id', which is part of the key id (S)."
    assert told["dump"].startswith("dump/manifest.json is not the manifest of a dump: ")
    assert told["empty"].startswith("There is no backup in empty: no dump")
    assert told["nowhere"] == "There is nothing at nowhere."
    assert endpoint.count("BatchWriteItem") == 0


@pytest.mark.usefixtures("dump", "table")
def test_options_that_contradict_each_other_are_refused(cli: Cli) -> None:
    refusals = {
        ("dump", "--create", "--overwrite"): "--create and --overwrite do not go together.",
        ("dump", "--overwrite", "--only-missing"): "--overwrite and --only-missing do not go together.",
        ("dump", "--dry-run", "--job", "x"): "--job has no effect with --dry-run, which writes nothing.",
        ("dump", "--dry-run", "--no-check"): "--no-check has no effect with --dry-run, which writes nothing.",
        (
            "-",
            "--job",
            "x",
        ): "Standard input cannot be gone on with: --job needs a backup that can be read again.",
        ("dump", "--json", "--output", "-"): "Only one of --output - and --json can have stdout.",
        (
            "dump",
            "--at",
            "noon",
        ): '"noon" is no time: write it as 2026-01-02T03:04:05Z, or in seconds since 1970.',
        (
            "dump",
            "--at",
            "1767322800",
        ): f"{cli.folder}/dump holds what it held when it was written: --at is for "
        "incremental folders, whose history S3 keeps.",
        (
            "dump",
            "--create",
        ): "There is a table us-east-1/orders already: leave out --create, or choose another name.",
    }
    runs = cli.each(*(("restore", source, TABLE, *options) for source, *options in refusals))
    assert [(run.code, run.sentence) for run in runs] == [(2, sentence) for sentence in refusals.values()]


@pytest.mark.usefixtures("dump")
def test_a_table_that_somebody_else_makes_meanwhile_stays_theirs(cli: Cli, endpoint: ScriptedDynamo) -> None:
    endpoint.on("CreateTable").error("ResourceInUseException")
    command = ("restore", "dump", TABLE, "--create", "--job", "back", "-q")
    sentence = f"There is a table {TABLE} already: leave out --create, or choose another name."
    first = cli(*command)
    theirs = endpoint.create_table(NAME, PRIMARY)
    again = cli(*command)
    assert [(each.code, each.sentence) for each in (first, again)] == [(2, sentence)] * 2
    assert theirs.items == {}
    assert endpoint.count("UpdateTimeToLive") == 0


@pytest.mark.usefixtures("dump")
def test_a_result_is_not_written_into_the_backup_that_is_read(cli: Cli, table: ScriptedTable) -> None:
    before = {path.name: path.read_bytes() for path in (cli.folder / "dump").iterdir()}
    commands = [
        ("restore", "dump", TABLE, "--output", "dump/0"),
        ("restore", "dump/1", TABLE, "--dry-run", "--output", "./dump/1"),
        ("diff-backup", "dump", TABLE, "--combined", "dump/new"),
        ("diff-backup", "dump/0", f"file://{cli.folder}/dump/1", "--key", "id", "--output", "dump/1"),
    ]
    runs = cli.each(*commands)
    assert [run.code for run in runs] == [2] * 4
    assert runs[0].sentence == "dump/0 is a part of dump, which is read: write the result elsewhere."
    assert {path.name: path.read_bytes() for path in (cli.folder / "dump").iterdir()} == before
    assert table.items == {}


@pytest.mark.usefixtures("dump")
def test_a_restore_that_is_refused_leaves_its_job_as_it_was(cli: Cli, table: ScriptedTable) -> None:
    command = ("restore", "dump", TABLE, "--job", "back", "-q")
    assert cli(*command).code == 0
    done = cli("jobs", "show", "back", "--json").stdout
    refused = cli(*command)
    assert (refused.code, cli("jobs", "show", "back", "--json").stdout) == (2, done)
    again = cli("restore", "dump", TABLE, "--job", "another", "-q")
    assert again.code == 2
    assert "another" not in cli("jobs", "list").stdout
    assert len(table.items) == len(STOCK)


@pytest.mark.usefixtures("dump", "endpoint")
def test_a_table_that_is_not_there_is_told_with_what_makes_it(cli: Cli) -> None:
    ran = cli("restore", "dump", TABLE)
    assert (ran.code, ran.sentence) == (
        3, f"There is no table {TABLE} (any more). --create makes it, as the backup describes it."
    )  # fmt: skip
    put(cli.folder / "foreign", foreign_dump([STOCK]))
    assert cli("restore", "foreign", TABLE).sentence == f"There is no table {TABLE} (any more)."


def test_standard_input_is_restored_line_by_line(cli: Cli, table: ScriptedTable) -> None:
    (cli.folder / "lines").write_bytes(jsonl(STOCK[:5]) + b"no item\n" + jsonl(STOCK[5:]))
    whole = cli.shell(f"head -n 5 lines | gzip | asyncrep restore - {TABLE}")
    assert whole.code == 0
    damaged = cli.shell(f"asyncrep restore - {TABLE} --overwrite --json -q < lines")
    assert damaged.code == 3
    assert [(each["file"], each["line"]) for each in damaged.summary["refused"]] == [("stdin", 6)]
    assert held(table) == [each["id"]["S"] for each in STOCK]
    nothing = cli.shell(f"asyncrep restore - {TABLE} --overwrite -q < /dev/null")
    assert (nothing.code, nothing.sentence) == (3, "stdin brought nothing: there is no backup in it.")


@pytest.mark.usefixtures("table")
def test_a_silent_pipe_does_not_keep_an_interrupted_command(cli: Cli, endpoint: ScriptedDynamo) -> None:
    with cli.start("restore", "-", TABLE, stdin=subprocess.PIPE) as process:
        wait_until(lambda: endpoint.count("Scan"))
        process.send_signal(signal.SIGINT)
        code = process.wait(10)
    assert code == 130


def test_exports_are_applied_in_order(cli: Cli, table: ScriptedTable) -> None:
    full = [{"Item": each} for each in STOCK]
    later = [changed(item("new")), changed(None, item("k001"))]
    put(cli.folder / "x", export("1", full, time="2026-01-01T00:00:00.000Z"))
    put(
        cli.folder / "x",
        export("2", later, since="2026-01-01T00:00:00.000Z", time="2026-01-02T00:00:00.000Z"),
    )
    alone, together = cli.each(("restore", "x/AWSDynamoDB/2", TABLE), ("restore", "x", TABLE))
    assert alone.code == 2
    assert "holds only what changed in some time" in alone.sentence
    assert together.code == 0
    assert "  1  deleted, as the backup has it" in together.stdout
    assert held(table) == sorted([*(each["id"]["S"] for each in STOCK if each["id"]["S"] != "k001"), "new"])


@pytest.mark.usefixtures("dump")
def test_an_interrupted_restore_goes_on_with_its_job(
    cli: Cli, table: ScriptedTable, endpoint: ScriptedDynamo
) -> None:
    stock = items(200, n=1)
    put(cli.folder / "dump", our_dump([stock]))
    slow = endpoint.on("BatchWriteItem", after=4, times=None).delay(20.0)
    command = ("restore", "dump", TABLE, "--job", "./job", "--concurrency", "2", "--output", "refused.jsonl")
    with cli.start(*command) as process:
        wait_until(lambda: endpoint.count("BatchWriteItem") > 4)
        process.send_signal(signal.SIGINT)
        ran = ended(process)
    assert ran.code == 130
    assert "The restore is incomplete." in ran.stdout
    assert f"The same command goes on with the job, which is kept in {cli.folder}/job." in ran.stderr
    slow.times = 0
    other, again = cli.each((*command, "--overwrite"), (*command, "--json"))
    assert other.code == 2
    assert "was begun with --overwrite left out, not given" in other.stderr
    assert again.code == 0
    assert again.summary["items"] == 200
    assert held(table) == [each["id"]["S"] for each in stock]


@pytest.mark.usefixtures("table", "dump")
def test_a_failing_service_ends_it_and_what_was_done_is_told(cli: Cli, endpoint: ScriptedDynamo) -> None:
    endpoint.on("BatchWriteItem", after=1, times=None).error("AccessDeniedException")
    ran = cli("restore", "dump", TABLE)
    assert ran.code == 3
    assert ran.stdout.splitlines()[-1].startswith("The restore is incomplete.")
    assert ran.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.usefixtures("table")
def test_hostile_names_and_keys_do_not_steer_the_terminal(cli: Cli) -> None:
    hostile = "\x1b[2J\u202e"
    put(cli.folder / hostile, foreign_dump([[item(hostile) | {"n": {"N": "x"}}]]))
    ran = cli("restore", hostile, TABLE)
    assert ran.code == 3
    assert not {"\x1b", "\u202e"} & set(ran.stdout + ran.stderr)


@pytest.mark.usefixtures("table", "dump")
@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_bars_and_no_line_is_too_long(cli: Cli, columns: int) -> None:
    code, screen = cli.on_terminal("restore", "dump", TABLE, "--overwrite", columns=columns)
    assert code == 0
    assert any(line.lstrip().startswith("restore") and "30/30" in line for line in screen.lines)
    assert all(len(line) <= columns for line in screen.lines)
