"""find_pair: which two tables are meant, and how they are reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asyncrep.aws.place import Place
from asyncrep.cli.options import PlaceOptions
from asyncrep.cli.places import find_pair
from asyncrep.errors import LocationError, UsageError
from asyncrep.location import TableRef

if TYPE_CHECKING:
    from pathlib import Path

OURS, THEIRS = "us-east-1/orders", "eu-west-1/orders"
NO_OPTIONS = PlaceOptions()
ENVIRONMENT = {"ASYNCREP_PRIMARY": "us-east-2/env", "ASYNCREP_REPLICA": "eu-west-2/env"}
FILE = 'primary = "us-west-1/file"\nreplica = "eu-west-3/file"\n'


def names(places: tuple[Place, Place]) -> list[str]:
    return [str(place.ref) for place in places]


def configured(folder: Path, text: str) -> Path:
    (folder / "asyncrep.toml").write_text(text, encoding="utf-8")
    return folder


def test_arguments_are_taken_as_they_are(tmp_path: Path) -> None:
    ours, theirs = find_pair(OURS, THEIRS, NO_OPTIONS, environment={}, folder=tmp_path)
    assert ours == Place(TableRef("orders", "us-east-1"))
    assert theirs == Place(TableRef("orders", "eu-west-1"))


def test_arguments_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    configured(tmp_path, FILE)
    assert names(find_pair(OURS, THEIRS, NO_OPTIONS, environment=ENVIRONMENT, folder=tmp_path)) == [
        OURS,
        THEIRS,
    ]
    assert names(find_pair(None, None, NO_OPTIONS, environment=ENVIRONMENT, folder=tmp_path)) == [
        "us-east-2/env", "eu-west-2/env",
    ]  # fmt: skip
    assert names(find_pair(None, None, NO_OPTIONS, environment={}, folder=tmp_path)) == [
        "us-west-1/file", "eu-west-3/file",
    ]  # fmt: skip


def test_the_environment_may_name_one_side_of_a_configured_pair(tmp_path: Path) -> None:
    configured(tmp_path, FILE)
    environment = {"ASYNCREP_REPLICA": "eu-west-2/env"}
    assert names(find_pair(None, None, NO_OPTIONS, environment=environment, folder=tmp_path)) == [
        "us-west-1/file", "eu-west-2/env",
    ]  # fmt: skip


def test_an_empty_variable_names_nothing(tmp_path: Path) -> None:
    configured(tmp_path, FILE)
    environment = dict.fromkeys(ENVIRONMENT, "")
    assert (
        names(find_pair(None, None, NO_OPTIONS, environment=environment, folder=tmp_path))[0]
        == "us-west-1/file"
    )


def test_a_named_pair_wins_over_the_environment(tmp_path: Path) -> None:
    configured(tmp_path, FILE.join(["[pairs.a]\n", "[pairs.b]\n" + FILE.replace("file", "other")]))
    places = find_pair(None, None, PlaceOptions(pair="b"), environment=ENVIRONMENT, folder=tmp_path)
    assert names(places) == ["us-west-1/other", "eu-west-3/other"]


def test_the_pair_at_top_level_is_the_one_without_a_name(tmp_path: Path) -> None:
    configured(tmp_path, FILE + "[pairs.b]\n" + FILE.replace("file", "other"))
    assert names(find_pair(None, None, NO_OPTIONS, environment={}, folder=tmp_path))[0] == "us-west-1/file"


def test_an_endpoint_of_one_side_wins_over_that_of_both(tmp_path: Path) -> None:
    options = PlaceOptions(endpoint_url="http://both:1", replica_endpoint="http://theirs:2")
    ours, theirs = find_pair(OURS, THEIRS, options, environment={}, folder=tmp_path)
    assert [ours.ref.endpoint_url, theirs.ref.endpoint_url] == ["http://both:1", "http://theirs:2"]


def test_options_win_over_the_settings_of_the_pair(tmp_path: Path) -> None:
    configured(
        tmp_path,
        FILE + 'endpoint-url = "http://file:1"\nprimary-profile = "file"\nreplica-profile = "file"\n'
        'replica-role-arn = "arn:file"\n',
    )
    options = PlaceOptions(
        primary_profile="given", primary_role_arn="arn:given", replica_endpoint="https://given:1"
    )
    ours, theirs = find_pair(None, None, options, environment={}, folder=tmp_path)
    assert ours == Place(TableRef("file", "us-west-1", "http://file:1"), "given", "arn:given")
    assert theirs == Place(TableRef("file", "eu-west-3", "https://given:1"), "file", "arn:file")


def test_a_location_with_an_endpoint_of_its_own_keeps_it(tmp_path: Path) -> None:
    options = PlaceOptions(endpoint_url="http://both:1")
    ours, _ = find_pair("localhost:8000/orders", THEIRS, options, environment={}, folder=tmp_path)
    assert ours.ref.endpoint_url == "http://localhost:8000"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[pairs", "cannot be read: "),
        ("primary = \udc80".encode("utf-8", "surrogateescape"), "cannot be read: "),
        ('primry = "x"', '"primry" is unknown; known are endpoint-url, primary, primary-endpoint, '),
        ('[pairs.a]\nregion = "x"', 'pair a: "region" is unknown; known are '),
        ("[pairs.a]\nprimary = 5", 'pair a: "primary" must be text in quotes.'),
        ("[pairs.a.primary]", 'pair a: "primary" must be text in quotes.'),
        ("pairs = []", "pairs are written as [pairs.NAME]."),
        ("[pairs]\na = 1", "pairs are written as [pairs.NAME]."),
        ("[pairs.a]\n[pairs.b]", "holds several pairs: choose one with --pair (a, b)."),
        ("[pairs]", "Which tables? "),
        ('primary = "us-east-1/orders"', "Which tables? "),
    ],
)
def test_a_file_that_is_not_as_it_should_be(tmp_path: Path, text: str | bytes, words: str) -> None:
    content = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "asyncrep.toml").write_bytes(content)
    with pytest.raises(UsageError) as refused:
        find_pair(None, None, NO_OPTIONS, environment={}, folder=tmp_path)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "asyncrep.toml").mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        find_pair(None, None, NO_OPTIONS, environment={}, folder=tmp_path)


def test_an_unknown_pair_is_told_with_the_known_ones(tmp_path: Path) -> None:
    configured(tmp_path, f"[pairs.b]\n{FILE}[pairs.a]\n{FILE}")
    with pytest.raises(UsageError, match=r'has no pair "c"; its pairs are: a, b\.'):
        find_pair(None, None, PlaceOptions(pair="c"), environment={}, folder=tmp_path)


def test_a_pair_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r'There is no asyncrep\.toml here that could hold the pair "c"\.'):
        find_pair(None, None, PlaceOptions(pair="c"), environment=ENVIRONMENT, folder=tmp_path)


@pytest.mark.parametrize(("primary", "replica"), [(OURS, None), (None, THEIRS)])
def test_one_table_alone_is_refused(primary: str | None, replica: str | None) -> None:
    with pytest.raises(UsageError, match="Name both tables"):
        find_pair(primary, replica, NO_OPTIONS, environment=ENVIRONMENT)


def test_arguments_and_a_pair_are_two_answers() -> None:
    with pytest.raises(UsageError, match="The tables are named twice"):
        find_pair(OURS, THEIRS, PlaceOptions(pair="a"), environment={})


def test_nothing_named_says_where_one_may(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ASYNCREP_PRIMARY and ASYNCREP_REPLICA, or in asyncrep\.toml"):
        find_pair(None, None, NO_OPTIONS, environment={}, folder=tmp_path)


@pytest.mark.parametrize("endpoint", ["localhost:8000", "ftp://x", "x"])
def test_an_endpoint_is_a_url(endpoint: str) -> None:
    with pytest.raises(UsageError, match="must begin with http:// or https://"):
        find_pair(OURS, THEIRS, PlaceOptions(primary_endpoint=endpoint), environment={})


def test_a_wrong_location_of_the_environment_is_a_location_error(tmp_path: Path) -> None:
    with pytest.raises(LocationError):
        find_pair(
            None, None, NO_OPTIONS, environment={**ENVIRONMENT, "ASYNCREP_PRIMARY": "x"}, folder=tmp_path
        )
