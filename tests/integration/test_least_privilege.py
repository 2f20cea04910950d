"""The printed policies against the calls that commands make: enough, and nothing that is not used."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from moto.s3.models import s3_backends

from asyncrep.cli import permissions
from tests.support import engines
from tests.support.cli import Cli
from tests.support.iam import ACCOUNT, allows, judging_aws, set_items, uses
from tests.support.scenario import item, items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.support.cli import Ran
    from tests.support.iam import Call, JudgingAws
    from tests.support.values import Item

    State = tuple[list[Item], list[Item]]
    Policy = Mapping[str, Any]
    Printed = Mapping[tuple[str, ...], Policy]
    Played = tuple[Ran, list[Call]]

REGIONS = ("us-east-1", "eu-west-1")
ORDERS = tuple(f"{region}/orders" for region in REGIONS)
COPY = (ORDERS[0], "eu-west-1/copies")
CHECK = ("diff-tables", *ORDERS, "--settle", "0")
WITHOUT = "The credentials may not "
RECORD = '{"id":"k001"}'
WRITES = {each.action for each in (permissions.PUT, permissions.PATCH, permissions.DELETE, permissions.BULK)}
OPTIONAL = {
    each.action
    for each in vars(permissions).values()
    if isinstance(each, permissions.Permission) and each.is_optional
}

MUCH = items(8, v=1)
DRIFTED = (MUCH, [*MUCH[2:], item("k001", v=2), item("x", v=1)])
"""k000 is missing, k001 different, x extraneous."""
EMPTY: State = (MUCH, [])
KEPT = (MUCH[2:], MUCH)
REPAIRED: State = (MUCH, MUCH)
JOURNAL = "s3://kept/jobs/made"
_TOGETHER = 6  # scenarios played in one process, which saves the start-up of all but one


@dataclass(frozen=True)
class Scenario:
    """A command line, and what it has to meet so that it does all that it may do.

    Attributes:
        states: what primary and replica hold when it begins; it is run once for each.
        code: how each of these runs ends.
        meanwhile: what happens after calls.
        judged: whether it is also run without each single permission.
    """

    command: tuple[str, ...]
    code: int
    states: tuple[State, ...] = (DRIFTED,)
    meanwhile: Callable[[Call, bytes], None] = field(default=lambda _call, _body: None)
    judged: bool = False

    def __str__(self) -> str:
        return " ".join(
            word for word in self.command if not set(word) & set("/{") and word not in {"--settle", "0"}
        )


def primary_loses_what_is_put(call: Call, body: bytes) -> None:
    """Somebody deletes an item of the primary just after its copy was put."""
    if call.action == "dynamodb:PutItem":
        put = json.loads(body)["Item"]["id"]
        set_items(REGIONS[0], "orders", [each for each in MUCH if each["id"] != put])


SCENARIOS = [
    Scenario(CHECK, 1),
    Scenario((*CHECK, "--strategy", "batch-get"), 1),
    Scenario((*CHECK, "--sample", "1", "--segments", "4", "--max-cost", "1"), 1),
    Scenario((*CHECK, "--repair"), 0, judged=True),
    Scenario((*CHECK, "--repair", "--processes", "2"), 0),
    Scenario((*CHECK, "--repair", "--dry-run"), 1),
    Scenario((*CHECK, "--repair", "--no-delete"), 1, meanwhile=primary_loses_what_is_put),
    Scenario((*CHECK, "--repair", "--force-global-table"), 0),
    Scenario(("diff-tables", *COPY, "--settle", "0", "--repair"), 0),
    Scenario((*CHECK, "--metric", "Replicas"), 1),
    Scenario((*CHECK, "--backfill"), 0),
    Scenario((*CHECK, "--backfill", "--repair"), 0, (EMPTY, DRIFTED), judged=True),
    Scenario((*CHECK, "--job", "s3://kept/jobs/nightly"), 1),
    Scenario((*CHECK, "--repair", "--journal", "s3://kept/jobs/journal"), 0),
    Scenario(("repair", "d.jsonl", *ORDERS, "--settle", "0", "--max-delete", "9"), 0, judged=True),
    Scenario(("repair", "d.jsonl", *ORDERS, "--settle", "0", "--dry-run"), 1),
    Scenario(("undo", "j.jsonl"), 0, (REPAIRED,), judged=True),
    Scenario(("undo", "j.jsonl", "--dry-run"), 0, (REPAIRED,)),
    Scenario(("undo", JOURNAL, "--journal", "s3://kept/jobs/undone"), 0, (REPAIRED,)),
    Scenario(("jobs", "show", "s3://kept/jobs/done"), 0),
    Scenario(("jobs", "remove", "s3://kept/jobs/done"), 0),
    Scenario(("plan", *ORDERS), 0, judged=True),
    Scenario(("explain", *ORDERS, RECORD, "--settle", "0", "--journal", JOURNAL), 1),
    Scenario(("diff-record", *ORDERS, RECORD, "--settle", "0"), 1),
    Scenario(("replicate-record", *ORDERS, RECORD, "--settle", "0"), 0, (EMPTY, DRIFTED, KEPT), judged=True),
]


@pytest.fixture(scope="module")
def aws() -> Iterator[JudgingAws]:
    """One for all tests, with three tables: orders in two Regions and copies in the second."""
    with judging_aws() as aws:
        s3_backends[ACCOUNT]["aws"].create_bucket("kept", REGIONS[0])
        administrator = engines.moto(aws.url)
        for region, name in ((REGIONS[0], "orders"), (REGIONS[1], "orders"), (REGIONS[1], "copies")):
            administrator.call(
                "CreateTable",
                {
                    "TableName": name,
                    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                    "BillingMode": "PAY_PER_REQUEST",
                },
                region,
            )
            ttl = {"Enabled": True, "AttributeName": "ttl"}
            administrator.call(
                "UpdateTimeToLive", {"TableName": name, "TimeToLiveSpecification": ttl}, region
            )
        yield aws


class Stage:
    """Plays commands as users that have nothing but a policy."""

    def __init__(self, aws: JudgingAws, cli: Cli) -> None:
        self.cli = cli
        self._aws = aws
        self._full: dict[tuple[str, ...], list[Played]] = {}

    def full(self, scenario: Scenario, printed: Printed) -> list[Played]:
        """A scenario played in each of its states with its whole policy; played together with its neighbours."""
        if scenario.command not in self._full:
            first = SCENARIOS.index(scenario) // _TOGETHER * _TOGETHER
            some = SCENARIOS[first : first + _TOGETHER]
            runs = [(each, printed[each.command], state) for each in some for state in each.states]
            for (each, _, _), played in zip(runs, self.play(*runs), strict=True):
                self._full.setdefault(each.command, []).append(played)
        return self._full[scenario.command]

    def play(self, *runs: tuple[Scenario, Policy, State]) -> list[Played]:
        """Play scenarios with these policies in these states: how each ended, and what it called."""
        users = [self._aws.user(policy) for _, policy, _ in runs]
        by_key = {user["AWS_ACCESS_KEY_ID"]: run for user, run in zip(users, runs, strict=True)}
        self._aws.before_run = lambda key: hold(by_key[key][2]) if key in by_key else None
        self._aws.after = lambda call, body: (
            by_key[call.key][0].meanwhile(call, body) if call.key in by_key else None
        )
        ended = self.cli.each(*(scenario.command for scenario, _, _ in runs), environments=users)
        return [(ran, self._aws.of(user)) for ran, user in zip(ended, users, strict=True)]


def hold(state: State) -> None:
    """Let the tables hold what a state says."""
    primary, replica = state
    set_items(REGIONS[0], "orders", primary)
    for name in ("orders", "copies"):
        set_items(REGIONS[1], name, replica)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, aws: JudgingAws) -> Stage:
    """A stage with a stored diff, and with journals of repairs in a file and in S3."""
    stage = Stage(aws, Cli(tmp_path_factory.mktemp("policy"), {"AWS_ENDPOINT_URL": aws.url}))
    everything = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["*"], "Resource": "*"}],
    }
    before = [Scenario((*CHECK, "--output", "d.jsonl"), 1)]
    before += [Scenario((*CHECK, "--repair", "--journal", place), 0) for place in ("j.jsonl", JOURNAL)]
    before.append(Scenario((*CHECK, "--job", "s3://kept/jobs/done"), 1))
    for scenario, (ran, _) in zip(
        before, stage.play(*((each, everything, DRIFTED) for each in before)), strict=True
    ):
        assert ran.code == scenario.code, ran
    return stage


@pytest.fixture(scope="module")
def printed(stage: Stage) -> Printed:
    """The policy of each scenario, as it is printed."""
    told = stage.cli.each(*(("iam-policy", "--account", ACCOUNT, *each.command) for each in SCENARIOS))
    assert [(ran.code, ran.stderr) for ran in told] == [(0, "")] * len(SCENARIOS)
    return {each.command: json.loads(ran.stdout) for each, ran in zip(SCENARIOS, told, strict=True)}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_policy_is_enough_and_nothing_in_it_is_unused(
    stage: Stage, printed: Printed, scenario: Scenario
) -> None:
    policy = printed[scenario.command]
    runs = stage.full(scenario, printed)
    assert [ran.code for ran, _ in runs] == [scenario.code] * len(runs), runs[0][0]
    assert not any(WITHOUT in ran.stderr for ran, _ in runs)
    calls = [call for _, made in runs for call in made]
    assert {call.pair for call in calls if not allows(policy, call)} == set()
    used = uses(policy, calls)
    assert [pair for pair, is_used in used.items() if not is_used] == []
    exact = [resource for action, resource in used if action != "cloudwatch:PutMetricData"]  # has no ARN
    assert not [resource for resource in exact if "*" in resource.removesuffix("/*") or "?" in resource]
    assert not [resource for resource in exact if "*" in resource and ":s3:::kept/jobs/" not in resource]


@pytest.mark.parametrize("scenario", [each for each in SCENARIOS if each.judged], ids=str)
def test_without_any_single_permission_a_command_fails_and_names_it_or_says_what_it_does_without(
    stage: Stage, printed: Printed, scenario: Scenario
) -> None:
    policy = printed[scenario.command]
    full = stage.full(scenario, printed)
    missing = []
    for statement in policy["Statement"]:
        for action in statement["Action"]:
            [state, *_] = [
                state
                for state, (_, calls) in zip(scenario.states, full, strict=True)
                if (action, statement["Resource"]) in {call.pair for call in calls}
            ]
            missing.append((statement["Sid"], action, state))
    assert len(missing) >= 6
    played = stage.play(*((scenario, without(policy, sid, action), state) for sid, action, state in missing))
    for (sid, action, _), (ran, _) in zip(missing, played, strict=True):
        what = f"{action} of {sid}: {ran}"
        if action in OPTIONAL:
            assert ran.code == scenario.code, what
            assert (WITHOUT in ran.stderr) == (scenario.command[0] in {"diff-tables", "repair"}), what
        else:
            assert ran.code == 3, what
            [sentence] = [line for line in ran.stderr.splitlines() if line.startswith("Error: ")]
            assert f"is not authorized to perform: {action} on resource: arn:" in sentence, what


def without(policy: Mapping[str, Any], sid: str, action: str) -> dict[str, Any]:
    """The policy without one action of one statement."""
    left = [
        {**each, "Action": [name for name in each["Action"] if (each["Sid"], name) != (sid, action)]}
        for each in policy["Statement"]
    ]
    return {**policy, "Statement": [each for each in left if each["Action"]]}


def test_without_a_permission_in_s3_a_command_fails_before_it_writes_and_names_it(
    stage: Stage, printed: Printed
) -> None:
    [scenario] = [each for each in SCENARIOS if "s3://kept/jobs/journal" in each.command]
    policy = printed[scenario.command]
    bucket = s3_backends[ACCOUNT]["aws"].get_bucket("kept")

    def refused(sid: str, action: str) -> tuple[Ran, list[Call]]:
        [played] = stage.play((scenario, without(policy, sid, action), DRIFTED))
        return played

    def forget() -> None:
        for name in [each for each in bucket.keys if each.startswith("jobs/journal/")]:
            bucket.keys.pop(name)

    stage.full(scenario, printed)
    there = refused("JournalObjects", "s3:GetObject")
    forget()
    told = {"GetObject": there, "ListBucket": refused("JournalNames", "s3:ListBucket")}
    forget()
    told["PutObject"] = refused("JournalObjects", "s3:PutObject")
    for name, (ran, calls) in told.items():
        assert ran.code == 3, ran
        [sentence] = [line for line in ran.stderr.splitlines() if line.startswith("Error: ")]
        assert name in sentence
        assert not WRITES & {call.action for call in calls}


def test_without_the_permission_to_publish_a_check_tells_what_it_found_and_fails(
    stage: Stage, printed: Printed
) -> None:
    [scenario] = [each for each in SCENARIOS if "--metric" in each.command]
    policy = without(printed[scenario.command], "Metrics", "cloudwatch:PutMetricData")
    [(ran, _)] = stage.play((scenario, policy, DRIFTED))
    assert ran.code == 3
    assert "3 discrepancies remain" in ran.stdout
    [sentence] = [line for line in ran.stderr.splitlines() if line.startswith("Error: ")]
    assert "could not be published" in sentence
    assert "cloudwatch:PutMetricData" in sentence


def test_a_backfill_that_goes_on_with_a_job_reads_what_was_under_way(stage: Stage) -> None:
    command = (*CHECK, "--backfill", "--repair", "--job", "./filling")
    ran = stage.cli("iam-policy", "--account", ACCOUNT, *command)
    policy = json.loads(ran.stdout)
    scenario = Scenario(command, 0)
    crippled = without(policy, "WriteReplica", "dynamodb:PutItem")
    interrupted, resumed, anew = stage.play(
        (scenario, crippled, DRIFTED), (scenario, policy, DRIFTED), (scenario, policy, EMPTY)
    )
    assert [run[0].code for run in (interrupted, resumed, anew)] == [3, 0, 0], resumed
    assert ("dynamodb:BatchGetItem", f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/orders") in {
        call.pair for call in resumed[1]
    }
    calls = [*resumed[1], *anew[1]]
    assert all(allows(policy, call) for call in calls)
    assert [pair for pair, is_used in uses(policy, calls).items() if not is_used] == []


def test_with_a_role_each_identity_has_its_own_policy_and_needs_all_of_it(
    aws: JudgingAws, stage: Stage
) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/Replica"
    command = (*CHECK, "--repair", "--replica-role-arn", role)
    ran = stage.cli("iam-policy", "--account", ACCOUNT, *command)
    policies = json.loads(ran.stdout)
    assert set(policies) == {"default credentials", role}
    caller = policies["default credentials"]
    assert aws.role("Replica", policies[role]) == role
    scenario = Scenario(command, 0)
    before = len(aws.calls)
    (done, calls), (failed, _) = stage.play(
        (scenario, caller, DRIFTED),
        (scenario, without(caller, "AssumeReplicaRole", "sts:AssumeRole"), DRIFTED),
    )
    assert (done.code, failed.code) == (0, 3), done
    [sentence] = [line for line in failed.stderr.splitlines() if line.startswith("Error: ")]
    assert "sts:AssumeRole" in sentence
    theirs = [call for call in aws.calls[before:] if call.key.startswith("ASIA")]
    for policy, made in ((caller, calls), (policies[role], theirs)):
        assert all(allows(policy, call) for call in made)
        assert [pair for pair, is_used in uses(policy, made).items() if not is_used] == []
