"""plan: what a full check would take, told before anything is spent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.support.engines import moto
from tests.support.scenario import WRITES, item, items

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Cli
    from tests.support.engines import Engine
    from tests.support.scripted import ScriptedDynamo

TABLES = ("us-east-1/orders", "eu-west-1/orders")
TOLD = {"ItemCount": 1_000_000, "TableSizeBytes": 400_000_000}


@pytest.fixture
def large(endpoint: ScriptedDynamo) -> ScriptedDynamo:
    """A pair of tables of which DescribeTable tells a million items each."""
    for place in TABLES:
        region, name = place.split("/")
        table = endpoint.create_table(name, region, items=items(4000))
        table.description |= TOLD
    return endpoint


@pytest.fixture
def engine(moto_url: str) -> Iterator[Engine]:
    engine = moto(moto_url)
    yield engine
    engine.delete_tables()


def rows(text: str) -> dict[str, list[str]]:
    """The lines of both tables: title to what stands in the columns."""
    cells = [
        re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if re.search(r"\S\s{2,}\S", line)
    ]
    return {title: values for title, *values in cells}


@pytest.mark.usefixtures("large")
def test_both_strategies_stand_side_by_side(cli: Cli) -> None:
    cli.environment["COLUMNS"] = "80"
    ran = cli("plan", *TABLES)
    assert (ran.code, ran.stderr) == (0, "")
    told = rows(ran.stdout)
    assert told["items"] == ["1,000,000", "1,000,000"]
    assert told["average item"] == ["400 B", "400 B"]
    assert told["a full check, 1 % drift"] == ["batch-get", "dual-scan"]
    assert told["it waits for"] == ["the replica", "the primary"]
    assert [value[0] for value in told["dollars"]] == ["$", "$"]
    [choice] = [line for line in ran.stdout.splitlines() if line.startswith("dual-scan needs")]
    assert "batch-get" in choice
    assert choice.endswith("and each probe is rounded up to 4 KB.")
    assert re.search(r"Prices of 2[0-9-]{9}: us-east-1 \$0.125 .*; eu-west-1 \$0.1415 ", ran.stdout)
    assert re.search(
        r"Looked at [0-9,]+ items? on [0-9,]+ pages, which took [0-9,.]+ read units\.", ran.stdout
    )


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("columns", [80, 120])
def test_it_fits_a_terminal(cli: Cli, columns: int) -> None:
    code, screen = cli.on_terminal("plan", *TABLES, columns=columns)
    assert code == 0
    assert max(map(len, screen.lines)) <= columns
    assert "nothing in common: read units" in screen.text


def test_it_only_looks_and_not_long(cli: Cli, large: ScriptedDynamo) -> None:
    assert cli("plan", *TABLES, "--json").code == 0
    operations = [call.operation for call in large.calls]
    assert not set(operations) & set(WRITES)
    assert operations.count("Scan") <= 10


@pytest.mark.usefixtures("large")
def test_the_plan_as_json(cli: Cli) -> None:
    ran = cli("plan", *TABLES, "--drift", "0.3", "--segments", "10", "--read-units", "1000", "--json")
    assert (ran.code, ran.stderr) == (0, "")
    told = ran.summary
    assert told["drift"] == pytest.approx({"missing": 100_000, "different": 100_000, "extraneous": 100_000})
    assert (told["segments"], told["strategy"]) == (10, "dual-scan")
    expected = told["strategies"]["dual-scan"]["expected"]
    scan = 10 * 0.5 * -(-40_000_000 // 4096)
    assert expected["primary"] == pytest.approx({"scan": scan, "probes": 50_000, "confirmation": 2 * 300_000})
    assert expected["seconds"] == pytest.approx((scan + 650_000) / 1000)
    assert told["primary"]["sample"]["pages"] >= 1
    assert told["prices"]["replica"]["read"] == 0.1415
    assert {"batch-get", "dual-scan"} == set(told["strategies"])


def test_small_tables_are_counted_now(cli: Cli, endpoint: ScriptedDynamo) -> None:
    for place, count in zip(TABLES, (30, 10), strict=True):
        region, name = place.split("/")
        endpoint.create_table(name, region, items=items(count)).description |= {
            "ItemCount": 0,
            "TableSizeBytes": 0,
        }
    told = cli("plan", *TABLES, "--json").summary
    assert (told["primary"]["items"], told["replica"]["items"]) == (30, 10)
    assert told["drift"]["missing"] == pytest.approx(20 + 10 * 0.01 / 3)


def test_a_table_that_holds_nothing(cli: Cli, endpoint: ScriptedDynamo) -> None:
    for place in TABLES:
        region, name = place.split("/")
        endpoint.create_table(name, region)
    ran = cli("plan", *TABLES)
    assert ran.code == 0
    assert rows(ran.stdout)["items"] == ["0", "0"]


def test_on_an_engine(cli: Cli, engine: Engine) -> None:
    names = [
        engine.create_table(items=[item(f"{number}", text="x" * 500) for number in range(count)])
        for count in (40, 38)
    ]
    place = engine.url.removeprefix("http://")
    ran = cli("plan", *(f"{place}/{name}" for name in names))
    assert (ran.code, ran.stderr) == (0, "")
    assert rows(ran.stdout)["items"] == ["40", "38"]
    assert rows(ran.stdout)["data between Regions"] == ["0 B", "0 B"]
    assert "The primary is not on AWS: nothing is billed there" in ran.stdout
    told = cli("plan", *(f"{place}/{name}" for name in names), "--json").summary
    assert told["primary"]["item_size"] == pytest.approx(len("id" + "text") + 500 + 1.75)
    assert told["primary"]["local"]


@pytest.mark.usefixtures("large")
def test_prices_of_ones_own(cli: Cli) -> None:
    (cli.folder / "ours.toml").write_text("as_of = 2027-01-31\n[regions.eu-west-1]\nread = 0.11\n")
    (cli.folder / "others.toml").write_text("[regions.eu-west-1]\nread = 0.09\n")
    shown = cli("plan", *TABLES, "--prices", "ours.toml").stdout
    assert "Prices of 2027-01-31, with those of ours.toml: " in shown
    cli.environment["ASYNCREP_PRICES"] = "others.toml"
    by_environment, by_option = cli.each(
        ("plan", *TABLES, "--json"), ("plan", *TABLES, "--json", "--prices", "ours.toml")
    )
    assert by_environment.summary["prices"]["replica"]["read"] == 0.09
    assert by_option.summary["prices"]["replica"]["read"] == 0.11


def test_a_region_without_known_prices_is_told(cli: Cli, endpoint: ScriptedDynamo) -> None:
    for region in ("us-east-1", "mx-central-1"):
        endpoint.create_table("orders", region, items=items(2))
    ran = cli("plan", "us-east-1/orders", "mx-central-1/orders")
    assert "Not all prices of mx-central-1 are known: those of us-east-1 stand in" in ran.stdout


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--drift", "1.5"), "--drift is a share from 0 to 1, as 0.01 for one item in a hundred, not 1.5."),
        (("--drift", "-1"), "--drift is a share from 0 to 1, as 0.01 for one item in a hundred, not -1."),
        (("--drift", "nan"), "--drift is a share from 0 to 1, as 0.01 for one item in a hundred, not nan."),
        (("--read-units", "0"), "Read units must be above zero, not 0.0."),
        (("--read-percent", "101"), "Read percent must be above 0 and at most 100, not 101.0."),
        (("--segments", "0"), "The number of segments must be 1 to 1,000,000, not 0."),
        (
            ("--prices", "nowhere.toml"),
            "The prices in nowhere.toml cannot be read: [Errno 2] No such file or directory: 'nowhere.toml'",
        ),
        (
            ("--prices", "unknown.toml"),
            'unknown.toml: "currency" is unknown; known are as_of, regions.',
        ),
        (
            ("--prices", "negative.toml"),
            "negative.toml, regions.us-east-1, read: a price cannot be negative, as -1 is.",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_asks_nobody(
    cli: Cli, large: ScriptedDynamo, options: tuple[str, ...], complaint: str
) -> None:
    (cli.folder / "unknown.toml").write_text("currency = 'EUR'\n")
    (cli.folder / "negative.toml").write_text("[regions.us-east-1]\nread = -1\n")
    ran = cli("plan", *TABLES, *options)
    assert (ran.code, ran.sentence, ran.stdout) == (2, complaint, "")
    assert large.calls == []


def test_tables_that_cannot_be_compared_are_refused(cli: Cli, endpoint: ScriptedDynamo) -> None:
    endpoint.create_table("orders", "us-east-1")
    endpoint.create_table("orders", "eu-west-1", hash=("name", "S"))
    ran = cli("plan", *TABLES)
    assert ran.code == 2
    assert "different keys" in ran.sentence


def test_a_table_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    assert tmp_path == cli.folder
    assert cli("plan", *TABLES).code == 3


@pytest.mark.usefixtures("large")
def test_the_tables_may_come_from_the_environment(cli: Cli) -> None:
    cli.environment |= dict(zip(("ASYNCREP_PRIMARY", "ASYNCREP_REPLICA"), TABLES, strict=True))
    assert cli("plan", "--json").summary["primary"]["label"] == TABLES[0]
