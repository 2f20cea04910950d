"""Repairs note what they write, and `undo` takes it back: what people type, see and get as exit code."""

from __future__ import annotations

import json
import signal
import stat
import threading
import urllib.request
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from tests.support import engines
from tests.support.cli import PATIENCE_SECONDS, Cli, ended, group_is_gone, json_lines
from tests.support.drift import Drift
from tests.support.scenario import NAME, PRIMARY, REPLICA, WRITES, item, key, same_items

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Ran
    from tests.support.scripted import ScriptedDynamo
    from tests.support.tables import ScriptedTable

PAIR = (f"{PRIMARY}/{NAME}", f"{REPLICA}/{NAME}")
QUICK = ("--settle", "0", "--segments", "1")
DRIFT = Drift.of(40, every=20)


def tables(endpoint: ScriptedDynamo, drift: Drift = DRIFT) -> ScriptedTable:
    endpoint.create_table(NAME, PRIMARY, items=drift.primary)
    return endpoint.create_table(NAME, REPLICA, items=drift.replica)


def repaired(cli: Cli, *options: str) -> Ran:
    ran = cli("diff-tables", *PAIR, *QUICK, "--repair", *options)
    assert ran.code == 0, ran.stderr
    return ran


def content(table: ScriptedTable) -> list[dict[str, Any]]:
    return list(table.items.values())


def journals(cli: Cli) -> list[Path]:
    return sorted((cli.folder / "state" / "journals").glob("*"))


def test_a_repair_says_how_it_is_taken_back_and_that_does(cli: Cli, endpoint: ScriptedDynamo) -> None:
    replica = tables(endpoint)
    ran = repaired(cli)
    [journal] = journals(cli)
    assert f"to take it back: asyncrep undo {journal}" in ran.stdout
    assert journal.name.split("-")[1] == NAME
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.parent.stat().st_mode) == 0o700
    undone = cli("undo", str(journal))
    assert undone.code == 0, undone.stderr
    assert same_items(content(replica), DRIFT.replica)
    assert "Everything is as it was before." in undone.stdout
    [again] = set(journals(cli)) - {journal}
    assert f"This undo is noted in a journal; to take it back: asyncrep undo {again}" in undone.stdout
    assert cli("undo", again, "--quiet").code == 0
    assert same_items(content(replica), DRIFT.primary)


def test_where_the_journal_is_stands_in_the_summary_for_programs(cli: Cli, endpoint: ScriptedDynamo) -> None:
    tables(endpoint)
    assert cli("diff-tables", *PAIR, *QUICK, "--json").summary["journal"] is None
    ran = repaired(cli, "--json", "--journal", "j.jsonl")
    assert ran.summary["journal"] == "j.jsonl"
    assert repaired(cli, "--json", "--journal", "other.jsonl").summary["journal"] is None
    assert not (cli.folder / "other.jsonl").exists()
    assert not (cli.folder / "state").exists()
    undone = cli("undo", "j.jsonl", "--json", "--journal", "u.jsonl")
    assert undone.code == 0
    summary = undone.summary
    assert summary["taken_back"] == summary["records"] == len(DRIFT.kinds)
    assert (summary["journal"], summary["undoes"]) == ("u.jsonl", str(cli.folder / "j.jsonl"))
    assert summary["complete"] is True


def test_nothing_is_noted_without_a_repair_nor_in_a_dry_run(cli: Cli, endpoint: ScriptedDynamo) -> None:
    tables(endpoint)
    assert cli("diff-tables", *PAIR, *QUICK).code == 1
    assert cli("diff-tables", *PAIR, *QUICK, "--repair", "--dry-run").code == 1
    assert cli("diff-tables", *PAIR, "--backfill", "--repair").code == 0
    assert journals(cli) == []


def test_processes_write_to_one_journal(cli: Cli, endpoint: ScriptedDynamo) -> None:
    replica = tables(endpoint)
    ran = repaired(cli, "--processes", "2", "--segments", "4", "--journal", "j.jsonl", "--json")
    assert ran.summary["journal"] == "j.jsonl"
    lines = json_lines((cli.folder / "j.jsonl").read_text())
    assert [line for line in lines if "journal" in line] == lines[:1]
    assert len({line["by"] for line in lines[1:]}) == 3  # two workers, and who deletes
    assert cli("undo", "j.jsonl", "--quiet").code == 0
    assert same_items(content(replica), DRIFT.replica)


