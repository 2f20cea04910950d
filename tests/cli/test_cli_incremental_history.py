"""The command line of ``incremental-record-history``: every version of a record, for people and for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support import engines, hostile
from tests.support.buckets import bucket_on
from tests.support.cli import Cli
from tests.support.engines import REGION, Engine
from tests.support.folders import FolderScene, local_folder
from tests.support.hostile import HOSTILE
from tests.support.scenario import item

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HISTORY = "incremental-record-history"
KEY = '{"id":"a"}'


@pytest.fixture
def moto(moto_url: str) -> Iterator[Engine]:
    moto = engines.moto(moto_url)
    yield moto
    moto.delete_tables()


@pytest.fixture
def table(moto: Engine) -> str:
    return moto.create_table()


@pytest.fixture
def scene(moto_url: str, table: str) -> Iterator[FolderScene]:
    with bucket_on(moto_url) as bucket:
        yield (made := FolderScene(bucket, f"incr/{table}"))
        made.clear()


@pytest.fixture
def run(tmp_path: Path, moto_url: str) -> Cli:
    """The command line, turned towards moto."""
    return Cli(tmp_path, {"AWS_ENDPOINT_URL": moto_url})


def command(table: str, scene: FolderScene, key: str = KEY, *more: str) -> tuple[str, ...]:
    return HISTORY, f"{REGION}/{table}", f"s3://{scene.bucket.name}/incr", key, *more


def test_versions_are_told_newest_first_with_what_they_changed(
    table: str, scene: FolderScene, run: Cli
) -> None:
    name = scene.put(item("a", n=1, place={"city": "Bern"}, tags={"x", "y"}), at=0)
    scene.put(item("a", n=2, place={"city": "Basel"}, tags={"y", "z"}, new=True), at=60)
    scene.put(item("a", n=2, place={"city": "Basel"}, tags={"y", "z"}, new=True), at=61)
    scene.delete(name, at=3600)
    ran = run(*command(table, scene))
    assert ran.code == 0
    gone, again, changed, created = scene.version_ids(name)
    assert ran.stdout.splitlines() == [
        f'{{"id":{{"S":"a"}}}} in s3://{scene.bucket.name}/incr/{table}',
        "",
        f"2023-11-14T23:13:20Z  deleted              {gone}",
        "",
        f"2023-11-14T22:14:21Z  unchanged     111 B  {again}",
        "",
        f"2023-11-14T22:14:20Z  changed       111 B  {changed}",
        "    n: 1 → 2",
        '    place.city: "Bern" → "Basel"',
        '    tags: without "x"; with "z"',
        "    new: — → true",
        "",
        f"2023-11-14T22:13:20Z  created        90 B  {created}",
        '    id: "a"',
        "    n: 1",
        '    place: {"M":{"city":{"S":"Bern"}}}',
        '    tags: {"SS":["x","y"]}',
    ]
    assert ran.stderr == "4 versions; none is kept that is older.\n"


def test_json_is_a_line_for_each_version(table: str, scene: FolderScene, run: Cli) -> None:
    name = scene.put(item("a", n=1), at=0)
    scene.delete(name, at=1)
    scene.put(item("a", n=2), at=2)
    ran, newest = run.each(
        command(table, scene, KEY, "--json"), command(table, scene, KEY, "--json", "--last", "1")
    )
    assert (ran.code, ran.stderr, newest.code) == (0, "", 0)
    assert [each["deed"] for each in ran.lines] == ["created", "deleted", "created"]
    assert [each["item"] for each in ran.lines] == [item("a", n=2), None, item("a", n=1)]
    assert [each["version"] for each in ran.lines] == scene.version_ids(name)
    assert newest.lines == ran.lines[:1]


def test_a_record_without_history_is_said_to_have_none(table: str, scene: FolderScene, run: Cli) -> None:
    scene.put(item("b"))
    ran, as_json = run.each(command(table, scene), command(table, scene, KEY, "--json"))
    assert (ran.code, ran.stderr, as_json.code, as_json.stdout) == (0, "", 0, "")
    folder = f"s3://{scene.bucket.name}/incr/{table}"
    assert ran.stdout == f'There is no version of {{"id":{{"S":"a"}}}} in {folder}.\n'


def test_the_newest_versions_are_enough_where_that_is_asked_for(
    table: str, scene: FolderScene, run: Cli
) -> None:
    for number in range(5):
        scene.put(item("a", n=number), at=number)
    some, all_of_them = run.each(
        command(table, scene, KEY, "--last", "2"), command(table, scene, KEY, "--last", "5")
    )
    assert some.stdout.count("changed") == 2
    assert some.stderr == "2 versions; there are older ones.\n"
    assert all_of_them.stderr == "5 versions; none is kept that is older.\n"


def test_a_table_that_is_there_no_more_has_a_history_still(scene: FolderScene, run: Cli) -> None:
    gone = FolderScene(scene.bucket, "incr/gone")
    gone.put(item("a", n=1), at=0)
    typed, plain = run.each(command("gone", gone, '{"id":{"S":"a"}}'), command("gone", gone))
    assert typed.code == 0
    assert "created" in typed.stdout
    assert typed.stderr.startswith(
        "Note: There is no table us-east-1/gone: the key is taken as it was typed.\n"
    )
    assert plain.code == 3
    assert plain.sentence == "There is no table us-east-1/gone (any more)."


def test_a_local_folder_shows_what_is_there_now(table: str, run: Cli) -> None:
    local_folder(run.folder / "incr" / table, [item("a", n=1)])
    ran = run(HISTORY, f"{REGION}/{table}", "incr", KEY)
    assert ran.code == 0
    assert "  created " in ran.stdout
    assert ran.stderr == "1 version: a local folder keeps no others.\n"


def test_wrong_usage_is_exit_2_and_trouble_exit_3(table: str, scene: FolderScene, run: Cli) -> None:
    wrong = {
        ("--last must be 1 or more", 2): command(table, scene, KEY, "--last", "0"),
        ("must be a string", 2): command(table, scene, '{"id":5}'),
        ("is no place for a file", 2): (HISTORY, f"{REGION}/{table}", "ftp://x/y", KEY),
        ("There is no S3 bucket", 3): (HISTORY, f"{REGION}/{table}", "s3://no-such-bucket-here", KEY),
    }
    for (sentence, code), ran in zip(wrong, run.each(*wrong.values()), strict=True):
        assert (ran.code, ran.stdout) == (code, "")
        assert sentence in ran.sentence


@pytest.mark.parametrize("columns", [80, 120])
def test_a_history_fits_the_terminal_and_does_not_steer_it(
    table: str, scene: FolderScene, run: Cli, columns: int
) -> None:
    scene.put(item(HOSTILE, **{HOSTILE: {HOSTILE: 1}}), at=0)
    scene.put(
        item(HOSTILE, **{HOSTILE: {HOSTILE: 2}}, **{f"name{number}": number for number in range(40)}), at=1
    )
    code, screen = run.on_terminal(*command(table, scene, json.dumps({"id": HOSTILE})), columns=columns)
    assert code == 0
    assert hostile.steers(screen.raw, terminal=True) == set()
    assert max(map(len, screen.lines)) <= columns
    assert "… and 21 changes more" in screen.text
