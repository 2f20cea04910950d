"""The table of permissions against the code that makes calls, and the statements that are made of it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
import typer.main
from botocore import xform_name

import asyncrep
from asyncrep.aws.place import Place
from asyncrep.cli import iam_policy, permissions, policy, replicate_permissions, statement
from asyncrep.cli.app import app
from asyncrep.errors import UsageError
from asyncrep.location import S3Place, TableRef
from tests.support.iam import Call, allows

if TYPE_CHECKING:
    from collections.abc import Iterator

ACTIONS = {
    each.action
    for module in (permissions, statement, replicate_permissions)
    for each in vars(module).values()
    if isinstance(each, permissions.Permission)
}
SPELLED = {
    "dynamodb:TransactWriteItems": {
        "dynamodb:ConditionCheckItem",
        "dynamodb:DeleteItem",
        "dynamodb:PutItem",
        "dynamodb:UpdateItem",
    },
    "s3:HeadObject": {"s3:GetObject"},
    "s3:ListObjectsV2": {"s3:ListBucket"},
    "s3:DeleteObjects": {"s3:DeleteObject"},
    "s3:GetObject": {"s3:GetObject", "s3:GetObjectVersion"},
    "s3:ListMultipartUploads": {"s3:ListBucketMultipartUploads"},
    "s3:ListObjectVersions": {"s3:ListBucketVersions"},
    "s3:CreateMultipartUpload": {"s3:PutObject"},
    "s3:UploadPart": {"s3:PutObject"},
    "s3:CompleteMultipartUpload": {"s3:PutObject"},
}
"""What IAM calls otherwise than the API does: of a transaction it knows only the parts."""
PREFIXES = {"dynamodbstreams": "dynamodb"}
"""Services whose actions IAM knows under another prefix."""
NEEDS_NOTHING = {"sts:GetCallerIdentity"}
NO_CALLS = {"query"}
"""Names of methods that mean something else where they are used: the query of a URL."""
BY_S3 = {"kms:Decrypt", "kms:GenerateDataKey"}
"""What S3 calls for whoever reads and writes what is encrypted."""
AWS = Path(asyncrep.__file__).parent / "aws"


@cache
def operations() -> dict[str, str]:
    """The action behind each method of the clients that asyncrep opens."""
    session = botocore.session.Session()
    return {
        xform_name(operation): f"{PREFIXES.get(service, service)}:{operation}"
        for service in ("cloudwatch", "dynamodb", "dynamodbstreams", "s3", "sqs", "sts")
        for operation in session.get_service_model(service).operation_names
    }


def words(path: Path) -> Iterator[str]:
    """All attributes and strings of a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_table_lists_every_call_in_the_code_and_no_other() -> None:
    called = {
        operations()[word]
        for path in AWS.rglob("*.py")
        for word in words(path)
        if word in operations().keys() - NO_CALLS
    }
    called = {action for each in called for action in SPELLED.get(each, {each})} - NEEDS_NOTHING
    assert called | BY_S3 | {"sts:AssumeRole"} == ACTIONS


def test_clients_of_other_services_are_opened_nowhere() -> None:
    opened = {
        node.args[0].value
        for path in AWS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in {"client", "resource", "opened"}
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    assert opened == {"cloudwatch", "dynamodb", "dynamodbstreams", "s3", "sqs", "sts"}


def names(group: Any, before: str = "") -> Iterator[str]:
    """The names of all commands, those of groups with the group's before them."""
    for name, command in group.commands.items():
        yield before + name
        if hasattr(command, "commands"):
            yield from names(command, f"{before}{name} ")


def test_of_every_command_it_is_known_what_it_needs() -> None:
    assert set(names(typer.main.get_command(app))) == iam_policy.NEEDS.keys() | iam_policy.WITHOUT_AWS


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("us-east-1", "aws"),
        ("eu-isolde-1", "aws"),
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
        ("eu-isoe-west-1", "aws-iso-e"),
        ("us-isof-south-1", "aws-iso-f"),
        ("eusc-de-east-1", "aws-eusc"),
    ],
)
def test_the_partition_follows_the_region(region: str, partition: str) -> None:
    home = policy.Home(Place(TableRef("orders", region)), region, "123456789012")
    assert statement.partition_of(region) == partition
    assert home.table == f"arn:{partition}:dynamodb:{region}:123456789012:table/orders"
    assert home.global_table == f"arn:{partition}:dynamodb::123456789012:global-table/orders"


