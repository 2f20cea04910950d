"""The zip of ``make lambda`` is all that a function needs: it runs in a process that has nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from asyncrep.items.incremental import object_name
from tests.support import engines
from tests.support.buckets import bucket_on
from tests.support.lambdas import SUCCESS, event, put, remove
from tests.support.scenario import item, key

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_lambda.py"
REGION = "eu-west-1"

_INVOKE = """
import importlib, json, sys
folder, module, name = sys.argv[1:]
sys.path.insert(0, folder)
handler = getattr(importlib.import_module(module), name)
answers = [handler(event, None) for event in json.load(sys.stdin)]
foreign = sorted(each.__file__ for each in list(sys.modules.values())
                 if "site-packages" in str(getattr(each, "__file__", "")))
print(json.dumps([answers, foreign, sorted({each.partition(".")[0] for each in sys.modules})]))
"""


def build(path):
    return subprocess.run(
        [sys.executable, SCRIPT, "--output", path], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("lambda") / "built" / "function.zip"
    told = build(path)
    assert str(path) in told
    assert " MB, unpacked " in told
    return path


@pytest.fixture(scope="module")
def function(archive, tmp_path_factory):
    """Call a handler of the zip in a process of its own, which sees no other package."""
    folder = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)

    def call(name, events, **environment):
        python = [sys.executable, "-I", "-S", "-W", "error::ResourceWarning"]
        ran = subprocess.run(
            [*python, "-c", _INVOKE, str(folder), "asyncrep.handlers.entry", name],
            env=os.environ | {"AWS_LAMBDA_FUNCTION_NAME": "replicator"} | environment,
            input=json.dumps(events),
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert "Warning" not in ran.stderr, ran.stderr
        answers, foreign, modules = json.loads(ran.stdout)
        assert not foreign
        assert not {"typer", "rich", "uvloop", "moto", "pip"} & set(modules)
        return answers

    return call


def test_it_holds_what_a_handler_needs_and_nothing_else(archive):
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        services = {
            name.split("/")[2] for name in names if name.startswith("botocore/data/") and name.count("/") > 3
        }
        dates = {entry.date_time for entry in opened.infolist()}
    assert services == {"cloudwatch", "dynamodb", "dynamodbstreams", "s3", "sqs", "sts"}
    assert {
        "botocore/data/endpoints.json",
        "botocore/data/partitions.json",
        "botocore/data/_retry.json",
    } < set(names)
    assert "asyncrep/cost/prices.toml" in names
    unwanted = ("typer/", "rich/", "uvloop/", "moto/", "asyncrep/cli/", "asyncrep/sandbox/")
    assert not [
        name for name in names if name.startswith(unwanted) or "__pycache__" in name or "/tests/" in name
    ]
    assert (names, len(dates)) == (sorted(names), 1)
    assert archive.stat().st_size < 10_000_000


def test_the_same_sources_make_the_same_bytes(archive, tmp_path):
    again = tmp_path / "again.zip"
    build(again)
    assert again.read_bytes() == archive.read_bytes()


def test_a_function_of_it_replicates_a_put_and_a_deletion(function, moto_url):
    engine = engines.moto(moto_url)
    table = engine.create_table(items=[item("b")], region=REGION)
    try:
        answers = function(
            "replicate",
            [event(put(item("a", n=1), 1)), event(remove(item("b"), 2)), {}],
            ReplicaTable=table,
            ReplicaRegion=REGION,
            ReplicaEndpoint=moto_url,
        )
        assert answers == [SUCCESS] * 3
        assert engine.items(table, REGION) == [item("a", n=1)]
    finally:
        engine.delete_tables()


def test_a_function_of_it_backs_up_every_change(function, moto_url):
    engine = engines.moto(moto_url)
    table = engine.create_table(region=REGION)
    images = [item("a", n=1), item("a", n=2), item("b")]
    records = [put(image, number, table=table) for number, image in enumerate(images)]
    for record in records:
        record["eventSourceARN"] = record["eventSourceARN"].replace("us-east-1", REGION)
    try:
        with bucket_on(moto_url) as bucket:
            answers = function(
                "backup",
                [event(*records), event(records[0]), {}],
                BackupBucket=bucket.name,
                BackupPrefix="/daily/",
                BackupRegion="us-east-1",
                AWS_ENDPOINT_URL=moto_url,
            )
            assert answers == [SUCCESS] * 3
            name = f"daily/{table}/{object_name(key('a'))}"
            assert bucket.history(name) == [item("a", n=1), item("a", n=2)]
            assert len(bucket.names()) == 2
    finally:
        engine.delete_tables()


def test_a_function_of_it_checks_a_segment(function, moto_url):
    engine = engines.moto(moto_url)
    ours = engine.create_table(items=[item("a"), item("b")], region=REGION)
    theirs = engine.create_table(items=[item("a")], region=REGION)
    request = {"primary": f"{REGION}/{ours}", "replica": f"{REGION}/{theirs}", "segment": 0, "segments": 1}
    request |= {"primary_endpoint": moto_url, "replica_endpoint": moto_url, "settle": 0}
    try:
        [answer] = function("segment", [request])
        assert (answer["done"], answer["report"]["missing"], answer["report"]["matched"]) == (True, 1, 1)
    finally:
        engine.delete_tables()
