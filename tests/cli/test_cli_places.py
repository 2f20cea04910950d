"""Which tables a command line means, and how it reaches them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.scenario import items

if TYPE_CHECKING:
    from tests.support.cli import Cli, Ran
    from tests.support.scripted import ScriptedDynamo

DIFF = ("diff-tables", "--settle", "0", "--segments", "1")
TABLES = ("one", "two", "three", "four")


@pytest.fixture
def four(endpoint: ScriptedDynamo) -> ScriptedDynamo:
    """Equal tables in the same two Regions: table NAME of us-east-1 and of eu-west-1."""
    for name in TABLES:
        for region in ("us-east-1", "eu-west-1"):
            endpoint.create_table(f"table-{name}", region, items=items(2))
    return endpoint


def pair(name: str) -> tuple[str, str]:
    return f"us-east-1/table-{name}", f"eu-west-1/table-{name}"


def meant(ran: Ran) -> tuple[str, str]:
    """The tables that were compared."""
    assert ran.code == 0, ran.stderr
    return ran.summary["primary"], ran.summary["replica"]


def configure(cli: Cli, text: str) -> None:
    (cli.folder / "asyncrep.toml").write_text(text)


ONE = 'primary = "us-east-1/table-three"\nreplica = "eu-west-1/table-three"\n'
SEVERAL = (
    '[pairs.three]\nprimary = "us-east-1/table-three"\nreplica = "eu-west-1/table-three"\n'
    '[pairs.four]\nprimary = "us-east-1/table-four"\nreplica = "eu-west-1/table-four"\n'
)


@pytest.mark.usefixtures("four")
def test_arguments_come_before_the_environment_before_the_file(cli: Cli) -> None:
    configure(cli, ONE)
    assert meant(cli(*DIFF, "--json")) == pair("three")
    cli.environment |= dict(zip(("ASYNCREP_PRIMARY", "ASYNCREP_REPLICA"), pair("two"), strict=True))
    assert meant(cli(*DIFF, "--json")) == pair("two")
    assert meant(cli(*DIFF, "--json", *pair("one"))) == pair("one")


@pytest.mark.usefixtures("four")
def test_a_pair_is_chosen_by_name(cli: Cli) -> None:
    configure(cli, SEVERAL)
    assert meant(cli(*DIFF, "--json", "--pair", "four")) == pair("four")
    refused = cli(*DIFF)
    assert refused.code == 2
    assert refused.sentence == "asyncrep.toml holds several pairs: choose one with --pair (four, three)."


@pytest.mark.usefixtures("four")
def test_the_one_pair_of_a_file_serves_commands_about_a_record(cli: Cli) -> None:
    configure(cli, SEVERAL.split("[pairs.four]", maxsplit=1)[0])
    assert cli("diff-record", '{"id":"k001"}', "--settle", "0").code == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[pairs.a\n", "asyncrep.toml cannot be read: "),
        ('primry = "x"\n', 'asyncrep.toml: "primry" is unknown; known are endpoint-url, primary, '),
        ('[pairs.a]\nregion = "x"\n', 'asyncrep.toml, pair a: "region" is unknown'),
        ("primary = 5\n", 'asyncrep.toml: "primary" must be text in quotes.'),
        ("pairs = 5\n", "asyncrep.toml: pairs are written as [pairs.NAME]."),
        ('[[pairs]]\nprimary = "x"\n', "asyncrep.toml: pairs are written as [pairs.NAME]."),
        ('[pairs.a]\nprimary = "us-east-1/orders"\n', "Which tables? "),
        ("", "Which tables? "),
    ],
)
def test_a_bad_file_is_one_sentence(cli: Cli, endpoint: ScriptedDynamo, text: str, words: str) -> None:
    configure(cli, text)
    ran = cli(*DIFF)
    assert (ran.code, ran.stdout, endpoint.calls) == (2, "", [])
    assert ran.sentence.startswith(words)


NO_TABLES: list[tuple[tuple[str, ...], str]] = [
    ((), "Which tables? Name PRIMARY and REPLICA as arguments, "),
    (("us-east-1/orders",), "Name both tables, PRIMARY and REPLICA, or neither."),
    (("--pair", "x"), 'There is no asyncrep.toml here that could hold the pair "x".'),
    ((*pair("one"), "--pair", "x"), "The tables are named twice: as arguments and by --pair x."),
    (("orders", "eu-west-1/orders"), '"orders" is not a table location; write it as REGION/TABLE, '),
    (("US/orders", "eu-west-1/orders"), '"US" in "US/orders" is not a Region; write the table as '),
    (("us-east-1/", "eu-west-1/orders"), '"" in "us-east-1/" is not a table name: '),
    (("us-east-1/a/b", "eu-west-1/orders"), '"a/b" in "us-east-1/a/b" is not a table name: '),
    (("arn:aws:s3:::orders", "eu-west-1/orders"), '"arn:aws:s3:::orders" is not a table\'s ARN'),
    (("ftp://x:1/orders", "eu-west-1/orders"), '"ftp://x:1/orders" is not a table location'),
    ((*pair("one"), "--endpoint-url", "localhost:1"), 'The endpoint "localhost:1" must begin with '),
    ((*pair("one"), "--replica-endpoint", "x"), 'The endpoint "x" must begin with http:// or https://.'),
]


def test_what_names_no_tables_is_one_sentence_and_no_request(cli: Cli, endpoint: ScriptedDynamo) -> None:
    told = cli.each(*(("diff-tables", *arguments) for arguments, _ in NO_TABLES))
    for (_, words), ran in zip(NO_TABLES, told, strict=True):
        assert (ran.code, ran.stdout) == (2, ""), words
        assert ran.sentence.startswith(words)
    assert endpoint.calls == []


def test_the_location_is_quoted_as_it_was_typed(cli: Cli) -> None:
    ran = cli("diff-tables", "host:port/orders", "eu-west-1/orders")
    assert ran.code == 2
    assert ran.sentence.startswith('"host:port/orders" is not a table location')


def test_endpoint_options_are_enough_to_reach_the_tables(cli: Cli, four: ScriptedDynamo) -> None:
    cli.environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    both = ("--endpoint-url", four.url)
    sides = ("--primary-endpoint", four.url, "--replica-endpoint", four.url)
    for ran in cli.each(*((*DIFF, "--json", *pair("one"), *options) for options in (both, sides))):
        assert meant(ran) == pair("one")


@pytest.mark.usefixtures("four")
def test_endpoints_of_the_file_count(cli: Cli, endpoint: ScriptedDynamo) -> None:
    cli.environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    configure(cli, f'{ONE}endpoint-url = "http://127.0.0.1:9"\nprimary-endpoint = "{endpoint.url}"\n')
    assert meant(cli(*DIFF, "--json", "--replica-endpoint", endpoint.url)) == pair("three")


def test_a_table_is_reached_by_host_and_port(cli: Cli, four: ScriptedDynamo) -> None:
    del cli.environment["AWS_ENDPOINT_URL"]
    place = four.url.removeprefix("http://")
    ran = cli(*DIFF, f"{place}/table-one", f"http://{place}/table-two", "--json")
    assert meant(ran) == (f"{place}/table-one", f"{place}/table-two")


@pytest.mark.usefixtures("four")
def test_profiles_of_the_two_sides_are_told_apart(cli: Cli, endpoint: ScriptedDynamo) -> None:
    config = cli.folder / "credentials"
    config.write_text("[ours]\naws_access_key_id = a\naws_secret_access_key = b\n")
    cli.environment["AWS_SHARED_CREDENTIALS_FILE"] = str(config)
    ran = cli(*DIFF, *pair("one"), "--primary-profile", "ours", "--replica-profile", "theirs")
    assert ran.code == 3
    assert "No AWS credentials for eu-west-1/table-one: " in ran.sentence
    assert "theirs" in ran.sentence
    assert endpoint.count("Scan") == 0
