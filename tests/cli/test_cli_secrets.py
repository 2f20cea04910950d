"""What may not be read in logs: credentials, and the values of items. Names of records may."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.scenario import item, scene

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.cli import Cli, Ran
    from tests.support.scripted import ScriptedDynamo

TABLES = ("us-east-1/orders", "eu-west-1/orders")
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7SECRETS",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI-K7MDENG-bPxRfiCYSECRETKEY",
    "AWS_SESSION_TOKEN": "IQoJb3JpZ2luX2VjSECRETTOKEN",
}
OURS, THEIRS = "card-4111-1111", "card-5500-0000"
RECORD = '{"id":"b"}'
CHECK = ("diff-tables", *TABLES, "--settle", "0", "--segments", "1")
COMMANDS = {
    "store": (*CHECK, "--output", "d.jsonl", "--json"),
    "stored": ("repair", "d.jsonl", *TABLES, "--settle", "0", "--dry-run"),
    "repair with journal": (*CHECK, "--repair", "--journal", "j.jsonl", "--max-delete", "9"),
    "undo": ("undo", "j.jsonl", "--output", "undone.jsonl"),
    "explain": ("explain", *TABLES, RECORD, "--settle", "0", "--journal", "j.jsonl", "--quiet"),
    "job": (*CHECK, "--job", "./job"),
    "check": CHECK,
    "json": (*CHECK, "--json"),
    "combined": (*CHECK, "--combined", "-"),
    "repair": (*CHECK, "--repair", "--json", "--max-delete", "9"),
    "dry run": (*CHECK, "--repair", "--dry-run"),
    "backfill": (*CHECK, "--backfill", "--repair"),
    "processes": (*CHECK, "--processes", "2", "--json"),
    "diff-record": ("diff-record", *TABLES, RECORD, "--settle", "0", "--quiet"),
    "replicate-record": ("replicate-record", *TABLES, RECORD, "--settle", "0"),
    "plan": ("plan", *TABLES),
    "iam-policy": ("iam-policy", "--account", "123456789012", *CHECK, "--repair"),
}


def refuse(operation: str, code: str, message: str = "Refused.", status: int = 400) -> Callable[..., None]:
    def script(endpoint: ScriptedDynamo) -> None:
        endpoint.on(operation).error(code, status, message=message).forever()

    return script


SIGNED = f"Wrong signature.\n\nThe Canonical String for this request should have been\n'POST\n/\n\nx-amz-security-token:{CREDENTIALS['AWS_SESSION_TOKEN']}\n'"
FAILING = ("check", "repair", "backfill", "replicate-record")
TRIED_AGAIN = frozenset({"500s", "body of a proxy", "damaged"})
"""Faults that take seconds until they are given up."""
FAULTS: dict[str, Callable[[ScriptedDynamo], object]] = {
    "wrong keys": refuse("DescribeTable", "InvalidSignatureException", SIGNED),
    "expired": refuse(
        "Scan", "ExpiredTokenException", "The security token included in the request is expired"
    ),
    "not allowed": refuse(
        "BatchGetItem", "AccessDeniedException", "not authorized to perform: dynamodb:BatchGetItem"
    ),
    "missing table": refuse("Scan", "ResourceNotFoundException"),
    "throttled": lambda endpoint: endpoint.on("Scan", times=2).throttle(),
    "500s": refuse("DescribeTable", "InternalServerError", status=500),
    "body of a proxy": refuse("DescribeTable", "", f"you sent {OURS}", status=502),
    "refused item": refuse("PutItem", "ValidationException", f"Value '{OURS}' at 'item' failed to satisfy …"),
    "refused patch": refuse(
        "UpdateItem", "ValidationException", f"The parameter cannot be converted to a numeric value: {OURS}"
    ),
    "refused bulk": refuse("BatchWriteItem", "ValidationException", f"Value '{OURS}' at 'requests' failed …"),
    "damaged": lambda endpoint: endpoint.on("DescribeTable").corrupt().forever(),
    "cut": lambda endpoint: endpoint.on("BatchGetItem", times=2).cut(),
}


def prepare(cli: Cli, endpoint: ScriptedDynamo) -> None:
    cli.environment |= CREDENTIALS
    scene(
        endpoint,
        [*(item(name, card=OURS) for name in "ab"), item("m", card=OURS)],
        [item("a", card=OURS), item("b", card=THEIRS), item("x", card=THEIRS)],
    )


def check(ran: Ran, *, results: bool = False) -> None:
    told = ran.stderr if results else ran.stdout + ran.stderr
    assert not [name for name, secret in CREDENTIALS.items() if secret in told]
    assert not [value for value in (OURS, THEIRS) if value in told], told
    assert "Traceback" not in ran.stderr


def test_a_command_that_goes_well_tells_neither_credentials_nor_values(
    cli: Cli, endpoint: ScriptedDynamo
) -> None:
    prepare(cli, endpoint)
    for ran in cli.each(*COMMANDS.values()):
        assert ran.code in {0, 1}
        check(ran)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_command_that_fails_tells_neither_credentials_nor_values(
    cli: Cli, endpoint: ScriptedDynamo, fault: str
) -> None:
    prepare(cli, endpoint)
    FAULTS[fault](endpoint)
    names = FAILING[:1] if fault in TRIED_AGAIN else FAILING
    for ran in cli.each(*(COMMANDS[name] for name in names)):
        check(ran)
    assert endpoint.calls


def test_values_are_told_where_somebody_asks_for_them_and_nowhere_else(
    cli: Cli, endpoint: ScriptedDynamo
) -> None:
    prepare(cli, endpoint)
    lines, shown = cli.each((*CHECK, "--output", "-"), ("diff-record", *TABLES, RECORD, "--settle", "0"))
    for ran in (lines, shown):
        check(ran, results=True)
        assert THEIRS in ran.stdout
    assert {json.dumps(line["replica"]) for line in lines.lines if line["replica"]}


def test_a_location_with_a_password_is_refused_without_it(cli: Cli) -> None:
    ran = cli("diff-tables", "http://ann:pass-word@127.0.0.1:1/orders", TABLES[1])
    assert ran.code == 2
    assert "pass-word" not in ran.stdout + ran.stderr
