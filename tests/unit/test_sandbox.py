"""The embedded AWS: it serves, it stops, and its sample has exactly the drift it says it has."""

import asyncio
import copy
import http.client
import os
import socket
import subprocess
import sys
import threading
from contextlib import closing
from decimal import Decimal

import aioboto3
import airportsdata
import pytest
from aiobotocore.config import AioConfig

from asyncrep.errors import UsageError
from asyncrep.sandbox import EmbeddedAws, seed, wsgi
from asyncrep.sandbox.airports import Item, key_of, select
from asyncrep.sandbox.drift import DIFFERENT, EXTRANEOUS, MISSING, RESPELLED, drift
from asyncrep.sandbox.seeding import BATCH, _load


@pytest.fixture(scope="module")
def chosen():
    return select(1_000)


@pytest.fixture(scope="module")
def drifted(chosen):
    return drift(chosen.items, chosen.others)


def by_value(value):
    """What an attribute value means, however it is spelt."""
    (kind, content), *_ = value.items()
    match kind:
        case "N":
            content = Decimal(content)
        case "SS":
            content = frozenset(content)
        case "L":
            content = tuple(by_value(each) for each in content)
        case "M":
            content = frozenset((name, by_value(each)) for name, each in content.items())
        case _:
            pass
    return kind, content


def client_of(aws: EmbeddedAws, region: str):
    return aioboto3.Session().client(
        "dynamodb",
        region_name=region,
        endpoint_url=aws.endpoint_url,
        aws_access_key_id=aws.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=aws.environment["AWS_SECRET_ACCESS_KEY"],
        config=AioConfig(max_pool_connections=16, retries={"total_max_attempts": 1}),
    )


async def scan(aws: EmbeddedAws, region: str) -> dict[tuple[str, str], Item]:
    async with client_of(aws, region) as client:
        pages = client.get_paginator("scan").paginate(TableName="airports")
        return {key_of(item): item async for page in pages for item in page["Items"]}