@pytest.mark.parametrize(
    ("place", "account"),
    [
        (Place(TableRef("orders", "us-east-1")), None),
        (Place(TableRef.parse("arn:aws:dynamodb:us-east-1:210987654321:table/orders")), "210987654321"),
        (Place(TableRef("orders"), role_arn="arn:aws:iam::210987654321:role/a/R"), "210987654321"),
        (Place(TableRef.parse("https://210987654321.ddb.us-east-1.amazonaws.com/orders")), "210987654321"),
        (Place(TableRef.parse("https://dynamodb.us-east-1.amazonaws.com/orders")), None),
    ],
)
def test_a_location_or_a_role_tells_the_account(place: Place, account: str | None) -> None:
    assert policy.known_account(place) == account


@pytest.mark.parametrize("name", ["*", "R*", "R?", "${aws:username}", 'R"', "R\n", "", "R,S ", "Ä"])
def test_a_role_that_could_be_several_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a role"):
        policy.known_account(Place(TableRef("orders"), role_arn=f"arn:aws:iam::210987654321:role/{name}"))


@pytest.mark.parametrize("prefix", ["a", "a*b", "a?b", "${aws:username}", "$", 'a"},{"', "a\nb", "../a", "é"])
def test_a_place_in_s3_is_granted_as_it_is_spelled_and_nothing_beside_it(prefix: str) -> None:
    place = S3Place("bucket", prefix)
    made = policy.statements([], {}, [permissions.keeping("Journal", place)])
    [document] = policy.policies(made).values()

    def can(action: str, resource: str, **conditions: str) -> bool:
        return allows(document, Call("", action, f"arn:aws:s3:::bucket{resource}", tuple(conditions.items())))

    assert can("s3:PutObject", f"/{prefix}/name")
    assert not any(can("s3:PutObject", f"/{other}/name") for other in ("b", "aXb", "aXXb", "", f"{prefix}x"))
    assert not can("s3:DeleteObject", f"/{prefix}/name")
    assert can("s3:ListBucket", "", **{"s3:prefix": f"{prefix}/"})
    assert not any(can("s3:ListBucket", "", **{"s3:prefix": other}) for other in ("", "b/", "aXb/", prefix))
    assert not can("s3:ListBucket", "")


def test_a_stream_is_granted_with_all_that_the_table_will_have_and_without_the_table() -> None:
    home = policy.Home(Place(TableRef("orders", "us-east-1")), "us-east-1", "123456789012")
    reads = permissions.Grant("Read", "primary", (permissions.SHARDS, permissions.RECORDS))
    [document] = policy.policies(policy.statements([reads], {"primary": home})).values()
    [statement] = document["Statement"]
    assert statement["Sid"] == "ReadStream"
    assert statement["Action"] == ["dynamodb:DescribeStream", "dynamodb:GetRecords"]
    assert statement["Resource"] == f"{home.table}/stream/*"


def test_a_whole_bucket_is_granted_as_such() -> None:
    made = policy.statements([], {}, [permissions.reading("Journal", S3Place("bucket"))], "aws-cn")
    [document] = policy.policies(made).values()
    assert [(each["Resource"], each.get("Condition")) for each in document["Statement"]] == [
        ("arn:aws-cn:s3:::bucket/*", None),
        ("arn:aws-cn:s3:::bucket", None),
    ]
