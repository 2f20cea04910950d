"""What diff-backup tells, where, and with which exit code."""

from __future__ import annotations

import gzip
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.backup_checks import objects
from tests.support.cli import ended, json_lines, wait_until
from tests.support.restores import foreign_dump, jsonl, our_dump, put
from tests.support.scenario import NAME, PRIMARY, item, items

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Cli
    from tests.support.scripted import ScriptedDynamo
    from tests.support.tables import ScriptedTable

TABLE = "us-east-1/orders"
STOCK = [*items(5), item("d", v=1), item("m")]


@pytest.fixture
def table(endpoint: ScriptedDynamo) -> ScriptedTable:
    """Five items that the backup has, too, one that is different there, and one that only the table has."""
    return endpoint.create_table(NAME, PRIMARY, items=[*items(5), item("d", v=2), item("x")])


@pytest.fixture
def dump(cli: Cli) -> Path:
    """A dump in the working folder."""
    return put(cli.folder / "dump", our_dump([STOCK[:3], STOCK[3:]]))


def kinds(lines: str) -> dict[str, str]:
    """What kind each record is of."""
    return {line["key"]["id"]["S"]: line["kind"] for line in json_lines(lines)}


# ── Against a table ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("table", "dump")
def test_discrepancies_are_told_of_a_backup_and_a_table(cli: Cli) -> None:
    ran = cli("diff-backup", "dump", TABLE)
    assert ran.code == 1
    told = ran.stdout.splitlines()
    for line in (
        " 8  compared             ",
        " 5  equal                ",
        " 1  missing from the table",
        " 1  different            ",
        " 1  only in the table    ",
        '  + {"id":{"S":"m"}}',
        '  * {"id":{"S":"d"}}  differs: v',
        '  - {"id":{"S":"x"}}',
    ):
        assert line.rstrip() in [each.rstrip() for each in told]
    assert "The table is not as the backup has it: 3 discrepancies remain" in ran.stdout
    assert "hash-join, 4 segments · 5 read units" in ran.stdout
    assert ran.stderr.splitlines()[-2].startswith("backup: 7 items")
    assert ran.stderr.splitlines()[-1].startswith("table: 7 items")


@pytest.mark.usefixtures("table")
def test_a_backup_that_agrees_exits_0(cli: Cli) -> None:
    put(cli.folder / "dump", our_dump([[*items(5), item("d", v=2), item("x")]]))
    ran = cli("diff-backup", "dump", TABLE)
    assert ran.code == 0
    assert "The table is as the backup has it: no discrepancies." in ran.stdout


@pytest.mark.usefixtures("table", "dump")
def test_results_for_programs_are_those_of_diff_tables(cli: Cli) -> None:
    summed, lines, combined, quiet = cli.each(
        ("diff-backup", "dump", TABLE, "--json"),
        ("diff-backup", "dump", TABLE, "--output", "-"),
        ("diff-backup", "dump", TABLE, "--combined", "-"),
        ("diff-backup", "dump", TABLE, "--quiet"),
    )
    assert {ran.code for ran in (summed, lines, combined, quiet)} == {1}
    expected = {
        "primary": str(cli.folder / "dump"), "replica": TABLE, "strategy": "hash-join", "scanned_primary": 7,
        "scanned_replica": 7, "matched": 5, "missing": 1, "different": 1, "extraneous": 1, "complete": True,
    }  # fmt: skip
    assert {name: summed.summary[name] for name in expected} == expected
    assert kinds(lines.stdout) == {"d": "different", "m": "missing", "x": "extraneous"}
    assert set(combined.stdout.splitlines()) == {
        '+ {"id":{"S":"m"}}', '- {"id":{"S":"x"}}', '* {"id":{"S":"d"}}'
    }  # fmt: skip
    assert (quiet.stdout, quiet.stderr) == ("", "")


@pytest.mark.usefixtures("table", "dump")
def test_a_backup_comes_through_a_pipe(cli: Cli) -> None:
    ran = cli.shell(f"zcat dump/0 dump/1 | asyncrep diff-backup - {TABLE} --output -")
    assert ran.code == 1
    assert kinds(ran.stdout) == {"d": "different", "m": "missing", "x": "extraneous"}
    assert "stdin → us-east-1/orders" in ran.stderr


@pytest.mark.usefixtures("table")
def test_a_folder_is_found_by_the_name_of_the_table(cli: Cli) -> None:
    put(cli.folder / "incremental" / NAME, objects(STOCK))
    ran = cli("diff-backup", "incremental", TABLE, "--settle", "0", "--output", "-")
    assert ran.code == 1
    assert kinds(ran.stdout) == {"d": "different", "m": "missing", "x": "extraneous"}


@pytest.mark.usefixtures("table", "dump")
def test_attributes_can_be_left_out(cli: Cli) -> None:
    ran = cli("diff-backup", "dump", TABLE, "--ignore-attribute", "v", "--output", "-", "-q")
    assert kinds(ran.stdout) == {"m": "missing", "x": "extraneous"}


@pytest.mark.usefixtures("table", "dump")
def test_on_a_terminal_it_fits_80_columns(cli: Cli) -> None:
    code, screen = cli.on_terminal("diff-backup", "dump", TABLE, columns=80)
    assert code == 1
    bars = [line for line in screen.lines if "found" in line]
    assert [line.split()[0] for line in bars] == ["backup", "table"]
    assert max(map(len, screen.lines)) <= 80
    assert '  * {"id":{"S":"d"}}  differs: v' in screen.lines


# ── Two backups ─────────────────────────────────────────────────────────────────────────────────────


