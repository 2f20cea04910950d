"""The policies printed for ``replicate`` against the calls of its workers: enough, and nothing that is not used."""

from __future__ import annotations

import json
import signal
import threading
from dataclasses import dataclass, field
from itertools import islice
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
    from collections.abc import Iterator, Mapping, Sequence

    from tests.support.cli import Ran
    from tests.support.iam import Call, JudgingAws
    from tests.support.values import Item

    Policy = Mapping[str, Any]

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
        begun: whether its task was begun before: then there are the lease table, with the lease of a shard that
            is gone, and the guard table.
        replica: what the destinations hold.
        catching_up: whether items were copied, and what happened meanwhile is still to be seen to.
    """

    begun: bool
    replica: tuple[Item, ...] = ()
    catching_up: bool = False


NEW, FILLED = State(begun=False), State(False, tuple(OLD))
BEGUN, COPIED = State(True, tuple(OLD)), State(True, tuple(OLD), catching_up=True)


@dataclass(frozen=True)
class Scenario:
    """A command line, and what it has to meet so that it does all that it may do.

    Attributes:
        states: it is run once in each; tables are made in those only that are not begun.
    """

    command: tuple[str, ...]
    states: tuple[State, ...] = (COPIED,)

    def __str__(self) -> str:
        words = [word for word in self.command[len(FOLLOW) :] if not set(word) & set(":/")]
        return " ".join(words) or ("plain" if self.command == FOLLOW else "backup")


GUARDED = (*FOLLOW, "--guard", "version")
JUDGED = Scenario((*GUARDED, "--bootstrap", *LETTERS), (COPIED, FILLED, NEW))
QUEUED = (*GUARDED, "--metric", "Mirrors", "--dead-letter")
SCENARIOS = [
    Scenario(FOLLOW),
    Scenario((*FOLLOW, "--restart", "--yes", "--force-global-table"), (BEGUN,)),
    Scenario((*FOLLOW, "--guard", "sequence", "--guard-table", f"{DESTINATION}/sequences"), (COPIED, NEW)),
    Scenario((*FOLLOW, "--guard", "sequence", "--event", "INSERT"), (BEGUN,)),
    Scenario((*GUARDED, "--event", "REMOVE"), (BEGUN,)),
    Scenario((*GUARDED, "--event", "INSERT", *LETTERS), (BEGUN,)),
    Scenario((*FOLLOW, "--task-name", "nightly", "--lease-table-region", THIRD, "--where", "version>=2",
              "--guard", "sequence", f"{DESTINATION}/copies", f"{THIRD}/orders")),
    JUDGED,
    Scenario((*FOLLOW, "s3://kept/incr"), (COPIED, BEGUN)),
    Scenario((*FOLLOW, "--status")),
]  # fmt: skip
_HEARD_SECONDS = 0.4
_TOGETHER = 8  # workers played in one process, which saves the start-up of all but one
MAKING = {"dynamodb:CreateTable", "dynamodb:UpdateTimeToLive"}


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
        yield from (
            (backend(region), name) for name in backend(region).tables if name.startswith(TASK_PREFIX)
        )


def shard() -> Any:
    return backend(SOURCE).tables["orders"].stream_shard


def begin(run: Run) -> None:
    """Let a worker find a state, and a source with changes of all kinds."""
    state, (lease_region, lease_table) = run.state, run.task
    for region in (SOURCE, DESTINATION, THIRD):
        backend(region).tables.clear()
    make(SOURCE, "orders", stream=True)
    for region, name in ((DESTINATION, "orders"), (DESTINATION, "copies"), (THIRD, "orders")):
        make(region, name)
        set_items(region, name, state.replica)
    if state.begun:
        make(lease_region, lease_table, key=KEY)
        make(DESTINATION, "sequences", ttl="expires")
        for region in (DESTINATION, THIRD):
            make(region, GUARD, ttl="expires")
        gone = Lease(key=STALE, checkpoint=SHARD_END)
        for lease in (gone, Lease(key=shard().id, checkpoint="TRIM_HORIZON", catching_up=state.catching_up)):
            backend(lease_region).tables[lease_table].put_item({KEY: {"S": lease.key}, **attributes(lease)})
    source = backend(SOURCE).tables["orders"]
    for each in (item("a", version=1), item("a", version=2), item("gone", version=2), item("b", version=1),
                 item("odd"), item("here", version=1)):  # fmt: skip
        source.put_item(each)
    for key in ("gone", "here"):
        source.delete_item(next(each for each in source.items if each.value == key), None)


def is_done() -> bool:
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
        is_held: whether it waits for what its policy lacks, until it is told to stop.
    """

    scenario: Scenario
    policy: Policy
    state: State
    is_held: bool = False
    is_stopped: bool = field(default=False, init=False)

    @property
    def task(self) -> tuple[str, str]:
        """Region and name of its lease table."""
        [arn] = {each["Resource"] for each in self.policy["Statement"] if TASK_PREFIX in each["Resource"]}
        _, _, _, region, _, table = arn.split(":")
        return region, table.removeprefix("table/")

    def is_over(self, call: Call) -> bool:
        """Whether it has done all it can do, as of a call that was answered."""
        if self.is_held:
            return not allows(self.policy, call)
        return call.action == "dynamodb:UpdateItem" and TASK_PREFIX in call.resource and is_done()


