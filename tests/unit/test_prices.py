"""The prices that come along, a user's own in their place, and files that hold something else."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pytest

from asyncrep.cost.prices import load_prices
from asyncrep.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

OURS = load_prices(environment={})


def written(folder: Path, text: str) -> Path:
    path = folder / "prices.toml"
    path.write_text(text)
    return path


def test_the_prices_that_come_along() -> None:
    home = OURS.rates("us-east-1")
    assert (home.read, home.write, home.transfer) == (0.125, 0.625, 0.02)
    rare = OURS.rates("us-east-1", "STANDARD_INFREQUENT_ACCESS")
    assert (rare.read, rare.write) == (0.155, 0.78)
    assert OURS.rates("eu-west-1").read == 0.1415
    assert OURS.overridden_by is None
    assert OURS.as_of >= datetime.date(2026, 8, 1)


@pytest.mark.parametrize("region", OURS.regions)
def test_every_region_has_prices_of_its_own_that_are_plausible(region: str) -> None:
    rates = OURS.rates(region)
    assert rates.assumed == ()
    assert 0.1 <= rates.read <= 0.3
    assert 4.9 <= rates.write / rates.read <= 5.1
    assert 0.01 <= rates.transfer <= 0.2


def test_the_prices_of_an_unknown_region_are_those_of_us_east_1_and_it_says_so() -> None:
    rates = OURS.rates("mx-central-1")
    assert (rates.region, rates.read, rates.write, rates.transfer) == ("mx-central-1", 0.125, 0.625, 0.02)
    assert rates.assumed == ("read", "write", "transfer")


def test_a_single_unknown_value_is_that_of_us_east_1() -> None:
    rates = OURS.rates("ap-south-1", "STANDARD_INFREQUENT_ACCESS")
    assert (rates.read, rates.write, rates.transfer) == (0.155, 0.78, 0.086)
    assert rates.assumed == ("read", "write")


def test_a_file_replaces_single_values(tmp_path: Path) -> None:
    path = written(tmp_path, "[regions.eu-west-1]\nread = 0.1\n[regions.mx-central-1]\nwrite = 1\n")
    prices = load_prices(path, environment={})
    changed = prices.rates("eu-west-1")
    assert (changed.read, changed.write, changed.assumed) == (0.1, 0.705, ())
    new = prices.rates("mx-central-1")
    assert (new.read, new.write, new.assumed) == (0.125, 1.0, ("read", "transfer"))
    assert prices.rates("us-east-1") == OURS.rates("us-east-1")
    assert (prices.as_of, prices.overridden_by) == (OURS.as_of, str(path))


def test_a_file_may_have_a_date_of_its_own_and_change_what_stands_in(tmp_path: Path) -> None:
    path = written(tmp_path, "as_of = 2027-01-31\n[regions.us-east-1]\nread = 2\n")
    prices = load_prices(path, environment={})
    assert prices.as_of == datetime.date(2027, 1, 31)
    assert prices.rates("mx-central-1").read == 2


def test_the_environment_names_a_file_unless_an_option_does(tmp_path: Path) -> None:
    path = written(tmp_path, "[regions.us-east-1]\nread = 3\n")
    other = tmp_path / "other.toml"
    other.write_text("[regions.us-east-1]\nread = 4\n")
    environment = {"ASYNCREP_PRICES": str(path)}
    assert load_prices(environment=environment).rates("us-east-1").read == 3
    assert load_prices(other, environment=environment).rates("us-east-1").read == 4
    assert load_prices(environment={"ASYNCREP_PRICES": ""}) == OURS


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("read = ", "cannot be read"),
        ("region = 1", '"region" is unknown; known are as_of, regions'),
        ("regions = 1", r"written as \[regions.REGION\]"),
        ("[regions]\neu-west-1 = 1", r"regions.eu-west-1: prices are written as \[regions.REGION\]"),
        (
            "[regions.eu-west-1]\nreads = 1",
            'regions.eu-west-1: "reads" is unknown; known are infrequent-read',
        ),
        ("[regions.eu-west-1]\nread = -0.1", "eu-west-1, read: a price cannot be negative, as -0.1 is"),
        ("[regions.eu-west-1]\nread = '1'", "eu-west-1, read: a price is a number of USD"),
        ("[regions.eu-west-1]\nread = true", "a price is a number of USD"),
        ("[regions.eu-west-1]\nread = nan", "a price is a number of USD"),
        ("[regions.eu-west-1]\nread = inf", "a price is a number of USD"),
        ("as_of = '2026-01-31'", "as_of must be a date without quotes"),
        ("as_of = 2026-01-31T00:00:00", "as_of must be a date without quotes"),
    ],
)
def test_what_is_no_table_of_prices_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as caught:
        load_prices(written(tmp_path, text), environment={})
    assert "prices.toml" in str(caught.value)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "nowhere.toml", tmp_path, binary):
        with pytest.raises(UsageError, match=f"The prices in {path} cannot be read"):
            load_prices(path, environment={})