def test_two_backups_need_no_table(cli: Cli, endpoint: ScriptedDynamo) -> None:
    put(cli.folder / "dump", our_dump([STOCK]))
    (cli.folder / "snapshot.gz").write_bytes(gzip.compress(jsonl([*items(5), item("d", v=2), item("x")])))
    ran = cli("diff-backup", "dump", "./snapshot.gz")
    assert ran.code == 1
    for told in (" 1  only in the first", " 1  only in the second", "hash-join · 0 read units"):
        assert told in ran.stdout
    assert "The backups do not hold the same: 3 discrepancies remain." in ran.stdout
    assert ran.stderr.splitlines()[-2].startswith("first: 7 items")
    assert endpoint.calls == []


def test_the_key_can_be_named(cli: Cli) -> None:
    for name in ("ours", "theirs"):
        put(cli.folder / name, foreign_dump([STOCK]))
    unnamed, named, wrong, malformed = cli.each(
        ("diff-backup", "ours", "theirs"),
        ("diff-backup", "ours", "theirs", "--key", "id"),
        ("diff-backup", "ours", "theirs", "--key", "nr"),
        ("diff-backup", "ours", "theirs", "--key", "id,id"),
    )
    assert [ran.code for ran in (unnamed, named, wrong, malformed)] == [2, 0, 2, 2]
    assert "name it with --key HASH or --key HASH,RANGE" in unnamed.sentence
    assert "The backups hold the same: no discrepancies." in named.stdout
    assert 'ours/0, line 1: the item has no "nr" that could be part of a key.' in wrong.sentence
    assert '"id,id" names no key' in malformed.sentence


# ── What is refused, and what fails ─────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("table", "dump")
def test_what_has_no_effect_or_no_meaning_exits_2(cli: Cli) -> None:
    commands = {
        ("dump", TABLE, "--key", "id"): "--key has no effect with a table, which tells its key itself.",
        (
            "dump",
            "dump",
            "--read-units",
            "5",
        ): "--read-units has no effect between two backups: no table is read.",
        ("-", "-"): "Standard input can be only one of the two backups.",
        (TABLE, "dump"): f"{TABLE} is a table: the backup comes first, then what it is held against.",
        ("dump", "nowhere"): '"nowhere" is not a table location; write it as REGION/TABLE',
        ("nowhere", TABLE): "There is nothing at nowhere.",
        ("dump", TABLE, "--at", "2026-01-02T03:04:05Z"): "holds what it held when it was written",
        ("dump", TABLE, "--at", "yesterday"): '"yesterday" is no time: write it as 2026-01-02T03:04:05Z',
        ("dump", TABLE, "--output", "-", "--json"): "Only one of --output - and --json can have stdout.",
        ("s3:/bucket", TABLE): "is not a place in S3",
        (
            "dump",
            TABLE,
            "--bucket-owner",
            "123456789012",
        ): "--bucket-owner has an effect only on what is kept in S3",
    }
    runs = cli.each(*(("diff-backup", *arguments) for arguments in commands))
    for ran, told in zip(runs, commands.values(), strict=True):
        assert ran.code == 2
        assert told in ran.sentence


def test_a_damaged_backup_exits_2_and_names_the_line(cli: Cli, table: ScriptedTable) -> None:
    put(cli.folder / "dump", {"0": gzip.compress(jsonl([item()]) + b"{\n")})
    put(cli.folder / "cut", {"0": gzip.compress(jsonl(items(1000)))[:-30]})
    for name, told in (("dump", "dump/0, line 2: it is not JSON"), ("cut", "cut/0 breaks off after line")):
        ran = cli("diff-backup", name, TABLE, "--quiet", "--output", "d.jsonl")
        assert ran.code == 2
        assert told in ran.sentence
        assert not (cli.folder / "d.jsonl").exists()
    assert len(table.items) == 7


@pytest.mark.usefixtures("table")
def test_an_object_that_is_no_item_leaves_it_incomplete(cli: Cli) -> None:
    put(cli.folder / "incremental" / NAME, objects(STOCK) | {"0" * 64: b"{}"})
    ran = cli("diff-backup", "incremental", TABLE, "--settle", "0")
    assert ran.code == 3
    assert "The run is incomplete" in ran.stdout
    assert "Error: One object of " in ran.stderr
    assert f"{'0' * 64}" in ran.stderr


@pytest.mark.usefixtures("table")
def test_a_full_disk_exits_3_with_one_sentence(cli: Cli) -> None:
    put(cli.folder / "dump", our_dump([items(2000, v="x" * 50)]))
    (cli.folder / "temporary").mkdir()
    cli.environment["TMPDIR"] = str(cli.folder / "temporary")
    ran = cli.shell(f"ulimit -f 1; asyncrep diff-backup dump {TABLE} --quiet")
    assert ran.code == 3
    assert ran.sentence == (
        f"There is no room left in {cli.folder}/temporary, where items are kept while they are compared: let TMPDIR name a larger place."
    )
    assert list((cli.folder / "temporary").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_check_tells_what_it_saw_and_leaves_no_file(
    cli: Cli, endpoint: ScriptedDynamo, dump: Path, number: signal.Signals
) -> None:
    endpoint.create_table(NAME, PRIMARY, items=STOCK)
    endpoint.on("Scan", times=None).delay(60)
    temporary = cli.folder / "temporary"
    temporary.mkdir()
    cli.environment["TMPDIR"] = str(temporary)
    with cli.start("diff-backup", dump, TABLE) as process:
        wait_until(lambda: endpoint.count("Scan"))
        assert list(temporary.iterdir())
        process.send_signal(number)
        ran = ended(process)
    assert ran.code == 130
    assert "The run is incomplete" in ran.stdout
    assert ran.stderr.splitlines()[-1] == "Interrupted."
    assert list(temporary.iterdir()) == []