def test_one_record_that_is_replicated_can_be_taken_back(cli: Cli, endpoint: ScriptedDynamo) -> None:
    endpoint.create_table(NAME, PRIMARY, items=[item("a", v=1)])
    replica = endpoint.create_table(NAME, REPLICA)
    ran = cli("replicate-record", *PAIR, '{"id":"a"}', "--settle", "0", "--journal", "it is here.jsonl")
    assert ran.code == 0
    assert "asyncrep undo 'it is here.jsonl'" in ran.stderr
    assert cli("undo", "it is here.jsonl").code == 0
    assert replica.items == {}
    again = cli("replicate-record", *PAIR, '{"id":"nothing"}', "--settle", "0")
    assert "undo" not in again.stderr
    assert len(journals(cli)) == 1  # the undo's


def test_each_record_is_told_as_a_line(cli: Cli, endpoint: ScriptedDynamo) -> None:
    replica = tables(endpoint)
    repaired(cli, "--journal", "j.jsonl")
    changed, *_ = [key for key, kind in DRIFT.kinds.items() if kind == "different"]
    hash_key = json.loads(changed)["id"]["S"]
    replica.put(item(hash_key, v=99))
    ran = cli("undo", "j.jsonl", "--output", "-")
    assert ran.code == 1
    lines = {json.dumps(line["key"], separators=(",", ":")).encode(): line for line in ran.lines}
    assert lines.keys() == DRIFT.kinds.keys()
    assert lines.pop(changed) == {
        "key": json.loads(changed), "what": "patch", "state": "changed", "reason": "Attributes changed since: v.",
    }  # fmt: skip
    assert {line["state"] for line in lines.values()} == {"taken_back"}
    assert "1 record could not be taken back" in ran.stderr
    assert f"{changed.decode()}  changed  patch  Attributes changed since: v." in ran.stderr


def test_only_one_record_and_a_dry_run(cli: Cli, endpoint: ScriptedDynamo) -> None:
    replica = tables(endpoint)
    repaired(cli, "--journal", "j.jsonl")
    before = json.dumps(content(replica))
    missing, *_ = [key for key, kind in DRIFT.kinds.items() if kind == "missing"]
    dry = cli("undo", "j.jsonl", "--dry-run", "--json")
    assert (dry.code, dry.summary["pending"], dry.summary["journal"]) == (0, len(DRIFT.kinds), None)
    assert json.dumps(content(replica)) == before
    one = cli("undo", "j.jsonl", "--key", missing.decode(), "--json")
    assert (one.code, one.summary["records"], one.summary["taken_back"]) == (0, 1, 1)
    assert json.loads(missing)["id"]["S"] not in replica.items
    none = cli("undo", "j.jsonl", "--key", '{"id":"nobody"}', "--quiet")
    assert none.code == 2
    assert none.sentence == 'The journal holds no write to {"id":{"S":"nobody"}} that could be taken back.'


def test_what_cannot_be_meant_is_refused_before_anything_is_written(
    cli: Cli, endpoint: ScriptedDynamo
) -> None:
    tables(endpoint)
    repaired(cli, "--journal", "j.jsonl")
    (cli.folder / "notes").write_text("dear diary\n")
    endpoint.create_table("others", REPLICA, items=[])
    written = sum(endpoint.count(operation) for operation in WRITES)
    for arguments, sentence in (
        (("undo", "nothing.jsonl"), f"There is no journal {cli.folder}/nothing.jsonl."),
        (("undo", "notes"), f"{cli.folder}/notes is not a journal"),
        (("undo", "s3://"), "names no bucket"),
        (("undo", "j.jsonl", "--journal", "j.jsonl"), "belongs to a repair; name another journal"),
        (("undo", "j.jsonl", "--journal", "notes"), "exists and is not a journal"),
        (("undo", "j.jsonl", "--output", "j.jsonl"), "--output would overwrite the journal"),
        (("undo", "j.jsonl", "--replica", f"{REPLICA}/others"), "The journal is of another table"),
        (("undo", "j.jsonl", "--replica", f"{REPLICA}/none-such"), "There is no table"),
        (("undo", "j.jsonl", "--key", "{}"), "id"),
        (("undo", "j.jsonl", "--dry-run", "--journal", "u"), "--journal has no effect with --dry-run"),
        (("undo", "j.jsonl", "--json", "--output", "-"), "can have stdout"),
        (("diff-tables", *PAIR, "--journal", "u"), "--journal has an effect only together with --repair"),
        (
            ("diff-tables", *PAIR, "--repair", "--dry-run", "--journal", "u"),
            "--journal has no effect with --dry-run",
        ),
        (
            ("diff-tables", *PAIR, "--repair", "--backfill", "--journal", "u"),
            "--journal has no effect with it",
        ),
        (("diff-tables", *PAIR, "--repair", "--journal", "notes"), "notes exists and is not a journal"),
        (("diff-tables", *PAIR, "--repair", "--journal", "ftp://x/y"), "is no place for a file"),
    ):
        ran = cli(*arguments)
        assert sentence in ran.stderr, (arguments, ran.stderr)
        assert ran.code == (3 if "no table" in sentence else 2), arguments
    assert sum(endpoint.count(operation) for operation in WRITES) == written


