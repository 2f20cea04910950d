"""The guards of a function hold on an engine with real transactions: late, repeated and crossing records."""

from __future__ import annotations

import pytest

from asyncrep import UsageError
from asyncrep.handlers import ReplicaSettings, replicate_handler
from tests.support import engines
from tests.support.lambdas import SUCCESS, Context, event, put, remove
from tests.support.scenario import item

REGION = "eu-west-1"


@pytest.fixture
def engine(moto_url):
    engine = engines.moto(moto_url)
    yield engine
    engine.delete_tables()


@pytest.fixture
def replica(engine):
    return engine.create_table(region=REGION)


@pytest.fixture
def guards(engine):
    name = engine.create_table(region=REGION)
    engine.call(
        "UpdateTimeToLive",
        {"TableName": name, "TimeToLiveSpecification": {"AttributeName": "expires", "Enabled": True}},
        REGION,
    )
    return name


@pytest.fixture
def make(engine, replica, guards, container):
    def make(**environment):
        base = {"ReplicaTable": replica, "ReplicaRegion": REGION, "ReplicaEndpoint": engine.url}
        settings = ReplicaSettings.from_environment(base | {"GuardTable": guards} | environment)
        return replicate_handler(settings, container=container)

    return make


def test_a_late_or_repeated_record_turns_nothing_back(make, engine, replica):
    handler = make(Guard="sequence")
    late = put(item("a", n=1), 1)
    records = [late, put(item("a", n=2), 2), put(item("b"), 3), remove(item("b"), 4)]
    for again in (records, [late], [put(item("b"), 3)], records):
        assert handler(event(*again), Context()) == SUCCESS
        assert engine.items(replica, REGION) == [item("a", n=2)]


def test_two_way_mirrors_meet_at_the_higher_version(make, engine, replica):
    handler = make(Guard="version")
    engine.put(replica, [item("a", version=5, at="here")], REGION)
    assert handler(event(put(item("a", version=4, at="there"), 1)), Context()) == SUCCESS
    assert engine.items(replica, REGION) == [item("a", version=5, at="here")]
    assert handler(event(put(item("a", version=6, at="there"), 2)), Context()) == SUCCESS
    assert handler(event(remove(item("a", version=6, at="there"), 3)), Context()) == SUCCESS
    assert handler(event(put(item("a", version=6, at="there"), 2)), Context()) == SUCCESS
    assert not engine.items(replica, REGION)


def test_conflicts_are_told_in_the_log(make, engine, replica, caplog):
    engine.put(replica, [item("a", version=5, at="here")], REGION)
    handler = make(Guard="version")
    assert handler(event(put(item("a", version=5, at="there"), 1)), Context()) == SUCCESS
    assert '"event": "conflict"' in caplog.text
    assert "Version 5 has two contents" in caplog.text
    assert "there" not in caplog.text


def test_an_engine_s_own_refusal_is_poison(make, engine, replica):
    broken = put(item("b", text="x" * 410_000), 2)
    answer = make(Guard="none", GuardTable="")(event(put(item("a"), 1), broken, put(item("c"), 3)), Context())
    assert answer["batchItemFailures"] == [{"itemIdentifier": broken["dynamodb"]["SequenceNumber"]}]
    assert sorted(found["id"]["S"] for found in engine.items(replica, REGION)) == ["a", "c"]


def test_a_guard_table_without_its_ttl_fails_the_function(make, engine):
    plain = engine.create_table(region=REGION)
    with pytest.raises(UsageError, match="TTL"):
        make(Guard="sequence", GuardTable=plain)(event(put(item("a"))), Context())
