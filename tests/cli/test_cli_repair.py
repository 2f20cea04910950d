"""What diff-tables writes: nothing without --repair, and with it what is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.scenario import item, items, scene

if TYPE_CHECKING:
    from tests.support.cli import Cli
    from tests.support.scenario import Scene
    from tests.support.scripted import ScriptedDynamo

TABLES = ("us-east-1/orders", "eu-west-1/orders")
DIFF = ("diff-tables", *TABLES, "--settle", "0")


@pytest.fixture
def drifted(endpoint: ScriptedDynamo) -> Scene:
    """Five equal items, one missing, one different, two extraneous."""
    same = items(5)
    return scene(endpoint, [*same, item("m"), item("d", v=1)], [*same, item("d", v=2), item("x"), item("y")])


def test_repair_brings_the_replica_in_line(cli: Cli, drifted: Scene) -> None:
    ran = cli(*DIFF, "--repair", "--json")
    assert (ran.code, ran.summary["repaired"], ran.summary["failed"]) == (0, 4, 0)
    assert drifted.converged
    assert sorted(drifted.writes()) == ["DeleteItem", "DeleteItem", "PutItem", "UpdateItem"]


def test_the_output_of_a_repair_says_what_became_of_each(cli: Cli, drifted: Scene) -> None:
    ran = cli(*DIFF, "--repair", "--output", "-")
    assert {line["state"] for line in ran.lines} == {"repaired"}
    assert "The replica is right: every discrepancy was repaired and verified." in ran.stderr
    assert drifted.converged


def test_nothing_is_written_unless_asked_for(cli: Cli, drifted: Scene) -> None:
    plain, dry, counted, negative = cli.each(
        DIFF,
        (*DIFF, "--repair", "--dry-run", "--json"),
        (*DIFF, "--backfill", "--repair", "--dry-run"),
        (*DIFF, "--repair", "--max-delete", "-1"),
    )
    assert [plain.code, dry.code, counted.code, negative.code] == [1, 1, 0, 2]
    assert (dry.summary["repaired"], dry.summary["extraneous"]) == (0, 2)
    assert negative.sentence == "The most items to delete must be zero or more, not -1."
    assert drifted.writes() == []


def test_no_delete_keeps_what_only_the_replica_has(cli: Cli, drifted: Scene) -> None:
    ran = cli(*DIFF, "--repair", "--no-delete", "--output", "-", "-q")
    assert ran.code == 1
    assert {line["kind"]: line["state"] for line in ran.lines} == {
        "missing": "repaired", "different": "repaired", "extraneous": "skipped",
    }  # fmt: skip
    assert {"x", "y"} < drifted.replica.items.keys()


@pytest.mark.parametrize(("limit", "left", "code"), [(1, 1, 1), (2, 0, 0)])
def test_max_delete_stops_before_the_one_too_many(
    cli: Cli, drifted: Scene, limit: int, left: int, code: int
) -> None:
    ran = cli(*DIFF, "--repair", "--max-delete", str(limit), "--json")
    assert (ran.code, ran.summary["skipped"]) == (code, left)
    assert len({"x", "y"} & drifted.replica.items.keys()) == left


def test_more_than_half_of_the_replica_needs_an_explicit_limit(cli: Cli, endpoint: ScriptedDynamo) -> None:
    tables = scene(endpoint, [], items(4))
    refused, done = cli.each((*DIFF, "--repair"), (*DIFF, "--repair", "--max-delete", "4"))
    assert (refused.code, done.code, done.stdout.count("4  extraneous")) == (1, 0, 1)
    assert "more than half of the replica" in refused.stderr
    assert "--max-delete" in refused.stdout + refused.stderr
    assert tables.replica.items == {}


def test_backfill_alone_counts_and_with_repair_fills_in_bulk(cli: Cli, endpoint: ScriptedDynamo) -> None:
    tables = scene(endpoint, items(30))
    counted, filled = cli.each((*DIFF, "--backfill"), (*DIFF, "--backfill", "--repair", "--json"))
    assert "Nothing was written; add --repair to fill the replica." in counted.stdout
    assert (counted.code, filled.code, filled.summary["repaired"]) == (0, 0, 30)
    assert tables.writes() == ["BatchWriteItem"] * filled.summary["segments"]
    assert tables.converged


def test_backfill_leaves_alone_what_is_there(cli: Cli, endpoint: ScriptedDynamo) -> None:
    tables = scene(endpoint, items(5, v=1), items(2, v=2))
    ran = cli(*DIFF, "--backfill", "--repair")
    assert ran.code == 0
    assert "The replica is filled; diff-tables tells whether it is right." in ran.stdout
    assert [each["v"]["N"] for _, each in sorted(tables.replica.items.items())] == ["2", "2", "1", "1", "1"]


def test_a_segment_is_repaired_alone(cli: Cli, endpoint: ScriptedDynamo) -> None:
    tables = scene(endpoint, items(40))
    ran = cli(*DIFF, "--repair", "--segment", "0", "--segments", "2", "--json")
    assert ran.code == 0
    assert 0 < len(tables.replica.items) == ran.summary["repaired"] < 40
    assert {tables.replica.segment_of(key, 2) for key in tables.replica.items} == {0}


def test_a_member_of_a_global_table_is_not_written_to_unless_forced(cli: Cli, drifted: Scene) -> None:
    members = [{"RegionName": "us-east-1"}, {"RegionName": "eu-west-1"}]
    drifted.primary.description["Replicas"] = drifted.replica.description["Replicas"] = members
    table, record = (*DIFF, "--repair"), ("replicate-record", *TABLES, '{"id":"m"}', "--settle", "0")
    force = ("--force-global-table", "-q")
    *refused, forced_record, forced_table = cli.each(table, record, (*record, *force), (*table, *force))
    assert [ran.code for ran in (*refused, forced_record, forced_table)] == [2, 2, 0, 0]
    assert drifted.writes().count("PutItem") == 1
    for ran in refused:
        assert "members of one global table" in ran.sentence
        assert "--force-global-table" in ran.sentence


def test_a_record_the_service_refuses_is_marked_and_exits_3(cli: Cli, drifted: Scene) -> None:
    endpoint = drifted.endpoint
    endpoint.on("PutItem").error("ValidationException", message="No such item can be.").forever()
    ran = cli(*DIFF, "--repair", "--combined", "-", "--output", "d.jsonl")
    assert ran.code == 3
    assert '! {"id":{"S":"m"}}' in ran.stdout.splitlines()
    assert "No such item can be." in (cli.folder / "d.jsonl").read_text()
    assert "d" in drifted.replica.items
    assert "1  failed to be repaired" in ran.stderr
