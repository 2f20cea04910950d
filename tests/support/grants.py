"""What roles may do, and what the code calls: both as IAM sees it."""

from __future__ import annotations

import ast
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore import xform_name

import asyncrep
from asyncrep.aws.client import WireClient
from tests.support.cloudformation import ACCOUNT
from tests.support.iam import Call

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pytest

    from asyncrep.cli import permissions
    from tests.support.cloudformation import Stack
    from tests.support.engines import Engine

AWS = Path(asyncrep.__file__).parent / "aws"
TABLES = f"arn:aws:dynamodb:{{}}:{ACCOUNT}:table/{{}}"


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def granted(stack: Stack, role: str) -> set[tuple[str, str]]:
    """Every action that a role may do, with what it may do it on."""
    return pairs(stack.policy(role))


def pairs(policy: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Every action that a policy allows, with what it allows it on."""
    return {
        (action, resource)
        for statement in policy["Statement"]
        for action in statement["Action"]
        for resource in _listed(statement["Resource"])
    }


def actions(stack: Stack, role: str, sid: str) -> set[str]:
    return set(stack.statements(role)[sid]["Action"])


def of(*some: permissions.Permission) -> set[str]:
    """The actions of the permissions that commands need."""
    return {each.action for each in some}


def called_in(module: str, service: str, prefix: str) -> set[str]:
    """The actions of a service that a module of ours calls, by the names of the client's methods in it."""
    operations = botocore.session.Session().get_service_model(service).operation_names
    names = {xform_name(operation): operation for operation in operations}
    words = {
        word
        for node in ast.walk(ast.parse((AWS / module).read_text(encoding="utf-8")))
        for word in (getattr(node, "attr", None), getattr(node, "value", None))
        if isinstance(word, str)
    }
    called = {names[word] for word in words if word in names} | {each for each in words if each in operations}
    return {f"{prefix}:{operation}" for operation in called}


@contextmanager
def tables(engine: Engine, *places: tuple[str, str], key: str = "id", **more: Any) -> Iterator[Engine]:
    """Tables with one hash key, for as long as they are needed: a process has one moto for all its servers."""
    definition = {
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
        **more,
    }
    for region, name in places:
        engine.call("CreateTable", {"TableName": name, **definition}, region)
    try:
        yield engine
    finally:
        for region, name in places:
            engine.call("DeleteTable", {"TableName": name}, region)


class Recorded:
    """What a handler calls on DynamoDB, as IAM sees it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def note(self, operation: str, region: str, body: Mapping[str, Any]) -> None:
        if operation == "TransactWriteItems":
            for action in body["TransactItems"]:
                [(kind, members)] = action.items()
                self._add(f"{kind}Item", region, members["TableName"])
            return
        for table in body.get("RequestItems") or [body["TableName"]]:
            self._add(operation, region, table)

    def _add(self, operation: str, region: str, table: str) -> None:
        self.calls.append(Call("", f"dynamodb:{operation}", TABLES.format(region, table)))


def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Take note of all calls on tables, as long as the patches hold."""
    recorded = Recorded()
    call, ask = WireClient.call, WireClient.ask

    async def noted_call(self: Any, operation: str, body: bytes, *rest: Any) -> Any:
        recorded.note(operation, self._client.meta.region_name, json.loads(body))
        return await call(self, operation, body, *rest)

    async def noted_ask(self: Any, operation: str, *rest: Any, **parameters: Any) -> Any:
        recorded.note(operation, self._client.meta.region_name, parameters)
        return await ask(self, operation, *rest, **parameters)

    monkeypatch.setattr(WireClient, "call", noted_call)
    monkeypatch.setattr(WireClient, "ask", noted_ask)
    return recorded
