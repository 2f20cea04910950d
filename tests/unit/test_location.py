"""Naming a table: every form that is understood, and a sentence for every one that is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.errors import LocationError
from asyncrep.location import TableRef
from tests.support.strategies import thoroughly

ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
TABLE_NAMES = st.from_regex(r"[A-Za-z0-9_.-]{3,255}", fullmatch=True)
REGIONS = (
    "us-east-1", "eu-west-3", "ap-southeast-5", "af-south-1", "us-gov-west-1", "cn-north-1", "us-iso-east-1",
    "us-isob-east-1", "il-central-1", "mx-central-1", "ap-northeast-2", "eu-isoe-west-1",
)  # fmt: skip


@thoroughly
@given(st.sampled_from(REGIONS), TABLE_NAMES)
def test_region_and_table(region, table):
    ref = TableRef.parse(f"{region}/{table}")
    assert ref == TableRef(table, region)
    assert str(ref) == f"{region}/{table}"


@thoroughly
@given(st.sampled_from(("aws", "aws-cn", "aws-us-gov", "aws-iso-b")), st.sampled_from(REGIONS), TABLE_NAMES)
def test_an_arn_names_region_and_table_and_stays(partition, region, table):
    arn = f"arn:{partition}:dynamodb:{region}:000000000012:table/{table}"
    ref = TableRef.parse(arn)
    assert ref == TableRef(table, region, None, arn)
    assert str(ref) == arn


@thoroughly
@given(
    st.sampled_from(("localhost", "127.0.0.1", "dynamo.test", "[::1]", "my-host", "us-east-1", "moto")),
    st.integers(1, 65535),
    TABLE_NAMES,
)
def test_host_port_and_table(host, port, table):
    expected = TableRef(table, None, f"http://{host}:{port}")
    assert TableRef.parse(f"{host}:{port}/{table}") == expected
    assert TableRef.parse(f"http://{host}:{port}/{table}") == expected
    assert str(expected) == f"{host}:{port}/{table}"
    secure = TableRef.parse(f"https://{host}:{port}/{table}")
    assert secure == TableRef(table, None, f"https://{host}:{port}")
    assert str(secure) == f"https://{host}:{port}/{table}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://dynamo.example.com/orders", TableRef("orders", None, "https://dynamo.example.com")),
        ("http://localhost/orders", TableRef("orders", None, "http://localhost")),
        (
            "https://dynamodb.eu-west-1.amazonaws.com/orders",
            TableRef("orders", "eu-west-1", "https://dynamodb.eu-west-1.amazonaws.com"),
        ),
        (
            "https://dynamodb-fips.us-gov-west-1.amazonaws.com/orders",
            TableRef("orders", "us-gov-west-1", "https://dynamodb-fips.us-gov-west-1.amazonaws.com"),
        ),
        (
            "https://dynamodb.cn-north-1.amazonaws.com.cn/orders",
            TableRef("orders", "cn-north-1", "https://dynamodb.cn-north-1.amazonaws.com.cn"),
        ),
        (
            "https://dynamodb.us-east-1.api.aws/orders",
            TableRef("orders", "us-east-1", "https://dynamodb.us-east-1.api.aws"),
        ),
    ],
)
def test_endpoints(text, expected):
    assert TableRef.parse(text) == expected


def test_an_account_s_own_endpoint_names_its_region():
    endpoint = "https://123456789012.ddb.us-east-1.amazonaws.com"
    assert TableRef.parse(f"{endpoint}/orders") == TableRef("orders", "us-east-1", endpoint)


def test_a_host_that_only_resembles_the_service_names_no_region():
    for host in ("dynamodb.us-east-1.amazonaws.com.evil.example", "dynamodbXus-east-1.amazonaws.com"):
        assert TableRef.parse(f"https://{host}/orders").region is None


def test_an_endpoint_serves_the_locations_that_name_none():
    endpoint = "http://localhost:8000"
    assert TableRef.parse("us-east-1/orders", endpoint_url=endpoint) == TableRef(
        "orders", "us-east-1", endpoint
    )
    assert TableRef.parse(ARN, endpoint_url=endpoint) == TableRef("orders", "us-east-1", endpoint, ARN)
    for own in ("localhost:4567/orders", "http://localhost:4567/orders"):
        assert TableRef.parse(own, endpoint_url=endpoint).endpoint_url == "http://localhost:4567"


def refusal(text):
    with pytest.raises(LocationError) as caught:
        TableRef.parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "orders", "us-east-1", "us-east-1:orders", "localhost:8000", "s3:orders"]
)
def test_a_text_without_slash_is_told_every_form(text):
    message = refusal(text)
    assert f'"{text}" is not a table location' in message
    for form in (
        "REGION/TABLE",
        "arn:aws:dynamodb:REGION:ACCOUNT:table/TABLE",
        "HOST:PORT/TABLE",
        "http(s)://",
    ):
        assert form in message


@pytest.mark.parametrize(
    "region",
    [
        "", " ", "useast1", "us-east", "us-east-1a", "US-EAST-1", "us_east_1", "us-east-1 ", " us-east-1", "localhost",
        "table", "us--1", "-east-1", "us-east-", "..", "us-east-1\n", "u-east-1", "us-east-\u0661",
    ],
)  # fmt: skip
def test_a_wrong_region_is_named(region):
    assert refusal(f"{region}/orders").startswith(f'"{region}" in "{region}/orders" is not a Region')


@pytest.mark.parametrize(
    "table",
    [
        "",
        "ab",
        "a" * 256,
        "a b c",
        "orders/",
        "/orders",
        "a/b",
        "örders",
        "orders\n",
        "orders?",
        "tab*le",
        "a,b,c",
    ],
)
def test_a_wrong_table_name_is_named(table):
    assert f'"{table}" in "us-east-1/{table}" is not a table name' in refusal(f"us-east-1/{table}")


@pytest.mark.parametrize("table", ["", "ab", "a" * 256, "orders/", "a/b/c", "//orders", "%6Frders", "a;bc"])
@pytest.mark.parametrize("place", ["localhost:8000", "http://localhost:8000", "https://example.com"])
def test_a_wrong_table_name_behind_an_endpoint_is_named(place, table):
    assert "is not a table name" in refusal(f"{place}/{table}")


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:dynamodb:us-east-1:123456789012:table/orders/index/by-date",
        "arn:aws:dynamodb:us-east-1:123456789012:table/orders/stream/2024-01-01T00:00:00.000",
        "arn:aws:dynamodb:us-east-1:123456789012:table/",
        "arn:aws:dynamodb:us-east-1:123456789012:orders",
        "arn:aws:dynamodb:us-east-1:12345:table/orders",
        "arn:aws:dynamodb:us-east-1::table/orders",
        "arn:aws:dynamodb::123456789012:table/orders",
        "arn:aws:s3:::orders",
        "arn:gcp:dynamodb:us-east-1:123456789012:table/orders",
        "arn:",
    ],
)
def test_what_is_no_table_s_arn_is_refused(arn):
    assert "is not a table's ARN" in refusal(arn)


def test_the_parts_of_an_arn_are_checked():
    assert '"moon" in' in refusal(ARN.replace("us-east-1", "moon"))
    assert "is not a table name" in refusal(ARN.replace("orders", "a b"))


@pytest.mark.parametrize(
    "text",
    [
        "ftp://localhost:8000/orders",
        "s3://bucket/orders",
        "://localhost:8000/orders",
        "http:///orders",
        "http://:8000/orders",
        ":8000/orders",
        "localhost:99999/orders",
        "localhost:-1/orders",
        "localhost:abc/orders",
        "localhost:8000:9000/orders",
        "http://[::1/orders",
        "localhost:8000/orders?x=1",
        "localhost:8000/orders#x",
        "user:secret@localhost:8000/orders",
        "https://user@example.com/orders",
        "http://example.com/orders",
        "http://example.com:/orders",
    ],
)
def test_what_is_no_endpoint_is_refused(text):
    refusal(text)


def test_an_empty_port_is_no_port():
    refusal("localhost:/orders")


@pytest.mark.parametrize("text", ["http://:secret@localhost:8000/orders", "@localhost:8000/orders"])
def test_credentials_in_a_location_are_refused_without_a_user_too(text):
    refusal(text)


@pytest.mark.parametrize(
    "text", ["user:secret@localhost:8000/orders", "https://user:secret@example.com/orders"]
)
def test_a_refusal_does_not_repeat_a_password(text):
    assert "secret" not in refusal(text)


@pytest.mark.parametrize(
    "text",
    ["localhost:8000/ord\ners", "local\thost:8000/orders", "local host:8000/orders", "http://a b/orders"],
    ids=ascii,
)
def test_blanks_are_part_of_no_location(text):
    refusal(text)


@thoroughly
@given(
    st.sampled_from(("us-east-1/", "localhost:8000/", "http://localhost/", "https://example.com/", ARN[:-6])),
    TABLE_NAMES,
)
def test_a_location_is_shown_in_a_form_that_is_understood(place, table):
    ref = TableRef.parse(place + table)
    assert TableRef.parse(str(ref)) == ref


@thoroughly
@given(
    st.text(st.sampled_from("ab1-.:/[]@?#% \n_é"), max_size=20),
    st.sampled_from(("", "http://", "arn:", "us-east-1/")),
)
def test_any_text_is_a_location_or_refused_with_a_sentence(text, start):
    try:
        ref = TableRef.parse(start + text)
    except LocationError:
        return
    assert len(ref.table) >= 3