@dataclass(frozen=True)
class Played:
    """A run that has ended."""

    run: Run
    ran: Ran
    calls: list[Call]


class Stage:
    """Plays workers as users that have nothing but a policy, each until it is done."""

    def __init__(self, aws: JudgingAws, cli: Cli) -> None:
        self._aws = aws
        self._cli = cli

    def printed(self, scenarios: Sequence[Scenario]) -> list[Policy]:
        """The policies of command lines."""
        told = self._cli.each(*(("iam-policy", "--account", ACCOUNT, *each.command) for each in scenarios))
        assert [(ran.code, ran.stderr) for ran in told] == [(0, "")] * len(scenarios)
        return [json.loads(ran.stdout) for ran in told]

    def play(self, runs: Sequence[Run]) -> list[Played]:
        """Play runs: how each ended, and what it called."""
        parts = [runs[first : first + _TOGETHER] for first in range(0, len(runs), _TOGETHER)]
        return [played for part in parts for played in self._play_together(part)]

    def _play_together(self, runs: Sequence[Run]) -> Iterator[Played]:
        users = [self._aws.user(run.policy) for run in runs]
        by_key = {user["AWS_ACCESS_KEY_ID"]: run for user, run in zip(users, runs, strict=True)}
        processes: list[subprocess.Popen[str]] = []

        def stop_if_over(call: Call, _body: bytes) -> None:
            run = by_key[call.key]
            if not run.is_stopped and run.is_over(call):
                run.is_stopped = True
                # What waits has yet to hear of the refusal, and to say so.
                pause = _HEARD_SECONDS if run.is_held else 0.0
                threading.Timer(pause, processes[0].send_signal, [signal.SIGTERM]).start()

        self._aws.before_run = lambda key: begin(by_key[key])
        self._aws.after = stop_if_over
        commands = [run.scenario.command for run in runs]
        ended = self._cli.each(*commands, environments=users, started=processes.append)
        for run, ran, user in zip(runs, ended, users, strict=True):
            yield Played(run, ran, self._aws.of(user))


@pytest.fixture(scope="module")
def aws() -> Iterator[JudgingAws]:
    """One for all tests, with a bucket and a queue for dead letters."""
    with judging_aws() as aws:
        s3_backends[ACCOUNT]["aws"].create_bucket("kept", SOURCE)
        sqs_backends[ACCOUNT][SOURCE].create_queue("dead")
        yield aws


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, aws: JudgingAws) -> Stage:
    return Stage(aws, Cli(tmp_path_factory.mktemp("policy"), {"AWS_ENDPOINT_URL": aws.url}))


@pytest.fixture(scope="module")
def full(stage: Stage, aws: JudgingAws) -> list[list[Played]]:
    """Every scenario played in each of its states with its whole policy; the last one has a queue."""
    scenarios = [*SCENARIOS, Scenario((*QUEUED, f"{aws.url}/{ACCOUNT}/dead"))]
    policies = stage.printed(scenarios)
    runs = [
        [Run(each, policy, state) for state in each.states]
        for each, policy in zip(scenarios, policies, strict=True)
    ]
    played = iter(stage.play([run for some in runs for run in some]))
    return [list(islice(played, len(some))) for some in runs]


@pytest.mark.parametrize("number", range(len(SCENARIOS) + 1), ids=[*map(str, SCENARIOS), "queue and metric"])
def test_a_policy_is_enough_and_nothing_in_it_is_unused(full: list[list[Played]], number: int) -> None:
    played = full[number]
    policy, states = played[0].run.policy, [each.run.state for each in played]
    for each in played:
        assert each.ran.code == 0, each.ran
        assert not {"not authorized", "stalled"} & set(each.ran.stderr.split())
    calls = [call for each in played for call in each.calls]
    assert {call.pair for call in calls if not allows(policy, call)} == set()
    unused = {pair for pair, is_used in uses(policy, calls).items() if not is_used}
    made = {pair for pair in uses(policy, []) if pair[0] in MAKING}
    assert unused == (set() if NEW in states else made)


# ── What is missing

HELD, TOLD, UNSAID = "held", "told", "unsaid"
"""Without a permission a worker waits and says so, goes on and says so, or goes on as if nothing were missing."""

