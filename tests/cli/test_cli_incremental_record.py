"""incremental-diff-record and incremental-backup-record: one record beside its object, or brought up to date."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from asyncrep.items.incremental import object_name
from tests.support.scenario import WRITES, item, key

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Cli
    from tests.support.scripted import ScriptedDynamo
    from tests.support.values import Item

TABLE = "us-east-1/orders"
NOW = ("--settle", "0")


def keep(tmp_path: Path, *made: Item) -> Path:
    folder = tmp_path / "incr" / "orders"
    folder.mkdir(parents=True, exist_ok=True)
    for each in made:
        (folder / object_name(key(each["id"]["S"]))).write_text(json.dumps(each))
    return folder


def rows(text: str) -> dict[str, tuple[str, str, str]]:
    """The table of attributes: name to mark, the table's and the backup's value."""
    cells = [line.strip("│").split("│") for line in text.splitlines() if line.startswith("│")]
    return {name.strip(): (mark.strip(), ours.strip(), theirs.strip()) for mark, name, ours, theirs in cells}


def test_a_record_is_compared_with_its_object(cli: Cli, endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    endpoint.create_table("orders", items=[item("a", v=1, same="x", new="n")])
    keep(tmp_path, item("a", v=2, same="x", old="o"))
    ran = cli("incremental-diff-record", TABLE, tmp_path / "incr", '{"id":"a"}', *NOW)
    assert ran.code == 1
    assert rows(ran.stdout) == {
        "id": ("", '{"S":"a"}', '{"S":"a"}'),
        "new": ("+", '{"S":"n"}', "—"),
        "old": ("-", "—", '{"S":"o"}'),
        "same": ("", '{"S":"x"}', '{"S":"x"}'),
        "v": ("*", '{"N":"1"}', '{"N":"2"}'),
    }
    assert "table" in ran.stdout
    last = ran.stdout.splitlines()[-1]
    assert last == "The record differs. incremental-backup-record brings the backup up to date."
    assert not any(call.operation in WRITES for call in endpoint.calls)


def test_the_verdict_on_a_record(cli: Cli, endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    endpoint.create_table("orders", items=[item("same"), item("here")])
    keep(tmp_path, item("same"), item("there"))
    advice = "incremental-backup-record brings the backup up to date."
    verdicts = {
        "same": (0, "The backup has the record as the table has it."),
        "here": (1, f"The backup does not have this record. {advice}"),
        "there": (1, f"The table does not have this record any more. {advice}"),
        "nowhere": (0, "Neither the table nor the backup has this record."),
    }
    told = cli.each(
        *(
            ("incremental-diff-record", TABLE, str(tmp_path / "incr"), json.dumps({"id": id}), *NOW)
            for id in verdicts
        )
    )
    assert {
        id: (ran.code, ran.stdout.splitlines()[-1]) for id, ran in zip(verdicts, told, strict=True)
    } == verdicts


def test_a_record_is_backed_up(cli: Cli, endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    endpoint.create_table("orders", items=[item("same"), item("here"), item("other", v=1)])
    folder = keep(tmp_path, item("same"), item("there"), item("other", v=2))
    done = {
        "same": "The backup has the record as the table has it; nothing was written.",
        "here": "The record was backed up: its object was put.",
        "other": "The record was backed up: its object was replaced.",
        "there": "The table does not have this record any more: its object was deleted.",
        "nowhere": "Neither the table nor the backup has this record; nothing was written.",
    }
    told = cli.each(
        *(("incremental-backup-record", TABLE, str(tmp_path / "incr"), json.dumps({"id": id})) for id in done)
    )
    assert [(ran.code, ran.stdout.strip()) for ran in told] == [(0, sentence) for sentence in done.values()]
    found = [json.loads(path.read_bytes()) for path in folder.iterdir() if not path.name.startswith(".")]
    assert sorted(each["id"]["S"] for each in found) == ["here", "other", "same"]


def test_a_dry_run_says_what_would_be_done(cli: Cli, endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    endpoint.create_table("orders", items=[item("a")])
    ran = cli("incremental-backup-record", TABLE, tmp_path / "incr", '{"id":"a"}', "--dry-run")
    assert (ran.code, ran.stdout) == (1, "Dry run: the record's object would be put.\n")
    assert not (tmp_path / "incr").exists()


def test_an_object_without_an_item_is_no_backup(cli: Cli, endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    endpoint.create_table("orders", items=[item("a")])
    folder = keep(tmp_path)
    (folder / object_name(key("a"))).write_text("{broken")
    ran = cli("incremental-diff-record", TABLE, tmp_path / "incr", '{"id":"a"}', *NOW)
    assert ran.code == 1
    assert "It holds no item" in " ".join(ran.stderr.split())
    ran = cli("incremental-backup-record", TABLE, tmp_path / "incr", '{"id":"a"}')
    assert (ran.code, ran.stdout.strip()) == (0, "The record was backed up: its object was put.")


def test_a_key_that_is_none_is_one_sentence(cli: Cli, endpoint: ScriptedDynamo, tmp_path: Path) -> None:
    endpoint.create_table("orders", items=[item("a")])
    for command in ("incremental-diff-record", "incremental-backup-record"):
        ran = cli(command, TABLE, tmp_path / "incr", '{"no":1}')
        assert ran.code == 2
        assert ran.sentence == '"no" is not part of the table\'s key, which is id (S).'
