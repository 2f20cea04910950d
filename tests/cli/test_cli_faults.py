"""Runs that fail, or that somebody ends: one sentence, the right exit code, and nothing left behind."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import ended, group_is_gone, wait_until
from tests.support.scenario import WRITES, item, items, scene

if TYPE_CHECKING:
    from tests.support.cli import Cli
    from tests.support.scripted import ScriptedDynamo

TABLES = ("us-east-1/orders", "eu-west-1/orders")
DIFF = ("diff-tables", *TABLES, "--settle", "0")


def forget(endpoint: ScriptedDynamo, region: str) -> None:
    """Delete the table of that Region, as somebody might in the middle of a run."""
    del endpoint._tables[region, "orders"]


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_a_table_deleted_meanwhile_is_incomplete(cli: Cli, endpoint: ScriptedDynamo, region: str) -> None:
    tables = scene(endpoint, items(40), items(40))
    tables.primary.page_items = tables.replica.page_items = 5
    endpoint.before("Scan", lambda endpoint: forget(endpoint, region), region=region, after=2)
    ran = cli(*DIFF, "--segments", "1", "--json")
    assert (ran.code, ran.summary["complete"]) == (3, False)
    assert 0 < ran.summary["matched"] <= 40
    assert ran.stderr.splitlines()[-1] == f"Error: There is no table {region}/orders (any more)."


def test_an_incomplete_repair_deletes_nothing_and_says_so(cli: Cli, endpoint: ScriptedDynamo) -> None:
    tables = scene(endpoint, items(40), [*items(30), item("x")])
    tables.replica.page_items = 5
    endpoint.on("Scan", region="eu-west-1", after=2).error("AccessDeniedException").forever()
    ran = cli(*DIFF, "--repair", "--segments", "1")
    assert ran.code == 3
    assert "The run is incomplete: it ended before everything was compared." in ran.stdout
    assert "x" in tables.replica.items
    assert endpoint.count("DeleteItem") == 0


def test_a_permission_that_is_missing_is_named(cli: Cli, endpoint: ScriptedDynamo) -> None:
    operation = "BatchGetItem"
    scene(endpoint, items(5), items(4))
    refusal = f"User: arn:aws:iam::123456789012:user/ann is not authorized to perform: dynamodb:{operation}"
    endpoint.on(operation).error("AccessDeniedException", message=refusal).forever()
    ran = cli(*DIFF, "--quiet")
    assert (ran.code, ran.stdout) == (3, "")
    assert f"dynamodb:{operation}" in ran.sentence
    assert "-1/orders" in ran.sentence


def test_a_permission_to_write_that_is_missing_ends_the_repair(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, items(5))
    endpoint.on("PutItem").error("AccessDeniedException", message="no dynamodb:PutItem for you").forever()
    ran = cli(*DIFF, "--repair", "--quiet")
    assert ran.code == 3
    assert "dynamodb:PutItem" in ran.sentence


def test_throttling_is_survived_and_told(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, items(5), items(4))
    endpoint.on("Scan", times=2).throttle()
    endpoint.on("BatchGetItem").unprocessed(1)
    ran = cli(*DIFF, "--segments", "1")
    assert ran.code == 1
    assert "throttled 3 times" in ran.stdout


def test_damaged_answers_are_asked_for_again(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, items(5), items(5))
    endpoint.on("Scan").corrupt()
    endpoint.on("BatchGetItem").reset()
    assert cli(*DIFF, "--segments", "1", "--quiet").code == 0


def test_an_unknown_table_is_one_sentence(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint)
    unknown = ("eu-west-1/nothing", TABLES[1]), (TABLES[0], "eu-west-1/nothing")
    for ran in cli.each(*(("diff-tables", *tables, "--repair", "--json") for tables in unknown)):
        assert (ran.code, ran.stdout) == (3, "")
        assert ran.sentence == "There is no table eu-west-1/nothing (any more)."


def test_different_keys_are_exit_2_before_any_scan(cli: Cli, endpoint: ScriptedDynamo) -> None:
    endpoint.create_table("orders")
    endpoint.create_table("orders", "eu-west-1", range=("at", "N"))
    ran = cli(*DIFF, "--repair")
    assert (ran.code, endpoint.count("Scan")) == (2, 0)
    assert "us-east-1/orders has id (S), eu-west-1/orders has id (S) + at (N)" in ran.sentence


def test_a_table_is_no_replica_of_itself(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, items(5))
    itself = ("diff-tables", TABLES[0], TABLES[0], "--settle", "0")
    told = cli.each(itself, (*itself, "--repair"), (*itself, "--backfill", "--repair"))
    assert [ran.code for ran in told] == [2, 2, 2]
    for ran in told:
        assert ran.sentence == "us-east-1/orders and us-east-1/orders are the same table."
    assert endpoint.count("Scan") == 0


def test_missing_credentials_are_one_sentence_with_advice(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint)
    del cli.environment["AWS_ACCESS_KEY_ID"], cli.environment["AWS_SECRET_ACCESS_KEY"]
    ran = cli(*DIFF)
    assert (ran.code, endpoint.calls) == (3, [])
    assert ran.sentence.startswith("No AWS credentials for us-east-1/orders: ")
    assert "AWS_PROFILE" in ran.sentence


def test_an_unknown_profile_is_one_sentence(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint)
    for ran in cli.each(*((*DIFF, f"--{side}-profile", "nobody") for side in ("primary", "replica"))):
        assert ran.code == 3
        assert "nobody" in ran.sentence


def test_refused_credentials_are_one_sentence(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint)
    endpoint.on("DescribeTable").error("UnrecognizedClientException", message="Bad token.").forever()
    ran = cli(*DIFF)
    assert ran.code == 3
    assert "UnrecognizedClientException: Bad token." in ran.sentence


def test_a_closed_port_is_one_sentence_soon(cli: Cli) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{probe.getsockname()[1]}"
        ran = cli("diff-tables", f"{place}/orders", f"{place}/copies")
    assert ran.code == 3
    assert ran.seconds < 15
    assert ran.sentence.startswith(f"DescribeTable on {place}/orders could not reach the service: ")


@pytest.mark.parametrize(
    ("number", "options"),
    [(signal.SIGINT, ()), (signal.SIGTERM, ("--repair",)), (signal.SIGINT, ("--backfill", "--repair"))],
)
def test_a_signal_ends_the_run_soon_with_what_was_done(
    cli: Cli, endpoint: ScriptedDynamo, number: signal.Signals, options: tuple[str, ...]
) -> None:
    tables = scene(endpoint, items(40), items(40) if "--backfill" not in options else [])
    tables.primary.page_items = 5
    # A backfill asks once whether the replica is empty; the others ask the primary alone first.
    endpoint.on("Scan", region="us-east-1", after=3).delay(60).forever()
    with cli.start(*DIFF, "--segments", "1", *options) as process:
        wait_until(lambda: endpoint.count("Scan", region="us-east-1") > 3)
        process.send_signal(number)
        ran = ended(process)
    assert ran.code == 130
    assert ran.seconds < 2
    assert "The run is incomplete: it ended before everything was compared." in ran.stdout
    assert ran.stderr.splitlines()[-1] == "Interrupted."
    assert "Traceback" not in ran.stderr
    assert group_is_gone(process)


def test_an_interrupted_run_prints_the_one_json_object(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, items(5), items(4))
    endpoint.on("BatchGetItem").delay(60).forever()
    with cli.start(*DIFF, "--json", "--output", "d.jsonl") as process:
        wait_until(lambda: endpoint.count("BatchGetItem"))
        process.send_signal(signal.SIGTERM)
        ran = ended(process)
    assert (ran.code, ran.summary["complete"]) == (130, False)
    assert ran.stderr == "Interrupted.\n"


def test_an_interrupted_write_is_not_repeated(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, items(1))
    endpoint.on("PutItem").delay(60).forever()
    with cli.start(*DIFF, "--repair", "--quiet") as process:
        wait_until(lambda: endpoint.count("PutItem"))
        process.send_signal(signal.SIGINT)
        ran = ended(process)
    assert (ran.code, ran.stdout, ran.stderr) == (130, "", "Interrupted.\n")
    assert sum(call.operation in WRITES for call in endpoint.calls) == 1


def test_a_signal_before_the_tables_are_open_leaves_no_output(cli: Cli, endpoint: ScriptedDynamo) -> None:
    endpoint.on("DescribeTable").delay(60).forever()
    with cli.start(*DIFF, "--output", "d.jsonl") as process:
        wait_until(lambda: endpoint.count("DescribeTable"))
        process.send_signal(signal.SIGINT)
        ran = ended(process)
    assert (ran.code, ran.stdout, ran.stderr) == (130, "", "Interrupted.\n")
    assert list(cli.folder.iterdir()) == []