GOES_ON = [
    (JUDGED, "ReadSource", "dynamodb:BatchGetItem", HELD),
    (JUDGED, "ReadSource", "dynamodb:DescribeTimeToLive", TOLD),
    (JUDGED, "ReadDestination", "dynamodb:DescribeTimeToLive", TOLD),
    (JUDGED, "ReadGlobalTable", "dynamodb:DescribeGlobalTable", TOLD),
    (JUDGED, "WriteDestination", "dynamodb:ConditionCheckItem", HELD),
    (JUDGED, "WriteDestination", "dynamodb:DeleteItem", HELD),
    (JUDGED, "WriteDestination", "dynamodb:PutItem", HELD),
    (JUDGED, "WriteGuard", "dynamodb:ConditionCheckItem", HELD),
    (JUDGED, "WriteGuard", "dynamodb:DescribeTimeToLive", UNSAID),
    (JUDGED, "WriteGuard", "dynamodb:UpdateItem", HELD),
    (JUDGED, "DeadLetterObjects", "s3:PutObject", HELD),
    (SCENARIOS[0], "WriteDestination", "dynamodb:BatchWriteItem", HELD),
    (SCENARIOS[0], "ReadDestination", "dynamodb:DescribeTimeToLive", UNSAID),
    (None, "SendDeadLetters", "sqs:SendMessage", HELD),
    (None, "Metrics", "cloudwatch:PutMetricData", TOLD),
]  # fmt: skip
"""Permissions without which a worker does not end; None stands for the scenario with queue and metric."""
READING = [
    (JUDGED, "ReadStream", "dynamodb:GetRecords", HELD),
    (JUDGED, "ReadStream", "dynamodb:GetShardIterator", HELD),
]


def crippled(
    full: Sequence[list[Played]], scenario: Scenario | None, sid: str, action: str, outcome: str = ""
) -> Run:
    """A run without one permission, in a state in which that is missed."""
    played = full[-1 if scenario is None else SCENARIOS.index(scenario)]
    whole = played[0].run
    policy = without(whole.policy, sid, action)
    missed = [each.run.state for each in played if not all(allows(policy, call) for call in each.calls)]
    state = missed[0] if outcome in {HELD, ""} else missed[-1]
    return Run(whole.scenario, policy, state, is_held=outcome == HELD)


def without(policy: Policy, sid: str, action: str) -> Policy:
    """The policy without one action of one statement."""
    assert any(each["Sid"] == sid and action in each["Action"] for each in policy["Statement"])
    left = [
        {**each, "Action": [name for name in each["Action"] if (each["Sid"], name) != (sid, action)]}
        for each in policy["Statement"]
    ]
    return {**policy, "Statement": [each for each in left if each["Action"]]}


def test_without_some_permissions_a_worker_goes_on_or_waits_and_says_what_it_misses(
    stage: Stage, full: list[list[Played]]
) -> None:
    runs = [crippled(full, *case) for case in GOES_ON]
    for (_, sid, action, outcome), played in zip(GOES_ON, stage.play(runs), strict=True):
        what = f"{action} of {sid}: {played.ran}"
        assert played.ran.code == 0, what
        if outcome == HELD:
            refusals = (
                f"is not authorized to perform: {action}",
                f"{action[3:]} on s3://kept/letters: AccessDenied",
            )
            assert any(words in played.ran.stderr for words in refusals), what
        else:
            told = {"may not", "Metrics cannot be published"}
            assert any(words in played.ran.stderr for words in told) == (outcome == TOLD), what


def test_without_what_reads_the_stream_a_worker_waits_and_says_what_it_misses(
    stage: Stage, full: list[list[Played]]
) -> None:
    runs = [crippled(full, *case) for case in READING]
    for (_, _, action, _), played in zip(READING, stage.play(runs), strict=True):
        assert f"is not authorized to perform: {action}" in played.ran.stderr, played.ran


@pytest.mark.long
def test_without_any_other_permission_a_worker_fails_and_names_it(
    stage: Stage, full: list[list[Played]]
) -> None:
    policy = full[SCENARIOS.index(JUDGED)][0].run.policy
    others = [
        (each["Sid"], action)
        for each in policy["Statement"]
        for action in each["Action"]
        if not any(case[:3] == (JUDGED, each["Sid"], action) for case in (*GOES_ON, *READING))
    ]
    assert len(others) >= 15
    runs = [crippled(full, JUDGED, *other) for other in others]
    for (sid, action), played in zip(others, stage.play(runs), strict=True):
        what = f"{action} of {sid}: {played.ran}"
        assert played.ran.code == 3, what
        [sentence] = [line for line in played.ran.stderr.splitlines() if line.startswith("Error: ")]
        assert f"is not authorized to perform: {action} on resource: arn:" in sentence, what