def test_a_journal_that_was_torn_says_what_is_not_taken_back(cli: Cli, endpoint: ScriptedDynamo) -> None:
    tables(endpoint)
    repaired(cli, "--journal", "j.jsonl")
    path = cli.folder / "j.jsonl"
    path.write_bytes(path.read_bytes()[:-10])  # a crash while the last outcome was written
    ran = cli("undo", "j.jsonl", "--json")
    assert ran.code == 1
    assert (ran.summary["damaged"], ran.summary["unknown"]) == (1, 1)
    assert ran.summary["taken_back"] == len(DRIFT.kinds) - 1
    assert f"of {path} cannot be read, and is not taken back" in ran.stderr


def test_hostile_names_do_not_reach_the_terminal_as_they_are(cli: Cli, endpoint: ScriptedDynamo) -> None:
    name = "\x1b[2J\u202e\nevil"
    endpoint.create_table(NAME, PRIMARY, items=[item(name, v=1)])
    replica = endpoint.create_table(NAME, REPLICA)
    repaired(cli, "--journal", "j\x1b[2J.jsonl")
    replica.put(item(name, v=2))
    ran = cli("undo", "j\x1b[2J.jsonl")
    assert ran.code == 1
    for text in (ran.stdout, ran.stderr):
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_a_full_disk_ends_the_repair_before_what_it_could_not_note(
    cli: Cli, endpoint: ScriptedDynamo
) -> None:
    replica = tables(endpoint, Drift.all("different", 300, text="x" * 2000))
    first = cli(
        "diff-tables",
        *PAIR,
        "--settle",
        "0",
        "--segments",
        "3",
        "--segment",
        "0",
        "--repair",
        "--journal",
        "j.jsonl",
    )
    assert first.code == 0
    blocks = (cli.folder / "j.jsonl").stat().st_size // 512 + 20
    ran = cli.shell(
        f"ulimit -f {blocks}; exec asyncrep diff-tables {' '.join(PAIR)} --settle 0 --repair --journal j.jsonl"
    )
    assert ran.code == 3
    assert "The journal j.jsonl could not be written, so nothing more was written to the table" in ran.stderr
    noted = {line["key"]["id"]["S"] for line in whole_lines(cli.folder / "j.jsonl") if "kind" in line}
    written = {name for name, each in replica.items.items() if each["v"] != {"N": "-1"}}
    assert 0 < len(written) < 300
    assert written <= noted
    undone = cli("undo", "j.jsonl", "--json")
    assert undone.summary["damaged"] <= 1
    assert undone.summary["taken_back"] + undone.summary["unknown"] >= len(written)


def whole_lines(path: Path) -> list[dict[str, Any]]:
    *lines, _ = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines]


# ── Processes that are ended ────────────────────────────────────────────────────────────────────────


def test_a_repair_that_is_killed_leaves_a_journal_that_tells_all_it_wrote(
    cli: Cli, endpoint: ScriptedDynamo
) -> None:
    replica = tables(endpoint, Drift.all("different", 200, text="x"))
    before = content(replica)
    process: list[Any] = []
    endpoint.after("UpdateItem", lambda _: process[0].kill(), after=30)  # its answer is never seen
    with cli.start("diff-tables", *PAIR, *QUICK, "--repair", "--journal", "j.jsonl", "--quiet") as started:
        process.append(started)
        assert started.wait(PATIENCE_SECONDS) == -9
    written = [name for name, each in replica.items.items() if each["v"] != {"N": "-1"}]
    assert len(written) >= 31
    ran = cli("undo", "j.jsonl", "--output", "u.jsonl", "--json")
    lines = {line["key"]["id"]["S"]: line for line in json_lines((cli.folder / "u.jsonl").read_text())}
    assert set(written) <= lines.keys()  # nothing was written of which the journal does not tell
    left = {name for name, each in replica.items.items() if each["v"] != {"N": "-1"}}
    assert left == {name for name in written if lines[name]["state"] == "unknown"}
    assert all("looks as if it had landed" in lines[name]["reason"] for name in left)
    assert ran.code == (1 if ran.summary["unknown"] else 0)
    assert {json.dumps(each) for each in content(replica) if each["id"]["S"] not in left} <= {
        json.dumps(each) for each in before
    }


