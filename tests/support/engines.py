"""DynamoDB engines the suite runs against: moto, dynalite and any endpoint given by the environment."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.values import Item

REGION = "us-east-1"
CREDENTIALS = Credentials("testing", "testing")
CUSTOM_ENDPOINT = "ASYNCREP_TEST_ENDPOINT"
REQUIRE_DYNALITE = "ASYNCREP_REQUIRE_DYNALITE"
DYNALITE = Path(__file__).parents[2] / ".node" / "node_modules" / ".bin" / "dynalite"

_BATCH_WRITES = 25
_PATIENCE_SECONDS = 20.0


class EngineError(Exception):
    """An engine answered with an error; `code` is its short name, `answer` all it said."""

    def __init__(self, status: int, answer: dict[str, Any]) -> None:
        self.status = status
        self.answer = answer
        self.code = answer.get("__type", "").rpartition("#")[2]
        super().__init__(f"{status} {self.code}: {answer.get('message', answer.get('Message'))}")


@dataclass
class Engine:
    """One running engine and the tables a test made in it. Items are in wire form, as they travel.

    Attributes:
        supports_binary_key_scan: whether a table with a binary hash key can be scanned in segments.
        supports_document_conditions: whether a condition can compare a list or a map.
        supports_failed_condition_image: whether a failed condition answers the item it failed on.
    """

    name: str
    url: str
    supports_binary_key_scan: bool = True
    supports_document_conditions: bool = True
    supports_failed_condition_image: bool = True
    _tables: list[tuple[str, str]] = field(default_factory=list)

    def call(self, operation: str, body: dict[str, Any], region: str = REGION) -> dict[str, Any]:
        """The engine's own answer to one request, nothing decoded but the JSON.

        Raises:
            EngineError: for an answer that is not a success.
        """
        request = AWSRequest(
            "POST",
            self.url,
            data=json.dumps(body).encode(),
            headers={
                "Content-Type": "application/x-amz-json-1.0",
                "X-Amz-Target": f"DynamoDB_20120810.{operation}",
            },
        )
        SigV4Auth(CREDENTIALS, "dynamodb", region).add_auth(request)
        outgoing = urllib.request.Request(self.url, request.data, dict(request.headers.items()))
        try:
            with urllib.request.urlopen(outgoing, timeout=_PATIENCE_SECONDS) as answer:
                decoded: dict[str, Any] = json.load(answer)
                return decoded
        except urllib.error.HTTPError as refusal:
            with refusal:
                content = refusal.read()
            raise EngineError(refusal.code, _error_body(content)) from None

    def create_table(
        self,
        *,
        hash: tuple[str, str] = ("id", "S"),
        range: tuple[str, str] | None = None,
        items: list[Item] | None = None,
        region: str = REGION,
        stream: str | None = None,
    ) -> str:
        """Make a table that no other test knows, wait until it is active, and return its name."""
        keys = [hash] if range is None else [hash, range]
        name = f"test-{uuid.uuid4().hex[:12]}"
        body: dict[str, Any] = {
            "TableName": name,
            "AttributeDefinitions": [
                {"AttributeName": attribute, "AttributeType": kind} for attribute, kind in keys
            ],
            "KeySchema": [
                {"AttributeName": attribute, "KeyType": role}
                for (attribute, _), role in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
            "BillingMode": "PAY_PER_REQUEST",
        }
        if stream is not None:
            body["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": stream}
        self.call("CreateTable", body, region)
        self._tables.append((name, region))
        self._wait_until_active(name, region)
        if items:
            self.put(name, items, region)
        return name

    def _wait_until_active(self, name: str, region: str) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self.call("DescribeTable", {"TableName": name}, region)["Table"]["TableStatus"] != "ACTIVE":
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} did not become active in {self.name}")
            time.sleep(0.02)

    def put(self, table: str, items: list[Item], region: str = REGION) -> None:
        """Write items in batches until none is left unprocessed."""
        waiting = [{"PutRequest": {"Item": item}} for item in items]
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while waiting:
            batch, waiting = waiting[:_BATCH_WRITES], waiting[_BATCH_WRITES:]
            answer = self.call("BatchWriteItem", {"RequestItems": {table: batch}}, region)
            left = answer.get("UnprocessedItems", {}).get(table, [])
            if left and time.monotonic() > deadline:
                raise TimeoutError(f"{len(left)} items stayed unprocessed in {self.name}")
            waiting += left

    def delete(self, table: str, keys: list[Item], region: str = REGION) -> None:
        """Delete items by key."""
        for key in keys:
            self.call("DeleteItem", {"TableName": table, "Key": key}, region)

    def items(self, table: str, region: str = REGION) -> list[Item]:
        """Every item of a table by consistent scan, in the engine's order and spelling."""
        body: dict[str, Any] = {"TableName": table, "ConsistentRead": True}
        found: list[Item] = []
        while True:
            answer = self.call("Scan", body, region)
            found += answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return found
            body["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def delete_table(self, name: str, region: str = REGION) -> None:
        """Remove a table that a test made."""
        self._tables.remove((name, region))
        self.call("DeleteTable", {"TableName": name}, region)

    def delete_tables(self) -> None:
        """Remove the tables made so far."""
        while self._tables:
            self.delete_table(*self._tables[-1])


def _error_body(content: bytes) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(content)
    except ValueError:
        return {"message": content[:200].decode(errors="replace")}
    return answer


def available() -> list[str]:
    """The engines this machine and environment offer; moto always."""
    return [
        "moto",
        *(["dynalite"] if DYNALITE.exists() else []),
        *(["custom"] if os.environ.get(CUSTOM_ENDPOINT) else []),
    ]


def missing() -> str | None:
    """Why the session must not start, when an engine it requires is not there."""
    if os.environ.get(REQUIRE_DYNALITE) == "1" and not DYNALITE.exists():
        return (
            f"{REQUIRE_DYNALITE}=1 but there is no {DYNALITE}: run npm install --prefix .node dynalite@4.0.0"
        )
    return None


def moto(url: str) -> Engine:
    """moto finds an item's segment by encoding its hash key as text, and fails when that is bytes."""
    return Engine("moto", url, supports_binary_key_scan=False)


def dynalite(url: str) -> Engine:
    """dynalite finds no two lists or maps equal, and knows no ReturnValuesOnConditionCheckFailure."""
    return Engine("dynalite", url, supports_document_conditions=False, supports_failed_condition_image=False)


def custom(url: str) -> Engine:
    """An endpoint that is expected to know everything."""
    return Engine("custom", url)


@contextmanager
def run_moto() -> Iterator[str]:
    """A moto server of one's own in this process; the value is its URL."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
        # stop() ends the loop and leaves the listening socket to the garbage collector.
        if server._server is not None:
            server._server.server_close()


@contextmanager
def run_dynalite() -> Iterator[str]:
    """A dynalite process with empty tables in memory; the value is its URL."""
    port = free_port()
    options = ["--host", "127.0.0.1", "--port", str(port)]
    for change in ("create", "delete", "update"):
        options += [f"--{change}TableMs", "0"]
    with subprocess.Popen([DYNALITE, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            greeting = process.stdout.readline() if process.stdout else ""
            if "listening" not in greeting:
                raise RuntimeError(f"dynalite did not start: {greeting!r}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(_PATIENCE_SECONDS)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
