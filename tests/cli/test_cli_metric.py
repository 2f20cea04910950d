"""``diff-tables --metric``: what an alarm gets to see of a run, whatever becomes of it."""

from __future__ import annotations

import json
import signal
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.support import engines
from tests.support.cli import Cli, ended, wait_until
from tests.support.scenario import PRIMARY, REPLICA, item, items

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.engines import Engine
    from tests.support.scripted import ScriptedDynamo

Published = dict[str, float]
HOUR = timedelta(hours=1)


@pytest.fixture
def moto(moto_url: str) -> Iterator[Engine]:
    """An engine with CloudWatch beside its tables."""
    engine = engines.moto(moto_url)
    yield engine
    engine.delete_tables()


@pytest.fixture
def cli(tmp_path: Path, moto: Engine) -> Cli:
    """The command line, turned towards moto for everything."""
    return Cli(tmp_path, {"AWS_ENDPOINT_URL": moto.url})


@pytest.fixture
def tables(moto: Engine) -> tuple[str, str]:
    """A primary and a replica with three discrepancies."""
    same = items(5)
    primary = moto.create_table(items=[*same, item("m"), item("d", v=1)], region=PRIMARY)
    replica = moto.create_table(items=[*same, item("x"), item("d", v=2)], region=REPLICA)
    return f"{PRIMARY}/{primary}", f"{REPLICA}/{replica}"


class Namespace:
    """A namespace of metrics that no other test publishes in."""

    def __init__(self, url: str) -> None:
        self.name = f"Test/{uuid.uuid4().hex}"
        self._client: Any = boto3.client("cloudwatch", region_name=PRIMARY, endpoint_url=url)

    def published(self, *tables: str) -> Published:
        """The only value of each metric of these tables."""
        found = {}
        expected = [
            {"Name": name, "Value": value} for name, value in zip(("Primary", "Replica"), tables, strict=True)
        ]
        for metric in self._client.list_metrics(Namespace=self.name)["Metrics"]:
            assert metric["Dimensions"] == expected
            [point] = self._client.get_metric_statistics(
                **metric, StartTime=datetime.now(UTC) - HOUR, EndTime=datetime.now(UTC) + HOUR, Period=7200,
                Statistics=["Sum", "SampleCount"],
            )["Datapoints"]  # fmt: skip
            assert point["SampleCount"] == 1.0
            found[metric["MetricName"]] = point["Sum"]
        return found


@pytest.fixture
def namespace(moto_url: str) -> Iterator[Namespace]:
    """One, whose client is closed at the end."""
    namespace = Namespace(moto_url)
    yield namespace
    namespace._client.close()


def test_a_check_publishes_what_it_found_in_the_primary_s_region(
    cli: Cli, tables: tuple[str, str], namespace: Namespace
) -> None:
    ran = cli("diff-tables", *tables, "--settle", "0", "--metric", namespace.name, "--json")
    assert (ran.code, ran.summary["missing"]) == (1, 1)
    assert namespace.published(*tables) == {"Complete": 1.0, "Discrepancies": 3.0, "Repaired": 0.0}


def test_a_repair_publishes_what_it_repaired(cli: Cli, tables: tuple[str, str], namespace: Namespace) -> None:
    ran = cli("diff-tables", *tables, "--settle", "0", "--repair", "--metric", namespace.name)
    assert ran.code == 0
    assert namespace.published(*tables) == {"Complete": 1.0, "Discrepancies": 3.0, "Repaired": 3.0}


def test_an_account_is_not_told(cli: Cli, tables: tuple[str, str], namespace: Namespace) -> None:
    arn = f"arn:aws:dynamodb:{PRIMARY}:123456789012:table/{tables[0].partition('/')[2]}"
    ran = cli("diff-tables", arn, tables[1], "--settle", "0", "--metric", namespace.name)
    assert ran.code == 1
    assert namespace.published(*tables)["Complete"] == 1.0