def test_importing_the_sandbox_imports_nothing_of_the_extra():
    code = (
        "import asyncrep.sandbox, sys; print({'moto', 'boto3', 'airportsdata', 'flask'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


class TestAirports:
    def test_are_sorted_by_key_and_no_key_comes_twice(self, chosen):
        keys = [key_of(item) for item in chosen.items]
        assert keys == sorted(set(keys))
        assert not set(keys) & {key_of(item) for item in chosen.others}

    def test_are_what_the_data_says(self, chosen):
        """Whatever the release of the data: it gains airports, and the choice moves."""
        data = airportsdata.load("ICAO")
        for item in chosen.items:
            airport = data[item["icao"]["S"]]
            assert float(item["elevation"]["N"]) == airport["elevation"]
            assert {airport["icao"], airport["iata"]} <= set(item["codes"]["SS"])
            assert float(item["position"]["M"]["lat"]["N"]) == airport["lat"]
            assert item["name"] == {"S": airport["name"]}

    def test_show_seven_types_and_nothing_empty(self, chosen):
        values = [value for item in chosen.items for value in item.values()]
        assert {kind for value in values for kind in value} == {"S", "N", "BOOL", "NULL", "M", "L", "SS"}
        assert not [value for value in values if value in ({"S": ""}, {"SS": []}, {"M": {}})]

    def test_spell_numbers_as_dynamodb_returns_them(self, chosen):
        numbers = [item["elevation"]["N"] for item in chosen.items]
        assert not [number for number in numbers if "e" in number.lower() or number.endswith(".0")]

    def test_more_than_there_are_is_a_usage_error(self):
        with pytest.raises(UsageError, match="not 1,000,000"):
            select(1_000_000)

    def test_a_missing_extra_says_how_to_install_it(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "airportsdata", None)
        with pytest.raises(UsageError, match=r"pip install 'asyncrep\[demo\]'"):
            select(300)


class TestDrift:
    def test_counts_are_what_the_item_lists_show(self, chosen, drifted):
        primary = {key_of(item): item for item in chosen.items}
        replica = {key_of(item): item for item in drifted.replica_items}
        both = primary.keys() & replica.keys()
        differing = {key for key in both if by_value({"M": primary[key]}) != by_value({"M": replica[key]})}
        respelled = {key for key in both if primary[key] != replica[key]} - differing
        assert len(replica) == len(drifted.replica_items)
        assert len(primary.keys() - replica.keys()) == drifted.missing == MISSING
        assert len(differing) == drifted.different == DIFFERENT
        assert len(replica.keys() - primary.keys()) == drifted.extraneous == EXTRANEOUS
        assert len(respelled) == drifted.respelled == RESPELLED

    def test_is_the_same_every_time_and_another_with_another_seed(self, chosen, drifted):
        assert drift(chosen.items, chosen.others) == drifted
        assert drift(chosen.items, chosen.others, seed=1) != drifted

    def test_leaves_the_primary_alone(self, chosen):
        before = copy.deepcopy(chosen.items)
        drift(chosen.items, chosen.others)
        assert chosen.items == before

    @pytest.mark.parametrize("count", [200, 777, 7_500])
    def test_is_complete_for_any_number_of_airports(self, count):
        chosen = select(count)
        drifted = drift(chosen.items, chosen.others)
        assert len(drifted.replica_items) == count - MISSING + EXTRANEOUS

    def test_too_few_airports_is_a_usage_error(self, chosen):
        with pytest.raises(UsageError, match="at least 200"):
            drift(chosen.items[:100], chosen.others)


class TestServer:
    async def test_serves_both_regions_seeded_as_described(self):
        with EmbeddedAws() as aws:
            seeded = seed(aws, airports=300)
            primary = await scan(aws, "us-east-1")
            replica = await scan(aws, "eu-west-1")
        assert (seeded.primary, seeded.replica) == ("us-east-1/airports", "eu-west-1/airports")
        assert seeded.items == 300
        assert list(primary.values()) == select(300).items
        assert replica == {key_of(item): item for item in seeded.drift.replica_items}

    async def test_answers_sixteen_at_once_over_kept_connections(self):
        with EmbeddedAws() as aws:
            seed(aws, airports=200)
            async with client_of(aws, "us-east-1") as client:
                # A scan beside puts of new keys is where moto alone fails.
                async with asyncio.TaskGroup() as group:
                    for worker in range(16):
                        group.create_task(put_and_scan(client, worker))
                answer = await client.describe_table(TableName="airports")
            assert answer["Table"]["ItemCount"] == 200 + 16 * 3
            assert "connection" not in answer["ResponseMetadata"]["HTTPHeaders"]

    def test_leaves_no_port_thread_or_table_behind(self):
        threads = set(threading.enumerate())
        with EmbeddedAws() as aws:
            port = int(aws.endpoint_url.rpartition(":")[2])
            seed(aws, airports=200)
            # A connection that its client keeps open ends all the same.
            kept = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            kept.request("GET", "/moto-api/")
            assert kept.getresponse().read()
        with closing(kept):
            assert kept.sock.recv(1) == b""
        assert set(threading.enumerate()) <= threads
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with EmbeddedAws(port) as again:
            assert seed(again, airports=200).items == 200

    def test_leaves_the_environment_alone_and_stderr_quiet(self, capfd):
        before = dict(os.environ)
        with EmbeddedAws() as aws:
            seed(aws, airports=200)
            assert aws.environment["AWS_ENDPOINT_URL"] == aws.endpoint_url
        assert dict(os.environ) == before
        assert capfd.readouterr() == ("", "")

    def test_does_not_care_for_the_machines_own_aws_settings(self, monkeypatch):
        monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        with EmbeddedAws() as aws:
            assert seed(aws, airports=200).items == 200

    @pytest.mark.parametrize("port", [65_536, -1])
    def test_an_impossible_port_is_a_usage_error(self, port):
        with pytest.raises(UsageError, match="There is no port"), EmbeddedAws(port):
            pass

    def test_a_taken_port_is_a_usage_error(self, capfd):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(UsageError, match=f"Cannot listen on 127.0.0.1:{port}"), EmbeddedAws(port):
                pass
        assert capfd.readouterr() == ("", "")

    def test_a_failure_inside_moto_is_an_answer(self, monkeypatch, caplog):
        def fail(*_arguments, **_options):
            raise KeyError("moto")

        monkeypatch.setattr(wsgi, "run_wsgi_app", fail)
        with EmbeddedAws() as aws:
            host = aws.endpoint_url.removeprefix("http://")
            connection = http.client.HTTPConnection(host, timeout=5)
            try:
                for _ in range(2):
                    connection.request("POST", "/", b"{}")
                    answer = connection.getresponse()
                    assert (answer.status, answer.read()) == (500, b"")
            finally:
                connection.close()
        assert "moto failed at POST /" in caplog.text


def test_what_a_batch_leaves_unprocessed_is_written_with_the_next(chosen):
    stored: list[Item] = []

    class HalfHearted:
        def batch_write_item(self, RequestItems):
            requests = RequestItems["airports"]
            assert 0 < len(requests) <= BATCH
            done = len(requests) // 2 + 1
            stored.extend(request["PutRequest"]["Item"] for request in requests[:done])
            return {"UnprocessedItems": {"airports": requests[done:]} if requests[done:] else {}}

    _load(HalfHearted(), chosen.items[:90])
    assert sorted(map(key_of, stored)) == [key_of(item) for item in chosen.items[:90]]


async def put_and_scan(client, worker: int) -> None:
    for number in range(3):
        key = {"country": {"S": f"Z{worker}"}, "icao": {"S": f"Z{number}"}}
        await client.put_item(TableName="airports", Item=key)
        await client.scan(TableName="airports", Limit=20)
        answer = await client.get_item(TableName="airports", Key=key)
        assert answer["Item"] == key