def test_an_undo_that_is_interrupted_says_what_it_did_and_goes_on(cli: Cli, endpoint: ScriptedDynamo) -> None:
    drift = Drift.all("different", 100, text="x")
    replica = tables(endpoint, drift)
    repaired(cli, "--journal", "j.jsonl")
    arrived = threading.Event()
    endpoint.before("UpdateItem", lambda _: arrived.set(), after=20)
    endpoint.on("UpdateItem", after=20, times=None).delay(30)
    with cli.start("undo", "j.jsonl", "--journal", "u.jsonl", "--json") as started:
        assert arrived.wait(PATIENCE_SECONDS)
        started.send_signal(signal.SIGINT)
        ran = ended(started)
    assert ran.code == 130
    assert ran.stderr.splitlines()[-1] == "Interrupted."
    assert (ran.summary["complete"], ran.summary["journal"]) == (False, "u.jsonl")
    assert group_is_gone(started)
    endpoint._statements.clear()
    again = cli("undo", "j.jsonl", "--journal", "u.jsonl", "--json")
    assert (again.code, again.summary["records"]) == (0, 100)
    assert same_items(content(replica), drift.replica)
    back = cli("undo", "u.jsonl", "--json")
    assert back.summary["taken_back"] + back.summary["unknown"] == 100


# ── Where journals are ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("prefix", ["", "a/b c", "x/../y"])
def test_a_journal_in_s3_is_written_and_taken_back(
    tmp_path: Path, moto_url: str, s3_bucket: str, prefix: str
) -> None:
    engine = engines.moto(moto_url)
    names = [engine.create_table(items=items) for items in (DRIFT.primary, DRIFT.replica)]
    pair = [f"{engines.REGION}/{name}" for name in names]
    cli = Cli(tmp_path, {"AWS_ENDPOINT_URL": moto_url})
    place = f"s3://{s3_bucket}/{prefix}"
    try:
        for processes in ("1", "2"):
            ran = cli(
                "diff-tables", *pair, "--settle", "0", "--segments", "2", "--processes", processes, "--repair",
                "--json", "--journal", place + processes + "/",
            )  # fmt: skip
            assert (ran.code, ran.summary["journal"]) == (0, place + processes), ran.stderr
            undone = cli("undo", place + processes, "--json", "--journal", f"{place}undo{processes}")
            assert (undone.code, undone.summary["taken_back"]) == (0, len(DRIFT.kinds)), undone.stderr
            assert undone.summary["journal"] == f"{place}undo{processes}"
            assert same_items(engine.items(names[1]), DRIFT.replica)
        ran = cli(
            "diff-tables", *pair, "--settle", "0", "--repair", "--quiet", "--journal", "s3://no-such-bucket/x"
        )
        assert ran.code == 3
        assert ran.sentence == "There is no S3 bucket for s3://no-such-bucket/x."
        assert same_items(engine.items(names[1]), DRIFT.replica)
    finally:
        engine.delete_tables()


@pytest.fixture
def s3_bucket(moto_url: str) -> str:
    """A bucket of its own."""
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    request = AWSRequest("PUT", f"{moto_url}/{bucket}", headers={"Content-Length": "0"})
    SigV4Auth(engines.CREDENTIALS, "s3", engines.REGION).add_auth(request)
    sent = urllib.request.Request(f"{moto_url}/{bucket}", b"", dict(request.headers.items()), method="PUT")
    with urllib.request.urlopen(sent, timeout=PATIENCE_SECONDS) as answer:
        assert answer.status == 200
    return bucket


def test_the_state_folder_is_the_system_s_unless_another_is_named(cli: Cli, endpoint: ScriptedDynamo) -> None:
    tables(endpoint)
    del cli.environment["ASYNCREP_STATE"]
    cli.environment["XDG_STATE_HOME"] = str(cli.folder / "xdg")
    repaired(cli)
    [journal] = (cli.folder / "xdg" / "asyncrep" / "journals").iterdir()
    assert journal.name.endswith(".jsonl")
    assert key("k00003").decode() in journal.read_text()
