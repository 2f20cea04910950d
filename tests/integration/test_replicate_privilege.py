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
        gone = Lease(key=STALE, checkpoint=SHARD_END)
        for lease in (gone, Lease(key=shard().id, checkpoint="TRIM_HORIZON", catching_up=True)):
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


@dataclass
class Run:
    """A worker that is to be run.

    Attributes:
        missing: what its policy lacks.
        is_held: whether it goes on without that all the same, until it is told to stop.
    """

    command: tuple[str, ...]
    policy: Policy
    state: State
    missing: tuple[str, str] | None = None
    is_held: bool = False
    is_stopped: bool = field(default=False, init=False)

    @property
    def task(self) -> tuple[str, str]:
        """Region and name of its lease table."""
        [arn] = [each["Resource"] for each in self.policy["Statement"] if TASK_PREFIX in each["Resource"]][:1]
        _, _, _, region, _, table = arn.split(":")
        return region, table.removeprefix("table/")

    def is_over(self, call: Call) -> bool:
        """Whether it has done all it can do, as of a call that was answered."""
        if self.is_held:
            return call.pair == self.missing
        return call.action == "dynamodb:UpdateItem" and TASK_PREFIX in call.resource and done()


class Stage:
    """Plays workers as users that have nothing but a policy, all in one process, each until it is done."""

    def __init__(self, aws: JudgingAws, cli: Cli) -> None:
        self.aws = aws
        self.cli = cli

    def printed(self, *commands: tuple[str, ...]) -> list[Policy]:
        """The policies of command lines."""
        told = self.cli.each(*(("iam-policy", "--account", ACCOUNT, *command) for command in commands))
        assert [(ran.code, ran.stderr) for ran in told] == [(0, "")] * len(commands)
        return [json.loads(ran.stdout) for ran in told]

    def play(self, *runs: Run) -> list[Played]:
        """Play runs: how each ended, and what it called."""
        users = [self.aws.user(run.policy) for run in runs]
        by_key = {user["AWS_ACCESS_KEY_ID"]: run for user, run in zip(users, runs, strict=True)}
        processes: list[subprocess.Popen[str]] = []

        def before(key: str) -> None:
            begin(by_key[key].state, by_key[key].task)

        def after(call: Call, _body: bytes) -> None:
            run = by_key[call.key]
            if not run.is_stopped and run.is_over(call):
                run.is_stopped = True
                processes[0].send_signal(signal.SIGTERM)

        self.aws.before_run, self.aws.after = before, after
        ended = self.cli.each(
            *(run.command for run in runs), environments=users, started=processes.append
        )
        return [(ran, self.aws.of(user)) for ran, user in zip(ended, users, strict=True)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with judging_aws() as aws:
        s3_backends[ACCOUNT]["aws"].create_bucket("kept", SOURCE)
        sqs_backends[ACCOUNT][SOURCE].create_queue("dead")
        yield Stage(aws, Cli(tmp_path_factory.mktemp("policy"), {"AWS_ENDPOINT_URL": aws.url}))


@pytest.fixture(scope="module")
def queued(stage: Stage) -> Scenario:
    return Scenario((*QUEUED, f"{stage.aws.url}/{ACCOUNT}/dead"))


@pytest.fixture(scope="module")
def printed(stage: Stage, queued: Scenario) -> dict[tuple[str, ...], Policy]:
    commands = [each.command for each in (*SCENARIOS, queued)]
    return dict(zip(commands, stage.printed(*commands), strict=True))


Played_ = "dict[tuple[str, ...], list[tuple[Ran, list[Call]]]]"


@pytest.fixture(scope="module")
def full(stage: Stage, queued: Scenario, printed: Any) -> dict[tuple[str, ...], list[Played]]:
    """Every scenario played in each of its states with its whole policy."""
    runs = [
        Run(each.command, printed[each.command], state) for each in (*SCENARIOS, queued) for state in each.states
    ]
    played: dict[tuple[str, ...], list[Played]] = {}
    for run, how in zip(runs, stage.play(*runs), strict=True):
        played.setdefault(run.command, []).append(how)
    return played


def judge(policy: Policy, runs: list[Played]) -> None:
    for ran, _ in runs:
        assert ran.code == 0, ran
        assert "not authorized" not in ran.stderr
        assert "stalled" not in ran.stderr
    calls = [call for _, made in runs for call in made]
    assert {call.pair for call in calls if not allows(policy, call)} == set()
    used = uses(policy, calls)
    assert [pair for pair, is_used in used.items() if not is_used] == []


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_policy_is_enough_and_nothing_in_it_is_unused(printed: Any, full: Any, scenario: Scenario) -> None:
    judge(printed[scenario.command], full[scenario.command])


def test_q(printed: Any, full: Any, queued: Scenario) -> None:
    judge(printed[queued.command], full[queued.command])