def test_an_incomplete_run_is_published_as_such(
    cli: Cli, endpoint: ScriptedDynamo, namespace: Namespace
) -> None:
    tables = (f"{PRIMARY}/orders", f"{REPLICA}/orders")
    endpoint.create_table("orders", PRIMARY, items=[*items(5), item("m")])
    endpoint.create_table("orders", REPLICA, items=items(5))
    endpoint.on("BatchGetItem", times=None).error("AccessDeniedException")
    cli.environment["AWS_ENDPOINT_URL_DYNAMODB"] = endpoint.url
    ran = cli("diff-tables", *tables, "--settle", "0", "--metric", namespace.name)
    assert ran.code == 3
    assert namespace.published(*tables) == {"Complete": 0.0, "Discrepancies": 0.0, "Repaired": 0.0}


def test_an_interrupted_run_is_published_as_incomplete(
    cli: Cli, endpoint: ScriptedDynamo, namespace: Namespace
) -> None:
    tables = (f"{PRIMARY}/orders", f"{REPLICA}/orders")
    for region in (PRIMARY, REPLICA):
        endpoint.create_table("orders", region, items=items(5))
    endpoint.on("Scan").delay(60).forever()
    cli.environment["AWS_ENDPOINT_URL_DYNAMODB"] = endpoint.url
    with cli.start("diff-tables", *tables, "--metric", namespace.name) as process:
        wait_until(lambda: endpoint.count("Scan"))
        process.send_signal(signal.SIGTERM)
        ran = ended(process)
    assert (ran.code, ran.stderr.splitlines()[-1]) == (130, "Interrupted.")
    assert namespace.published(*tables)["Complete"] == 0.0


def test_a_run_that_cannot_begin_is_published_as_incomplete_and_nothing_else(
    cli: Cli, tables: tuple[str, str], namespace: Namespace
) -> None:
    missing = f"{REPLICA}/not-there"
    ran = cli("diff-tables", tables[0], missing, "--metric", namespace.name)
    assert (ran.code, ran.sentence) == (3, f"There is no table {missing} (any more).")
    assert namespace.published(tables[0], missing) == {"Complete": 0.0}


@pytest.mark.parametrize("options", [(), ("--repair",)])
def test_metrics_that_cannot_be_published_are_told_and_the_results_too(
    cli: Cli, tables: tuple[str, str], unused_tcp_port: int, options: tuple[str, ...]
) -> None:
    cli.environment["AWS_ENDPOINT_URL_CLOUDWATCH"] = f"http://127.0.0.1:{unused_tcp_port}"
    ran = cli("diff-tables", *tables, "--settle", "0", "--quiet", "--json", "--metric", "Mine", *options)
    assert (ran.code, ran.summary["complete"]) == (3, True)
    assert ran.sentence.startswith("The metrics of this run could not be published: PutMetricData")


@pytest.mark.parametrize("namespace", ["AWS/DynamoDB", "", " ", ":a", "a" * 256, "a&b"])
def test_a_namespace_that_cannot_be_is_refused_before_anything_is_done(
    tmp_path: Path, endpoint: ScriptedDynamo, namespace: str
) -> None:
    cli = Cli(tmp_path, {"AWS_ENDPOINT_URL": endpoint.url})
    for command in ((), ("iam-policy", "--account", "123456789012")):
        ran = cli(*command, "diff-tables", "us-east-1/orders", "eu-west-1/orders", "--metric", namespace)
        assert (ran.code, ran.stdout) == (2, "")
        assert "is no namespace for metrics" in ran.sentence
    assert endpoint.calls == []


def test_the_policy_allows_to_publish_there_only_as_whoever_reads_the_primary(tmp_path: Path) -> None:
    role = "arn:aws:iam::210987654321:role/Primary"
    ran = Cli(tmp_path)(
        "iam-policy", "--account", "123456789012", "--identity", role,
        "diff-tables", "us-east-1/orders", "eu-west-1/orders", "--primary-role-arn", role, "--metric", "My/Own",
    )  # fmt: skip
    [statement] = [each for each in json.loads(ran.stdout)["Statement"] if each["Sid"] == "Metrics"]
    assert statement == {
        "Sid": "Metrics",
        "Effect": "Allow",
        "Action": ["cloudwatch:PutMetricData"],
        "Resource": "*",
        "Condition": {"StringEquals": {"cloudwatch:namespace": "My/Own"}},
    }
