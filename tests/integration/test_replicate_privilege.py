"""The policies printed for ``replicate`` against the calls of its workers: enough, and nothing that is not used."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from moto.dynamodb.models import dynamodb_backends
from moto.s3.models import s3_backends
from moto.sqs.models import sqs_backends

from asyncrep.aws.lease import KEY, SHARD_END, Lease, attributes
from asyncrep.aws.leases import TASK_PREFIX
from tests.support.cli import Cli
from tests.support.iam import ACCOUNT, allows, judging_aws, set_items, uses
from tests.support.scenario import item

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping

    from tests.support.cli import Ran
    from tests.support.iam import Call, JudgingAws
    from tests.support.values import Item

    Policy = Mapping[str, Any]
    Played = tuple[Ran, list[Call]]

SOURCE, DESTINATION, THIRD = "us-east-1", "eu-west-1", "ap-south-1"
GUARD = "asyncrep-guard"
TABLES = (f"{SOURCE}/orders", f"{DESTINATION}/orders")
FOLLOW = ("replicate", *TABLES, "--poll", "0.1")
LETTERS = ("--dead-letter", "s3://kept/letters")
STALE = "shardId-00000000000000000000-00000000"

OLD = [item("a", version=1), item("gone", version=9)]
"""What a destination holds that is not empty: of what the source puts and deletes."""


@dataclass(frozen=True)
class State:
    """What a worker finds when it begins.

    Attributes:
        begun: whether its task was begun before, by a worker that copied the items: then there are the lease
            table, with the lease of a shard that is gone, and the guard table.
        replica: what the destinations hold.
    """

    begun: bool
    replica: tuple[Item, ...] = ()


NEW, FILLED, BEGUN = State(begun=False), State(False, tuple(OLD)), State(True, tuple(OLD))


@dataclass(frozen=True)
class Scenario:
    """A command line, and what it has to meet so that it does all that it may do.

    Attributes:
        states: it is run once in each.
    """

    command: tuple[str, ...]
    states: tuple[State, ...] = (BEGUN, NEW)

    def __str__(self) -> str:
        return " ".join(self.command[1:]).replace(" ".join(FOLLOW[1:]), "").strip() or "plain"


JUDGED = Scenario((*FOLLOW, "--guard", "version", "--bootstrap", *LETTERS), (BEGUN, FILLED, NEW))
QUEUED = (*FOLLOW, "--guard", "version", "--metric", "Mirrors", "--dead-letter")
LOOK = Scenario((*FOLLOW, "--status"), (BEGUN,))
SCENARIOS = [
    Scenario(FOLLOW),
    Scenario((*FOLLOW, "--bootstrap"), (BEGUN, FILLED, NEW)),
    Scenario((*FOLLOW, "--restart", "--yes", "--force-global-table"), (BEGUN, NEW)),
    Scenario((*FOLLOW, "--guard", "sequence", "--guard-table", f"{DESTINATION}/sequences")),
    Scenario((*FOLLOW, "--guard", "sequence", "--event", "INSERT")),
    Scenario((*FOLLOW, "--guard", "version", "--event", "REMOVE")),
    Scenario((*FOLLOW, "--guard", "version", "--event", "INSERT", *LETTERS)),
    Scenario((*FOLLOW, "--task-name", "nightly", "--lease-table-region", THIRD, "--where", "version>=2",
              "--guard", "sequence", f"{DESTINATION}/copies", f"{THIRD}/orders")),
    JUDGED,
    LOOK,
]  # fmt: skip


def backend(region: str) -> Any:
    return dynamodb_backends[ACCOUNT][region]


def make(region: str, name: str, *, key: str = "id", ttl: str = "ttl", stream: bool = False) -> None:
    """Make a table behind the back of whoever uses it."""
    view = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    backend(region).create_table(
        name, [{"AttributeName": key, "KeyType": "HASH"}], None, [{"AttributeName": key, "AttributeType": "S"}],
        None, None, view if stream else None, "PAY_PER_REQUEST", None, [], None, None,
    )  # fmt: skip
    backend(region).update_time_to_live(name, {"Enabled": True, "AttributeName": ttl})


def lease_tables() -> Iterator[tuple[Any, str]]:
    for region in (SOURCE, DESTINATION, THIRD):
        yield from ((backend(region), name) for name in backend(region).tables if name.startswith(TASK_PREFIX))


def shard() -> Any:
    return backend(SOURCE).tables["orders"].stream_shard


def begin(state: State, task: tuple[str, str]) -> None:
    """Let a worker find a state, and a source with changes of all kinds."""
    for region in (SOURCE, DESTINATION, THIRD):
        backend(region).tables.clear()
    make(SOURCE, "orders", stream=True)
    for region, name in ((DESTINATION, "orders"), (DESTINATION, "copies"), (THIRD, "orders")):
        make(region, name)
        set_items(region, name, state.replica)
    if state.begun:
        make(task[0], task[1], key=KEY)
        make(DESTINATION, "sequences", ttl="expires")
        for region in (DESTINATION, THIRD):
            make(region, GUARD, ttl="expires")
        gone = Lease(STALE, SHARD_END)
        for lease in (gone, Lease(shard().id, "TRIM_HORIZON", catching_up=True)):
            backend(task[0]).tables[task[1]].put_item({KEY: {"S": lease.key}, **attributes(lease)})
    source = backend(SOURCE).tables["orders"]
    for each in (item("a", version=1), item("a", version=2), item("gone", version=2), item("b", version=1),
                 item("odd"), item("here", version=1)):  # fmt: skip
        source.put_item(each)
    for key in ("gone", "here"):
        source.delete_item(next(each for each in source.items if each.value == key), None)


def done() -> bool:
    """Whether a worker has nothing left to do; then its lease is renewed behind its back."""
    last = shard().starting_sequence_number + len(shard().items) - 1
    for region, name in lease_tables():
        for row in region.tables[name].items.values():
            attrs = row.attrs
            if attrs["checkpoint"].value == f"{last:021}" and "catchingUp" not in attrs:
                attrs["leaseCounter"].value = str(int(attrs["leaseCounter"].value) + 1)
                return True
    return False
